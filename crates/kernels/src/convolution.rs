//! Two-dimensional convolution.

use burn::tensor::{Tensor, module, ops::ConvOptions};

/// Two-dimensional convolution (cross-correlation, as everywhere in deep learning), zero padded.
///
/// Shapes: `x` `[b, i, h, w]`, `weight` `[o, i, kh, kw]`, `bias` `[o]`; result `[b, o, oh, ow]` with
/// `oh = (h + 2 padding - kh) / stride + 1`, likewise `ow`.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, stride: usize, padding: usize) -> Tensor<4> {
    conv2d_composed(x, weight, bias, stride, padding)
}

/// [`conv2d`] in Burn's operations.
pub fn conv2d_composed(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: usize,
    padding: usize,
) -> Tensor<4> {
    module::conv2d(x, weight, bias, ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1))
}
