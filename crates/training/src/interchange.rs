//! Weights of other implementations, and adapters merged into weights: to a run that samples, is evaluated and trains
//! on, and from one.

use std::path::{Path, PathBuf};

use sinter_data::{Manifest, Source, Split};
use sinter_models::ModelConfig;
use sinter_models::parameters::Arrays;
use sinter_models::weights::Reference;
use sinter_objectives::Method;

use crate::checkpoint::{Checkpoint, Progress, with_own_adapters};
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
    let mut method = build_method(config, &conditioner, &device, None)?;
    let ours =
        reference.import(&config.model, conditioner.shape(), theirs).map_err(|error| refused(error.to_string()))?;
    match &mut method.parts_mut()[..] {
        [part] => {
            let ours = with_own_adapters(&**part, ours)?;
            part.load_parameters(ours).map_err(|error| refused(error.to_string()))?;
        }
        parts => return Err(refused(format!("the method trains {} networks, not one", parts.len()))),
    }

    begin(config, root, method.as_ref(), source.as_ref(), command)
}

/// Makes `root` the run of `config` before its first image, with the weights of `method` as its weights and averages.
fn begin(
    config: &Config,
    root: &Path,
    method: &dyn Method,
    source: &dyn Source,
    command: Vec<String>,
) -> Result<PathBuf, TrainingError> {
    let run = RunDirectory::lock(root)?;
    if let Some(checkpoint) = Checkpoint::latest(&run.checkpoints())? {
        let path = checkpoint.path.display();
        return Err(TrainingError::Config(format!("{path} is there already: name another run")));
    }
    run.claim(config)?;
    run.write_provenance(&provenance(config, command, Manifest::of(source, Split::Train)))?;
    let averages = averages_of(config, method);
    Checkpoint::write(&run.checkpoints(), method, &averages, &Progress::default(), &config.hash(), config.train.keep)
}

/// Makes `root` the run of the same settings without adapters, with those of an open run merged into its weights.
///
/// # Errors
/// When `root` has checkpoints, or the run has no adapters or some that cannot be merged.
pub fn merge(run: &Run, root: &Path, command: Vec<String>) -> Result<PathBuf, TrainingError> {
    let refused = |reason: String| TrainingError::Config(format!("merge: {reason}"));
    let mut config = run.config.clone();
    let adapters = config.adapters.take().ok_or_else(|| refused(format!("{} has no adapters", config.name)))?;
    config.train.init_from = None;
    if let Some(name) = root.file_name().and_then(|name| name.to_str()) {
        config.name = name.into();
    }
    let mut method = build_method(&config, &run.conditioner, &run.device, None)?;
    for (part, adapted) in method.parts_mut().into_iter().zip(run.method.parts()) {
        let weights = adapters.merge(adapted.parameters()?).map_err(|error| refused(error.to_string()))?;
        part.load_parameters(weights)?;
    }
    begin(&config, root, method.as_ref(), run.source.as_ref(), command)
}

/// The weights of an open run in the form that `reference` reads, its adapters merged into them.
///
/// # Errors
/// When the network is one that `reference` does not have (every name is listed), or
/// adapters that cannot be merged.
pub fn export(run: &Run, reference: Reference) -> Result<Arrays, TrainingError> {
    let refused = |reason: String| TrainingError::Config(format!("export: {reason}"));
    warn(reference, &run.config.model);
    let mut ours = run.part()?.parameters()?;
    if let Some(adapters) = &run.config.adapters {
        ours = adapters.merge(ours).map_err(|error| refused(error.to_string()))?;
    }
    let theirs = reference.export(&run.config.model, run.conditioner.shape(), ours);
    theirs.map_err(|error| refused(error.to_string()))
}

fn warn(reference: Reference, model: &ModelConfig) {
    if let Some(caveat) = reference.caveat(model) {
        log::warn!("{caveat}");
    }
}
