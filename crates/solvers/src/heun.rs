//! Heun's rule.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_process::PathPoint;

use crate::churn::Churn;
use crate::clock::{Clock, Slope};
use crate::{Builder, Quantity, Register, STATE};

const DATA: Register = Register(1);
const PREDICTED: Register = Register(2);
const NEXT_DATA: Register = Register(3);
const NOISE: Register = Register(4);

/// Heun's rule for the probability-flow equation, second order: Euler's step, then a step with the mean of the slopes
/// at both of its ends (Karras et al. 2022, algorithms 1 and 2). A step to pure data is Euler's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Heun {
    /// The variable to step in.
    pub clock: Clock,
    /// Noise added before steps; only with the clock `rho`.
    pub churn: Churn,
}

impl Heun {
    /// Appends the step between two points, one of `steps`.
    pub fn step(&self, plan: &mut Builder, from: &PathPoint, to: &PathPoint, steps: usize) {
        let (from, to) = (self.clock.point(from), self.clock.point(to));
        let from = self.churn.evaluate(plan, &from, DATA, NOISE, steps);
        let (step, slope) = (to.t - from.t, Slope::at(&from));
        let euler = [(1.0 + step * slope.state, STATE), (step * slope.data, DATA)];
        if to.sigma > 0.0 {
            let (half, next) = (step / 2.0, Slope::at(&to));
            // p = x + dt dx/dt(x, t)
            plan.combine(PREDICTED, euler);
            plan.evaluate(Quantity::Data, NEXT_DATA, PREDICTED, (&to).into());
            // x' = x + dt/2 (dx/dt(x, t) + dx/dt(p, t'))
            let first = [(1.0 + half * slope.state, STATE), (half * slope.data, DATA)];
            let second = [(half * next.state, PREDICTED), (half * next.data, NEXT_DATA)];
            plan.combine(STATE, first.into_iter().chain(second));
        } else {
            plan.combine(STATE, euler);
        }
        plan.reach((&to).into());
    }

    /// Everything that is wrong with it.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.nest("churn", self.churn.validate(self.clock));
        problems
    }
}
