//! Sweep files: a paper's ablation as a base configuration, axes, tiers, metrics and claims.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sinter_config::{Layered, resolve};

use crate::ExperimentError;
use crate::claims::Claim;

/// A part of a configuration file, as TOML; its `extends` name files relative to the sweep.
pub type Overlay = Map<String, Value>;

/// An experiment.
///
/// Strings that are `@NAME` or begin with `@NAME/` in overlays stand for the run directory of the run `prepare.NAME`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// Plain name; results are kept in `runs/sweeps/<name>`.
    pub name: String,
    /// What a reader calls it.
    pub title: String,
    /// What is asked, and how it is answered at this size, in a few sentences.
    pub question: String,
    /// Where the statements come from.
    #[serde(default)]
    pub paper: Option<Paper>,
    /// Layers of every cell: a part of a configuration file.
    #[serde(default)]
    pub base: Overlay,
    /// Runs that cells need, each made once: `@NAME` in overlays stands for the run directory.
    #[serde(default)]
    pub prepare: BTreeMap<String, Prepare>,
    /// Not there: every cell is a training run. The name of a prepared run: every cell is an evaluation of it, whose
    /// overlays change `[sample]` and `[eval]`.
    #[serde(default)]
    pub evaluates: Option<String>,
    /// What is varied; every level of one meets every level of the others.
    #[serde(default)]
    pub axes: Vec<Axis>,
    /// The seeds of every combination.
    pub seeds: Vec<u64>,
    /// Sizes at which the experiment can be run: `smoke` (seconds), `cpu` (minutes), `gpu` (hours on one card), `paper`.
    pub tiers: BTreeMap<String, Tier>,
    /// What is read off the finished cells.
    pub metrics: Vec<Metric>,
    /// What the paper states, and how that is tested here.
    #[serde(default)]
    pub claims: Vec<Claim>,
}

/// A publication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Paper {
    /// Its title.
    pub title: String,
    /// First author and year.
    pub authors: String,
    /// Where to find it, such as `arXiv 2403.09176`.
    pub reference: String,
}

/// A run that cells need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prepare {
    /// Its configuration.
    pub base: Overlay,
    /// Whether the tier's overlay is laid over it, too.
    #[serde(default)]
    pub tier: bool,
    /// Other prepared runs that it needs.
    #[serde(default)]
    pub needs: Vec<String>,
}

/// Something that is varied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Axis {
    /// One key takes several values.
    Grid {
        /// What a reader calls it.
        name: String,
        /// Dotted key of the configuration.
        key: String,
        /// Its values.
        values: Vec<Value>,
    },
    /// Several keys change together.
    Zip {
        /// What a reader calls it.
        name: String,
        /// Dotted keys of the configuration.
        keys: Vec<String>,
        /// One row a level: its name, then a value for every key.
        rows: Vec<Vec<Value>>,
    },
    /// Named overlays.
    List {
        /// What a reader calls it.
        name: String,
        /// The overlays.
        levels: Vec<Level>,
    },
}

/// One overlay of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// What a reader calls it.
    pub name: String,
    /// What it changes.
    #[serde(default)]
    pub with: Overlay,
}

impl Axis {
    /// What a reader calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::Grid { name, .. } | Self::Zip { name, .. } | Self::List { name, .. } => name,
        }
    }

    /// The names of its levels, in order.
    pub fn levels(&self) -> Vec<String> {
        match self {
            Self::Grid { values, .. } => values.iter().map(written).collect(),
            Self::Zip { rows, .. } => rows.iter().map(|row| row.first().map_or(String::new(), written)).collect(),
            Self::List { levels, .. } => levels.iter().map(|level| level.name.clone()).collect(),
        }
    }
}

/// A value as the name of a level: a string as it is, anything else as JSON.
fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A size at which an experiment can be run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// What a cell is expected to cost.
    #[serde(default)]
    pub cost: Option<Cost>,
    /// Laid over the base, before the levels of the axes.
    #[serde(default)]
    pub with: Overlay,
    /// Laid over prepared runs, by name.
    #[serde(default)]
    pub prepare: BTreeMap<String, Overlay>,
    /// Laid over a level of an axis, after it: `levels.AXIS.LEVEL`.
    #[serde(default)]
    pub levels: BTreeMap<String, BTreeMap<String, Overlay>>,
    /// Levels that are run, by axis; those of axes that are not named are run all.
    #[serde(default)]
    pub only: BTreeMap<String, Vec<String>>,
    /// The seeds at this size; by default the sweep's.
    #[serde(default)]
    pub seeds: Option<Vec<u64>>,
}

/// What something is expected to cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Minutes a cell, above 0.
    pub minutes: f64,
    /// On what, such as `two CPU cores`.
    pub on: String,
}

/// A number that is read off a finished cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Plain name, by which claims call it.
    pub name: String,
    /// What a reader calls it.
    pub title: String,
    /// Where it is found.
    pub from: MetricSource,
    /// Which way is better.
    pub better: Better,
}

/// Where a metric is found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum MetricSource {
    /// The evaluation record of the most training images whose metric's name is this or begins with it.
    Record {
        /// Such as `FD[classifier` of `FD[classifier:shapes]-2k`.
        metric: String,
    },
    /// The last finite value of a scalar of `metrics.jsonl`.
    Scalar {
        /// Such as `validation/loss`.
        name: String,
    },
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Small values.
    Less,
    /// Large values.
    Greater,
}

impl Sweep {
    /// Reads a sweep file.
    ///
    /// # Errors
    /// When it cannot be read or says something that a sweep cannot say, every such thing with its place.
    pub fn load(path: &Path) -> Result<Self, ExperimentError> {
        Ok(resolve(&Layered::load(path)?)?)
    }

    /// The seeds of a tier.
    pub fn seeds(&self, tier: &Tier) -> Vec<u64> {
        tier.seeds.clone().unwrap_or_else(|| self.seeds.clone())
    }

    /// The levels of an axis that a tier runs.
    pub fn levels(&self, axis: &Axis, tier: &Tier) -> Vec<String> {
        let mut levels = axis.levels();
        if let Some(only) = tier.only.get(axis.name()) {
            levels.retain(|level| only.contains(level));
        }
        levels
    }

    /// How many cells a tier has, prepared runs aside.
    pub fn cells(&self, tier: &Tier) -> usize {
        let combinations: usize = self.axes.iter().map(|axis| self.levels(axis, tier).len()).product();
        combinations * self.seeds(tier).len()
    }

    /// The metric of a name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// The tier of a name.
    ///
    /// # Errors
    /// When there is none.
    pub fn tier(&self, name: &str) -> Result<&Tier, ExperimentError> {
        self.tiers.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.tiers.keys().map(String::as_str).collect();
            ExperimentError::Asked(format!("{} has no tier `{name}`; it has {}", self.name, known.join(", ")))
        })
    }
}
