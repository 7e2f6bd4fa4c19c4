//! What can go wrong in a run.

use std::path::PathBuf;

use sinter_config::Problems;
use sinter_data::DataError;
use sinter_objectives::MethodError;
use sinter_optimization::OptimizationError;

use crate::logging::LoggingError;

/// An error of a run.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// A file or directory could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Settings that do not fit together.
    #[error("{0}")]
    Config(String),
    /// Settings that do not fit the data, key by key.
    #[error("{0}")]
    Problems(Problems),
    /// The run directory holds another run.
    #[error(
        "{path} holds a run with other settings:\n{differences}\ngive this run another name, or start it from that \
         run's weights with `--set train.init_from={path}`"
    )]
    OtherRun {
        /// The run directory.
        path: PathBuf,
        /// The settings that differ, one a line.
        differences: String,
    },
    /// Another process works in the run directory.
    #[error("{path} is in use by another process; wait for it, or give this run another name")]
    Locked {
        /// The run directory.
        path: PathBuf,
    },
    /// A checkpoint that cannot be used.
    #[error("checkpoint {path}: {message}")]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// The device cannot be opened.
    #[error("{0}")]
    Device(String),
    /// A loss, gradient or input is not finite.
    #[error("step {step} (image {images}): {tensor} is not finite; {last_good}")]
    NonFinite {
        /// Updates made before.
        step: u64,
        /// Images seen before.
        images: u64,
        /// Which tensor.
        tensor: String,
        /// Where the last good checkpoint is.
        last_good: String,
    },
    /// A record of the run could not be written.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// The data failed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The method failed.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// Weights or optimizer state failed to load.
    #[error(transparent)]
    Optimization(#[from] OptimizationError),
    /// Sampling failed.
    #[error(transparent)]
    Sampling(#[from] sinter_sampling::SamplingError),
    /// Evaluation failed.
    #[error(transparent)]
    Evaluation(#[from] sinter_evaluation::EvaluationError),
}

impl TrainingError {
    /// Wraps an I/O error with its path.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
