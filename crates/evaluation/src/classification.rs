//! The classification accuracy score: how well a classifier that has seen nothing but samples knows real images.
//!
//! Ravuri and Vinyals 2019, "Classification Accuracy Score for Conditional Generative Models": train a classifier on
//! samples with the classes that they were asked for, and report its accuracy on held-out images of the data. What the
//! samples lack (a class, a pose, variety) is missing in the classifier. Theirs is a ResNet-50 on ImageNet; here the
//! network is small and part of the settings, so that a score compares with scores of the same settings alone, first of
//! all with that of the data's own training images.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_data::digest::sha256;
use sinter_data::sources::ByteImages;
use sinter_data::transform::to_byte;
use sinter_data::{Augmentation, Source};
use sinter_metrics::Proportion;
use sinter_models::ClassifierConfig;

use crate::measures::Finding;
use crate::samples::is_point;
use crate::{EvaluationError, Samples};

/// Name of the metric in configurations and messages.
pub(crate) const NAME: &str = "classification_accuracy_score";

/// The classifier of a classification accuracy score, and how it is trained: with AdamW (moments of 0.9 and 0.999), whose
/// learning rate rises linearly and falls like half a cosine over the images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClassifierTraining {
    /// The network.
    pub model: ClassifierConfig,
    /// Images that it is trained on; the samples come in a new order as often as it takes.
    pub images: u64,
    /// Images of one update.
    pub batch: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of the images over which the learning rate rises.
    pub warmup: f64,
    /// Share of its peak that the learning rate falls to.
    pub floor: f64,
    /// Largest gradient norm; larger gradients are scaled down to it.
    pub clip_norm: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Share of each target's probability that is spread over all classes.
    pub label_smoothing: f64,
    /// Random changes of the samples.
    pub augmentation: Augmentation,
    /// Seed of the weights, of the samples' order and changes, and of dropout.
    pub seed: u64,
}

impl Default for ClassifierTraining {
    fn default() -> Self {
        Self {
            model: ClassifierConfig::default(),
            images: 64_000,
            batch: 64,
            learning_rate: 2e-3,
            warmup: 0.05,
            floor: 0.01,
            clip_norm: 1.0,
            weight_decay: 0.02,
            label_smoothing: 0.05,
            augmentation: Augmentation::default(),
            seed: 0,
        }
    }
}

impl ClassifierTraining {
    /// Every problem of these settings that shows without the data.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.images > 0, "images", "must be at least 1");
        problems.check(self.batch > 0, "batch", "must be at least 1");
        let rate = self.learning_rate > 0.0 && self.learning_rate.is_finite();
        problems.check(rate, "learning_rate", "must be a finite number above 0");
        problems.check((0.0..=1.0).contains(&self.warmup), "warmup", "must be in [0, 1]");
        problems.check((0.0..=1.0).contains(&self.floor), "floor", "must be in [0, 1]");
        problems.check(self.clip_norm > 0.0, "clip_norm", "must be above 0");
        let decay = self.weight_decay >= 0.0 && self.weight_decay.is_finite();
        problems.check(decay, "weight_decay", "must be a finite number, 0 or above");
        problems.check((0.0..1.0).contains(&self.label_smoothing), "label_smoothing", "must be in [0, 1)");
        problems
    }
}

/// Trains a classifier as [`ClassifierTraining`] says. It stands on a higher floor, where the objectives are.
pub trait ClassifierTrainer: fmt::Debug {
    /// Trains a fresh classifier on `samples`, and counts how many of the first `count` images of `held_out` it gives
    /// their class. A function of its settings and of the images: no other call matters.
    ///
    /// # Errors
    /// When an image cannot be read, and when the training diverges.
    fn accuracy(
        &self,
        samples: Arc<dyn Source>,
        held_out: &dyn Source,
        count: u64,
    ) -> Result<Proportion, EvaluationError>;
}

/// Why a score has no value, in the metric's name.
pub(crate) fn unfit(message: impl Into<String>) -> EvaluationError {
    EvaluationError::Unfit { metric: NAME, message: message.into() }
}

/// Fails unless a classifier can be judged by these images.
pub(crate) fn fits(held_out: &dyn Source) -> Result<(), EvaluationError> {
    if is_point(held_out.shape()) {
        return Err(unfit("points of the plane are no images"));
    }
    match held_out.class_names().len() {
        0 => Err(unfit(format!("{} has no classes to judge a classifier by", held_out.name()))),
        1 => Err(unfit(format!("{} has one class, and there is nothing to tell apart", held_out.name()))),
        _ => Ok(()),
    }
}

/// Samples with their classes, kept as bytes until the classifier sees them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Kept {
    /// Takes quantized samples.
    pub(crate) fn push(&mut self, samples: &Samples) -> Result<(), EvaluationError> {
        let classes = samples.classes.as_ref();
        let classes =
            classes.ok_or_else(|| unfit("the samples were not asked for a class: there is nothing to learn"))?;
        self.labels.extend(classes);
        self.pixels.extend(samples.pixels.iter().map(|pixel| to_byte(*pixel)));
        Ok(())
    }

    /// The share of held-out images that a classifier of these samples knows; `subject` is the fingerprint of the samples,
    /// where they are a set of images.
    pub(crate) fn finding(
        self,
        trainer: &dyn ClassifierTrainer,
        held_out: &dyn Source,
        count: u64,
        subject: Option<&str>,
    ) -> Result<Finding, EvaluationError> {
        let classes = held_out.class_names();
        if let Some(label) = self.labels.iter().find(|label| **label as usize >= classes.len()) {
            return Err(unfit(format!(
                "a sample has class {label}, {} has {} classes",
                held_out.name(),
                classes.len()
            )));
        }
        let samples = ByteImages {
            name: "samples".into(),
            shape: held_out.shape(),
            classes: classes.to_vec(),
            fingerprint: sha256(&self.pixels),
            pixels: self.pixels,
            maximum: u8::MAX,
            labels: self.labels,
        };
        let right = trainer.accuracy(Arc::new(samples), held_out, count)?;
        let mut finding = Finding::share("CAS[classifier]", right.successes as usize, right.total as usize)?;
        if subject == Some(held_out.fingerprint().as_str()) {
            finding.warnings.push("the classifier is judged by the very images that it was trained on".into());
        }
        Ok(finding)
    }
}
