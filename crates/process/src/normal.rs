//! The standard normal law to double precision.

use std::f64::consts::{LN_2, PI, SQRT_2};

/// `ln(2 pi) / 2`.
const HALF_LN_TAU: f64 = 0.918_938_533_204_672_7;

/// `P(Z <= z)`.
pub fn cumulative(z: f64) -> f64 {
    if z < 0.0 { log_upper_tail(-z).exp() } else { 1.0 - log_upper_tail(z).exp() }
}

/// Density at `z`.
pub fn density(z: f64) -> f64 {
    (-0.5 * z * z - HALF_LN_TAU).exp()
}

/// The `z` with `P(Z <= z) = u`, for `u` in [0, 1]; infinite at the ends.
///
/// Newton's method on the logarithm of the tail, which is concave: from the start at
/// `sqrt(-2 ln 2p) >= z` it falls monotonically onto the root.
pub fn quantile(u: f64) -> f64 {
    let tail = u.min(1.0 - u);
    if tail <= 0.0 {
        return if u < 0.5 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let goal = tail.ln();
    let mut z = (-2.0 * (goal + LN_2)).max(0.0).sqrt();
    for _ in 0..60 {
        let log_tail = log_upper_tail(z);
        let hazard = (-0.5 * z * z - HALF_LN_TAU - log_tail).exp();
        let step = (log_tail - goal) / hazard;
        z += step;
        if step.abs() <= 1e-16 * z.abs() {
            break;
        }
    }
    if u < 0.5 { -z } else { z }
}

/// `ln P(Z > z)` for `z >= 0`.
fn log_upper_tail(z: f64) -> f64 {
    if z < 3.0 {
        // P(0 < Z < z) = density(z) (z + z^3/3 + z^5/(3 5) + ...), all terms positive.
        let (mut term, mut sum, mut n) = (z, z, 1.0);
        while term > 1e-17 * sum {
            n += 2.0;
            term *= z * z / n;
            sum += term;
        }
        return (0.5 - density(z) * sum).ln();
    }
    if z == f64::INFINITY {
        return f64::NEG_INFINITY;
    }
    // Mills' ratio as Laplace's continued fraction 1/(z + 1/(z + 2/(z + 3/(z + ...)))), from the inside out.
    let fraction = (1..=100).rev().fold(z, |inner, k| z + f64::from(k) / inner);
    -0.5 * z * z - HALF_LN_TAU - fraction.ln()
}

/// The error function, `2 P(Z <= x sqrt 2) - 1`.
pub fn error_function(x: f64) -> f64 {
    let within = |z: f64| 1.0 - 2.0 * log_upper_tail(z).exp();
    // Near zero the difference would cancel; the first terms of the series do not.
    if x.abs() < 1e-3 {
        return 2.0 / PI.sqrt() * x * (1.0 - x * x / 3.0 + x.powi(4) / 10.0);
    }
    within(x.abs() * SQRT_2).copysign(x)
}
