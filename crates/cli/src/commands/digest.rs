//! `sinter digest`.

use std::process::ExitCode;

use sinter_training::{Checkpoint, RunDirectory};

use crate::arguments::Digest;
use crate::{Ending, Failure};

pub(crate) fn run(arguments: &Digest) -> Ending {
    let run = RunDirectory::open(&arguments.run)?;
    let checkpoint = Checkpoint::latest(&run.checkpoints())?
        .ok_or_else(|| Failure::Other(format!("{} has no checkpoint yet", arguments.run.display())))?;
    println!("{}", checkpoint.digest()?);
    Ok(ExitCode::SUCCESS)
}
