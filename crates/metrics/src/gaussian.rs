//! A Gaussian by its two moments.

use crate::MetricError;

/// How far a covariance may be from symmetric, relative to its largest value.
const ASYMMETRY: f64 = 1e-9;

/// A Gaussian distribution: mean `[d]` and covariance `[d, d]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    mean: Vec<f64>,
    covariance: Vec<f64>,
    count: Option<u64>,
}

impl Gaussian {
    /// The Gaussian with the given mean `[d]` and covariance `[d, d]` (row-major); `count` is the number of samples
    /// that they were estimated from, where they were.
    ///
    /// # Errors
    /// An empty mean, a covariance of another size, one that is not symmetric, a NaN or an infinity.
    pub fn new(mean: Vec<f64>, covariance: Vec<f64>, count: Option<u64>) -> Result<Self, MetricError> {
        let d = mean.len();
        if d == 0 {
            return Err(MetricError::TooFew { what: "values of the mean", count: 0, least: 1 });
        }
        if covariance.len() != d * d {
            let (found, expected) = (covariance.len(), d * d);
            return Err(MetricError::Size { what: "values of the covariance", found, expected });
        }
        for (what, values) in [("mean", &mean), ("covariance", &covariance)] {
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                return Err(MetricError::NotFinite { what, value: values[at], row: (at / d) as u64 });
            }
        }
        let largest = covariance.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        for i in 0..d {
            for j in 0..i {
                let value = covariance[i * d + j] - covariance[j * d + i];
                if value.abs() > ASYMMETRY * largest {
                    return Err(MetricError::NotCovariance { what: "symmetric", value });
                }
            }
        }
        Ok(Self { mean, covariance, count })
    }

    /// What [`Moments`](crate::Moments) has summed up: symmetric and finite by construction.
    pub(crate) fn from_moments(mean: Vec<f64>, covariance: Vec<f64>, count: u64) -> Self {
        Self { mean, covariance, count: Some(count) }
    }

    /// The number of dimensions.
    pub fn dimension(&self) -> usize {
        self.mean.len()
    }

    /// The mean, `[d]`.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The covariance, `[d, d]` in row-major order.
    pub fn covariance(&self) -> &[f64] {
        &self.covariance
    }

    /// The number of samples that the moments were estimated from, where they were.
    pub fn count(&self) -> Option<u64> {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_that_is_no_covariance_is_refused() {
        assert!(Gaussian::new(vec![0.0, 0.0], vec![1.0, 0.5, 0.5, 1.0], None).is_ok());
        assert!(matches!(Gaussian::new(vec![], vec![], None), Err(MetricError::TooFew { .. })));
        assert!(matches!(Gaussian::new(vec![0.0], vec![1.0, 0.0], None), Err(MetricError::Size { .. })));
        assert!(matches!(
            Gaussian::new(vec![0.0, 0.0], vec![1.0, 0.5, 0.4, 1.0], None),
            Err(MetricError::NotCovariance { .. })
        ));
        assert!(matches!(
            Gaussian::new(vec![0.0], vec![f64::INFINITY], None),
            Err(MetricError::NotFinite { what: "covariance", .. })
        ));
    }
}
