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
    /// Images that do not fit the feature network, or each other.
    #[error("{0}")]
    Images(String),
    /// A pixel of a sample that is no number.
    #[error("sample {image} holds {value}: the model or its sampler has diverged, and there is nothing to measure")]
    NotImage {
        /// Which sample, counted from 0.
        image: usize,
        /// What it holds.
        value: f32,
    },
    /// A feature that is no number.
    #[error("the features of image {image} hold {value}: the image or the feature network is damaged")]
    NotFinite {
        /// Which image, counted from 0.
        image: usize,
        /// What it is.
        value: f32,
    },
    /// The reference data could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A metric could not be computed.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// A file of statistics that cannot be used.
    #[error("{path}: {message}")]
    Statistics {
        /// Which.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// A file that is no record.
    #[error("{path} is no evaluation record: {message}")]
    Record {
        /// Which.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
