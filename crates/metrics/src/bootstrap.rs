//! How much a number would change with another sample: the bootstrap.

use rayon::prelude::*;
use serde::Serialize;

use crate::draws::Draws;
use crate::proportion::check_confidence;
use crate::{Interval, MetricError};

/// The bootstrap (Efron 1979): a statistic computed anew on resamples of the data, drawn with replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bootstrap {
    /// The number of resamples, at least 2; 1000 is enough for a 95% interval.
    pub resamples: u32,
    /// Names the draws: the same seed, number of data and resample always give the same indices.
    pub seed: u64,
}

/// A statistic's values on all resamples.
#[derive(Clone, Debug, PartialEq)]
pub struct Replicates {
    /// In ascending order.
    sorted: Vec<f64>,
}

impl Bootstrap {
    /// Evaluates `statistic` on resamples of `0..n`, in parallel; it is handed `n` indices into the data.
    ///
    /// # Errors
    /// No data, fewer than two resamples, a value that is NaN or infinite.
    pub fn replicates(&self, n: usize, statistic: impl Fn(&[usize]) -> f64 + Sync) -> Result<Replicates, MetricError> {
        if n == 0 {
            return Err(MetricError::TooFew { what: "data", count: 0, least: 1 });
        }
        if self.resamples < 2 {
            return Err(MetricError::TooFew { what: "resamples", count: self.resamples.into(), least: 2 });
        }
        let replicates = (0..self.resamples).into_par_iter();
        let mut sorted: Vec<f64> = replicates.map(|replicate| statistic(&self.indices(replicate, n))).collect();
        if let Some(at) = sorted.iter().position(|value| !value.is_finite()) {
            return Err(MetricError::NotFinite { what: "resamples", value: sorted[at], row: at as u64 });
        }
        sorted.sort_unstable_by(f64::total_cmp);
        Ok(Replicates { sorted })
    }

    /// The mean of `values` on resamples of them.
    ///
    /// # Errors
    /// Those of [`replicates`](Self::replicates).
    pub fn mean(&self, values: &[f64]) -> Result<Replicates, MetricError> {
        let mean = |indices: &[usize]| indices.iter().map(|&index| values[index]).sum::<f64>() / indices.len() as f64;
        self.replicates(values.len(), mean)
    }

    /// The indices of one resample: `n` draws from `0..n`, each a function of (seed, resample, position) alone.
    fn indices(&self, replicate: u32, n: usize) -> Vec<usize> {
        let draws = Draws::new(self.seed, replicate.into());
        (0..n as u64).map(|position| draws.below(position, n)).collect()
    }
}

impl Replicates {
    /// The percentile interval: from the `(1 - confidence) / 2` quantile of the values to the opposite one.
    ///
    /// # Errors
    /// A confidence outside (0, 1).
    pub fn interval(&self, confidence: f64) -> Result<Interval, MetricError> {
        check_confidence(confidence)?;
        let tail = 0.5 * (1.0 - confidence);
        Ok(Interval { lower: self.quantile(tail), upper: self.quantile(1.0 - tail), confidence })
    }

    /// The standard deviation of the values, which estimates the statistic's standard error.
    pub fn standard_error(&self) -> f64 {
        let n = self.sorted.len() as f64;
        let mean = self.sorted.iter().sum::<f64>() / n;
        (self.sorted.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
    }

    /// The quantile at `probability`, linear between neighbouring values.
    fn quantile(&self, probability: f64) -> f64 {
        let position = probability * (self.sorted.len() - 1) as f64;
        let below = position.floor() as usize;
        let above = (below + 1).min(self.sorted.len() - 1);
        self.sorted[below] + position.fract() * (self.sorted[above] - self.sorted[below])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOTSTRAP: Bootstrap = Bootstrap { resamples: 2000, seed: 7 };

    #[test]
    fn draws_are_even_and_repeatable() {
        let counts = (0..500).flat_map(|r| BOOTSTRAP.indices(r, 10)).fold([0u32; 10], |mut counts, i| {
            counts[i] += 1;
            counts
        });
        // 500 expected at each, with a deviation of 21.
        assert!(counts.iter().all(|&count| count.abs_diff(500) < 85), "{counts:?}");
        assert_eq!(BOOTSTRAP.indices(3, 50), BOOTSTRAP.indices(3, 50));
        assert_ne!(BOOTSTRAP.indices(3, 50), BOOTSTRAP.indices(4, 50));
        assert_ne!(BOOTSTRAP.indices(3, 50), Bootstrap { seed: 8, ..BOOTSTRAP }.indices(3, 50));
    }

    #[test]
    fn the_mean_has_its_known_standard_error() {
        let data: Vec<f64> = (0..100).map(|i| (f64::from(i) * 0.618_033_988_749_894_9).fract()).collect();
        let mean = data.iter().sum::<f64>() / 100.0;
        let deviation = (data.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 100.0).sqrt();
        let replicates = BOOTSTRAP.mean(&data).unwrap();
        // With 2000 resamples the estimate itself has a deviation of 1.6%.
        assert!((replicates.standard_error() / (deviation / 10.0) - 1.0).abs() < 0.06);
        let interval = replicates.interval(0.95).unwrap();
        let half = 1.96 * deviation / 10.0;
        assert!((interval.lower - (mean - half)).abs() < 0.1 * half, "{interval:?}");
        assert!((interval.upper - (mean + half)).abs() < 0.1 * half, "{interval:?}");
    }

    #[test]
    fn a_constant_has_no_width() {
        let interval = BOOTSTRAP.replicates(5, |_| 3.0).unwrap().interval(0.9).unwrap();
        assert_eq!((interval.lower, interval.upper), (3.0, 3.0));
    }

    #[test]
    fn what_cannot_be_resampled_is_refused() {
        assert!(BOOTSTRAP.replicates(0, |_| 0.0).is_err());
        assert!(BOOTSTRAP.replicates(3, |_| f64::NAN).is_err());
        assert!(Bootstrap { resamples: 1, seed: 0 }.replicates(3, |_| 0.0).is_err());
        assert!(BOOTSTRAP.replicates(3, |_| 0.0).unwrap().interval(0.0).is_err());
    }
}
