//! The sum of squares, which global-norm clipping adds up over all gradients.

use burn::tensor::Tensor;

/// The sum of the squares of all elements, as a tensor of one element on the same device.
///
/// The fused form adds in 64-bit floats, in an order that depends on the length alone.
pub fn square_norm<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    square_norm_composed(x)
}

/// [`square_norm`] in Burn's operations.
pub fn square_norm_composed<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    (x.clone() * x).sum()
}
