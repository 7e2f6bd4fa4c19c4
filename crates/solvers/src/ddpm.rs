//! DDPM: ancestral sampling.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Builder, Level, Quantity, Register, STATE};

const DATA: Register = Register(1);
const NOISE: Register = Register(2);

/// Variances below this are raised to it where noise is added at all: public code takes their logarithm.
const SMALLEST_VARIANCE: f64 = 1e-20;

/// Denoising diffusion probabilistic models (Ho et al. 2020, eq. 7): each step draws from the posterior of the next
/// state given this one and the expected data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ddpm {
    /// The variance of a step.
    pub variance: Variance,
    /// Whether the last step adds noise too: as public code does when its grid ends above the first trained level.
    pub final_noise: bool,
}

/// The variance of an ancestral step, between its lower and its upper bound (Ho et al. 2020, section 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Variance {
    /// Of the posterior: exact where the data are one point.
    #[default]
    Small,
    /// Of the forward step: exact where the data are standard normal.
    Large,
}

impl Ddpm {
    /// Appends the step between two levels; `last` is whether it is the grid's last.
    pub fn step(&self, plan: &mut Builder, from: Level, to: Level, last: bool) {
        let decay = from.decay(&to);
        let change = 1.0 - decay.powi(2);
        let variance = match self.variance {
            Variance::Small => to.sigma.powi(2) * change,
            Variance::Large => from.sigma.powi(2) * change,
        };
        let noisy = !last || self.final_noise;
        plan.evaluate(Quantity::Data, DATA, STATE, from);
        // x' = alpha' (1 - e^{-2h}) x0 + (sigma' / sigma) e^{-h} x + sqrt(variance) z
        let mut terms = vec![(to.alpha * change, DATA), (to.sigma / from.sigma * decay, STATE)];
        if noisy {
            plan.noise(NOISE, plan.step());
            terms.push((variance.max(SMALLEST_VARIANCE).sqrt(), NOISE));
        }
        plan.combine(STATE, terms);
        plan.reach(to);
    }
}
