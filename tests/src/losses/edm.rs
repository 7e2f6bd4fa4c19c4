//! EDM's losses: its own, and the VP and VE losses as its paper writes them, on a network D that predicts data from
//! `x0 + sigma eps`.

use burn::tensor::Tensor;
use serde_json::Value;
use sinter_objectives::Denoising;
use sinter_process::path::{Edm, Ve, VpLinear};
use sinter_process::{InputScale, Path, PathPoint, Prediction, TimeLabel, Weight};
use sinter_sampling::per_image;

use super::Meaning;
use super::batch::{Outcome, batch, combine, images, numbers, objective, read, run};
use crate::golden::File;

/// The golden README's bound.
const TOLERANCE: f64 = 1e-10;

/// The standard deviation that the reference takes the data to have.
const SIGMA_DATA: f64 = 0.5;

pub(super) fn meaning(fields: &[&str]) -> Option<Meaning> {
    match *fields {
        // The noise is told by the noisy images.
        ["y"] | ["probe", "sigma"] => Some(Meaning::Input),
        [family, "sigma" | "y_noisy"] if objective_of(family).is_some() => Some(Meaning::Input),
        ["probe", "edm", quantity] => preconditioning(quantity),
        [family, quantity] => of_loss(family, quantity),
        _ => None,
    }
}

/// Our objective for a loss of the reference.
fn objective_of(family: &str) -> Option<Denoising> {
    match family {
        "EDMLoss" => Some(Denoising {
            input_scale: InputScale::UnitVariance { sigma_data: SIGMA_DATA },
            time_label: TimeLabel::LogSigma,
            ..objective(
                Path::Edm(Edm::default()),
                Prediction::EdmF { sigma_data: SIGMA_DATA },
                Weight::Edm { sigma_data: SIGMA_DATA },
            )
        }),
        // Both weigh the squared error of data by 1/sigma^2: it is then that of epsilon.
        "VPLoss" => Some(objective(
            Path::VpLinear(VpLinear::default()),
            Prediction::Epsilon,
            Weight::LossOf { prediction: Prediction::Epsilon },
        )),
        "VELoss" => Some(objective(
            Path::Ve(Ve { sigma_min: 0.02, sigma_max: 100.0 }),
            Prediction::Epsilon,
            Weight::LossOf { prediction: Prediction::Epsilon },
        )),
        _ => None,
    }
}

/// `<loss>.<quantity>`. The reference leaves the loss of each element and adds them up before it goes back, so that its
/// gradient is as many times ours as an image has elements; ours is the mean over an image, the file's `loss_mean` that
/// of the whole batch. An image of one element has that element's loss.
fn of_loss(family: &str, quantity: &str) -> Option<Meaning> {
    let objective = objective_of(family)?;
    let key = move |quantity: &str| format!("{family}.{quantity}");
    let (sigma, noisy) = (key("sigma"), key("y_noisy"));
    Some(match quantity {
        "weight" => Meaning::each(TOLERANCE, move |file| {
            let points = points(file, &sigma, &objective.path)?;
            Ok(points.iter().map(|point| objective.weight.weight(point, &Prediction::Data)).collect())
        }),
        "D" => Meaning::tensor(TOLERANCE, move |file| {
            let points = points(file, &sigma, &objective.path)?;
            let shown = outcome(file, &objective, &noisy, &points, false)?.input;
            let net = Net::of(file)?;
            let to_data = |point: &PathPoint| (net.factor(point) / objective.input_scale.scale(point), 0.0);
            Ok(combine(&points, &shown, &shown, to_data))
        }),
        "loss_elementwise" => Meaning::each(TOLERANCE, move |file| {
            let points = points(file, &sigma, &objective.path)?;
            Ok(outcome(file, &objective, &noisy, &points, true)?.losses)
        }),
        "loss_mean" => Meaning::each(TOLERANCE, move |file| {
            let points = points(file, &sigma, &objective.path)?;
            let losses = outcome(file, &objective, &noisy, &points, false)?.losses;
            Ok(vec![losses.iter().sum::<f64>() / losses.len() as f64])
        }),
        _ => return None,
    })
}

/// Karras et al. 2022, table 1, as our predictions and labels have it.
fn preconditioning(quantity: &str) -> Option<Meaning> {
    let path = Path::Edm(Edm::default());
    let prediction = Prediction::EdmF { sigma_data: SIGMA_DATA };
    let of: fn(&Path, &Prediction, &PathPoint) -> f64 = match quantity {
        "c_in" => |_, _, point| InputScale::UnitVariance { sigma_data: SIGMA_DATA }.scale(point),
        "c_out" => |_, prediction, point| prediction.data_from(point).prediction,
        "c_skip" => |_, prediction, point| prediction.data_from(point).x,
        "c_noise" => |path, _, point| TimeLabel::LogSigma.label(path, point),
        "weight" => |_, _, point| Weight::Edm { sigma_data: SIGMA_DATA }.weight(point, &Prediction::Data),
        _ => return None,
    };
    let curve = move |file: &File| -> Result<Vec<f64>, String> {
        Ok(points(file, "probe.sigma", &path)?.iter().map(|point| of(&path, &prediction, point)).collect())
    };
    // The label is 0 at sigma = 1.
    Some(if quantity == "c_noise" { Meaning::tensor(TOLERANCE, curve) } else { Meaning::each(TOLERANCE, curve) })
}

/// The point of each image on a path, by its `sigma / alpha`.
fn points(file: &File, key: &str, path: &Path) -> Result<Vec<PathPoint>, String> {
    Ok(read(file, key)?.into_iter().map(|sigma| path.at(path.time_of_lambda(-sigma.ln()))).collect())
}

/// The objective on the file's images or, if `by_element`, on their elements as images.
fn outcome(
    file: &File,
    objective: &Denoising,
    noisy: &str,
    points: &[PathPoint],
    by_element: bool,
) -> Result<Outcome, String> {
    let data = images(file, "y")?;
    let net = Net::of(file)?;
    let (shape, values) = (data.dims(), numbers(data));
    let noise = combine(points, &read(file, noisy)?, &values, |point| (1.0 / point.rho(), -1.0 / point.rho()));
    let [b, c, h, w] = shape;
    let (shape, points) = if by_element {
        let repeated = points.iter().flat_map(|point| std::iter::repeat_n(*point, c * h * w));
        ([b * c * h * w, 1, 1, 1], repeated.collect())
    } else {
        (shape, points.to_vec())
    };
    let (data, noise) = (batch(values, shape), batch(noise, shape));
    run(objective, data, noise, &points, |input| net.output(objective, input, &points))
}

/// The file's network: `D = scale y_noisy / (1 + slope sigma)`.
struct Net {
    scale: f64,
    slope: f64,
}

impl Net {
    /// The network of the file's metadata.
    fn of(file: &File) -> Result<Self, String> {
        let Some(Value::String(formula)) = file.metadata("net") else { return Err("the file names no network".into()) };
        let numbers = formula.strip_prefix("D = ").and_then(|rest| rest.strip_suffix("*sigma)"));
        let numbers = numbers.and_then(|rest| rest.split_once("*y_noisy/(1+"));
        let numbers = numbers.and_then(|(scale, slope)| Some((scale.parse().ok()?, slope.parse().ok()?)));
        let (scale, slope) = numbers.ok_or_else(|| format!("the network `{formula}` is not understood"))?;
        Ok(Self { scale, slope })
    }

    /// `D / x` of a state `x = alpha y_noisy`.
    fn factor(&self, point: &PathPoint) -> f64 {
        self.scale / (1.0 + self.slope * point.rho()) / point.alpha
    }

    /// What a network of the objective puts out if it predicts the data D, `[b, c, h, w]`.
    fn output(&self, objective: &Denoising, input: Tensor<4>, points: &[PathPoint]) -> Tensor<4> {
        let column = |of: &dyn Fn(&PathPoint) -> f64| -> Tensor<4> {
            per_image(&points.iter().map(of).collect::<Vec<_>>(), &input) // [b, 1, 1, 1]
        };
        let state = input.clone() / column(&|point| objective.input_scale.scale(point));
        let data = state.clone() * column(&|point| self.factor(point));
        let map = |point: &PathPoint| objective.prediction.data_from(point);
        (data - state * column(&|point| map(point).x)) / column(&|point| map(point).prediction)
    }
}
