//! How much signal and how much noise a state holds.

use serde::{Deserialize, Serialize};
use sinter_process::PathPoint;

/// The state is `x = alpha x0 + sigma eps`.
///
/// A level is a point of a path without its time: solvers need no more, and the network's time follows from
/// [`lambda`](Self::lambda) alone. States of equal lambda are rescalings of each other, whatever their path.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// Signal coefficient, >= 0.
    pub alpha: f64,
    /// Noise standard deviation, >= 0.
    pub sigma: f64,
}

impl Level {
    /// Data without noise.
    pub const DATA: Self = Self { alpha: 1.0, sigma: 0.0 };

    /// Half log signal-to-noise ratio `ln(alpha / sigma)`; `+inf` at data, `-inf` at pure noise.
    pub fn lambda(&self) -> f64 {
        (self.alpha / self.sigma).ln()
    }

    /// Noise-to-signal ratio `sigma / alpha`: the noise level of `x / alpha`.
    pub fn rho(&self) -> f64 {
        self.sigma / self.alpha
    }

    /// `e^{-h}` for the step from here to `to`, with `h = lambda(to) - lambda(from)`: the factor by which rho shrinks.
    ///
    /// Exact at both ends, where lambda is infinite: 0 from pure noise, and 0 to data.
    pub fn decay(&self, to: &Self) -> f64 {
        (to.sigma * self.alpha) / (to.alpha * self.sigma)
    }

    /// Standard deviation of the state where the data have deviation `data` around zero: `sqrt(alpha^2 data^2 + sigma^2)`.
    pub fn deviation(&self, data: f64) -> f64 {
        (self.alpha * data).hypot(self.sigma)
    }

    /// Whether both numbers are finite, neither is negative, and one is not zero.
    pub fn is_valid(&self) -> bool {
        let proper = |number: f64| number.is_finite() && number >= 0.0;
        proper(self.alpha) && proper(self.sigma) && self.alpha + self.sigma > 0.0
    }
}

impl From<&PathPoint> for Level {
    fn from(point: &PathPoint) -> Self {
        Self { alpha: point.alpha, sigma: point.sigma }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "(alpha {:.6}, sigma {:.6})", self.alpha, self.sigma)
    }
}
