//! Tuning to rewards: policy gradients on the steps of a sampler.
//!
//! A flow or diffusion model that is sampled with noise in its steps is a policy: a step's next state is an action with a
//! known density, and the reward of the finished sample is its return. Flow-GRPO (Liu et al. 2025), DanceGRPO (Xue et al.
//! 2025), MixGRPO (Li et al. 2025), G2RPO (Zhou et al. 2025) and DDPO (Black et al. 2023) differ in the kernel of a
//! step, in which steps are stochastic, in the strides of what follows them, and in how rewards become advantages: here
//! they are settings of one method.

mod advantage;
mod config;
mod experience;
mod exploration;
mod ledger;
mod memory;
mod method;
mod policy;
mod policy_loss;
pub mod registry;
mod surrogate;
mod window;

pub use advantage::{Advantage, Combination, Over, Scale};
pub use config::{Penalty, RewardTuning, Updates};
pub use exploration::{BranchUpdate, Branches, Exploration, Trajectory};
pub use memory::{History, PromptMemory};
pub use policy_loss::{PolicyLoss, StepLoss, approximate_divergence};
pub use window::{Edge, Motion, Window};
