//! The kernel distance: maximum mean discrepancy under a polynomial or a Gaussian kernel.

use serde::Serialize;

use crate::draws::Draws;
use crate::products::{by_row, squared_lengths};
use crate::{Bootstrap, MetricError, Points, Replicates};

/// What two points have in common.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Kernel {
    /// `(scale <x, y> + offset)^degree`: sees moments up to the degree.
    Polynomial {
        /// The degree.
        degree: u32,
        /// The factor of the inner product; none means 1 / dimension.
        scale: Option<f64>,
        /// What is added to it.
        offset: f64,
    },
    /// `exp(-|x - y|^2 / (2 bandwidth^2))`: tells any two distributions apart.
    Gaussian {
        /// The distance at which it bends, more than 0.
        bandwidth: f64,
    },
}

/// The squared maximum mean discrepancy under a kernel (Gretton et al. 2012, eq. 3), times a factor.
///
/// The default is the literature's Kernel Inception Distance (Binkowski et al. 2018, section 4): cubic, `scale` 1 /
/// dimension, `offset` 1; [`gaussian`](Self::gaussian) is that of CMMD.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KernelDistance {
    /// The kernel.
    pub kernel: Kernel,
    /// What the squared discrepancy is multiplied by, for numbers that people can read.
    pub factor: f64,
}

impl Default for KernelDistance {
    fn default() -> Self {
        Self { kernel: Kernel::Polynomial { degree: 3, scale: None, offset: 1.0 }, factor: 1.0 }
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

/// The indices of a subset of one set of points, and of another.
pub type SubsetPair = (Vec<usize>, Vec<usize>);

/// The distance over several pairs of subsets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SubsetDistance {
    /// The mean over subsets.
    pub mean: f64,
    /// The standard deviation over subsets (divided by their number).
    pub deviation: f64,
    /// The distance of each pair of subsets.
    pub values: Vec<f64>,
}

impl SubsetDistance {
    /// The mean over resamples of the subsets: how sure it is, given the points that the subsets were drawn from. The
    /// draw of these points themselves is not in it.
    ///
    /// # Errors
    /// Fewer than two resamples.
    pub fn replicates(&self, bootstrap: &Bootstrap) -> Result<Replicates, MetricError> {
        bootstrap.mean(&self.values)
    }
}

impl KernelDistance {
    /// The distance of CMMD (Jayasumana et al. 2024, section 5): a Gaussian kernel with bandwidth 10, times 1000. There
    /// the points are CLIP's image embeddings at length 1, and the estimator is the biased one.
    pub fn gaussian() -> Self {
        Self { kernel: Kernel::Gaussian { bandwidth: 10.0 }, factor: 1000.0 }
    }

    /// The squared discrepancy of two point sets `[n, d]` and `[m, d]`.
    ///
    /// # Errors
    /// Different dimensions; a bandwidth that is not positive; fewer than two points where pairs of a point with itself
    /// are left out; sets of different sizes for the U-statistic.
    pub fn distance(&self, a: Points<'_>, b: Points<'_>, estimator: Estimator) -> Result<f64, MetricError> {
        a.same_dimension(&b)?;
        if let Kernel::Gaussian { bandwidth } = self.kernel
            && !(bandwidth > 0.0 && bandwidth.is_finite())
        {
            return Err(MetricError::Range { what: "the bandwidth", value: bandwidth, range: "more than 0" });
        }
        let (n, m) = (a.len(), b.len());
        if estimator != Estimator::Biased && n.min(m) < 2 {
            return Err(MetricError::TooFew { what: "points of a set", count: n.min(m) as u64, least: 2 });
        }
        if estimator == Estimator::UStatistic && n != m {
            return Err(MetricError::Size { what: "points of the second set", found: m, expected: n });
        }
        let d = a.dimension();
        let (of_a, of_b) = (squared_lengths(a), squared_lengths(b));
        let with_itself = |points: Points<'_>, squares: &[f64]| {
            let count = points.len() as f64;
            let all = self.sum(points, squares, points, squares);
            if estimator == Estimator::Biased {
                return all / (count * count);
            }
            let diagonal: f64 = squares.iter().map(|&square| self.kernel.value(square, square, square, d)).sum();
            (all - diagonal) / (count * (count - 1.0))
        };
        let across = match estimator {
            Estimator::Biased | Estimator::Unbiased => self.sum(a, &of_a, b, &of_b) / (n as f64 * m as f64),
            Estimator::UStatistic => {
                let pairs = a.rows().zip(&of_a).zip(b.rows().zip(&of_b));
                let paired: f64 = pairs
                    .map(|((x, x_square), (y, y_square))| {
                        let product = x.iter().zip(y).map(|(x, y)| x * y).sum();
                        self.kernel.value(product, *x_square, *y_square, d)
                    })
                    .sum();
                (self.sum(a, &of_a, b, &of_b) - paired) / (n as f64 * (n as f64 - 1.0))
            }
        };
        Ok(self.factor * (with_itself(a, &of_a) + with_itself(b, &of_b) - 2.0 * across))
    }

    /// The unbiased distance over pairs of subsets, each given by the indices of its points in `a` and in `b`. The
    /// literature takes 100 pairs of 1000 points drawn without replacement, as [`draw_subsets`] does.
    ///
    /// # Errors
    /// No subsets, an index that is not there, and the errors of [`distance`](Self::distance).
    pub fn over_subsets(
        &self,
        a: Points<'_>,
        b: Points<'_>,
        subsets: &[SubsetPair],
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
        Ok(SubsetDistance { mean, deviation: variance.sqrt(), values: distances })
    }

    /// The sum of the kernel over all pairs of points with these squared lengths.
    fn sum(&self, a: Points<'_>, of_a: &[f64], b: Points<'_>, of_b: &[f64]) -> f64 {
        let rows = by_row(a, b, |i, products| {
            let values = products.iter().zip(of_b);
            values.map(|(&product, &square)| self.kernel.value(product, of_a[i], square, a.dimension())).sum::<f64>()
        });
        rows.iter().sum()
    }
}

impl Kernel {
    /// Of two points with this inner product and these squared lengths.
    fn value(self, product: f64, x_square: f64, y_square: f64, dimension: usize) -> f64 {
        match self {
            Self::Polynomial { degree, scale, offset } => {
                let scale = scale.unwrap_or(1.0 / dimension as f64);
                (scale * product + offset).powi(degree.cast_signed())
            }
            Self::Gaussian { bandwidth } => {
                let squared_distance = (x_square + y_square - 2.0 * product).max(0.0);
                (-0.5 * squared_distance / (bandwidth * bandwidth)).exp()
            }
        }
    }
}

/// `count` pairs of subsets of `size` points each, of sets of `n` and `m` points: drawn without replacement, each pair
/// on its own, as a function of the seed.
///
/// # Errors
/// Subsets larger than a set.
pub fn draw_subsets(n: usize, m: usize, size: usize, count: usize, seed: u64) -> Result<Vec<SubsetPair>, MetricError> {
    if n.min(m) < size {
        return Err(MetricError::TooFew { what: "points of a set", count: n.min(m) as u64, least: size as u64 });
    }
    let draw = |which, n| Draws::new(seed, which).without_replacement(size, n);
    Ok((0..count as u64).map(|pair| (draw(2 * pair, n), draw(2 * pair + 1, m))).collect())
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

    const LINEAR: KernelDistance =
        KernelDistance { kernel: Kernel::Polynomial { degree: 1, scale: Some(1.0), offset: 0.0 }, factor: 1.0 };

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
    fn the_gaussian_kernel_by_hand() {
        // On the line with bandwidth 1: sets {0, 1} and {3}; distances 1 within, 3 and 2 across.
        let distance = KernelDistance { kernel: Kernel::Gaussian { bandwidth: 1.0 }, factor: 10.0 };
        let (a, b) = (Points::new(&[0.0, 1.0], 1).unwrap(), Points::new(&[3.0], 1).unwrap());
        let k = |squared: f64| (-0.5 * squared).exp();
        let expected = 10.0 * ((2.0 + 2.0 * k(1.0)) / 4.0 + 1.0 - (k(9.0) + k(4.0)));
        assert!((distance.distance(a, b, Estimator::Biased).unwrap() - expected).abs() < 1e-13);
        let flat = KernelDistance { kernel: Kernel::Gaussian { bandwidth: 0.0 }, factor: 1.0 };
        assert!(matches!(flat.distance(a, b, Estimator::Biased), Err(MetricError::Range { .. })));
    }

    /// Of normal distributions `N(0, 1)` and `N(shift, 1)` under a Gaussian kernel of bandwidth s:
    /// `E k = s / sqrt(s^2 + 2) exp(-shift^2 / (2 (s^2 + 2)))`.
    #[test]
    fn gaussians_have_their_closed_form_under_it() {
        let quantiles = |shift: f64| -> Vec<f64> {
            (0..2000).map(|i| shift + crate::normal_quantile((f64::from(i) + 0.5) / 2000.0)).collect()
        };
        let (a, b) = (quantiles(0.0), quantiles(1.5));
        let (a, b) = (Points::new(&a, 1).unwrap(), Points::new(&b, 1).unwrap());
        let distance = KernelDistance { kernel: Kernel::Gaussian { bandwidth: 2.0 }, factor: 1.0 };
        let expectation = |shift: f64| 2.0 / 6.0f64.sqrt() * (-shift * shift / 12.0).exp();
        let found = distance.distance(a, b, Estimator::Biased).unwrap();
        assert!((found - 2.0 * (expectation(0.0) - expectation(1.5))).abs() < 1e-4, "{found}");
    }

    #[test]
    fn a_wide_gaussian_sees_the_means() {
        // k = 1 - |x - y|^2 / 2 s^2 for s far beyond the points: the squared discrepancy is |mean - mean|^2 / s^2.
        let (a, b) = ([0.0, 0.0, 2.0, 4.0, 4.0, 2.0], [5.0, 6.0, 5.0, 6.0]);
        let wide = KernelDistance { kernel: Kernel::Gaussian { bandwidth: 1e3 }, factor: 1e6 };
        let found = wide.distance(points(&a), points(&b), Estimator::Biased).unwrap();
        assert!((found - 25.0).abs() < 1e-3, "{found}");
        assert_eq!(KernelDistance::gaussian().distance(points(&a), points(&a), Estimator::Biased).unwrap(), 0.0);
    }

    #[test]
    fn subsets_are_drawn_by_the_seed() {
        let subsets = draw_subsets(20, 30, 5, 3, 7).unwrap();
        assert_eq!(subsets.len(), 3);
        assert!(subsets.iter().all(|(a, b)| a.len() == 5 && b.iter().all(|&index| index < 30)));
        assert_eq!(subsets, draw_subsets(20, 30, 5, 3, 7).unwrap());
        assert!(subsets != draw_subsets(20, 30, 5, 3, 8).unwrap() && subsets[0] != subsets[1]);
        assert!(draw_subsets(4, 30, 5, 3, 7).is_err());
    }

    #[test]
    fn subsets_tell_how_sure_their_mean_is() {
        let values: Vec<f64> = (0..400).map(|i| (f64::from(i) * 0.7).sin()).collect();
        let (a, b) = (Points::new(&values[..200], 2).unwrap(), Points::new(&values[200..], 2).unwrap());
        let subsets = draw_subsets(100, 100, 20, 30, 1).unwrap();
        let found = KernelDistance::default().over_subsets(a, b, &subsets).unwrap();
        let replicates = found.replicates(&Bootstrap { resamples: 1000, seed: 0 }).unwrap();
        let interval = replicates.interval(0.95).unwrap();
        assert!(interval.lower < found.mean && found.mean < interval.upper);
        assert!((replicates.standard_error() / (found.deviation / 30.0f64.sqrt()) - 1.0).abs() < 0.1);
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
