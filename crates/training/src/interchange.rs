//! Weights of other implementations: to a run that samples, is evaluated and trains on, and from one.

use std::path::{Path, PathBuf};

use sinter_data::{Manifest, Split};
use sinter_models::ModelConfig;
use sinter_models::parameters::Arrays;
use sinter_models::weights::Reference;

use crate::checkpoint::{Checkpoint, Progress};
use crate::run_directory::RunDirectory;
use crate::trainer::{averages_of, build_method, open_data, provenance};
use crate::{Config, Run, TrainingError};

/// Makes `root` the run of `config` with `theirs`, the tensors of a file of `reference`, as its weights and averages before the
/// first image.
///
/// # Errors
/// When the run has checkpoints, the method trains more than one network, or a tensor is missing, unknown or of another
/// shape: all are listed, and nothing is written.
pub fn import(
    config: &Config,
    root: &Path,
    reference: Reference,
    theirs: Arrays,
    command: Vec<String>,
) -> Result<PathBuf, TrainingError> {
    let refused = |reason: String| TrainingError::Config(format!("import: {reason}"));
    warn(reference, &config.model);
    let device = config.device.open()?;
    let (source, conditioner) = open_data(config)?;
    let mut method = build_method(config, &conditioner, &device)?;
    let ours =
        reference.import(&config.model, conditioner.shape(), theirs).map_err(|error| refused(error.to_string()))?;
    match &mut method.parts_mut()[..] {
        [part] => part.load_parameters(ours).map_err(|error| refused(error.to_string()))?,
        parts => return Err(refused(format!("the method trains {} networks, not one", parts.len()))),
    }

    let run = RunDirectory::lock(root)?;
    if let Some(checkpoint) = Checkpoint::latest(&run.checkpoints())? {
        return Err(refused(format!("{} is there already: name another run", checkpoint.path.display())));
    }
    run.claim(config)?;
    run.write_provenance(&provenance(config, command, Manifest::of(source.as_ref(), Split::Train)))?;
    let averages = averages_of(config, method.as_ref());
    let progress = Progress::default();
    Checkpoint::write(&run.checkpoints(), method.as_ref(), &averages, &progress, &config.hash(), config.train.keep)
}

/// The weights of an open run in the form that `reference` reads.
///
/// # Errors
/// When the method has more than one network, or a network that `reference` does not have: every name is listed.
pub fn export(run: &Run, reference: Reference) -> Result<Arrays, TrainingError> {
    let refused = |reason: String| TrainingError::Config(format!("export: {reason}"));
    warn(reference, &run.config.model);
    let theirs = reference.export(&run.config.model, run.conditioner.shape(), run.part()?.parameters()?);
    theirs.map_err(|error| refused(error.to_string()))
}

fn warn(reference: Reference, model: &ModelConfig) {
    if let Some(caveat) = reference.caveat(model) {
        log::warn!("{caveat}");
    }
}
