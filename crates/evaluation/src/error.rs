//! What can go wrong in an evaluation.

use std::path::PathBuf;

use sinter_data::DataError;
use sinter_metrics::MetricError;

/// An error of an evaluation.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// A metric that does not fit the data or the model.
    #[error("metric `{metric}`: {message}")]
    Unfit {
        /// Name of the metric.
        metric: &'static str,
        /// Why, and what to do.
        message: String,
    },
    /// The reference data could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A metric could not be computed.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// A record could not be written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
