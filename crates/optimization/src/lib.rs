//! Optimizers, learning-rate schedules, gradient clipping and weight averages.
//!
//! State is keyed by parameter name, never by position or identity: a checkpoint that does not match a network by
//! name and shape is an error, and nothing is ever re-initialised in silence.

mod adamw;
mod algorithm;
mod average;
mod error;
mod gradients;
mod muon;
mod schedule;
mod tensors;
mod trainable;

pub use adamw::AdamW;
pub use algorithm::{Algorithm, OptimizerConfig};
pub use average::{Average, AverageConfig, decay};
pub use error::OptimizationError;
pub use gradients::{accumulate, global_norm};
pub use muon::Muon;
pub use schedule::{Decay, Schedule};
pub use tensors::Tensors;
pub use trainable::{Part, Trainable, Update};
