//! Readers for golden data, shared by the golden tests.

pub mod golden;
pub mod inception;
pub mod losses;
pub mod models;
pub mod rl;
pub mod samplers;
