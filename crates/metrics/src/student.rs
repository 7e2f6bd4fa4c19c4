//! Student's distribution: how far a mean of few values may be from the truth.

use std::f64::consts::PI;

use crate::MetricError;
use crate::proportion::check_confidence;

/// The number of standard errors within which a variable of Student's distribution (Student 1908) with so many degrees
/// of freedom lies with the given confidence.
///
/// # Errors
/// No degree of freedom, a confidence outside (0, 1).
pub fn student_two_sided(confidence: f64, freedom: usize) -> Result<f64, MetricError> {
    check_confidence(confidence)?;
    if freedom == 0 {
        return Err(MetricError::TooFew { what: "degrees of freedom", count: 0, least: 1 });
    }
    // Bisection over the angle, until the interval has no inner number.
    let (mut below, mut above) = (0.0f64, 0.5 * PI);
    loop {
        let middle = 0.5 * (below + above);
        if middle <= below || middle >= above {
            return Ok(middle.tan() * (freedom as f64).sqrt());
        }
        if within(middle, freedom) < confidence {
            below = middle;
        } else {
            above = middle;
        }
    }
}

/// `P(|T| <= tan(angle) sqrt(freedom))`, by the finite sums for whole degrees of freedom (Abramowitz and Stegun 1964,
/// eqs. 26.7.3 and 26.7.4).
fn within(angle: f64, freedom: usize) -> f64 {
    let (sine, cosine) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    // cos + (2/3) cos^3 + ... for odd, 1 + (1/2) cos^2 + ... for even degrees, up to the power freedom - 2.
    let (mut power, mut term) = if odd { (1, cosine) } else { (0, 1.0) };
    let mut sum = 0.0;
    while power + 2 <= freedom {
        sum += term;
        power += 2;
        term *= cosine * cosine * (power - 1) as f64 / power as f64;
    }
    if odd { (angle + sine * sum) * 2.0 / PI } else { sine * sum }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normal_quantile;

    #[test]
    fn tabulated_quantiles() {
        for (freedom, expected) in [
            (1, 12.706_204_736_174_707),
            (2, 4.302_652_729_749_464),
            (3, 3.182_446_305_284_263),
            (4, 2.776_445_105_197_793),
            (13, 2.160_368_656_461_013),
            (30, 2.042_272_456_301_238),
        ] {
            let found = student_two_sided(0.95, freedom).unwrap();
            assert!((found / expected - 1.0).abs() < 1e-10, "{freedom}: {found}");
        }
    }

    #[test]
    fn many_degrees_are_normal() {
        let found = student_two_sided(0.99, 100_000).unwrap();
        assert!((found - normal_quantile(0.995)).abs() < 1e-4, "{found}");
        assert!(student_two_sided(0.95, 0).is_err() && student_two_sided(1.0, 3).is_err());
    }
}
