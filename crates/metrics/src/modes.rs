//! How many modes of a mixture of equal round Gaussians a sample finds, and how evenly.

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
    /// The Kullback-Leibler divergence, in nats, of the distribution of all points over their nearest modes from the
    /// uniform one: 0 for an even sample, `ln(modes)` where all points are at one mode.
    pub divergence: f64,
}

/// Assigns every point `[n, d]` to its nearest mode's centre `[k, d]`; a point is of high quality within `radius` of it.
/// Customary is three standard deviations of the modes (Srivastava et al. 2017, "VEEGAN", section 4.1).
///
/// # Errors
/// Different dimensions, a radius that is not positive.
pub fn mode_coverage(points: Points<'_>, centers: Points<'_>, radius: f64) -> Result<ModeCoverage, MetricError> {
    points.same_dimension(&centers)?;
    if !(radius > 0.0 && radius.is_finite()) {
        return Err(MetricError::Range { what: "the radius", value: radius, range: "more than 0" });
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
    let divergence = nearest.iter().filter(|&&count| count > 0).map(|&count| {
        let share = count as f64 / total;
        share * (share * modes as f64).ln()
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
    fn a_radius_must_be_positive() {
        let points = Points::new(&CENTERS, 2).unwrap();
        assert!(matches!(mode_coverage(points, points, 0.0), Err(MetricError::Range { .. })));
    }
}
