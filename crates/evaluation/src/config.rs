//! The `[eval]` section.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_data::Split;

use crate::classification::ClassifierTraining;
use crate::features::FeaturesConfig;

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
    /// Samples drawn at a time: what an evaluation needs of memory grows with it, and not with `n`.
    pub batch: usize,
    /// Seed of the samples' noise.
    pub seed: u64,
    /// Which part of the data samples are compared with.
    pub reference: Split,
    /// How many of its images; none: all.
    pub reference_images: Option<u64>,
    /// Statistics to compare with instead: an `.npz` file of `sinter eval stats`, of pytorch-fid or of ADM's suite. For
    /// `frechet` alone, with the features that the statistics are of.
    pub reference_statistics: Option<PathBuf>,
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
            reference_statistics: None,
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
        /// What it is measured in.
        features: FeaturesConfig,
        /// Take the spatial features, where the network has them: sFID.
        #[serde(default)]
        spatial: bool,
        /// Extrapolate to infinitely many samples, which takes the bias of few away (Chong and Forsyth 2020).
        #[serde(default)]
        extrapolated: bool,
    },
    /// Kernel distance (squared maximum mean discrepancy) of features: KID with Inception's, over random subsets.
    Kernel {
        /// What it is measured in.
        features: FeaturesConfig,
        /// Subsets of either set.
        #[serde(default = "default_subsets")]
        subsets: usize,
        /// Rows of a subset; all, if there are fewer.
        #[serde(default = "default_subset_size")]
        subset_size: usize,
        /// Rows of either set that subsets are drawn from, at the most.
        #[serde(default = "default_rows")]
        rows: usize,
    },
    /// Maximum mean discrepancy of features under a Gaussian kernel (as CMMD), times 1000.
    GaussianKernel {
        /// What it is measured in.
        features: FeaturesConfig,
        /// Width of the kernel, in the features' units.
        #[serde(default = "default_width")]
        width: f64,
        /// Rows of either set at the most.
        #[serde(default = "default_rows")]
        rows: usize,
    },
    /// Precision, recall, density and coverage of nearest-neighbour manifolds in feature space.
    Manifold {
        /// What it is measured in.
        features: FeaturesConfig,
        /// Neighbours that make a ball.
        #[serde(default = "default_neighbours")]
        neighbours: usize,
        /// Rows of either set at the most.
        #[serde(default = "default_rows")]
        rows: usize,
    },
    /// The Inception Score of a network's class probabilities: sure about each sample, and even over all.
    InceptionScore {
        /// The network.
        features: FeaturesConfig,
        /// Parts that the samples are cut into, in order.
        #[serde(default = "default_splits")]
        splits: usize,
    },
    /// How often a classifier gives the class that was asked for.
    ClassifierAccuracy {
        /// The classifier.
        features: FeaturesConfig,
    },
    /// How well a classifier that is trained on the samples alone knows held-out images of the data: the classification
    /// accuracy score (Ravuri and Vinyals 2019). Each evaluation trains one.
    ClassificationAccuracyScore(ClassifierTraining),
    /// How often the exact detector of the `shapes` data finds what was asked for, by class or by caption, how well each
    /// skill of a caption is met, and how widely positions and sizes spread.
    Detector {},
    /// Sliced 2-Wasserstein distance.
    SlicedWasserstein {
        /// What it is measured in.
        #[serde(default)]
        features: FeaturesConfig,
        /// Number of random directions.
        #[serde(default = "default_projections")]
        projections: usize,
        /// Rows of either set at the most.
        #[serde(default = "default_rows")]
        rows: usize,
    },
    /// The exact 2-Wasserstein distance of as many samples and reference examples.
    Wasserstein {
        /// What it is measured in.
        #[serde(default)]
        features: FeaturesConfig,
        /// Rows of either set; the time grows with its cube.
        #[serde(default = "default_assigned")]
        rows: usize,
    },
    /// Modes found and how evenly, for mixtures of Gaussians in the plane.
    Modes {},
}

fn default_subsets() -> usize {
    100
}

fn default_subset_size() -> usize {
    1000
}

fn default_width() -> f64 {
    10.0
}

fn default_rows() -> usize {
    10_000
}

fn default_neighbours() -> usize {
    3
}

fn default_splits() -> usize {
    10
}

fn default_projections() -> usize {
    256
}

fn default_assigned() -> usize {
    1000
}

impl MetricConfig {
    /// What the metric is measured in; none where it reads the pixels in a way of its own.
    pub fn features(&self) -> Option<&FeaturesConfig> {
        match self {
            Self::Frechet { features, .. }
            | Self::Kernel { features, .. }
            | Self::GaussianKernel { features, .. }
            | Self::Manifold { features, .. }
            | Self::InceptionScore { features, .. }
            | Self::ClassifierAccuracy { features }
            | Self::SlicedWasserstein { features, .. }
            | Self::Wasserstein { features, .. } => Some(features),
            Self::ClassificationAccuracyScore(_) | Self::Detector {} | Self::Modes {} => None,
        }
    }

    /// Problems of the metric's own settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        match self {
            Self::Kernel { subsets, subset_size, rows, .. } => {
                problems.check(*subsets > 0, "subsets", "must be at least 1");
                problems.check(*subset_size > 1, "subset_size", "must be at least 2");
                problems.check(*rows > 1, "rows", "must be at least 2");
            }
            Self::GaussianKernel { width, rows, .. } => {
                problems.check(*width > 0.0, "width", "must be above 0");
                problems.check(*rows > 1, "rows", "must be at least 2");
            }
            Self::Manifold { neighbours, rows, .. } => {
                problems.check(*neighbours > 0, "neighbours", "must be at least 1");
                problems.check(rows > neighbours, "rows", "must be more than `neighbours`");
            }
            Self::InceptionScore { splits, .. } => problems.check(*splits > 0, "splits", "must be at least 1"),
            Self::SlicedWasserstein { projections, rows, .. } => {
                problems.check(*projections > 0, "projections", "must be at least 1");
                problems.check(*rows > 0, "rows", "must be at least 1");
            }
            Self::Wasserstein { rows, .. } => problems.check(*rows > 0, "rows", "must be at least 1"),
            Self::Frechet { spatial, extrapolated, .. } => {
                let message = "spatial features are not extrapolated: give one of the two";
                problems.check(!(*spatial && *extrapolated), "extrapolated", message);
            }
            Self::ClassificationAccuracyScore(training) => problems = training.validate(),
            Self::ClassifierAccuracy { .. } | Self::Detector {} | Self::Modes {} => {}
        }
        problems
    }
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
            problems.nest(&format!("metrics.{i}"), metric.validate());
        }
        problems
    }
}
