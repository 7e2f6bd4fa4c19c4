//! Fidelity and diversity apart: precision, recall, density and coverage of nearest-neighbour manifolds.

use serde::Serialize;

use crate::products::{by_row, squared_lengths};
use crate::{MetricError, Points};

/// How two point sets cover each other. A set's manifold is the union of balls around its points, each reaching to the
/// point's k-th nearest neighbour in its own set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ManifoldScores {
    /// The share of generated points on the real manifold (Kynkaanniemi et al. 2019, eq. 2): fidelity.
    pub precision: f64,
    /// The share of real points on the generated manifold (the same): diversity.
    pub recall: f64,
    /// The mean number of real balls around a generated point, divided by k (Naeem et al. 2020, eq. 4): fidelity that
    /// one outlier's large ball cannot buy. May exceed 1.
    pub density: f64,
    /// The share of real points whose ball holds a generated point (Naeem et al. 2020, eq. 5): diversity.
    pub coverage: f64,
}

impl ManifoldScores {
    /// The harmonic mean of precision and recall; 0 where both are.
    pub fn f_score(&self) -> f64 {
        let sum = self.precision + self.recall;
        if sum == 0.0 { 0.0 } else { 2.0 * self.precision * self.recall / sum }
    }
}

/// Compares generated points `[m, d]` with real ones `[n, d]`; `k` neighbours make a ball (the literature takes 3 and
/// 5). A point on a ball's surface is outside.
///
/// # Errors
/// Different dimensions, `k` 0, a set with no more than `k` points.
pub fn manifold_scores(real: Points<'_>, generated: Points<'_>, k: usize) -> Result<ManifoldScores, MetricError> {
    real.same_dimension(&generated)?;
    if k == 0 {
        return Err(MetricError::Range { what: "the number of neighbours", value: 0.0, range: "at least 1" });
    }
    let fewest = real.len().min(generated.len());
    if fewest <= k {
        return Err(MetricError::TooFew { what: "points of a set", count: fewest as u64, least: k as u64 + 1 });
    }
    let (n, m) = (real.len() as f64, generated.len() as f64);
    let real_balls = squared_radii(real, k);
    let generated_balls = squared_radii(generated, k);
    let (real_squares, generated_squares) = (squared_lengths(real), squared_lengths(generated));

    // For each real point: is it in a generated ball, and is a generated point in its ball?
    let of_real = by_row(real, generated, |i, products| {
        let distances = || squared_distances(real_squares[i], &generated_squares, products);
        let recalled = distances().zip(&generated_balls).any(|(distance, ball)| distance < *ball);
        let covered = distances().any(|distance| distance < real_balls[i]);
        (recalled, covered)
    });
    // For each generated point: how many real balls hold it?
    let holding = by_row(generated, real, |j, products| {
        let distances = squared_distances(generated_squares[j], &real_squares, products);
        distances.zip(&real_balls).filter(|(distance, ball)| distance < ball).count()
    });

    Ok(ManifoldScores {
        precision: holding.iter().filter(|&&balls| balls > 0).count() as f64 / m,
        recall: of_real.iter().filter(|(recalled, _)| *recalled).count() as f64 / n,
        density: holding.iter().sum::<usize>() as f64 / (k as f64 * m),
        coverage: of_real.iter().filter(|(_, covered)| *covered).count() as f64 / n,
    })
}

/// The squared distance of every point to its k-th nearest other point.
fn squared_radii(points: Points<'_>, k: usize) -> Vec<f64> {
    let squares = squared_lengths(points);
    by_row(points, points, |i, products| {
        let mut distances: Vec<f64> = squared_distances(squares[i], &squares, products).collect();
        distances.swap_remove(i);
        *distances.select_nth_unstable_by(k - 1, f64::total_cmp).1
    })
}

/// `|x - y|^2 = |x|^2 + |y|^2 - 2 <x, y>` for one x and many y, not below 0.
fn squared_distances(square: f64, squares: &[f64], products: &[f64]) -> impl Iterator<Item = f64> {
    squares.iter().zip(products).map(move |(other, product)| (square + other - 2.0 * product).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[f64]) -> Points<'_> {
        Points::new(values, 1).unwrap()
    }

    #[test]
    fn a_line_by_hand() {
        // Radii to the nearest neighbour: real 1, 1, 2 at 0, 1, 3; generated 0.2, 0.2, 5.3 at 0.5, 0.7, 6.
        let scores = manifold_scores(line(&[0.0, 1.0, 3.0]), line(&[0.5, 0.7, 6.0]), 1).unwrap();
        // 0.5 and 0.7 are in the balls of 0 and 1, 6 is in none.
        assert_eq!(scores.precision, 2.0 / 3.0);
        assert_eq!(scores.density, 4.0 / 3.0);
        // The ball around 6 reaches down to 0.7.
        assert_eq!(scores.recall, 2.0 / 3.0);
        // The balls of 0 and 1 hold generated points; that of 3 ends at 1 and 5.
        assert_eq!(scores.coverage, 2.0 / 3.0);
        assert_eq!(scores.f_score(), 2.0 / 3.0);
    }

    #[test]
    fn distant_sets_share_nothing() {
        let scores = manifold_scores(line(&[0.0, 1.0, 2.0, 3.5]), line(&[100.0, 101.0, 103.0]), 2).unwrap();
        assert_eq!((scores.precision, scores.recall, scores.density, scores.coverage), (0.0, 0.0, 0.0, 0.0));
        assert_eq!(scores.f_score(), 0.0);
    }

    #[test]
    fn a_set_covers_itself() {
        let values: Vec<f64> = (0..200).map(|i| (f64::from(i) * 0.618_033_988_749_894_9).fract()).collect();
        let set = Points::new(&values, 4).unwrap();
        let scores = manifold_scores(set, set, 3).unwrap();
        assert_eq!((scores.precision, scores.recall, scores.coverage), (1.0, 1.0, 1.0));
        // Each ball holds its own point and those nearer than the third neighbour: three of them.
        assert_eq!(scores.density, 1.0);
    }

    #[test]
    fn balls_need_neighbours() {
        let set = line(&[0.0, 1.0, 2.0]);
        assert!(manifold_scores(set, set, 0).is_err() && manifold_scores(set, set, 3).is_err());
    }
}
