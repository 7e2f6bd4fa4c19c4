//! `sinter import`, `sinter export` and `sinter merge`.

use std::path::PathBuf;
use std::process::ExitCode;

use sinter_models::weights;

use crate::Ending;
use crate::arguments::{Export, Import, Merge};
use crate::commands::settings;

pub(crate) fn import(arguments: &Import) -> Ending {
    let (config, _) = settings::read(&arguments.config, &arguments.overrides)?;
    config.device.set_threads();
    let theirs = weights::read_any(&arguments.file, arguments.part.as_deref())?;
    let root = arguments.run.clone().unwrap_or_else(|| PathBuf::from("runs").join(&config.name));
    let checkpoint = sinter_training::import(&config, &root, arguments.from, theirs, std::env::args().collect())?;
    println!("{}", checkpoint.display());
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn export(arguments: &Export) -> Ending {
    let run = settings::open(&arguments.trained)?;
    let theirs = sinter_training::export(&run, arguments.to)?;
    weights::write(&arguments.out, &theirs, &Default::default())?;
    println!("{}", arguments.out.display());
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn merge(arguments: &Merge) -> Ending {
    let run = settings::open(&arguments.trained)?;
    let checkpoint = sinter_training::merge(&run, &arguments.merged, std::env::args().collect())?;
    println!("{}", checkpoint.display());
    Ok(ExitCode::SUCCESS)
}
