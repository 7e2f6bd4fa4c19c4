//! The method: a student, its target, and the teacher where there is one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_data::Batch;
use sinter_models::{DataShape, DropoutKey, ModelConfig, Network};
use sinter_optimization::{Part, Trainable};
use sinter_process::random::{Key, Stream};
use sinter_process::{Parameterization, Prediction};
use sinter_sampling::{Conditioner, Denoiser, Guidance, NetworkDenoiser};
use sinter_solvers::Level;

use super::{Agreement, Descent, PairWeight, Pairs, losses};
use crate::question::{Question, expected_data, states};
use crate::target::TargetNetwork;
use crate::{Clock, Distance, Inference, Method, MethodError, Objective, Setup, Tally, Teacher, Weights, batch, step};

/// Names of the parts.
const PART: &str = "model";
const TARGET: &str = "target";

/// The `[objective]` section of type `consistency`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consistency {
    /// The run that the student starts from and, in distillation, learns from.
    pub teacher: PathBuf,
    /// How the network is fed and read; the teacher's.
    pub process: Parameterization,
    /// Which two levels of noise an image is shown at.
    pub pairs: Pairs,
    /// How the state of the lower level is found.
    #[serde(default)]
    pub descent: Descent,
    /// How strongly the teacher follows conditions.
    #[serde(default)]
    pub guidance: Guidance,
    /// How the two answers are compared.
    #[serde(default)]
    pub distance: Distance,
    /// The weight of a pair.
    #[serde(default)]
    pub weight: PairWeight,
    /// Whose answer at the lower level is the student's goal.
    #[serde(default)]
    pub target: Target,
    /// The weights that the student begins with.
    #[serde(default)]
    pub start: Start,
    /// The level of noise at which the student gives its state back, by moved coefficients; only for teachers that predict
    /// EDM's F. Not given: no noise, as every teacher's reading has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<f64>,
    /// Probability that an image is trained without its condition, for classifier-free guidance of the student.
    #[serde(default)]
    pub condition_dropout: f64,
}

/// Whose answer at the lower level is the student's goal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// The student's own, without gradients.
    #[default]
    Student,
    /// That of an average of its weights, which is part of the run.
    Average {
        /// Half-life of the average in images, above 0. Where the number of levels grows, it grows with their intervals
        /// (consistency training's `mu(k)`: a decay of mu0^(s0 / N) an update).
        half_life: f64,
    },
}

/// The weights that a student begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The teacher's.
    #[default]
    Teacher,
    /// Fresh ones, drawn from the run's seed.
    Fresh,
}

impl Objective for Consistency {
    fn validate(&self, model: &ModelConfig, shape: &DataShape) -> Problems {
        let mut problems = Problems::new();
        problems.nest("process", self.process.validate());
        problems.nest("pairs", self.pairs.validate());
        if let Pairs::Grid(grid) = &self.pairs {
            let noisiest = self.process.path.at(self.process.time_range().1).rho();
            let message = format!("the network's noise ends at {noisiest:.4}: set it no higher");
            problems.check(grid.sigma_max <= noisiest * (1.0 + 1e-9), "pairs.sigma_max", message);
        }
        problems.nest("guidance", self.guidance.validate());
        problems.nest("distance", self.distance.validate());
        if let Target::Average { half_life } = self.target {
            problems.check(half_life > 0.0 && half_life.is_finite(), "target.half_life", "must be finite and above 0");
        }
        problems.check((0.0..=1.0).contains(&self.condition_dropout), "condition_dropout", "must be in [0, 1]");
        let asks = self.condition_dropout > 0.0 || self.guidance.scale != 1.0;
        if asks && shape.has_classes() && !model.has_null_class() {
            problems.push(
                "guidance",
                "this model has no class for \"any\": leave `guidance` out and `condition_dropout` at 0",
            );
        }
        match (self.process.prediction, self.boundary) {
            (Prediction::Data, _) => problems.push(
                "process.prediction",
                "a network that predicts the data does not give its state back where there is no noise, as a consistency \
                 model must: choose a teacher that predicts epsilon, v, velocity or F",
            ),
            (Prediction::EdmF { .. }, Some(level)) => {
                problems.check(level >= 0.0 && level.is_finite(), "boundary", "must be finite and at least 0");
            }
            (_, Some(_)) => problems.push("boundary", "only for a teacher that predicts EDM's F: leave it out"),
            (_, None) => {}
        }
        if matches!(model, ModelConfig::Classifier(_)) {
            problems.push("type", "a classifier does not map noise to images: give `[model]` another type");
        }
        problems
    }

    fn parameterization(&self) -> Option<Parameterization> {
        Some(self.student())
    }

    fn build(&self, setup: &Setup) -> Result<Box<dyn Method>, MethodError> {
        let device = setup.device.clone().autodiff();
        let learns = self.descent.asks_teacher() || self.start == Start::Teacher;
        let teacher = match learns {
            true => Teacher::open(setup, "teacher", &self.teacher, self.guidance)?,
            false => None,
        };
        let network = match self.start {
            Start::Teacher => setup.student(&device, teacher.as_ref(), &self.process)?,
            Start::Fresh => setup.network(&device)?,
        };
        let target = matches!(self.target, Target::Average { .. }).then(|| TargetNetwork::new(TARGET, &network));
        Ok(Box::new(ConsistencyMethod {
            config: self.clone(),
            student: self.student(),
            conditioner: setup.conditioner.clone(),
            seed: setup.seed,
            model: Trainable::new(PART, network, setup.optimizer.clone()),
            target,
            teacher,
            images: 0,
            device,
        }))
    }
}

impl Consistency {
    /// How the student's network is fed and read: as the teacher's, but for the boundary.
    pub fn student(&self) -> Parameterization {
        let prediction = match (self.process.prediction, self.boundary) {
            (Prediction::EdmF { sigma_data }, Some(sigma_min)) => Prediction::ConsistencyF { sigma_data, sigma_min },
            (prediction, _) => prediction,
        };
        Parameterization { prediction, ..self.process.clone() }
    }
}

struct ConsistencyMethod {
    config: Consistency,
    /// How the student's network is fed and read.
    student: Parameterization,
    conditioner: Conditioner,
    seed: u64,
    device: Device,
    model: Trainable<Network>,
    /// Where the target is not the student itself.
    target: Option<TargetNetwork>,
    /// None where no teacher is asked, or the model is only used.
    teacher: Option<Teacher>,
    /// Training images seen, which decides the levels of held-out losses.
    images: u64,
}

impl ConsistencyMethod {
    /// What is asked of each image of a batch when so many `images` have been seen.
    fn agreements(&self, images: u64, stream: Stream, first: u64, count: usize) -> Vec<Agreement> {
        let key = Key::new(self.seed, stream);
        let pairs = self.config.pairs.pairs(&self.student.path, images, &key, first, count);
        pairs.iter().map(|pair| Agreement::of(&self.student, pair, self.config.weight)).collect()
    }

    /// The losses of a portion of a batch, `[b]`, for a student with gradients.
    fn losses(&self, network: &Network, portion: &Batch, agreements: &[Agreement]) -> Result<Tensor<1>, MethodError> {
        let Self { config, conditioner, seed, device, teacher, .. } = self;
        let inner = device.clone().inner();
        let condition =
            |device: &Device| batch::condition(portion, conditioner, config.condition_dropout, *seed, device);
        let (tracked, still) = (condition(device)?, condition(&inner)?);
        let (above, below) = questions(agreements);
        let data = batch::images(portion, &inner);
        let noise = batch::noise(portion, *seed, Stream::NOISE, &inner);
        let upper = states(&above, data.clone(), noise.clone());
        let lower = match (config.descent, teacher) {
            (Descent::SameNoise, _) => states(&below, data, noise),
            (descent, Some(teacher)) => descent.step(upper.clone(), &above, &below, |x, questions| {
                let levels: Vec<Level> = questions.iter().map(|q| Level { alpha: q.alpha, sigma: q.sigma }).collect();
                teacher.data(x, &levels, &still)
            }),
            (_, None) => return Err(MethodError::Setup("opened without its teacher".into())),
        };
        // The same masks in both branches: else the target is noise of the size of dropout.
        let masks = Some(DropoutKey { seed: *seed, first_image: portion.first_image });
        let own = self.target.is_none().then(|| network.valid());
        let target = self.target.as_ref().map(TargetNetwork::network).or(own.as_ref());
        let goal = match target {
            Some(target) => expected_data(&below, lower, |input, labels| target.forward(input, labels, &still, masks)),
            None => lower,
        };
        let (upper, goal) = (Tensor::from_inner(upper), Tensor::from_inner(goal));
        Ok(losses(config.distance, agreements, upper, goal, |input, labels| {
            network.forward(input, labels, &tracked, masks)
        }))
    }
}

/// Above and below.
fn questions(agreements: &[Agreement]) -> (Vec<Question>, Vec<Question>) {
    agreements.iter().map(|agreement| (agreement.above, agreement.below)).unzip()
}

impl Method for ConsistencyMethod {
    fn step(&mut self, whole: &Batch, clock: Clock) -> Result<Tally, MethodError> {
        let agreements = self.agreements(clock.images, Stream::TIME, whole.first_image, whole.len());
        let of_portion =
            |network: &Network, portion: &Batch, range: Range<usize>| self.losses(network, portion, &agreements[range]);
        let network = self.model.network();
        let (mut tally, gradients) = step::mean_gradients(network, whole, clock.micro_batch, &self.device, of_portion)?;
        let update = self.model.update(gradients, clock.images)?;
        tally.add("gradient_norm", update.gradient_norm);
        tally.add("learning_rate", update.learning_rate);
        let growth = self.config.pairs.growth(clock.images);
        if let (Some(target), Target::Average { half_life }) = (&mut self.target, self.config.target) {
            let decay = 0.5f64.powf(whole.len() as f64 / (half_life * growth));
            target.follow(self.model.tensors(), decay);
            tally.add("target_decay", decay);
        }
        match &self.config.pairs {
            Pairs::Grid(grid) => tally.add("levels", grid.levels.intervals(clock.images) as f64 + 1.0),
            Pairs::Shrinking(shrinking) => tally.add("stage", shrinking.stage(clock.images) as f64),
        }
        self.images = clock.images;
        Ok(tally)
    }

    fn parts(&self) -> Vec<&dyn Part> {
        let mut parts: Vec<&dyn Part> = vec![&self.model];
        parts.extend(self.target.iter().map(|target| target as &dyn Part));
        parts
    }

    fn parts_mut(&mut self) -> Vec<&mut dyn Part> {
        let mut parts: Vec<&mut dyn Part> = vec![&mut self.model];
        parts.extend(self.target.iter_mut().map(|target| target as &mut dyn Part));
        parts
    }

    fn averaged(&self) -> Vec<&str> {
        vec![PART]
    }

    fn teachers(&self) -> BTreeMap<String, String> {
        self.teacher.iter().map(Teacher::identity).collect()
    }

    fn inference(&self, weights: Option<&Weights>) -> Box<dyn Inference + '_> {
        let network = self.model.trained(weights.and_then(|weights| weights.get(PART)));
        let denoiser = NetworkDenoiser { network, parameterization: self.student.clone() };
        Box::new(ConsistencyInference { method: self, denoiser })
    }
}

/// A trained student in use.
struct ConsistencyInference<'a> {
    method: &'a ConsistencyMethod,
    denoiser: NetworkDenoiser,
}

impl Inference for ConsistencyInference<'_> {
    /// `validation/loss`: how far the model is from agreeing with itself at the levels that training is at, on states of
    /// the same data and noise.
    fn validate(&self, batch: &Batch) -> Result<Tally, MethodError> {
        let ConsistencyMethod { config, conditioner, seed, device, images, .. } = self.method;
        let device = device.clone().inner();
        let agreements = self.method.agreements(*images, Stream::VALIDATION, batch.first_image, batch.len());
        let condition = batch::condition(batch, conditioner, 0.0, *seed, &device)?;
        let data = batch::images(batch, &device);
        let noise = batch::noise(batch, *seed, Stream::VALIDATION_NOISE, &device);
        let network = |input: Tensor<4>, labels: Tensor<1>| self.denoiser.network.predict(input, labels, &condition);
        let (above, below) = questions(&agreements);
        let goal = expected_data(&below, states(&below, data.clone(), noise.clone()), network);
        let losses = losses(config.distance, &agreements, states(&above, data, noise), goal, network);
        let mut tally = Tally::new();
        tally.add_weighted("validation/loss", f64::from(losses.sum().into_scalar::<f32>()), batch.len() as f64);
        Ok(tally)
    }

    fn denoiser(&self) -> Option<&dyn Denoiser> {
        Some(&self.denoiser)
    }
}
