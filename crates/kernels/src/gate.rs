//! The gated residual connection of adaLN blocks.

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::extension::{self, is_fusable};

/// `x + gate * h`, the gate being one row an image (DiT's adaLN-zero, Peebles and Xie, 2022).
///
/// Shapes: `x`, `h` and the result `[b, n, d]`, `gate` `[b, d]`.
pub fn gate_residual(x: Tensor<3>, h: Tensor<3>, gate: Tensor<2>) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if is_fusable(&x) && is_fusable(&h) && is_fusable(&gate) {
        return extension::run_3(extension::GateResidual, x, h, gate);
    }
    gate_residual_composed(x, h, gate)
}

/// [`gate_residual`] in Burn's operations.
pub fn gate_residual_composed(x: Tensor<3>, h: Tensor<3>, gate: Tensor<2>) -> Tensor<3> {
    x + h * gate.unsqueeze_dim::<3>(1)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::testing::{assert_defined, assert_same, flat};

    fn with(
        [b, n, d]: [usize; 3],
        f: fn(Tensor<3>, Tensor<3>, Tensor<2>) -> Tensor<3>,
    ) -> impl Fn(&[Tensor<1>]) -> Tensor<1> {
        move |x| {
            let (first, second) = (x[0].clone().reshape([b, n, d]), x[1].clone().reshape([b, n, d]));
            flat(f(first, second, x[2].clone().reshape([b, d])))
        }
    }

    #[test]
    fn composed_form_is_the_definition() {
        let [b, n, d] = [2, 3, 5];
        assert_defined("gate", &[b * n * d, b * n * d, b * d], with([b, n, d], gate_residual_composed), |x| {
            (0..b * n * d).map(|i| x[0][i] + x[1][i] * x[2][i / (n * d) * d + i % d]).collect()
        });
    }

    #[test]
    fn fused_form_is_the_composed_one() {
        for [b, n, d] in [[2, 3, 5], [3, 64, 192], [1, 1, 1]] {
            let lengths = [b * n * d, b * n * d, b * d];
            assert_same(
                "gate",
                &lengths,
                with([b, n, d], gate_residual),
                with([b, n, d], gate_residual_composed),
                1e-6,
            );
        }
        // Views, and one tensor in two places.
        let with = |f: fn(Tensor<3>, Tensor<3>, Tensor<2>) -> Tensor<3>| {
            move |x: &[Tensor<1>]| {
                let h = x[0].clone().reshape([5, 4, 2]).swap_dims(0, 2);
                flat(f(h.clone(), h, x[1].clone().reshape([5, 2]).swap_dims(0, 1)).swap_dims(1, 2))
            }
        };
        assert_same("views", &[40, 10], with(gate_residual), with(gate_residual_composed), 1e-6);
    }
}
