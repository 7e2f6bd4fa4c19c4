//! The standard normal law to double precision.

use std::f64::consts::LN_2;

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
    if z < 2.0 {
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
    // The tail over the density, as Laplace's continued fraction 1/(z + 1/(z + 2/(z + 3/(z + ...)))), from the inside out.
    let fraction = (1..=80).rev().fold(z, |inner, k| z + f64::from(k) / inner);
    -0.5 * z * z - HALF_LN_TAU - fraction.ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Values of tables.
    #[test]
    fn known_values() {
        let close = |ours: f64, table: f64| assert!((ours / table - 1.0).abs() < 1e-14, "{ours} {table}");
        close(cumulative(0.0), 0.5);
        close(cumulative(1.0), 0.841_344_746_068_542_9);
        close(cumulative(-3.0), 1.349_898_031_630_094_5e-3);
        close(cumulative(-8.0), 6.220_960_574_271_785e-16);
        close(quantile(0.975), 1.959_963_984_540_054);
        close(quantile(1e-10), -6.361_340_902_404_056);
        assert_eq!([quantile(0.0), quantile(1.0)], [f64::NEG_INFINITY, f64::INFINITY]);
        assert_eq!([cumulative(f64::NEG_INFINITY), cumulative(f64::INFINITY)], [0.0, 1.0]);
    }

    #[test]
    fn both_forms_of_the_tail_meet() {
        let (below, above) = (log_upper_tail(2.0_f64.next_down()), log_upper_tail(2.0));
        assert!((below - above).abs() < 1e-14, "{below} {above}");
    }

    proptest! {
        #[test]
        fn quantile_inverts_the_cumulative(z in -30.0f64..6.0) {
            // Above zero 1 - u carries the digits of u, not of the tail.
            let conditioning = if z > 0.0 { 1e-16 / density(z) } else { 0.0 };
            prop_assert!((quantile(cumulative(z)) - z).abs() < 1e-13 * z.abs().max(1.0) + 4.0 * conditioning);
        }
    }
}
