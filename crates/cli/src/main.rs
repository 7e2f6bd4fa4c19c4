//! The `sinter` binary: typed experiment configs in; trained, sampled and evaluated models out.

mod arguments;
mod commands;
mod failure;

use std::process::ExitCode;

use sinter_kernels::allocations::Counting;

use crate::arguments::{Arguments, Command};
use crate::failure::Failure;

/// Counts allocations while a profile is recorded (`sinter bench train --profile`).
#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    sinter_kernels::allocator::keep_pages();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let command = Arguments::of_process().command;
    // `sinter runs list | head` ends with its reader. Training has pipes of its own, to scorers, whose death is no reason
    // to die.
    if !matches!(command, Command::Train(_)) {
        sigpipe::reset();
    }
    let outcome = match command {
        Command::Train(arguments) => commands::train::run(&arguments),
        Command::Sample(arguments) => commands::sample::run(&arguments),
        Command::Eval(arguments) => commands::eval::run(&arguments),
        Command::Predict(arguments) => commands::predict::run(&arguments),
        Command::Import(arguments) => commands::interchange::import(&arguments),
        Command::Export(arguments) => commands::interchange::export(&arguments),
        Command::Merge(arguments) => commands::interchange::merge(&arguments),
        Command::Digest(arguments) => commands::digest::run(&arguments),
        Command::Model(arguments) => commands::model::run(&arguments),
        Command::Config(arguments) => commands::config::run(&arguments),
        Command::Data(arguments) => commands::data::run(&arguments),
        Command::Devices => commands::devices::run(),
        Command::Bench(arguments) => commands::bench::run(&arguments),
        Command::Sweep(arguments) => commands::sweep::run(&arguments),
        Command::Tune(arguments) => commands::tune::run(&arguments),
        Command::Report(arguments) => commands::report::run(&arguments),
        Command::Runs(arguments) => commands::runs::run(&arguments),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// How a command ends: an exit code, or a failure that is reported.
type Ending = Result<ExitCode, Failure>;
