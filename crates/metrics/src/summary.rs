//! One number from several seeds, splits or repetitions.

use serde::Serialize;

use crate::{Interval, MetricError, student_two_sided};

/// Several values of one quantity, summed up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// How many there are, at least 1.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The standard deviation of the distribution that they come from (divided by `n - 1`); none of one value.
    pub deviation: Option<f64>,
}

impl Summary {
    /// Sums up `values`.
    ///
    /// # Errors
    /// No values, a NaN or an infinity.
    pub fn of(values: &[f64]) -> Result<Self, MetricError> {
        if values.is_empty() {
            return Err(MetricError::TooFew { what: "values", count: 0, least: 1 });
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(MetricError::NotFinite { what: "values", value: values[at], row: at as u64 });
        }
        let count = values.len() as f64;
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Rounding must not push the mean of equal values out of their range.
        let mean = (values.iter().sum::<f64>() / count).clamp(min, max);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        Ok(Self { n: values.len(), mean, min, max, deviation })
    }

    /// Student's interval for the mean that endless repetition would have: `mean` and `t deviation / sqrt(n)` to either
    /// side, with `n - 1` degrees of freedom. Right where the values are independent and about normal; of two or three
    /// seeds it is wide, as it must be.
    ///
    /// # Errors
    /// One value, a confidence outside (0, 1).
    pub fn mean_interval(&self, confidence: f64) -> Result<Interval, MetricError> {
        let Some(deviation) = self.deviation else {
            return Err(MetricError::TooFew { what: "values", count: 1, least: 2 });
        };
        let half = student_two_sided(confidence, self.n - 1)? * deviation / (self.n as f64).sqrt();
        Ok(Interval { lower: self.mean - half, upper: self.mean + half, confidence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_seeds_by_hand() {
        let summary = Summary::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!(summary, Summary { n: 3, mean: 2.0, min: 1.0, max: 3.0, deviation: Some(1.0) });
        let interval = summary.mean_interval(0.95).unwrap();
        let half = 4.302_652_729_749_464 / 3.0f64.sqrt();
        assert!((interval.lower - (2.0 - half)).abs() < 1e-10 && (interval.upper - (2.0 + half)).abs() < 1e-10);
    }

    #[test]
    fn one_seed_has_no_width_to_tell() {
        let summary = Summary::of(&[0.1]).unwrap();
        assert_eq!((summary.mean, summary.deviation), (0.1, None));
        assert!(summary.mean_interval(0.95).is_err());
        assert!(Summary::of(&[]).is_err() && Summary::of(&[1.0, f64::NAN]).is_err());
    }

    /// Of many summaries of three normal values, 95% of the intervals hold the mean.
    #[test]
    fn intervals_hold_what_they_promise() {
        let held = (0..4000).filter(|&which| {
            let draws = crate::draws::Draws::new(3, which);
            let interval = Summary::of(&[0, 1, 2].map(|i| draws.normal(i))).unwrap().mean_interval(0.95).unwrap();
            interval.lower <= 0.0 && 0.0 <= interval.upper
        });
        // 3800 expected, with a deviation of 14.
        assert!(held.count().abs_diff(3800) < 60);
    }
}
