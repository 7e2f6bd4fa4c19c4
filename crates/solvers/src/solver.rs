//! The solvers by name, and plans from them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_process::PathPoint;

use crate::{Builder, Clock, Consistency, Ddim, Ddpm, DpmMultistep, Euler, Heun, Level, Plan, Stochastic};

/// How the steps between the points of a grid are taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Solver {
    /// Euler's rule, with or without churn; first order.
    Euler(Euler),
    /// Heun's rule, with or without churn; second order, two evaluations a step.
    Heun(Heun),
    /// DDIM, from deterministic to ancestral; first order.
    Ddim(Ddim),
    /// DDPM's ancestral sampling with a fixed variance.
    Ddpm(Ddpm),
    /// DPM-Solver, DPM-Solver++ and their SDE forms, multistep; order 1 to 3, one evaluation a step.
    DpmMultistep(DpmMultistep),
    /// A consistency model's: to the data and back, one evaluation a step.
    Consistency(Consistency),
    /// Steps that draw from a kernel of given density, as reinforcement learning explores; first order.
    Stochastic(Stochastic),
}

impl Solver {
    /// The name in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Euler(_) => "euler",
            Self::Heun(_) => "heun",
            Self::Ddim(_) => "ddim",
            Self::Ddpm(_) => "ddpm",
            Self::DpmMultistep(_) => "dpm_multistep",
            Self::Consistency(_) => "consistency",
            Self::Stochastic(_) => "stochastic",
        }
    }

    /// The variable that the solver steps in, where its steps depend on it.
    pub fn clock(&self) -> Option<Clock> {
        match self {
            Self::Euler(solver) => Some(solver.clock),
            Self::Heun(solver) => Some(solver.clock),
            Self::Ddim(_) | Self::Ddpm(_) | Self::DpmMultistep(_) | Self::Consistency(_) => None,
            // Its states are the path's own.
            Self::Stochastic(_) => Some(Clock::Time),
        }
    }

    /// The level at which the solver's states stand at a point: the path's own, or that of `x / alpha`.
    pub fn level(&self, point: &PathPoint) -> Level {
        (&self.clock().unwrap_or(Clock::Time).point(point)).into()
    }

    /// Appends the steps through all points, from the first to the last.
    pub fn append(&self, plan: &mut Builder, points: &[PathPoint]) {
        let steps = points.len().saturating_sub(1);
        let levels: Vec<Level> = points.iter().map(Level::from).collect();
        match self {
            Self::Euler(euler) => points.windows(2).for_each(|pair| euler.step(plan, &pair[0], &pair[1], steps)),
            Self::Heun(heun) => points.windows(2).for_each(|pair| heun.step(plan, &pair[0], &pair[1], steps)),
            Self::Ddim(ddim) => levels.windows(2).for_each(|pair| ddim.step(plan, pair[0], pair[1])),
            Self::Ddpm(ddpm) => {
                let last = |step: usize| step + 1 == steps;
                let pairs = levels.windows(2).enumerate();
                pairs.for_each(|(step, pair)| ddpm.step(plan, pair[0], pair[1], last(step)));
            }
            Self::DpmMultistep(dpm) => dpm.steps(plan, &levels),
            Self::Consistency(consistency) => consistency.steps(plan, &levels),
            Self::Stochastic(solver) => points.windows(2).for_each(|pair| solver.step(plan, &pair[0], &pair[1], steps)),
        }
    }

    /// Everything that is wrong with its settings.
    pub fn validate(&self) -> Problems {
        match self {
            Self::Euler(solver) => solver.validate(),
            Self::Heun(solver) => solver.validate(),
            Self::Ddim(solver) => solver.validate(),
            Self::Ddpm(_) => Problems::new(),
            Self::DpmMultistep(solver) => solver.validate(),
            Self::Consistency(solver) => solver.validate(),
            Self::Stochastic(solver) => solver.validate(),
        }
    }
}

/// The plan of a solver through points of a path, from noise to data. It starts from noise alone, `sigma z`.
///
/// For clipping, or for another start, write into a [`Builder`] with [`Solver::append`].
///
/// # Errors
///
/// Settings that are wrong, fewer than two points, or a step that the solver cannot take: its coefficients are not
/// finite.
pub fn compile(solver: &Solver, points: &[PathPoint]) -> Result<Plan, Problems> {
    let mut problems = solver.validate();
    problems.check(points.len() >= 2, "points", "a plan needs at least two");
    let [first, ..] = points else { return Err(problems) };
    if !problems.is_empty() {
        return Err(problems);
    }
    let start = solver.level(first);
    let mut plan = Builder::new(solver.name(), start, start.sigma);
    solver.append(&mut plan, points);
    plan.finish()
}
