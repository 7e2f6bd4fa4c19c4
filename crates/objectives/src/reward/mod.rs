//! Tuning to rewards: policy gradients on the steps of a sampler.

mod advantage;
mod policy_loss;
pub mod registry;
mod window;

pub use advantage::{Advantage, Combination, Over, Scale};
pub use policy_loss::{PolicyLoss, StepLoss, approximate_divergence};
pub use window::{Edge, Motion, Window};
