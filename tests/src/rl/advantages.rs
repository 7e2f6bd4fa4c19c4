//! Advantages in their published normalisations, and G2RPO's sum over strides and rewards.

use sinter_objectives::reward::{Advantage, Scale};

use super::{Meaning, read, scalar};
use crate::golden::{File, number};

/// Of DanceGRPO, MixGRPO and G2RPO.
const UNBIASED: fn() -> Advantage = Advantage::default;

/// Of Flow-GRPO.
fn flow_grpo(scale: Scale) -> Advantage {
    Advantage { scale, unbiased: false, epsilon: 1e-4, ..Advantage::default() }
}

pub(super) fn meaning(fields: &[&str]) -> Option<Meaning> {
    let single = |advantage: Advantage| {
        Meaning::ours(move |file| {
            let rewards = read(file, "rewards")?;
            Ok(advantage.of_reward(&rewards, &groups(file, rewards.len())?))
        })
    };
    match *fields {
        ["rewards" | "group_size"] | ["g2rpo", "rewards"] => Some(Meaning::Input),
        ["adv", "dance"] => single(UNBIASED()),
        ["adv", "mean_only"] => single(Advantage { scale: Scale::None, ..UNBIASED() }),
        ["adv", "flowgrpo", global] => {
            let global: usize = number(global, "global_std")?;
            single(flow_grpo(if global == 1 { Scale::Batch } else { Scale::Group }))
        }
        ["g2rpo", "adv_each"] => Meaning::ours(|file| {
            let rewards = Granular::read(file)?;
            let advantages = rewards.columns(|rewards, groups| UNBIASED().of_reward(&rewards, groups));
            Ok(rewards.restored(&advantages, rewards.kinds))
        }),
        ["g2rpo", "advantages"] => Meaning::ours(|file| {
            let rewards = Granular::read(file)?;
            let all = rewards.columns(|rewards, _| rewards);
            // The sum runs over rewards and strides; every step has its own.
            let steps = (0..rewards.steps).map(|step| {
                let kinds: Vec<(f64, Vec<f64>)> =
                    all.iter().skip(step).step_by(rewards.steps).map(|column| (1.0, column.clone())).collect();
                UNBIASED().of_rewards(&kinds, &rewards.groups)
            });
            let steps: Vec<Vec<f64>> = steps.collect();
            Ok(rewards.restored(&steps, 1))
        }),
        _ => None,
    }
}

/// The prompt of each sample: so many samples of one follow each other.
fn groups(file: &File, samples: usize) -> Result<Vec<usize>, String> {
    let size = scalar(file, "group_size")? as usize;
    Ok((0..samples).map(|sample| sample / size.max(1)).collect())
}

/// Rewards `[rewards, strides, samples, steps]`.
struct Granular {
    values: Vec<f64>,
    /// Rewards times strides.
    kinds: usize,
    samples: usize,
    steps: usize,
    groups: Vec<usize>,
}

impl Granular {
    fn read(file: &File) -> Result<Self, String> {
        let (shape, values) = file.tensor("g2rpo.rewards").map_err(|error| error.to_string())?;
        let [rewards, strides, samples, steps] = shape[..] else {
            return Err(format!("g2rpo.rewards: {shape:?} is not [rewards, strides, samples, steps]"));
        };
        Ok(Self { values, kinds: rewards * strides, samples, steps, groups: groups(file, samples)? })
    }

    /// Something of the samples' rewards of each kind and step, the steps of a kind after each other.
    fn columns(&self, of: impl Fn(Vec<f64>, &[usize]) -> Vec<f64>) -> Vec<Vec<f64>> {
        let column = |kind: usize, step: usize| -> Vec<f64> {
            (0..self.samples).map(|sample| self.values[(kind * self.samples + sample) * self.steps + step]).collect()
        };
        let pairs = (0..self.kinds).flat_map(|kind| (0..self.steps).map(move |step| (kind, step)));
        pairs.map(|(kind, step)| of(column(kind, step), &self.groups)).collect()
    }

    /// Columns back in the order of the file, `[kinds, samples, steps]`.
    fn restored(&self, columns: &[Vec<f64>], kinds: usize) -> Vec<f64> {
        let pairs = (0..kinds).flat_map(|kind| (0..self.samples).map(move |sample| (kind, sample)));
        let row =
            |(kind, sample): (usize, usize)| (0..self.steps).map(move |step| columns[kind * self.steps + step][sample]);
        pairs.flat_map(row).collect()
    }
}
