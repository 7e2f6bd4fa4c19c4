//! Rollouts of a batch of prompts: stochastic steps with the states around them, and what the samples are worth.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use sinter_config::Problems;
use sinter_data::Batch;
use sinter_models::Condition;
use sinter_process::random::{Key, Stream};
use sinter_sampling::{Conditioner, execute};
use sinter_solvers::{Level, Plan, Rollout, Transition};

use super::config::RewardTuning;
use super::memory::PromptMemory;
use super::policy::Policy;
use super::registry::{Rewards, Worth};
use super::{Branches, Exploration};
use crate::{MethodError, Tally, batch};

/// One step of all samples.
pub(super) struct Recorded {
    /// What it was drawn from.
    pub(super) transition: Transition,
    /// The level of the states before it.
    pub(super) level: Level,
    /// States before it, `[samples, elements]`.
    pub(super) from: Arc<Vec<f32>>,
    /// States after it, `[samples, elements]`.
    pub(super) to: Arc<Vec<f32>>,
    /// One a sample.
    pub(super) advantages: Vec<f64>,
}

/// The stochastic steps of a batch of rollouts, by their number, and what is to be logged.
#[derive(Default)]
pub(super) struct Experience {
    pub(super) steps: BTreeMap<usize, Recorded>,
    pub(super) means: Tally,
    /// Images scored, once for each reward.
    pub(super) scored: u64,
}

/// The prompts of a batch, one a sample: those of a group are the first one's.
pub(super) struct Prompts {
    /// Classes and captions, without images.
    pub(super) asked: Batch,
    /// The group of each sample.
    pub(super) groups: Vec<usize>,
}

impl Prompts {
    /// Of the examples of a batch, whose images are not looked at.
    pub(super) fn of(examples: &Batch, group: usize) -> Self {
        let first = |sample: usize| sample / group * group;
        let samples = 0..examples.len();
        let asked = Batch {
            shape: [examples.len(), 0, 0, 0],
            pixels: Vec::new(),
            classes: examples.classes.as_ref().map(|classes| samples.clone().map(|i| classes[first(i)]).collect()),
            captions: examples
                .captions
                .as_ref()
                .map(|captions| samples.clone().map(|i| captions[first(i)].clone()).collect()),
            first_image: examples.first_image,
        };
        Self { asked, groups: samples.map(|sample| sample / group).collect() }
    }

    /// One prompt a group, each at the place of its first sample on the clock.
    fn anchors(&self, group: usize) -> Vec<usize> {
        (0..self.asked.len()).step_by(group).collect()
    }

    /// Names of the prompts, one a sample.
    fn names(&self) -> Vec<String> {
        match (&self.asked.captions, &self.asked.classes) {
            (Some(captions), _) => captions.clone(),
            (None, Some(classes)) => classes.iter().map(u32::to_string).collect(),
            (None, None) => vec![String::new(); self.asked.len()],
        }
    }

    /// Samples of the batch as a batch of their own.
    fn select(&self, samples: &[usize]) -> Batch {
        let Batch { classes, captions, first_image, .. } = &self.asked;
        Batch {
            shape: [samples.len(), 0, 0, 0],
            pixels: Vec::new(),
            classes: classes.as_ref().map(|classes| samples.iter().map(|i| classes[*i]).collect()),
            captions: captions.as_ref().map(|captions| samples.iter().map(|i| captions[*i].clone()).collect()),
            first_image: *first_image,
        }
    }
}

/// Everything that rollouts are made from.
pub(super) struct Rollouts<'a> {
    pub(super) config: &'a RewardTuning,
    pub(super) conditioner: &'a Conditioner,
    pub(super) policy: &'a Policy<'a>,
    pub(super) device: Device,
    pub(super) seed: u64,
    /// Samples taken through the network at a time.
    pub(super) micro_batch: usize,
}

fn impossible(problems: Problems) -> MethodError {
    MethodError::Setup(format!("objective: no rollout can be taken: {problems}"))
}

impl Rollouts<'_> {
    /// Draws the rollouts of a batch and lets them be scored. `update` counts those before it; `memory` learns of the
    /// rewards.
    pub(super) fn draw(
        &self,
        prompts: &Prompts,
        update: u64,
        rewards: &mut Rewards,
        memory: &mut PromptMemory,
    ) -> Result<Experience, MethodError> {
        let window = Key::new(self.seed, Stream::ROLLOUT_WINDOW).at(prompts.asked.first_image);
        let rollout = self.config.rollout(update, &window).map_err(impossible)?;
        match &self.config.exploration {
            Exploration::Branches(branches) => self.branches(prompts, &rollout, branches, rewards),
            Exploration::Trajectory(_) | Exploration::Window(_) => {
                self.trajectories(prompts, &rollout, rewards, memory)
            }
        }
    }

    /// Whole rollouts.
    fn trajectories(
        &self,
        prompts: &Prompts,
        rollout: &Rollout,
        rewards: &mut Rewards,
        memory: &mut PromptMemory,
    ) -> Result<Experience, MethodError> {
        let plan = rollout.plan("rollout").map_err(impossible)?;
        let samples: Vec<usize> = (0..prompts.asked.len()).collect();
        // The states before and after each stochastic step.
        let around = rollout.stochastic.start..rollout.stochastic.end + 1;
        let (images, states) = self.run(&plan, prompts, &samples, None, around.clone())?;
        let mut worth = rewards.worth(self.candidates(prompts, &samples, images))?;
        let advantages = self.advantages(prompts, &worth, memory);
        let states: Vec<Arc<Vec<f32>>> = states.into_iter().map(Arc::new).collect();
        let mut experience = Experience { scored: (samples.len() * rewards.len()) as u64, ..Experience::default() };
        for (step, pair) in rollout.stochastic.clone().zip(states.windows(2)) {
            let transition = rollout.transition(step);
            // A step without noise is no action: the last one of a posterior.
            if transition.deviation > 0.0 && step + 1 < self.config.steps {
                let recorded = Recorded {
                    transition,
                    level: (&rollout.points[step]).into(),
                    from: Arc::clone(&pair[0]),
                    to: Arc::clone(&pair[1]),
                    advantages: advantages.clone(),
                };
                experience.steps.insert(step, recorded);
            }
        }
        experience.means.merge(&std::mem::take(&mut worth.means).prefixed("reward/"));
        Ok(experience)
    }

    /// One deterministic sample a prompt, which the samples of its group leave at several steps, each with noise of its
    /// own, and go on without noise.
    fn branches(
        &self,
        prompts: &Prompts,
        anchor: &Rollout,
        branches: &Branches,
        rewards: &mut Rewards,
    ) -> Result<Experience, MethodError> {
        let (samples, anchors): (Vec<usize>, _) =
            ((0..prompts.asked.len()).collect(), prompts.anchors(self.config.group));
        let plan = anchor.plan("anchor").map_err(impossible)?;
        let (run, answers) = self.policy.recorded(|| self.run(&plan, prompts, &anchors, None, 0..self.config.steps));
        let (images, states) = run?;
        let portions = anchors.len().div_ceil(self.micro_batch.max(1)).max(1);
        let worth = rewards.worth(self.candidates(prompts, &anchors, images))?;
        let mut experience = Experience { scored: (anchors.len() * rewards.len()) as u64, ..Experience::default() };
        experience.means.merge(&worth.means.prefixed("anchor/"));

        let size = self.size();
        for step in branches.at(self.config.steps) {
            let (from, to) = (&anchor.points[step], &anchor.points[step + 1]);
            let transition = self.config.kernel.transition(from, to);
            // The anchor's evaluations, portion after portion, each of all steps.
            let steps = answers.len() / portions;
            let data: Vec<f32> =
                (0..portions).flat_map(|portion| host(answers[portion * steps + step].clone())).collect();
            let (coefficient, share) = (transition.state as f32, transition.data as f32);
            let mean: Vec<f32> =
                states[step].iter().zip(&data).map(|(x, data)| coefficient * x + share * data).collect();
            let noise = self.noise(prompts, step + 1, &samples);
            let of_group = |values: &[f32], sample: usize| -> Vec<f32> {
                let group = prompts.groups[sample];
                values[group * size..(group + 1) * size].to_vec()
            };
            let before: Vec<f32> = samples.iter().flat_map(|sample| of_group(&states[step], *sample)).collect();
            let after: Vec<f32> = samples.iter().flat_map(|sample| of_group(&mean, *sample)).collect();
            let deviation = transition.deviation as f32;
            let after: Vec<f32> = after.iter().zip(&noise).map(|(mean, noise)| mean + deviation * noise).collect();

            let mut scores = Vec::new();
            for stride in &branches.strides {
                let plan = self.config.continuation(branches, step, *stride).map_err(impossible)?;
                let (images, _) = self.run(&plan, prompts, &samples, Some(&after), 0..0)?;
                let worth = rewards.worth(self.candidates(prompts, &samples, images))?;
                experience.scored += (samples.len() * rewards.len()) as u64;
                experience.means.merge(&worth.means.prefixed("reward/"));
                scores.extend(worth.scores);
            }
            let recorded = Recorded {
                transition,
                level: from.into(),
                from: Arc::new(before),
                to: Arc::new(after),
                advantages: self.config.advantage.of_rewards(&scores, &prompts.groups),
            };
            experience.steps.insert(step, recorded);
        }
        Ok(experience)
    }

    /// Rewards of the deterministic samples of prompts whose start is `noise`, `[samples, elements]`.
    pub(super) fn worth(
        &self,
        asked: Batch,
        plan: &Plan,
        noise: &[f32],
        rewards: &mut Rewards,
    ) -> Result<Worth, MethodError> {
        let samples: Vec<usize> = (0..asked.len()).collect();
        let prompts = Prompts { groups: samples.clone(), asked };
        let (images, _) = self.run(plan, &prompts, &samples, Some(noise), 0..0)?;
        Ok(rewards.worth(self.candidates(&prompts, &samples, images))?)
    }

    fn advantages(&self, prompts: &Prompts, worth: &Worth, memory: &mut PromptMemory) -> Vec<f64> {
        let advantage = &self.config.advantage;
        match &self.config.history {
            None => advantage.of_rewards(&worth.scores, &prompts.groups),
            Some(history) => {
                let names = prompts.names();
                advantage.combined(&worth.scores, |index, rewards| {
                    let name = self.config.rewards[index].name();
                    memory.of_reward(history, advantage, name, &names, rewards)
                })
            }
        }
    }

    /// Carries out a plan for some samples: their images, and the states before the steps `kept` (the last of them may be
    /// the end of the plan), each `[samples, elements]`. They start from `start` or from noise of their own.
    fn run(
        &self,
        plan: &Plan,
        prompts: &Prompts,
        samples: &[usize],
        start: Option<&[f32]>,
        kept: Range<usize>,
    ) -> Result<(Vec<f32>, Vec<Vec<f32>>), MethodError> {
        let (mut images, mut states) = (Vec::new(), vec![Vec::new(); kept.len()]);
        let size = self.size();
        for (portion, samples) in samples.chunks(self.micro_batch.max(1)).enumerate() {
            let condition = self.condition(prompts, samples)?;
            let first = portion * self.micro_batch.max(1);
            let begin = match start {
                Some(start) => self.tensor(start[first * size..(first + samples.len()) * size].to_vec()),
                None => self.tensor(self.noise(prompts, 0, samples)).mul_scalar(plan.scale),
            };
            let mut step = 0;
            let mut keep = |state: &Tensor<4>| {
                if kept.contains(&step) {
                    states[step - kept.start].extend(host(state.clone()));
                }
                step += 1;
            };
            keep(&begin);
            let noise = |draw: usize| self.tensor(self.noise(prompts, draw + 1, samples));
            let end = execute(plan, begin, self.policy, &condition, noise, |state, _| keep(state))?;
            images.extend(host(end));
        }
        Ok((images, states))
    }

    /// Noise number `draw` of some samples, `[samples, elements]`; number 0 is the start, which a group may share.
    pub(super) fn noise(&self, prompts: &Prompts, draw: usize, samples: &[usize]) -> Vec<f32> {
        let group = self.config.group;
        let image = |sample: usize| {
            let shared = draw == 0 && (self.config.shared_noise || self.is_branching());
            prompts.asked.first_image + (if shared { sample / group * group } else { sample }) as u64
        };
        let images: Vec<u64> = samples.iter().map(|sample| image(*sample)).collect();
        drawn(Key::new(self.seed, Stream::ROLLOUT_NOISE.nth(draw as u32)), &images, self.size())
    }

    /// Branches leave one sample, so their start is one.
    fn is_branching(&self) -> bool {
        matches!(self.config.exploration, Exploration::Branches(_))
    }

    fn condition(&self, prompts: &Prompts, samples: &[usize]) -> Result<Condition, MethodError> {
        batch::condition(&prompts.select(samples), self.conditioner, 0.0, self.seed, &self.device)
    }

    fn candidates(&self, prompts: &Prompts, samples: &[usize], pixels: Vec<f32>) -> Batch {
        let [c, h, w] = self.image();
        Batch { shape: [samples.len(), c, h, w], pixels, ..prompts.select(samples) }
    }

    fn tensor(&self, values: Vec<f32>) -> Tensor<4> {
        let [c, h, w] = self.image();
        let count = values.len() / self.size();
        Tensor::from_data(TensorData::new(values, [count, c, h, w]), &self.device)
    }

    fn image(&self) -> [usize; 3] {
        let shape = self.conditioner.shape();
        [shape.channels, shape.height, shape.width]
    }

    /// Elements of an image.
    fn size(&self) -> usize {
        self.image().iter().product()
    }
}

/// Standard normal noise of images by their places on the clock, `[images, size]`.
pub(super) fn drawn(key: Key, images: &[u64], size: usize) -> Vec<f32> {
    let mut values = vec![0.0; images.len() * size];
    values.par_chunks_mut(size.max(1)).zip(images).for_each(|(values, image)| key.at(*image).fill_normal(values));
    values
}

fn host(tensor: Tensor<4>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
