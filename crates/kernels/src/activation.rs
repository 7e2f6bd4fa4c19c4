//! SiLU and the tanh form of GELU, element by element on any shape.

use burn::tensor::{Tensor, activation};

#[cfg(feature = "flex")]
use crate::extension;

/// `2 sqrt(2 / pi)`: the slope of the sigmoid in [`gelu_tanh`].
pub const GELU_SLOPE: f64 = 1.595_769_121_605_730_7;
/// The cubic coefficient of the tanh GELU.
pub const GELU_CUBIC: f64 = 0.044_715;

/// `x sigmoid(x)` (also called swish), the shape kept.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if extension::is_fusable(&x) {
        return extension::run_1(extension::Activation::Silu, x);
    }
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
    #[cfg(feature = "flex")]
    if extension::is_fusable(&x) {
        return extension::run_1(extension::Activation::Gelu, x);
    }
    gelu_tanh_composed(x)
}

/// [`gelu_tanh`] in Burn's operations.
pub fn gelu_tanh_composed<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let cubic = x.clone() * x.clone() * GELU_CUBIC + 1.0;
    x.clone() * activation::sigmoid(x * cubic * GELU_SLOPE)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::testing::{assert_defined, assert_same, flat};

    #[test]
    fn composed_forms_are_the_definitions() {
        assert_defined(
            "silu",
            &[101],
            |x| silu_composed(x[0].clone()),
            |x| x[0].iter().map(|x| x / (1.0 + (-x).exp())).collect(),
        );
        assert_defined(
            "gelu_tanh",
            &[101],
            |x| gelu_tanh_composed(x[0].clone() * 3.0),
            |x| {
                let gelu = |x: f64| {
                    let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
                    0.5 * x * (1.0 + u.tanh())
                };
                x[0].iter().map(|x| gelu(3.0 * x)).collect()
            },
        );
    }

    #[test]
    fn fused_forms_are_the_composed_ones() {
        for n in [1, 77, 50_001] {
            assert_same("silu", &[n], |x| silu(x[0].clone()), |x| silu_composed(x[0].clone()), 1e-6);
            assert_same(
                "gelu",
                &[n],
                |x| gelu_tanh(x[0].clone() * 3.0),
                |x| gelu_tanh_composed(x[0].clone() * 3.0),
                1e-6,
            );
        }
    }

    #[test]
    fn fused_forms_read_views() {
        // A transposed input, a transposed gradient, and an input that is used twice.
        let with = |f: fn(Tensor<2>) -> Tensor<2>| {
            move |x: &[Tensor<1>]| {
                let x = x[0].clone().reshape([30, 7]).swap_dims(0, 1);
                flat((f(x.clone()) * x).swap_dims(0, 1))
            }
        };
        assert_same("silu", &[210], with(silu), with(silu_composed), 1e-6);
        assert_same("gelu", &[210], with(gelu_tanh), with(gelu_tanh_composed), 1e-6);
        // The gradient of a sum is one number, repeated.
        let sum = |f: fn(Tensor<1>) -> Tensor<1>| move |x: &[Tensor<1>]| f(x[0].clone()).sum();
        assert_same("silu", &[210], sum(silu), sum(silu_composed), 1e-6);
    }

    #[test]
    fn half_precision_takes_the_composed_form() {
        use burn::tensor::{DType, Device};
        let x = Tensor::<1>::from_floats([-1.0, 0.5, 2.0], &Device::flex()).cast(DType::F16);
        let (got, want) = (silu(x.clone()), silu_composed(x));
        assert_eq!(got.dtype(), DType::F16);
        got.into_data().assert_eq(&want.into_data(), true);
    }
}
