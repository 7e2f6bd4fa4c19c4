//! Churn: noise added before a step, which the step then removes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_process::{PathPoint, Prediction};

use crate::clock::{Clock, exploding};
use crate::{Builder, Quantity, Register, STATE};

/// The stochasticity of EDM's samplers (Karras et al. 2022, algorithm 2): before each of N steps within
/// `[minimum, maximum]`, the noise level rises by the factor `1 + min(amount / N, sqrt(2) - 1)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Churn {
    /// `S_churn`, >= 0. 0 is deterministic.
    pub amount: f64,
    /// `S_min`: lowest noise-to-signal ratio at which noise is added.
    pub minimum: f64,
    /// `S_max`: highest noise-to-signal ratio at which noise is added; none is no bound.
    pub maximum: Option<f64>,
    /// `S_noise`: standard deviation of the noise that is added, slightly above 1 to make up for lost detail.
    pub noise: f64,
    /// None: the network is asked after the noise is added, as the paper says. Public schedulers (`diffusers`) ask before
    /// it, and read what the network gave, a prediction of this kind, as if it had been asked after it.
    pub reread: Option<Prediction>,
}

impl Default for Churn {
    fn default() -> Self {
        Self { amount: 0.0, minimum: 0.0, maximum: None, noise: 1.0, reread: None }
    }
}

impl Churn {
    /// The noise-to-signal ratio to rise to from `rho`, in a run of `steps` steps; `rho` itself where none is added.
    pub fn raised(&self, rho: f64, steps: usize) -> f64 {
        let within = self.minimum <= rho && self.maximum.is_none_or(|maximum| rho <= maximum);
        let gamma = if within { (self.amount / steps as f64).min(2f64.sqrt() - 1.0) } else { 0.0 };
        rho * (1.0 + gamma)
    }

    /// Appends the noise and the evaluation of `data` at `from`, a point of the clock `rho`; returns the point that the
    /// state has risen to.
    pub(crate) fn evaluate(
        &self,
        plan: &mut Builder,
        from: &PathPoint,
        data: Register,
        noise: Register,
        steps: usize,
    ) -> PathPoint {
        let raised = self.raised(from.sigma, steps);
        if raised == from.sigma {
            plan.evaluate(Quantity::Data, data, STATE, from.into());
            return *from;
        }
        let to = exploding(raised);
        let added = self.noise * (to.sigma.powi(2) - from.sigma.powi(2)).sqrt();
        if self.reread.is_some() {
            plan.evaluate_unclipped(Quantity::Data, data, STATE, from.into());
        }
        plan.noise(noise, plan.step());
        // x^ = x + S_noise sqrt(rho^^2 - rho^2) z
        plan.combine(STATE, [(1.0, STATE), (added, noise)]);
        match self.reread {
            None => plan.evaluate(Quantity::Data, data, STATE, (&to).into()),
            Some(prediction) => {
                // The network gave F with x0 = a x + b F; it is read as x0^ = a^ x^ + b^ F.
                let (asked, read) = (prediction.data_from(from), prediction.data_from(&to));
                let share = read.prediction / asked.prediction;
                let lost = share * asked.x;
                plan.combine(data, [(share, data), (read.x - lost, STATE), (lost * added, noise)]);
                plan.clip(data, data);
            }
        }
        to
    }

    /// Everything that is wrong with it in a solver with this clock.
    pub(crate) fn validate(&self, clock: Clock) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.amount == 0.0 || clock == Clock::Rho, "amount", "churn needs the clock `rho`");
        problems.check(self.amount >= 0.0 && self.amount.is_finite(), "amount", "must be finite and not negative");
        problems.check(self.minimum >= 0.0, "minimum", "must not be negative");
        problems.check(self.maximum.is_none_or(|maximum| maximum >= self.minimum), "maximum", "is below minimum");
        problems.check(self.noise >= 0.0 && self.noise.is_finite(), "noise", "must be finite and not negative");
        problems
    }
}
