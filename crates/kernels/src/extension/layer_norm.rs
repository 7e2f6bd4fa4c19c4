//! Layer normalization with a shift and scale per image.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;

use super::Operation;
use super::tensor::{check, dense, sizes, slice, tensor};
use crate::slices::{Isa, layer_norm};

/// `LN(x) (1 + scale) + shift` of `x` `[b, n, d]`, `shift` and `scale` `[b, d]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerNormModulate {
    pub(crate) epsilon: f64,
}

impl Operation<3> for LayerNormModulate {
    /// `x`, `scale`, and the statistics of each row.
    type Saved = (FlexTensor, FlexTensor, FlexTensor);

    fn name(&self) -> &'static str {
        "layer_norm_modulate"
    }

    fn forward(&self, inputs: [FlexTensor; 3]) -> (FlexTensor, Self::Saved) {
        let [x, shift, scale] = inputs.map(dense);
        let [b, n, d] = sizes(&x);
        check("layer_norm_modulate", "shift", &shift, [b, d]);
        check("layer_norm_modulate", "scale", &scale, [b, d]);
        let rows = layer_norm::Rows { rows: n, width: d };
        let (y, statistics) =
            layer_norm::forward(Isa::detect(), slice(&x), slice(&shift), slice(&scale), rows, self.epsilon as f32);
        (tensor(y, x.shape()), (x, scale, tensor(statistics, [b, n, 2])))
    }

    fn backward(&self, saved: Self::Saved, gradient: FlexTensor, _: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let (x, scale, statistics) = saved;
        let gradient = dense(gradient);
        let [_, n, d] = sizes(&x);
        let rows = layer_norm::Rows { rows: n, width: d };
        let gradients =
            layer_norm::backward(Isa::detect(), slice(&x), slice(&gradient), slice(&scale), slice(&statistics), rows);
        [
            Some(tensor(gradients.x, x.shape())),
            Some(tensor(gradients.shift, scale.shape())),
            Some(tensor(gradients.scale, scale.shape())),
        ]
    }
}
