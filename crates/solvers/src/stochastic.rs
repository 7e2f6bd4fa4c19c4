//! Sampling by stochastic kernels, on all or some of a grid's steps.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_process::PathPoint;

use crate::{Builder, Kernel, Register};

const NOISE: Register = Register(1);
const DATA: Register = Register(2);

/// Steps of a [`Kernel`]; those before `from` and after `count` of them take the kernel's step without noise.
///
/// This is how policies explore while they are tuned to rewards (Flow-GRPO, DanceGRPO; MixGRPO with a window).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Stochastic {
    /// How noisy steps are taken.
    pub kernel: Kernel,
    /// The first noisy step, from 0.
    pub from: usize,
    /// How many steps are noisy; none: all to the end.
    pub count: Option<usize>,
    /// Whether the grid's last step may be noisy, too. The noise of a step to data stays in the sample.
    pub final_noise: bool,
}

impl Stochastic {
    /// Whether a step of `steps` is noisy.
    fn is_noisy(&self, step: usize, steps: usize) -> bool {
        let within = step >= self.from && self.count.is_none_or(|count| step < self.from + count);
        within && (self.final_noise || step + 1 < steps)
    }

    /// Appends the step between two points, one of `steps`.
    pub fn step(&self, plan: &mut Builder, from: &PathPoint, to: &PathPoint, steps: usize) {
        let kernel = if self.is_noisy(plan.step(), steps) { self.kernel } else { self.kernel.quiet() };
        kernel.step(plan, from, to, DATA, NOISE);
    }

    /// Everything that is wrong with it.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.nest("kernel", self.kernel.validate());
        problems
    }
}
