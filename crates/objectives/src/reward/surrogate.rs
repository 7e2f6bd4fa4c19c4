//! From recorded steps to gradients: the ratio of each step's density now to that of its draw, in the clipped loss.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use burn::tensor::{Device, Tensor, TensorData};
use sinter_data::Batch;
use sinter_models::Network;
use sinter_optimization::Tensors;
use sinter_process::random::{Key, Stream};
use sinter_sampling::{Conditioner, guided_data, per_image, values};
use sinter_solvers::Level;

use super::config::{Penalty, RewardTuning};
use super::experience::{Experience, Prompts, Recorded, drawn};
use super::policy_loss::{PolicyLoss, approximate_divergence};
use crate::step::Losses;
use crate::{MethodError, Tally, Teacher, batch, step};

/// A step of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) step: usize,
    pub(super) sample: usize,
}

/// Everything that an update is made from.
pub(super) struct Surrogate<'a> {
    pub(super) config: &'a RewardTuning,
    pub(super) conditioner: &'a Conditioner,
    pub(super) reference: Option<&'a Teacher>,
    pub(super) device: &'a Device,
    pub(super) seed: u64,
    pub(super) micro_batch: usize,
    pub(super) prompts: &'a Prompts,
    pub(super) experience: &'a Experience,
}

/// What an update would be.
pub(super) struct Proposal {
    pub(super) gradients: Tensors,
    pub(super) tally: Tally,
    /// `mean(d^2) / 2` of the differences of log densities to the draw.
    pub(super) divergence: f64,
    /// Images taken through networks.
    pub(super) evaluations: u64,
}

impl Surrogate<'_> {
    /// The loss of `pieces`, as a mean over `count` of them (those without advantage may be left out of the list), and its
    /// gradient.
    pub(super) fn propose(&self, network: &Network, pieces: &[Piece], count: usize) -> Result<Proposal, MethodError> {
        let asked = self.asked(pieces);
        let seen = Mutex::new(vec![(0.0, 0.0); pieces.len()]);
        let evaluations = AtomicU64::new(0);
        let scale = pieces.len() as f64 / count.max(1) as f64;
        let (mut tally, gradients) = step::mean_gradients(
            network,
            &asked,
            self.micro_batch,
            self.device,
            |network, portion, range| -> Result<Losses, MethodError> {
                let part = self.part(network, portion, &pieces[range.clone()], &evaluations)?;
                let (policy, penalty) = (part.policy.mul_scalar(scale), part.penalty);
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                for (place, value) in range.zip(part.log_ratios.into_iter().zip(part.distances)) {
                    seen[place] = value;
                }
                let losses = Losses::from(policy);
                Ok(match penalty {
                    Some(penalty) => losses.plus("loss/penalty", penalty.mul_scalar(scale)),
                    None => losses,
                })
            },
        )?;
        let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        let log_ratios: Vec<f64> = seen.iter().map(|(log_ratio, _)| *log_ratio).collect();
        self.describe(&log_ratios, &mut tally);
        let mut evaluations = evaluations.into_inner();
        if let (Some(Penalty::Reference { .. }), Some(_)) = (self.config.penalty, self.reference) {
            let mean = seen.iter().map(|(_, distance)| distance).sum::<f64>() / seen.len().max(1) as f64;
            tally.add("divergence/reference", mean);
            // The reference is asked wherever the policy is.
            evaluations *= 2;
        }
        Ok(Proposal { gradients, tally, divergence: approximate_divergence(&log_ratios), evaluations })
    }

    /// Statistics of the ratios.
    fn describe(&self, log_ratios: &[f64], tally: &mut Tally) {
        let [low, high] = self.config.loss.range();
        let count = log_ratios.len() as f64;
        let ratios: Vec<f64> = log_ratios.iter().map(|log_ratio| log_ratio.exp()).collect();
        let mean = ratios.iter().sum::<f64>() / count;
        let variance = ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum::<f64>() / count;
        let outside = ratios.iter().filter(|ratio| !(low..=high).contains(*ratio)).count();
        tally.add("ratio/mean", mean);
        tally.add("ratio/deviation", variance.sqrt());
        tally.add("ratio/farthest", ratios.iter().fold(0.0, |farthest, ratio| (ratio - 1.0).abs().max(farthest)));
        tally.add("ratio/outside", outside as f64 / count);
        tally.add("divergence/drawn", approximate_divergence(log_ratios));
    }

    /// What the pieces' samples were asked for, without images.
    fn asked(&self, pieces: &[Piece]) -> Batch {
        let Batch { classes, captions, first_image, .. } = &self.prompts.asked;
        let each = |of: &dyn Fn(usize) -> u32| pieces.iter().map(|piece| of(piece.sample)).collect();
        Batch {
            shape: [pieces.len(), 0, 0, 0],
            pixels: Vec::new(),
            classes: classes.as_ref().map(|classes| each(&|sample| classes[sample])),
            captions: captions
                .as_ref()
                .map(|captions| pieces.iter().map(|piece| captions[piece.sample].clone()).collect()),
            first_image: *first_image,
        }
    }

    fn recorded(&self, piece: &Piece) -> &Recorded {
        &self.experience.steps[&piece.step]
    }

    /// The losses of some pieces.
    fn part(
        &self,
        network: &Network,
        asked: &Batch,
        pieces: &[Piece],
        evaluations: &AtomicU64,
    ) -> Result<Part, MethodError> {
        let RewardTuning { process, guidance, density, loss, .. } = self.config;
        let condition = batch::condition(asked, self.conditioner, 0.0, self.seed, self.device)?;
        let levels: Vec<Level> = pieces.iter().map(|piece| self.recorded(piece).level).collect();
        let (from, to) = (self.states(pieces, |recorded| &recorded.from), self.states(pieces, |recorded| &recorded.to));
        let column = |of: &dyn Fn(&Recorded) -> f64| -> Tensor<4> {
            let each: Vec<f64> = pieces.iter().map(|piece| of(self.recorded(piece))).collect();
            per_image(&each, &from) // [b, 1, 1, 1]
        };
        let each = |of: &dyn Fn(&Piece) -> f64| -> Tensor<1> {
            let each: Vec<f64> = pieces.iter().map(of).collect();
            values(&each, &from.device(), from.dtype()) // [b]
        };
        let data = guided_data(process, *guidance, from.clone(), &levels, &condition, |input, labels, condition| {
            evaluations.fetch_add(pieces.len() as u64, Ordering::Relaxed);
            network.forward(input, labels, condition, None)
        });
        let mean = from.clone() * column(&|recorded| recorded.transition.state)
            + data.clone() * column(&|recorded| recorded.transition.data);
        // The noise that would have led here from the mean now, beside that which did: log densities differ by
        // mean(z^2 - z'^2), which as a product of sum and difference keeps its digits where both are nearly equal.
        let noise = self.noise(pieces);
        let needed = (to - mean) / column(&|recorded| recorded.transition.deviation);
        let difference = mean_of_each((noise.clone() - needed.clone()) * (noise + needed));
        let log_ratio = difference * each(&|piece| self.recorded(piece).transition.log_ratio_scale(*density)); // [b]
        let advantage = each(&|piece| loss.limited(self.recorded(piece).advantages[piece.sample]));
        let policy = clipped(loss, advantage, log_ratio.clone());
        let (penalty, distance) = match (self.config.penalty, self.reference) {
            (Some(Penalty::Reference { weight, form }), Some(reference)) => {
                let inner = self.device.clone().inner();
                let condition = batch::condition(asked, self.conditioner, 0.0, self.seed, &inner)?;
                let theirs = reference.data(from.clone().inner(), &levels, &condition);
                let squares = mean_of_each((data - Tensor::from_inner(theirs)).square());
                let elements = from.dims()[1..].iter().product();
                let scale = |piece: &Piece| {
                    let transition = &self.recorded(piece).transition;
                    transition.data.powi(2) * transition.divergence_scale(form, elements)
                };
                let distance = squares * each(&scale);
                (Some(distance.clone().mul_scalar(weight)), Some(distance))
            }
            (Some(Penalty::Drawn { weight }), _) => (Some(log_ratio.clone().square().mul_scalar(weight / 2.0)), None),
            _ => (None, None),
        };
        let log_ratios = numbers(log_ratio);
        let distances = distance.map_or_else(|| vec![0.0; pieces.len()], numbers);
        Ok(Part { policy, penalty, log_ratios, distances })
    }

    /// States of the pieces, `[b, c, h, w]`.
    fn states<'a>(&'a self, pieces: &[Piece], of: impl Fn(&'a Recorded) -> &'a [f32]) -> Tensor<4> {
        let size = self.size();
        let rows = pieces.iter().flat_map(|piece| {
            let all = of(self.recorded(piece));
            all[piece.sample * size..(piece.sample + 1) * size].iter().copied()
        });
        self.tensor(rows.collect(), pieces.len())
    }

    /// The noise that was drawn, `[b, c, h, w]`: from its key.
    fn noise(&self, pieces: &[Piece]) -> Tensor<4> {
        let mut all = Vec::with_capacity(pieces.len() * self.size());
        for piece in pieces {
            let key = Key::new(self.seed, Stream::ROLLOUT_NOISE.nth(piece.step as u32 + 1));
            all.extend(drawn(key, &[self.prompts.asked.first_image + piece.sample as u64], self.size()));
        }
        self.tensor(all, pieces.len())
    }

    fn tensor(&self, values: Vec<f32>, count: usize) -> Tensor<4> {
        let shape = self.conditioner.shape();
        let shape = [count, shape.channels, shape.height, shape.width];
        Tensor::from_data(TensorData::new(values, shape), self.device)
    }

    fn size(&self) -> usize {
        let shape = self.conditioner.shape();
        shape.channels * shape.height * shape.width
    }
}

/// The losses of some pieces, `[b]`.
struct Part {
    policy: Tensor<1>,
    penalty: Option<Tensor<1>>,
    log_ratios: Vec<f64>,
    distances: Vec<f64>,
}

/// [`PolicyLoss::step`] of limited advantages and differences of log densities, `[b]`.
fn clipped(loss: &PolicyLoss, advantage: Tensor<1>, log_ratio: Tensor<1>) -> Tensor<1> {
    let ratio = log_ratio.exp();
    let free = (ratio.clone() * advantage.clone()).neg();
    match loss.clip {
        Some(clip) => free.max_pair((ratio.clamp(1.0 - clip, 1.0 + clip) * advantage).neg()),
        None => free,
    }
}

/// The mean over each image's elements, `[b]`.
fn mean_of_each(images: Tensor<4>) -> Tensor<1> {
    images.flatten::<2>(1, 3).mean_dim(1).squeeze_dim::<1>(1)
}

fn numbers(tensor: Tensor<1>) -> Vec<f64> {
    tensor.detach().into_data().iter::<f32>().map(f64::from).collect()
}

/// Cuts `0..count` into `parts` ranges that follow each other.
pub(super) fn parts(count: usize, parts: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = parts.max(1);
    (0..parts).map(move |part| part * count / parts..(part + 1) * count / parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On tensors as without, loss and gradient, on either side of the range.
    #[test]
    fn the_clipped_loss_of_tensors_is_that_of_numbers() {
        let device = Device::flex().autodiff();
        let pairs: Vec<(f64, f64)> = [-2.5, -0.3, 0.4, 1.9]
            .into_iter()
            .flat_map(|advantage| [-0.4, -0.05, 0.0, 0.07, 0.3].map(|log_ratio| (advantage, log_ratio)))
            .collect();
        let tensor = |of: fn(&(f64, f64)) -> f64| {
            let values: Vec<f32> = pairs.iter().map(|pair| of(pair) as f32).collect();
            Tensor::<1>::from_data(TensorData::from(values.as_slice()), &device)
        };
        for clip in [Some(0.1), None] {
            let loss = PolicyLoss { clip, advantage_limit: None };
            let log_ratio = tensor(|pair| pair.1).require_grad();
            let losses = clipped(&loss, tensor(|pair| pair.0), log_ratio.clone());
            let gradients = log_ratio.grad(&losses.clone().sum().backward()).unwrap();
            let gradients: Vec<f64> = gradients.into_data().iter::<f32>().map(f64::from).collect();
            for (((advantage, log_ratio), ours), gradient) in pairs.iter().zip(numbers(losses)).zip(gradients) {
                let expected = loss.step(*advantage, *log_ratio);
                assert!((ours - expected.loss).abs() < 1e-6, "{clip:?} {advantage} {log_ratio}");
                assert!((gradient - expected.gradient).abs() < 1e-6, "{clip:?} {advantage} {log_ratio}");
            }
        }
    }

    #[test]
    fn parts_follow_each_other() {
        for (count, of) in [(10, 3), (4, 4), (3, 5), (0, 2)] {
            let all: Vec<usize> = parts(count, of).flatten().collect();
            assert!(all.into_iter().eq(0..count));
        }
    }
}
