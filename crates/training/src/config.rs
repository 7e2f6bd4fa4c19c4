//! The typed configuration of a run.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};
use sinter_config::Problems;
use sinter_data::DataConfig;
use sinter_evaluation::EvalConfig;
use sinter_models::{AdaptersConfig, DataShape, ModelConfig};
use sinter_objectives::{Objective, ObjectiveConfig};
use sinter_optimization::{AverageConfig, OptimizerConfig};
use sinter_sampling::Guidance;
use sinter_solvers::Sampler;

use crate::device::DeviceConfig;

/// Everything that defines a run. All counts are of training images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the run; its directory is `runs/<name>` unless told otherwise.
    pub name: String,
    /// Seed of every random draw.
    #[serde(default)]
    pub seed: u64,
    /// Where the images come from.
    pub data: DataConfig,
    /// The network.
    pub model: ModelConfig,
    /// Additions to it that are trained in its place. Not there, or without rules (`adapters.rules = []` takes off those of
    /// a preset): the network itself is trained.
    #[serde(default, deserialize_with = "with_rules", skip_serializing_if = "Option::is_none")]
    pub adapters: Option<AdaptersConfig>,
    /// How it is trained.
    pub objective: ObjectiveConfig,
    /// How it is updated.
    pub optimizer: OptimizerConfig,
    /// Averages of its weights.
    #[serde(default)]
    pub ema: AverageConfig,
    /// How long, in what portions, and what is kept.
    pub train: TrainConfig,
    /// Pictures during training, and the defaults of `sinter sample`.
    #[serde(default)]
    pub sample: SampleConfig,
    /// Evaluation during training, and the defaults of `sinter eval`.
    #[serde(default)]
    pub eval: EvalConfig,
    /// What is written down, and how often.
    #[serde(default)]
    pub log: LogConfig,
    /// Where it runs.
    #[serde(default)]
    pub device: DeviceConfig,
}

fn with_rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AdaptersConfig>, D::Error> {
    Ok(Option::<AdaptersConfig>::deserialize(deserializer)?.filter(|adapters| !adapters.rules.is_empty()))
}

/// The `[train]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Budget: training images to see.
    pub images: u64,
    /// Images of one update.
    pub batch: usize,
    /// Images taken through the network at a time; the update is that of the whole batch. None: all of them.
    #[serde(default)]
    pub micro_batch: Option<usize>,
    /// Images between checkpoints; the end always has one. 0: only the end.
    #[serde(default)]
    pub checkpoint_every: u64,
    /// Newest checkpoints kept, >= 1.
    #[serde(default = "default_keep")]
    pub keep: usize,
    /// What to do when a loss or a gradient is not finite.
    #[serde(default)]
    pub on_nonfinite: OnNonfinite,
    /// Seconds after which the run writes a checkpoint and stops, to be resumed.
    #[serde(default)]
    pub time_limit: Option<f64>,
    /// Resident memory in GiB beyond which the run writes a checkpoint and stops.
    #[serde(default)]
    pub memory_limit: Option<f64>,
    /// A run whose newest weights this one starts from. It may be one without this run's adapters.
    #[serde(default)]
    pub init_from: Option<String>,
}

fn default_keep() -> usize {
    2
}

/// The policy for losses and gradients that are not finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum OnNonfinite {
    /// Stop, and name the step, the tensor and the last good checkpoint.
    #[default]
    Stop,
    /// Leave the weights as they are and go on, but for no more than `limit` updates in a row.
    Skip {
        /// Updates in a row that may be skipped, >= 1.
        limit: u64,
    },
}

/// The `[sample]` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SampleConfig {
    /// Images between sample grids; the end always has one. 0: only the end.
    pub every: u64,
    /// Samples in a grid; 0 for none.
    pub n: usize,
    /// Samples drawn at a time; 0: all of them.
    pub batch: usize,
    /// Seed of the samples' noise.
    pub seed: u64,
    /// How they are drawn.
    pub sampler: Sampler,
    /// How strongly conditions are followed.
    pub guidance: Guidance,
}

/// The `[log]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Images between two lines of `metrics.jsonl`; each holds means since the line before.
    pub every: u64,
    /// Whether TensorBoard event files are written.
    pub tensorboard: bool,
    /// Whether histograms of weights are written with every evaluation.
    pub histograms: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { every: 4096, tensorboard: true, histograms: false }
    }
}

impl Config {
    /// Every problem of these settings that can be told without opening the data.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        let named = !self.name.is_empty() && !self.name.starts_with('.') && !self.name.contains(['/', '\\']);
        problems.check(named, "name", "must be a plain directory name");
        problems.nest("data", self.data.validate());
        if let Some(adapters) = &self.adapters {
            problems.nest("adapters", adapters.validate());
        }
        problems.nest("optimizer", self.optimizer.validate());
        problems.nest("ema", self.ema.validate());
        problems.nest("train", self.train.validate());
        let sample = self.sample.validate();
        if let (true, Some(model)) = (sample.is_empty(), self.objective.parameterization()) {
            // A sampler that does not fit the path would be found out only after hours of training.
            problems.nest("sample.sampler", self.sample.sampler.plan(&model.path).err().unwrap_or_default());
        }
        problems.nest("sample", sample);
        problems.nest("eval", self.eval.validate());
        problems.nest("device", self.device.validate());
        problems.check(self.log.every > 0, "log.every", "must be at least 1 image");
        problems
    }

    /// Every problem that depends on what the data look like.
    pub fn validate_for(&self, shape: &DataShape) -> Problems {
        let mut problems = Problems::new();
        problems.nest("model", self.model.validate(shape));
        problems.nest("objective", self.objective.validate(&self.model, shape));
        if let (Some(adapters), true, Ok(device)) = (&self.adapters, problems.is_empty(), self.device.open()) {
            problems.nest("adapters", adapters.validate_for(&self.model, shape, &device));
        }
        problems
    }

    /// The settings that make two runs different runs: all but the budget, limits, cadences, `[log]` and the device's
    /// name. As canonical JSON.
    pub fn identity(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        let volatile = [
            &["train", "images"][..],
            &["train", "checkpoint_every"],
            &["train", "keep"],
            &["train", "time_limit"],
            &["train", "memory_limit"],
            &["sample", "every"],
            &["eval", "every"],
            &["log"],
            &["device", "name"],
            &["data", "root"],
            &["data", "workers"],
        ];
        for path in volatile {
            remove(&mut value, path);
        }
        value
    }

    /// Lowercase hexadecimal sha256 of [`Config::identity`].
    pub fn hash(&self) -> String {
        let digest = Sha256::digest(self.identity().to_string().as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn remove(value: &mut serde_json::Value, path: &[&str]) {
    let Some(table) = value.as_object_mut() else { return };
    match path {
        [] => {}
        [last] => {
            table.shift_remove(*last);
        }
        [first, rest @ ..] => {
            if let Some(inner) = table.get_mut(*first) {
                remove(inner, rest);
            }
        }
    }
}

impl SampleConfig {
    /// Every problem of these settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.nest("sampler", self.sampler.validate());
        problems.nest("guidance", self.guidance.validate());
        problems
    }
}

impl TrainConfig {
    /// Images taken through the network at a time.
    pub fn micro_batch(&self) -> usize {
        self.micro_batch.unwrap_or(self.batch)
    }

    fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.batch > 0, "batch", "must be at least 1");
        problems.check(self.keep > 0, "keep", "must be at least 1: resuming needs a checkpoint");
        problems.check(
            self.micro_batch.is_none_or(|micro| micro > 0 && micro <= self.batch.max(1)),
            "micro_batch",
            "must be between 1 and `train.batch`",
        );
        problems.check(self.time_limit.is_none_or(|limit| limit > 0.0), "time_limit", "must be above 0 seconds");
        problems.check(self.memory_limit.is_none_or(|limit| limit > 0.0), "memory_limit", "must be above 0 GiB");
        if let OnNonfinite::Skip { limit } = self.on_nonfinite {
            problems.check(limit > 0, "on_nonfinite.limit", "must be at least 1");
        }
        problems
    }
}
