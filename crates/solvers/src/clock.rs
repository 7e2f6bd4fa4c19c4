//! The variable that a Runge-Kutta solver steps in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_process::PathPoint;

/// The states and the time in which the probability-flow equation `dx/dt = alpha' x0 + sigma' eps` is solved.
///
/// The choice changes the steps' errors, not the limit: states of equal lambda are rescalings of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// States `y = x / alpha = x0 + rho eps` in `rho = sigma / alpha`, where `dy/drho = eps` (Karras et al. 2022,
    /// section 4, and k-diffusion). Not for grids that start without signal, where rho is infinite.
    #[default]
    Rho,
    /// The path's own states in its own time: flow matching's choice.
    Time,
}

impl Clock {
    /// The point as this clock sees it.
    pub fn point(self, point: &PathPoint) -> PathPoint {
        match self {
            Self::Rho => exploding(point.rho()),
            Self::Time => *point,
        }
    }
}

/// The point `x0 + rho eps` of the path whose time is `rho`.
pub fn exploding(rho: f64) -> PathPoint {
    PathPoint { t: rho, alpha: 1.0, sigma: rho, alpha_dot: 0.0, sigma_dot: 1.0 }
}

/// `dx/dt = (multiple of x) + (multiple of x0)`, by the equation above with `eps = (x - alpha x0) / sigma`.
pub(crate) struct Slope {
    pub(crate) state: f64,
    pub(crate) data: f64,
}

impl Slope {
    pub(crate) fn at(point: &PathPoint) -> Self {
        let state = point.sigma_dot / point.sigma;
        Self { state, data: point.alpha_dot - state * point.alpha }
    }
}
