//! What a training method is to the trainer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use sinter_data::{Batch, Source};
use sinter_models::{AdaptersConfig, ModelConfig, Network};
use sinter_optimization::{OptimizerConfig, Part, Tensors};
use sinter_sampling::{Conditioner, Denoiser};

use crate::{MethodError, Runs, Tally};

/// Where training stands when a batch arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Training images seen before this batch. The n-th image of the batch is image `images + n` of the run, which is
    /// the index of every random draw made for it.
    pub images: u64,
    /// Updates made before this batch.
    pub step: u64,
    /// Images taken through the networks at a time; gradients add up to those of the whole batch.
    pub micro_batch: usize,
}

/// What a method is built from.
pub struct Setup<'a> {
    /// The `[model]` section.
    pub model: &'a ModelConfig,
    /// The `[adapters]` section.
    pub adapters: Option<&'a AdaptersConfig>,
    /// The `[optimizer]` section.
    pub optimizer: &'a OptimizerConfig,
    /// Shape and conditions of the data.
    pub conditioner: &'a Conditioner,
    /// Where to train; gradients are tracked on its autodiff form.
    pub device: &'a Device,
    /// Seed of the run.
    pub seed: u64,
    /// What only training needs; none where a trained model is opened for use.
    pub training: Option<Training<'a>>,
}

/// What a method may need beyond its batches while it trains.
#[derive(Clone, Copy)]
pub struct Training<'a> {
    /// Opens the runs that it learns from.
    pub runs: &'a dyn Runs,
    /// The training data.
    pub source: &'a Arc<dyn Source>,
    /// Folder for what can be made again; without one, nothing is kept.
    pub cache: Option<&'a Path>,
}

impl Setup<'_> {
    /// A fresh network on the autodiff device `device`.
    ///
    /// # Errors
    /// When the model does not fit the data, or the adapters the model.
    pub fn network(&self, device: &Device) -> Result<Network, MethodError> {
        self.model
            .build_adapted(self.adapters, self.conditioner.shape(), device, self.seed)
            .map_err(|problems| MethodError::Setup(problems.to_string()))
    }
}

/// Parameters of every averaged part, flat, by part and parameter name; what replaces the trained ones when averaged
/// weights are sampled or evaluated.
pub type Weights = BTreeMap<String, Tensors>;

/// A training method. It owns its networks and their optimizers.
pub trait Method {
    /// One update from one batch. Returns what is to be logged, under names such as `loss` or `gradient_norm`.
    ///
    /// # Errors
    /// [`MethodError::NonFinite`] leaves every weight and moment as it was.
    fn step(&mut self, batch: &Batch, clock: Clock) -> Result<Tally, MethodError>;

    /// Its parts: what a checkpoint holds. The first is the network that samples.
    fn parts(&self) -> Vec<&dyn Part>;

    /// Its parts, to be loaded.
    fn parts_mut(&mut self) -> Vec<&mut dyn Part>;

    /// Names of the parts whose weights are averaged.
    fn averaged(&self) -> Vec<&str>;

    /// The runs that it learns from, each with the hash of the weights that it took. A checkpoint carries them, because
    /// a run that goes on with another teacher is another run.
    fn teachers(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// The trained model without gradients, with its own weights or with averages of them.
    fn inference(&self, weights: Option<&Weights>) -> Box<dyn Inference + '_>;
}

/// A trained model in use.
pub trait Inference {
    /// Losses on held-out examples, with draws that depend on the examples' positions alone.
    ///
    /// # Errors
    /// When the batch lacks what the objective needs.
    fn validate(&self, batch: &Batch) -> Result<Tally, MethodError>;

    /// The model as a sampler sees it; none if it does not generate.
    fn denoiser(&self) -> Option<&dyn Denoiser>;

    /// What else of it is worth looking at.
    fn maps(&self) -> Vec<Map> {
        Vec::new()
    }
}

/// A picture of something that a model learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// What it shows, as in a file's name.
    pub name: &'static str,
    /// Height and width in pixels.
    pub size: [usize; 2],
    /// Row-major, from -1 (dark) to 1.
    pub values: Vec<f32>,
}
