//! The variance-preserving path with a cosine.

use std::f64::consts::FRAC_PI_2;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use super::ProbabilityPath;
use crate::PathPoint;

/// `alpha = cos(a) / cos(a0)`, `sigma^2 = 1 - alpha^2`, with the angle `a = pi/2 (t + s) / (1 + s)` and `a0 = a(0)`
/// (Nichol and Dhariwal 2021, eq. 17).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VpCosine {
    /// Offset that keeps the noise of the first steps from vanishing, in [0, 1).
    pub s: f64,
}

impl Default for VpCosine {
    fn default() -> Self {
        Self { s: 0.008 }
    }
}

impl VpCosine {
    /// d angle / d t.
    fn rate(&self) -> f64 {
        FRAC_PI_2 / (1.0 + self.s)
    }

    /// The angle at data.
    fn first_angle(&self) -> f64 {
        self.rate() * self.s
    }
}

impl ProbabilityPath for VpCosine {
    fn at(&self, t: f64) -> PathPoint {
        let (rate, a0) = (self.rate(), self.first_angle());
        let turned = rate * t;
        // cos(a) as the sine of what is left to pi/2, so that it reaches zero; and
        // sigma^2 = (cos^2 a0 - cos^2 a) / cos^2 a0 = sin(a - a0) sin(a + a0) / cos^2 a0, so that it starts from zero.
        let alpha = (rate * (1.0 - t)).sin() / a0.cos();
        let sigma = (turned.sin() * (turned + 2.0 * a0).sin()).sqrt() / a0.cos();
        let alpha_dot = -rate * (turned + a0).sin() / a0.cos();
        PathPoint { t, alpha, sigma, alpha_dot, sigma_dot: -alpha * alpha_dot / sigma }
    }

    fn time_of_lambda(&self, lambda: f64) -> f64 {
        if lambda == f64::INFINITY {
            return 0.0;
        }
        let (sin_a0, cos_a0) = self.first_angle().sin_cos();
        let rho = (-lambda).exp();
        let (alpha, sigma) = if rho < 1.0 {
            (1.0 / rho.hypot(1.0), rho / rho.hypot(1.0))
        } else {
            (1.0 / rho / rho.recip().hypot(1.0), 1.0 / rho.recip().hypot(1.0))
        };
        let (sin_a, cos_a) = (sin_a0.hypot(sigma * cos_a0), alpha * cos_a0);
        // a - a0 through its own sine and cosine: the difference of the angles would cancel near data.
        let sin_turned = (sigma * cos_a0).powi(2) / (sin_a * cos_a0 + cos_a * sin_a0);
        let cos_turned = cos_a * cos_a0 + sin_a * sin_a0;
        sin_turned.atan2(cos_turned) / self.rate()
    }

    fn time_range(&self) -> (f64, f64) {
        // At t = 1 lambda is minus infinity; at 0.9946 it is that of the linear VP path.
        (1e-3, 0.9946)
    }

    fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check((0.0..1.0).contains(&self.s), "s", "must be in [0, 1)");
        problems
    }
}
