//! The variance-preserving path with linear beta.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use super::ProbabilityPath;
use crate::PathPoint;

/// `d ln alpha / dt = -beta(t) / 2` with `beta(t) = beta_min + t (beta_max - beta_min)`, `sigma^2 = 1 - alpha^2`
/// (Song et al. 2021, eq. 32): the continuous form of DDPM.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VpLinear {
    /// beta at data, > 0.
    pub beta_min: f64,
    /// beta at noise, >= `beta_min`.
    pub beta_max: f64,
}

impl Default for VpLinear {
    fn default() -> Self {
        Self { beta_min: 0.1, beta_max: 20.0 }
    }
}

impl VpLinear {
    /// `ln alpha = -t^2 (beta_max - beta_min) / 4 - t beta_min / 2` and its derivative.
    pub(super) fn log_alpha(&self, t: f64) -> (f64, f64) {
        let slope = self.beta_max - self.beta_min;
        (-t * (0.25 * slope * t + 0.5 * self.beta_min), -0.5 * (self.beta_min + slope * t))
    }

    /// The time of a given `ln alpha`: the positive root of a quadratic, in the form that does not cancel.
    pub(super) fn time_of_log_alpha(&self, log_alpha: f64) -> f64 {
        let l = -2.0 * log_alpha;
        if l == f64::INFINITY {
            return f64::INFINITY;
        }
        let slope = self.beta_max - self.beta_min;
        2.0 * l / (self.beta_min + (self.beta_min.powi(2) + 2.0 * slope * l).sqrt())
    }
}

impl ProbabilityPath for VpLinear {
    fn at(&self, t: f64) -> PathPoint {
        let (log_alpha, log_alpha_dot) = self.log_alpha(t);
        PathPoint::variance_preserving(t, log_alpha, log_alpha_dot)
    }

    fn time_of_lambda(&self, lambda: f64) -> f64 {
        self.time_of_log_alpha(vp_log_alpha(lambda))
    }

    fn time_range(&self) -> (f64, f64) {
        (1e-3, 1.0)
    }

    fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.beta_min > 0.0, "beta_min", "must be positive");
        let ordered = self.beta_max >= self.beta_min && self.beta_max.is_finite();
        problems.check(ordered, "beta_max", "must be finite and at least beta_min");
        problems
    }
}

/// `ln alpha` of the variance-preserving point with half log-SNR `lambda`: `-ln(1 + e^(-2 lambda)) / 2`.
pub(super) fn vp_log_alpha(lambda: f64) -> f64 {
    // Each branch keeps the exponential from overflowing.
    if lambda >= 0.0 { -0.5 * (-2.0 * lambda).exp().ln_1p() } else { lambda - 0.5 * (2.0 * lambda).exp().ln_1p() }
}
