//! The method: rollouts, rewards, advantages, updates.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use sinter_data::Batch;
use sinter_models::Network;
use sinter_optimization::{Part, Trainable};
use sinter_process::random::{Key, Stream};
use sinter_sampling::{Conditioner, Denoiser, NetworkDenoiser};
use sinter_solvers::Rollout;

use super::config::{Penalty, RewardTuning};
use super::experience::{Experience, Prompts, Rollouts, drawn};
use super::ledger::Ledger;
use super::policy::Policy;
use super::registry::{ClassifierReward, Rewards};
use super::surrogate::{Piece, Surrogate, parts};
use super::{BranchUpdate, Exploration};
use crate::{Clock, Inference, Method, MethodError, Setup, Tally, Teacher, Weights};

/// Name of the part that samples.
const PART: &str = "model";

/// One network, one optimizer, the policy that it was, and what scores it.
pub(super) struct RewardMethod {
    config: RewardTuning,
    conditioner: Conditioner,
    seed: u64,
    device: Device,
    model: Trainable<Network>,
    ledger: Ledger,
    teachers: BTreeMap<String, String>,
    /// None where the model is only used.
    work: Option<Work>,
}

/// What only training needs.
struct Work {
    reference: Teacher,
    /// Behind a lock because held-out samples are scored, too.
    rewards: Mutex<Rewards>,
}

impl RewardMethod {
    /// Opens the policy and the rewards.
    ///
    /// # Errors
    /// When a run cannot be opened or does not fit.
    pub(super) fn open(config: &RewardTuning, setup: &Setup) -> Result<Self, MethodError> {
        let device = setup.device.clone().autodiff();
        let reference = Teacher::open(setup, "policy", &config.policy, config.guidance)?;
        let network = setup.student(&device, reference.as_ref(), &config.process)?;
        let mut teachers: BTreeMap<String, String> = reference.as_ref().map(Teacher::identity).into_iter().collect();
        let work = match (reference, &setup.training) {
            (Some(reference), Some(training)) => {
                let shape = *setup.conditioner.shape();
                let rewards = Rewards::open(&config.rewards, |run| -> Result<_, MethodError> {
                    let (classifier, hash) = training.runs.classifier(run)?;
                    teachers.insert(run.display().to_string(), hash);
                    ClassifierReward::new(classifier, shape, setup.device)
                        .map_err(|message| MethodError::Run { run: run.to_path_buf(), message })
                })?;
                Some(Work { reference, rewards: Mutex::new(rewards) })
            }
            _ => None,
        };
        Ok(Self {
            config: config.clone(),
            conditioner: setup.conditioner.clone(),
            seed: setup.seed,
            model: Trainable::new(PART, network, setup.optimizer.clone()),
            ledger: Ledger::default(),
            teachers,
            work,
            device,
        })
    }

    /// The steps that are trained, in the order of their updates: for each update its pieces.
    fn updates(&self, prompts: &Prompts, experience: &Experience) -> Vec<Vec<Piece>> {
        let samples = prompts.asked.len();
        let of_step = |step: usize| (0..samples).map(move |sample| Piece { step, sample });
        let steps = || experience.steps.keys().copied();
        let once: Vec<Vec<Piece>> = match &self.config.exploration {
            Exploration::Branches(branches) => {
                let order = branches.at(self.config.steps);
                let each = order.into_iter().map(|step| of_step(step).collect::<Vec<_>>());
                match branches.update {
                    BranchUpdate::EachStep => each.collect(),
                    BranchUpdate::Together => vec![each.flatten().collect()],
                }
            }
            Exploration::Window(_) | Exploration::Trajectory(_) => {
                let pieces = |sample: usize| -> Vec<Piece> {
                    let chosen: Vec<usize> = match &self.config.exploration {
                        Exploration::Trajectory(trajectory) => {
                            let key = Key::new(self.seed, Stream::ROLLOUT_STEPS);
                            let draws = key.at(prompts.asked.first_image + sample as u64);
                            let chosen = trajectory.trained(self.config.steps, &draws);
                            chosen.into_iter().filter(|step| experience.steps.contains_key(step)).collect()
                        }
                        _ => steps().collect(),
                    };
                    chosen.into_iter().map(|step| Piece { step, sample }).collect()
                };
                parts(samples, self.config.updates.parts).map(|range| range.flat_map(pieces).collect()).collect()
            }
        };
        (0..self.config.updates.epochs).flat_map(|_| once.clone()).collect()
    }

    /// The updates of a batch; on an error the model is as it was before the first.
    fn improve(
        &mut self,
        prompts: &Prompts,
        experience: &Experience,
        clock: Clock,
    ) -> Result<(Tally, u64), MethodError> {
        let updates = self.updates(prompts, experience);
        let before = (updates.len() > 1).then(|| self.model.clone());
        let outcome = self.go_through(prompts, experience, clock, &updates);
        if let (Err(_), Some(before)) = (&outcome, before) {
            self.model = before;
        }
        outcome
    }

    fn go_through(
        &mut self,
        prompts: &Prompts,
        experience: &Experience,
        clock: Clock,
        updates: &[Vec<Piece>],
    ) -> Result<(Tally, u64), MethodError> {
        let Self { config, conditioner, seed, device, model, work, .. } = self;
        let surrogate = Surrogate {
            config,
            conditioner,
            reference: work.as_ref().map(|work| &work.reference),
            device,
            seed: *seed,
            micro_batch: clock.micro_batch,
            prompts,
            experience,
        };
        let (mut tally, mut evaluations, mut made) = (Tally::new(), 0, 0);
        for pieces in updates {
            let telling = |piece: &&Piece| experience.steps[&piece.step].advantages[piece.sample] != 0.0;
            // A sample without advantage has no gradient, unless something else pulls at it.
            let anchored = matches!(config.penalty, Some(Penalty::Reference { .. }));
            let kept: Vec<Piece> = pieces.iter().filter(|piece| anchored || telling(piece)).copied().collect();
            if kept.is_empty() {
                continue;
            }
            let count = if config.drop_ties { kept.len() } else { pieces.len() };
            let proposal = surrogate.propose(model.network(), &kept, count)?;
            evaluations += proposal.evaluations;
            tally.merge(&proposal.tally);
            if made > 0 && config.updates.divergence_limit.is_some_and(|limit| proposal.divergence > limit) {
                break;
            }
            let update = model.update(proposal.gradients, clock.images)?;
            tally.add("gradient_norm", update.gradient_norm);
            tally.add("learning_rate", update.learning_rate);
            made += 1;
        }
        tally.add("updates", f64::from(made));
        Ok((tally, evaluations))
    }
}

/// The spread of the advantages, and the share of them that are zero because nothing told the samples apart.
fn describe(experience: &Experience, tally: &mut Tally) {
    let all: Vec<f64> = experience.steps.values().flat_map(|recorded| recorded.advantages.iter().copied()).collect();
    let count = all.len().max(1) as f64;
    let spread = (all.iter().map(|advantage| advantage * advantage).sum::<f64>() / count).sqrt();
    let ties = all.iter().filter(|advantage| **advantage == 0.0).count() as f64 / count;
    tally.add("advantage/spread", spread);
    tally.add("advantage/ties", ties);
}

impl Method for RewardMethod {
    fn step(&mut self, examples: &Batch, clock: Clock) -> Result<Tally, MethodError> {
        let group = self.config.group;
        if clock.step == 0 && !examples.len().is_multiple_of(group) {
            return Err(MethodError::Setup(format!(
                "a batch of {} images holds no whole number of groups of {group}: set train.batch to a multiple of \
                 objective.group",
                examples.len()
            )));
        }
        let prompts = Prompts::of(examples, group);
        let network = self.model.trained(None);
        let policy = Policy::new(&network, &self.config.process, self.config.guidance);
        let work = self.work.as_mut().ok_or_else(|| MethodError::Setup("opened without its policy".into()))?;
        let rewards = work.rewards.get_mut().unwrap_or_else(PoisonError::into_inner);
        let rollouts = Rollouts {
            config: &self.config,
            conditioner: &self.conditioner,
            policy: &policy,
            device: self.device.clone().inner(),
            seed: self.seed,
            micro_batch: clock.micro_batch,
        };
        let mut memory = self.ledger.memory.clone();
        let experience = rollouts.draw(&prompts, clock.step, rewards, &mut memory)?;
        let drawing = policy.evaluations();
        let (mut tally, updating) = self.improve(&prompts, &experience, clock)?;

        self.ledger.memory = memory;
        self.ledger.evaluations += drawing + updating;
        self.ledger.rewards += experience.scored;
        tally.merge(&experience.means);
        describe(&experience, &mut tally);
        tally.set("cost/evaluations", self.ledger.evaluations as f64);
        tally.set("cost/rewards", self.ledger.rewards as f64);
        Ok(tally)
    }

    fn parts(&self) -> Vec<&dyn Part> {
        vec![&self.model, &self.ledger]
    }

    fn parts_mut(&mut self) -> Vec<&mut dyn Part> {
        vec![&mut self.model, &mut self.ledger]
    }

    fn averaged(&self) -> Vec<&str> {
        vec![PART]
    }

    fn teachers(&self) -> BTreeMap<String, String> {
        self.teachers.clone()
    }

    fn inference(&self, weights: Option<&Weights>) -> Box<dyn Inference + '_> {
        let network = self.model.trained(weights.and_then(|weights| weights.get(PART)));
        let denoiser = NetworkDenoiser { network, parameterization: self.config.process.clone() };
        Box::new(RewardInference { method: self, denoiser })
    }
}

/// A tuned policy in use.
struct RewardInference<'a> {
    method: &'a RewardMethod,
    denoiser: NetworkDenoiser,
}

impl Inference for RewardInference<'_> {
    /// `validation/<reward>`: of deterministic samples for held-out prompts, from noise of their own.
    fn validate(&self, batch: &Batch) -> Result<Tally, MethodError> {
        let RewardMethod { config, conditioner, seed, device, work, .. } = self.method;
        let Some(work) = work else { return Ok(Tally::new()) };
        let steps = config.validation_steps.unwrap_or(config.steps);
        let impossible = |problems| MethodError::Setup(format!("objective.validation_steps: {problems}"));
        let points = config.points(steps).map_err(impossible)?;
        let rollout = Rollout { kernel: config.kernel, points, stochastic: 0..0, multistep: None };
        let plan = rollout.plan("validation").map_err(impossible)?;

        let policy = Policy::new(&self.denoiser.network, &config.process, config.guidance);
        let device = device.clone().inner();
        let rollouts = Rollouts { config, conditioner, policy: &policy, device, seed: *seed, micro_batch: batch.len() };
        let images: Vec<u64> = (batch.first_image..).take(batch.len()).collect();
        let size = batch.pixels.len() / batch.len().max(1);
        let mut noise = drawn(Key::new(*seed, Stream::VALIDATION_NOISE), &images, size);
        noise.iter_mut().for_each(|value| *value *= plan.scale as f32);
        let asked = Batch { shape: [batch.len(), 0, 0, 0], pixels: Vec::new(), ..batch.clone() };
        let mut rewards = work.rewards.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(rollouts.worth(asked, &plan, &noise, &mut rewards)?.means.prefixed("validation/reward/"))
    }

    fn denoiser(&self) -> Option<&dyn Denoiser> {
        Some(&self.denoiser)
    }
}
