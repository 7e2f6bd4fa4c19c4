//! A set of points: finite rows of one length.

use crate::MetricError;

/// A borrowed set of points `[n, d]` in row-major order: at least one row, at least one column, every value finite.
#[derive(Clone, Copy, Debug)]
pub struct Points<'a> {
    values: &'a [f64],
    dimension: usize,
}

impl<'a> Points<'a> {
    /// The points of `values`, `dimension` values each.
    ///
    /// # Errors
    /// No points, a dimension of 0, values that are not whole points, a NaN or an infinity.
    pub fn new(values: &'a [f64], dimension: usize) -> Result<Self, MetricError> {
        if dimension == 0 || values.is_empty() {
            return Err(MetricError::TooFew { what: "points", count: 0, least: 1 });
        }
        if !values.len().is_multiple_of(dimension) {
            return Err(MetricError::Size {
                what: "values of the last point",
                found: values.len() % dimension,
                expected: dimension,
            });
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(MetricError::NotFinite { what: "points", value: values[at], row: (at / dimension) as u64 });
        }
        Ok(Self { values, dimension })
    }

    /// The number of points, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a set of points is never empty")]
    pub fn len(&self) -> usize {
        self.values.len() / self.dimension
    }

    /// The number of values of each point, at least 1.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Point `index`, `[d]`.
    pub fn row(&self, index: usize) -> &'a [f64] {
        &self.values[index * self.dimension..(index + 1) * self.dimension]
    }

    /// All points in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'a [f64]> + use<'a> {
        self.values.chunks_exact(self.dimension)
    }

    /// All values, `[n, d]`.
    pub fn values(&self) -> &'a [f64] {
        self.values
    }

    /// Fails unless `self` and `other` have the same dimension.
    pub(crate) fn same_dimension(&self, other: &Points<'_>) -> Result<(), MetricError> {
        if self.dimension == other.dimension {
            return Ok(());
        }
        Err(MetricError::Size { what: "dimension", found: other.dimension, expected: self.dimension })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_whole_finite_and_some() {
        let points = Points::new(&[1.0, 2.0, 3.0, 4.0], 2).unwrap();
        assert_eq!((points.len(), points.dimension(), points.row(1)), (2, 2, &[3.0, 4.0][..]));
        assert!(matches!(Points::new(&[], 2), Err(MetricError::TooFew { .. })));
        assert!(matches!(Points::new(&[1.0, 2.0, 3.0], 2), Err(MetricError::Size { found: 1, expected: 2, .. })));
        assert!(matches!(Points::new(&[1.0, 2.0, f64::NAN], 1), Err(MetricError::NotFinite { row: 2, .. })));
    }
}
