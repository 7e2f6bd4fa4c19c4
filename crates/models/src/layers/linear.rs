use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::Adapter;
use super::trace::{self, Kind};
use crate::dual::{self, Dual};
use crate::initialization::{Initialization, Start};

/// `x W + b` on the last dimension.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[in, out]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
    /// What is trained beside it, where there is any.
    pub adapter: Option<Adapter<2>>,
}

impl Linear {
    /// From `inputs` to `outputs` features.
    pub fn new(inputs: usize, outputs: usize, start: Start, init: &mut Initialization) -> Self {
        let (weight, bias) = start.rules(inputs, outputs);
        let (weight, bias) = (init.parameter([inputs, outputs], weight), init.parameter([outputs], bias));
        let adapter = init.adapter(weight.id, |config, init| Adapter::linear(config, inputs, outputs, init));
        Self { weight, bias, adapter }
    }

    /// `[..., in]` to `[..., out]`.
    pub fn forward<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        trace::linear(&self.weight, x.dims());
        let own = |x| dual::linear(x, self.weight.val(), Some(self.bias.val()));
        match &self.adapter {
            None => own(x),
            Some(adapter) => adapter.forward(x.clone(), own(x)),
        }
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
    pub fn forward_gelu<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        self.output.forward(dual::gelu_tanh(self.hidden(x)))
    }

    /// `[..., in]` to `[..., out]`, with SiLU between.
    pub fn forward_silu<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        self.output.forward(dual::silu(self.hidden(x)))
    }

    /// What the nonlinearity reads.
    fn hidden<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        let hidden = self.input.forward(x); // [..., hidden]
        trace::pointwise(Kind::Activation, &self.input.weight, hidden.dims());
        hidden
    }
}
