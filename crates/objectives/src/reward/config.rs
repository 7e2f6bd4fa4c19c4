//! The `[objective]` section of type `reward`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_models::{DataShape, ModelConfig};
use sinter_process::random::{Key, Stream};
use sinter_process::{Parameterization, PathPoint};
use sinter_sampling::Guidance;
use sinter_solvers::rollout::{continuation, respaced};
use sinter_solvers::{Density, Divergence, DpmMultistep, End, Grid, Kernel, Plan, Rollout, ShiftedTime, UniformTime};

use super::method::RewardMethod;
use super::registry::{self, RewardTerm};
use super::{Advantage, Branches, Exploration, History, Over, PolicyLoss, Trajectory};
use crate::{Method, MethodError, Objective, Setup};

/// Tuning to rewards: a trained model is a policy whose actions are the stochastic steps of its sampler, and is pulled
/// towards the samples that score above others of their prompt.
///
/// Flow-GRPO, DanceGRPO, MixGRPO, G2RPO and DDPO are settings of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewardTuning {
    /// The run that is tuned.
    pub policy: PathBuf,
    /// How the network is fed and read; the policy's.
    pub process: Parameterization,
    /// What samples are worth; advantages are of their weighted sum.
    pub rewards: Vec<RewardTerm>,
    /// Samples of one prompt, which are compared with each other. `train.batch` is a multiple of it.
    #[serde(default = "twelve")]
    pub group: usize,
    /// Steps of a rollout, >= 2.
    #[serde(default = "sixteen")]
    pub steps: usize,
    /// Where they lie.
    #[serde(default = "shifted")]
    pub grid: Grid,
    /// How stochastic steps are drawn.
    #[serde(default)]
    pub kernel: Kernel,
    /// Which steps are stochastic.
    #[serde(default)]
    pub exploration: Exploration,
    /// Whether the samples of a prompt start from one noise.
    #[serde(default)]
    pub shared_noise: bool,
    /// How strongly conditions are followed, in rollouts and in the updates from them.
    #[serde(default)]
    pub guidance: Guidance,
    /// How rewards become advantages.
    #[serde(default)]
    pub advantage: Advantage,
    /// Whether a prompt's rewards of earlier batches count, too.
    #[serde(default)]
    pub history: Option<History>,
    /// The objective of the steps.
    #[serde(default)]
    pub loss: PolicyLoss,
    /// How a step's density is read.
    #[serde(default)]
    pub density: Density,
    /// What keeps the policy near another one.
    #[serde(default)]
    pub penalty: Option<Penalty>,
    /// Whether samples without advantage are left out of the mean of the loss, too.
    #[serde(default)]
    pub drop_ties: bool,
    /// Updates from one batch.
    #[serde(default)]
    pub updates: Updates,
    /// Steps of the deterministic samples that held-out rewards are taken of; none: as many as a rollout has.
    #[serde(default)]
    pub validation_steps: Option<usize>,
}

fn twelve() -> usize {
    12
}

fn sixteen() -> usize {
    16
}

fn shifted() -> Grid {
    Grid::ShiftedTime(ShiftedTime::default())
}

/// What keeps the policy near another one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Penalty {
    /// The divergence of a step from that of the policy before it was tuned.
    Reference {
        /// Its weight, > 0; it belongs to the scale of `form`.
        weight: f64,
        /// In which of the published scales.
        #[serde(default)]
        form: Divergence,
    },
    /// `mean(d^2) / 2` of the differences of log densities to the policy that drew the batch (MixGRPO's code).
    Drawn {
        /// Its weight, > 0.
        weight: f64,
    },
}

/// Updates from one batch of rollouts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Updates {
    /// Parts that the samples are cut into, in their order; each makes an update. Not for branches.
    pub parts: usize,
    /// Times that all parts are gone through.
    pub epochs: usize,
    /// No further update is made from a batch once the estimate `mean(d^2) / 2` of the divergence from the policy that drew
    /// it is above this.
    pub divergence_limit: Option<f64>,
}

impl Default for Updates {
    fn default() -> Self {
        Self { parts: 1, epochs: 1, divergence_limit: None }
    }
}

impl RewardTuning {
    /// The points of a rollout's grid, from noise to data.
    ///
    /// # Errors
    /// A grid that does not fit the policy's path.
    pub fn points(&self, steps: usize) -> Result<Vec<PathPoint>, Problems> {
        self.grid.points(&self.process.path, steps, End::Data)
    }

    /// The rollout of a sample at an update, all or some of whose steps are stochastic; for branches the deterministic one
    /// that they leave.
    ///
    /// # Errors
    /// As [`RewardTuning::points`].
    pub fn rollout(&self, update: u64, window: &sinter_process::random::Draws) -> Result<Rollout, Problems> {
        let points = self.points(self.steps)?;
        let rollout = Rollout { kernel: self.kernel, points, stochastic: 0..0, multistep: None };
        Ok(match &self.exploration {
            Exploration::Trajectory(Trajectory { final_noise, .. }) => {
                let end = if *final_noise { self.steps } else { self.steps.saturating_sub(1) };
                Rollout { stochastic: 0..end, ..rollout }
            }
            Exploration::Window(window_config) => {
                let stochastic = window_config.steps(update, self.steps, window);
                let Some(ratio) = window_config.compression else { return Ok(Rollout { stochastic, ..rollout }) };
                let shift = self.shift().unwrap_or(1.0);
                let tail = respaced(&self.process.path, &rollout.points, stochastic.end, ratio, shift);
                let points = rollout.points[..=stochastic.end].iter().copied().chain(tail).collect();
                let multistep = Some(DpmMultistep { lower_order_below: 0, ..DpmMultistep::default() });
                Rollout { points, stochastic, multistep, ..rollout }
            }
            Exploration::Branches(_) => rollout,
        })
    }

    /// The plan by which a sample that has left the grid at step `branch` goes on.
    ///
    /// # Errors
    /// As [`RewardTuning::points`], and steps that cannot be taken.
    pub fn continuation(&self, branches: &Branches, branch: usize, stride: usize) -> Result<Plan, Problems> {
        let points = continuation(&self.points(self.steps)?, branch, stride, branches.end);
        Rollout { kernel: self.kernel, points, stochastic: 0..0, multistep: None }.plan("branch")
    }

    /// The shift of the grid, if it is even in a shifted time.
    fn shift(&self) -> Option<f64> {
        match &self.grid {
            Grid::ShiftedTime(ShiftedTime { shift }) => Some(*shift),
            Grid::UniformTime(UniformTime { power }) if *power == 1.0 => Some(1.0),
            _ => None,
        }
    }

    /// What can only be told once the settings are right one by one: whether there is a plan.
    fn check_plans(&self, problems: &mut Problems) {
        let draws = Key::new(0, Stream::ROLLOUT_WINDOW).at(0);
        let plan = self.rollout(0, &draws).and_then(|rollout| rollout.plan("rollout"));
        if let Err(wrong) = plan {
            let reason = format!("no rollout of {} steps can be taken on it with this kernel: {wrong}", self.steps);
            problems.push("grid", reason);
        }
    }
}

impl Objective for RewardTuning {
    fn validate(&self, model: &ModelConfig, shape: &DataShape) -> Problems {
        let mut problems = Problems::new();
        problems.nest("process", self.process.validate());
        problems.nest("rewards", registry::validate(&self.rewards, shape));
        problems.check(self.steps >= 2, "steps", "must be at least 2");
        problems.nest("grid", self.grid.validate());
        problems.nest("kernel", self.kernel.validate());
        problems.nest("exploration", self.exploration.validate(self.steps));
        problems.nest("guidance", self.guidance.validate());
        problems.nest("advantage", self.advantage.validate());
        problems.nest("loss", self.loss.validate());
        problems.check(self.group >= 1, "group", "must be at least 1");
        let compared = self.group >= 2 || self.advantage.center == Over::Batch || self.history.is_some();
        problems.check(compared, "group", "one sample is compared with no other: take 2 or more, or a `history`");
        if let Some(history) = &self.history {
            problems.nest("history", history.validate());
            let branches = matches!(self.exploration, Exploration::Branches(_));
            problems.check(!branches, "history", "branches are compared with others of their step alone");
        }
        if let Some(Penalty::Reference { weight, .. } | Penalty::Drawn { weight }) = self.penalty {
            problems.check(weight > 0.0 && weight.is_finite(), "penalty.weight", "must be finite and above 0");
        }
        if let Some(Penalty::Reference { form: Divergence::WithoutStep, .. }) = self.penalty {
            let sde = matches!(self.kernel, Kernel::Flow(_) | Kernel::Constant(_));
            problems.check(
                sde,
                "penalty.form",
                "only the kernels `flow` and `constant` have a noise apart from the step",
            );
        }
        problems.check(self.updates.parts >= 1, "updates.parts", "must be at least 1");
        problems.check(self.updates.epochs >= 1, "updates.epochs", "must be at least 1");
        let limit = self.updates.divergence_limit.is_none_or(|limit| limit > 0.0);
        problems.check(limit, "updates.divergence_limit", "must be above 0");
        let whole = self.updates.parts == 1 || !matches!(self.exploration, Exploration::Branches(_));
        problems.check(whole, "updates.parts", "branches make updates as `exploration.update` says");
        problems.check(self.validation_steps != Some(0), "validation_steps", "must be at least 1");
        if let Exploration::Window(window) = &self.exploration {
            let even = window.compression.is_none() || self.shift().is_some();
            problems.check(even, "exploration.compression", "needs the grid `shifted_time`");
        }
        if matches!(model, ModelConfig::Classifier(_)) {
            problems.push("type", "a classifier does not map noise to images: give `[model]` another type");
        }
        if self.guidance.scale != 1.0 && !shape.has_classes() && !shape.has_captions() {
            problems.push("guidance.scale", "the data are conditioned on nothing, so the policy cannot be guided");
        }
        if problems.is_empty() {
            self.check_plans(&mut problems);
        }
        problems
    }

    fn parameterization(&self) -> Option<Parameterization> {
        Some(self.process.clone())
    }

    fn build(&self, setup: &Setup) -> Result<Box<dyn Method>, MethodError> {
        Ok(Box::new(RewardMethod::open(self, setup)?))
    }
}
