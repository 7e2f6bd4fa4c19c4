//! Sampling from consistency models.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::{Builder, Level, Quantity, Register, STATE};

const DATA: Register = Register(1);
const NOISE: Register = Register(2);

/// Each step jumps to the data that the network expects and, but for the last, back to the next level by adding noise
/// (Song et al. 2023, algorithm 1). One step samples from a consistency model; more correct its errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Consistency {
    /// Which noise is added.
    pub noise: AddedNoise,
    /// The noise level `sigma / alpha` that the expected data still hold: at a level rho, `sqrt(rho^2 - sigma_min^2)` is
    /// added. 0.002 in Song et al.; 0 in Geng et al. (2024).
    pub sigma_min: f64,
}

/// Which noise is added to expected data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AddedNoise {
    /// Independent noise in each step.
    #[default]
    Fresh,
    /// The noise that sampling started from, in every step (Lee et al. 2024, section 4.4).
    Initial,
}

impl Consistency {
    /// Appends the steps through all levels, of which only the last may be data.
    pub fn steps(&self, plan: &mut Builder, levels: &[Level]) {
        // A last level above data needs the noise, too.
        let returns = levels.iter().skip(1).any(|level| level.sigma > 0.0);
        if self.noise == AddedNoise::Initial && returns {
            plan.combine(NOISE, [(1.0 / plan.scale(), STATE)]);
        }
        for pair in levels.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let added = (to.sigma.powi(2) - (to.alpha * self.sigma_min).powi(2)).max(0.0).sqrt();
            plan.evaluate(Quantity::Data, DATA, STATE, from);
            if self.noise == AddedNoise::Fresh && added > 0.0 {
                plan.noise(NOISE, plan.step());
            }
            // x' = alpha' (x0 + sqrt(rho'^2 - sigma_min^2) z)
            let mut terms = vec![(to.alpha, DATA)];
            if added > 0.0 {
                terms.push((added, NOISE));
            }
            plan.combine(STATE, terms);
            plan.reach(to);
        }
    }

    /// Everything that is wrong with it.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        let proper = self.sigma_min >= 0.0 && self.sigma_min.is_finite();
        problems.check(proper, "sigma_min", "must be finite and not negative");
        problems
    }
}
