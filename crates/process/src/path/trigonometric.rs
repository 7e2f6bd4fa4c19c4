//! The path on the circle.

use std::f64::consts::FRAC_PI_2;

use super::ProbabilityPath;
use crate::PathPoint;

/// `alpha = cos(pi t / 2)`, `sigma = sin(pi t / 2)` (Albergo et al. 2023; TrigFlow, Lu and Song 2024).
/// Native time: the angle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trigonometric;

impl ProbabilityPath for Trigonometric {
    fn at(&self, t: f64) -> PathPoint {
        // The cosine as a sine of what is left, so that it reaches zero at t = 1.
        let alpha = (FRAC_PI_2 * (1.0 - t)).sin();
        let sigma = (FRAC_PI_2 * t).sin();
        PathPoint { t, alpha, sigma, alpha_dot: -FRAC_PI_2 * sigma, sigma_dot: FRAC_PI_2 * alpha }
    }

    fn time_of_lambda(&self, lambda: f64) -> f64 {
        (-lambda).exp().atan() / FRAC_PI_2
    }

    fn native_time(&self, t: f64) -> f64 {
        FRAC_PI_2 * t
    }

    fn time_of_native(&self, native: f64) -> f64 {
        native / FRAC_PI_2
    }
}
