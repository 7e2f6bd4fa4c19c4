use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::adapters::AdapterConfig;
use crate::dual::{self, Dual};
use crate::initialization::{Initialization, Rule};

/// A small addition to a layer, trained while the layer stays as it is; at the start it adds zero.
///
/// `D` is the number of dimensions of the layer's weight: 2 for a linear layer, 4 for a convolution.
#[derive(Module, Debug)]
pub enum Adapter<const D: usize> {
    /// Beside the layer.
    LowRank(LowRank<D>),
    /// After the layer.
    Bottleneck(Bottleneck),
}

/// `y + alpha / rank * up(down(x))` of a layer from `x` to `y` (LoRA: Hu et al., 2022, eq. 3).
#[derive(Module, Debug)]
pub struct LowRank<const D: usize> {
    /// To `rank` features with the layer's kernel and stride: `[in, rank]`, or `[rank, in, size, size]`.
    pub down: Param<Tensor<D>>,
    /// To the layer's outputs: `[rank, out]`, or `[out, rank, 1, 1]`; starts at zero.
    pub up: Param<Tensor<D>>,
    scale: f64,
}

/// `y + up(gelu(down(y)))` of a layer's output `y`, pixel by pixel for images (Houlsby et al., 2019, section 2.1).
#[derive(Module, Debug)]
pub struct Bottleneck {
    /// `[out, width]`.
    pub down: Param<Tensor<2>>,
    /// `[width]`.
    pub down_bias: Param<Tensor<1>>,
    /// `[width, out]`; starts at zero.
    pub up: Param<Tensor<2>>,
    /// `[out]`; starts at zero.
    pub up_bias: Param<Tensor<1>>,
}

impl<const D: usize> Adapter<D> {
    /// For a layer whose output has `outputs` features; `down` and `up` give the shapes at a rank.
    fn new(
        config: &AdapterConfig,
        outputs: usize,
        down: impl Fn(usize) -> [usize; D],
        up: impl Fn(usize) -> [usize; D],
        fan_in: usize,
        init: &mut Initialization,
    ) -> Self {
        match *config {
            AdapterConfig::LowRank { rank, .. } => Self::LowRank(LowRank {
                down: init.parameter(down(rank), Rule::fan_in(fan_in)),
                up: init.parameter(up(rank), Rule::ZEROS),
                scale: config.scale(),
            }),
            AdapterConfig::Bottleneck { width } => Self::Bottleneck(Bottleneck {
                down: init.parameter([outputs, width], Rule::fan_in(outputs)),
                down_bias: init.parameter([width], Rule::ZEROS),
                up: init.parameter([width, outputs], Rule::ZEROS),
                up_bias: init.parameter([outputs], Rule::ZEROS),
            }),
        }
    }
}

impl Adapter<2> {
    /// Of a linear layer.
    pub(crate) fn linear(config: &AdapterConfig, inputs: usize, outputs: usize, init: &mut Initialization) -> Self {
        Self::new(config, outputs, |rank| [inputs, rank], |rank| [rank, outputs], inputs, init)
    }

    /// What the layer that made `y` `[.., out]` of `x` `[.., in]` gives with the adapter.
    pub fn forward<const N: usize>(&self, x: Dual<N>, y: Dual<N>) -> Dual<N> {
        match self {
            Self::LowRank(LowRank { down, up, scale }) => {
                let h = dual::linear(x, down.val(), None) * *scale; // [.., rank]
                y + dual::linear(h, up.val(), None)
            }
            Self::Bottleneck(Bottleneck { down, down_bias, up, up_bias }) => {
                let h = dual::linear(y.clone(), down.val(), Some(down_bias.val())); // [.., width]
                y + dual::linear(dual::gelu_tanh(h), up.val(), Some(up_bias.val()))
            }
        }
    }
}

impl Adapter<4> {
    /// Of a convolution with a kernel of `size` x `size`.
    pub(crate) fn convolution(
        config: &AdapterConfig,
        inputs: usize,
        outputs: usize,
        size: usize,
        init: &mut Initialization,
    ) -> Self {
        let down = |rank| [rank, inputs, size, size];
        Self::new(config, outputs, down, |rank| [outputs, rank, 1, 1], inputs * size * size, init)
    }

    /// What the convolution that made `y` `[b, out, h', w']` of `x` `[b, in, h, w]` at `stride` gives with the adapter.
    pub fn forward(&self, x: Dual<4>, y: Dual<4>, stride: usize) -> Dual<4> {
        match self {
            Self::LowRank(LowRank { down, up, scale }) => {
                let [_, _, size, _] = down.dims();
                let h = dual::conv2d(x, down.val(), None, stride, size / 2) * *scale; // [b, rank, h', w']
                y + dual::conv2d(h, up.val(), None, 1, 0)
            }
            Self::Bottleneck(Bottleneck { down, down_bias, up, up_bias }) => {
                let h = dual::conv2d(y.clone(), pointwise(down), Some(down_bias.val()), 1, 0); // [b, width, h', w']
                y + dual::conv2d(dual::gelu_tanh(h), pointwise(up), Some(up_bias.val()), 1, 0)
            }
        }
    }
}

/// A linear layer's weight `[in, out]` as that of a convolution over single pixels, `[out, in, 1, 1]`.
fn pointwise(weight: &Param<Tensor<2>>) -> Tensor<4> {
    let [inputs, outputs] = weight.dims();
    weight.val().transpose().reshape([outputs, inputs, 1, 1])
}
