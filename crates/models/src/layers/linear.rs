use burn::module::{Module, Param};
use burn::tensor::Tensor;
use sinter_kernels as kernels;

use super::trace::{self, Kind};
use crate::initialization::{Initialization, Start};

/// `x W + b` on the last dimension.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[in, out]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// From `inputs` to `outputs` features.
    pub fn new(inputs: usize, outputs: usize, start: Start, init: &mut Initialization) -> Self {
        let (weight, bias) = start.rules(inputs, outputs);
        Self { weight: init.parameter([inputs, outputs], weight), bias: init.parameter([outputs], bias) }
    }

    /// `[..., in]` to `[..., out]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        trace::linear(&self.weight, x.dims());
        kernels::linear(x, self.weight.val(), Some(self.bias.val()))
    }
}

/// Two linear layers with a nonlinearity between them, as in a transformer's block (GELU) or a conditioning path (SiLU).
#[derive(Module, Debug)]
pub struct Mlp {
    /// `[in] -> [hidden]`.
    pub input: Linear,
    /// `[hidden] -> [out]`.
    pub output: Linear,
}

impl Mlp {
    /// From `inputs` through `hidden` to `outputs` features.
    pub fn new(inputs: usize, hidden: usize, outputs: usize, start: Start, init: &mut Initialization) -> Self {
        Self { input: Linear::new(inputs, hidden, start, init), output: Linear::new(hidden, outputs, start, init) }
    }

    /// `[..., in]` to `[..., out]`, with the tanh GELU between.
    pub fn forward_gelu<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.output.forward(kernels::gelu_tanh(self.hidden(x)))
    }

    /// `[..., in]` to `[..., out]`, with SiLU between.
    pub fn forward_silu<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.output.forward(kernels::silu(self.hidden(x)))
    }

    /// What the nonlinearity reads.
    fn hidden<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let hidden = self.input.forward(x); // [..., hidden]
        trace::pointwise(Kind::Activation, &self.input.weight, hidden.dims());
        hidden
    }
}
