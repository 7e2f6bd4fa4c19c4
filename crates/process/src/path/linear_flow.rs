//! The straight path of flow matching.

use super::ProbabilityPath;
use crate::PathPoint;

/// `alpha = 1 - t`, `sigma = t` (Lipman et al. 2023; Liu et al. 2023). `lambda = ln((1 - t) / t)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearFlow;

impl ProbabilityPath for LinearFlow {
    fn at(&self, t: f64) -> PathPoint {
        PathPoint { t, alpha: 1.0 - t, sigma: t, alpha_dot: -1.0, sigma_dot: 1.0 }
    }

    fn time_of_lambda(&self, lambda: f64) -> f64 {
        1.0 / (1.0 + lambda.exp())
    }
}
