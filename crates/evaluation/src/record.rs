//! Records: a number with everything that it depends on.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::EvaluationError;

/// One measured number with its protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// True name, such as `FD[classifier:fashion-mnist]-2k`.
    pub metric: String,
    /// The number.
    pub value: f64,
    /// Samples it was computed on.
    pub n: usize,
    /// Standard deviation over splits or subsets, where the metric has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deviation: Option<f64>,
    /// 95% interval, where the metric has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// Anything a reader should know before believing the number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What the number depends on.
    pub protocol: Protocol,
}

/// What a number depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// Version of this program.
    pub version: String,
    /// What was measured.
    pub subject: Subject,
    /// How it was measured: two numbers compare only where this is equal.
    pub measurement: Measurement,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Subject {
    /// Samples of a model.
    Generated(Generated),
    /// Images that were there.
    Images {
        /// Name of the folder, file or data set.
        name: String,
        /// Fingerprint of their content.
        hash: String,
    },
}

/// Samples of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generated {
    /// Training images seen by the weights.
    pub images: u64,
    /// Which weights.
    pub weights: WeightsUsed,
    /// sha256 of those weights.
    pub weights_hash: String,
    /// Fingerprint of the data that they were trained on.
    pub data_hash: String,
    /// Name of the sampler's plan, with its steps.
    pub sampler: String,
    /// sha256 of the plan.
    pub plan_hash: String,
    /// Network evaluations a sample, without guidance.
    pub evaluations: usize,
    /// Guidance scale.
    pub guidance: f64,
    /// Seed of the samples' noise.
    pub seed: u64,
}

/// How a number was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The metric's settings, but for its features.
    pub settings: Map<String, Value>,
    /// Name of the feature network, where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub features: String,
    /// Hash of its weights.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub features_hash: String,
    /// What else its features depend on, where its name and weights do not say it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub features_settings: Map<String, Value>,
    /// How pixels were rounded before: `8 bits` as in image files, or `none` for points of the plane.
    pub quantization: String,
    /// Name of the data, and which part of it, that samples were compared with.
    pub reference: String,
    /// Fingerprint of that data.
    pub reference_hash: String,
    /// Its images.
    pub reference_images: u64,
}

/// Which weights were evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightsUsed {
    /// The trained weights.
    #[default]
    Raw,
    /// The average of this half-life in images.
    Average(u64),
}

impl Record {
    /// Writes `<name>-<metric>.json` into a folder.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<PathBuf, EvaluationError> {
        let metric: String =
            self.metric.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let path = folder.join(format!("{name}-{metric}.json"));
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        let file_error = |source| EvaluationError::File { path: path.clone(), source };
        fs::create_dir_all(folder).map_err(file_error)?;
        fs::write(&path, text).map_err(file_error)?;
        Ok(path)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// When the file cannot be read or is no record.
    pub fn read(path: &Path) -> Result<Self, EvaluationError> {
        let text = fs::read_to_string(path).map_err(|source| EvaluationError::File { path: path.into(), source })?;
        serde_json::from_str(&text)
            .map_err(|error| EvaluationError::Record { path: path.into(), message: error.to_string() })
    }
}

/// A number of samples as names tell it: `50k`, `512`.
pub(crate) fn short_count(n: usize) -> String {
    if n > 0 && n.is_multiple_of(1000) { format!("{}k", n / 1000) } else { n.to_string() }
}
