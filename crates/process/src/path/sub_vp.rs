//! The sub-variance-preserving path.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use super::{ProbabilityPath, VpLinear};
use crate::PathPoint;

/// alpha of [`VpLinear`] with `sigma = 1 - alpha^2` (the deviation, not the variance; Song et al. 2021, eq. 29).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SubVp {
    /// beta at data, > 0.
    pub beta_min: f64,
    /// beta at noise, >= `beta_min`.
    pub beta_max: f64,
}

impl Default for SubVp {
    fn default() -> Self {
        let VpLinear { beta_min, beta_max } = VpLinear::default();
        Self { beta_min, beta_max }
    }
}

impl SubVp {
    fn signal(&self) -> VpLinear {
        VpLinear { beta_min: self.beta_min, beta_max: self.beta_max }
    }
}

impl ProbabilityPath for SubVp {
    fn at(&self, t: f64) -> PathPoint {
        let (log_alpha, log_alpha_dot) = self.signal().log_alpha(t);
        let alpha = log_alpha.exp();
        let alpha_dot = alpha * log_alpha_dot;
        let sigma = -(2.0 * log_alpha).exp_m1();
        PathPoint { t, alpha, sigma, alpha_dot, sigma_dot: -2.0 * alpha * alpha_dot }
    }

    fn time_of_lambda(&self, lambda: f64) -> f64 {
        // sigma / alpha = 1 / alpha - alpha = -2 sinh(ln alpha).
        self.signal().time_of_log_alpha(-(0.5 * (-lambda).exp()).asinh())
    }

    fn time_range(&self) -> (f64, f64) {
        self.signal().time_range()
    }

    fn validate(&self) -> Problems {
        self.signal().validate()
    }
}
