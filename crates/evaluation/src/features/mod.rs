//! Feature networks: what a distance between distributions of images is measured in.

mod classifier;
mod network;
mod pixels;

use std::fmt;
use std::path::PathBuf;

pub use classifier::ClassifierFeatures;
pub use network::{NetworkFeatures, NetworkFile, WeightsFile};
pub use pixels::PixelFeatures;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::inception::Resize;

/// Which feature network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FeaturesConfig {
    /// The pixels themselves.
    Pixels {},
    /// The last features, and the logits, of a classifier that this program trained.
    Classifier {
        /// Its run directory.
        run: PathBuf,
    },
    /// FID's Inception-v3.
    Inception {
        /// Its published weights: pytorch-fid's `pt_inception-2015-12-05-6726825d.pth`, or the same tensors as
        /// `.safetensors`. With other weights numbers are not the field's, and records say so.
        weights: PathBuf,
        /// How images come to 299 x 299 pixels.
        #[serde(default)]
        resize: Resize,
    },
    /// A network of this program with the weights of a file.
    Network(NetworkFile),
    /// Those of a classifier with random weights: good for smoke tests and for little else.
    RandomConvolutions {
        /// What its weights are drawn from.
        #[serde(default)]
        seed: u64,
    },
}

impl Default for FeaturesConfig {
    fn default() -> Self {
        Self::Pixels {}
    }
}

/// What a feature network says of images, row by row: one row an image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// The features `[n, d]`.
    pub pooled: Vec<f32>,
    /// Spatial features `[n, s]`, where the network has them: of a feature map, places and all.
    pub spatial: Option<Vec<f32>>,
    /// Logits `[n, k]`, where it tells classes apart.
    pub logits: Option<Vec<f32>>,
}

/// A map from images to feature vectors, with a name and a hash that records carry.
pub trait FeatureNetwork: fmt::Debug {
    /// Name, such as `classifier:fashion-mnist` or `pixels`.
    fn name(&self) -> String;

    /// Lowercase hexadecimal sha256 of its weights; empty where there are none.
    fn hash(&self) -> String;

    /// What else its features depend on, where its name and weights do not say it.
    fn settings(&self) -> Map<String, Value> {
        Map::new()
    }

    /// What a reader of numbers in these features should know, if anything.
    fn warning(&self) -> Option<String> {
        None
    }

    /// Where the features are those of the literature's FID: how images are resized for it (`tensorflow` in the original,
    /// `pytorch` in pytorch-fid).
    fn inception(&self) -> Option<&'static str> {
        None
    }

    /// Whether it takes images of shape `[c, h, w]`.
    ///
    /// # Errors
    /// Why not.
    fn check(&self, image: [usize; 3]) -> Result<(), String>;

    /// What it has: spatial features, logits.
    fn gives(&self) -> Gives;

    /// Features of images `[n, c, h, w]` in -1..1 that `check` lets pass.
    fn features(&self, pixels: &[f32], shape: [usize; 4]) -> Features;
}

/// What a feature network has beside pooled features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gives {
    /// Spatial features.
    pub spatial: bool,
    /// Logits.
    pub logits: bool,
}
