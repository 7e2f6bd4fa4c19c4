//! EDM's wrappers: each is a path, a prediction, a factor on the input and a time label of ours.

use std::sync::Arc;

use burn::tensor::Tensor;
use sinter_models::{Condition, DataShape, ModelConfig, weights};
use sinter_process::path::{Discrete, Edm, Ve, VpLinear};
use sinter_process::schedule::Schedule;
use sinter_process::{InputScale, Parameterization, Path, PathPoint, Prediction, TimeLabel};
use sinter_sampling::{Denoiser, NetworkDenoiser};

use super::{Reference, configs, device, read, tensor, tolerance, values};
use crate::golden::{Case, Errors, File};

/// The wrapper whose weights those without their own use.
const SHARED: &str = "EDMPrecond";

/// One case a wrapper.
pub(super) fn cases(file: &Arc<File>) -> Vec<Case> {
    let wrappers = file.keys().into_iter().filter_map(|key| key.strip_suffix(".D").map(str::to_owned));
    let case = |wrapper: String| {
        let (file, name) = (Arc::clone(file), wrapper.clone());
        Case::new(&name, move |errors| check(&file, &wrapper, errors))
    };
    wrappers.map(case).collect()
}

fn parameterization(wrapper: &str) -> Result<Parameterization, String> {
    let vp = VpLinear::default();
    let (path, prediction, input_scale, time_label) = match wrapper {
        "VPPrecond" => (Path::VpLinear(vp), Prediction::Epsilon, InputScale::None, TimeLabel::Scaled { factor: 999.0 }),
        "VEPrecond" => (Path::Ve(Ve::default()), Prediction::ScaledScore, InputScale::None, TimeLabel::LogHalfSigma),
        "iDDPMPrecond" => {
            let chain = Discrete::new(Schedule::named("cosine").ok_or("no cosine")?, 1000, false);
            (Path::Discrete(chain), Prediction::Epsilon, InputScale::None, TimeLabel::NearestIndex { steps: 1000 })
        }
        "EDMPrecond" => (
            Path::Edm(Edm::default()),
            Prediction::EdmF { sigma_data: 0.5 },
            InputScale::UnitVariance { sigma_data: 0.5 },
            TimeLabel::LogSigma,
        ),
        _ => return Err(format!("the wrapper {wrapper} is not understood")),
    };
    Ok(Parameterization { path, prediction, input_scale, time_label })
}

/// What the wrapper makes of states `x0 + sigma eps`: the network's input and time, and the data that it sees in them.
fn check(file: &File, wrapper: &str, errors: &mut Errors) -> Result<(), String> {
    let device = device();
    let parameterization = parameterization(wrapper)?;
    let x = tensor::<4>(file, "x", &device)?;
    let [_, channels, side, _] = x.dims();
    let prefix = |wrapper: &str| format!("{wrapper}.w.");
    let has_own = file.keys().iter().any(|key| key.starts_with(&prefix(wrapper)));
    let reference = Reference {
        config: ModelConfig::SongUnet(configs::wrapped(file, wrapper == "iDDPMPrecond")?),
        shape: DataShape::images(channels, side, side),
        implementation: weights::Reference::Edm,
    };
    let network = reference.network_of(file, &prefix(if has_own { wrapper } else { SHARED }), &device)?;
    let denoiser = NetworkDenoiser { network, parameterization };
    let Parameterization { path, input_scale, time_label, .. } = denoiser.parameterization();

    let (mut inputs, mut labels, mut data) = (Vec::new(), Vec::new(), Vec::new());
    for (image, sigma) in read(file, "sigma")?.into_iter().enumerate() {
        let x: Tensor<4> = x.clone().narrow(0, image, 1);
        let point = at_noise(path, sigma);
        inputs.extend(values(x.clone() * (point.sigma / sigma * input_scale.scale(&point)))?);
        labels.push(time_label.label(path, &point));
        data.extend(values(denoiser.data(x, 1.0, sigma, &Condition::none()))?);
    }
    let key = |field: &str| format!("{wrapper}.{field}");
    for (field, found) in [("x_in", &inputs), ("c_noise", &labels), ("D", &data)] {
        let key = key(field);
        errors.compare(&key, found, &read(file, &key)?, tolerance(1e-5))?;
    }

    if file.contains(&key("sigma_of_t")) {
        let sigmas: Vec<f64> = read(file, &key("t"))?.into_iter().map(|t| noise(&path.at(t))).collect();
        errors.compare(&key("sigma_of_t"), &sigmas, &read(file, &key("sigma_of_t"))?, tolerance(1e-5))?;
        let times = read(file, &key("sigma_of_t"))?.into_iter().map(|sigma| path.time_of_lambda(-sigma.ln()));
        errors.compare(
            &key("sigma_inv"),
            &times.collect::<Vec<f64>>(),
            &read(file, &key("sigma_inv"))?,
            tolerance(1e-5),
        )?;
    }
    if file.contains(&key("u")) {
        let expected = read(file, &key("u"))?;
        let steps = expected.len() - 1;
        let found: Vec<f64> = (0..=steps).map(|j| noise(&path.at((steps - j) as f64 / steps as f64))).collect();
        errors.compare(&key("u"), &found, &expected, tolerance(1e-5))?;
        let levels: Vec<f64> = labels.iter().map(|label| noise(&path.at((label + 1.0) / steps as f64))).collect();
        errors.compare(&key("round_sigma"), &levels, &read(file, &key("round_sigma"))?, tolerance(1e-5))?;
    }
    Ok(())
}

/// The point of `path` at which data of unit scale have noise `sigma`.
fn at_noise(path: &Path, sigma: f64) -> PathPoint {
    path.at(path.time_of_lambda(-sigma.ln()))
}

/// The noise of data of unit scale.
fn noise(point: &PathPoint) -> f64 {
    point.sigma / point.alpha
}
