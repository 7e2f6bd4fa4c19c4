//! The `[optimizer]` section and the update rules it can name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::{AdamW, Muon, Schedule};

/// How one network is updated from its gradient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Peak learning rate, > 0.
    pub learning_rate: f64,
    /// Factor on the learning rate, by images.
    #[serde(default)]
    pub schedule: Schedule,
    /// Largest global gradient norm; larger gradients are scaled down to it. None: never.
    #[serde(default)]
    pub clip_norm: Option<f64>,
    /// The update rule.
    #[serde(default)]
    pub algorithm: Algorithm,
}

/// An update rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Algorithm {
    /// Adam with decoupled weight decay.
    Adamw(AdamW),
    /// Orthogonalised momentum for matrices, AdamW for the rest.
    Muon(Muon),
}

impl Default for Algorithm {
    fn default() -> Self {
        Self::Adamw(AdamW::default())
    }
}

impl OptimizerConfig {
    /// Every problem of these settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(
            self.learning_rate > 0.0 && self.learning_rate.is_finite(),
            "learning_rate",
            "must be a finite number above 0",
        );
        problems.check(self.clip_norm.is_none_or(|norm| norm > 0.0), "clip_norm", "must be above 0");
        problems.nest("schedule", self.schedule.validate());
        problems.nest(
            "algorithm",
            match &self.algorithm {
                Algorithm::Adamw(adamw) => adamw.validate(),
                Algorithm::Muon(muon) => muon.validate(),
            },
        );
        problems
    }
}
