//! EDM's path.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use super::ProbabilityPath;
use super::ve::sigma_problems;
use crate::PathPoint;

/// `alpha = 1`, and t runs evenly along EDM's grid of noise levels (Karras et al. 2022, eq. 5):
/// `sigma = (sigma_min^(1/rho) + t (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho`. Native time: sigma.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Edm {
    /// Noise at t = 0, > 0.
    pub sigma_min: f64,
    /// Noise at t = 1, > `sigma_min`.
    pub sigma_max: f64,
    /// How strongly the grid favours low noise, >= 1.
    pub rho: f64,
}

impl Default for Edm {
    fn default() -> Self {
        Self { sigma_min: 0.002, sigma_max: 80.0, rho: 7.0 }
    }
}

impl Edm {
    /// `sigma^(1/rho)` at t = 0 and its rate.
    fn root(&self) -> (f64, f64) {
        let [first, last] = [self.sigma_min, self.sigma_max].map(|sigma| sigma.powf(1.0 / self.rho));
        (first, last - first)
    }
}

impl ProbabilityPath for Edm {
    fn at(&self, t: f64) -> PathPoint {
        let (first, rate) = self.root();
        let root = first + t * rate;
        PathPoint {
            t,
            alpha: 1.0,
            sigma: root.powf(self.rho),
            alpha_dot: 0.0,
            sigma_dot: self.rho * root.powf(self.rho - 1.0) * rate,
        }
    }

    fn time_of_lambda(&self, lambda: f64) -> f64 {
        self.time_of_native((-lambda).exp())
    }

    fn native_time(&self, t: f64) -> f64 {
        self.at(t).sigma
    }

    fn time_of_native(&self, native: f64) -> f64 {
        let (first, rate) = self.root();
        (native.powf(1.0 / self.rho) - first) / rate
    }

    fn validate(&self) -> Problems {
        let mut problems = sigma_problems(self.sigma_min, self.sigma_max);
        problems.check(self.rho >= 1.0 && self.rho.is_finite(), "rho", "must be finite and at least 1");
        problems
    }
}
