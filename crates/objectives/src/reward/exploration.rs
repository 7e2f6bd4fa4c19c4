//! Which steps of a rollout are stochastic, and which of those are trained.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_process::random::{Draws, Permutation};
use sinter_solvers::rollout::StridedEnd;

use super::Window;

/// Which steps are stochastic. What they have in common: a step `k` that is trained has a state before it and one after
/// it, and an advantage of each sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Exploration {
    /// All of them (Flow-GRPO, DanceGRPO, DDPO).
    Trajectory(Trajectory),
    /// Those in a moving window (MixGRPO).
    Window(Window),
    /// One in each of several branches off one deterministic sample (G2RPO).
    Branches(Branches),
}

impl Default for Exploration {
    fn default() -> Self {
        Self::Trajectory(Trajectory::default())
    }
}

/// Every step is stochastic; the last one is never trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Trajectory {
    /// The share of the steps that a sample is trained on, in (0, 1]: others for each sample, drawn anew.
    pub fraction: f64,
    /// Whether the last step is stochastic, too; else the sample is the data expected before it.
    pub final_noise: bool,
}

impl Default for Trajectory {
    fn default() -> Self {
        Self { fraction: 1.0, final_noise: false }
    }
}

impl Trajectory {
    /// The steps, of `steps`, that the sample of these draws is trained on, in ascending order.
    pub fn trained(&self, steps: usize, draws: &Draws) -> Vec<usize> {
        let all = steps.saturating_sub(1);
        let count = ((all as f64 * self.fraction).floor() as usize).clamp(1.min(all), all);
        let order = Permutation::new(all as u64, draws.bits(0));
        let mut chosen: Vec<usize> = (0..count as u64).map(|place| order.get(place) as usize).collect();
        chosen.sort_unstable();
        chosen
    }
}

/// Stochastic steps one at a time: the deterministic sample of a prompt is left at each of `steps` by every sample of the
/// group, which then goes on without noise, once for each stride.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Branches {
    /// The steps at which samples branch off; empty: those of the first half.
    pub steps: Vec<usize>,
    /// The strides along the grid in which they go on, each >= 1; the advantages of all are added.
    pub strides: Vec<usize>,
    /// Where a stride that misses the grid's end leads.
    pub end: StridedEnd,
    /// Which branches make an update.
    pub update: BranchUpdate,
}

/// Which branches make an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BranchUpdate {
    /// All of them together, as their mean (the later code).
    #[default]
    Together,
    /// Those of each step make one, in order: later ones then see other ratios than 1 (the first release).
    EachStep,
}

impl Default for Branches {
    fn default() -> Self {
        Self { steps: Vec::new(), strides: vec![1], end: StridedEnd::default(), update: BranchUpdate::default() }
    }
}

impl Branches {
    /// The steps, of `steps`, at which samples branch off.
    pub fn at(&self, steps: usize) -> Vec<usize> {
        if self.steps.is_empty() { (0..(steps / 2).max(1)).collect() } else { self.steps.clone() }
    }
}

impl Exploration {
    /// Everything that is wrong with it for rollouts of `steps` steps.
    pub fn validate(&self, steps: usize) -> Problems {
        let mut problems = Problems::new();
        match self {
            Self::Trajectory(Trajectory { fraction, .. }) => {
                problems.check(*fraction > 0.0 && *fraction <= 1.0, "fraction", "must be above 0 and at most 1");
            }
            Self::Window(window) => problems.extend(window.validate(steps).into_vec()),
            Self::Branches(branches) => {
                for (index, step) in branches.steps.iter().enumerate() {
                    let last = steps.saturating_sub(2);
                    let message = format!("samples of {steps} steps branch off at steps 0 to {last}, not at {step}");
                    problems.check(*step <= last, format!("steps[{index}]"), message);
                    let first = !branches.steps[..index].contains(step);
                    problems.check(first, format!("steps[{index}]"), format!("step {step} is there twice"));
                }
                problems.check(!branches.strides.is_empty(), "strides", "must name at least one");
                let proper = branches.strides.iter().all(|stride| *stride >= 1);
                problems.check(proper, "strides", "must be at least 1 each");
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use sinter_process::random::{Key, Stream};

    use super::*;

    #[test]
    fn a_fraction_of_the_steps_but_never_the_last() {
        let draws = |image| Key::new(3, Stream::TEST).at(image);
        let all = Trajectory::default();
        assert_eq!(all.trained(10, &draws(0)), (0..9).collect::<Vec<_>>());
        let some = Trajectory { fraction: 0.6, ..all };
        // DanceGRPO: 16 steps, of which 15 can be trained.
        let mut counts = [0; 16];
        for image in 0..1500 {
            let chosen = some.trained(16, &draws(image));
            assert_eq!(chosen.len(), 9);
            assert_eq!(chosen, some.trained(16, &draws(image)));
            chosen.into_iter().for_each(|step| counts[step] += 1);
        }
        assert_eq!(counts[15], 0);
        assert!(counts[..15].iter().all(|count| (800..1000).contains(count)), "{counts:?}");
        assert_eq!(Trajectory { fraction: 0.01, ..all }.trained(5, &draws(0)).len(), 1);
    }

    #[test]
    fn branches_are_the_first_half_unless_named() {
        assert_eq!(Branches::default().at(16), (0..8).collect::<Vec<_>>());
        assert_eq!(Branches { steps: vec![3, 1], ..Branches::default() }.at(16), [3, 1]);
        let read: Exploration = toml::from_str("type = 'branches'\nstrides = [1, 2]\nupdate = 'each_step'").unwrap();
        assert!(read.validate(16).is_empty());
        let wrong = Exploration::Branches(Branches { steps: vec![15, 2, 2], strides: vec![0], ..Branches::default() });
        assert_eq!(wrong.validate(16).len(), 3);
        let none = Exploration::Trajectory(Trajectory { fraction: 0.0, final_noise: false });
        assert_eq!(none.validate(16).len(), 1);
        assert!(toml::from_str::<Exploration>("type = 'window'\nwidht = 3").is_err());
    }
}
