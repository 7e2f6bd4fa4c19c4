//! Golden features of Inception-v3, from weights that a rule makes of their names.
//!
//! A case is one tensor, named by its key: `<height>x<width>.<library>_<precision>.<layer>` the features of
//! `<height>x<width>.images`, `<height>x<width>.resized_<way>_channel<c>_image<i>` one resized channel, `rule.<tensor>.first8`
//! the first weights of a tensor; and the names of all tensors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use burn::tensor::{DType, Device, Tensor, TensorData};
use sinter_evaluation::inception::{InceptionFeatures, InceptionV3, Layer, Resize, SIZE, Weights};
use sinter_models::parameters::{Array, Arrays};

use crate::golden::{Case, File, Tolerance};
use crate::models::{bound, device};

/// Of features in 64-bit floats, which the file rounds to 32.
const F64: f64 = 1e-6;
/// Of features in 32-bit floats.
const F32: f64 = 1e-5;

/// The cases of a file of features.
pub fn cases(file: &Arc<File>) -> Vec<Case> {
    let mut passes: BTreeMap<String, Arc<Pass>> = BTreeMap::new();
    let outputs = file.keys().into_iter().filter(|key| !key.ends_with(".images"));
    let mut cases: Vec<Case> = outputs.map(|key| case(file, key, &mut passes)).collect();
    if file.metadata("parameter_names").is_some() {
        let file = Arc::clone(file);
        cases.push(Case::new("parameter_names", move |_| names(&file)));
    }
    cases
}

fn case(file: &Arc<File>, key: String, passes: &mut BTreeMap<String, Arc<Pass>>) -> Case {
    let check = check(file, &key, passes);
    let file = Arc::clone(file);
    match check {
        None => Case::failed(key.clone(), format!("`{key}` is no output of this package")),
        Some(check) => Case::new(key.clone(), move |errors| {
            let (ours, tolerance) = check(&file)?;
            let reference = file.values(&key).map_err(text)?;
            errors.compare(&key, &ours, &reference, tolerance)
        }),
    }
}

type Check = Box<dyn FnOnce(&File) -> Result<(Vec<f64>, Tolerance), String> + Send>;

/// What computes our value for the output `key`; `None` if the key is not understood.
fn check(file: &File, key: &str, passes: &mut BTreeMap<String, Arc<Pass>>) -> Option<Check> {
    if let Some(name) = key.strip_prefix("rule.").and_then(|rest| rest.strip_suffix(".first8")) {
        let name = name.to_owned();
        return Some(Box::new(move |_| {
            let tensors = Weights::tensors();
            let shape = tensors.get(&name).ok_or_else(|| format!("the network has no tensor `{name}`"))?;
            let first = rule(&name, shape).into_iter().take(8).map(f64::from);
            Ok((first.collect(), Tolerance::Absolute(0.0)))
        }));
    }
    let (size, output) = key.split_once('.')?;
    let images = format!("{size}.images");
    if !file.contains(&images) {
        return None;
    }
    if let Some(resized) = output.strip_prefix("resized_") {
        let (way, place) = resized.split_once("_channel")?;
        let (channel, image) = place.split_once("_image")?;
        let (channel, image) = (channel.parse().ok()?, image.parse().ok()?);
        let resize = match way {
            "tf1" => Resize::Tensorflow,
            "halfpixel" => Resize::Pytorch,
            _ => return None,
        };
        return Some(Box::new(move |file| {
            let (pixels, size) = pixels(file, &images)?.channel(image, channel)?;
            Ok((resize.channel(&pixels, size), Tolerance::Relative(F64)))
        }));
    }
    let (protocol, layer) = output.split_once('.')?;
    let (library, precision) = protocol.rsplit_once('_')?;
    let resize = match library {
        "torch_fidelity" => Resize::Tensorflow,
        "pytorch_fid" => Resize::Pytorch,
        _ => return None,
    };
    let (dtype, tolerance) = match precision {
        "f64" => (DType::F64, Tolerance::Relative(F64)),
        "f32" => (DType::F32, Tolerance::Relative(bound(F32))),
        _ => return None,
    };
    let layer = Layer::ALL.into_iter().find(|known| known.name() == layer)?;
    let pass = passes
        .entry(format!("{size}.{protocol}"))
        .or_insert_with(|| Arc::new(Pass { images, resize, dtype, result: OnceLock::new() }));
    let pass = Arc::clone(pass);
    Some(Box::new(move |file| Ok((pass.layer(file, layer)?, tolerance))))
}

/// Images through a network once, for the cases of all layers.
struct Pass {
    images: String,
    resize: Resize,
    dtype: DType,
    result: OnceLock<Result<Vec<Vec<f64>>, String>>,
}

impl Pass {
    fn layer(&self, file: &File, layer: Layer) -> Result<Vec<f64>, String> {
        let layers = self.result.get_or_init(|| self.run(file)).as_ref().map_err(Clone::clone)?;
        let index = Layer::ALL.into_iter().position(|other| other == layer);
        index.and_then(|index| layers.get(index).cloned()).ok_or_else(|| format!("no {layer:?}"))
    }

    /// All layers.
    fn run(&self, file: &File) -> Result<Vec<Vec<f64>>, String> {
        let Pixels { pixels, shape } = pixels(file, &self.images)?;
        if self.dtype == DType::F32 {
            static FEATURES: OnceLock<Result<(InceptionFeatures, InceptionFeatures), String>> = OnceLock::new();
            let of =
                |resize| weights().map(|weights| InceptionFeatures::new(weights, String::new(), resize, &device()));
            let both = FEATURES.get_or_init(|| Ok((of(Resize::Tensorflow)?, of(Resize::Pytorch)?)));
            let (tensorflow, pytorch) = both.as_ref().map_err(Clone::clone)?;
            let features = if self.resize == Resize::Tensorflow { tensorflow } else { pytorch };
            let layers = features.layers_of_bytes(&pixels, shape, &Layer::ALL).map_err(text)?;
            return Ok(layers.into_iter().map(|layer| layer.into_iter().map(f64::from).collect()).collect());
        }
        // Of the devices, the CPU has 64-bit floats.
        static NETWORK: OnceLock<Result<InceptionV3, String>> = OnceLock::new();
        let network = NETWORK.get_or_init(|| Ok(InceptionV3::new(weights()?, &Device::flex(), DType::F64)));
        let network = network.as_ref().map_err(Clone::clone)?;
        let resized = self.resize.images(&pixels, shape, |value| value).map_err(text)?;
        let x = TensorData::new(resized, [shape[0], 3, SIZE, SIZE]);
        let x: Tensor<4> = Tensor::from_data(x, (&Device::flex(), DType::F64)); // [n, 3, 299, 299]
        let layers = network.forward(x, &Layer::ALL);
        Ok(layers.into_iter().map(|layer| layer.into_data().iter::<f64>().collect()).collect())
    }
}

/// Images `[n, c, h, w]` of a file.
struct Pixels {
    pixels: Vec<u8>,
    shape: [usize; 4],
}

impl Pixels {
    /// One channel of one image, and its height and width.
    fn channel(&self, image: usize, channel: usize) -> Result<(Vec<u8>, [usize; 2]), String> {
        let [n, c, height, width] = self.shape;
        if image >= n || channel >= c {
            return Err(format!("there is no channel {channel} of image {image}"));
        }
        let length = height * width;
        Ok((self.pixels[(image * c + channel) * length..][..length].to_vec(), [height, width]))
    }
}

fn pixels(file: &File, key: &str) -> Result<Pixels, String> {
    let (shape, values) = file.tensor(key).map_err(text)?;
    let shape: [usize; 4] = shape.try_into().map_err(|shape| format!("{key} has the shape {shape:?}"))?;
    Ok(Pixels { pixels: values.into_iter().map(|value| value as u8).collect(), shape })
}

/// The network's tensors are those of the reference, but for its counts of batches.
fn names(file: &File) -> Result<(), String> {
    let names = file.metadata("parameter_names").ok_or("there are no names")?;
    let mut theirs: BTreeSet<String> = serde_json::from_value(names).map_err(text)?;
    theirs.retain(|name| !name.ends_with(".num_batches_tracked"));
    let ours: BTreeSet<String> = Weights::tensors().into_keys().collect();
    let different: Vec<&String> = ours.symmetric_difference(&theirs).collect();
    if different.is_empty() { Ok(()) } else { Err(format!("only in one: {different:?}")) }
}

/// The weights that the rule makes.
fn weights() -> Result<Weights, String> {
    static TENSORS: OnceLock<Arrays> = OnceLock::new();
    let make = |(name, shape): (String, Vec<usize>)| {
        let values = rule(&name, &shape);
        (name, Array { shape, values })
    };
    let tensors = TENSORS.get_or_init(|| Weights::tensors().into_iter().map(make).collect());
    Weights::new(tensors.clone()).map_err(text)
}

/// A tensor of this name and shape: hashes of the elements' numbers as uniform numbers, scaled by what the tensor is.
fn rule(name: &str, shape: &[usize]) -> Vec<f32> {
    let length: usize = shape.iter().product();
    let first = crc32(name.as_bytes());
    let symmetric = |index: usize| {
        let hash = murmur3_finaliser((index as u32).wrapping_mul(2_654_435_761).wrapping_add(first));
        2.0 * ((f64::from(hash) + 0.5) / 4_294_967_296.0) - 1.0
    };
    let (offset, scale) = match name {
        name if name.ends_with("conv.weight") => (0.0, (6.0 / (length as f64 / shape[0] as f64)).sqrt()),
        "fc.weight" => (0.0, (3.0 / shape[1] as f64).sqrt()),
        name if name.ends_with("bn.weight") => (1.0, 0.2),
        name if name.ends_with("running_var") => (1.0, 0.5),
        _ => (0.0, 0.1),
    };
    (0..length).map(|index| (offset + scale * symmetric(index)) as f32).collect()
}

/// The last step of MurmurHash3 (Appleby 2011) of 32 bits.
fn murmur3_finaliser(mut hash: u32) -> u32 {
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// The checksum of zip and PNG.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_zip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(murmur3_finaliser(0), 0);
        assert_eq!(murmur3_finaliser(1), 0x514e_28b7);
    }
}
