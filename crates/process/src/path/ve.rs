//! The variance-exploding path.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use super::ProbabilityPath;
use crate::PathPoint;

/// `alpha = 1`, `sigma = sigma_min (sigma_max / sigma_min)^t` (Song et al. 2021, eq. 31). Native time: sigma.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ve {
    /// Noise at t = 0, > 0.
    pub sigma_min: f64,
    /// Noise at t = 1, > `sigma_min`.
    pub sigma_max: f64,
}

impl Default for Ve {
    fn default() -> Self {
        Self { sigma_min: 0.01, sigma_max: 50.0 }
    }
}

impl Ve {
    fn log_ratio(&self) -> f64 {
        (self.sigma_max / self.sigma_min).ln()
    }
}

impl ProbabilityPath for Ve {
    fn at(&self, t: f64) -> PathPoint {
        let sigma = self.native_time(t);
        PathPoint { t, alpha: 1.0, sigma, alpha_dot: 0.0, sigma_dot: sigma * self.log_ratio() }
    }

    fn time_of_lambda(&self, lambda: f64) -> f64 {
        (-lambda - self.sigma_min.ln()) / self.log_ratio()
    }

    fn native_time(&self, t: f64) -> f64 {
        self.sigma_min * (t * self.log_ratio()).exp()
    }

    fn time_of_native(&self, native: f64) -> f64 {
        (native / self.sigma_min).ln() / self.log_ratio()
    }

    fn validate(&self) -> Problems {
        sigma_problems(self.sigma_min, self.sigma_max)
    }
}

/// What can be wrong with a range of sigma.
pub(super) fn sigma_problems(sigma_min: f64, sigma_max: f64) -> Problems {
    let mut problems = Problems::new();
    problems.check(sigma_min > 0.0, "sigma_min", "must be positive");
    let ordered = sigma_max > sigma_min && sigma_max.is_finite();
    problems.check(ordered, "sigma_max", "must be finite and larger than sigma_min");
    problems
}
