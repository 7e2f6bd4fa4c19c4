//! Discrete noise schedules and the grids of noise levels and times that samplers walk along.

mod betas;
mod shift;
mod sigmas;
mod spacing;
mod table;

pub use betas::{Schedule, zero_terminal_snr};
pub use shift::{flow_sigmas, resolution_mu, shift_time, unshift_time};
pub use sigmas::{exponential, karras, polyexponential};
pub use spacing::Spacing;
pub use table::{Posterior, Table};

/// `count` evenly spaced numbers from `first` to `last`, both included.
pub fn linspace(first: f64, last: f64, count: usize) -> Vec<f64> {
    let step = (last - first) / (count.max(2) - 1) as f64;
    let mut numbers: Vec<f64> = (0..count).map(|i| first + i as f64 * step).collect();
    if let [_, .., end] = numbers.as_mut_slice() {
        *end = last;
    }
    numbers
}
