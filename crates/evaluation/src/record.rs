//! Records: a number with everything that it depends on.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::EvaluationError;

/// One measured number with its protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// True name, such as `FD[classifier:fashion-mnist]-2000`.
    pub metric: String,
    /// The number.
    pub value: f64,
    /// Samples it was computed on.
    pub n: usize,
    /// 95% interval, where the metric has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// Anything a reader should know before believing the number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What the number depends on.
    pub protocol: Protocol,
}

/// What a number depends on: two numbers compare only if this is equal, but for what is being compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// Version of this program.
    pub version: String,
    /// Training images seen by the weights.
    pub images: u64,
    /// Which weights.
    pub weights: WeightsUsed,
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
    /// Name of the feature network, where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub features: String,
    /// Hash of its weights.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub features_hash: String,
    /// Name of the data, and which part of it, that samples were compared with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// Fingerprint of that data.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference_hash: String,
    /// Its images.
    #[serde(default)]
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
    /// Writes `<images>-<metric>.json` into a folder.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, folder: &Path, images: u64) -> Result<PathBuf, EvaluationError> {
        let name: String =
            self.metric.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let path = folder.join(format!("{images}-{name}.json"));
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        let file_error = |source| EvaluationError::File { path: path.clone(), source };
        fs::create_dir_all(folder).map_err(file_error)?;
        fs::write(&path, text).map_err(file_error)?;
        Ok(path)
    }
}
