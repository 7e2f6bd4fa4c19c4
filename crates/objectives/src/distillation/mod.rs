//! Students in few steps, from teachers.

pub mod dmd;
pub mod pairs;
pub mod reflow;
