//! Evaluation: what is measured on generated samples, with which features, against which data; and records that say so.
//!
//! An [`Evaluator`] is prepared from a list of metrics and a reference. Samples go through an [`Evaluation`] in portions
//! and are forgotten; what comes out are [`Record`]s.

mod classification;
mod compare;
mod config;
mod error;
mod evaluator;
mod features;
mod gathered;
pub mod inception;
mod measures;
mod pictures;
mod record;
mod samples;
mod statistics;

pub use classification::{ClassifierTrainer, ClassifierTraining};
pub use compare::{Difference, differences, repetitions};
pub use config::{EvalConfig, MetricConfig};
pub use error::EvaluationError;
pub use evaluator::{Evaluation, Evaluator, HeldOut, Networks, ReferenceImages};
pub use features::{
    ClassifierFeatures, FeatureNetwork, Features, FeaturesConfig, Gives, NetworkFeatures, NetworkFile, PixelFeatures,
    WeightsFile,
};
pub use record::{Generated, Measurement, Protocol, Record, Subject, WeightsUsed};
pub use samples::Samples;
pub use statistics::{About, Statistics};
