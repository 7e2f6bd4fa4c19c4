//! Euler's rule.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_process::PathPoint;

use crate::churn::Churn;
use crate::clock::{Clock, Slope};
use crate::{Builder, Register, STATE};

const DATA: Register = Register(1);
const NOISE: Register = Register(2);

/// Euler's rule for the probability-flow equation, first order: flow matching's sampler in its own time, k-diffusion's
/// and EDM's in rho, there with churn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Euler {
    /// The variable to step in.
    pub clock: Clock,
    /// Noise added before steps; only with the clock `rho`.
    pub churn: Churn,
}

impl Euler {
    /// Appends the step between two points, one of `steps`.
    pub fn step(&self, plan: &mut Builder, from: &PathPoint, to: &PathPoint, steps: usize) {
        let (from, to) = (self.clock.point(from), self.clock.point(to));
        let from = self.churn.evaluate(plan, &from, DATA, NOISE, steps);
        let (step, slope) = (to.t - from.t, Slope::at(&from));
        // x' = x + dt (dx/dt)
        plan.combine(STATE, [(1.0 + step * slope.state, STATE), (step * slope.data, DATA)]);
        plan.reach((&to).into());
    }

    /// Everything that is wrong with it.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.nest("churn", self.churn.validate(self.clock));
        problems
    }
}
