//! What can go wrong in a method.

use std::path::PathBuf;

use sinter_models::CaptionError;
use sinter_models::parameters::ParameterError;
use sinter_optimization::OptimizationError;
use sinter_sampling::SamplingError;

use crate::reward::registry::RewardError;

/// An error of a training method.
#[derive(Debug, thiserror::Error)]
pub enum MethodError {
    /// A loss, gradient or input holds NaN or infinity; the weights were not touched.
    #[error("`{tensor}` is not finite")]
    NonFinite {
        /// Which tensor.
        tensor: String,
    },
    /// The settings do not fit the data or the model.
    #[error("{0}")]
    Setup(String),
    /// A run that the method learns from cannot be used.
    #[error("{run} {message}")]
    Run {
        /// Which.
        run: PathBuf,
        /// What is wrong with it, as the rest of a sentence.
        message: String,
    },
    /// The batch lacks what the method needs.
    #[error("the batch has no {0}, which this objective needs")]
    Batch(&'static str),
    /// A reward failed.
    #[error(transparent)]
    Reward(#[from] RewardError),
    /// A caption that the vocabulary does not cover.
    #[error(transparent)]
    Caption(#[from] CaptionError),
    /// An update or a load failed.
    #[error(transparent)]
    Optimization(OptimizationError),
}

impl From<OptimizationError> for MethodError {
    fn from(error: OptimizationError) -> Self {
        match error {
            OptimizationError::NonFinite { tensor } => Self::NonFinite { tensor: format!("gradient of {tensor}") },
            other => Self::Optimization(other),
        }
    }
}

impl From<SamplingError> for MethodError {
    fn from(error: SamplingError) -> Self {
        Self::Setup(error.to_string())
    }
}

impl From<ParameterError> for MethodError {
    fn from(error: ParameterError) -> Self {
        Self::Optimization(error.into())
    }
}
