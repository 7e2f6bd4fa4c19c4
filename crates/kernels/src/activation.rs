//! SiLU and the tanh form of GELU, element by element on any shape.

use burn::tensor::{Tensor, activation};

/// `2 sqrt(2 / pi)`: the slope of the sigmoid in [`gelu_tanh`].
pub(crate) const GELU_SLOPE: f64 = 1.595_769_121_605_730_7;
/// The cubic coefficient of the tanh GELU.
pub(crate) const GELU_CUBIC: f64 = 0.044_715;

/// `x sigmoid(x)` (also called swish), the shape kept.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    silu_composed(x)
}

/// [`silu`] in Burn's operations.
pub fn silu_composed<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::silu(x)
}

/// The tanh approximation of GELU (Hendrycks and Gimpel, 2016), the shape kept.
///
/// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`, written as the same function with one sigmoid,
/// `x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))`, because `(1 + tanh(u))/2 = sigmoid(2u)`.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    gelu_tanh_composed(x)
}

/// [`gelu_tanh`] in Burn's operations.
pub fn gelu_tanh_composed<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let cubic = x.clone() * x.clone() * GELU_CUBIC + 1.0;
    x.clone() * activation::sigmoid(x * cubic * GELU_SLOPE)
}
