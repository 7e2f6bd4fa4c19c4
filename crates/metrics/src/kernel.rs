//! The kernel distance: maximum mean discrepancy under a polynomial kernel.

use serde::Serialize;

use crate::products::{by_row, squared_lengths};
use crate::{MetricError, Points};

/// The squared maximum mean discrepancy under `k(x, y) = (scale <x, y> + offset)^degree` (Binkowski et al. 2018,
/// section 4). The default is the literature's Kernel Inception Distance: cubic, `scale` 1 / dimension, `offset` 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KernelDistance {
    /// The kernel's degree.
    pub degree: u32,
    /// The factor of the inner product; none means 1 / dimension.
    pub scale: Option<f64>,
    /// What is added to it.
    pub offset: f64,
}

impl Default for KernelDistance {
    fn default() -> Self {
        Self { degree: 3, scale: None, offset: 1.0 }
    }
}

/// How the expectations of the kernel are estimated (Gretton et al. 2012, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// Over all pairs, a point with itself too: at least 0, too large on average.
    Biased,
    /// Without the pairs of a point with itself: right on average, possibly negative.
    Unbiased,
    /// Also without the pairs of the i-th point of one set with the i-th of the other: for sets of equal size.
    UStatistic,
}

/// The distance over several pairs of subsets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SubsetDistance {
    /// The mean over subsets.
    pub mean: f64,
    /// The standard deviation over subsets (divided by their number).
    pub deviation: f64,
}

impl KernelDistance {
    /// The squared discrepancy of two point sets `[n, d]` and `[m, d]`.
    ///
    /// # Errors
    /// Different dimensions; fewer than two points where pairs of a point with itself are left out; sets of different
    /// sizes for the U-statistic.
    pub fn distance(&self, a: Points<'_>, b: Points<'_>, estimator: Estimator) -> Result<f64, MetricError> {
        a.same_dimension(&b)?;
        let (n, m) = (a.len(), b.len());
        if estimator != Estimator::Biased && n.min(m) < 2 {
            return Err(MetricError::TooFew { what: "points of a set", count: n.min(m) as u64, least: 2 });
        }
        if estimator == Estimator::UStatistic && n != m {
            return Err(MetricError::Size { what: "points of the second set", found: m, expected: n });
        }
        let with_itself = |points: Points<'_>| {
            let count = points.len() as f64;
            let all = self.sum(points, points);
            if estimator == Estimator::Biased {
                return all / (count * count);
            }
            let diagonal: f64 = squared_lengths(points).iter().map(|&square| self.kernel(square, a.dimension())).sum();
            (all - diagonal) / (count * (count - 1.0))
        };
        let across = match estimator {
            Estimator::Biased | Estimator::Unbiased => self.sum(a, b) / (n as f64 * m as f64),
            Estimator::UStatistic => {
                let product = |(x, y): (&[f64], &[f64])| x.iter().zip(y).map(|(x, y)| x * y).sum();
                let paired: f64 = a.rows().zip(b.rows()).map(|pair| self.kernel(product(pair), a.dimension())).sum();
                (self.sum(a, b) - paired) / (n as f64 * (n as f64 - 1.0))
            }
        };
        Ok(with_itself(a) + with_itself(b) - 2.0 * across)
    }

    /// The unbiased distance over pairs of subsets, each given by the indices of its points in `a` and in `b`. The
    /// literature takes 100 pairs of 1000 points drawn without replacement.
    ///
    /// # Errors
    /// No subsets, an index that is not there, and the errors of [`distance`](Self::distance).
    pub fn over_subsets(
        &self,
        a: Points<'_>,
        b: Points<'_>,
        subsets: &[(Vec<usize>, Vec<usize>)],
    ) -> Result<SubsetDistance, MetricError> {
        if subsets.is_empty() {
            return Err(MetricError::TooFew { what: "subsets", count: 0, least: 1 });
        }
        let distances = subsets.iter().map(|(of_a, of_b)| {
            let (of_a, of_b) = (select(a, of_a)?, select(b, of_b)?);
            let (of_a, of_b) = (Points::new(&of_a, a.dimension())?, Points::new(&of_b, b.dimension())?);
            self.distance(of_a, of_b, Estimator::Unbiased)
        });
        let distances: Vec<f64> = distances.collect::<Result<_, _>>()?;
        let count = distances.len() as f64;
        let mean = distances.iter().sum::<f64>() / count;
        let variance = distances.iter().map(|distance| (distance - mean).powi(2)).sum::<f64>() / count;
        Ok(SubsetDistance { mean, deviation: variance.sqrt() })
    }

    fn kernel(&self, product: f64, dimension: usize) -> f64 {
        let scale = self.scale.unwrap_or(1.0 / dimension as f64);
        (scale * product + self.offset).powi(self.degree.cast_signed())
    }

    /// The sum of the kernel over all pairs.
    fn sum(&self, a: Points<'_>, b: Points<'_>) -> f64 {
        let row = |products: &[f64]| products.iter().map(|&product| self.kernel(product, a.dimension())).sum::<f64>();
        by_row(a, b, |_, products| row(products)).iter().sum()
    }
}

/// The points with the given indices, `[k, d]`.
fn select(points: Points<'_>, indices: &[usize]) -> Result<Vec<f64>, MetricError> {
    let mut values = Vec::with_capacity(indices.len() * points.dimension());
    for &index in indices {
        if index >= points.len() {
            let value = index as f64;
            return Err(MetricError::Range { what: "an index", value, range: "below the number of points" });
        }
        values.extend_from_slice(points.row(index));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAR: KernelDistance = KernelDistance { degree: 1, scale: Some(1.0), offset: 0.0 };

    fn points(values: &[f64]) -> Points<'_> {
        Points::new(values, 2).unwrap()
    }

    #[test]
    fn the_linear_kernel_sees_the_means_only() {
        let (a, b) = ([0.0, 0.0, 2.0, 4.0, 4.0, 2.0], [5.0, 6.0, 5.0, 6.0]);
        // |(2, 2) - (5, 6)|^2
        let biased = LINEAR.distance(points(&a), points(&b), Estimator::Biased).unwrap();
        assert!((biased - 25.0).abs() < 1e-12, "{biased}");
        // Unbiased: <a_i, a_j> over i != j is 32 / 6; b as before.
        let unbiased = LINEAR.distance(points(&a), points(&b), Estimator::Unbiased).unwrap();
        assert!((unbiased - (32.0 / 6.0 + 61.0 - 2.0 * 22.0)).abs() < 1e-12, "{unbiased}");
    }

    #[test]
    fn estimators_by_hand() {
        // k(x, y) = (x y / 1 + 1)^3 on the line: sets {0, 1} and {0, 2}.
        let kernel = KernelDistance::default();
        let (a, b) = (Points::new(&[0.0, 1.0], 1).unwrap(), Points::new(&[0.0, 2.0], 1).unwrap());
        // aa: 1 1 / 1 8; bb: 1 1 / 1 125; ab: 1 1 / 1 27.
        let of = |estimator| kernel.distance(a, b, estimator).unwrap();
        assert!((of(Estimator::Biased) - (11.0 / 4.0 + 128.0 / 4.0 - 2.0 * 30.0 / 4.0)).abs() < 1e-12);
        assert!((of(Estimator::Unbiased) - (1.0 + 1.0 - 2.0 * 30.0 / 4.0)).abs() < 1e-12);
        assert!(of(Estimator::UStatistic).abs() < 1e-12);
    }

    #[test]
    fn subsets_are_distances_of_their_points() {
        let a: Vec<f64> = (0..40).map(|i| (f64::from(i) * 0.7).sin()).collect();
        let b: Vec<f64> = (0..40).map(|i| (f64::from(i) * 0.9).cos()).collect();
        let kernel = KernelDistance::default();
        let subset = |from: usize| (from..from + 10).collect::<Vec<_>>();
        let pairs = [(subset(0), subset(5)), (subset(10), subset(0))];
        let part = |values: &[f64], from: usize| values[from * 2..(from + 10) * 2].to_vec();
        let one = kernel.distance(points(&part(&a, 0)), points(&part(&b, 5)), Estimator::Unbiased).unwrap();
        let two = kernel.distance(points(&part(&a, 10)), points(&part(&b, 0)), Estimator::Unbiased).unwrap();
        let found = kernel.over_subsets(points(&a), points(&b), &pairs).unwrap();
        assert!((found.mean - 0.5 * (one + two)).abs() < 1e-14);
        assert!((found.deviation - 0.5 * (one - two).abs()).abs() < 1e-14);
        assert!(kernel.over_subsets(points(&a), points(&b), &[(vec![20], vec![0])]).is_err());
    }

    #[test]
    fn what_has_no_estimate_is_refused() {
        let (one, two) = ([0.0, 1.0], [0.0, 1.0, 2.0, 3.0]);
        let of = |a, b, estimator| KernelDistance::default().distance(points(a), points(b), estimator);
        assert!(of(&one, &two, Estimator::Biased).is_ok());
        assert!(of(&one, &two, Estimator::Unbiased).is_err());
        assert!(of(&two, &[0.0; 6], Estimator::UStatistic).is_err());
    }
}
