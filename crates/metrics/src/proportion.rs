//! How many of how many, and how sure that is.

use serde::Serialize;

use crate::{MetricError, normal_quantile};

/// An interval that holds the true value with the stated confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Its lower end.
    pub lower: f64,
    /// Its upper end.
    pub upper: f64,
    /// The confidence, in (0, 1).
    pub confidence: f64,
}

/// `successes` of `total` trials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Proportion {
    /// How many succeeded, at most `total`.
    pub successes: u64,
    /// How many were tried.
    pub total: u64,
}

impl Proportion {
    /// Counts one trial.
    pub fn record(&mut self, success: bool) {
        self.successes += u64::from(success);
        self.total += 1;
    }

    /// The share of successes in `[0, 1]`; NaN of no trials.
    pub fn value(&self) -> f64 {
        self.successes as f64 / self.total as f64
    }

    /// Wilson's score interval (Wilson 1927): the true probabilities `p` whose expectation lies within `z` standard
    /// deviations `sqrt(p (1 - p) / n)` of the observed share. Unlike the one built on the observed deviation it stays
    /// within `[0, 1]` and has a width at shares of 0 and 1.
    ///
    /// # Errors
    /// No trials, more successes than trials, a confidence outside (0, 1).
    pub fn wilson(&self, confidence: f64) -> Result<Interval, MetricError> {
        if self.total == 0 {
            return Err(MetricError::TooFew { what: "trials", count: 0, least: 1 });
        }
        if self.successes > self.total {
            let value = self.successes as f64;
            return Err(MetricError::Range { what: "the number of successes", value, range: "at most the trials" });
        }
        let z2 = two_sided(confidence)?.powi(2);
        let (n, share) = (self.total as f64, self.value());
        let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = (z2 * (share * (1.0 - share) / n + z2 / (4.0 * n * n))).sqrt() / (1.0 + z2 / n);
        // At shares of 0 and 1 one end is exactly that share; elsewhere rounding must not push it out.
        let lower = if self.successes == 0 { 0.0 } else { (centre - half).max(0.0) };
        let upper = if self.successes == self.total { 1.0 } else { (centre + half).min(1.0) };
        Ok(Interval { lower, upper, confidence })
    }
}

/// The number of standard deviations within which a normal variable lies with the given confidence.
fn two_sided(confidence: f64) -> Result<f64, MetricError> {
    check_confidence(confidence)?;
    Ok(normal_quantile(0.5 + 0.5 * confidence))
}

pub(crate) fn check_confidence(confidence: f64) -> Result<(), MetricError> {
    if confidence > 0.0 && confidence < 1.0 {
        return Ok(());
    }
    Err(MetricError::Range { what: "the confidence", value: confidence, range: "between 0 and 1" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wilson(successes: u64, total: u64) -> Interval {
        Proportion { successes, total }.wilson(0.95).unwrap()
    }

    #[test]
    fn the_ends_solve_the_score_equation() {
        for (successes, total) in [(1, 10), (5, 10), (154, 256), (999, 1000)] {
            let share = successes as f64 / total as f64;
            let interval = wilson(successes, total);
            for end in [interval.lower, interval.upper] {
                let deviations = (share - end).abs() / (end * (1.0 - end) / total as f64).sqrt();
                assert!((deviations - 1.959_963_984_540_054).abs() < 1e-10, "{successes} of {total}: {deviations}");
            }
        }
    }

    #[test]
    fn none_and_all_have_a_width() {
        let z2 = 1.959_963_984_540_054f64.powi(2);
        let (none, all) = (wilson(0, 20), wilson(20, 20));
        assert_eq!((none.lower, all.upper), (0.0, 1.0));
        assert!((none.upper - z2 / (20.0 + z2)).abs() < 1e-12 && (all.lower - 20.0 / (20.0 + z2)).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_proportion_is_refused() {
        assert!(Proportion::default().wilson(0.95).is_err());
        assert!(Proportion { successes: 3, total: 2 }.wilson(0.95).is_err());
        assert!(Proportion { successes: 1, total: 2 }.wilson(1.0).is_err());
        assert!(Proportion::default().value().is_nan());
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_share_and_mirrors(total in 1u64..5000, part in 0.0..=1.0f64, confidence in 0.5..0.999f64) {
            let successes = (part * total as f64).round() as u64;
            let proportion = Proportion { successes, total };
            let interval = proportion.wilson(confidence).unwrap();
            prop_assert!(0.0 <= interval.lower && interval.lower <= proportion.value());
            prop_assert!(proportion.value() <= interval.upper && interval.upper <= 1.0);
            let mirrored = Proportion { successes: total - successes, total }.wilson(confidence).unwrap();
            prop_assert!((interval.lower + mirrored.upper - 1.0).abs() < 1e-12);
        }
    }
}
