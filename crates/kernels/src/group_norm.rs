//! Group normalization with what follows it in diffusion UNets: weights, a shift and scale per image, and SiLU.

use burn::tensor::{Tensor, activation};

use crate::in_full_precision;

/// Group normalization (Wu and He, 2018), then SiLU where `activation` is true.
///
/// Shapes: `x` and the result `[b, c, h, w]`; `gamma`, `beta` `[c]`. `groups` must divide `c`; mean and (biased) variance
/// are over the `c / groups` channels of a group and all pixels; `epsilon` is added to the variance.
pub fn group_norm(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    groups: usize,
    epsilon: f64,
    activation: bool,
) -> Tensor<4> {
    group_norm_composed(x, gamma, beta, groups, epsilon, activation)
}

/// [`group_norm`] in Burn's operations.
pub fn group_norm_composed(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    groups: usize,
    epsilon: f64,
    activation: bool,
) -> Tensor<4> {
    activate(normalize(x, gamma, beta, groups, epsilon), activation)
}

/// Group normalization, then `(1 + scale)` and `shift` per image and channel, then SiLU where `activation` is true
/// (the scale-shift norm of ADM; Dhariwal and Nichol, 2021).
///
/// Shapes: as [`group_norm`]; `shift`, `scale` `[b, c]`.
#[allow(clippy::too_many_arguments)]
pub fn group_norm_modulate(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    shift: Tensor<2>,
    scale: Tensor<2>,
    groups: usize,
    epsilon: f64,
    activation: bool,
) -> Tensor<4> {
    group_norm_modulate_composed(x, gamma, beta, shift, scale, groups, epsilon, activation)
}

/// [`group_norm_modulate`] in Burn's operations.
#[allow(clippy::too_many_arguments)]
pub fn group_norm_modulate_composed(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    shift: Tensor<2>,
    scale: Tensor<2>,
    groups: usize,
    epsilon: f64,
    activation: bool,
) -> Tensor<4> {
    let [b, c, _, _] = x.dims();
    let normal = normalize(x, gamma, beta, groups, epsilon);
    activate(normal * (scale.reshape([b, c, 1, 1]) + 1.0) + shift.reshape([b, c, 1, 1]), activation)
}

fn normalize(x: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>, groups: usize, epsilon: f64) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    assert!(groups > 0 && c % groups == 0, "{groups} groups do not divide {c} channels");
    let normal = in_full_precision(x, |x| {
        let x = x.reshape([b, groups, c / groups * h * w]);
        let centred = x.clone() - x.mean_dim(2);
        let variance = (centred.clone() * centred.clone()).mean_dim(2); // [b, groups, 1]
        (centred / (variance + epsilon).sqrt()).reshape([b, c, h, w])
    });
    normal * gamma.reshape([1, c, 1, 1]) + beta.reshape([1, c, 1, 1])
}

fn activate(x: Tensor<4>, activation: bool) -> Tensor<4> {
    if activation { activation::silu(x) } else { x }
}
