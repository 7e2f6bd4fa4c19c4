//! The `[objective]` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_models::{DataShape, ModelConfig};
use sinter_process::Parameterization;

use crate::{Method, MethodError, Setup, classifier, consistency, denoising, distillation, reward, scm};

/// The configuration of a training method: an `[objective]` section.
pub trait Objective {
    /// Every problem of these settings, given the model and the data.
    fn validate(&self, model: &ModelConfig, shape: &DataShape) -> Problems;

    /// How samples of the trained model follow from its output; none if it does not generate.
    fn parameterization(&self) -> Option<Parameterization>;

    /// Builds the method, with fresh weights or those of its teacher.
    ///
    /// # Errors
    /// When the settings do not fit together, or a run that it learns from cannot be opened.
    fn build(&self, setup: &Setup) -> Result<Box<dyn Method>, MethodError>;
}

/// The enum of all methods, each written once: its variants, and the way from a variant to its [`Objective`].
macro_rules! objectives {
    ($($(#[$documentation:meta])* $name:ident($config:ty),)*) => {
        /// Which method trains the model.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "type", rename_all = "snake_case")]
        #[allow(clippy::large_enum_variant, reason = "a process holds a handful of configurations")]
        pub enum ObjectiveConfig {
            $($(#[$documentation])* $name($config),)*
        }

        impl ObjectiveConfig {
            fn objective(&self) -> &dyn Objective {
                match self {
                    $(Self::$name(config) => config,)*
                }
            }
        }
    };
}

objectives! {
    /// Denoising: diffusion, score matching, EDM and flow matching.
    Denoising(denoising::Denoising),
    /// Classification, for the networks that evaluation takes features from.
    Classifier(classifier::Classification),
    /// Consistency distillation and training (CD, CT, iCT, ECT).
    Consistency(consistency::Consistency),
    /// Matching a teacher's distribution by scores (DMD, DMD2).
    Dmd(distillation::dmd::Dmd),
    /// One step to the images of a teacher's ODE.
    Knowledge(distillation::knowledge::Knowledge),
    /// Flow matching, or one-step distillation, on pairs that a teacher made.
    Reflow(distillation::reflow::Reflow),
    /// Policy gradients on rewards of generated images.
    Reward(reward::RewardTuning),
    /// Consistency models in continuous time (sCD, sCT).
    Scm(scm::Scm),
}

impl Objective for ObjectiveConfig {
    fn validate(&self, model: &ModelConfig, shape: &DataShape) -> Problems {
        self.objective().validate(model, shape)
    }

    fn parameterization(&self) -> Option<Parameterization> {
        self.objective().parameterization()
    }

    fn build(&self, setup: &Setup) -> Result<Box<dyn Method>, MethodError> {
        self.objective().build(setup)
    }
}
