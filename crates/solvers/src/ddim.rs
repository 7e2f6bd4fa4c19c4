//! DDIM: from no noise to as much as DDPM's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::{Builder, Level, Quantity, Register, STATE};

const DATA: Register = Register(1);
const NOISE: Register = Register(2);
const CLIPPED: Register = Register(3);

/// Denoising diffusion implicit models (Song et al. 2020, eq. 12 and 16): the state at the next level is the expected
/// data and the expected noise, mixed anew, with a part of the noise replaced by fresh noise.
///
/// `eta = 0` is Euler's rule for y = x / alpha in rho = sigma / alpha. `eta = 1` is DDPM with the smaller variance, and
/// on states x0 + sigma eps it is known as ancestral Euler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ddim {
    /// Share of the posterior's standard deviation that is fresh noise, in [0, 1].
    pub eta: f64,
    /// Where the plan clips data: whether the expected noise is found again from the clipped data.
    pub noise_from_clipped: bool,
}

impl Ddim {
    /// Appends the step between two levels, downwards in noise or, with `eta = 0`, upwards.
    pub fn step(&self, plan: &mut Builder, from: Level, to: Level) {
        let fresh = self.eta * to.sigma * (1.0 - from.decay(&to).powi(2)).max(0.0).sqrt();
        let kept = (to.sigma.powi(2) - fresh.powi(2)).sqrt();
        plan.evaluate_unclipped(Quantity::Data, DATA, STATE, from);
        let data = plan.clip(CLIPPED, DATA);
        let heard = if self.noise_from_clipped { data } else { DATA };
        if fresh > 0.0 {
            plan.noise(NOISE, plan.step());
        }
        // x' = alpha' x0 + sqrt(sigma'^2 - s^2) eps + s z, with eps = (x - alpha x0) / sigma
        let mut terms = vec![(to.alpha, data), (kept / from.sigma, STATE), (-kept * from.alpha / from.sigma, heard)];
        if fresh > 0.0 {
            terms.push((fresh, NOISE));
        }
        plan.combine(STATE, terms);
        plan.reach(to);
    }

    /// Everything that is wrong with it.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check((0.0..=1.0).contains(&self.eta), "eta", "must be in [0, 1]");
        problems
    }
}
