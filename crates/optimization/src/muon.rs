//! Muon: momentum, orthogonalised by a Newton-Schulz iteration (Jordan et al. 2024), for weights that are matrices.
//!
//! The iteration `X <- a X + (b A + c A^2) X` with `A = X X^T` pushes every singular value towards 1. Biases and
//! norms, which are no maps, and the layers on the way of the condition (tables of classes and words, time, modulation),
//! whose inputs are few and repeat, are left to AdamW.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::AdamW;

/// Coefficients of the quintic iteration: steep at 0, bounded near 1.
const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];

/// What the names of the layers on the way of the condition have in them.
const CONDITION: [&str; 3] = ["conditioning.", "embedding", "modulation"];

/// Settings of the rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Muon {
    /// Decay of the momentum, in [0, 1).
    pub momentum: f64,
    /// Look one step ahead (Nesterov).
    pub nesterov: bool,
    /// Newton-Schulz iterations, >= 1.
    pub iterations: usize,
    /// Decoupled weight decay of the matrices, multiplied by the learning rate; >= 0.
    pub weight_decay: f64,
    /// The rule for every parameter that is not a matrix; it shares the learning rate times `adamw_ratio`.
    pub adamw: AdamW,
    /// Learning rate of the AdamW part as a fraction of the matrices', > 0.
    pub adamw_ratio: f64,
}

impl Default for Muon {
    fn default() -> Self {
        Self {
            momentum: 0.95,
            nesterov: true,
            iterations: 5,
            weight_decay: 0.0,
            adamw: AdamW::default(),
            adamw_ratio: 0.015,
        }
    }
}

impl Muon {
    /// Every problem of these settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check((0.0..1.0).contains(&self.momentum), "momentum", "must be in [0, 1)");
        problems.check(self.iterations > 0, "iterations", "must be at least 1");
        problems.check(self.weight_decay >= 0.0, "weight_decay", "must be 0 or above");
        problems.check(self.adamw_ratio > 0.0, "adamw_ratio", "must be above 0");
        problems.nest("adamw", self.adamw.validate());
        problems
    }

    /// The `[rows, columns]` under which a parameter is orthogonalised, or none if AdamW has it: matrices and
    /// convolution kernels `[o, i, kh, kw]` as `[o, i kh kw]`.
    pub(crate) fn matrix(name: &str, shape: &[usize]) -> Option<[usize; 2]> {
        if shape.len() < 2 || CONDITION.iter().any(|part| name.contains(part)) {
            return None;
        }
        Some([shape[0], shape[1..].iter().product()])
    }

    /// One update of one matrix held flat. Returns the parameter and its momentum.
    pub(crate) fn step(
        &self,
        parameter: Tensor<1>,
        gradient: Tensor<1>,
        momentum: Tensor<1>,
        matrix: [usize; 2],
        learning_rate: f64,
    ) -> (Tensor<1>, Tensor<1>) {
        let momentum = momentum.mul_scalar(self.momentum) + gradient.clone();
        let direction =
            if self.nesterov { momentum.clone().mul_scalar(self.momentum) + gradient } else { momentum.clone() };
        let [rows, columns] = matrix;
        let update = orthogonalise(direction.reshape([rows, columns]), self.iterations);
        // Keeps the root mean square of an update independent of the shape of the matrix.
        let gain = (rows as f64 / columns as f64).max(1.0).sqrt();
        let kept = parameter.mul_scalar(1.0 - learning_rate * self.weight_decay);
        (kept - update.reshape([rows * columns]).mul_scalar(learning_rate * gain), momentum)
    }
}

/// The nearest matrix with singular values about 1 (in [0.7, 1.2]), `[rows, columns]`.
fn orthogonalise(matrix: Tensor<2>, iterations: usize) -> Tensor<2> {
    let [rows, columns] = matrix.dims();
    let wide = rows <= columns;
    let mut x = if wide { matrix } else { matrix.transpose() };
    let norm = x.clone().square().sum().sqrt().add_scalar(1e-7);
    x = x / norm.reshape([1, 1]);
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..iterations {
        let gram = x.clone().matmul(x.clone().transpose());
        let polynomial = gram.clone().mul_scalar(b) + gram.clone().matmul(gram).mul_scalar(c);
        x = x.clone().mul_scalar(a) + polynomial.matmul(x);
    }
    if wide { x } else { x.transpose() }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// A diagonal matrix stays diagonal, so the iteration acts on each singular value alone: checked in f64.
    #[test]
    fn singular_values_follow_the_scalar_iteration() {
        let values = [3.0_f32, 1.0, 0.2];
        let matrix = Tensor::<2>::from_floats(
            [[values[0], 0.0, 0.0, 0.0], [0.0, values[1], 0.0, 0.0], [0.0, 0.0, values[2], 0.0]],
            &Device::flex(),
        );
        let found: Vec<f32> = orthogonalise(matrix.clone(), 5).into_data().iter::<f32>().collect();
        let tall: Vec<f32> = orthogonalise(matrix.transpose(), 5).transpose().into_data().iter::<f32>().collect();
        let norm = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        for (row, value) in values.iter().enumerate() {
            let mut s = f64::from(*value) / norm;
            for _ in 0..5 {
                let [a, b, c] = COEFFICIENTS.map(f64::from);
                s = a * s + b * s.powi(3) + c * s.powi(5);
            }
            assert!((f64::from(found[row * 4 + row]) - s).abs() < 1e-5, "{found:?} {s}");
            assert!((0.6..1.3).contains(&s));
        }
        for (wide, tall) in found.iter().zip(&tall) {
            assert!((wide - tall).abs() < 1e-6);
        }
    }

    #[test]
    fn only_maps_are_matrices() {
        assert_eq!(Muon::matrix("blocks.0.attn.qkv.weight", &[4, 12]), Some([4, 12]));
        assert_eq!(Muon::matrix("conv.weight", &[8, 4, 3, 3]), Some([8, 36]));
        assert_eq!(Muon::matrix("blocks.0.attn.qkv.bias", &[12]), None);
        assert_eq!(Muon::matrix("input_blocks.1.0.embedding.weight", &[64, 32]), None);
        assert_eq!(Muon::matrix("blocks.3.modulation.weight", &[64, 32]), None);
        assert_eq!(Muon::matrix("conditioning.class.weight", &[10, 12]), None);
        assert_eq!(Muon::matrix("conditioning.caption.words", &[10, 12]), None);
    }
}
