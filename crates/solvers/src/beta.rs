//! Quantiles of the beta distribution.

/// The `x` in [0, 1] below which a share `share` of the distribution with density `x^(a-1) (1-x)^(b-1) / B(a, b)` lies.
///
/// `share` in [0, 1]; `a` and `b` above 0. About 14 digits.
pub(crate) fn quantile(share: f64, a: f64, b: f64) -> f64 {
    let (lower, upper) = (integral(0.5, a, b), integral(0.5, b, a));
    let whole = lower + upper;
    if share * whole <= lower {
        solve(share * whole, a, b)
    } else {
        // The distribution read from its other end.
        1.0 - solve((1.0 - share) * whole, b, a)
    }
}

/// The `x` in [0, 1/2] with `integral(x, a, b) = area`.
fn solve(area: f64, a: f64, b: f64) -> f64 {
    if area <= 0.0 {
        return 0.0;
    }
    // Newton in ln x: there the integral is close to the straight line of x^a / a, with which it starts.
    let mut log = ((a * area).ln() / a).min(0.5f64.ln());
    for _ in 0..100 {
        let x = log.exp();
        let value = integral(x, a, b);
        let rate = x.powf(a) * (1.0 - x).powf(b - 1.0) / value;
        let change = (area / value).ln() / rate;
        log = (log + change).min(0.5f64.ln());
        if change.abs() < 1e-15 {
            break;
        }
    }
    log.exp()
}

/// `int_0^x t^(a-1) (1-t)^(b-1) dt` for `x` in [0, 1/2], by the binomial series of `(1-t)^(b-1)`.
fn integral(x: f64, a: f64, b: f64) -> f64 {
    let (mut sum, mut term) = (0.0, 1.0);
    for n in 0..200 {
        let n = f64::from(n);
        sum += term / (a + n);
        term *= (n + 1.0 - b) / (n + 1.0) * x;
    }
    x.powf(a) * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_forms() {
        // a = b = 1/2 is the arcsine distribution, a = 1 and b = 2 has the distribution function 1 - (1 - x)^2.
        for share in [0.0, 1e-9, 0.1, 0.3, 0.5, 0.8, 0.999, 1.0] {
            let arcsine = (std::f64::consts::FRAC_PI_2 * share).sin().powi(2);
            assert!((quantile(share, 0.5, 0.5) - arcsine).abs() < 1e-14, "{share}");
            let bowed = 1.0 - (1.0 - share).sqrt();
            assert!((quantile(share, 1.0, 2.0) - bowed).abs() < 1e-14, "{share}");
        }
    }
}
