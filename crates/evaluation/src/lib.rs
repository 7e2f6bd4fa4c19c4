//! Evaluation: what is measured on generated samples, with which features, against which data; and records that say so.

mod config;
mod error;
mod evaluator;
mod features;
pub mod inception;
mod pictures;
mod record;

pub use config::{EvalConfig, MetricConfig};
pub use error::EvaluationError;
pub use evaluator::{Evaluator, Samples};
pub use features::{ClassifierFeatures, FeatureNetwork, PixelFeatures};
pub use record::{Protocol, Record, WeightsUsed};
