//! The network's weights: from a file, held to the table of tensors, with each normalization folded into its convolution.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use sha2::{Digest, Sha256};
use sinter_models::parameters::{Array, Arrays};
use sinter_models::weights::read_any;
use sinter_process::random::{Key, Stream};

use super::InceptionError;
use super::architecture::{self, Convolution};

/// The sha256 of the files that hold the weights of TensorFlow's graph: pytorch-fid's
/// `pt_inception-2015-12-05-6726825d.pth`, which torch-fidelity publishes as
/// `weights-inception-2015-12-05-6726825d.pth`.
pub const KNOWN: [&str; 1] = ["6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"];

/// What is added to a variance before its root.
const EPSILON: f64 = 1e-3;

/// A layer's numbers, row-major.
#[derive(Clone, Debug)]
pub(super) struct Folded {
    pub(super) weight: Vec<f64>,
    pub(super) bias: Vec<f64>,
}

/// Weights that fit the network.
#[derive(Clone, Debug)]
pub struct Weights {
    pub(super) convolutions: Vec<Folded>,
    pub(super) classifier: Folded,
}

impl Weights {
    /// Names and shapes of the tensors that make the weights.
    pub fn tensors() -> BTreeMap<String, Vec<usize>> {
        architecture::tensors()
    }

    /// The weights of a file (safetensors, or PyTorch's), and the lowercase hexadecimal sha256 of the file.
    ///
    /// # Errors
    /// When the file cannot be read, and as [`new`](Self::new).
    pub fn read(path: &Path) -> Result<(Self, String), InceptionError> {
        let mut digest = Sha256::new();
        File::open(path)
            .and_then(|mut file| std::io::copy(&mut file, &mut digest))
            .map_err(|source| InceptionError::File { path: path.to_owned(), source })?;
        let hash = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((Self::new(read_any(path, None)?)?, hash))
    }

    /// Weights drawn from `seed` so that numbers stay of the order of one from layer to layer: as fast as the published ones,
    /// and of no other use.
    ///
    /// # Errors
    /// None: the names and shapes are the table's.
    pub fn random(seed: u64) -> Result<Self, InceptionError> {
        let draw = |(which, (name, shape)): (usize, (String, Vec<usize>))| {
            let length = shape.iter().product();
            let mut values = vec![0.0f32; length];
            Key::new(seed, Stream::INITIALIZATION).at(which as u64).fill_normal(&mut values);
            let scale = (2.0 * shape[0] as f32 / length as f32).sqrt();
            let value = |value: f32| match name.rsplit_once('.') {
                Some((_, "running_var")) => value.abs() + 0.5,
                Some((layer, "weight")) if layer.ends_with(".bn") => 1.0 + 0.1 * value,
                Some((_, "weight")) => scale * value,
                _ => 0.1 * value,
            };
            values.iter_mut().for_each(|v| *v = value(*v));
            (name, Array { shape, values })
        };
        Self::new(Self::tensors().into_iter().enumerate().map(draw).collect())
    }

    /// From tensors under torchvision's names. Counts of batches (`num_batches_tracked`) and the second classifier
    /// (`AuxLogits`), which the network does not need, may be among them.
    ///
    /// # Errors
    /// [`InceptionError::Tensors`] with every tensor that is missing, unknown or of another shape.
    pub fn new(mut tensors: Arrays) -> Result<Self, InceptionError> {
        tensors.retain(|name, _| !(name.ends_with(".num_batches_tracked") || name.starts_with("AuxLogits.")));
        check(&tensors)?;
        let mut take = |name: String| -> Vec<f64> {
            let array = tensors.remove(&name).unwrap_or_default();
            array.values.into_iter().map(f64::from).collect()
        };
        let blocks = architecture::blocks();
        let convolutions =
            architecture::convolutions(&blocks).map(|convolution| fold(convolution, &mut take)).collect();
        let classifier = Folded { weight: take("fc.weight".into()), bias: take("fc.bias".into()) };
        Ok(Self { convolutions, classifier })
    }
}

/// Fails unless the tensors are those of the table.
fn check(tensors: &Arrays) -> Result<(), InceptionError> {
    let expected = architecture::tensors();
    let names: BTreeSet<&String> = expected.keys().chain(tensors.keys()).collect();
    let difference = |name: &String| match (expected.get(name), tensors.get(name)) {
        (Some(shape), None) => Some(format!("missing: {name} {shape:?}")),
        (None, Some(array)) => Some(format!("unknown: {name} {:?}", array.shape)),
        (Some(shape), Some(Array { shape: found, .. })) if shape != found => {
            Some(format!("shape: {name} is {found:?} and not {shape:?}"))
        }
        (Some(shape), Some(array)) if shape.iter().product::<usize>() != array.values.len() => {
            Some(format!("length: {name} {shape:?} has {} values", array.values.len()))
        }
        _ => None,
    };
    let differences: Vec<String> = names.into_iter().filter_map(difference).collect();
    if differences.is_empty() { Ok(()) } else { Err(InceptionError::Tensors(differences)) }
}

/// `scale (w * x - mean) / sqrt(variance + epsilon) + shift` as one convolution with bias.
fn fold(convolution: &Convolution, take: &mut impl FnMut(String) -> Vec<f64>) -> Folded {
    let name = &convolution.name;
    let mut weight = take(format!("{name}.conv.weight"));
    let mut part = |part: &str| take(format!("{name}.bn.{part}"));
    let (scale, shift, mean, variance) = (part("weight"), part("bias"), part("running_mean"), part("running_var"));
    let factors: Vec<f64> =
        scale.iter().zip(&variance).map(|(scale, variance)| scale / (variance + EPSILON).sqrt()).collect();
    let patch = weight.len() / convolution.outputs;
    for (weight, factor) in weight.chunks_exact_mut(patch).zip(&factors) {
        weight.iter_mut().for_each(|weight| *weight *= factor);
    }
    let bias = shift.iter().zip(&mean).zip(&factors).map(|((shift, mean), factor)| shift - mean * factor).collect();
    Folded { weight, bias }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeros() -> Arrays {
        let zero = |(name, shape): (String, Vec<usize>)| {
            let values = vec![0.0; shape.iter().product()];
            (name, Array { shape, values })
        };
        Weights::tensors().into_iter().map(zero).collect()
    }

    #[test]
    fn every_difference_is_named() {
        let mut tensors = zeros();
        tensors.remove("fc.bias");
        tensors.insert("Mixed_5b.extra".into(), Array { shape: vec![1], values: vec![0.0] });
        tensors.insert("Conv2d_2a_3x3.bn.bias".into(), Array { shape: vec![31], values: vec![0.0; 31] });
        // These two may be there.
        tensors.insert("Mixed_5b.branch1x1.bn.num_batches_tracked".into(), Array::default());
        tensors.insert("AuxLogits.fc.bias".into(), Array::default());
        let Err(InceptionError::Tensors(differences)) = Weights::new(tensors) else { panic!("was taken") };
        assert_eq!(
            differences,
            [
                "shape: Conv2d_2a_3x3.bn.bias is [31] and not [32]",
                "unknown: Mixed_5b.extra [1]",
                "missing: fc.bias [1008]",
            ]
        );
        assert!(Weights::new(zeros()).is_ok());
    }

    #[test]
    fn normalizations_are_folded() {
        let mut tensors = zeros();
        let mut set = |name: &str, value: f32| {
            tensors.get_mut(&format!("Conv2d_1a_3x3.{name}")).unwrap().values.fill(value);
        };
        set("conv.weight", 2.0);
        set("bn.weight", 3.0);
        set("bn.bias", 0.5);
        set("bn.running_mean", 4.0);
        set("bn.running_var", 0.25);
        let first = Weights::new(tensors).unwrap().convolutions.swap_remove(0);
        let factor = 3.0 / 0.251_f64.sqrt();
        assert_eq!((first.weight.len(), first.bias.len()), (32 * 3 * 9, 32));
        assert!(first.weight.iter().all(|weight| (weight - 2.0 * factor).abs() < 1e-12));
        assert!(first.bias.iter().all(|bias| (bias - (0.5 - 4.0 * factor)).abs() < 1e-12));
    }

    #[test]
    fn a_missing_file_is_named() {
        let message = Weights::read(Path::new("no/such.pth")).unwrap_err().to_string();
        assert!(message.contains("no/such.pth"), "{message}");
    }
}
