//! Students in few steps, from teachers.

pub mod dmd;
pub mod knowledge;
pub mod pairs;
pub mod reflow;
