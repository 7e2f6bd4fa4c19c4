//! The Frechet distance of two Gaussians.

use faer::{Mat, MatRef, Side};
use serde::Serialize;

use crate::full_rank::{trace, trace_of_root};
use crate::{Gaussian, MetricError};

/// From so many dimensions the faster route for full rank is tried; below, nobody waits for the slower one.
const LARGE: usize = 256;

/// How negative the smallest eigenvalue of a covariance may be, relative to the largest, before it counts as an error
/// and not as rounding.
const NEGATIVE: f64 = 1e-6;

/// The squared Frechet distance of two Gaussians, and what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Frechet {
    /// The squared distance, `mean_term + covariance_term`: what the literature reports (as FID, where the features
    /// are those of its Inception network). At least 0.
    pub value: f64,
    /// `|m1 - m2|^2`.
    pub mean_term: f64,
    /// `tr(S1 + S2 - 2 sqrt(sqrt(S1) S2 sqrt(S1)))`.
    pub covariance_term: f64,
    /// A warning: at least one covariance has not full rank, because there were no more samples than dimensions or
    /// because some feature never varies. The value is finite and exact for these matrices, but as an estimate it is
    /// biased upwards and not comparable with one from more samples.
    pub rank_deficient: bool,
    /// The numerical ranks of the two covariances.
    pub ranks: [usize; 2],
}

/// The squared Frechet (2-Wasserstein) distance of two Gaussians,
///
/// `|m1 - m2|^2 + tr(S1 + S2 - 2 sqrt(sqrt(S1) S2 sqrt(S1)))`
///
/// (Dowson and Landau 1982, eq. 4; used on features by Heusel et al. 2017, eq. 6).
///
/// With factors `S = F F^T` from the symmetric eigenproblem (`F = U sqrt(L)`), the eigenvalues of
/// `sqrt(S1) S2 sqrt(S1)` are the squared singular values of `F1^T F2`. Summing those instead of taking roots of
/// eigenvalues keeps the digits that squaring would lose, also where the covariances are singular.
///
/// From 256 dimensions on, covariances of certainly full rank take a route that is several times faster: `F` is the
/// Cholesky factor L, and the eigenvalues are those of `L1^T S2 L1`. Full rank is certain where the samples are more
/// than the dimensions and the smallest eigenvalue is estimated above `100 d eps` of the largest. Where the eigenvalues
/// found say that their roots' sum may be wrong by 1e-10 of the traces, the singular values of `L1^T L2` replace them.
///
/// Features of any kind will do: those of an image as a whole, or of its places (Nash et al. 2021 call it sFID when
/// these are Inception's first seven channels of `mixed_6/conv`, 17 x 17 places in one vector of 2023 values).
///
/// # Errors
/// Different dimensions; a covariance with a truly negative eigenvalue; a decomposition that does not converge.
pub fn frechet(a: &Gaussian, b: &Gaussian) -> Result<Frechet, MetricError> {
    let d = a.dimension();
    if b.dimension() != d {
        return Err(MetricError::Size { what: "dimension", found: b.dimension(), expected: d });
    }
    let mean_term: f64 = a.mean().iter().zip(b.mean()).map(|(a, b)| (a - b).powi(2)).sum();

    let fast = if d < LARGE { None } else { trace_of_root(a, b) };
    let (root, ranks) = match fast {
        Some(root) => (root, [d, d]),
        None => {
            let (first, first_rank) = factor(a)?;
            let (second, second_rank) = factor(b)?;
            let roots = (first.transpose() * &second)
                .singular_values()
                .map_err(|_| MetricError::Decomposition { what: "singular value decomposition" })?;
            (roots.iter().sum(), [first_rank, second_rank])
        }
    };
    // Of equal Gaussians the terms cancel to rounding errors of either sign.
    let covariance_term = (trace(a) + trace(b) - 2.0 * root).max(0.0);

    Ok(Frechet {
        value: mean_term + covariance_term,
        mean_term,
        covariance_term,
        rank_deficient: ranks[0].min(ranks[1]) < d,
        ranks,
    })
}

/// `F` with `F F^T` = the covariance, `[d, r]`, and the covariance's numerical rank, at most `r`.
fn factor(gaussian: &Gaussian) -> Result<(Mat<f64>, usize), MetricError> {
    let d = gaussian.dimension();
    let covariance = MatRef::from_row_major_slice(gaussian.covariance(), d, d);
    let eigen = covariance
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| MetricError::Decomposition { what: "eigenvalue decomposition" })?;
    let values = eigen.S().column_vector();
    // In ascending order.
    let (smallest, largest) = (values[0], values[d - 1]);
    if smallest < -NEGATIVE * largest.abs() {
        return Err(MetricError::NotCovariance { what: "positive semidefinite, with the eigenvalue", value: smallest });
    }
    // The covariance of n samples has rank n - 1 at most: what lies beyond is rounding, and its roots would be large.
    let possible = gaussian.count().map_or(d, |n| d.min(usize::try_from(n.saturating_sub(1)).unwrap_or(d)));
    let rounding = d as f64 * f64::EPSILON * largest;
    let rank = values.iter().skip(d - possible).filter(|&&value| value > rounding).count();
    let vectors = eigen.U();
    let factor = Mat::from_fn(d, possible, |i, j| {
        let j = j + d - possible;
        vectors[(i, j)] * values[j].max(0.0).sqrt()
    });
    Ok((factor, rank))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Moments;

    fn diagonal(mean: &[f64], variance: &[f64]) -> Gaussian {
        let d = mean.len();
        let covariance = (0..d * d).map(|i| if i % (d + 1) == 0 { variance[i / d] } else { 0.0 }).collect();
        Gaussian::new(mean.to_vec(), covariance, None).unwrap()
    }

    #[test]
    fn one_dimension_has_the_textbook_value() {
        let value = frechet(&diagonal(&[1.0], &[4.0]), &diagonal(&[3.0], &[9.0])).unwrap();
        // (1 - 3)^2 + (2 - 3)^2
        assert!((value.value - 5.0).abs() < 1e-14, "{value:?}");
        assert!((value.mean_term, value.rank_deficient, value.ranks) == (4.0, false, [1, 1]), "{value:?}");
    }

    #[test]
    fn covariances_that_do_not_commute_have_their_two_by_two_form() {
        // For 2x2 matrices tr sqrt(M) = sqrt(tr M + 2 sqrt(det M)), with M similar to S1 S2.
        let (s1, s2) = ([2.0, 0.6, 0.6, 1.0], [1.0, -0.7, -0.7, 3.0]);
        let trace = s1[0] * s2[0] + s1[1] * s2[2] + s1[2] * s2[1] + s1[3] * s2[3];
        let determinant: f64 = (s1[0] * s1[3] - s1[1] * s1[2]) * (s2[0] * s2[3] - s2[1] * s2[2]);
        let expected = s1[0] + s1[3] + s2[0] + s2[3] - 2.0 * (trace + 2.0 * determinant.sqrt()).sqrt();
        let gaussian = |s: [f64; 4]| Gaussian::new(vec![0.0; 2], s.to_vec(), None).unwrap();
        let value = frechet(&gaussian(s1), &gaussian(s2)).unwrap();
        assert!((value.value - expected).abs() < 1e-14, "{} and {expected}", value.value);
    }

    #[test]
    fn singular_covariances_are_exact_and_flagged() {
        // Two line segments' Gaussians at a right angle: nothing in common, so the traces add.
        let apart = frechet(&diagonal(&[0.0, 0.0], &[4.0, 0.0]), &diagonal(&[0.0, 0.0], &[0.0, 9.0])).unwrap();
        assert!((apart.value - 13.0).abs() < 1e-14 && apart.rank_deficient && apart.ranks == [1, 1], "{apart:?}");

        let same = frechet(&diagonal(&[0.0, 1.0], &[4.0, 0.0]), &diagonal(&[0.0, 1.0], &[4.0, 0.0])).unwrap();
        assert!(same.value < 1e-14 && same.rank_deficient, "{same:?}");

        let point = frechet(&diagonal(&[0.0, 0.0], &[0.0, 0.0]), &diagonal(&[3.0, 4.0], &[0.0, 0.0])).unwrap();
        assert!(point.value == 25.0 && point.ranks == [0, 0], "{point:?}");
    }

    #[test]
    fn fewer_samples_than_dimensions_stay_finite() {
        let (n, d) = (8, 24);
        let sample = |offset: f64| {
            let mut moments = Moments::new(d);
            let rows: Vec<f64> = (0..n * d).map(|i| ((i as f64 + offset) * 0.618_033_988_749_894_9).fract()).collect();
            moments.push(&rows).unwrap();
            moments.gaussian().unwrap()
        };
        let value = frechet(&sample(0.0), &sample(0.3)).unwrap();
        assert!(value.value.is_finite() && value.rank_deficient && value.ranks[0] < n, "{value:?}");
    }

    /// The fast route against the slow one, and on any number of threads to the bit.
    #[test]
    fn both_routes_agree_on_full_rank() {
        let d = LARGE + 3;
        let sample = |n: usize, seed: u64| {
            let mut moments = Moments::new(d);
            let draws = crate::draws::Draws::new(seed, 0);
            moments.push(&(0..(n * d) as u64).map(|i| draws.normal(i)).collect::<Vec<_>>()).unwrap();
            moments.gaussian().unwrap()
        };
        let (a, b) = (sample(3 * d, 0), sample(4 * d, 1));
        assert!(trace_of_root(&a, &b).is_some());
        let fast = frechet(&a, &b).unwrap();
        let (first, second) = (factor(&a).unwrap(), factor(&b).unwrap());
        let roots = (first.0.transpose() * &second.0).singular_values().unwrap();
        let slow = trace(&a) + trace(&b) - 2.0 * roots.iter().sum::<f64>();
        assert!((fast.covariance_term / slow - 1.0).abs() < 1e-10, "{} and {slow}", fast.covariance_term);
        assert!(fast.ranks == [first.1, second.1] && !fast.rank_deficient);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(pool.install(|| frechet(&a, &b).unwrap()), fast);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let (one, two) = (diagonal(&[0.0], &[1.0]), diagonal(&[0.0, 0.0], &[1.0, 1.0]));
        assert!(matches!(frechet(&one, &two), Err(MetricError::Size { .. })));
        let indefinite = diagonal(&[0.0, 0.0], &[1.0, -1.0]);
        assert!(matches!(frechet(&two, &indefinite), Err(MetricError::NotCovariance { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Diagonal covariances: `sum (m1 - m2)^2 + (s1 - s2)^2`, in both directions, and zero to itself.
        #[test]
        fn diagonal_covariances_have_a_closed_form(values in prop::collection::vec((-3.0..3.0f64, 0.0..3.0f64, -3.0..3.0f64, 0.0..3.0f64), 1..40)) {
            let of = |pick: fn(&(f64, f64, f64, f64)) -> f64| values.iter().map(pick).collect::<Vec<_>>();
            let a = diagonal(&of(|v| v.0), &of(|v| v.1 * v.1));
            let b = diagonal(&of(|v| v.2), &of(|v| v.3 * v.3));
            let expected: f64 = values.iter().map(|v| (v.0 - v.2).powi(2) + (v.1 - v.3).powi(2)).sum();
            let tolerance = 1e-12 * (1.0 + expected + values.len() as f64 * 18.0);
            prop_assert!((frechet(&a, &b).unwrap().value - expected).abs() < tolerance);
            prop_assert!((frechet(&b, &a).unwrap().value - expected).abs() < tolerance);
            prop_assert!(frechet(&a, &a).unwrap().value < tolerance);
        }

        /// Scaling all features by c scales the squared distance by c^2.
        #[test]
        fn scale_enters_squared(scale in 0.01..100.0f64) {
            let sample = |offset: f64, scale: f64| {
                let mut moments = Moments::new(5);
                let rows: Vec<f64> = (0..200).map(|i| scale * ((f64::from(i) + offset) * 0.618_033_988_749_894_9 + offset).fract()).collect();
                moments.push(&rows).unwrap();
                moments.gaussian().unwrap()
            };
            let plain = frechet(&sample(0.0, 1.0), &sample(0.4, 1.0)).unwrap().value;
            let scaled = frechet(&sample(0.0, scale), &sample(0.4, scale)).unwrap().value;
            prop_assert!((scaled / (scale * scale) - plain).abs() < 1e-9 * (1.0 + plain), "{plain} {scaled}");
        }
    }
}
