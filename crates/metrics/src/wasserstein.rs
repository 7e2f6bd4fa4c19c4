//! Wasserstein distances of point sets: exact in one dimension, sliced in more.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;
use serde::Serialize;

use crate::draws::Draws;
use crate::{MetricError, Points};

/// Directions that one task takes, in one pass over the points.
const TOGETHER: usize = 32;

/// The Wasserstein distance `W_p` of two sets of numbers with equal weights, of any two sizes.
///
/// In one dimension the best transport is monotone, so that `W_p^p` is the integral over `u` in `(0, 1)` of
/// `|F^-1(u) - G^-1(u)|^p` (Villani, "Topics in Optimal Transportation", theorem 2.18). Both quantile functions are
/// steps, so the integral is a finite sum and the result is exact up to rounding.
///
/// # Errors
/// An empty set, a NaN or an infinity, `order` 0.
pub fn wasserstein_1d(a: &[f64], b: &[f64], order: u32) -> Result<f64, MetricError> {
    let (a, b) = (Points::new(a, 1)?, Points::new(b, 1)?);
    check_order(order)?;
    let sorted = |points: Points<'_>| sort(points.values().to_vec());
    Ok(transport_cost(&sorted(a), &sorted(b), order).powf(f64::from(order).recip()))
}

/// The sliced Wasserstein distance of two point sets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SlicedWasserstein {
    /// `(mean over directions of W_p^p)^(1/p)`.
    pub value: f64,
    /// The largest `W_p` of any of the directions: a lower bound of the max-sliced distance.
    pub largest: f64,
    /// The mean over directions of `W_p^p`, the square of `value` for order 2: what sliced distances on features are
    /// reported as, and what is right on average whatever the number of directions.
    pub mean: f64,
    /// The standard error of `mean` from the draw of the directions; 0 for one direction.
    pub standard_error: f64,
}

/// The sliced Wasserstein distance of two point sets `[n, d]` and `[m, d]` (Bonneel et al. 2015): `W_p` in one
/// dimension, of the projections onto each of `directions` `[k, d]`, averaged as `p`-th powers.
///
/// The directions are the caller's: rows of independent standard normal draws have uniform directions (as those of
/// [`random_directions`]), and any length but zero will do. Two distances compare only with the same directions.
///
/// Memory is that of the projections onto 32 directions for each thread.
///
/// # Errors
/// Different dimensions, a direction of length 0, `order` 0.
pub fn sliced_wasserstein(
    a: Points<'_>,
    b: Points<'_>,
    directions: Points<'_>,
    order: u32,
) -> Result<SlicedWasserstein, MetricError> {
    a.same_dimension(&b)?;
    a.same_dimension(&directions)?;
    check_order(order)?;
    if directions.rows().any(|direction| length(direction) == 0.0) {
        return Err(MetricError::Range { what: "a direction's length", value: 0.0, range: "more than 0" });
    }
    let costs = directions.values().par_chunks(TOGETHER * directions.dimension()).map(|directions| {
        let (of_a, of_b) = (projections(a, directions), projections(b, directions));
        of_a.iter().zip(&of_b).map(|(a, b)| transport_cost(a, b, order)).collect::<Vec<_>>()
    });
    let costs = costs.collect::<Vec<_>>().concat();
    let root = |cost: f64| cost.powf(f64::from(order).recip());
    let count = costs.len() as f64;
    let mean = costs.iter().sum::<f64>() / count;
    let squares: f64 = costs.iter().map(|cost| (cost - mean).powi(2)).sum();
    let standard_error = (squares / (count * (count - 1.0).max(1.0))).sqrt();
    Ok(SlicedWasserstein {
        value: root(mean),
        largest: root(costs.into_iter().fold(0.0, f64::max)),
        mean,
        standard_error,
    })
}

/// `count` directions `[count, d]` for [`sliced_wasserstein`], even over all directions: rows of standard normal
/// numbers that are functions of the seed and of their place.
pub fn random_directions(count: usize, dimension: usize, seed: u64) -> Vec<f64> {
    let draws = Draws::new(seed, 0);
    (0..(count * dimension) as u64).into_par_iter().map(|position| draws.normal(position)).collect()
}

fn check_order(order: u32) -> Result<(), MetricError> {
    if order == 0 {
        return Err(MetricError::Range { what: "the order", value: 0.0, range: "at least 1" });
    }
    Ok(())
}

/// `W_p^p` of two ascending sets, by walking along both quantile functions at once.
fn transport_cost(a: &[f64], b: &[f64], order: u32) -> f64 {
    // A point of `a` carries the mass `b.len()`, a point of `b` carries `a.len()`: whole numbers, the same total.
    let (mass_a, mass_b) = (b.len() as u64, a.len() as u64);
    let (mut i, mut j, mut left_a, mut left_b) = (0, 0, mass_a, mass_b);
    let mut cost = 0.0;
    while i < a.len() && j < b.len() {
        let moved = left_a.min(left_b);
        cost += moved as f64 * (a[i] - b[j]).abs().powi(order.cast_signed());
        left_a -= moved;
        left_b -= moved;
        if left_a == 0 {
            (i, left_a) = (i + 1, mass_a);
        }
        if left_b == 0 {
            (j, left_b) = (j + 1, mass_b);
        }
    }
    cost / (a.len() as f64 * b.len() as f64)
}

fn sort(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn length(vector: &[f64]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Where the points lie along each of `directions` `[k, d]`, in ascending order: `[k, n]`.
fn projections(points: Points<'_>, directions: &[f64]) -> Vec<Vec<f64>> {
    let d = points.dimension();
    let rows = MatRef::from_row_major_slice(points.values(), points.len(), d); // [n, d]
    let columns = MatRef::from_row_major_slice(directions, directions.len() / d, d).transpose(); // [d, k]
    let mut products = Mat::zeros(points.len(), columns.ncols());
    matmul(products.as_mut(), Accum::Replace, rows, columns, 1.0, Par::Seq);
    let along = |(index, direction)| {
        let length = length(direction);
        sort(products.col_as_slice(index).iter().map(|product| product / length).collect())
    };
    directions.chunks_exact(d).enumerate().map(along).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::normal_quantile;

    /// The quantiles of a normal distribution in the middles of `n` equal parts.
    fn normal(n: usize, mean: f64, deviation: f64) -> Vec<f64> {
        (0..n).map(|i| mean + deviation * normal_quantile((i as f64 + 0.5) / n as f64)).collect()
    }

    #[test]
    fn a_few_points_by_hand() {
        assert_eq!(wasserstein_1d(&[3.0, 0.0, 1.0], &[5.0, 6.0, 8.0], 1).unwrap(), 5.0);
        // One point against two: half the mass travels each way.
        assert_eq!(wasserstein_1d(&[0.0], &[-1.0, 3.0], 1).unwrap(), 2.0);
        assert!((wasserstein_1d(&[0.0], &[-1.0, 3.0], 2).unwrap() - 5.0f64.sqrt()).abs() < 1e-15);
        // Two points against three: thirds and halves, (0, 0), (0 -> 2 a sixth), (1 -> 2 a sixth), (1, 4) a third.
        let expected = (2.0 + 1.0) / 6.0 + 3.0 / 3.0;
        assert!((wasserstein_1d(&[0.0, 1.0], &[0.0, 2.0, 4.0], 1).unwrap() - expected).abs() < 1e-15);
    }

    #[test]
    fn gaussians_have_their_closed_form() {
        // W_2^2 of two normals is (m1 - m2)^2 + (s1 - s2)^2; the tails cut off at 20,000 points cost 1e-4.
        let distance = wasserstein_1d(&normal(20_000, 0.0, 1.0), &normal(20_000, 1.0, 3.0), 2).unwrap();
        assert!((distance.powi(2) - 5.0).abs() < 2e-3, "{distance}");
    }

    #[test]
    fn a_shift_of_the_plane_is_its_projections() {
        let a = [0.0, 0.0, 1.0, 2.0, -3.0, 0.5];
        let b: Vec<f64> = a.chunks(2).flat_map(|p| [p[0] + 3.0, p[1] - 4.0]).collect();
        let directions = [1.0, 0.0, 0.0, 2.0, 5.0, 5.0];
        let points = |values| Points::new(values, 2).unwrap();
        let sliced = sliced_wasserstein(points(&a), points(&b), points(&directions), 2).unwrap();
        let expected = ((9.0 + 16.0 + 0.5) / 3.0f64).sqrt();
        assert!((sliced.value - expected).abs() < 1e-14 && (sliced.largest - 4.0).abs() < 1e-14, "{sliced:?}");
    }

    /// Along a uniform direction of d dimensions, `(e . u)^2` of a unit vector e has the mean 1 / d: points that move
    /// by s have the mean squared distance `s^2 / d`.
    #[test]
    fn random_directions_see_a_shift_evenly() {
        let d = 6;
        let a: Vec<f64> = (0..20 * d).map(|i| (i as f64 * 0.7).sin()).collect();
        let b: Vec<f64> = a.iter().enumerate().map(|(i, x)| if i % d == 2 { x + 3.0 } else { *x }).collect();
        let directions = random_directions(2000, d, 4);
        let points = |values| Points::new(values, d).unwrap();
        let sliced = sliced_wasserstein(points(&a), points(&b), points(&directions), 2).unwrap();
        let off = (sliced.mean - 9.0 / d as f64).abs();
        assert!(off < 3.0 * sliced.standard_error && sliced.standard_error < 0.06, "{sliced:?}");
        assert!((sliced.value.powi(2) - sliced.mean).abs() < 1e-14 && sliced.largest <= 3.0 && sliced.largest > 2.7);
        assert_eq!(directions[..60], random_directions(10, d, 4)[..]);
        assert_ne!(directions[..60], random_directions(10, d, 5)[..]);
    }

    #[test]
    fn what_has_no_distance_is_refused() {
        assert!(wasserstein_1d(&[], &[1.0], 1).is_err());
        assert!(wasserstein_1d(&[0.0], &[1.0], 0).is_err());
        let points = |values| Points::new(values, 2).unwrap();
        let (a, zero) = ([1.0, 2.0], [0.0, 0.0]);
        assert!(matches!(sliced_wasserstein(points(&a), points(&a), points(&zero), 1), Err(MetricError::Range { .. })));
        let line = Points::new(&a, 1).unwrap();
        assert!(matches!(sliced_wasserstein(points(&a), line, points(&a), 1), Err(MetricError::Size { .. })));
    }

    proptest! {
        /// Repeating every point changes neither set's distribution; the distance is symmetric, and zero to itself.
        #[test]
        fn only_the_distributions_matter(a in prop::collection::vec(-5.0..5.0f64, 1..20), b in prop::collection::vec(-5.0..5.0f64, 1..20), order in 1u32..4) {
            let distance = wasserstein_1d(&a, &b, order).unwrap();
            let thrice: Vec<f64> = a.iter().flat_map(|&x| [x; 3]).collect();
            prop_assert!((wasserstein_1d(&thrice, &b, order).unwrap() - distance).abs() < 1e-12);
            prop_assert!((wasserstein_1d(&b, &a, order).unwrap() - distance).abs() < 1e-12);
            prop_assert_eq!(wasserstein_1d(&a, &a, order).unwrap(), 0.0);
        }
    }
}
