//! Every loss, weight and conversion of the files `losses_*`, through the objective that trains, in 64-bit floats.

use std::process::ExitCode;

use sinter_tests::{golden, losses};

fn main() -> ExitCode {
    golden::run("golden_losses", &["losses_"], losses::cases)
}
