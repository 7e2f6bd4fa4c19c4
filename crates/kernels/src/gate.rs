//! The gated residual connection of adaLN blocks.

use burn::tensor::Tensor;

/// `x + gate * h`, the gate being one row an image (DiT's adaLN-zero, Peebles and Xie, 2022).
///
/// Shapes: `x`, `h` and the result `[b, n, d]`, `gate` `[b, d]`.
pub fn gate_residual(x: Tensor<3>, h: Tensor<3>, gate: Tensor<2>) -> Tensor<3> {
    gate_residual_composed(x, h, gate)
}

/// [`gate_residual`] in Burn's operations.
pub fn gate_residual_composed(x: Tensor<3>, h: Tensor<3>, gate: Tensor<2>) -> Tensor<3> {
    x + h * gate.unsqueeze_dim::<3>(1)
}
