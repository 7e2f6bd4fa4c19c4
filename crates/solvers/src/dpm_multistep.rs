//! DPM-Solver and DPM-Solver++, multistep, deterministic and stochastic.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::exponential::{first, second};
use crate::{Builder, Level, Quantity, Register, STATE};

pub(crate) const NOISE: Register = Register(1);

/// The evaluation at step `step`; as many are kept as the highest order needs.
pub(crate) fn evaluation(step: usize) -> Register {
    Register(2 + step % 3)
}

/// DPM-Solver (Lu et al. 2022a) on the expected noise and DPM-Solver++ (Lu et al. 2022b) on the expected data, multistep:
/// the linear part of the equation is solved exactly, the rest by extrapolating the last evaluations in lambda.
///
/// Both are one formula: with `q = -h` for data, `q = h` for noise, and their prefix `P = alpha'` or `P = sigma'`,
/// `x' = R x - P [(e^q - 1) m + w1 D1 + w2 D2]`, where `R` is the other coefficient's ratio, `m` the newest evaluation and
/// `D1`, `D2` its differences.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DpmMultistep {
    /// Evaluations used in a step, 1 to 3; the first steps have fewer.
    pub order: usize,
    /// What is extrapolated: `data` is DPM-Solver++, `noise` is DPM-Solver.
    pub quantity: Quantity,
    /// The weight of the first difference at order 2.
    pub rule: Rule,
    /// Noise of the reverse diffusion followed, in [0, 1]: 0 is the probability-flow equation, 1 the usual reverse
    /// equation (the SDE solvers). The square of k-diffusion's `eta` in its `2m_sde`.
    pub eta: f64,
    /// In runs of fewer steps than this, the step before the last has order 2 at most, and the last one order 1.
    pub lower_order_below: usize,
    /// Whether the last step always has order 1, as any step to pure data has.
    pub euler_at_final: bool,
    /// At order 3, the weight of the second difference: twice that of the public code, which leaves out a factor 2 and
    /// so has order 2 only.
    pub exact_second_difference: bool,
}

/// How the first difference is weighted at order 2. Both are of second order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// As if the evaluation in the middle of the step were known (`midpoint`, and `dpmsolver` in the authors' code).
    #[default]
    Midpoint,
    /// Taylor's expansion, integrated exactly (`heun`, and `taylor` in the authors' code).
    Taylor,
}

impl Default for DpmMultistep {
    fn default() -> Self {
        Self {
            order: 2,
            quantity: Quantity::Data,
            rule: Rule::Midpoint,
            eta: 0.0,
            lower_order_below: 15,
            euler_at_final: false,
            exact_second_difference: false,
        }
    }
}

impl DpmMultistep {
    /// Appends the steps through all levels.
    pub fn steps(&self, plan: &mut Builder, levels: &[Level]) {
        (0..levels.len() - 1).for_each(|step| self.step(plan, levels, step));
    }

    /// Appends the step from `levels[step]` to the next. Every earlier step must have left its evaluation of the same
    /// quantity in the register of [`evaluation`].
    pub(crate) fn step(&self, plan: &mut Builder, levels: &[Level], step: usize) {
        plan.evaluate(self.quantity, evaluation(step), STATE, levels[step]);
        let order = self.order_at(step, levels.len() - 1, levels[step + 1]);
        let weights = self.weights(&levels[step + 1 - order..step + 2]);
        let noisy = weights.noise > 0.0;
        if noisy {
            plan.noise(NOISE, step);
        }
        let evaluations = weights.evaluations.iter().enumerate();
        let evaluations = evaluations.take(order).map(|(age, weight)| (*weight, evaluation(step - age)));
        let terms = [(weights.state, STATE)].into_iter().chain(evaluations);
        plan.combine(STATE, terms.chain(noisy.then_some((weights.noise, NOISE))));
        plan.reach(levels[step + 1]);
    }

    /// The order of a step: no more than evaluations are at hand, and less towards the end.
    fn order_at(&self, step: usize, steps: usize, to: Level) -> usize {
        let left = steps - step;
        let limit = if steps < self.lower_order_below { left } else { usize::MAX };
        let last = left == 1 && self.euler_at_final;
        if last || to.sigma == 0.0 { 1 } else { self.order.min(step + 1).min(limit) }
    }

    /// The weights of the step over the last of `levels`, the first of which is that of the oldest evaluation used.
    fn weights(&self, levels: &[Level]) -> Weights {
        let [.., from, to] = levels else { return Weights::default() };
        let Linear { state, prefix, q, newest, noise } = self.linear(from, to);
        let h = -from.decay(to).ln();
        // How long the step over a pair of levels is, in lambda.
        let length = |index: usize| -levels[index].decay(&levels[index + 1]).ln();
        let mut evaluations = [-newest, 0.0, 0.0];
        let mut add = |weight: f64, difference: [f64; 3]| {
            evaluations.iter_mut().zip(difference).for_each(|(total, part)| *total -= weight * part);
        };
        match levels.len() {
            3 => {
                // D1 = (m - m1) h / h0
                let slope = h / length(0);
                let weight = match self.rule {
                    Rule::Midpoint => newest / 2.0,
                    Rule::Taylor => prefix * first(q),
                };
                add(weight, [slope, -slope, 0.0]);
            }
            4 => {
                let (newer, older) = (length(1), length(0));
                let both = newer + older;
                // The differences over the last step and the one before, in units of h, and how they change:
                // D1 = d0 + h0 / (h0 + h1) (d0 - d1), D2 = h / (h0 + h1) (d0 - d1)
                let recent = [h / newer, -h / newer, 0.0];
                let early = [0.0, h / older, -h / older];
                let change = [0, 1, 2].map(|k| recent[k] - early[k]);
                let factor = if self.exact_second_difference { 2.0 } else { 1.0 };
                add(prefix * first(q), [0, 1, 2].map(|k| recent[k] + newer / both * change[k]));
                add(factor * prefix * second(q), change.map(|part| h / both * part));
            }
            _ => {}
        }
        Weights { state, evaluations, noise }
    }

    /// The step's exact part, finite where its length in lambda is not.
    fn linear(&self, from: &Level, to: &Level) -> Linear {
        let (noise, spread) = (self.eta.powi(2), 1.0 + self.eta.powi(2));
        let decay = from.decay(to);
        let h = -decay.ln();
        match self.quantity {
            // x' = (sigma'/sigma) e^{-eta^2 h} x - alpha' [..] + sigma' sqrt(1 - e^{-2 eta^2 h}) z, q = -(1 + eta^2) h
            Quantity::Data => Linear {
                state: to.sigma / from.sigma * decay.powf(noise),
                prefix: to.alpha,
                q: -spread * h,
                newest: to.alpha * (decay.powf(spread) - 1.0),
                noise: to.sigma * (1.0 - decay.powf(2.0 * noise)).sqrt(),
            },
            // x' = (alpha'/alpha) x - (1 + eta^2) sigma' [..] + eta sigma' sqrt(e^{2h} - 1) z, q = h
            Quantity::Noise => Linear {
                state: to.alpha / from.alpha,
                prefix: spread * to.sigma,
                q: h,
                newest: spread * (to.alpha / from.alpha * from.sigma - to.sigma),
                noise: if self.eta > 0.0 { self.eta * to.sigma * (decay.powi(-2) - 1.0).sqrt() } else { 0.0 },
            },
        }
    }

    /// Everything that is wrong with it.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check((1..=3).contains(&self.order), "order", "must be 1, 2 or 3");
        problems.check((0.0..=1.0).contains(&self.eta), "eta", "must be in [0, 1]");
        problems
    }
}

/// What a step has whatever its order.
struct Linear {
    /// The weight of the state, `R`.
    state: f64,
    /// `P`
    prefix: f64,
    q: f64,
    /// `P (e^q - 1)`
    newest: f64,
    noise: f64,
}

/// What a step multiplies.
#[derive(Clone, Copy, Debug, Default)]
struct Weights {
    state: f64,
    /// Newest first.
    evaluations: [f64; 3],
    noise: f64,
}
