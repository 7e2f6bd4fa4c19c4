//! Time shift of the linear path: the same walk at another resolution.

use super::linspace;

/// `shift t / (1 + (shift - 1) t)` (Esser et al. 2024, eq. 23): on the linear path, lambda less `ln shift`.
/// Above 1 it moves times towards noise; 0 and 1 stay.
///
/// The exponential shift of Flux is `shift = e^mu`, the linear one `shift = mu`; see [`resolution_mu`].
pub fn shift_time(t: f64, shift: f64) -> f64 {
    shift * t / (1.0 + (shift - 1.0) * t)
}

/// The inverse of [`shift_time`].
pub fn unshift_time(t: f64, shift: f64) -> f64 {
    shift_time(t, 1.0 / shift)
}

/// The `mu` of a picture of so many tokens: the line through two pairs (tokens, mu), in Flux (256, 0.5) and
/// (4096, 1.15).
pub fn resolution_mu(tokens: f64, base: (f64, f64), largest: (f64, f64)) -> f64 {
    base.1 + (tokens - base.0) * (largest.1 - base.1) / (largest.0 - base.0)
}

/// The times that `FlowMatchEulerDiscreteScheduler` walks along: `count` even ones from 1 to the *shifted* time of the
/// first of `train_steps` indices, then shifted (the first a second time), then 0.
pub fn flow_sigmas(shift: f64, train_steps: usize, count: usize) -> Vec<f64> {
    let smallest = shift_time(1.0 / train_steps as f64, shift);
    let mut times: Vec<f64> = linspace(1.0, smallest, count).into_iter().map(|t| shift_time(t, shift)).collect();
    times.push(0.0);
    times
}
