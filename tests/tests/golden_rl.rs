//! Every step, advantage, loss and divergence of the files `rl_*`, through the code that tunes to rewards.

use std::process::ExitCode;

use sinter_tests::{golden, rl};

fn main() -> ExitCode {
    golden::run("golden_rl", &["rl_"], rl::cases)
}
