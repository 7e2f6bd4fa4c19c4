//! From rewards to advantages: how much better a sample is than others of its prompt.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

/// How rewards become advantages, `(r - mean) / (deviation + epsilon)`.
///
/// Published choices: Flow-GRPO takes means over the group, the deviation over the batch (or the group), of the whole
/// population, and 1e-4; DanceGRPO, MixGRPO and G2RPO take both over the group, unbiased, and 1e-8.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Advantage {
    /// Whose mean is taken off.
    pub center: Over,
    /// Whose standard deviation is divided by; none: only the mean is taken off.
    pub scale: Scale,
    /// Whether the variance is the unbiased one, of n - 1.
    pub unbiased: bool,
    /// Added to the deviation, >= 0.
    pub epsilon: f64,
    /// In which order several rewards become one advantage.
    pub combination: Combination,
}

/// A set of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// Those of the same prompt.
    #[default]
    Group,
    /// All of the batch.
    Batch,
}

/// What centred rewards are divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// The deviation of the samples of the same prompt.
    #[default]
    Group,
    /// The deviation of the whole batch's rewards (`global_std` of Flow-GRPO).
    Batch,
    /// Nothing.
    None,
}

/// In which order several rewards become one advantage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Combination {
    /// Each reward's advantages first, then their weighted sum (DanceGRPO, MixGRPO, G2RPO).
    #[default]
    Advantages,
    /// The rewards' weighted sum first, then its advantages (Flow-GRPO).
    Rewards,
}

impl Default for Advantage {
    fn default() -> Self {
        Self {
            center: Over::Group,
            scale: Scale::Group,
            unbiased: true,
            epsilon: 1e-8,
            combination: Combination::Advantages,
        }
    }
}

impl Advantage {
    /// The advantages of one reward; samples of equal numbers in `groups` belong to one prompt. Where all rewards of a
    /// prompt are equal they are exactly zero, if the mean is the group's.
    pub fn of_reward(&self, rewards: &[f64], groups: &[usize]) -> Vec<f64> {
        let all = Moments::of(rewards.iter().copied(), self.unbiased);
        let advantage = |(reward, group): (&f64, &usize)| {
            let members = rewards.iter().zip(groups).filter(|(_, other)| *other == group).map(|(reward, _)| *reward);
            let own = Moments::of(members, self.unbiased);
            let (mean, tied) = match self.center {
                Over::Group => (own.mean, own.tied),
                Over::Batch => (all.mean, all.tied),
            };
            let scale = match self.scale {
                Scale::Group => own.deviation + self.epsilon,
                Scale::Batch => all.deviation + self.epsilon,
                Scale::None => 1.0,
            };
            // The mean of equal numbers may be another number in its last bit.
            if tied { 0.0 } else { (reward - mean) / scale }
        };
        rewards.iter().zip(groups).map(advantage).collect()
    }

    /// The advantages of several rewards with their weights. Of any number of rewards the sum over a group is zero, if the
    /// mean is the group's.
    pub fn of_rewards(&self, rewards: &[(f64, Vec<f64>)], groups: &[usize]) -> Vec<f64> {
        self.combined(rewards, |_, rewards| self.of_reward(rewards, groups))
    }

    /// One advantage from several rewards with their weights, by `of(index, rewards)`, which gives the advantages of one;
    /// rewards of weight 0 take no part.
    pub(crate) fn combined(
        &self,
        rewards: &[(f64, Vec<f64>)],
        mut of: impl FnMut(usize, &[f64]) -> Vec<f64>,
    ) -> Vec<f64> {
        let mut total = vec![0.0; rewards.first().map_or(0, |(_, values)| values.len())];
        for (index, (weight, values)) in rewards.iter().enumerate().filter(|(_, (weight, _))| *weight != 0.0) {
            let values = match self.combination {
                Combination::Advantages => &of(index, values),
                Combination::Rewards => values,
            };
            total.iter_mut().zip(values).for_each(|(total, value)| *total += weight * value);
        }
        match self.combination {
            Combination::Advantages => total,
            Combination::Rewards => of(0, &total),
        }
    }

    /// Everything that is wrong with it.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.epsilon >= 0.0 && self.epsilon.is_finite(), "epsilon", "must be finite and not negative");
        problems
    }
}

/// Mean and deviation of some rewards.
pub(crate) struct Moments {
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
    /// Whether all are equal.
    pub(crate) tied: bool,
}

impl Moments {
    pub(crate) fn of(rewards: impl Iterator<Item = f64> + Clone, unbiased: bool) -> Self {
        let count = rewards.clone().count() as f64;
        let mean = rewards.clone().sum::<f64>() / count;
        let squares: f64 = rewards.clone().map(|reward| (reward - mean).powi(2)).sum();
        let freedom = if unbiased { count - 1.0 } else { count };
        let tied = rewards.clone().zip(rewards.skip(1)).all(|(one, next)| one == next);
        Self { mean, deviation: (squares / freedom.max(1.0)).sqrt(), tied }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REWARDS: [f64; 6] = [1.0, 2.0, 3.0, 0.1, 0.1, 0.1];
    const GROUPS: [usize; 6] = [0, 0, 0, 1, 1, 1];

    fn flow_grpo(scale: Scale) -> Advantage {
        Advantage { scale, unbiased: false, epsilon: 1e-4, ..Advantage::default() }
    }

    #[test]
    fn a_group_of_three_by_hand() {
        let unbiased = Advantage { epsilon: 0.0, ..Advantage::default() }.of_reward(&REWARDS, &GROUPS);
        assert_eq!(unbiased[..3], [-1.0, 0.0, 1.0]);
        let whole = flow_grpo(Scale::Group).of_reward(&REWARDS, &GROUPS);
        assert!((whole[2] - 1.0 / ((2.0f64 / 3.0).sqrt() + 1e-4)).abs() < 1e-12);
        let mean = Advantage { scale: Scale::None, ..Advantage::default() }.of_reward(&REWARDS, &GROUPS);
        assert_eq!(mean[..3], [-1.0, 0.0, 1.0]);
        let centered = Advantage { center: Over::Batch, scale: Scale::None, ..Advantage::default() };
        assert!(centered.of_reward(&REWARDS, &GROUPS).iter().sum::<f64>().abs() < 1e-12);
    }

    #[test]
    fn ties_have_no_advantage_at_all() {
        for advantage in [Advantage::default(), flow_grpo(Scale::Batch), flow_grpo(Scale::Group)] {
            assert_eq!(advantage.of_reward(&REWARDS, &GROUPS)[3..], [0.0; 3]);
        }
        // One sample is better than no other.
        assert_eq!(Advantage::default().of_reward(&[0.3], &[0]), [0.0]);
    }

    #[test]
    fn advantages_sum_to_zero_within_each_group() {
        let second = vec![0.3, 0.9, 0.2, 0.5, 0.1, 0.8];
        let rewards = [(1.0, REWARDS.to_vec()), (0.5, second)];
        for combination in [Combination::Advantages, Combination::Rewards] {
            for scale in [Scale::Group, Scale::Batch, Scale::None] {
                let advantage = Advantage { scale, combination, ..Advantage::default() };
                let all = advantage.of_rewards(&rewards, &GROUPS);
                assert!(all[..3].iter().sum::<f64>().abs() < 1e-12 && all[3..].iter().sum::<f64>().abs() < 1e-12);
                assert!(all[3..].iter().any(|value| *value != 0.0));
            }
        }
    }

    #[test]
    fn the_order_of_the_sum_matters() {
        let rewards = [(1.0, vec![0.0, 1.0]), (1.0, vec![100.0, 0.0])];
        let of = |combination| Advantage { combination, ..Advantage::default() }.of_rewards(&rewards, &[0, 0]);
        let each = of(Combination::Advantages);
        assert!(each.iter().all(|value| value.abs() < 1e-7), "{each:?}");
        assert!(of(Combination::Rewards)[0] > 0.7);
    }
}
