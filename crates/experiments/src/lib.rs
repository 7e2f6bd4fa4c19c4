//! Experiments as files: a paper's ablation table as a sweep, its statements as claims, and what came of them as a report.
//!
//! A [`Sweep`] is read from TOML. [`expand`] turns it, for one of its tiers, into immutable [`Cell`]s: every one a resolved
//! configuration in a folder named by the hash of its content. A [`Pool`] of processes runs cells, each of them once,
//! whatever dies on the way; [`emit`](mod@emit) writes the same as job files. [`Gathered`] reads what the cells left,
//! [`judge`] says which claims held, and [`report`](mod@report) writes it all down.
//!
//! A [`Tune`] is read from TOML, too: a search whose every trial is such a cell, chosen by what came of those before.
//!
//! Nothing here knows networks: configurations are TOML, and whoever calls says what is a valid one.

mod cell;
mod check;
pub mod claims;
pub mod emit;
mod error;
mod expand;
mod gather;
mod index;
mod listing;
mod pool;
pub mod report;
mod run_files;
mod selection;
mod state;
mod sweep;
mod text;
mod tune;
mod unix_time;

pub use cell::{Cell, Kind, Store};
pub use check::check;
pub use claims::{Judged, Verdict, judge};
pub use error::ExperimentError;
pub use expand::{Expansion, Typed, expand};
pub use gather::{Gathered, Outcome, Row};
pub use index::{Index, sweep_folder, tune_folder};
pub use listing::{Listed, experiment_files, sweep_files, tune_files};
pub use pool::{Event, Finished, Pool, PoolConfig, PoolOutcome};
pub use run_files::{EvaluationRecord, MetricsLine, RunFiles, pictures};
pub use selection::Selection;
pub use state::{Attempt, CellLock, Done, Failed, State as CellState, is_locked};
pub use sweep::{Axis, Better, Cost, Level, Metric, MetricSource, Overlay, Paper, Prepare, Sweep, Tier};
pub use tune::{Ending, Parameter, Search, Trial, Tried, Tune, TuneTier, check_tune, tried};
