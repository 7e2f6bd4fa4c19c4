//! Classification: cross-entropy on labels, for the small networks that evaluation takes features from.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_data::Batch;
use sinter_models::{Classifier, DataShape, DropoutKey, ModelConfig};
use sinter_optimization::{Part, Trainable};
use sinter_process::Parameterization;
use sinter_sampling::Denoiser;

use crate::{Clock, Inference, Method, MethodError, Objective, Setup, Tally, Weights, batch, step};

/// Name of the one part.
const PART: &str = "model";

/// The `[objective]` section of type `classifier`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Classification {
    /// Share of each target's probability that is spread over all classes, in [0, 1) (Szegedy et al. 2016).
    #[serde(default)]
    pub label_smoothing: f64,
}

impl Objective for Classification {
    fn validate(&self, model: &ModelConfig, shape: &DataShape) -> Problems {
        let mut problems = Problems::new();
        problems.check((0.0..1.0).contains(&self.label_smoothing), "label_smoothing", "must be in [0, 1)");
        problems.check(matches!(model, ModelConfig::Classifier(_)), "type", "needs `[model] type = \"classifier\"`");
        problems.check(shape.has_classes(), "type", "needs data with class labels");
        problems
    }

    fn parameterization(&self) -> Option<Parameterization> {
        None
    }

    fn build(&self, setup: &Setup) -> Result<Box<dyn Method>, MethodError> {
        let ModelConfig::Classifier(config) = setup.model else {
            return Err(MethodError::Setup("the classifier objective needs a classifier model".into()));
        };
        let device = setup.device.clone().autodiff();
        let network = config
            .build_adapted(setup.adapters, setup.conditioner.shape(), &device, setup.seed)
            .map_err(|problems| MethodError::Setup(problems.to_string()))?;
        Ok(Box::new(ClassifierMethod {
            config: self.clone(),
            seed: setup.seed,
            model: Trainable::new(PART, network, setup.optimizer.clone()),
            device,
        }))
    }
}

impl Classification {
    /// Cross-entropy of each image, `[b]`, from logits `[b, k]`.
    fn losses(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let log_probabilities = log_softmax(logits, 1); // [b, k]
        let own = log_probabilities.clone().gather(1, labels.unsqueeze_dim(1)).squeeze_dim::<1>(1); // [b]
        let mean = log_probabilities.mean_dim(1).squeeze_dim::<1>(1); // [b]
        -(own.mul_scalar(1.0 - self.label_smoothing) + mean.mul_scalar(self.label_smoothing))
    }
}

/// The labels of a batch, `[b]`.
fn labels(batch: &Batch, device: &Device) -> Result<Tensor<1, Int>, MethodError> {
    let classes = batch.classes.as_ref().ok_or(MethodError::Batch("class labels"))?;
    let classes: Vec<i64> = classes.iter().map(|&class| i64::from(class)).collect();
    Ok(Tensor::from_data(TensorData::from(classes.as_slice()), device))
}

/// The method: one classifier, one optimizer.
struct ClassifierMethod {
    config: Classification,
    seed: u64,
    device: Device,
    model: Trainable<Classifier>,
}

impl Method for ClassifierMethod {
    fn step(&mut self, whole: &Batch, clock: Clock) -> Result<Tally, MethodError> {
        step::one_network(&mut self.model, whole, clock, &self.device, |network, portion, _| {
            let masks = DropoutKey { seed: self.seed, first_image: portion.first_image };
            let logits = network.forward(batch::images(portion, &self.device), Some(masks)); // [b, k]
            Ok(self.config.losses(logits, labels(portion, &self.device)?))
        })
    }

    fn parts(&self) -> Vec<&dyn Part> {
        vec![&self.model]
    }

    fn parts_mut(&mut self) -> Vec<&mut dyn Part> {
        vec![&mut self.model]
    }

    fn averaged(&self) -> Vec<&str> {
        vec![PART]
    }

    fn inference(&self, weights: Option<&Weights>) -> Box<dyn Inference + '_> {
        let network = self.model.trained(weights.and_then(|weights| weights.get(PART)));
        Box::new(ClassifierInference { config: self.config.clone(), network, device: self.device.clone().inner() })
    }
}

/// A trained classifier in use.
struct ClassifierInference {
    config: Classification,
    network: Classifier,
    device: Device,
}

impl Inference for ClassifierInference {
    /// `validation/loss` and `validation/accuracy`.
    fn validate(&self, batch: &Batch) -> Result<Tally, MethodError> {
        let count = batch.len() as f64;
        let labels = labels(batch, &self.device)?;
        let logits = self.network.forward(batch::images(batch, &self.device), None); // [b, k]
        let right = logits.clone().argmax(1).squeeze_dim::<1>(1).equal(labels.clone()).int().sum();
        let loss = self.config.losses(logits, labels).sum();
        let mut tally = Tally::new();
        tally.add_weighted("validation/loss", f64::from(loss.into_scalar::<f32>()), count);
        tally.add_weighted("validation/accuracy", right.into_scalar::<i64>() as f64, count);
        Ok(tally)
    }

    fn denoiser(&self) -> Option<&dyn Denoiser> {
        None
    }
}
