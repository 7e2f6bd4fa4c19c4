//! What a run that learns from another takes over from it.

use std::path::Path;

use serde::Serialize;
use sinter_config::{ConfigError, Layered, Problems};
use sinter_objectives::Objective;
use sinter_process::Parameterization;

use crate::RunDirectory;

/// The keys of `[objective]` that name the other run.
const KEYS: [&str; 2] = ["teacher", "policy"];

/// The sections that are taken over.
const SECTIONS: [&str; 3] = ["data", "model", "eval"];

/// `[objective.process]`.
#[derive(Serialize)]
struct Inherited {
    objective: Process,
}

#[derive(Serialize)]
struct Process {
    process: Parameterization,
}

/// Lays a configuration whose objective names a teacher or a policy over that run's `[data]`, `[model]` and `[eval]`, and
/// over how its network is read, as `[objective.process]`: a preset of distillation need not say what it distils, and
/// the resolved configuration of a student says all that is needed to sample from it without its teacher.
///
/// # Errors
/// When the key names no run, or one that does not generate.
pub fn inherit(layered: &mut Layered) -> Result<(), ConfigError> {
    for key in KEYS {
        let table = layered.value();
        let named = table.get("objective").and_then(|objective| objective.get(key));
        let Some(run) = named.and_then(|run| run.as_str()) else { continue };
        let refused = |message: String| {
            let mut problems = Problems::new();
            problems.push(format!("objective.{key}"), message);
            layered.locate(problems)
        };
        let directory = RunDirectory::open(Path::new(run)).map_err(|error| refused(error.to_string()))?;
        let config = directory.config().map_err(|error| refused(error.to_string()))?;
        let process = config
            .objective
            .parameterization()
            .ok_or_else(|| refused(format!("{run} trains a network that does not generate")))?;
        let process = Inherited { objective: Process { process } };
        let process = toml::to_string(&process).map_err(|error| refused(error.to_string()))?;
        let path = directory.config_path();
        let mut sections = Layered::load(&path)?;
        sections.keep(&SECTIONS);
        layered.lay_over(sections);
        layered.lay_over(Layered::from_str(&path.display().to_string(), &process)?);
    }
    Ok(())
}
