//! `sinter import` and `sinter export`.

use std::path::PathBuf;
use std::process::ExitCode;

use sinter_models::weights::{self, Reference, WeightsError};

use crate::arguments::{Export, Import};
use crate::commands::settings;
use crate::{Ending, Failure};

pub(crate) fn import(arguments: &Import) -> Ending {
    let reference = named("--from", &arguments.from)?;
    let (config, _) = settings::read(&arguments.config, &arguments.overrides)?;
    config.device.set_threads();
    let theirs = weights::read_any(&arguments.file, arguments.part.as_deref()).map_err(failure)?;
    let root = arguments.run.clone().unwrap_or_else(|| PathBuf::from("runs").join(&config.name));
    let checkpoint = sinter_training::import(&config, &root, reference, theirs, std::env::args().collect())?;
    println!("{}", checkpoint.display());
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn export(arguments: &Export) -> Ending {
    let reference = named("--to", &arguments.to)?;
    let run = settings::open(&arguments.trained)?;
    let theirs = sinter_training::export(&run, reference)?;
    weights::write(&arguments.out, &theirs, &Default::default()).map_err(failure)?;
    println!("{}", arguments.out.display());
    Ok(ExitCode::SUCCESS)
}

fn named(flag: &str, name: &str) -> Result<Reference, Failure> {
    let names = Reference::ALL.map(Reference::name);
    Reference::ALL.into_iter().find(|reference| reference.name() == name).ok_or_else(|| {
        Failure::Setting(format!("{flag} {name}: no such implementation; there are {}", names.join(", ")))
    })
}

fn failure(error: WeightsError) -> Failure {
    Failure::Other(error.to_string())
}
