//! Each operation, composed and fused, forward and with its backward pass, at the sizes of a small DiT (64 images of 64 tokens,
//! width 192) and UNet (64 images of 28 x 28, 64 channels).
//!
//! `cargo bench -p sinter-kernels -- linear` runs the lines that name `linear`. `RAYON_NUM_THREADS` sets the threads.

use burn::tensor::{Device, Distribution, Tensor};
use divan::Bencher;
use sinter_kernels as fused;
use sinter_kernels::composed;

fn main() {
    fused::allocator::keep_pages();
    divan::main();
}

/// Random input `[n]`.
fn random(n: usize, device: &Device) -> Tensor<1> {
    Tensor::random([n], Distribution::Normal(0.0, 1.0), device)
}

/// Runs `f` on inputs of the given lengths, without gradients.
fn forward<const D: usize>(bencher: Bencher, lengths: &[usize], f: impl Fn(&[Tensor<1>]) -> Tensor<D>) {
    let device = Device::flex();
    let inputs: Vec<_> = lengths.iter().map(|n| random(*n, &device)).collect();
    bencher.bench_local(|| f(&inputs));
}

/// Runs `f` on inputs of the given lengths and computes all of their gradients.
fn backward<const D: usize>(bencher: Bencher, lengths: &[usize], f: impl Fn(&[Tensor<1>]) -> Tensor<D>) {
    let device = Device::flex().autodiff();
    let inputs: Vec<_> = lengths.iter().map(|n| random(*n, &device).require_grad()).collect();
    let seed = f(&inputs).inner().random_like(Distribution::Normal(0.0, 1.0));
    // As the backward pass of a network does, start from a gradient of the result's shape.
    let seed = Tensor::from_inner(seed);
    bencher.bench_local(|| (f(&inputs) * seed.clone()).sum().backward());
}

/// A module with four benchmarks of one operation on flat inputs.
macro_rules! operation {
    ($name:ident, $lengths:expr, |$x:ident, $form:ident| $call:expr) => {
        mod $name {
            use super::*;

            mod fused {
                use super::*;
                use crate::fused as $form;

                #[divan::bench(min_time = 0.5)]
                fn forward(bencher: Bencher) {
                    super::super::forward(bencher, &$lengths, |$x| $call);
                }

                #[divan::bench(min_time = 0.5)]
                fn forward_backward(bencher: Bencher) {
                    super::super::backward(bencher, &$lengths, |$x| $call);
                }
            }

            mod composed {
                use super::*;
                use crate::composed as $form;

                #[divan::bench(min_time = 0.5)]
                fn forward(bencher: Bencher) {
                    super::super::forward(bencher, &$lengths, |$x| $call);
                }

                #[divan::bench(min_time = 0.5)]
                fn forward_backward(bencher: Bencher) {
                    super::super::backward(bencher, &$lengths, |$x| $call);
                }
            }
        }
    };
}

/// Images, tokens, width and heads of the transformer.
const B: usize = 64;
const N: usize = 64;
const D: usize = 192;
const HEADS: usize = 6;
/// Channels and edge of the UNet's images.
const C: usize = 64;
const E: usize = 28;

operation!(silu, [B * N * D], |x, form| form::silu(x[0].clone()));
operation!(gelu_tanh, [B * N * 4 * D], |x, form| form::gelu_tanh(x[0].clone()));
operation!(linear, [B * N * D, D * 4 * D, 4 * D], |x, form| {
    form::linear(x[0].clone().reshape([B, N, D]), x[1].clone().reshape([D, 4 * D]), Some(x[2].clone()))
});
operation!(packed_attention, [B * N * 3 * D], |x, form| {
    form::packed_attention(x[0].clone().reshape([B, N, 3 * D]), HEADS)
});
operation!(cross_attention, [B * N * D, B * 16 * D, B * 16 * D], |x, form| {
    let heads = |i: usize, n: usize| x[i].clone().reshape([B, n, HEADS, D / HEADS]).swap_dims(1, 2);
    form::attention(heads(0, N), heads(1, 16), heads(2, 16), None).swap_dims(1, 2).reshape([B, N, D])
});
operation!(layer_norm_modulate, [B * N * D, B * D, B * D], |x, form| {
    let image = |i: usize| x[i].clone().reshape([B, D]);
    form::layer_norm_modulate(x[0].clone().reshape([B, N, D]), image(1), image(2), 1e-6)
});
operation!(gate_residual, [B * N * D, B * N * D, B * D], |x, form| {
    let tokens = |i: usize| x[i].clone().reshape([B, N, D]);
    form::gate_residual(tokens(0), tokens(1), x[2].clone().reshape([B, D]))
});
operation!(group_norm_silu, [B * C * E * E, C, C], |x, form| {
    form::group_norm(x[0].clone().reshape([B, C, E, E]), x[1].clone(), x[2].clone(), 32, 1e-5, true)
});
operation!(group_norm_modulate, [B * C * E * E, C, C, B * C, B * C], |x, form| {
    let image = |i: usize| x[i].clone().reshape([B, C]);
    let images = x[0].clone().reshape([B, C, E, E]);
    form::group_norm_modulate(images, x[1].clone(), x[2].clone(), image(3), image(4), 32, 1e-5, true)
});
operation!(conv2d, [B * C * E * E, C * C * 9, C], |x, form| {
    let (image, weight) = (x[0].clone().reshape([B, C, E, E]), x[1].clone().reshape([C, C, 3, 3]));
    form::conv2d(image, weight, Some(x[2].clone()), 1, 1)
});
operation!(conv2d_stride_2, [B * C * E * E, C * C * 9, C], |x, form| {
    let (image, weight) = (x[0].clone().reshape([B, C, E, E]), x[1].clone().reshape([C, C, 3, 3]));
    form::conv2d(image, weight, Some(x[2].clone()), 2, 1)
});
operation!(conv2d_1x1, [B * C * E * E, C * C, C], |x, form| {
    let (image, weight) = (x[0].clone().reshape([B, C, E, E]), x[1].clone().reshape([C, C, 1, 1]));
    form::conv2d(image, weight, Some(x[2].clone()), 1, 0)
});
operation!(upsample_nearest_2x, [B * C * E * E / 4], |x, form| {
    form::upsample_nearest_2x(x[0].clone().reshape([B, C, E / 2, E / 2]))
});
operation!(average_pool_2x, [B * C * E * E], |x, form| { form::average_pool_2x(x[0].clone().reshape([B, C, E, E])) });

/// Steps of an optimizer on four million parameters.
mod optimizer {
    use super::*;
    use crate::fused::{AdamW, Moments};

    const PARAMETERS: usize = 4 << 20;
    const UPDATE: AdamW = AdamW {
        learning_rate: 1e-3,
        beta_1: 0.9,
        beta_2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.01,
        gradient_scale: 1.0,
        step: 10,
    };

    type AdamWStep = fn(Tensor<1>, Tensor<1>, Moments<1>, &AdamW) -> (Tensor<1>, Moments<1>);

    #[divan::bench(min_time = 0.5, args = ["fused", "composed"])]
    fn adamw(bencher: Bencher, form: &str) {
        let step: AdamWStep = if form == "fused" { fused::adamw_step } else { composed::adamw_step };
        let device = Device::flex();
        let zeros = || random(PARAMETERS, &device) * 0.0;
        let gradient = random(PARAMETERS, &device);
        let mut state = Some((random(PARAMETERS, &device), Moments { first: zeros(), second: zeros() }));
        bencher.bench_local(|| {
            state = state.take().map(|(parameter, moments)| step(parameter, gradient.clone(), moments, &UPDATE));
        });
    }

    #[divan::bench(min_time = 0.5, args = ["fused", "composed"])]
    fn ema(bencher: Bencher, form: &str) {
        let step: fn(Tensor<1>, Tensor<1>, f64) -> Tensor<1> =
            if form == "fused" { fused::ema_step } else { composed::ema_step };
        let device = Device::flex();
        let parameter = random(PARAMETERS, &device);
        let mut average = Some(random(PARAMETERS, &device));
        bencher.bench_local(|| average = average.take().map(|average| step(average, parameter.clone(), 0.999)));
    }

    #[divan::bench(min_time = 0.5, args = ["fused", "composed"])]
    fn square_norm(bencher: Bencher, form: &str) {
        let norm: fn(Tensor<1>) -> Tensor<1> = if form == "fused" { fused::square_norm } else { composed::square_norm };
        let x = random(PARAMETERS, &Device::flex());
        bencher.bench_local(|| norm(x.clone()));
    }
}
