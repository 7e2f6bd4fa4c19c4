//! `sinter bench`.

use std::fs;
use std::process::ExitCode;

use sinter_training::bench;

use crate::arguments::Bench;
use crate::commands::settings;
use crate::{Ending, Failure};

pub(crate) fn run(arguments: &Bench) -> Ending {
    let (config, _) = settings::read(&arguments.config, &arguments.overrides)?;
    config.device.set_threads();
    let report = bench::measure(&config, arguments.steps)?;
    println!("{report}");
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| Failure::Other(error.to_string()))?;
        fs::write(path, text + "\n")?;
    }
    Ok(ExitCode::SUCCESS)
}
