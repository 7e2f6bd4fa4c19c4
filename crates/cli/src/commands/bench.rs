//! `sinter bench`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use sinter_training::bench::{experts, features, operations, train};
use sinter_training::{DeviceConfig, TrainingError};

use crate::arguments::{Bench, BenchCommand, BenchExperts, BenchFeatures, BenchOps, BenchTrain};
use crate::commands::settings;
use crate::{Ending, Failure};

pub(crate) fn run(arguments: &Bench) -> Ending {
    match &arguments.command {
        BenchCommand::Train(arguments) => run_train(arguments),
        BenchCommand::Ops(arguments) => run_operations(arguments),
        BenchCommand::Features(arguments) => run_features(arguments),
        BenchCommand::Experts(arguments) => run_experts(arguments),
    }
}

fn run_train(arguments: &BenchTrain) -> Ending {
    let (config, _) = settings::read(&arguments.config, &arguments.overrides)?;
    config.device.set_threads();
    if arguments.measurement.composed {
        sinter_kernels::use_composed();
    }
    let report = train::measure(&config, arguments.steps, arguments.profile)?;
    println!("{report}");
    write(&report, arguments.measurement.json.as_deref())
}

fn run_operations(arguments: &BenchOps) -> Ending {
    let threads = set_threads(arguments.threads);
    let composed = arguments.measurement.composed;
    let report = operations::measure(&arguments.filter, composed, threads, |line| println!("{line}"))?;
    write(&report, arguments.measurement.json.as_deref())
}

fn run_features(arguments: &BenchFeatures) -> Ending {
    let BenchFeatures { sizes, n, rounds, device, threads, json } = arguments;
    let mut device = DeviceConfig { name: device.clone(), threads: *threads, ..DeviceConfig::default() };
    device.resolve_threads();
    device.set_threads();
    let report = features::measure(sizes, *n, *rounds, &device, |line| println!("{line}"))?;
    write(&report, json.as_deref())
}

fn run_experts(arguments: &BenchExperts) -> Ending {
    let threads = set_threads(arguments.threads);
    let report = experts::measure(threads, arguments.rounds as usize, |line| println!("{line}"))?;
    write(&report, arguments.json.as_deref())
}

/// How many there are.
fn set_threads(threads: usize) -> usize {
    let mut device = DeviceConfig { threads, ..DeviceConfig::default() };
    device.resolve_threads();
    device.set_threads();
    device.threads
}

/// Writes a report as JSON where that was asked for.
fn write(report: &impl Serialize, path: Option<&Path>) -> Ending {
    if let Some(path) = path {
        let text = serde_json::to_string_pretty(report).map_err(|error| Failure::Other(error.to_string()))?;
        fs::write(path, text + "\n").map_err(TrainingError::file(path))?;
    }
    Ok(ExitCode::SUCCESS)
}
