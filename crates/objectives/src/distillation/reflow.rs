//! Reflow: flow matching on a teacher's own pairs of noise and image, and one-step distillation on the same pairs.
//!
//! Rectified flow (Liu et al. 2023), InstaFlow's distillation (Liu et al. 2024), and the times and the metric of Lee et
//! al. 2024 (rectified flow++), which also begins with a network that was no flow: whatever the student predicts, the
//! loss is that of the straight line's velocity `u = eps - x0`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_data::Batch;
use sinter_models::{DataShape, DropoutKey, ModelConfig, Network};
use sinter_optimization::{Part, Trainable};
use sinter_process::random::{Key, Stream};
use sinter_process::{Parameterization, Path, PathPoint, TimeLaw};
use sinter_sampling::{Conditioner, Denoiser, NetworkDenoiser, per_image, values};

use super::pairs::{PairBatch, Pairs, PairsConfig};
use crate::distance::Distance;
use crate::{Clock, Inference, Method, MethodError, Objective, Setup, Tally, Weights, batch, step};

/// Name of the one part.
const PART: &str = "model";

/// How near to either end of the line times come: at its very ends a path other than the line has no level of equal
/// lambda.
const MARGIN: f64 = 1e-5;

/// The `[objective]` section of type `reflow`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reflow {
    /// The run that makes the pairs and that the student starts from.
    pub teacher: PathBuf,
    /// How the network is fed and read; the teacher's.
    pub process: Parameterization,
    /// The pairs.
    pub pairs: PairsConfig,
    /// Which times of the line are trained.
    #[serde(default)]
    pub stage: Stage,
    /// Distribution of times along the line, for the stage `reflow`.
    #[serde(default)]
    pub time: TimeLaw,
    /// How the velocity is compared with the line's; another than `l2` is right because pairs are deterministic.
    #[serde(default)]
    pub distance: Distance,
}

/// What is trained on pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The whole line, for few steps.
    #[default]
    Reflow,
    /// Its noisy end alone, for one step.
    Distillation,
}

impl Objective for Reflow {
    fn validate(&self, model: &ModelConfig, _: &DataShape) -> Problems {
        let mut problems = Problems::new();
        problems.nest("process", self.process.validate());
        problems.nest("pairs", self.pairs.validate());
        problems.nest("time", self.time.validate());
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
        let pairs = Pairs::open(setup, &self.teacher, &self.pairs)?;
        let network = setup.student(&device, pairs.as_ref().map(Pairs::teacher), &self.process)?;
        Ok(Box::new(ReflowMethod {
            config: self.clone(),
            conditioner: setup.conditioner.clone(),
            seed: setup.seed,
            model: Trainable::new(PART, network, setup.optimizer.clone()),
            teachers: pairs.as_ref().map(|pairs| pairs.teacher().identity()).into_iter().collect(),
            pairs: pairs.map(Mutex::new),
            device,
        }))
    }
}

impl Reflow {
    /// The point of the student's path that is level with the time `t` of the line.
    fn point(&self, t: f64) -> PathPoint {
        let t = t.clamp(MARGIN, 1.0 - MARGIN);
        let path = &self.process.path;
        match path {
            Path::LinearFlow => path.at(t),
            _ => path.at(path.time_of_lambda(Path::LinearFlow.at(t).lambda())),
        }
    }

    /// The loss of each image, `[b]`: of the velocity along the line from `data` to `noise`, `[b, c, h, w]`, at points of
    /// the student's path.
    ///
    /// `network` maps (scaled input `[b, c, h, w]`, time labels `[b]`) to its output.
    pub fn losses(
        &self,
        data: Tensor<4>,
        noise: Tensor<4>,
        points: &[PathPoint],
        network: impl FnOnce(Tensor<4>, Tensor<1>) -> Tensor<4>,
    ) -> Tensor<1> {
        let Parameterization { path, prediction, input_scale, time_label } = &self.process;
        let column = |of: &dyn Fn(&PathPoint) -> f64| -> Tensor<4> {
            per_image(&points.iter().map(of).collect::<Vec<_>>(), &data) // [b, 1, 1, 1]
        };
        let labels: Vec<f64> = points.iter().map(|point| time_label.label(path, point)).collect();
        let state = data.clone() * column(&|p| p.alpha) + noise.clone() * column(&|p| p.sigma);
        let input = state * column(&|p| input_scale.scale(p));
        let output = network(input, values(&labels, &data.device(), data.dtype()));
        let output = output.narrow(1, 0, data.dims()[1]); // [b, c, h, w]
        let target =
            data.clone() * column(&|p| prediction.target(p).data) + noise * column(&|p| prediction.target(p).noise);
        // At a given state the velocity u = (x - x0) / t of the line errs as the data do, over t = sigma / (alpha + sigma).
        let to_velocity = |p: &PathPoint| prediction.data_from(p).prediction.abs() * (p.alpha + p.sigma) / p.sigma;
        self.distance.losses(output * column(&to_velocity), target * column(&to_velocity))
    }
}

/// The method: one network, one optimizer, the pairs.
struct ReflowMethod {
    config: Reflow,
    conditioner: Conditioner,
    seed: u64,
    device: Device,
    model: Trainable<Network>,
    teachers: BTreeMap<String, String>,
    /// None where the model is only used. Behind a lock because what validation asks for may have to be made.
    pairs: Option<Mutex<Pairs>>,
}

impl ReflowMethod {
    /// Pairs from `first` on, `total` of them in turn.
    fn pairs(&self, first: u64, count: usize, total: u64) -> Result<PairBatch, MethodError> {
        let pairs = self.pairs.as_ref().ok_or_else(|| MethodError::Setup("opened without its teacher".into()))?;
        pairs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).batch(first, count, total)
    }

    fn points(&self, stream: Stream, first: u64, count: usize) -> Vec<PathPoint> {
        let times = match self.config.stage {
            Stage::Reflow => self.config.time.times(&Path::LinearFlow, &Key::new(self.seed, stream), first, count),
            Stage::Distillation => vec![1.0; count],
        };
        times.into_iter().map(|t| self.config.point(t)).collect()
    }
}

impl Method for ReflowMethod {
    fn step(&mut self, whole: &Batch, clock: Clock) -> Result<Tally, MethodError> {
        let pairs = self.pairs(whole.first_image, whole.len(), self.config.pairs.images)?;
        let points = self.points(Stream::TIME, whole.first_image, whole.len());
        let Self { config, conditioner, seed, device, model, .. } = self;
        step::one_network(model, &pairs.images, clock, device, |network, portion, range| {
            let condition = batch::condition(portion, conditioner, 0.0, *seed, device)?;
            let masks = DropoutKey { seed: *seed, first_image: portion.first_image };
            let (data, noise) = (batch::images(portion, device), pairs.noise(range.clone(), device));
            Ok(config.losses(data, noise, &points[range], |input, labels| {
                network.forward(input, labels, &condition, Some(masks))
            }))
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
        self.teachers.clone()
    }

    fn inference(&self, weights: Option<&Weights>) -> Box<dyn Inference + '_> {
        let network = self.model.trained(weights.and_then(|weights| weights.get(PART)));
        let denoiser = NetworkDenoiser { network, parameterization: self.config.process.clone() };
        Box::new(ReflowInference { method: self, denoiser })
    }
}

/// A trained student in use.
struct ReflowInference<'a> {
    method: &'a ReflowMethod,
    denoiser: NetworkDenoiser,
}

impl Inference for ReflowInference<'_> {
    /// `validation/loss`: on pairs that are not trained, those after the last one of training.
    fn validate(&self, batch: &Batch) -> Result<Tally, MethodError> {
        let ReflowMethod { config, conditioner, seed, device, pairs, .. } = self.method;
        let mut tally = Tally::new();
        if pairs.is_none() {
            return Ok(tally);
        }
        let device = device.clone().inner();
        let pairs = self.method.pairs(config.pairs.images + batch.first_image, batch.len(), u64::MAX)?;
        let points = self.method.points(Stream::VALIDATION, batch.first_image, batch.len());
        let condition = batch::condition(&pairs.images, conditioner, 0.0, *seed, &device)?;
        let (data, noise) = (batch::images(&pairs.images, &device), pairs.noise(0..batch.len(), &device));
        let losses = config
            .losses(data, noise, &points, |input, labels| self.denoiser.network.predict(input, labels, &condition));
        tally.add_weighted("validation/loss", f64::from(losses.sum().into_scalar::<f32>()), batch.len() as f64);
        Ok(tally)
    }

    fn denoiser(&self) -> Option<&dyn Denoiser> {
        Some(&self.denoiser)
    }
}
