//! Rewards of a prompt over many batches: DDPO's per-prompt statistics.

use std::collections::{BTreeMap, VecDeque};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use super::Advantage;
use super::advantage::{Moments, Scale};

/// How many rewards of each prompt are remembered (Black et al. 2023, appendix: 16 and 16).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Newest rewards kept of a prompt, >= 1.
    pub samples: usize,
    /// Rewards from which a prompt's own mean and deviation count; with fewer, those of the batch do.
    pub minimum: usize,
}

impl Default for History {
    fn default() -> Self {
        Self { samples: 16, minimum: 16 }
    }
}

impl History {
    /// Everything that is wrong with it.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.samples >= 1, "samples", "must be at least 1");
        let within = self.minimum >= 1 && self.minimum <= self.samples;
        problems.check(within, "minimum", "must be at least 1 and at most `samples`");
        problems
    }
}

/// The newest rewards by reward and prompt, in 32 bits, as a checkpoint keeps them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PromptMemory(BTreeMap<(String, String), VecDeque<f32>>);

impl PromptMemory {
    /// Remembers the rewards of a batch, and gives each its advantage over what is remembered of its prompt.
    pub fn of_reward(
        &mut self,
        history: &History,
        advantage: &Advantage,
        reward: &str,
        prompts: &[String],
        rewards: &[f64],
    ) -> Vec<f64> {
        for (prompt, value) in prompts.iter().zip(rewards) {
            let kept = self.0.entry((reward.to_owned(), prompt.clone())).or_default();
            if kept.len() == history.samples {
                kept.pop_front();
            }
            kept.push_back(*value as f32);
        }
        let all = Moments::of(rewards.iter().copied(), advantage.unbiased);
        let advantage_of = |(prompt, value): (&String, &f64)| {
            let kept = &self.0[&(reward.to_owned(), prompt.clone())];
            let own = Moments::of(kept.iter().map(|value| f64::from(*value)), advantage.unbiased);
            let of = if kept.len() >= history.minimum { &own } else { &all };
            match advantage.scale {
                _ if of.tied => 0.0,
                Scale::None => value - of.mean,
                Scale::Group => (value - of.mean) / (of.deviation + advantage.epsilon),
                Scale::Batch => (value - of.mean) / (all.deviation + advantage.epsilon),
            }
        };
        prompts.iter().zip(rewards).map(advantage_of).collect()
    }

    /// What is remembered, by reward and prompt.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &str, Vec<f32>)> {
        self.0.iter().map(|((reward, prompt), kept)| (&reward[..], &prompt[..], kept.iter().copied().collect()))
    }

    /// Puts back what was remembered.
    pub(crate) fn insert(&mut self, reward: &str, prompt: &str, values: Vec<f32>) {
        self.0.insert((reward.to_owned(), prompt.to_owned()), values.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HISTORY: History = History { samples: 3, minimum: 3 };

    fn prompts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_prompt_is_measured_by_its_own_rewards_once_there_are_enough() {
        let advantage = Advantage { unbiased: false, epsilon: 0.0, ..Advantage::default() };
        let mut memory = PromptMemory::default();
        let names = prompts(&["a", "b"]);
        // Few of each: the batch's mean and deviation.
        let mut of = |rewards: &[f64]| memory.of_reward(&HISTORY, &advantage, "r", &names, rewards);
        assert_eq!(of(&[1.0, 3.0]), [-1.0, 1.0]);
        assert_eq!(of(&[2.0, 3.0]), [-1.0, 1.0]);
        // Of `a` there are 1, 2, 3 now; of `b` only equal ones.
        let third = of(&[3.0, 3.0]);
        assert!((third[0] - 1.0 / (2.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(third[1], 0.0);
        // The oldest is forgotten: 2, 3, 4.
        assert!((of(&[4.0, 3.0])[0] - 1.0 / (2.0f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn rewards_are_kept_apart_and_come_back() {
        let mut memory = PromptMemory::default();
        let names = prompts(&["a", "a"]);
        memory.of_reward(&HISTORY, &Advantage::default(), "one", &names, &[0.1, 0.2]);
        memory.of_reward(&HISTORY, &Advantage::default(), "two", &names, &[5.0, 6.0]);
        let mut copy = PromptMemory::default();
        memory.entries().for_each(|(reward, prompt, values)| copy.insert(reward, prompt, values));
        assert_eq!(copy, memory);
        assert_eq!(memory.entries().count(), 2);
        assert_eq!(History { samples: 2, minimum: 3 }.validate().len(), 1);
    }
}
