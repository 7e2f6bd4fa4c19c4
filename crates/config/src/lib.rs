//! Layered, typed configuration: TOML layers, overrides, origins, and problems with the key and the nearest known name.

mod problem;

pub use problem::{Problem, Problems, nearest};
