//! How many modes of a mixture of round Gaussians a sample finds, and in which shares.

use serde::Serialize;

use crate::{MetricError, Points, Proportion};

/// Which modes a sample finds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModeCoverage {
    /// How many modes have at least one high-quality point.
    pub covered: usize,
    /// How many modes there are.
    pub modes: usize,
    /// The points that are within the radius of their nearest mode.
    pub high_quality: Proportion,
    /// High-quality points by mode.
    pub counts: Vec<u64>,
    /// The Kullback-Leibler divergence, in nats, of the distribution of all points over their nearest modes from that
    /// of the mixture, `sum q ln(q / p)`. From an even one it is 0 for an even sample, `ln(modes)` where all points are at
    /// one mode. The other direction, `sum p ln(p / q)`, would be infinite as soon as one mode is missed. Of n points
    /// of the mixture itself it is about `(modes - 1) / 2n`.
    pub divergence: f64,
}

/// The centres `[side^2, 2]` of a square grid in the plane around the origin, `spacing` apart, row by row: customary
/// are 5 x 5 modes, 2 apart, with deviation 0.05 (Lin et al. 2018, "PacGAN").
pub fn grid_centers(side: usize, spacing: f64) -> Vec<f64> {
    let place = |index: usize| spacing * (index as f64 - 0.5 * (side as f64 - 1.0));
    (0..side * side).flat_map(|mode| [place(mode % side), place(mode / side)]).collect()
}

/// The centres `[count, 2]` of a ring in the plane around the origin, counterclockwise from the x axis: customary are 8
/// modes at radius 1 or 2 with deviations of a hundredth of it.
pub fn ring_centers(count: usize, radius: f64) -> Vec<f64> {
    let angle = |mode: usize| std::f64::consts::TAU * mode as f64 / count as f64;
    (0..count).flat_map(|mode| [radius * angle(mode).cos(), radius * angle(mode).sin()]).collect()
}

/// Assigns every point `[n, d]` to its nearest mode's centre `[k, d]`; a point is of high quality within `radius` of
/// it. Customary is three standard deviations of the modes (Srivastava et al. 2017, "VEEGAN", section 4.1).
///
/// # Errors
/// Different dimensions, a radius that is not positive.
pub fn mode_coverage(points: Points<'_>, centers: Points<'_>, radius: f64) -> Result<ModeCoverage, MetricError> {
    mode_coverage_of(points, centers, &vec![1.0; centers.len()], radius)
}

/// As [`mode_coverage`], of a mixture whose modes have these `weights` `[k]`, all more than 0, of any sum: the
/// divergence is from their distribution.
///
/// # Errors
/// Those of [`mode_coverage`]; another number of weights, a weight that is not positive.
pub fn mode_coverage_of(
    points: Points<'_>,
    centers: Points<'_>,
    weights: &[f64],
    radius: f64,
) -> Result<ModeCoverage, MetricError> {
    points.same_dimension(&centers)?;
    if !(radius > 0.0 && radius.is_finite()) {
        return Err(MetricError::Range { what: "the radius", value: radius, range: "more than 0" });
    }
    if weights.len() != centers.len() {
        return Err(MetricError::Size { what: "weights", found: weights.len(), expected: centers.len() });
    }
    if let Some(&value) = weights.iter().find(|&&weight| !(weight > 0.0 && weight.is_finite())) {
        return Err(MetricError::Range { what: "a weight", value, range: "more than 0" });
    }
    let modes = centers.len();
    let mut nearest = vec![0u64; modes];
    let mut counts = vec![0u64; modes];
    for point in points.rows() {
        let mut best = (0, f64::INFINITY);
        for (mode, center) in centers.rows().enumerate() {
            let squared: f64 = point.iter().zip(center).map(|(x, c)| (x - c).powi(2)).sum();
            if squared < best.1 {
                best = (mode, squared);
            }
        }
        nearest[best.0] += 1;
        counts[best.0] += u64::from(best.1 <= radius * radius);
    }
    let total = points.len() as f64;
    let whole: f64 = weights.iter().sum();
    let divergence = nearest.iter().zip(weights).filter(|(count, _)| **count > 0).map(|(&count, weight)| {
        let share = count as f64 / total;
        share * (share * whole / weight).ln()
    });
    Ok(ModeCoverage {
        covered: counts.iter().filter(|&&count| count > 0).count(),
        modes,
        high_quality: Proportion { successes: counts.iter().sum(), total: points.len() as u64 },
        // Rounding may leave an even sample a little below zero.
        divergence: divergence.sum::<f64>().max(0.0),
        counts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENTERS: [f64; 8] = [0.0, 0.0, 4.0, 0.0, 0.0, 4.0, 4.0, 4.0];

    fn coverage(points: &[f64]) -> ModeCoverage {
        mode_coverage(Points::new(points, 2).unwrap(), Points::new(&CENTERS, 2).unwrap(), 0.5).unwrap()
    }

    #[test]
    fn an_even_sample_covers_everything() {
        let found = coverage(&CENTERS);
        assert_eq!((found.covered, found.modes, found.counts), (4, 4, vec![1; 4]));
        assert!(found.high_quality.value() == 1.0 && found.divergence.abs() < 1e-15);
    }

    #[test]
    fn a_collapsed_sample_covers_one_mode() {
        let found = coverage(&[0.1, 0.0, 0.0, 0.1, 0.0, 0.0]);
        assert_eq!((found.covered, found.counts), (1, vec![3, 0, 0, 0]));
        assert!((found.divergence - 4.0f64.ln()).abs() < 1e-15);
    }

    #[test]
    fn a_point_between_modes_belongs_to_one_but_is_not_good() {
        let found = coverage(&[1.9, 0.0, 4.0, 0.4, 0.0, 4.6, 4.0, 4.5]);
        assert_eq!((found.covered, found.counts), (2, vec![0, 1, 0, 1]));
        assert_eq!(found.high_quality, Proportion { successes: 2, total: 4 });
        assert!(found.divergence.abs() < 1e-15);
    }

    #[test]
    fn shares_are_held_against_the_weights() {
        let centers = Points::new(&CENTERS, 2).unwrap();
        let points = [0.0, 0.0, 0.0, 0.1, 0.1, 0.0, 4.0, 0.0, 0.0, 4.0, 4.0, 4.0];
        let points = Points::new(&points, 2).unwrap();
        let as_weighted = mode_coverage_of(points, centers, &[6.0, 2.0, 2.0, 2.0], 0.5).unwrap();
        assert!(as_weighted.covered == 4 && as_weighted.divergence.abs() < 1e-15);
        let even = mode_coverage(points, centers, 0.5).unwrap();
        assert!((even.divergence - (0.5 * 2.0f64.ln() + 0.5 * (2.0f64 / 3.0).ln())).abs() < 1e-15);
        assert!(mode_coverage_of(points, centers, &[1.0; 3], 0.5).is_err());
        assert!(mode_coverage_of(points, centers, &[1.0, 1.0, 0.0, 1.0], 0.5).is_err());
    }

    #[test]
    fn grids_and_rings() {
        assert_eq!(grid_centers(2, 4.0), [-2.0, -2.0, 2.0, -2.0, -2.0, 2.0, 2.0, 2.0]);
        let grid = grid_centers(5, 2.0);
        assert!(grid.len() == 50 && grid[24..26] == [0.0, 0.0] && grid[48..] == [4.0, 4.0]);
        let ring = ring_centers(8, 2.0);
        assert!(ring.chunks(2).all(|p| ((p[0] * p[0] + p[1] * p[1]).sqrt() - 2.0).abs() < 1e-15));
        assert!((ring[4].abs() < 1e-15) && (ring[5] - 2.0).abs() < 1e-15);
    }

    /// Points of the grid's mixture: all modes, nearly all points within three deviations, a divergence near its bias.
    #[test]
    fn a_sample_of_the_grid() {
        let centers = grid_centers(5, 2.0);
        let draws = crate::draws::Draws::new(2, 0);
        let mut points = Vec::new();
        for point in 0..2500u64 {
            let mode = draws.below(3 * point, 25);
            points
                .extend([0, 1].map(|axis| centers[2 * mode + axis] + 0.05 * draws.normal(3 * point + 1 + axis as u64)));
        }
        let points = Points::new(&points, 2).unwrap();
        let found = mode_coverage(points, Points::new(&centers, 2).unwrap(), 0.15).unwrap();
        // exp(-9 / 2) of the points lie beyond three deviations; the divergence is a chi-square of 24 degrees over 2 n.
        assert!(found.covered == 25 && (found.high_quality.value() - 0.9889).abs() < 0.008, "{found:?}");
        assert!(found.divergence < 24.0 / 5000.0 * 2.0, "{}", found.divergence);
    }

    #[test]
    fn a_radius_must_be_positive() {
        let points = Points::new(&CENTERS, 2).unwrap();
        assert!(matches!(mode_coverage(points, points, 0.0), Err(MetricError::Range { .. })));
    }
}
