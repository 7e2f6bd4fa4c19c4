//! The walk of CONTRIBUTING through adding an objective, done: a toy objective in one file, driven as the trainer
//! drives every method.
//!
//! The objective is an autoencoder's: the network, told the time 0, is to return its input. Its enum line is the
//! variant of `Objective` below, its preset the TOML text, its test the function at the end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_data::Batch;
use sinter_models::{Condition, ModelConfig, Network};
use sinter_objectives::{Clock, Inference, Method, MethodError, Setup, Tally, Weights, batch, step};
use sinter_optimization::{OptimizerConfig, Part, Trainable};
use sinter_sampling::{Conditioner, Denoiser};

// ---------------------------------------------------------------- the file

/// The `[objective]` section of type `reconstruction`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reconstruction {
    /// Factor on the squared error.
    weight: f64,
}

impl Reconstruction {
    fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.weight > 0.0, "weight", "must be above 0");
        problems
    }

    fn build(&self, setup: &Setup) -> Result<Box<dyn Method>, MethodError> {
        let device = setup.device.clone().autodiff();
        let network = setup.network(&device)?;
        let model = Trainable::new("model", network, setup.optimizer.clone());
        Ok(Box::new(ReconstructionMethod { config: self.clone(), device, model }))
    }

    /// The loss of each image, `[b]`.
    fn losses(&self, network: &Network, images: Tensor<4>) -> Tensor<1> {
        let time = Tensor::zeros([images.dims()[0]], &images.device());
        let output = network.forward(images.clone(), time, &Condition::none(), None);
        (output - images).square().flatten::<2>(1, 3).mean_dim(1).squeeze_dim::<1>(1).mul_scalar(self.weight)
    }
}

struct ReconstructionMethod {
    config: Reconstruction,
    device: Device,
    model: Trainable<Network>,
}

impl Method for ReconstructionMethod {
    fn step(&mut self, whole: &Batch, clock: Clock) -> Result<Tally, MethodError> {
        step::one_network(&mut self.model, whole, clock, &self.device, |network, portion, _| {
            Ok(self.config.losses(network, batch::images(portion, &self.device)))
        })
    }

    fn parts(&self) -> Vec<&dyn Part> {
        vec![&self.model]
    }

    fn parts_mut(&mut self) -> Vec<&mut dyn Part> {
        vec![&mut self.model]
    }

    fn averaged(&self) -> Vec<&str> {
        vec!["model"]
    }

    fn inference(&self, weights: Option<&Weights>) -> Box<dyn Inference + '_> {
        let network = self.model.trained(weights.and_then(|weights| weights.get("model")));
        Box::new(ReconstructionInference { config: self.config.clone(), network })
    }
}

struct ReconstructionInference {
    config: Reconstruction,
    network: Network,
}

impl Inference for ReconstructionInference {
    fn validate(&self, batch: &Batch) -> Result<Tally, MethodError> {
        let mut tally = Tally::new();
        let losses = self.config.losses(&self.network, batch::images(batch, &Device::flex()));
        let sum = f64::from(losses.sum().into_scalar::<f32>());
        tally.add_weighted("validation/loss", sum, batch.len() as f64);
        Ok(tally)
    }

    fn denoiser(&self) -> Option<&dyn Denoiser> {
        None
    }
}

// ---------------------------------------------------------------- the enum line

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Objective {
    Reconstruction(Reconstruction),
}

// ---------------------------------------------------------------- the preset

const PRESET: &str = r#"
    objective = { type = "reconstruction", weight = 2.0 }
    model = { type = "unet", channels = 8, multipliers = [1], blocks = 1, groups = 4, attention = [] }
    optimizer = { learning_rate = 3e-3 }
"#;

#[derive(Debug, Deserialize)]
struct Preset {
    objective: Objective,
    model: ModelConfig,
    optimizer: OptimizerConfig,
}

// ---------------------------------------------------------------- the test

fn images(first_image: u64) -> Batch {
    let pixels = (0..4 * 64).map(|i| ((i * 37 + first_image as usize * 11) % 101) as f32 / 50.0 - 1.0).collect();
    Batch { shape: [4, 1, 8, 8], pixels, classes: None, captions: None, first_image }
}

#[test]
fn a_toy_objective_trains() {
    let Preset { objective: Objective::Reconstruction(config), model, optimizer } = toml::from_str(PRESET).unwrap();
    assert!(config.validate().is_empty());
    let conditioner = Conditioner::new([1, 8, 8], 0, &[], 0).unwrap();
    let device = Device::flex();
    let setup = Setup {
        model: &model,
        adapters: None,
        optimizer: &optimizer,
        conditioner: &conditioner,
        device: &device,
        seed: 3,
        training: None,
    };
    let mut method = config.build(&setup).unwrap();

    // A fresh network of this kind returns zero, so its loss is the weighted mean square of the images.
    let batch = images(0);
    let square = batch.pixels.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / batch.pixels.len() as f64;
    let mut clock = Clock { images: 0, step: 0, micro_batch: 2 };
    let first = method.step(&batch, clock).unwrap().mean("loss").unwrap();
    assert!((first - 2.0 * square).abs() < 1e-5, "{first} {square}");

    for _ in 0..60 {
        clock.images += 4;
        clock.step += 1;
        method.step(&images(clock.images), clock).unwrap();
    }
    let trained = method.inference(None).validate(&images(1000)).unwrap().mean("validation/loss").unwrap();
    assert!(trained < 0.5 * first, "{trained} after {first}");
}
