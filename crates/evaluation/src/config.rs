//! The `[eval]` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_data::Split;

/// What is measured, how often, against what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// Training images between evaluations; the end always has one. 0: only the end.
    pub every: u64,
    /// Held-out images for the validation loss; 0 for none.
    pub validation: u64,
    /// Samples that metrics are computed on.
    pub n: usize,
    /// Samples drawn at a time.
    pub batch: usize,
    /// Seed of the samples' noise.
    pub seed: u64,
    /// Which part of the data samples are compared with.
    pub reference: Split,
    /// How many of its images; none: all.
    pub reference_images: Option<u64>,
    /// What is measured on samples.
    pub metrics: Vec<MetricConfig>,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            every: 0,
            validation: 0,
            n: 1000,
            batch: 250,
            seed: 1,
            reference: Split::Train,
            reference_images: None,
            metrics: Vec::new(),
        }
    }
}

/// One metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum MetricConfig {
    /// Frechet distance of features. It is the field's FID only with FID's own Inception features, and is named by its
    /// features otherwise.
    Frechet {
        /// `pixels`, or the run directory of a trained classifier.
        features: String,
    },
    /// How often a classifier gives the class that was asked for.
    ClassifierAccuracy {
        /// The run directory of a trained classifier.
        classifier: String,
    },
    /// How often the exact detector of the `shapes` data finds the shape and colour that were asked for, and how widely
    /// positions and sizes spread within a class.
    Detector {},
    /// Sliced 2-Wasserstein distance, for points in the plane.
    SlicedWasserstein {
        /// Number of random directions.
        #[serde(default = "default_projections")]
        projections: usize,
    },
}

fn default_projections() -> usize {
    256
}

impl EvalConfig {
    /// Every problem of these settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        let sampled = !self.metrics.is_empty();
        problems.check(!sampled || self.n > 1, "n", "metrics need at least 2 samples");
        problems.check(!sampled || self.batch > 0, "batch", "must be at least 1");
        problems.check(self.reference_images.is_none_or(|n| n > 1), "reference_images", "must be at least 2");
        for (i, metric) in self.metrics.iter().enumerate() {
            if let MetricConfig::SlicedWasserstein { projections } = metric {
                problems.check(*projections > 0, format!("metrics.{i}.projections"), "must be at least 1");
            }
        }
        problems
    }

    /// The classifier runs that the metrics name.
    pub fn classifiers(&self) -> Vec<&str> {
        self.metrics
            .iter()
            .filter_map(|metric| match metric {
                MetricConfig::Frechet { features } if features != "pixels" => Some(features.as_str()),
                MetricConfig::ClassifierAccuracy { classifier } => Some(classifier.as_str()),
                _ => None,
            })
            .collect()
    }
}
