//! The trainer: config, clock, checkpoints, resume, logging.

pub mod bench;
mod checkpoint;
mod classification;
mod config;
mod device;
mod error;
mod evaluate;
mod faults;
mod feature_file;
mod generate;
mod inherit;
mod interchange;
mod journal;
pub mod logging;
pub mod memory;
mod predict;
mod probe;
mod run;
mod run_directory;
mod runs;
mod summary;
mod trainer;

pub use checkpoint::{Checkpoint, Progress, Summary};
pub use config::{Config, LogConfig, OnNonfinite, SampleConfig, TrainConfig};
pub use device::{DeviceConfig, Listed, Precision};
pub use error::TrainingError;
pub use evaluate::{Evaluated, evaluator, held_out, prepare, weights_hash};
pub use generate::{Asked, Generation};
pub use inherit::inherit;
pub use interchange::{export, import, merge};
pub use predict::predict;
pub use probe::{ProbeCell, ProbeReport, Probing, probe};
pub use run::{Choice, Run};
pub use run_directory::{Provenance, RunDirectory, write_atomically};
pub use trainer::{Outcome, Session, conditioner, train};
