//! Layer normalization followed by a shift and scale per image.

use burn::tensor::Tensor;

use crate::in_full_precision;

/// `LN(x) * (1 + scale) + shift` with a layer norm that has no weights of its own (DiT's adaLN; Peebles and Xie, 2022).
///
/// Shapes: `x` and the result `[b, n, d]`; `shift`, `scale` `[b, d]`. Mean and (biased) variance are over `d`; `epsilon`
/// is added to the variance.
pub fn layer_norm_modulate(x: Tensor<3>, shift: Tensor<2>, scale: Tensor<2>, epsilon: f64) -> Tensor<3> {
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
