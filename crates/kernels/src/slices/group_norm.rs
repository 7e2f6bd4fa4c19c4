//! Group normalization with a weight and bias per image and channel, optionally through SiLU, and its gradients.
//!
//! The plain norm's weights are the same for every image; the modulated norm folds its shift and scale into them.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Isa;
use super::arithmetic::{dot_centred, mean_variance, mul_add, sigmoid, sigmoid_and_rest, sum};
use super::memory::{assume_written, written};

/// What to normalize: images of `channels` planes of `pixels` elements, in `groups` groups of channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Groups {
    pub(crate) channels: usize,
    pub(crate) pixels: usize,
    pub(crate) groups: usize,
    pub(crate) epsilon: f32,
    /// Whether SiLU follows.
    pub(crate) activation: bool,
}

impl Groups {
    fn channels_per_group(self) -> usize {
        self.channels / self.groups
    }

    /// Fails unless all of `images` are whole groups and as many, and each of `channels` has a number for each channel.
    fn check<const A: usize>(self, images: [&[f32]; A], channels: [&[f32]; 2]) {
        let len = channels[0].len();
        assert!(self.channels.is_multiple_of(self.groups) && len.is_multiple_of(self.channels), "whole groups");
        assert!(channels.iter().all(|channels| channels.len() == len), "a weight and a bias a channel");
        assert!(images.iter().all(|image| image.len() == len * self.pixels), "as many images as weights");
    }
}

/// Gradients of the inputs of [`forward`]; `weight` and `bias` are per image and channel.
pub(crate) struct Gradients {
    pub(crate) x: Vec<f32>,
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

vectorized!(
    fn group(
        x: &[f32],
        weight: &[f32],
        bias: &[f32],
        shape: Groups,
        y: &mut [MaybeUninit<f32>],
        statistics: &mut [MaybeUninit<f32>],
    ) = group_body
);
vectorized!(
    fn group_gradient(
        x: &[f32],
        g: &[f32],
        weight: &[f32],
        bias: &[f32],
        statistics: &[f32],
        shape: Groups,
        dx: &mut [MaybeUninit<f32>],
        dweight: &mut [f32],
        dbias: &mut [f32],
    ) = group_gradient_body
);

/// `y = GN(x) weight + bias`, through SiLU if asked, with `weight` and `bias` `[b, c]`; and the mean and reciprocal
/// deviation of each group, which [`backward`] needs.
pub(crate) fn forward(isa: Isa, x: &[f32], weight: &[f32], bias: &[f32], shape: Groups) -> (Vec<f32>, Vec<f32>) {
    shape.check([x], [weight, bias]);
    let channels = shape.channels_per_group();
    let size = channels * shape.pixels;
    let mut statistics = Vec::new();
    // SAFETY: one piece a group covers both outputs, and the kernel writes every pixel and its two statistics.
    let y = unsafe {
        written(x.len(), |y| {
            statistics = written(x.len() / size * 2, |statistics| {
                let outputs = y.par_chunks_mut(size).zip(statistics.par_chunks_mut(2));
                let inputs = x.par_chunks(size).zip(weight.par_chunks(channels)).zip(bias.par_chunks(channels));
                outputs.zip(inputs).for_each(|((y, statistics), ((x, weight), bias))| {
                    group(isa, x, weight, bias, shape, y, statistics);
                });
            });
        })
    };
    (y, statistics)
}

/// The gradients of [`forward`]'s inputs, given that of its result, `g`.
pub(crate) fn backward(
    isa: Isa,
    x: &[f32],
    g: &[f32],
    weight: &[f32],
    bias: &[f32],
    statistics: &[f32],
    shape: Groups,
) -> Gradients {
    shape.check([x, g], [weight, bias]);
    let channels = shape.channels_per_group();
    let size = channels * shape.pixels;
    assert_eq!(statistics.len(), x.len() / size * 2, "two statistics a group");
    let mut dweight = vec![0.0; weight.len()];
    let mut dbias = vec![0.0; bias.len()];
    // SAFETY: one piece a group covers the output, and the kernel writes every pixel.
    let dx = unsafe {
        written(x.len(), |dx| {
            let outputs =
                dx.par_chunks_mut(size).zip(dweight.par_chunks_mut(channels)).zip(dbias.par_chunks_mut(channels));
            let inputs = x.par_chunks(size).zip(g.par_chunks(size));
            let rest = weight.par_chunks(channels).zip(bias.par_chunks(channels)).zip(statistics.par_chunks(2));
            outputs.zip(inputs.zip(rest)).for_each(
                |(((dx, dweight), dbias), ((x, g), ((weight, bias), statistics)))| {
                    group_gradient(isa, x, g, weight, bias, statistics, shape, dx, dweight, dbias);
                },
            );
        })
    };
    Gradients { x: dx, weight: dweight, bias: dbias }
}

#[inline(always)]
fn group_body<const FUSED: bool>(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    shape: Groups,
    y: &mut [MaybeUninit<f32>],
    statistics: &mut [MaybeUninit<f32>],
) {
    let (mean, variance) = mean_variance::<FUSED>(x);
    let inverse = 1.0 / (variance + shape.epsilon).sqrt();
    statistics[0].write(mean);
    statistics[1].write(inverse);
    let planes = x.chunks_exact(shape.pixels).zip(y.chunks_exact_mut(shape.pixels));
    for ((x, y), (weight, bias)) in planes.zip(weight.iter().zip(bias)) {
        let slope = inverse * weight;
        if shape.activation {
            for (y, x) in y.iter_mut().zip(x) {
                let z = mul_add::<FUSED>(x - mean, slope, *bias);
                y.write(z * sigmoid::<FUSED>(z));
            }
        } else {
            for (y, x) in y.iter_mut().zip(x) {
                y.write(mul_add::<FUSED>(x - mean, slope, *bias));
            }
        }
    }
}

/// With `z = (x - mean) / deviation`, `u` the gradient after the activation is undone and `n` elements in the group:
/// `dbias = sum u`, `dweight = sum u z` (per channel), and
/// `dx = (u weight - mean(u weight) - z mean(u weight z)) / deviation`, the means over the group.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "five slices in, three out; a struct would only rename them")]
fn group_gradient_body<const FUSED: bool>(
    x: &[f32],
    g: &[f32],
    weight: &[f32],
    bias: &[f32],
    statistics: &[f32],
    shape: Groups,
    dx: &mut [MaybeUninit<f32>],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    let (mean, inverse) = (statistics[0], statistics[1]);
    let (mut sum_u, mut sum_uz) = (0.0, 0.0);
    // First pass: u, kept in dx, and the sums of each channel.
    let planes = x.chunks_exact(shape.pixels).zip(g.chunks_exact(shape.pixels)).zip(dx.chunks_exact_mut(shape.pixels));
    for (c, ((x, g), dx)) in planes.enumerate() {
        if shape.activation {
            let slope = inverse * weight[c];
            for ((dx, x), g) in dx.iter_mut().zip(x).zip(g) {
                let z = mul_add::<FUSED>(x - mean, slope, bias[c]);
                let (s, rest) = sigmoid_and_rest::<FUSED>(z);
                dx.write(g * mul_add::<FUSED>(z * s, rest, s));
            }
        } else {
            for (dx, g) in dx.iter_mut().zip(g) {
                dx.write(*g);
            }
        }
        // SAFETY: the loop above has written all of this plane.
        let u = unsafe { assume_written(dx) };
        dbias[c] = sum(u);
        dweight[c] = dot_centred::<FUSED>(u, x, mean) * inverse;
        sum_u += dbias[c] * weight[c];
        sum_uz += dweight[c] * weight[c];
    }
    let n = x.len() as f32;
    let (mean_u, mean_uz) = (sum_u / n, sum_uz / n);
    // Second pass.
    let slope = -inverse * inverse * mean_uz;
    let offset = -inverse * mean_u;
    for ((x, dx), weight) in x.chunks_exact(shape.pixels).zip(dx.chunks_exact_mut(shape.pixels)).zip(weight) {
        let factor = inverse * weight;
        for (dx, x) in dx.iter_mut().zip(x) {
            // SAFETY: the first pass has written it.
            let u = unsafe { dx.assume_init() };
            dx.write(mul_add::<FUSED>(u, factor, mul_add::<FUSED>(x - mean, slope, offset)));
        }
    }
}
