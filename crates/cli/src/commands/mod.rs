//! One command a file.

pub(crate) mod bench;
mod cell;
pub(crate) mod config;
pub(crate) mod data;
pub(crate) mod devices;
pub(crate) mod digest;
pub(crate) mod eval;
pub(crate) mod interchange;
pub(crate) mod model;
mod pool;
pub(crate) mod predict;
pub(crate) mod report;
pub(crate) mod runs;
pub(crate) mod sample;
mod settings;
pub(crate) mod sweep;
pub(crate) mod train;
pub(crate) mod tune;
