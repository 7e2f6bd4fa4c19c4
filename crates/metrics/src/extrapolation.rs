//! Metrics as if from endlessly many samples: fits in the reciprocal of their number.

use serde::Serialize;

use crate::draws::Draws;
use crate::inception_score::inception_score;
use crate::{Frechet, Gaussian, Interval, MetricError, Moments, Points, frechet, student_two_sided};

/// The extrapolation of Chong and Forsyth (2020, "Effectively Unbiased FID and Inception Score and where to find
/// them"): the bias of both metrics is `slope / n` plus smaller terms, so a line through their values at several `n`,
/// over `1 / n`, meets 0 at the value without it.
///
/// The default is that of the authors' code: 15 sizes from 5000 to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Extrapolation {
    /// The smallest number of samples. For a Frechet distance it should exceed the dimensions: below, the covariance
    /// lacks rank and the bias is no longer `slope / n`.
    pub smallest: usize,
    /// The number of sizes, at least 3, from the smallest to all samples in even steps.
    pub sizes: usize,
    /// Names the subsets: the same seed and sizes always take the same samples.
    pub seed: u64,
}

impl Default for Extrapolation {
    fn default() -> Self {
        Self { smallest: 5000, sizes: 15, seed: 0 }
    }
}

/// A metric's values at several numbers of samples, and where they lead.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Extrapolated {
    /// The value at endlessly many samples, the line's intercept. As an estimate it is right on average, so that a
    /// distance near 0 may come out below it.
    pub value: f64,
    /// What the metric changes by `1 / n`.
    pub slope: f64,
    /// The standard error of `value` from the points' distances to the line.
    pub standard_error: f64,
    /// The numbers of samples and the metric of each.
    pub points: Vec<(usize, f64)>,
}

impl Extrapolated {
    /// The interval of the fit: Student's, with two degrees of freedom less than points.
    ///
    /// It covers the draw of the subsets from these samples and how well a line fits. It does not cover the draw of the
    /// samples themselves, which the subsets share.
    ///
    /// # Errors
    /// A confidence outside (0, 1).
    pub fn interval(&self, confidence: f64) -> Result<Interval, MetricError> {
        let half = student_two_sided(confidence, self.points.len().saturating_sub(2))? * self.standard_error;
        Ok(Interval { lower: self.value - half, upper: self.value + half, confidence })
    }
}

impl Extrapolation {
    /// The squared Frechet distance of endlessly many points to a reference: `FID-infinity`, where the features are
    /// those of FID. The bias of the reference's own moments stays.
    ///
    /// # Errors
    /// Fewer than 3 sizes, a smallest size below 2 or not below the number of points, and those of
    /// [`frechet`](crate::frechet()).
    pub fn frechet(&self, points: Points<'_>, reference: &Gaussian) -> Result<Extrapolated, MetricError> {
        let d = points.dimension();
        self.fit(points.len(), |subset| {
            let mut moments = Moments::new(d);
            for block in subset.chunks(256) {
                let rows: Vec<&[f64]> = block.iter().map(|&index| points.row(index)).collect();
                moments.push(&rows.concat())?;
            }
            frechet(&moments.into_gaussian()?, reference).map(|Frechet { value, .. }| value)
        })
    }

    /// The Inception Score of endlessly many samples with logits `[n, classes]`, in one split.
    ///
    /// # Errors
    /// Fewer than 3 sizes, a smallest size below 2 or not below the number of samples.
    pub fn inception_score(&self, logits: Points<'_>) -> Result<Extrapolated, MetricError> {
        self.fit(logits.len(), |subset| {
            let values: Vec<f64> = subset.iter().flat_map(|&index| logits.row(index)).copied().collect();
            Ok(inception_score(Points::new(&values, logits.dimension())?, 1)?.mean)
        })
    }

    /// The numbers of samples of `n`, ascending.
    fn counts(&self, n: usize) -> Result<Vec<usize>, MetricError> {
        if self.sizes < 3 {
            return Err(MetricError::TooFew { what: "sizes", count: self.sizes as u64, least: 3 });
        }
        if self.smallest < 2 {
            let value = self.smallest as f64;
            return Err(MetricError::Range { what: "the smallest size", value, range: "at least 2" });
        }
        if n <= self.smallest {
            return Err(MetricError::TooFew { what: "points", count: n as u64, least: self.smallest as u64 + 1 });
        }
        let step = |index| self.smallest + (n - self.smallest) * index / (self.sizes - 1);
        Ok((0..self.sizes).map(step).collect())
    }

    /// The line through a metric's values of subsets, each drawn on its own without replacement.
    fn fit(
        &self,
        n: usize,
        metric: impl Fn(&[usize]) -> Result<f64, MetricError>,
    ) -> Result<Extrapolated, MetricError> {
        let values = self.counts(n)?.into_iter().enumerate().map(|(index, count)| {
            let subset = Draws::new(self.seed, index as u64).without_replacement(count, n);
            Ok((count, metric(&subset)?))
        });
        Ok(line(values.collect::<Result<_, MetricError>>()?))
    }
}

/// Least squares of the values over the reciprocal counts, at least three of them.
fn line(points: Vec<(usize, f64)>) -> Extrapolated {
    let count = points.len() as f64;
    let reciprocals: Vec<f64> = points.iter().map(|(n, _)| 1.0 / *n as f64).collect();
    let middle = reciprocals.iter().sum::<f64>() / count;
    let mean = points.iter().map(|(_, value)| value).sum::<f64>() / count;
    let spread: f64 = reciprocals.iter().map(|x| (x - middle).powi(2)).sum();
    let together: f64 = reciprocals.iter().zip(&points).map(|(x, (_, value))| (x - middle) * (value - mean)).sum();
    let slope = together / spread;
    let value = mean - slope * middle;
    let squares: f64 = reciprocals.iter().zip(&points).map(|(x, (_, y))| (y - value - slope * x).powi(2)).sum();
    let standard_error = (squares / (count - 2.0) * (1.0 / count + middle * middle / spread)).sqrt();
    Extrapolated { value, slope, standard_error, points }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Extrapolation = Extrapolation { smallest: 40, sizes: 8, seed: 1 };

    fn normals(n: usize, d: usize, seed: u64) -> Vec<f64> {
        let draws = Draws::new(seed, 9);
        (0..(n * d) as u64).map(|position| draws.normal(position)).collect()
    }

    fn standard(d: usize) -> Gaussian {
        let covariance = (0..d * d).map(|i| if i % (d + 1) == 0 { 1.0 } else { 0.0 }).collect();
        Gaussian::new(vec![0.0; d], covariance, None).unwrap()
    }

    #[test]
    fn a_line_is_found_exactly() {
        let points = [10, 20, 50, 100].map(|n| (n, 3.0 + 7.0 / n as f64)).to_vec();
        let fit = line(points);
        assert!((fit.value - 3.0).abs() < 1e-13 && (fit.slope - 7.0).abs() < 1e-11 && fit.standard_error < 1e-12);
    }

    #[test]
    fn the_error_of_the_intercept_by_hand() {
        let fit = line(vec![(1, 0.0), (2, 1.0), (4, 0.0)]);
        let x = [1.0, 0.5, 0.25];
        let middle = 7.0 / 12.0;
        let spread: f64 = x.iter().map(|x: &f64| (x - middle).powi(2)).sum();
        let slope = (0.5 - middle) / spread;
        let value = 1.0 / 3.0 - slope * middle;
        let residuals = [0.0 - value - slope, 1.0 - value - 0.5 * slope, 0.0 - value - 0.25 * slope];
        let squares: f64 = residuals.iter().map(|r| r * r).sum();
        let error = (squares * (1.0 / 3.0 + middle * middle / spread)).sqrt();
        assert!((fit.value - value).abs() < 1e-14 && (fit.standard_error - error).abs() < 1e-14, "{fit:?}");
        assert!((fit.interval(0.95).unwrap().upper - value - 12.706_204_736_174_7 * error).abs() < 1e-8);
    }

    /// Points of the reference itself: every finite number of them is off, the extrapolation is not.
    #[test]
    fn the_bias_of_few_samples_goes_away() {
        let (n, d) = (1000, 8);
        let mut sum = 0.0;
        for seed in 0..20 {
            let values = normals(n, d, seed);
            let found = FEW.frechet(Points::new(&values, d).unwrap(), &standard(d)).unwrap();
            assert_eq!((found.points[0].0, found.points[7].0, found.points.len()), (40, n, 8));
            assert!(found.slope > 0.0 && found.points[0].1 > 0.1, "{found:?}");
            sum += found.value;
        }
        // With all samples: about (d + d (d + 1) / 4) / n = 0.026.
        assert!((sum / 20.0).abs() < 0.006, "{}", sum / 20.0);
    }

    #[test]
    fn the_score_of_sure_answers_is_the_number_of_classes() {
        let logits: Vec<f64> = (0..400).flat_map(|i| (0..4).map(move |c| if i % 4 == c { 1e3 } else { 0.0 })).collect();
        let found = FEW.inception_score(Points::new(&logits, 4).unwrap()).unwrap();
        // Of 400 independent draws the mean of the score is 4 less about 4 (4 - 1) / 2n; the line finds 4.
        assert!((found.value - 4.0).abs() < 0.03 && found.slope < 0.0, "{found:?}");
    }

    #[test]
    fn seeds_choose_subsets_and_sizes_must_fit() {
        let values = normals(100, 2, 0);
        let points = Points::new(&values, 2).unwrap();
        let of = |seed| Extrapolation { seed, ..FEW }.frechet(points, &standard(2)).unwrap();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert!(Extrapolation { smallest: 100, ..FEW }.frechet(points, &standard(2)).is_err());
        assert!(Extrapolation { smallest: 1, ..FEW }.frechet(points, &standard(2)).is_err());
        assert!(Extrapolation { sizes: 2, ..FEW }.frechet(points, &standard(2)).is_err());
    }
}
