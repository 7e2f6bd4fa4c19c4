//! SiLU and tanh GELU.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;

use super::Operation;
use super::tensor::{dense, slice, tensor};
use crate::slices::{Isa, activation};

/// An activation function.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Activation {
    Silu,
    Gelu,
}

impl Operation<1> for Activation {
    type Saved = FlexTensor;

    fn name(&self) -> &'static str {
        match self {
            Self::Silu => "silu",
            Self::Gelu => "gelu_tanh",
        }
    }

    fn forward(&self, [x]: [FlexTensor; 1]) -> (FlexTensor, FlexTensor) {
        let x = dense(x);
        let function = match self {
            Self::Silu => activation::silu,
            Self::Gelu => activation::gelu,
        };
        (tensor(function(Isa::detect(), slice(&x)), x.shape()), x)
    }

    fn backward(&self, x: FlexTensor, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let gradient = dense(gradient);
        let function = match self {
            Self::Silu => activation::silu_backward,
            Self::Gelu => activation::gelu_backward,
        };
        [Some(tensor(function(Isa::detect(), slice(&x), slice(&gradient)), x.shape()))]
    }
}
