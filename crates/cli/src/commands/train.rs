//! `sinter train`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sinter_training::{Outcome, Session, train};

use crate::arguments::Train;
use crate::commands::{cell, settings};
use crate::failure::INTERRUPTED;
use crate::{Ending, Failure};

pub(crate) fn run(arguments: &Train) -> Ending {
    if let Some(path) = &arguments.cell {
        return cell::run(path);
    }
    // The command line has one or the other.
    let Some(file) = &arguments.config else { return Err(Failure::Setting("name a configuration file".into())) };
    let (config, layered) = settings::read(file, &arguments.overrides)?;
    config.device.set_threads();
    let root = arguments.run.clone().unwrap_or_else(|| PathBuf::from("runs").join(&config.name));
    let interrupted = on_interrupt("finishing this update, then writing a checkpoint")?;
    let session = Session { interrupted: &|| interrupted.load(Ordering::SeqCst), command: std::env::args().collect() };
    let outcome = train(&config, &root, &session).map_err(|error| match error {
        // The problems are about keys of these layers: say where they were written.
        sinter_training::TrainingError::Problems(problems) => Failure::Config(layered.locate(problems)),
        other => other.into(),
    })?;
    match outcome {
        Outcome::Finished(paths) => {
            for path in paths {
                println!("{}", path.display());
            }
            Ok(ExitCode::SUCCESS)
        }
        Outcome::AlreadyFinished(checkpoint) => {
            println!("already finished: {}", checkpoint.display());
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Interrupted(reason) => {
            println!("{reason}: run the same command again to continue");
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

/// A flag that Ctrl-C and SIGTERM set; the second of them ends the process at once.
pub(crate) fn on_interrupt(message: &'static str) -> Result<Arc<AtomicBool>, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(INTERRUPTED));
        }
        eprintln!("{message}");
    })
    .map_err(|error| Failure::Other(error.to_string()))?;
    Ok(interrupted)
}
