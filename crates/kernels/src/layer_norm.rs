//! Layer normalization followed by a shift and scale per image.

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::extension::{self, is_fusable};
use crate::in_full_precision;

/// `LN(x) * (1 + scale) + shift` with a layer norm that has no weights of its own (DiT's adaLN; Peebles and Xie, 2022).
///
/// Shapes: `x` and the result `[b, n, d]`; `shift`, `scale` `[b, d]`. Mean and (biased) variance are over `d`; `epsilon`
/// is added to the variance.
pub fn layer_norm_modulate(x: Tensor<3>, shift: Tensor<2>, scale: Tensor<2>, epsilon: f64) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if is_fusable(&x) && is_fusable(&shift) && is_fusable(&scale) {
        return extension::run_3(extension::LayerNormModulate { epsilon }, x, shift, scale);
    }
    layer_norm_modulate_composed(x, shift, scale, epsilon)
}

/// [`layer_norm_modulate`] in Burn's operations.
pub fn layer_norm_modulate_composed(x: Tensor<3>, shift: Tensor<2>, scale: Tensor<2>, epsilon: f64) -> Tensor<3> {
    let normal = in_full_precision(x, |x| {
        let centred = x.clone() - x.mean_dim(2);
        let variance = (centred.clone() * centred.clone()).mean_dim(2); // [b, n, 1]
        centred / (variance + epsilon).sqrt()
    });
    normal * (scale.unsqueeze_dim::<3>(1) + 1.0) + shift.unsqueeze_dim::<3>(1)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::testing::{assert_defined, assert_same, flat};

    type Norm = fn(Tensor<3>, Tensor<2>, Tensor<2>, f64) -> Tensor<3>;

    fn with([b, n, d]: [usize; 3], f: Norm) -> impl Fn(&[Tensor<1>]) -> Tensor<1> {
        move |x| {
            let image = |i: usize| x[i].clone().reshape([b, d]);
            flat(f(x[0].clone().reshape([b, n, d]), image(1), image(2), 1e-6))
        }
    }

    #[test]
    fn composed_form_is_the_definition() {
        let [b, n, d] = [2, 3, 5];
        assert_defined("norm", &[b * n * d, b * d, b * d], with([b, n, d], layer_norm_modulate_composed), |x| {
            let at = |i: usize| {
                let row = &x[0][i / d * d..][..d];
                let mean = row.iter().sum::<f64>() / d as f64;
                let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / d as f64;
                let of_image = i / (n * d) * d + i % d;
                (x[0][i] - mean) / (variance + 1e-6).sqrt() * (1.0 + x[2][of_image]) + x[1][of_image]
            };
            (0..b * n * d).map(at).collect()
        });
    }

    #[test]
    fn fused_form_is_the_composed_one() {
        for [b, n, d] in [[2, 3, 5], [3, 64, 192], [1, 2, 33]] {
            let (fused, composed) =
                (with([b, n, d], layer_norm_modulate), with([b, n, d], layer_norm_modulate_composed));
            assert_same("norm", &[b * n * d, b * d, b * d], fused, composed, 3e-6);
        }
        // Views, and shift and scale in one tensor.
        let with = |f: Norm| {
            move |x: &[Tensor<1>]| {
                let both = x[1].clone().reshape([8, 2]).swap_dims(0, 1);
                let h = x[0].clone().reshape([8, 5, 2]).swap_dims(0, 2);
                flat(f(h, both.clone(), both, 1e-6).swap_dims(1, 2))
            }
        };
        assert_same("views", &[80, 16], with(layer_norm_modulate), with(layer_norm_modulate_composed), 3e-6);
    }
}
