//! Outputs and gradients of whole networks against the reference implementations.

use std::process::ExitCode;

use sinter_tests::{golden, models};

fn main() -> ExitCode {
    golden::run("golden_models", &["model_"], models::cases)
}
