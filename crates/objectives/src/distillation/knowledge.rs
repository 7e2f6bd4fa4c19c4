//! Knowledge distillation on a teacher's pairs (Luhman and Luhman 2021): one evaluation at pure noise is to give the image
//! that the teacher's ODE makes of that noise. The student need not look like its teacher: it starts from fresh weights.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_data::Batch;
use sinter_models::{DataShape, DropoutKey, ModelConfig, Network};
use sinter_optimization::{Part, Trainable};
use sinter_process::Parameterization;
use sinter_sampling::{Conditioner, Denoiser, NetworkDenoiser, data_at_each};
use sinter_solvers::Level;

use super::pairs::{Pairs, PairsConfig};
use crate::distance::Distance;
use crate::{Clock, Inference, Method, MethodError, Objective, Setup, Tally, Weights, batch, step};

/// Name of the one part.
const PART: &str = "model";

/// The `[objective]` section of type `knowledge`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Knowledge {
    /// The run that makes the pairs.
    pub teacher: PathBuf,
    /// How the network is fed and read; the teacher's.
    pub process: Parameterization,
    /// The pairs.
    pub pairs: PairsConfig,
    /// How the student's image is compared with the teacher's.
    #[serde(default)]
    pub distance: Distance,
}

impl Objective for Knowledge {
    fn validate(&self, model: &ModelConfig, _: &DataShape) -> Problems {
        let mut problems = Problems::new();
        problems.nest("process", self.process.validate());
        problems.nest("pairs", self.pairs.validate());
        problems.nest("distance", self.distance.validate());
        if matches!(model, ModelConfig::Classifier(_)) {
            problems.push("type", "a classifier does not map noise to images: give `[model]` another type");
        }
        problems
    }

    fn parameterization(&self) -> Option<Parameterization> {
        Some(self.process.clone())
    }

    fn build(&self, setup: &Setup) -> Result<Box<dyn Method>, MethodError> {
        let device = setup.device.clone().autodiff();
        Ok(Box::new(KnowledgeMethod {
            config: self.clone(),
            conditioner: setup.conditioner.clone(),
            seed: setup.seed,
            model: Trainable::new(PART, setup.network(&device)?, setup.optimizer.clone()),
            pairs: Pairs::open(setup, &self.teacher, &self.pairs)?,
            device,
        }))
    }
}

impl Knowledge {
    /// The noisiest level that the network can be read at.
    fn start(&self) -> Level {
        Level::from(&self.process.path.at(self.process.time_range().1))
    }

    /// The image of each noise, `[b, c, h, w]`; `network` maps (scaled input, time labels `[b]`) to its output.
    fn images(&self, noise: Tensor<4>, network: impl FnOnce(Tensor<4>, Tensor<1>) -> Tensor<4>) -> Tensor<4> {
        let start = self.start();
        let levels = vec![start; noise.dims()[0]];
        data_at_each(&self.process, noise.mul_scalar(start.sigma), &levels, network)
    }
}

/// The method: one network, one optimizer, the pairs.
struct KnowledgeMethod {
    config: Knowledge,
    conditioner: Conditioner,
    seed: u64,
    device: Device,
    model: Trainable<Network>,
    /// None where the model is only used.
    pairs: Option<Pairs>,
}

impl Method for KnowledgeMethod {
    fn step(&mut self, whole: &Batch, clock: Clock) -> Result<Tally, MethodError> {
        let Self { config, conditioner, seed, device, model, pairs } = self;
        let pairs = pairs.as_mut().ok_or_else(|| MethodError::Setup("opened without its teacher".into()))?;
        let pairs = pairs.batch(whole.first_image, whole.len(), config.pairs.images)?;
        step::one_network(model, &pairs.images, clock, device, |network, portion, range| {
            let condition = batch::condition(portion, conditioner, 0.0, *seed, device)?;
            let masks = DropoutKey { seed: *seed, first_image: portion.first_image };
            let images = config.images(pairs.noise(range, device), |input, labels| {
                network.forward(input, labels, &condition, Some(masks))
            });
            Ok(config.distance.losses(images, batch::images(portion, device)))
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

    fn teachers(&self) -> BTreeMap<String, String> {
        self.pairs.iter().map(|pairs| pairs.teacher().identity()).collect()
    }

    fn inference(&self, weights: Option<&Weights>) -> Box<dyn Inference + '_> {
        let network = self.model.trained(weights.and_then(|weights| weights.get(PART)));
        let parameterization = self.config.process.clone();
        Box::new(KnowledgeInference(NetworkDenoiser { network, parameterization }))
    }
}

/// A trained student in use.
struct KnowledgeInference(NetworkDenoiser);

impl Inference for KnowledgeInference {
    fn validate(&self, _: &Batch) -> Result<Tally, MethodError> {
        Ok(Tally::new())
    }

    fn denoiser(&self) -> Option<&dyn Denoiser> {
        Some(&self.0)
    }
}
