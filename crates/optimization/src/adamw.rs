//! Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_kernels::{Moments, adamw_step};

/// Settings of the rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdamW {
    /// Decay of the first moment, in [0, 1).
    pub beta_1: f64,
    /// Decay of the second moment, in [0, 1).
    pub beta_2: f64,
    /// Added to the root of the second moment, > 0.
    pub epsilon: f64,
    /// Decoupled weight decay, multiplied by the learning rate; >= 0.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

impl AdamW {
    /// Every problem of these settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check((0.0..1.0).contains(&self.beta_1), "beta_1", "must be in [0, 1)");
        problems.check((0.0..1.0).contains(&self.beta_2), "beta_2", "must be in [0, 1)");
        problems.check(self.epsilon > 0.0, "epsilon", "must be above 0");
        problems.check(self.weight_decay >= 0.0, "weight_decay", "must be 0 or above");
        problems
    }

    /// One update of one flat parameter; `updates` counts from 1, `gradient_scale` is the factor of clipping.
    pub(crate) fn step(
        &self,
        parameter: Tensor<1>,
        gradient: Tensor<1>,
        moments: Moments<1>,
        learning_rate: f64,
        gradient_scale: f64,
        updates: u64,
    ) -> (Tensor<1>, Moments<1>) {
        let update = sinter_kernels::AdamW {
            learning_rate,
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            epsilon: self.epsilon,
            weight_decay: self.weight_decay,
            gradient_scale,
            step: updates,
        };
        adamw_step(parameter, gradient, moments, &update)
    }
}
