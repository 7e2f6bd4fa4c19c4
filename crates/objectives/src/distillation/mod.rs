//! Students in few steps, from teachers.

pub mod pairs;
pub mod reflow;
