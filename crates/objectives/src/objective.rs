//! The `[objective]` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_models::{DataShape, ModelConfig};
use sinter_process::Parameterization;

use crate::{Classification, Denoising, Method, MethodError, Setup};

/// Which method trains the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ObjectiveConfig {
    /// Denoising: diffusion, score matching, EDM and flow matching.
    Denoising(Denoising),
    /// Classification, for the networks that evaluation takes features from.
    Classifier(Classification),
}

impl ObjectiveConfig {
    /// Every problem of these settings, given the model and the data.
    pub fn validate(&self, model: &ModelConfig, shape: &DataShape) -> Problems {
        match self {
            Self::Denoising(config) => config.validate(model, shape),
            Self::Classifier(config) => config.validate(model, shape),
        }
    }

    /// How samples of the trained model follow from its output; none if it does not generate.
    pub fn parameterization(&self) -> Option<Parameterization> {
        match self {
            Self::Denoising(config) => Some(config.parameterization()),
            Self::Classifier(_) => None,
        }
    }

    /// Builds the method with fresh weights.
    ///
    /// # Errors
    /// When the settings do not fit together.
    pub fn build(&self, setup: &Setup) -> Result<Box<dyn Method>, MethodError> {
        Ok(match self {
            Self::Denoising(config) => config.build(setup)?,
            Self::Classifier(config) => config.build(setup)?,
        })
    }
}
