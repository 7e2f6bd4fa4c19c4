//! The method: a student, its weight over time, and the teacher where there is one.

use std::collections::BTreeMap;
use std::f64::consts::FRAC_PI_2;
use std::ops::Range;
use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_data::Batch;
use sinter_models::{Condition, DataShape, DropoutKey, Dual, ModelConfig, Network};
use sinter_optimization::{AdamW, Algorithm, OptimizerConfig, Part, Tensors, Trainable, global_norm};
use sinter_process::random::{Key, Stream};
use sinter_process::{Parameterization, PathPoint, TimeDistribution, TimeLabel, TimeLaw, TrigFlow, Wrapped};
use sinter_sampling::{Conditioner, Denoiser, Guidance, NetworkDenoiser, per_image, values};
use sinter_solvers::Level;

use super::derivative::{difference, difference_step, frequency, output, points};
use super::{LARGEST_FREQUENCY, Tangent, TimeWeight};
use crate::consistency::Start;
use crate::step::{self, Losses};
use crate::{Clock, Inference, Method, MethodError, Objective, Setup, Tally, Teacher, Weights, batch};

/// Names of the parts.
const PART: &str = "model";
const WEIGHT: &str = "weight";

/// How near to either end of the circle angles come, in radians.
const MARGIN: f64 = 1e-3;

/// The `[objective]` section of type `scm`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scm {
    /// The run that the student starts from and, in distillation, learns from.
    pub teacher: PathBuf,
    /// How the network is fed and read; the teacher's.
    pub process: Parameterization,
    /// Whose velocity states move with.
    #[serde(default)]
    pub velocity: Velocity,
    /// How strongly the teacher follows conditions.
    #[serde(default)]
    pub guidance: Guidance,
    /// Standard deviation of the data: it sets the angle of each level of noise, `tan(theta) = sigma / (alpha sigma_data)`.
    #[serde(default = "half")]
    pub sigma_data: f64,
    /// Distribution of training times.
    #[serde(default = "published_time")]
    pub time: TimeLaw,
    /// How the student's derivative along the flow is found.
    #[serde(default)]
    pub derivative: Derivative,
    /// What is made of a tangent's size.
    #[serde(default)]
    pub normalization: Normalization,
    /// Training images over which the part of the tangent that holds the derivative comes in; 0 for none.
    #[serde(default)]
    pub warmup: u64,
    /// Weight of the loss over time.
    #[serde(default)]
    pub weighting: Weighting,
    /// Whether the loss also has the weight `1 / (sigma_data tan(theta))`, as in public code; the paper has it inside
    /// the tangent.
    #[serde(default)]
    pub prior_weight: bool,
    /// The weights that the student begins with.
    #[serde(default)]
    pub start: Start,
    /// Probability that an image is trained without its condition, for classifier-free guidance of the student.
    #[serde(default)]
    pub condition_dropout: f64,
}

fn half() -> f64 {
    0.5
}

fn published_time() -> TimeLaw {
    TimeLaw { distribution: TimeDistribution::Lognormal { mean: -1.0, deviation: 1.4 }, stratified: false }
}

/// Whose velocity a state moves with along the flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Velocity {
    /// The teacher's: distillation (sCD).
    #[default]
    Teacher,
    /// That of the image's own data and noise: training without a teacher (sCT).
    Data,
}

/// How `dF / d ln rho` is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Derivative {
    /// Exactly, by a pass of duals: about twice the cost of a pass without gradients.
    #[default]
    Dual,
    /// By a central difference along the arc: two passes without gradients.
    Difference {
        /// The step in radians; by the time embedding's frequency where not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<f64>,
    },
    /// Not at all: the discrete form, with the student at DDIM's next state (dsCD). One pass without gradients.
    Discrete {
        /// Steps of EDM's grid, from noise 80 to 0.002, of which the next state is one away.
        steps: u64,
    },
}

/// What is made of a tangent's size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Normalization {
    /// `g / (|g| + c)`.
    Norm {
        /// Well below it, a tangent keeps its size.
        #[serde(default = "tenth")]
        c: f64,
        /// Whether `|g|` is the root mean square of an image's elements, so that c does not depend on their number, and
        /// not the norm.
        #[serde(default = "yes")]
        root_mean_square: bool,
    },
    /// Every element held to `[-limit, limit]`.
    Clamp {
        /// Largest absolute value.
        #[serde(default = "one")]
        limit: f64,
    },
    /// Nothing.
    None,
}

fn tenth() -> f64 {
    0.1
}
fn yes() -> bool {
    true
}
fn one() -> f64 {
    1.0
}

impl Default for Normalization {
    fn default() -> Self {
        Self::Norm { c: tenth(), root_mean_square: true }
    }
}

impl Normalization {
    /// The tangents `[b, c, h, w]` in their new size.
    pub fn apply(self, g: Tensor<4>) -> Tensor<4> {
        match self {
            Self::None => g,
            Self::Clamp { limit } => g.clamp(-limit, limit),
            Self::Norm { c, root_mean_square } => {
                let [b, channels, height, width] = g.dims();
                let elements = (channels * height * width) as f64;
                let square = g.clone().square().flatten::<2>(1, 3).sum_dim(1).reshape([b, 1, 1, 1]);
                let norm = (if root_mean_square { square / elements } else { square }).sqrt();
                g / (norm + c)
            }
        }
    }
}

/// The weight of the loss over time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Weighting {
    /// `e^w` of a learned function w of time, with `-w` added to the loss, so that all times come to count alike.
    Adaptive {
        /// Learning rate of its AdamW.
        #[serde(default = "thousandth")]
        learning_rate: f64,
    },
    /// 1.
    Uniform,
}

fn thousandth() -> f64 {
    1e-3
}

impl Default for Weighting {
    fn default() -> Self {
        Self::Adaptive { learning_rate: thousandth() }
    }
}

impl Objective for Scm {
    fn validate(&self, model: &ModelConfig, shape: &DataShape) -> Problems {
        let mut problems = Problems::new();
        problems.nest("process", self.process.validate());
        problems.nest("guidance", self.guidance.validate());
        problems.nest("time", self.time.validate());
        let positive = |value: f64| value > 0.0 && value.is_finite();
        problems.check(positive(self.sigma_data), "sigma_data", "must be finite and above 0");
        match self.normalization {
            Normalization::Norm { c, .. } => {
                problems.check(positive(c), "normalization.c", "must be finite and above 0")
            }
            Normalization::Clamp { limit } => {
                problems.check(positive(limit), "normalization.limit", "must be finite and above 0");
            }
            Normalization::None => {}
        }
        if let Weighting::Adaptive { learning_rate } = self.weighting {
            problems.check(positive(learning_rate), "weighting.learning_rate", "must be finite and above 0");
        }
        problems.check((0.0..=1.0).contains(&self.condition_dropout), "condition_dropout", "must be in [0, 1]");
        let asks = self.condition_dropout > 0.0 || self.guidance.scale != 1.0;
        if asks && shape.has_classes() && !model.has_null_class() {
            problems.push(
                "guidance",
                "this model has no class for \"any\": leave `guidance` out and `condition_dropout` at 0",
            );
        }
        if matches!(self.process.time_label, TimeLabel::NearestIndex { .. }) {
            problems
                .push("process.time_label", "the nearest index does not move with the time: there is no derivative");
        }
        self.check_derivative(model, &mut problems);
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
        let learns = self.velocity == Velocity::Teacher || self.start == Start::Teacher;
        let teacher = match learns {
            true => Teacher::open(setup, "teacher", &self.teacher, self.guidance)?,
            false => None,
        };
        let network = match self.start {
            Start::Teacher => setup.student(&device, teacher.as_ref(), &self.process)?,
            Start::Fresh => setup.network(&device)?,
        };
        let weight = match self.weighting {
            Weighting::Uniform => None,
            Weighting::Adaptive { learning_rate } => {
                let algorithm = Algorithm::Adamw(AdamW::default());
                let schedule = setup.optimizer.schedule.clone();
                let optimizer = OptimizerConfig { learning_rate, schedule, clip_norm: None, algorithm };
                Some(Trainable::new(WEIGHT, TimeWeight::new(&device), optimizer))
            }
        };
        Ok(Box::new(ScmMethod {
            config: self.clone(),
            trigflow: TrigFlow { sigma_data: self.sigma_data },
            conditioner: setup.conditioner.clone(),
            seed: setup.seed,
            model: Trainable::new(PART, network, setup.optimizer.clone()),
            weight,
            teacher,
            highest: setup.model.time_frequency(),
            device,
        }))
    }
}

impl Scm {
    /// A difference of 32-bit floats must not be asked what it cannot tell: at the law's middle time the label, and the
    /// embedding with it, must not turn too fast.
    fn check_derivative(&self, model: &ModelConfig, problems: &mut Problems) {
        match self.derivative {
            Derivative::Dual => {}
            Derivative::Discrete { steps } => problems.check(steps > 0, "derivative.steps", "must be at least 1"),
            Derivative::Difference { step: Some(step) } => {
                problems.check(step > 0.0 && step <= 0.5, "derivative.step", "must be above 0 and at most 0.5 radians");
            }
            Derivative::Difference { step: None } => {
                let middle = self.process.path.at(self.time.quantile(&self.process.path, 0.5));
                let trigflow = TrigFlow { sigma_data: self.sigma_data };
                let frequency = frequency(&trigflow, &self.process, &middle, model.time_frequency());
                let message = format!(
                    "the network's time embedding turns by {frequency:.0} a radian, too fast for differences (at most \
                     {LARGEST_FREQUENCY}): use `derivative = {{ type = \"dual\" }}`"
                );
                problems.check(frequency <= LARGEST_FREQUENCY, "derivative", message);
            }
        }
    }
}

struct ScmMethod {
    config: Scm,
    trigflow: TrigFlow,
    conditioner: Conditioner,
    seed: u64,
    device: Device,
    model: Trainable<Network>,
    /// Where the weight over time is learned.
    weight: Option<Trainable<TimeWeight>>,
    /// None where no teacher is asked, or the model is only used.
    teacher: Option<Teacher>,
    /// The highest frequency at which the network's time embedding tells its label.
    highest: f64,
}

/// Student and weight: one network for the gradients, two parts for the optimizers.
#[derive(Module, Debug)]
struct Joint {
    network: Network,
    weight: Option<TimeWeight>,
}

/// Where one image is on the circle.
#[derive(Clone, Copy)]
struct Place {
    point: PathPoint,
    angle: f64,
    /// How the network gives F here.
    wrapped: Wrapped,
}

impl ScmMethod {
    fn place(&self, point: PathPoint) -> Place {
        let angle = self.trigflow.angle(&point).clamp(MARGIN, FRAC_PI_2 - MARGIN);
        // At the margin, the point that belongs to it.
        let point = match angle == self.trigflow.angle(&point) {
            true => point,
            false => points(&self.trigflow, &self.config.process, &[angle]).pop().unwrap_or(point),
        };
        Place { point, angle, wrapped: self.trigflow.wrap(&self.config.process, &point) }
    }

    /// Where the images of a batch are.
    fn places(&self, stream: Stream, first: u64, count: usize) -> Vec<Place> {
        let path = &self.config.process.path;
        let times = self.config.time.times(path, &Key::new(self.seed, stream), first, count);
        times.into_iter().map(|t| self.place(path.at(t))).collect()
    }

    /// States `s` and velocities `v` on the circle, `[b, c, h, w]`, outside any gradient graph.
    fn states(
        &self,
        data: Tensor<4>,
        noise: Tensor<4>,
        places: &[Place],
        condition: &Condition,
    ) -> Result<[Tensor<4>; 2], MethodError> {
        let column = |of: fn(f64) -> f64| of_places(places, &|place| of(place.angle), &data);
        let (sine, cosine) = (column(f64::sin), column(f64::cos));
        let data = data.div_scalar(self.config.sigma_data);
        let s = data.clone() * cosine.clone() + noise.clone() * sine.clone();
        let v = match (self.config.velocity, &self.teacher) {
            (Velocity::Data, _) => noise * cosine - data * sine,
            (Velocity::Teacher, Some(teacher)) => {
                // s = cos u + sin z and v = cos z - sin u, with u the teacher's data over their deviation.
                let x = s.clone() * of_places(places, &|place| self.trigflow.deviation(&place.point), &s);
                let levels: Vec<Level> = places.iter().map(|place| Level::from(&place.point)).collect();
                let u = teacher.data(x, &levels, condition).div_scalar(self.config.sigma_data);
                (s.clone() * cosine - u) / sine
            }
            (Velocity::Teacher, None) => return Err(MethodError::Setup("opened without its teacher".into())),
        };
        Ok([s, v])
    }

    /// The tangents g, `[b, c, h, w]`, of a student whose output F at the states is `f`; outside any gradient graph.
    fn tangents(
        &self,
        [s, v]: [Tensor<4>; 2],
        f: Tensor<4>,
        places: &[Place],
        images: u64,
        network: impl Fn(Dual<4>, Dual<1>) -> Dual<4>,
    ) -> Tensor<4> {
        let Scm { process, sigma_data, warmup, derivative, .. } = &self.config;
        let warmed = if *warmup == 0 { 1.0 } else { (images as f64 / *warmup as f64).min(1.0) };
        let continuous = |place: &Place| Tangent::continuous(*sigma_data, place.angle, warmed);
        let wrapped: Vec<Wrapped> = places.iter().map(|place| place.wrapped).collect();
        let (tangents, q): (Vec<Tangent>, Tensor<4>) = match *derivative {
            Derivative::Dual => {
                let rates: Vec<Wrapped> =
                    places.iter().map(|place| self.trigflow.wrap_rate(process, &place.point)).collect();
                // ds / d ln rho = sin cos v.
                let moving = v.clone() * of_places(places, &|place| place.angle.sin() * place.angle.cos(), &v);
                let f = output(Dual::moving(s.clone(), moving), &wrapped, &rates, network);
                (places.iter().map(continuous).collect(), f.derivative())
            }
            Derivative::Difference { step } => {
                let step = |place: &Place| {
                    let own = || difference_step(frequency(&self.trigflow, process, &place.point, self.highest));
                    // Where a single time turns too fast, the smallest.
                    step.or_else(own).or_else(|| difference_step(LARGEST_FREQUENCY)).unwrap_or_default()
                };
                let angles: Vec<f64> = places.iter().map(|place| place.angle).collect();
                let steps: Vec<f64> = places.iter().map(step).collect();
                let plain = |x: Tensor<4>, label: Tensor<1>| network(x.into(), label.into()).value;
                let q = difference(&self.trigflow, process, [s.clone(), v.clone()], &angles, &steps, plain);
                (places.iter().map(continuous).collect(), q)
            }
            Derivative::Discrete { steps } => {
                let next: Vec<f64> = places.iter().map(|place| self.next(place, steps)).collect();
                let column = |of: &dyn Fn(f64) -> f64| {
                    let values: Vec<f64> = places.iter().zip(&next).map(|(a, b)| of(a.angle - b)).collect();
                    per_image(&values, &s)
                };
                // DDIM's step: an arc back.
                let there = s.clone() * column(&f64::cos) - v.clone() * column(&f64::sin);
                let points = points(&self.trigflow, process, &next);
                let wrapped: Vec<Wrapped> = points.iter().map(|p| self.trigflow.wrap(process, p)).collect();
                let q = output(there.into(), &wrapped, &[], network).value;
                let pairs = places.iter().zip(&next);
                (pairs.map(|(a, b)| Tangent::discrete(*sigma_data, a.angle, *b, warmed)).collect(), q)
            }
        };
        let column = |of: fn(&Tangent) -> f64| per_image(&tangents.iter().map(of).collect::<Vec<_>>(), &s);
        f * column(|t| t.output) + v * column(|t| t.velocity) + s.clone() * column(|t| t.state) + q * column(|t| t.rate)
    }

    /// The angle a step of EDM's grid below a place, and at least at half its noise.
    fn next(&self, place: &Place, steps: u64) -> f64 {
        const RHO: f64 = 7.0;
        let (low, high) = (0.002f64.powf(1.0 / RHO), 80f64.powf(1.0 / RHO));
        let noise = place.point.rho();
        let below = (noise.powf(1.0 / RHO) - (high - low) / steps as f64).max(0.0).powf(RHO);
        below.max(0.5 * noise).atan2(self.config.sigma_data)
    }

    /// The losses of a portion of a batch.
    fn losses(&self, joint: &Joint, portion: &Batch, places: &[Place], images: u64) -> Result<Losses, MethodError> {
        let Self { config, conditioner, seed, device, .. } = self;
        let inner = device.clone().inner();
        let condition =
            |device: &Device| batch::condition(portion, conditioner, config.condition_dropout, *seed, device);
        let (tracked, still) = (condition(device)?, condition(&inner)?);
        let noise = batch::noise(portion, *seed, Stream::NOISE, &inner);
        let [s, v] = self.states(batch::images(portion, &inner), noise, places, &still)?;

        // The same masks in every pass.
        let masks = Some(DropoutKey { seed: *seed, first_image: portion.first_image });
        let wrapped: Vec<Wrapped> = places.iter().map(|place| place.wrapped).collect();
        let f = output(Tensor::from_inner(s.clone()).into(), &wrapped, &[], |input, label| {
            joint.network.forward_dual(input, label, &tracked, masks)
        });
        let f = f.value;
        let frozen = joint.network.valid();
        let ask = |input: Dual<4>, label: Dual<1>| frozen.forward_dual(input, label, &still, masks);
        let g = self.tangents([s.clone(), v], f.clone().inner(), places, images, ask);
        let sizes = root_mean_square(g.clone());
        let goal = Tensor::from_inner(f.clone().inner() + config.normalization.apply(g));
        let errors = (f - goal).square().flatten::<2>(1, 3).mean_dim(1).squeeze_dim::<1>(1); // [b]
        let errors = match config.prior_weight {
            true => {
                let priors: Vec<f64> =
                    places.iter().map(|place| 1.0 / (config.sigma_data * place.angle.tan())).collect();
                errors * values(&priors, device, s.dtype())
            }
            false => errors,
        };
        let losses = match &joint.weight {
            Some(weight) => {
                let log_noise: Vec<f64> = places.iter().map(|place| -place.point.lambda()).collect();
                let w = weight.forward(&log_noise, device, s.dtype());
                errors * w.clone().exp() - w
            }
            None => errors,
        };
        Ok(Losses::from(losses).beside("tangent", sizes))
    }
}

/// One number an image, `[b, 1, 1, 1]`.
fn of_places(places: &[Place], of: &dyn Fn(&Place) -> f64, like: &Tensor<4>) -> Tensor<4> {
    per_image(&places.iter().map(of).collect::<Vec<_>>(), like)
}

/// Of each image's elements, `[b]`.
fn root_mean_square(x: Tensor<4>) -> Tensor<1> {
    x.square().flatten::<2>(1, 3).mean_dim(1).sqrt().squeeze_dim::<1>(1)
}

impl Method for ScmMethod {
    /// Beside the loss, which stays about the square of a normalized tangent whatever the student learns, `tangent` is
    /// logged: the root mean square of its elements before they are normalized, which falls.
    fn step(&mut self, whole: &Batch, clock: Clock) -> Result<Tally, MethodError> {
        let places = self.places(Stream::TIME, whole.first_image, whole.len());
        let joint = Joint {
            network: self.model.network().clone(),
            weight: self.weight.as_ref().map(|weight| weight.network().clone()),
        };
        let of_portion = |joint: &Joint, portion: &Batch, range: Range<usize>| {
            self.losses(joint, portion, &places[range], clock.images)
        };
        let (mut tally, gradients) = step::mean_gradients(&joint, whole, clock.micro_batch, &self.device, of_portion)?;
        let (mut of_network, mut of_weight) = (Tensors::new(), Tensors::new());
        for (name, gradient) in gradients {
            match (name.strip_prefix("network."), name.strip_prefix("weight.")) {
                (Some(name), _) => of_network.insert(name.to_owned(), gradient),
                (_, Some(name)) => of_weight.insert(name.to_owned(), gradient),
                _ => None,
            };
        }
        // Nothing is changed unless all are finite.
        global_norm(&of_weight)?;
        let update = self.model.update(of_network, clock.images)?;
        tally.add("gradient_norm", update.gradient_norm);
        tally.add("learning_rate", update.learning_rate);
        if let Some(weight) = &mut self.weight {
            weight.update(of_weight, clock.images)?;
        }
        Ok(tally)
    }

    fn parts(&self) -> Vec<&dyn Part> {
        let mut parts: Vec<&dyn Part> = vec![&self.model];
        parts.extend(self.weight.iter().map(|weight| weight as &dyn Part));
        parts
    }

    fn parts_mut(&mut self) -> Vec<&mut dyn Part> {
        let mut parts: Vec<&mut dyn Part> = vec![&mut self.model];
        parts.extend(self.weight.iter_mut().map(|weight| weight as &mut dyn Part));
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
        let denoiser = NetworkDenoiser { network, parameterization: self.config.process.clone() };
        Box::new(ScmInference { method: self, denoiser })
    }
}

/// A trained student in use.
struct ScmInference<'a> {
    method: &'a ScmMethod,
    denoiser: NetworkDenoiser,
}

impl Inference for ScmInference<'_> {
    /// `validation/tangent`: the root mean square of the tangent without warm-up, 0 for a consistency function; nothing
    /// where the model was opened without its teacher.
    fn validate(&self, batch: &Batch) -> Result<Tally, MethodError> {
        let method = self.method;
        let mut tally = Tally::new();
        if method.config.velocity == Velocity::Teacher && method.teacher.is_none() {
            return Ok(tally);
        }
        let device = method.device.clone().inner();
        let places = method.places(Stream::VALIDATION, batch.first_image, batch.len());
        let condition = batch::condition(batch, &method.conditioner, 0.0, method.seed, &device)?;
        let noise = batch::noise(batch, method.seed, Stream::VALIDATION_NOISE, &device);
        let states = method.states(batch::images(batch, &device), noise, &places, &condition)?;
        let ask = |input: Dual<4>, label: Dual<1>| self.denoiser.network.forward_dual(input, label, &condition, None);
        let wrapped: Vec<Wrapped> = places.iter().map(|place| place.wrapped).collect();
        let f = output(states[0].clone().into(), &wrapped, &[], ask).value;
        let g = method.tangents(states, f, &places, u64::MAX, ask);
        let sum = root_mean_square(g).sum().into_scalar::<f32>();
        tally.add_weighted("validation/tangent", f64::from(sum), batch.len() as f64);
        Ok(tally)
    }

    fn denoiser(&self) -> Option<&dyn Denoiser> {
        Some(&self.denoiser)
    }
}
