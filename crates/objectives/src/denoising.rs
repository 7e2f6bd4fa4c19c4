//! Denoising: one objective for diffusion, score matching, EDM and flow matching.
//!
//! An image `x0` and noise `eps` make `x_t = alpha x0 + sigma eps` at a random time; the network's output is pulled
//! towards the target that its prediction stands for, with a weight that depends on time. Path, prediction, weight and
//! law of time are independent choices; DDPM (Ho et al. 2020), score SDEs (Song et al. 2021), EDM (Karras et al. 2022)
//! and flow matching (Lipman et al. 2023) are presets of them.

use burn::tensor::{DType, Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_data::Batch;
use sinter_models::{DataShape, DropoutKey, ModelConfig, Network};
use sinter_optimization::{Part, Trainable};
use sinter_process::random::{Key, Stream};
use sinter_process::{InputScale, Parameterization, Path, PathPoint, Prediction, TimeLabel, TimeLaw, Weight};
use sinter_sampling::{Conditioner, Denoiser, NetworkDenoiser, per_image, values};

use crate::step::Losses;
use crate::{Clock, Inference, Map, Method, MethodError, Objective, Setup, Tally, Weights, batch, step};

/// Name of the one part.
const PART: &str = "model";

/// Bins of time in which the held-out loss is told apart.
const BINS: u64 = 10;

/// The `[objective]` section of type `denoising`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Denoising {
    /// How data becomes noise.
    pub path: Path,
    /// What the network's output stands for.
    pub prediction: Prediction,
    /// Factor on the network's input.
    #[serde(default)]
    pub input_scale: InputScale,
    /// The number by which the network is told the time.
    #[serde(default)]
    pub time_label: TimeLabel,
    /// Weight of the squared error of the prediction.
    #[serde(default)]
    pub weight: Weight,
    /// Distribution of training times.
    #[serde(default)]
    pub time: TimeLaw,
    /// Probability that an image is trained without its condition, for classifier-free guidance.
    #[serde(default = "default_dropout")]
    pub condition_dropout: f64,
}

fn default_dropout() -> f64 {
    0.1
}

impl Objective for Denoising {
    fn validate(&self, model: &ModelConfig, shape: &DataShape) -> Problems {
        let mut problems = Problems::new();
        problems.nest("path", self.path.validate());
        problems.nest("prediction", self.prediction.validate());
        problems.nest("input_scale", self.input_scale.validate());
        problems.nest("time_label", self.time_label.validate());
        problems.nest("weight", self.weight.validate());
        problems.nest("time", self.time.validate());
        problems.check((0.0..=1.0).contains(&self.condition_dropout), "condition_dropout", "must be in [0, 1]");
        if matches!(model, ModelConfig::Classifier(_)) {
            problems.push("type", "a classifier cannot denoise: give `[model]` another type");
            return problems;
        }
        if self.condition_dropout > 0.0 && shape.has_classes() && !model.has_null_class() {
            problems.push_help(
                "condition_dropout",
                "needs a class for \"any\", which the model does not have",
                "set `model.null_class = true`, or `objective.condition_dropout = 0`",
            );
        }
        problems
    }

    fn parameterization(&self) -> Option<Parameterization> {
        Some(self.process())
    }

    fn build(&self, setup: &Setup) -> Result<Box<dyn Method>, MethodError> {
        let device = setup.device.clone().autodiff();
        let network = setup.network(&device)?;
        Ok(Box::new(DenoisingMethod {
            config: self.clone(),
            conditioner: setup.conditioner.clone(),
            seed: setup.seed,
            model: Trainable::new(PART, network, setup.optimizer.clone()),
            device,
        }))
    }
}

impl Denoising {
    /// What the network's output means.
    pub fn process(&self) -> Parameterization {
        Parameterization {
            path: self.path.clone(),
            prediction: self.prediction,
            input_scale: self.input_scale,
            time_label: self.time_label,
        }
    }

    /// The loss of each image, `[b]`: `weight(t) * mean (output - target)^2` over the image's elements, in the float
    /// type of `data`.
    ///
    /// `network` maps (scaled input `[b, c, h, w]`, time labels `[b]`) to its output.
    pub fn losses(
        &self,
        data: Tensor<4>,
        noise: Tensor<4>,
        points: &[PathPoint],
        network: impl FnOnce(Tensor<4>, Tensor<1>) -> Tensor<4>,
    ) -> Tensor<1> {
        let column = |of: &dyn Fn(&PathPoint) -> f64| -> Tensor<4> {
            per_image(&points.iter().map(of).collect::<Vec<_>>(), &data) // [b, 1, 1, 1]
        };
        let labels: Vec<f64> = points.iter().map(|point| self.time_label.label(&self.path, point)).collect();
        let labels = values(&labels, &data.device(), data.dtype()); // [b]
        let weights: Vec<f64> = points.iter().map(|point| self.weight.weight(point, &self.prediction)).collect();
        let weights = values(&weights, &data.device(), data.dtype()); // [b]

        let state = data.clone() * column(&|p| p.alpha) + noise.clone() * column(&|p| p.sigma);
        let target = data.clone() * column(&|p| self.prediction.target(p).data)
            + noise * column(&|p| self.prediction.target(p).noise);
        let input = state * column(&|p| self.input_scale.scale(p));
        let channels = data.dims()[1];
        let output = network(input, labels).narrow(1, 0, channels); // [b, c, h, w]
        let errors = (output - target).square().flatten::<2>(1, 3).mean_dim(1).squeeze_dim::<1>(1); // [b]
        errors * weights
    }
}

/// The method: one network, one optimizer.
struct DenoisingMethod {
    config: Denoising,
    conditioner: Conditioner,
    seed: u64,
    device: Device,
    model: Trainable<Network>,
}

impl Method for DenoisingMethod {
    fn step(&mut self, whole: &Batch, clock: Clock) -> Result<Tally, MethodError> {
        let key = Key::new(self.seed, Stream::TIME);
        let times = self.config.time.times(&self.config.path, &key, whole.first_image, whole.len());
        let points: Vec<PathPoint> = times.into_iter().map(|t| self.config.path.at(t)).collect();
        let prior = self.model.network().prior_targets(self.seed, clock.images);
        step::one_network(&mut self.model, whole, clock, &self.device, |network, portion, range| {
            let dropout = self.config.condition_dropout;
            let condition = batch::condition(portion, &self.conditioner, dropout, self.seed, &self.device)?;
            let masks = DropoutKey { seed: self.seed, first_image: portion.first_image };
            let mut of_gates = None;
            let losses = self.config.losses(
                batch::images(portion, &self.device),
                batch::noise(portion, self.seed, Stream::NOISE, &self.device),
                &points[range],
                |input, labels| {
                    of_gates = prior.as_ref().and_then(|prior| network.prior_losses(labels.clone(), prior));
                    network.forward(input, labels, &condition, Some(masks))
                },
            );
            let losses = Losses::from(losses);
            Ok(match of_gates {
                Some(of_gates) => losses.plus("loss/prior", of_gates),
                None => losses,
            })
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
        let denoiser = NetworkDenoiser { network, parameterization: self.config.process() };
        Box::new(DenoisingInference { method: self, denoiser })
    }
}

/// A trained denoiser in use.
struct DenoisingInference<'a> {
    method: &'a DenoisingMethod,
    denoiser: NetworkDenoiser,
}

impl Inference for DenoisingInference<'_> {
    /// `validation/loss`, the mean over uniform times, and `validation/loss_t<k>` in ten bins of time.
    fn validate(&self, batch: &Batch) -> Result<Tally, MethodError> {
        let DenoisingMethod { config, conditioner, seed, device, .. } = self.method;
        let device = device.clone().inner();
        let key = Key::new(*seed, Stream::VALIDATION);
        let (from, to) = config.path.time_range();
        // The k-th image has a time in bin k mod 10.
        let bin = |i: usize| (batch.first_image + i as u64) % BINS;
        let points: Vec<PathPoint> = (0..batch.len())
            .map(|i| {
                let within = key.at(batch.first_image + i as u64).uniform(0);
                config.path.at(from + (to - from) * (bin(i) as f64 + within) / BINS as f64)
            })
            .collect();
        let condition = batch::condition(batch, conditioner, 0.0, *seed, &device)?;
        let noise = batch::noise(batch, *seed, Stream::VALIDATION_NOISE, &device);
        let losses = config.losses(batch::images(batch, &device), noise, &points, |input, labels| {
            self.denoiser.network.predict(input, labels, &condition)
        });
        let mut tally = Tally::new();
        for (i, loss) in losses.cast(DType::F32).into_data().iter::<f32>().enumerate() {
            tally.add("validation/loss", f64::from(loss));
            tally.add(&format!("validation/loss_t{}", bin(i)), f64::from(loss));
        }
        Ok(tally)
    }

    fn denoiser(&self) -> Option<&dyn Denoiser> {
        Some(&self.denoiser)
    }

    /// Where there are experts, which of them each time takes: times from left to right, the experts of one block below
    /// each other, the first block at the top; dark where they are taken.
    fn maps(&self) -> Vec<Map> {
        let usage = self.denoiser.network.usage();
        expert_usage(&usage.into_iter().map(Tensor::transpose).collect::<Vec<_>>()).into_iter().collect()
    }
}

/// The picture of `[experts, tasks]` ones and zeros of each block.
fn expert_usage(blocks: &[Tensor<2>]) -> Option<Map> {
    /// Pixels of an expert's row, and between blocks.
    const ROW: usize = 8;
    const GAP: usize = 4;
    let width = blocks.first()?.dims()[1];
    let mut values = Vec::new();
    for (i, block) in blocks.iter().enumerate() {
        values.extend(std::iter::repeat_n(0.0, if i > 0 { GAP * width } else { 0 }));
        let chosen = (block.clone() * -2.0 + 1.0).into_data().iter::<f32>().collect::<Vec<f32>>();
        for row in chosen.chunks_exact(width) {
            values.extend(std::iter::repeat_n(row, ROW).flatten());
        }
    }
    Some(Map { name: "experts", size: [values.len() / width, width], values })
}
