//! Golden networks: a file's network is built from its configuration and takes its weights by the way that a user's
//! import goes.

mod configs;
mod preconditioning;
mod routing;
mod whole;

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use sinter_models::parameters::{self, Array, Arrays};
use sinter_models::{Condition, DataShape, ModelConfig, Network, weights};

use crate::golden::{self, Case, Errors, File, Tolerance};

/// The device under test: `SINTER_TEST_DEVICE`, the CPU if unset. Others need the feature of their name.
#[allow(clippy::panic, reason = "the tests' device")]
pub(crate) fn device() -> Device {
    match std::env::var("SINTER_TEST_DEVICE").as_deref() {
        Err(_) | Ok("flex") => Device::flex(),
        #[cfg(feature = "wgpu")]
        Ok("wgpu") => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "vulkan")]
        Ok("vulkan") => Device::vulkan(burn::tensor::DeviceKind::DefaultDevice),
        Ok(other) => panic!("SINTER_TEST_DEVICE={other}: this build has no such device"),
    }
}

/// The CPU's; other devices multiply in another order and with other rounding.
pub(crate) fn bound(on_the_cpu: f64) -> f64 {
    if device() == Device::flex() { on_the_cpu } else { 1e-3 }
}

fn tolerance(on_the_cpu: f64) -> Tolerance {
    Tolerance::Relative(bound(on_the_cpu))
}

fn output() -> Tolerance {
    tolerance(2e-5)
}

fn gradient() -> Tolerance {
    tolerance(5e-5)
}

/// Of gradients that are zero by structure, relative to the file's largest.
fn zero_gradient() -> f64 {
    if device() == Device::flex() { 1e-6 } else { 1e-4 }
}

/// Classes of networks that are still to come.
const PENDING: &[&str] = &["diffusers AutoencoderKL", "diffusers UNet2DConditionModel", "diffusers UNet2DModel"];

/// The cases of a file with a network.
pub fn cases(file: &Arc<File>) -> Vec<Case> {
    let class = text(file, "class");
    let reference = match class.as_str() {
        "DiT" => configs::dit(file, false),
        "SiT" => configs::dit(file, true),
        "DiT with DTR masks" => configs::dtr(file),
        "Switch-DiT" => configs::switch_dit(file),
        "guided-diffusion UNetModel" => configs::adm(file),
        "EDM SongUNet" => configs::song(file),
        "EDM DhariwalUNet" => configs::dhariwal(file),
        "EDM preconditioning wrappers" => return preconditioning::cases(file),
        class if PENDING.contains(&class) => return vec![Case::pending("network", class)],
        class => Err(format!("the class {class:?} is not understood")),
    };
    let reference = match reference {
        Ok(reference) => Arc::new(reference),
        Err(reason) => return vec![Case::failed("network", reason)],
    };
    let case = |name: &str, check: fn(&File, &Reference, &mut Errors) -> Result<(), String>| {
        let (file, reference) = (Arc::clone(file), Arc::clone(&reference));
        Case::new(name, move |errors| check(&file, &reference, errors))
    };
    let mut cases = vec![case("outputs", whole::outputs), case("gradients", whole::gradients)];
    if file.contains("cfg.out_scale3") {
        cases.push(case("guided", whole::guided));
    }
    if file.keys().iter().any(|key| key.starts_with("mask_start.")) {
        cases.push(case("masks", routing::masks));
    }
    if file.keys().iter().any(|key| key.starts_with("out64.router")) {
        cases.extend([case("routers", routing::routers), case("prior", routing::prior)]);
    }
    if file.keys().iter().any(|key| key.starts_with("out64.mid.")) {
        cases.push(case("intermediates", whole::intermediates));
    }
    cases
}

/// A network of ours that stands for one of the reference's.
struct Reference {
    config: ModelConfig,
    shape: DataShape,
    implementation: weights::Reference,
}

impl Reference {
    /// The network with the file's weights.
    fn network(&self, file: &File, device: &Device) -> Result<Network, String> {
        let network = self.config.build(&self.shape, device, 0).map_err(|problems| problems.to_string())?;
        let mut weights = Arrays::new();
        if let Some(base) = file.metadata("weights_not_here_are_in") {
            let folder = golden::folder().ok_or("the folder is missing")?;
            let base = File::open(folder.join(base.as_str().unwrap_or_default())).map_err(|error| error.to_string())?;
            weights.extend(self.weights(&base, "w.")?);
            // The base may have layers that this network does not.
            let shapes = parameters::names_and_shapes(&network);
            weights.retain(|name, array| shapes.get(name).is_some_and(|shape| *shape == array.shape));
        }
        weights.extend(self.weights(file, "w.")?);
        parameters::write(network, weights).map_err(|error| error.to_string())
    }

    /// The network with the weights whose keys start with `prefix`.
    fn network_of(&self, file: &File, prefix: &str, device: &Device) -> Result<Network, String> {
        let network = self.config.build(&self.shape, device, 0).map_err(|problems| problems.to_string())?;
        parameters::write(network, self.weights(file, prefix)?).map_err(|error| error.to_string())
    }

    /// The file's weights under our names.
    fn weights(&self, file: &File, prefix: &str) -> Result<Arrays, String> {
        let mut theirs = Arrays::new();
        for key in file.keys() {
            if let Some(name) = key.strip_prefix(prefix) {
                theirs.insert(name.to_owned(), array(file, &key)?);
            }
        }
        self.implementation.import(&self.config, &self.shape, theirs).map_err(|error| error.to_string())
    }

    /// Our tensors under the reference's names.
    fn export(&self, ours: Arrays) -> Result<BTreeMap<String, Vec<f64>>, String> {
        let theirs = self.implementation.export(&self.config, &self.shape, ours).map_err(|error| error.to_string())?;
        Ok(theirs.into_iter().map(|(name, array)| (name, array.values.into_iter().map(f64::from).collect())).collect())
    }

    /// The network's answer to the inputs that start with `prefix`, as far as the reference gives it.
    fn answer(&self, network: &Network, x: Tensor<4>, file: &File, prefix: &str) -> Result<Tensor<4>, String> {
        let device = x.device();
        let (time, condition) = self.conditions(file, prefix, &device)?;
        let y = network.forward(x, time, &condition, None);
        Ok(if self.implementation == weights::Reference::Sit { -y } else { y })
    }

    /// Time labels and what is asked for of the inputs that start with `prefix`.
    fn conditions(&self, file: &File, prefix: &str, device: &Device) -> Result<(Tensor<1>, Condition), String> {
        let (time, condition) = conditions(file, prefix, device)?;
        // SiT's clock and velocity run from noise to data.
        Ok((if self.implementation == weights::Reference::Sit { -time + 1.0 } else { time }, condition))
    }
}

/// The gradient of every parameter that has one, by our names.
fn gradients_of(network: &Network, backward: &Gradients) -> Result<Arrays, String> {
    let shapes = parameters::names_and_shapes(network);
    let mut gradients = Arrays::new();
    for (name, gradient) in parameters::gradients(network, backward) {
        let values = gradient.try_into_vec_as::<f32>().map_err(|error| error.to_string())?;
        gradients.insert(name.clone(), Array { shape: shapes[&name].clone(), values });
    }
    Ok(gradients)
}

/// Time labels and classes of the inputs that start with `prefix`, as the reference is told them.
fn conditions(file: &File, prefix: &str, device: &Device) -> Result<(Tensor<1>, Condition), String> {
    let noise = format!("{prefix}.noise_labels");
    if file.contains(&noise) {
        return Ok((tensor(file, &noise, device)?, edm_condition(file, prefix, device)?));
    }
    let time = tensor::<1>(file, &format!("{prefix}.t"), device)?;
    let key = format!("{prefix}.y");
    if !file.contains(&key) {
        return Ok((time, Condition::none()));
    }
    let labels: Vec<i64> = read(file, &key)?.into_iter().map(|label| label as i64).collect();
    let length = labels.len();
    Ok((time, Condition::of_class(Tensor::<1, Int>::from_data(TensorData::new(labels, [length]), device))))
}

/// Classes, which EDM's networks are told in zeros and ones, and augmentations.
fn edm_condition(file: &File, prefix: &str, device: &Device) -> Result<Condition, String> {
    let (classes, augmentation) = (format!("{prefix}.class_labels"), format!("{prefix}.augment_labels"));
    let class = match file.contains(&classes) {
        false => None,
        true => {
            let Array { shape, values } = array(file, &classes)?;
            let &[b, count] = shape.as_slice() else { return Err(format!("{classes} is not a matrix")) };
            let label = |row: &[f32]| row.iter().position(|value| *value == 1.0).unwrap_or(count) as i64;
            let labels: Vec<i64> = values.chunks_exact(count).map(label).collect();
            Some(Tensor::<1, Int>::from_data(TensorData::new(labels, [b]), device))
        }
    };
    let augmentation = match file.contains(&augmentation) {
        false => None,
        true => Some(tensor(file, &augmentation, device)?),
    };
    Ok(Condition { class, augmentation, ..Condition::none() })
}

fn text(file: &File, key: &str) -> String {
    file.metadata(key).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn read(file: &File, key: &str) -> Result<Vec<f64>, String> {
    file.values(key).map_err(|error| error.to_string())
}

fn array(file: &File, key: &str) -> Result<Array, String> {
    let (shape, values) = file.tensor(key).map_err(|error| error.to_string())?;
    Ok(Array { shape, values: values.into_iter().map(|value| value as f32).collect() })
}

fn tensor<const D: usize>(file: &File, key: &str, device: &Device) -> Result<Tensor<D>, String> {
    let Array { shape, values } = array(file, key)?;
    if shape.len() != D {
        return Err(format!("{key} is {shape:?}, not of {D} dimensions"));
    }
    Ok(Tensor::from_data(TensorData::new(values, shape), device))
}

fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f64>, String> {
    let values = tensor.try_into_vec_as::<f32>().map_err(|error| error.to_string())?;
    Ok(values.into_iter().map(f64::from).collect())
}
