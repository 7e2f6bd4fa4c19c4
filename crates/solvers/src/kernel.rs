//! Steps with noise of their own: Gaussian kernels whose means are linear in the state and the expected data.

use std::f64::consts::{FRAC_PI_2, TAU};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_process::{Linear, PathPoint, Prediction};

use crate::clock::Slope;
use crate::{Builder, Level, Quantity, Register, STATE};

/// How a stochastic step draws the next state.
///
/// Read as a policy of reinforcement learning, a step is an action with a density; without noise each kernel is a
/// deterministic step. On the linear flow `t` is a state's time, `v` the velocity and `D < 0` the step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Kernel {
    /// Flow-GRPO's SDE, with the noise `g = a sqrt(t / (1 - t))` (Liu et al. 2025, eq. 9).
    Flow(FlowKernel),
    /// DanceGRPO's SDE, with a constant `g` (Xue et al. 2025).
    Constant(ConstantKernel),
    /// The coefficients-preserving step of Flow-CPS: a share of the next state's own noise is fresh.
    CoefficientsPreserving(PreservingKernel),
    /// The posterior of DDPM, as DDIM scales it: what DDPO samples with (Black et al. 2023).
    Ancestral(AncestralKernel),
}

/// The reverse SDE of the path with noise `g = noise sqrt(sigma / alpha)`, by an Euler step. On the linear flow that is
/// `noise sqrt(t / (1 - t))`. Where alpha is 0, that of the next point stands in for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FlowKernel {
    /// The level of noise, >= 0.
    pub noise: f64,
}

impl Default for FlowKernel {
    fn default() -> Self {
        Self { noise: 0.7 }
    }
}

/// The reverse SDE of the path with the same noise `g` at all times, by an Euler step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConstantKernel {
    /// `g`, >= 0.
    pub noise: f64,
}

impl Default for ConstantKernel {
    fn default() -> Self {
        Self { noise: 0.3 }
    }
}

/// `x' = alpha' x0 + sqrt(sigma'^2 - s^2) eps + s z` with `s = sigma' sin(noise pi / 2)`: no noise is left at data. The
/// marginals of the path are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PreservingKernel {
    /// In [0, 1].
    pub noise: f64,
}

impl Default for PreservingKernel {
    fn default() -> Self {
        Self { noise: 0.8 }
    }
}

/// `x' = alpha' x0 + sqrt(sigma'^2 - s^2) eps + s z` with `s` the posterior's deviation times `eta`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AncestralKernel {
    /// In [0, 1]; 1 is DDPM's step with the smaller variance.
    pub eta: f64,
}

impl Default for AncestralKernel {
    fn default() -> Self {
        Self { eta: 1.0 }
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self::Flow(FlowKernel::default())
    }
}

impl Kernel {
    /// The same kernel without noise: Euler's step in time of the SDEs, DDIM's of the others; on the linear flow they are
    /// the same step.
    pub fn quiet(&self) -> Self {
        match self {
            Self::Flow(_) => Self::Flow(FlowKernel { noise: 0.0 }),
            Self::Constant(_) => Self::Constant(ConstantKernel { noise: 0.0 }),
            Self::CoefficientsPreserving(_) => Self::CoefficientsPreserving(PreservingKernel { noise: 0.0 }),
            Self::Ancestral(_) => Self::Ancestral(AncestralKernel { eta: 0.0 }),
        }
    }

    /// `g` of the SDE `dx = (u - g^2/2 score) dt + g dw` that a step follows, with `u` the path's velocity; none of
    /// kernels that follow no SDE of fixed noise.
    pub fn diffusion(&self, from: &PathPoint, to: &PathPoint) -> Option<f64> {
        match self {
            Self::Flow(kernel) => {
                let alpha = if from.alpha == 0.0 { to.alpha } else { from.alpha };
                Some(kernel.noise * (from.sigma / alpha).sqrt())
            }
            Self::Constant(kernel) => Some(kernel.noise),
            Self::CoefficientsPreserving(_) | Self::Ancestral(_) => None,
        }
    }

    /// The step between two points, downwards in noise. `from` is not data.
    pub fn transition(&self, from: &PathPoint, to: &PathPoint) -> Transition {
        let levels: (Level, Level) = (from.into(), to.into());
        match self {
            Self::CoefficientsPreserving(kernel) => {
                remixed(levels.0, levels.1, to.sigma * (kernel.noise * FRAC_PI_2).sin(), from.t - to.t)
            }
            Self::Ancestral(kernel) => {
                let fresh = (1.0 - levels.0.decay(&levels.1).powi(2)).max(0.0).sqrt();
                remixed(levels.0, levels.1, kernel.eta * to.sigma * fresh, from.t - to.t)
            }
            Self::Flow(_) | Self::Constant(_) => {
                let noise = self.diffusion(from, to).unwrap_or_default();
                euler_maruyama(from, to, noise)
            }
        }
    }

    /// Appends a step that leaves the expected data in `data`.
    pub(crate) fn step(&self, plan: &mut Builder, from: &PathPoint, to: &PathPoint, data: Register, noise: Register) {
        let transition = self.transition(from, to);
        plan.evaluate(Quantity::Data, data, STATE, from.into());
        let mut terms = vec![(transition.state, STATE), (transition.data, data)];
        if transition.deviation > 0.0 {
            plan.noise(noise, plan.step());
            terms.push((transition.deviation, noise));
        }
        plan.combine(STATE, terms);
        plan.reach(to.into());
    }

    /// Everything that is wrong with it.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        let level = |noise: f64| noise >= 0.0 && noise.is_finite();
        match self {
            Self::Flow(FlowKernel { noise }) | Self::Constant(ConstantKernel { noise }) => {
                problems.check(level(*noise), "noise", "must be finite and not negative");
            }
            Self::CoefficientsPreserving(kernel) => {
                problems.check((0.0..=1.0).contains(&kernel.noise), "noise", "must be in [0, 1]");
            }
            Self::Ancestral(kernel) => problems.check((0.0..=1.0).contains(&kernel.eta), "eta", "must be in [0, 1]"),
        }
        problems
    }
}

/// `x + D (u - g^2/2 score) + g sqrt(-D) z` with `score = (alpha x0 - x) / sigma^2`.
fn euler_maruyama(from: &PathPoint, to: &PathPoint, g: f64) -> Transition {
    let step = to.t - from.t;
    let slope = Slope::at(from);
    let pull = g.powi(2) / (2.0 * from.sigma.powi(2));
    Transition {
        state: 1.0 + step * (slope.state + pull),
        data: step * (slope.data - pull * from.alpha),
        deviation: g * (-step).sqrt(),
        duration: -step,
    }
}

/// `alpha' x0 + sqrt(sigma'^2 - s^2) eps + s z` with `eps = (x - alpha x0) / sigma`.
fn remixed(from: Level, to: Level, fresh: f64, duration: f64) -> Transition {
    let kept = (to.sigma.powi(2) - fresh.powi(2)).max(0.0).sqrt() / from.sigma;
    Transition { state: kept, data: to.alpha - kept * from.alpha, deviation: fresh, duration }
}

/// A step worked out: `x' = state x + data x0 + deviation z`, with `x0` the expected data and `z` standard normal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transition {
    /// Coefficient of the state.
    pub state: f64,
    /// Coefficient of the expected data.
    pub data: f64,
    /// Standard deviation of the noise, >= 0.
    pub deviation: f64,
    /// How long the step is in time, > 0.
    pub duration: f64,
}

/// How a step's density is read. It is a mean over elements, so that ratios of densities do not grow with the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Density {
    /// Of the normal law that the step draws from.
    #[default]
    Normal,
    /// `-(x' - mean)^2`, without variance and constants: as published with the coefficients-preserving step.
    SquaredError,
}

/// How far a step's mean lies from that of a step of the same variance: published scales of one divergence, which differ
/// by constants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Divergence {
    /// `|m - m'|^2 / (2 s^2)`, the Kullback-Leibler divergence of the two steps.
    Sum,
    /// The same, as the mean over elements.
    #[default]
    Mean,
    /// The mean of `(m - m')^2 / (2 g^2)` with `s^2 = g^2 |D|`: Flow-GRPO's code, whose weights belong to this scale.
    WithoutStep,
}

impl Transition {
    /// The mean of the next state.
    pub fn mean(&self, state: &[f64], data: &[f64]) -> Vec<f64> {
        state.iter().zip(data).map(|(x, x0)| self.state * x + self.data * x0).collect()
    }

    /// The mean as a combination of the state and what a network predicts at `from`.
    pub fn of_prediction(&self, prediction: &Prediction, from: &PathPoint) -> Linear {
        let map = prediction.data_from(from);
        Linear { x: self.state + self.data * map.x, prediction: self.data * map.prediction }
    }

    /// The log density of the next state given its mean, both of one sample: the mean over elements.
    pub fn log_density(&self, density: Density, next: &[f64], mean: &[f64]) -> f64 {
        let squares = next.iter().zip(mean).map(|(x, m)| (x - m).powi(2)).sum::<f64>() / mean.len() as f64;
        match density {
            Density::Normal => -0.5 * squares / self.deviation.powi(2) - self.deviation.ln() - 0.5 * TAU.ln(),
            Density::SquaredError => -squares,
        }
    }

    /// The factor `f` by which a difference of log densities follows from the noise that two means of one next state
    /// stand for, `z = (x' - m) / s`: `f mean(z^2 - z'^2)` is that of `m'` less that of `m`.
    pub fn log_ratio_scale(&self, density: Density) -> f64 {
        match density {
            Density::Normal => 0.5,
            Density::SquaredError => self.deviation.powi(2),
        }
    }

    /// How far two means of `elements` numbers lie apart, from the mean of their squared differences.
    pub fn divergence(&self, form: Divergence, mean_square: f64, elements: usize) -> f64 {
        mean_square * self.divergence_scale(form, elements)
    }

    /// The factor from the mean of squared differences of two means to their divergence.
    pub fn divergence_scale(&self, form: Divergence, elements: usize) -> f64 {
        let mean = 0.5 / self.deviation.powi(2);
        match form {
            Divergence::Sum => elements as f64 * mean,
            Divergence::Mean => mean,
            Divergence::WithoutStep => self.duration * mean,
        }
    }
}

#[cfg(test)]
mod tests {
    use sinter_process::Path;
    use sinter_process::path::VpLinear;

    use super::*;

    const VELOCITY: Prediction = Prediction::Velocity;

    fn flow(t: f64) -> PathPoint {
        Path::LinearFlow.at(t)
    }

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() <= 1e-12 * (1.0 + left.abs().max(right.abs()))
    }

    /// Flow-GRPO's step as its authors write it, in the velocity: `x (1 + g^2 D / 2t) + v (1 + g^2 (1 - t) / 2t) D`.
    #[test]
    fn the_sde_step_is_the_published_one_in_the_velocity() {
        for (t, to) in [(0.9, 0.7), (0.5, 0.4), (0.1, 0.0)] {
            let step: f64 = to - t;
            for (kernel, g) in [
                (Kernel::Flow(FlowKernel { noise: 0.7 }), 0.7 * (t / (1.0 - t)).sqrt()),
                (Kernel::Constant(ConstantKernel { noise: 0.3 }), 0.3),
            ] {
                let transition = kernel.transition(&flow(t), &flow(to));
                let ours = transition.of_prediction(&VELOCITY, &flow(t));
                assert!(close(ours.x, 1.0 + g * g * step / (2.0 * t)), "{kernel:?} {t}");
                assert!(close(ours.prediction, (1.0 + g * g * (1.0 - t) / (2.0 * t)) * step), "{kernel:?} {t}");
                assert!(close(transition.deviation, g * (-step).sqrt()) && close(transition.duration, -step));
                assert!(kernel.diffusion(&flow(t), &flow(to)).is_some_and(|found| close(found, g)));
            }
        }
    }

    /// From pure noise, `x' = (1 - a^2/2) x + D v + a z`, wherever the step leads.
    #[test]
    fn the_first_step_has_a_closed_form() {
        for to in [0.99, 0.9, 0.5] {
            let transition = Kernel::Flow(FlowKernel { noise: 0.7 }).transition(&flow(1.0), &flow(to));
            let mean = transition.of_prediction(&VELOCITY, &flow(1.0));
            assert!(close(transition.deviation, 0.7));
            assert!(close(mean.x, 1.0 - 0.49 / 2.0) && close(mean.prediction, to - 1.0), "{mean:?}");
        }
    }

    /// DanceGRPO's score is that of the expected data, `-(x - (1 - t) x0) / t^2`.
    #[test]
    fn both_forms_of_the_score_give_one_step() {
        let (t, to, eta, x, v) = (0.6, 0.45, 0.3_f64, 0.8, -1.3);
        let step = to - t;
        let data = x - t * v;
        let score = -(x - (1.0 - t) * data) / (t * t);
        let published = x + step * v - 0.5 * eta * eta * score * step;
        let ours = Kernel::Constant(ConstantKernel { noise: eta }).transition(&flow(t), &flow(to));
        assert!(close(ours.mean(&[x], &[data])[0], published));
        let other = -(x + (1.0 - t) * v) / t;
        assert!(close(score, other));
    }

    #[test]
    fn without_noise_every_kernel_is_the_step_of_the_flow() {
        let kernels = [
            Kernel::Flow(FlowKernel::default()),
            Kernel::Constant(ConstantKernel::default()),
            Kernel::CoefficientsPreserving(PreservingKernel::default()),
            Kernel::Ancestral(AncestralKernel::default()),
        ];
        for kernel in kernels {
            for (t, to) in [(1.0, 0.9), (0.5, 0.3), (0.2, 0.0)] {
                let quiet = kernel.quiet().transition(&flow(t), &flow(to));
                let euler = quiet.of_prediction(&VELOCITY, &flow(t));
                assert_eq!(quiet.deviation, 0.0);
                assert!(close(euler.x, 1.0) && close(euler.prediction, to - t), "{kernel:?} {t}");
                assert!(kernel.transition(&flow(t), &flow(0.1)).deviation > 0.0);
            }
        }
    }

    /// The variance that the literature writes with cumulated alphas.
    #[test]
    fn the_ancestral_step_is_the_posterior() {
        let path = Path::VpLinear(VpLinear::default());
        for (from, to) in [(1.0, 0.8), (0.5, 0.49), (0.2, 0.001)] {
            let (from, to) = (path.at(from), path.at(to));
            let (now, next) = (from.alpha.powi(2), to.alpha.powi(2));
            let variance = (1.0 - next) / (1.0 - now) * (1.0 - now / next);
            for eta in [0.3, 1.0] {
                let step = Kernel::Ancestral(AncestralKernel { eta }).transition(&from, &to);
                assert!((step.deviation / (eta * variance.sqrt()) - 1.0).abs() < 1e-9);
                let (x, eps) = (0.7, -0.4);
                let data = (x - from.sigma * eps) / from.alpha;
                let mean = to.alpha * data + (1.0 - next - eta * eta * variance).sqrt() * eps;
                assert!((step.mean(&[x], &[data])[0] - mean).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn the_preserving_step_leaves_no_noise_at_data() {
        let kernel = Kernel::CoefficientsPreserving(PreservingKernel { noise: 0.8 });
        let last = kernel.transition(&flow(0.2), &flow(0.0));
        assert_eq!((last.state, last.data, last.deviation), (0.0, 1.0, 0.0));
        let (t, to, x, v) = (0.5, 0.3, 0.4, 1.1);
        let deviation: f64 = to * (0.8 * FRAC_PI_2).sin();
        let mean = (1.0 - to) * (x - t * v) + (to * to - deviation * deviation).sqrt() * (x + (1.0 - t) * v);
        let step = kernel.transition(&flow(t), &flow(to));
        assert!(close(step.mean(&[x], &[x - t * v])[0], mean) && close(step.deviation, deviation));
    }

    /// `|m - m'|^2 / (2 g^2 |D|) = |D|/2 (1/g + g (1 - t) / 2t)^2 |v - v'|^2`.
    #[test]
    fn the_divergence_is_the_same_in_means_and_in_velocities() {
        let (t, to) = (0.7, 0.55);
        for kernel in [Kernel::Flow(FlowKernel::default()), Kernel::Constant(ConstantKernel::default())] {
            let g = kernel.diffusion(&flow(t), &flow(to)).unwrap();
            let step = kernel.transition(&flow(t), &flow(to));
            let (one, other) = ([0.3, -0.8, 1.4], [0.1, -0.9, 1.7]);
            let squares: f64 = one.iter().zip(&other).map(|(a, b)| (a - b) * (a - b)).sum();
            let factor = step.of_prediction(&VELOCITY, &flow(t)).prediction;
            let of_means = step.divergence(Divergence::Sum, factor * factor * squares / 3.0, 3);
            let of_velocities = (t - to) / 2.0 * (1.0 / g + g * (1.0 - t) / (2.0 * t)).powi(2) * squares;
            assert!(close(of_means, of_velocities), "{of_means} {of_velocities}");
            let mean_square = factor * factor * squares / 3.0;
            assert!(close(step.divergence(Divergence::Mean, mean_square, 3), of_means / 3.0));
            let published = mean_square / (2.0 * g * g);
            assert!(close(step.divergence(Divergence::WithoutStep, mean_square, 3), published));
        }
    }

    #[test]
    fn densities_follow_from_the_noise_that_was_drawn() {
        let step = Kernel::Flow(FlowKernel::default()).transition(&flow(0.8), &flow(0.6));
        let (mean, other) = ([0.2, -0.5], [0.25, -0.45]);
        let noise = [0.4, -1.2];
        let next: Vec<f64> = mean.iter().zip(&noise).map(|(m, z)| m + step.deviation * z).collect();
        let seen: Vec<f64> = next.iter().zip(&other).map(|(x, m)| (x - m) / step.deviation).collect();
        let squares: f64 = noise.iter().zip(&seen).map(|(a, b)| a * a - b * b).sum();
        for density in [Density::Normal, Density::SquaredError] {
            let ratio = step.log_density(density, &next, &other) - step.log_density(density, &next, &mean);
            assert!(close(ratio, step.log_ratio_scale(density) * squares / 2.0));
        }
        // The normal density integrates to one.
        let single = |x: f64| step.log_density(Density::Normal, &[x], &[0.0]).exp();
        let sum: f64 = (-4000..4000).map(|i| single(f64::from(i) * 1e-3) * 1e-3).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = [
            Kernel::Flow(FlowKernel { noise: -0.1 }),
            Kernel::Constant(ConstantKernel { noise: f64::NAN }),
            Kernel::CoefficientsPreserving(PreservingKernel { noise: 1.1 }),
            Kernel::Ancestral(AncestralKernel { eta: 2.0 }),
        ];
        assert!(wrong.iter().all(|kernel| kernel.validate().len() == 1));
        assert!(Kernel::default().validate().is_empty());
    }
}
