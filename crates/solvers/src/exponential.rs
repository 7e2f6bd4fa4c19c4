//! Weights of exponential integrators that cancel near zero.

/// Below this, the direct formulas lose digits and the series is used.
const SMALL: f64 = 0.05;

/// `(e^q - 1) / q - 1 = q/2! + q^2/3! + ...`
pub(crate) fn first(q: f64) -> f64 {
    if q.abs() < SMALL { q * tail(q, 2) } else { q.exp_m1() / q - 1.0 }
}

/// `((e^q - 1) / q - 1) / q - 1/2 = q/3! + q^2/4! + ...`
pub(crate) fn second(q: f64) -> f64 {
    if q.abs() < SMALL { q * tail(q, 3) } else { (q.exp_m1() - q) / q.powi(2) - 0.5 }
}

/// `1/n! + q/(n+1)! + q^2/(n+2)! + ...`
fn tail(q: f64, n: u32) -> f64 {
    let mut term: f64 = (1..=n).map(|k| 1.0 / f64::from(k)).product();
    let mut sum = 0.0;
    // Ten terms of |q| < 0.05 reach far below the last bit.
    for k in n + 1..=n + 10 {
        sum += term;
        term *= q / f64::from(k);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_meets_the_direct_formula() {
        for q in [-SMALL, SMALL] {
            let direct = q.exp_m1() / q - 1.0;
            assert!((q * tail(q, 2) / direct - 1.0).abs() < 1e-14);
            let direct = (q.exp_m1() - q) / q.powi(2) - 0.5;
            assert!((q * tail(q, 3) / direct - 1.0).abs() < 1e-12);
        }
        assert_eq!((first(0.0), second(0.0)), (0.0, 0.0));
    }
}
