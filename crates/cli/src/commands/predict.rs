//! `sinter predict`.

use std::process::ExitCode;

use sinter_models::weights;

use crate::Ending;
use crate::arguments::Predict;
use crate::commands::settings;

pub(crate) fn run(arguments: &Predict) -> Ending {
    let run = settings::open(&arguments.trained)?;
    let (inputs, _) = weights::read(&arguments.inputs)?;
    let output = sinter_training::predict(&run, inputs)?;
    weights::write(&arguments.out, &output, &Default::default())?;
    println!("{}", arguments.out.display());
    Ok(ExitCode::SUCCESS)
}
