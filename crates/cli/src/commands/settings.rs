//! From files and flags to settings, shared by the commands.

use std::path::Path;

use serde::de::DeserializeOwned;
use sinter_config::{Layered, resolve};
use sinter_training::{Choice, Config, Run, SampleConfig, inherit};

use crate::Failure;
use crate::arguments::{Overrides, Sampling, Trained};

/// Reads a configuration with its layers and overrides.
pub(crate) fn layered(path: &Path, overrides: &Overrides) -> Result<Layered, Failure> {
    let mut layered = Layered::load(path)?;
    for set in &overrides.set {
        layered.set(set)?;
    }
    if let Some(device) = &overrides.device {
        layered.set(&format!("device.name={device:?}"))?;
    }
    if let Some(threads) = overrides.threads {
        layered.set(&format!("device.threads={threads}"))?;
    }
    inherit(&mut layered)?;
    Ok(layered)
}

/// The same, resolved and checked as far as that goes without data.
pub(crate) fn read(path: &Path, overrides: &Overrides) -> Result<(Config, Layered), Failure> {
    let layered = layered(path, overrides)?;
    let mut config: Config = resolve(&layered)?;
    config.device.resolve_threads();
    let problems = config.validate();
    if !problems.is_empty() {
        return Err(layered.locate(problems).into());
    }
    Ok((config, layered))
}

/// Opens a trained run as asked for.
pub(crate) fn open(trained: &Trained) -> Result<Run, Failure> {
    let choice = match trained.ema.as_deref() {
        None => Choice::Default,
        Some("raw") => Choice::Raw,
        Some(half_life) => Choice::Average(half_life.parse().map_err(|_| {
            Failure::Setting(format!("--ema {half_life}: give `raw` or the half-life of an average in images"))
        })?),
    };
    let run = Run::open(&trained.run, trained.checkpoint, choice, |config| {
        if let Some(device) = &trained.device {
            config.device.name.clone_from(device);
        }
        if let Some(root) = &trained.data {
            config.data.root = Some(root.clone());
        }
        config.device.set_threads();
    })?;
    Ok(run)
}

/// The run's sampling settings with the command line's on top.
pub(crate) fn sampling(config: &SampleConfig, flags: &Sampling) -> Result<SampleConfig, Failure> {
    let mut config = config.clone();
    if let Some(seed) = flags.seed {
        config.seed = seed;
    }
    if let Some(solver) = &flags.solver {
        config.sampler.solver = component("--solver", solver)?;
    }
    if let Some(grid) = &flags.grid {
        config.sampler.grid = component("--grid", grid)?;
    }
    if let Some(steps) = flags.steps {
        config.sampler.steps = steps;
    }
    if let Some(scale) = flags.guidance {
        config.guidance.scale = scale;
    }
    if let Some(batch) = flags.batch {
        config.batch = batch;
    }
    let problems = config.validate();
    if problems.is_empty() { Ok(config) } else { Err(Failure::Config(problems.into())) }
}

/// A component given by name (`heun`) or as an inline table (`{type = "ddim", eta = 1.0}`).
pub(crate) fn component<T: DeserializeOwned>(flag: &str, text: &str) -> Result<T, Failure> {
    let table = if text.trim_start().starts_with('{') { text.to_string() } else { format!("{{type = {text:?}}}") };
    #[derive(serde::Deserialize)]
    struct Holder<T> {
        value: T,
    }
    let holder: Holder<T> = toml::from_str(&format!("value = {table}"))
        .map_err(|error| Failure::Setting(format!("{flag} {text}: {}", error.message())))?;
    Ok(holder.value)
}
