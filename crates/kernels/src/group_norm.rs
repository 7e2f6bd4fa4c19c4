//! Group normalization with what follows it in diffusion UNets: weights, a shift and scale per image, and SiLU.

use burn::tensor::{Tensor, activation};

#[cfg(feature = "flex")]
use crate::extension::{self, is_fusable};
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
    #[cfg(feature = "flex")]
    if is_fusable(&x) && is_fusable(&gamma) && is_fusable(&beta) {
        return extension::run_3(extension::GroupNorm { groups, epsilon, activation }, x, gamma, beta);
    }
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
    #[cfg(feature = "flex")]
    if is_fusable(&x) && [&gamma, &beta].into_iter().all(is_fusable) && [&shift, &scale].into_iter().all(is_fusable) {
        let operation = extension::GroupNormModulate(extension::GroupNorm { groups, epsilon, activation });
        return extension::run_5(operation, x, [gamma, beta], [shift, scale]);
    }
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
    assert!(groups > 0 && c.is_multiple_of(groups), "{groups} groups do not divide {c} channels");
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

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::testing::{assert_defined, assert_same, flat};

    type Norm = fn(Tensor<4>, Tensor<1>, Tensor<1>, usize, f64, bool) -> Tensor<4>;
    type Modulate = fn(Tensor<4>, Tensor<1>, Tensor<1>, Tensor<2>, Tensor<2>, usize, f64, bool) -> Tensor<4>;

    /// Batch, channels, height, width and groups.
    type Case = [usize; 5];

    const CASES: [Case; 4] = [[2, 6, 3, 5, 3], [3, 32, 7, 7, 8], [1, 4, 8, 8, 1], [2, 5, 1, 3, 5]];

    fn plain([b, c, h, w, groups]: Case, activation: bool, f: Norm) -> impl Fn(&[Tensor<1>]) -> Tensor<1> {
        move |x| flat(f(x[0].clone().reshape([b, c, h, w]), x[1].clone(), x[2].clone(), groups, 1e-5, activation))
    }

    fn modulated([b, c, h, w, groups]: Case, activation: bool, f: Modulate) -> impl Fn(&[Tensor<1>]) -> Tensor<1> {
        move |x| {
            let of_image = |i: usize| x[i].clone().reshape([b, c]);
            let image = x[0].clone().reshape([b, c, h, w]);
            flat(f(image, x[1].clone(), x[2].clone(), of_image(3), of_image(4), groups, 1e-5, activation))
        }
    }

    fn lengths([b, c, h, w, _]: Case) -> [usize; 5] {
        [b * c * h * w, c, c, b * c, b * c]
    }

    #[test]
    fn composed_forms_are_the_definitions() {
        let case @ [b, c, h, w, groups] = CASES[0];
        let want = |x: &[Vec<f64>], shift: &dyn Fn(usize) -> f64, scale: &dyn Fn(usize) -> f64, activation: bool| {
            let size = c / groups * h * w;
            let at = |i: usize| {
                let group = &x[0][i / size * size..][..size];
                let mean = group.iter().sum::<f64>() / size as f64;
                let variance = group.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / size as f64;
                let plane = i / (h * w);
                let normal = (x[0][i] - mean) / (variance + 1e-5).sqrt() * x[1][plane % c] + x[2][plane % c];
                let y = normal * (1.0 + scale(plane)) + shift(plane);
                if activation { y / (1.0 + (-y).exp()) } else { y }
            };
            (0..b * c * h * w).map(at).collect::<Vec<f64>>()
        };
        for activation in [false, true] {
            assert_defined("plain", &lengths(case)[..3], plain(case, activation, group_norm_composed), |x| {
                want(x, &|_| 0.0, &|_| 0.0, activation)
            });
            let form = modulated(case, activation, group_norm_modulate_composed);
            assert_defined("modulated", &lengths(case), form, |x| want(x, &|i| x[3][i], &|i| x[4][i], activation));
        }
    }

    #[test]
    fn fused_forms_are_the_composed_ones() {
        for case in CASES {
            for activation in [false, true] {
                let (fused, composed) =
                    (plain(case, activation, group_norm), plain(case, activation, group_norm_composed));
                assert_same("plain", &lengths(case)[..3], fused, composed, 5e-6);
                let fused = modulated(case, activation, group_norm_modulate);
                let composed = modulated(case, activation, group_norm_modulate_composed);
                assert_same("modulated", &lengths(case), fused, composed, 5e-6);
            }
        }
    }

    #[test]
    fn fused_form_reads_views() {
        // Channels last, and one tensor as both weights.
        let with = |f: Norm| {
            move |x: &[Tensor<1>]| {
                let image = x[0].clone().reshape([2, 5, 3, 4]).permute([0, 3, 1, 2]);
                flat(f(image, x[1].clone(), x[1].clone(), 2, 1e-5, true).permute([0, 2, 3, 1]))
            }
        };
        assert_same("views", &[120, 4], with(group_norm), with(group_norm_composed), 5e-6);
    }
}
