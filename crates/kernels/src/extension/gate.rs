//! The gated residual connection.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;

use super::Operation;
use super::tensor::{check, dense, sizes, slice, tensor};
use crate::slices::layer_norm::Rows;
use crate::slices::{Isa, gate};

/// `x + gate h` of `x` and `h` `[b, n, d]` and `gate` `[b, d]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GateResidual;

impl Operation<3> for GateResidual {
    /// `h` and `gate`.
    type Saved = [FlexTensor; 2];

    fn name(&self) -> &'static str {
        "gate_residual"
    }

    fn forward(&self, inputs: [FlexTensor; 3]) -> (FlexTensor, Self::Saved) {
        let [x, h, gate] = inputs.map(dense);
        let [b, n, d] = sizes(&x);
        check("gate_residual", "h", &h, [b, n, d]);
        check("gate_residual", "gate", &gate, [b, d]);
        let rows = Rows { rows: n, width: d };
        let y = gate::forward(Isa::detect(), slice(&x), slice(&h), slice(&gate), rows);
        (tensor(y, x.shape()), [h, gate])
    }

    fn backward(&self, [h, gate]: Self::Saved, gradient: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let gradient = dense(gradient);
        if !wanted[1] && !wanted[2] {
            return [Some(gradient), None, None];
        }
        let [_, n, d] = sizes(&h);
        let rows = Rows { rows: n, width: d };
        let (dh, dgate) = gate::backward(Isa::detect(), slice(&h), slice(&gate), slice(&gradient), rows);
        [Some(gradient), Some(tensor(dh, h.shape())), Some(tensor(dgate, gate.shape()))]
    }
}
