//! Distribution matching distillation: a generator of few steps whose images a frozen teacher's score and the score of a
//! second network, kept trained on those very images, cannot tell apart.
//!
//! DMD (Yin et al. 2024, CVPR) stays near stored pairs of the teacher's ODE; DMD2 (Yin et al. 2024, NeurIPS) has no
//! pairs, updates the second network several times for each update of the generator, adds a discriminator on its
//! features, and trains generators of several steps on states that they themselves lead to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_data::Batch;
use sinter_models::{Condition, DataShape, ModelConfig, Network};
use sinter_optimization::{OptimizerConfig, Part, Tensors, Trainable, global_norm};
use sinter_process::random::{Key, Stream};
use sinter_process::{Parameterization, PathPoint, TimeLaw, Weight};
use sinter_sampling::{Conditioner, Denoiser, Guidance, NetworkDenoiser, data_at_each, per_image};
use sinter_solvers::{End, Grid, Level};

use super::pairs::{PairBatch, Pairs, PairsConfig};
use crate::adversarial::{Heads, HeadsConfig, discriminator_loss, generator_loss};
use crate::distance::Distance;
use crate::step::{self, Losses};
use crate::{Clock, Denoising, Inference, Method, MethodError, Objective, Setup, Tally, Teacher, Weights, batch};

/// Names of the parts.
const GENERATOR: &str = "model";
const FAKE_SCORE: &str = "fake_score";
const DISCRIMINATOR: &str = "discriminator";

/// The `[objective]` section of type `dmd`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dmd {
    /// The run whose score is matched and that generator and second network start from.
    pub teacher: PathBuf,
    /// How the networks are fed and read; the teacher's.
    pub process: Parameterization,
    /// How strongly the teacher follows conditions.
    #[serde(default)]
    pub guidance: Guidance,
    /// Where the generator's steps begin, from noise; the same as in `sample.sampler`.
    pub grid: Grid,
    /// How many steps the generator has.
    #[serde(default = "one")]
    pub steps: usize,
    /// Distribution of the times at which scores are compared.
    #[serde(default)]
    pub time: TimeLaw,
    /// The share of the path's times in which they are compared, `[from, to]`.
    #[serde(default = "inner_times")]
    pub interval: [f64; 2],
    /// Weight of the difference between the scores.
    #[serde(default)]
    pub weight: DifferenceWeight,
    /// How the second network is trained.
    #[serde(default)]
    pub fake_score: FakeScore,
    /// A discriminator on the second network's features; none: scores alone.
    #[serde(default)]
    pub adversarial: Option<Adversarial>,
    /// The distance to stored pairs of the teacher's; none in DMD2.
    #[serde(default)]
    pub regression: Option<Regression>,
}

fn one() -> usize {
    1
}
fn inner_times() -> [f64; 2] {
    [0.02, 0.98]
}

/// The weight of the difference `D_fake - D_teacher` between predictions of clean data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceWeight {
    /// `1 / mean |x - D_teacher|` of each image (DMD, eq. 8).
    #[default]
    MeanAbsolute,
    /// 1 on the scores of noisy images, `alpha / sigma^2` (the plain Kullback-Leibler divergence).
    Score,
    /// 1.
    Uniform,
}

/// How the second network follows the generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FakeScore {
    /// Its updates for each update of the generator (DMD2, section 4.1).
    pub updates: u64,
    /// Weight of its denoising loss.
    pub weight: Weight,
    /// Distribution of its times.
    pub time: TimeLaw,
    /// How it is updated; as the generator unless told otherwise.
    pub optimizer: Option<OptimizerConfig>,
}

impl Default for FakeScore {
    fn default() -> Self {
        Self { updates: 5, weight: Weight::Uniform, time: TimeLaw::default(), optimizer: None }
    }
}

/// A discriminator on noisy images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Adversarial {
    /// Weight in the generator's loss.
    pub generator: f64,
    /// Weight in the second network's loss, whose features it shapes.
    pub discriminator: f64,
    /// Its heads.
    pub heads: HeadsConfig,
}

impl Default for Adversarial {
    fn default() -> Self {
        Self { generator: 3e-3, discriminator: 1e-2, heads: HeadsConfig::default() }
    }
}

/// The distance between the generator's images and the teacher's of the same noise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Regression {
    /// Weight in the generator's loss.
    pub weight: f64,
    /// The pairs.
    pub pairs: PairsConfig,
    /// How the images are compared.
    #[serde(default)]
    pub distance: Distance,
}

impl Objective for Dmd {
    fn validate(&self, model: &ModelConfig, _: &DataShape) -> Problems {
        let mut problems = Problems::new();
        problems.nest("process", self.process.validate());
        problems.nest("guidance", self.guidance.validate());
        problems.nest("grid", self.levels().err().unwrap_or_default());
        problems.nest("time", self.time.validate());
        let [from, to] = self.interval;
        problems.check(0.0 < from && from < to && to <= 1.0, "interval", "must be [from, to] in (0, 1]");
        problems.check(self.fake_score.updates > 0, "fake_score.updates", "must be at least 1");
        problems.nest("fake_score.weight", self.fake_score.weight.validate());
        problems.nest("fake_score.time", self.fake_score.time.validate());
        if let Some(optimizer) = &self.fake_score.optimizer {
            problems.nest("fake_score.optimizer", optimizer.validate());
        }
        let weight = |value: f64| value >= 0.0 && value.is_finite();
        if let Some(adversarial) = &self.adversarial {
            problems.check(weight(adversarial.generator), "adversarial.generator", "must be finite and not negative");
            problems.check(
                weight(adversarial.discriminator),
                "adversarial.discriminator",
                "must be finite and not negative",
            );
            problems.check(adversarial.heads.hidden > 0, "adversarial.heads.hidden", "must be at least 1");
        }
        if let Some(regression) = &self.regression {
            problems.check(weight(regression.weight), "regression.weight", "must be finite and not negative");
            problems.nest("regression.pairs", regression.pairs.validate());
            problems.nest("regression.distance", regression.distance.validate());
        }
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
        let refused = |problems: Problems| MethodError::Setup(format!("objective.grid: {problems}"));
        let levels = self.levels().map_err(refused)?;
        let teacher = Teacher::open(setup, "teacher", &self.teacher, self.guidance)?;
        let pairs = match &self.regression {
            Some(regression) => Pairs::open(setup, &self.teacher, &regression.pairs)?,
            None => None,
        };
        let generator = setup.student(&device, teacher.as_ref(), &self.process)?;
        let fake = setup.student(&device, teacher.as_ref(), &self.process)?;
        let optimizer = self.fake_score.optimizer.as_ref().unwrap_or(setup.optimizer);
        let heads = match &self.adversarial {
            Some(adversarial) => {
                let heads = Heads::new(&adversarial.heads, &fake, setup.conditioner.shape(), &device, setup.seed ^ 1)?;
                Some(Trainable::new(DISCRIMINATOR, heads, optimizer.clone()))
            }
            None => None,
        };
        Ok(Box::new(DmdMethod {
            config: self.clone(),
            levels,
            conditioner: setup.conditioner.clone(),
            seed: setup.seed,
            generator: Trainable::new(GENERATOR, generator, setup.optimizer.clone()),
            fake: Trainable::new(FAKE_SCORE, fake, optimizer.clone()),
            heads,
            teacher,
            pairs,
            device,
        }))
    }
}

impl Dmd {
    /// The levels at which the generator's steps begin, from noise.
    fn levels(&self) -> Result<Vec<Level>, Problems> {
        let points = self.grid.points(&self.process.path, self.steps, End::Data)?;
        Ok(points[..self.steps].iter().map(Level::from).collect())
    }

    /// The gradient by clean images `x`, `[b, c, h, w]`, of the divergence between what the teacher and what the second
    /// network expect of them (`data`), noised to `points`: zero where the two agree.
    pub fn gradient(&self, x: &Tensor<4>, teachers: Tensor<4>, fakes: Tensor<4>, points: &[PathPoint]) -> Tensor<4> {
        let difference = fakes - teachers.clone();
        match self.weight {
            DifferenceWeight::Uniform => difference,
            DifferenceWeight::Score => {
                let weights: Vec<f64> = points.iter().map(|p| (p.alpha / p.sigma).powi(2)).collect();
                difference * per_image(&weights, x)
            }
            DifferenceWeight::MeanAbsolute => {
                let [b, c, h, w] = x.dims();
                let distance = (x.clone() - teachers).abs().reshape([b, c * h * w]).mean_dim(1).reshape([b, 1, 1, 1]);
                difference / (distance + 1e-6)
            }
        }
    }
}

/// The loss whose gradient by `x` is `gradient` over the elements of an image, `[b]`: `mean (x - sg(x - g))^2 / 2`.
pub fn surrogate(x: Tensor<4>, gradient: Tensor<4>) -> Tensor<1> {
    let target = (x.clone() - gradient).detach();
    (x - target).square().flatten::<2>(1, 3).mean_dim(1).squeeze_dim::<1>(1) / 2.0
}

/// The method: the generator, the second network with its heads, and the teacher.
struct DmdMethod {
    config: Dmd,
    levels: Vec<Level>,
    conditioner: Conditioner,
    seed: u64,
    device: Device,
    generator: Trainable<Network>,
    fake: Trainable<Network>,
    heads: Option<Trainable<Heads>>,
    /// None where the model is only used.
    teacher: Option<Teacher>,
    pairs: Option<Pairs>,
}

/// Where the generator is asked in one update.
struct Question {
    /// Its input, `[b, c, h, w]`, without gradients.
    state: Tensor<4>,
    /// The level of the input.
    level: Level,
}

impl DmdMethod {
    /// The denoiser that the generator is, without gradients.
    fn denoiser(&self) -> NetworkDenoiser {
        NetworkDenoiser { network: self.generator.trained(None), parameterization: self.config.process.clone() }
    }

    /// Backward simulation (DMD2, section 4.5): the generator's own steps, as in sampling, to the level at which it is
    /// trained in this update, which all images share.
    fn question(&self, whole: &Batch) -> Result<Question, MethodError> {
        let device = self.device.clone().inner();
        let condition = batch::condition(whole, &self.conditioner, 0.0, self.seed, &device)?;
        let drawn = Key::new(self.seed, Stream::GENERATOR_STEP).at(whole.first_image).uniform(0);
        let step = ((drawn * self.levels.len() as f64) as usize).min(self.levels.len() - 1);
        let noise = |number: usize| batch::noise(whole, self.seed, Stream::GENERATOR_NOISE.nth(number as u32), &device);
        let generator = self.denoiser();
        let mut state = noise(0).mul_scalar(self.levels[0].sigma);
        for number in 0..step {
            let (from, to) = (self.levels[number], self.levels[number + 1]);
            let image = generator.data(state, from.alpha, from.sigma, &condition);
            state = image.mul_scalar(to.alpha) + noise(number + 1).mul_scalar(to.sigma);
        }
        Ok(Question { state, level: self.levels[step] })
    }

    /// Times at which scores are compared.
    fn compared(&self, whole: &Batch) -> Vec<PathPoint> {
        let path = &self.config.process.path;
        let key = Key::new(self.seed, Stream::TIME);
        let times = self.config.time.times(path, &key, whole.first_image, whole.len());
        let (first, last) = path.time_range();
        let [from, to] = self.config.interval;
        let inside = |t: f64| first + (last - first) * (from + (to - from) * (t - first) / (last - first));
        times.into_iter().map(|t| path.at(inside(t))).collect()
    }

    /// Times at which the discriminator looks.
    fn looked_at(&self, whole: &Batch, stream: Stream) -> Vec<PathPoint> {
        let path = &self.config.process.path;
        let uniform = TimeLaw::default();
        let times = uniform.times(path, &Key::new(self.seed, stream), whole.first_image, whole.len());
        times.into_iter().map(|t| path.at(t)).collect()
    }

    /// The logits of noisy images, `[b]`.
    fn logits(
        &self,
        heads: &Heads,
        network: &Network,
        images: Tensor<4>,
        noise: Tensor<4>,
        points: &[PathPoint],
        condition: &Condition,
    ) -> Tensor<1> {
        let state = noised(images, noise, points);
        let levels: Vec<Level> = points.iter().map(Level::from).collect();
        heads.logits(|| {
            data_at_each(&self.config.process, state, &levels, |input, labels| {
                network.forward(input, labels, condition, None)
            })
        })
    }

    /// The generator's gradients.
    fn generator_gradients(
        &self,
        whole: &Batch,
        clock: Clock,
        question: &Question,
        pairs: Option<&PairBatch>,
    ) -> Result<(Tally, Tensors), MethodError> {
        let untrained = || MethodError::Setup("opened without its teacher".into());
        let teacher = self.teacher.as_ref().ok_or_else(untrained)?;
        let Dmd { process, adversarial, regression, .. } = &self.config;
        let points = self.compared(whole);
        let seen = self.looked_at(whole, Stream::DISCRIMINATOR_TIME.nth(0));
        let fake = self.fake.trained(None);
        let device = &self.device;
        step::mean_gradients(self.generator.network(), whole, clock.micro_batch, device, |network, portion, range| {
            let inner = device.clone().inner();
            let condition = |device| batch::condition(portion, &self.conditioner, 0.0, self.seed, device);
            let (tracked, condition) = (condition(device)?, condition(&inner)?);
            let state = Tensor::from_inner(question.state.clone().narrow(0, range.start, range.len()));
            let image = data_at_each(process, state, &vec![question.level; range.len()], |input, labels| {
                network.forward(input, labels, &tracked, None)
            });
            let x = image.clone().inner();
            let points = &points[range.clone()];
            let state = noised(x.clone(), batch::noise(portion, self.seed, Stream::NOISE, &inner), points);
            let levels: Vec<Level> = points.iter().map(Level::from).collect();
            let teachers = teacher.data(state.clone(), &levels, &condition);
            let fakes = data_at_each(process, state, &levels, |input, labels| fake.predict(input, labels, &condition));
            let gradient = self.config.gradient(&x, teachers, fakes, points);
            let gradient = Tensor::from_inner(gradient);
            let mut losses = Losses::from(Tensor::zeros([range.len()], device));
            losses = losses.plus("loss/distribution_matching", surrogate(image.clone(), gradient));

            if let (Some(adversarial), Some(heads)) = (adversarial, &self.heads) {
                // Copies whose weights stand still: the gradient flows through them to the image.
                let heads = heads.network().clone().no_grad();
                let fake = self.fake.network().clone().no_grad();
                let noise = batch::noise(portion, self.seed, Stream::DISCRIMINATOR_NOISE.nth(0), device);
                let logits = self.logits(&heads, &fake, image, noise, &seen[range.clone()], &tracked);
                losses = losses.plus("loss/adversarial", generator_loss(logits) * adversarial.generator);
            }
            if let (Some(regression), Some(pairs)) = (regression, pairs) {
                let noise = pairs.noise(range.clone(), device);
                let start = self.levels[0];
                let asked = batch::condition(&pairs.images.slice(range.clone()), &self.conditioner, 0.0, 0, device)?;
                let state = noise.mul_scalar(start.sigma);
                let image = data_at_each(process, state, &vec![start; range.len()], |input, labels| {
                    network.forward(input, labels, &asked, None)
                });
                let teachers = batch::images(&pairs.images.slice(range), device);
                let distances = regression.distance.losses(image, teachers);
                losses = losses.plus("loss/regression", distances * regression.weight);
            }
            Ok(losses)
        })
    }

    /// The gradients of the second network and of its heads, on images `x` of the generator.
    fn fake_gradients(
        &self,
        whole: &Batch,
        clock: Clock,
        x: &Tensor<4>,
    ) -> Result<(Tally, Tensors, Tensors), MethodError> {
        let Dmd { process, fake_score, adversarial, .. } = &self.config;
        let denoising = Denoising {
            path: process.path.clone(),
            prediction: process.prediction,
            input_scale: process.input_scale,
            time_label: process.time_label,
            weight: fake_score.weight,
            time: fake_score.time,
            condition_dropout: 0.0,
        };
        let key = Key::new(self.seed, Stream::TIME.nth(0));
        let times = fake_score.time.times(&process.path, &key, whole.first_image, whole.len());
        let points: Vec<PathPoint> = times.into_iter().map(|t| process.path.at(t)).collect();
        let [of_data, of_generated] = [1, 2].map(|n| self.looked_at(whole, Stream::DISCRIMINATOR_TIME.nth(n)));
        let device = &self.device;
        let networks = Discriminating {
            network: self.fake.network().clone(),
            heads: self.heads.as_ref().map(|heads| heads.network().clone()),
        };
        let (tally, gradients) =
            step::mean_gradients(&networks, whole, clock.micro_batch, device, |networks, portion, range| {
                let Discriminating { network, heads } = networks;
                let condition = batch::condition(portion, &self.conditioner, 0.0, self.seed, device)?;
                let image = x.clone().narrow(0, range.start, range.len());
                let image: Tensor<4> = Tensor::from_inner(image);
                let noise = |stream| batch::noise(portion, self.seed, stream, device);
                let mut losses = Losses::from(Tensor::zeros([range.len()], device));
                let own = denoising.losses(
                    image.clone(),
                    noise(Stream::NOISE.nth(0)),
                    &points[range.clone()],
                    |input, labels| network.forward(input, labels, &condition, None),
                );
                losses = losses.plus("loss/fake_score", own);
                if let (Some(adversarial), Some(heads)) = (adversarial, heads) {
                    let logits = |images, number: u32, points: &[PathPoint]| {
                        let noise = noise(Stream::DISCRIMINATOR_NOISE.nth(number));
                        self.logits(heads, network, images, noise, &points[range.clone()], &condition)
                    };
                    let data = logits(batch::images(portion, device), 1, &of_data);
                    let generated = logits(image, 2, &of_generated);
                    let loss = discriminator_loss(data, generated);
                    losses = losses.plus("loss/discriminator", loss * adversarial.discriminator);
                }
                Ok(losses)
            })?;
        // One network for the gradients, two parts for the optimizers.
        let (mut of_network, mut of_heads) = (Tensors::new(), Tensors::new());
        for (name, gradient) in gradients {
            match (name.strip_prefix("network."), name.strip_prefix("heads.")) {
                (Some(name), _) => of_network.insert(name.to_owned(), gradient),
                (_, Some(name)) => of_heads.insert(name.to_owned(), gradient),
                _ => None,
            };
        }
        Ok((tally, of_network, of_heads))
    }
}

/// The second network with its heads.
#[derive(Module, Debug)]
struct Discriminating {
    network: Network,
    heads: Option<Heads>,
}

/// `alpha x + sigma eps` of each image at its own point, `[b, c, h, w]`.
fn noised(images: Tensor<4>, noise: Tensor<4>, points: &[PathPoint]) -> Tensor<4> {
    let column = |of: &dyn Fn(&PathPoint) -> f64| per_image(&points.iter().map(of).collect::<Vec<_>>(), &noise);
    images * column(&|p| p.alpha) + noise.clone() * column(&|p| p.sigma)
}

impl Method for DmdMethod {
    fn step(&mut self, whole: &Batch, clock: Clock) -> Result<Tally, MethodError> {
        let question = self.question(whole)?;
        let inner = self.device.clone().inner();
        let condition = batch::condition(whole, &self.conditioner, 0.0, self.seed, &inner)?;
        let x = self.denoiser().data(question.state.clone(), question.level.alpha, question.level.sigma, &condition);

        // Both gradients at the weights before either update: nothing is changed unless all of them are finite.
        let of_generator = if clock.step.is_multiple_of(self.config.fake_score.updates) {
            let pairs = match (&mut self.pairs, &self.config.regression) {
                (Some(pairs), Some(regression)) => {
                    Some(pairs.batch(whole.first_image, whole.len(), regression.pairs.images)?)
                }
                _ => None,
            };
            Some(self.generator_gradients(whole, clock, &question, pairs.as_ref())?)
        } else {
            None
        };
        let (of_fake, network, heads) = self.fake_gradients(whole, clock, &x)?;
        for gradients in [Some(&network), Some(&heads), of_generator.as_ref().map(|(_, gradients)| gradients)] {
            gradients.map(global_norm).transpose()?;
        }

        let mut tally = Tally::new();
        if let Some((losses, gradients)) = of_generator {
            tally.merge(&losses);
            let update = self.generator.update(gradients, clock.images)?;
            tally.add("gradient_norm", update.gradient_norm);
            tally.add("learning_rate", update.learning_rate);
        }
        for (name, mean) in of_fake.means() {
            if name.starts_with("loss/") {
                tally.add(&name, mean);
            }
        }
        let update = self.fake.update(network, clock.images)?;
        tally.add("gradient_norm/fake_score", update.gradient_norm);
        if let Some(part) = &mut self.heads {
            part.update(heads, clock.images)?;
        }
        // With too few updates of the second network it oscillates.
        tally.add("generated/mean", f64::from(x.mean().into_scalar::<f32>()));
        Ok(tally)
    }

    fn parts(&self) -> Vec<&dyn Part> {
        let mut parts: Vec<&dyn Part> = vec![&self.generator, &self.fake];
        parts.extend(self.heads.iter().map(|heads| heads as &dyn Part));
        parts
    }

    fn parts_mut(&mut self) -> Vec<&mut dyn Part> {
        let mut parts: Vec<&mut dyn Part> = vec![&mut self.generator, &mut self.fake];
        parts.extend(self.heads.iter_mut().map(|heads| heads as &mut dyn Part));
        parts
    }

    fn averaged(&self) -> Vec<&str> {
        vec![GENERATOR]
    }

    fn teachers(&self) -> BTreeMap<String, String> {
        self.teacher.iter().map(Teacher::identity).collect()
    }

    fn inference(&self, weights: Option<&Weights>) -> Box<dyn Inference + '_> {
        let network = self.generator.trained(weights.and_then(|weights| weights.get(GENERATOR)));
        let parameterization = self.config.process.clone();
        Box::new(DmdInference { denoiser: NetworkDenoiser { network, parameterization } })
    }
}

/// A trained generator in use.
struct DmdInference {
    denoiser: NetworkDenoiser,
}

impl Inference for DmdInference {
    /// Nothing: no loss of single images says how near two distributions are.
    fn validate(&self, _: &Batch) -> Result<Tally, MethodError> {
        Ok(Tally::new())
    }

    fn denoiser(&self) -> Option<&dyn Denoiser> {
        Some(&self.denoiser)
    }
}
