//! Descending grids of noise levels: paths at evenly spaced times, from noise to data. None has the final zero.

use super::linspace;
use crate::path::{Edm, ProbabilityPath, Ve};

/// Even in `sigma^(1/rho)` (Karras et al. 2022, eq. 5).
pub fn karras(sigma_min: f64, sigma_max: f64, rho: f64, count: usize) -> Vec<f64> {
    let path = Edm { sigma_min, sigma_max, rho };
    linspace(1.0, 0.0, count).into_iter().map(|t| path.native_time(t)).collect()
}

/// Even in `ln sigma`.
pub fn exponential(sigma_min: f64, sigma_max: f64, count: usize) -> Vec<f64> {
    polyexponential(sigma_min, sigma_max, 1.0, count)
}

/// `ln sigma` follows the power `rho` of an even grid; above 1 it favours low noise.
pub fn polyexponential(sigma_min: f64, sigma_max: f64, rho: f64, count: usize) -> Vec<f64> {
    let path = Ve { sigma_min, sigma_max };
    linspace(1.0, 0.0, count).into_iter().map(|t| path.native_time(t.powf(rho))).collect()
}
