//! The clipped objective of policy gradients (Schulman et al. 2017, eq. 7).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

/// `max(-A rho, -A clip(rho, 1 - clip, 1 + clip))` with `rho` the ratio of a step's density under the policy now and as it
/// was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyLoss {
    /// How far ratios may move from 1, > 0; tiny, because densities are means over elements. None: as far as they will,
    /// the score-function estimate.
    pub clip: Option<f64>,
    /// Largest absolute advantage, > 0; none: any.
    pub advantage_limit: Option<f64>,
}

impl Default for PolicyLoss {
    fn default() -> Self {
        Self { clip: Some(1e-4), advantage_limit: Some(5.0) }
    }
}

/// The loss of one step of one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepLoss {
    /// The loss.
    pub loss: f64,
    /// Its derivative by the step's log density.
    pub gradient: f64,
    /// Whether the ratio has left the range.
    pub outside: bool,
}

impl PolicyLoss {
    /// The advantage as the loss takes it.
    pub fn limited(&self, advantage: f64) -> f64 {
        self.advantage_limit.map_or(advantage, |limit| advantage.clamp(-limit, limit))
    }

    /// The range that ratios may be in.
    pub fn range(&self) -> [f64; 2] {
        self.clip.map_or([0.0, f64::INFINITY], |clip| [1.0 - clip, 1.0 + clip])
    }

    /// The loss for an advantage and a difference of log densities, that now less that of the draw.
    pub fn step(&self, advantage: f64, log_ratio: f64) -> StepLoss {
        let advantage = self.limited(advantage);
        let ratio = log_ratio.exp();
        let [low, high] = self.range();
        let (free, clipped) = (-advantage * ratio, -advantage * ratio.clamp(low, high));
        let outside = !(low..=high).contains(&ratio);
        StepLoss { loss: free.max(clipped), gradient: if clipped > free { 0.0 } else { free }, outside }
    }

    /// Everything that is wrong with it.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        let positive = |value: Option<f64>| value.is_none_or(|value| value > 0.0);
        problems.check(positive(self.clip), "clip", "must be above 0");
        problems.check(positive(self.advantage_limit), "advantage_limit", "must be above 0");
        problems
    }
}

/// An estimate of the divergence of the policy from what it was at the draw, `mean(d^2) / 2` over differences of log
/// densities.
pub fn approximate_divergence(log_ratios: &[f64]) -> f64 {
    log_ratios.iter().map(|difference| difference * difference).sum::<f64>() / (2.0 * log_ratios.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_the_derivative_of_the_loss() {
        let loss = PolicyLoss { clip: Some(0.2), advantage_limit: Some(1.5) };
        for advantage in [-3.0, -0.4, 0.7, 2.0] {
            for log_ratio in [-0.5, -0.1, 0.05, 0.3] {
                let step = 1e-6;
                let difference =
                    loss.step(advantage, log_ratio + step).loss - loss.step(advantage, log_ratio - step).loss;
                let found = loss.step(advantage, log_ratio).gradient;
                assert!((difference / (2.0 * step) - found).abs() < 1e-8, "{advantage} {log_ratio}");
            }
        }
    }

    #[test]
    fn clipping_holds_only_what_has_gone_too_far_already() {
        let loss = PolicyLoss { clip: Some(0.1), advantage_limit: None };
        // A good step that has become much likelier is let go; one that has become unlikelier is pulled back.
        assert_eq!(loss.step(1.0, 0.5).gradient, 0.0);
        assert!(loss.step(1.0, -0.5).gradient < 0.0);
        assert!(loss.step(-1.0, 0.5).gradient > 0.0);
        assert_eq!(loss.step(-1.0, -0.5).gradient, 0.0);
        assert!(loss.step(1.0, 0.5).outside && !loss.step(1.0, 0.01).outside);
    }

    /// At the ratio 1 the clipped loss and the score function have one gradient, `-A`.
    #[test]
    fn before_any_update_it_is_the_score_function() {
        let free = PolicyLoss { clip: None, advantage_limit: None };
        for advantage in [-2.0, 0.3, 4.0] {
            assert_eq!(PolicyLoss::default().step(advantage, 0.0).gradient, -advantage);
            assert_eq!(free.step(advantage, 0.0).gradient, -advantage);
        }
        assert!(!free.step(1.0, 3.0).outside);
    }
}
