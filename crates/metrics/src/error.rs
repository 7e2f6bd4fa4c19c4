//! Why a metric has no value.

/// Why a metric has no value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MetricError {
    /// There are fewer samples than the metric needs.
    #[error("{what}: {count} samples, at least {least} are needed")]
    TooFew {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        count: u64,
        /// How many are needed.
        least: u64,
    },
    /// Two sizes that must agree do not.
    #[error("{what}: {found}, expected {expected}")]
    Size {
        /// What has the size.
        what: &'static str,
        /// The size that was found.
        found: usize,
        /// The size that was expected.
        expected: usize,
    },
    /// A value is NaN or infinite.
    #[error("{what}: value {value} in row {row}")]
    NotFinite {
        /// What holds the value.
        what: &'static str,
        /// The value.
        value: f64,
        /// Its row, from 0.
        row: u64,
    },
    /// A number is outside its range.
    #[error("{what} is {value}, it must be {range}")]
    Range {
        /// What the number is.
        what: &'static str,
        /// The number.
        value: f64,
        /// Where it must lie.
        range: &'static str,
    },
    /// A matrix that should be a covariance is not one.
    #[error("the covariance is not {what}: {value}")]
    NotCovariance {
        /// The property that is missing.
        what: &'static str,
        /// The number that shows it.
        value: f64,
    },
    /// A matrix decomposition did not converge.
    #[error("the {what} did not converge")]
    Decomposition {
        /// Which decomposition.
        what: &'static str,
    },
}
