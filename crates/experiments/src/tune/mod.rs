//! Searches: the settings of a configuration that make a metric best, found by trying some after others.

mod check;
mod outcome;
mod parameter;
mod search;

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sinter_config::{Layered, resolve};

pub use check::check_tune;
pub use outcome::{Ending, Tried, tried};
pub use parameter::Parameter;
pub(crate) use parameter::shown;
pub use search::Search;

use crate::expand::expanded;
use crate::sweep::{Axis, Cost, Metric, Overlay, Prepare, Tier};
use crate::{Expansion, ExperimentError, Store, Sweep, Typed};

/// The axis of trials.
pub(crate) const TRIAL: &str = "trial";

/// A search file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tune {
    /// Plain name; results are kept in `runs/tunes/<name>`.
    pub name: String,
    /// What a reader calls it.
    pub title: String,
    /// What is searched for, in a few sentences.
    pub question: String,
    /// Layers of every trial: a part of a configuration file.
    #[serde(default)]
    pub base: Overlay,
    /// Runs that trials need, each made once, as in a sweep.
    #[serde(default)]
    pub prepare: BTreeMap<String, Prepare>,
    /// As in a sweep: the prepared run that every trial evaluates in place of training.
    #[serde(default)]
    pub evaluates: Option<String>,
    /// What is varied.
    pub parameters: Vec<Parameter>,
    /// What is to become best: its mean over the seeds.
    pub objective: Metric,
    /// What else is read off finished cells, to be shown.
    #[serde(default)]
    pub metrics: Vec<Metric>,
    /// How trials are chosen.
    pub search: Search,
    /// How many trials are made, unless the tier or the command says otherwise.
    pub trials: usize,
    /// The seeds of every trial.
    pub seeds: Vec<u64>,
    /// Sizes at which the search can be made: `smoke`, `cpu`, `gpu`, `paper`.
    pub tiers: BTreeMap<String, TuneTier>,
}

/// A size at which a search can be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TuneTier {
    /// What a cell, one seed of a trial, is expected to cost.
    #[serde(default)]
    pub cost: Option<Cost>,
    /// Laid over the base, before the parameters.
    #[serde(default)]
    pub with: Overlay,
    /// Laid over prepared runs, by name.
    #[serde(default)]
    pub prepare: BTreeMap<String, Overlay>,
    /// The seeds at this size; by default the search's.
    #[serde(default)]
    pub seeds: Option<Vec<u64>>,
    /// The trials at this size; by default the search's.
    #[serde(default)]
    pub trials: Option<usize>,
}

/// Values for all parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Its place among the trials, from 0.
    pub number: usize,
    /// A value for each parameter, in their order.
    pub values: Vec<Value>,
}

impl Tune {
    /// Reads a search file.
    ///
    /// # Errors
    /// When it cannot be read or says something that a search cannot say, every such thing with its place.
    pub fn load(path: &Path) -> Result<Self, ExperimentError> {
        Ok(resolve(&Layered::load(path)?)?)
    }

    /// Whether a file is a search and no sweep: it says how to `search`.
    pub fn is_one(path: &Path) -> bool {
        Layered::load(path).is_ok_and(|layered| layered.value().contains_key("search"))
    }

    /// The trials of a size.
    ///
    /// # Errors
    /// When there is no such size.
    pub fn trials(&self, tier: &str) -> Result<usize, ExperimentError> {
        let found = self.tiers.get(tier).ok_or_else(|| {
            let known: Vec<&str> = self.tiers.keys().map(String::as_str).collect();
            ExperimentError::Asked(format!("{} has no tier `{tier}`; it has {}", self.name, known.join(", ")))
        })?;
        Ok(found.trials.unwrap_or(self.trials))
    }

    /// Trials as a sweep: one axis, of which each trial is a level.
    pub fn sweep(&self, trials: &[Trial]) -> Sweep {
        let row = |trial: &Trial| {
            let name = Value::String(trial.number.to_string());
            std::iter::once(name).chain(trial.values.iter().cloned()).collect()
        };
        let tier = |tier: &TuneTier| Tier {
            cost: tier.cost.clone(),
            with: tier.with.clone(),
            prepare: tier.prepare.clone(),
            levels: BTreeMap::new(),
            only: BTreeMap::new(),
            seeds: tier.seeds.clone(),
        };
        Sweep {
            name: self.name.clone(),
            title: self.title.clone(),
            question: self.question.clone(),
            paper: None,
            base: self.base.clone(),
            prepare: self.prepare.clone(),
            evaluates: self.evaluates.clone(),
            axes: vec![Axis::Zip {
                name: TRIAL.into(),
                keys: self.parameters.iter().map(|parameter| parameter.key().to_owned()).collect(),
                rows: trials.iter().map(row).collect(),
            }],
            seeds: self.seeds.clone(),
            tiers: self.tiers.iter().map(|(name, found)| (name.clone(), tier(found))).collect(),
            metrics: std::iter::once(&self.objective).chain(&self.metrics).cloned().collect(),
            claims: Vec::new(),
        }
    }

    /// Resolves and checks every cell of trials, as [`expand`](crate::expand) does those of a sweep. Trials of equal values
    /// share their cells.
    ///
    /// # Errors
    /// As [`expand`](crate::expand).
    pub fn expand(
        &self,
        trials: &[Trial],
        file: &Path,
        tier: &str,
        store: &Store,
        typed: &dyn Typed,
    ) -> Result<Expansion, ExperimentError> {
        let mut expansion = expanded(&self.sweep(trials), file, tier, store, typed, true)?;
        expansion.index.tune = Some(self.clone());
        Ok(expansion)
    }
}
