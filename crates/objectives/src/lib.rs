//! Training methods: one a file, all implementing [`Method`].
//!
//! A method owns its networks and their optimizers, makes one update from one batch, and names its parts. The trainer
//! does everything else. To add one: its file with a config struct, one line in [`ObjectiveConfig`], one preset in
//! `configs/`, one test.

pub mod adversarial;
pub mod batch;
pub mod classifier;
pub mod consistency;
pub mod denoising;
pub mod distance;
pub mod distillation;
mod error;
mod method;
mod objective;
pub mod question;
pub mod reward;
pub mod scm;
pub mod step;
mod tally;
pub mod target;
mod teacher;

pub use classifier::Classification;
pub use consistency::Consistency;
pub use denoising::Denoising;
pub use distance::Distance;
pub use distillation::dmd::Dmd;
pub use distillation::reflow::Reflow;
pub use error::MethodError;
pub use method::{Clock, Inference, Map, Method, Setup, Training, Weights};
pub use objective::{Objective, ObjectiveConfig};
pub use reward::RewardTuning;
pub use scm::Scm;
pub use tally::Tally;
pub use teacher::{Runs, Teacher, Trained};
