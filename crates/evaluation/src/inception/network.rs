//! The network on tensors, without gradients.

use burn::tensor::activation::relu;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions, PadMode};
use burn::tensor::{DType, Device, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_kernels as kernels;

use super::architecture::{self, Block, Convolution, Step, after};
use super::weights::{Folded, Weights};

/// Channels of the spatial features.
const SPATIAL_CHANNELS: usize = 7;

/// What is read from the network, by the field's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Layer {
    /// 64 features: the mean over pixels after the first pool.
    #[serde(rename = "64")]
    Pool1,
    /// 192: likewise after the second pool.
    #[serde(rename = "192")]
    Pool2,
    /// 2023: the first 7 channels of `mixed_6/conv` (the branch of 1 x 1 in `Mixed_6d`), which sFID is measured in (Nash et
    /// al. 2021, arXiv:2103.03841), at their 17 x 17 places; pixel by pixel as `[y, x, channel]`, the order of the
    /// statistics that ADM published.
    #[serde(rename = "spatial")]
    Spatial,
    /// 768: the mean over pixels after `Mixed_6e`.
    #[serde(rename = "768")]
    Mixed6e,
    /// 2048: the mean over pixels after the last block, `pool_3`, which FID is measured in.
    #[default]
    #[serde(rename = "2048")]
    Pool3,
    /// 1008 logits without their bias, which torch-fidelity computes the Inception Score from.
    #[serde(rename = "logits_unbiased")]
    LogitsUnbiased,
    /// 1008 logits.
    #[serde(rename = "logits")]
    Logits,
}

impl Layer {
    /// All, in the order in which the network comes to them.
    pub const ALL: [Self; 7] =
        [Self::Pool1, Self::Pool2, Self::Spatial, Self::Mixed6e, Self::Pool3, Self::LogitsUnbiased, Self::Logits];

    /// Its name, as in configurations and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pool1 => "64",
            Self::Pool2 => "192",
            Self::Spatial => "spatial",
            Self::Mixed6e => "768",
            Self::Pool3 => "2048",
            Self::LogitsUnbiased => "logits_unbiased",
            Self::Logits => "logits",
        }
    }

    /// Numbers an image.
    pub fn length(self) -> usize {
        match self {
            Self::Pool1 => 64,
            Self::Pool2 => 192,
            Self::Spatial => 17 * 17 * SPATIAL_CHANNELS,
            Self::Mixed6e => 768,
            Self::Pool3 => architecture::FEATURES,
            Self::LogitsUnbiased | Self::Logits => architecture::LOGITS,
        }
    }

    /// How many blocks are done when it is read.
    fn blocks(self) -> usize {
        match self {
            Self::Pool1 => after::POOL_1,
            Self::Pool2 => after::POOL_2,
            Self::Spatial => after::MIXED_6D,
            Self::Mixed6e => after::MIXED_6E,
            Self::Pool3 | Self::LogitsUnbiased | Self::Logits => after::MIXED_7C,
        }
    }
}

/// A convolution that contains its normalization.
#[derive(Clone, Debug)]
struct Unit {
    /// `[outputs, inputs, height, width]`.
    weight: Tensor<4>,
    /// `[outputs]`.
    bias: Tensor<1>,
}

/// FID's Inception-v3, on one device and in one float type.
#[derive(Clone, Debug)]
pub struct InceptionV3 {
    blocks: Vec<Block>,
    /// In the order of the blocks' convolutions.
    units: Vec<Unit>,
    /// `[logits, features, 1, 1]`.
    classifier: Tensor<4>,
    /// `[logits]`.
    classifier_bias: Tensor<1>,
}

impl InceptionV3 {
    /// The network with these weights, in 32-bit or 64-bit floats.
    pub fn new(weights: Weights, device: &Device, dtype: DType) -> Self {
        let vector = |values: Vec<f64>| -> Tensor<1> {
            let length = values.len();
            Tensor::from_data(TensorData::new(values, [length]), (device, dtype))
        };
        let kernel = |values: Vec<f64>, shape: [usize; 4]| vector(values).reshape(shape);
        let blocks = architecture::blocks();
        let unit = |(convolution, folded): (&Convolution, Folded)| {
            let [height, width] = convolution.kernel;
            let shape = [convolution.outputs, convolution.inputs, height, width];
            Unit { weight: kernel(folded.weight, shape), bias: vector(folded.bias) }
        };
        let units = architecture::convolutions(&blocks).zip(weights.convolutions).map(unit).collect();
        let shape = [architecture::LOGITS, architecture::FEATURES, 1, 1];
        Self {
            blocks,
            units,
            classifier: kernel(weights.classifier.weight, shape),
            classifier_bias: vector(weights.classifier.bias),
        }
    }

    /// The layers that are asked for, of images `[b, 3, 299, 299]` in the network's range, each `[b, length]`; blocks beyond
    /// the last of them are not computed.
    pub fn forward(&self, x: Tensor<4>, layers: &[Layer]) -> Vec<Tensor<2>> {
        let last = layers.iter().map(|layer| layer.blocks()).max().unwrap_or(0);
        let mut read: Vec<Option<Tensor<2>>> = vec![None; layers.len()];
        let (mut x, mut units) = (x, self.units.iter());
        for (block, done) in self.blocks.iter().take(last).zip(1..) {
            x = join(block.branches.iter().map(|branch| run(branch, x.clone(), &mut units)).collect());
            for (layer, read) in layers.iter().zip(&mut read).filter(|(layer, _)| layer.blocks() == done) {
                *read = Some(self.read(*layer, x.clone()));
            }
        }
        read.into_iter().flatten().collect()
    }

    /// A layer, given the result `[b, c, h, w]` of the block that it is read after.
    fn read(&self, layer: Layer, x: Tensor<4>) -> Tensor<2> {
        let [b, ..] = x.dims();
        let logits = |bias| {
            let features = mean(x.clone()).reshape([b, architecture::FEATURES, 1, 1]);
            // A convolution is one product an image, whose rounding does not depend on how many images there are.
            kernels::conv2d(features, self.classifier.clone(), bias, 1, 0).reshape([b, architecture::LOGITS])
        };
        match layer {
            Layer::Pool1 | Layer::Pool2 | Layer::Mixed6e | Layer::Pool3 => mean(x),
            // The branch of 1 x 1 comes first.
            Layer::Spatial => x.narrow(1, 0, SPATIAL_CHANNELS).permute([0, 2, 3, 1]).flatten(1, 3), // [b, h w c]
            Layer::LogitsUnbiased => logits(None),
            Layer::Logits => logits(Some(self.classifier_bias.clone())),
        }
    }
}

/// The mean over pixels: `[b, c, h, w]` to `[b, c]`.
fn mean(x: Tensor<4>) -> Tensor<2> {
    let [b, c, h, w] = x.dims();
    x.reshape([b, c, h * w]).mean_dim(2).reshape([b, c])
}

/// The channels of all, one after the other.
fn join(mut branches: Vec<Tensor<4>>) -> Tensor<4> {
    if branches.len() == 1 { branches.swap_remove(0) } else { Tensor::cat(branches, 1) }
}

/// One branch, whose convolutions are the next of `units`.
fn run<'a>(branch: &[Step], x: Tensor<4>, units: &mut impl Iterator<Item = &'a Unit>) -> Tensor<4> {
    branch.iter().fold(x, |x, step| match step {
        Step::Convolution(convolution) => relu(convolve(convolution, x, units)),
        Step::Fork(both) => {
            join(both.iter().map(|convolution| relu(convolve(convolution, x.clone(), units))).collect())
        }
        Step::AveragePooled(convolution) => {
            // Means of pixels and sums over channels can change places, and fewer channels are left after the sums.
            let options = AvgPoolOptions::new([3, 3]).with_stride([1, 1]).with_padding([1, 1]);
            relu(avg_pool2d(convolve(convolution, x, units), options.with_count_include_pad(false)))
        }
        Step::MaxPool { stride } => {
            let padding = if *stride == 1 { 1 } else { 0 };
            max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([*stride; 2]).with_padding([padding; 2]))
        }
    })
}

/// Before the ReLU: `[b, inputs, h, w]` to `[b, outputs, h / stride, w / stride]`, less what is not padded.
fn convolve<'a>(convolution: &Convolution, x: Tensor<4>, units: &mut impl Iterator<Item = &'a Unit>) -> Tensor<4> {
    let Some(unit) = units.next() else { return x };
    let [rows, columns] = convolution.padding;
    // The kernels pad all sides by the same.
    let (x, padding) = match rows == columns {
        true => (x, rows),
        false => (x.pad([(rows, rows), (columns, columns)], PadMode::Constant(0.0)), 0),
    };
    kernels::conv2d(x, unit.weight.clone(), Some(unit.bias.clone()), convolution.stride, padding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_configurations() {
        for layer in Layer::ALL {
            assert_eq!(serde_json::to_value(layer).unwrap(), layer.name());
        }
    }
}
