use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::trace::{self, Kind};
use crate::dual::{self, Dual};
use crate::initialization::{Initialization, Rule};

/// Normalization over groups of channels (Wu and He, 2018), with SiLU after it if asked.
#[derive(Module, Debug)]
pub struct GroupNorm {
    /// `[c]`.
    pub weight: Param<Tensor<1>>,
    /// `[c]`.
    pub bias: Param<Tensor<1>>,
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    /// `groups` must divide `channels`; epsilon is 1e-5, PyTorch's default.
    pub fn new(channels: usize, groups: usize, init: &mut Initialization) -> Self {
        Self {
            weight: init.parameter([channels], Rule::ONES),
            bias: init.parameter([channels], Rule::ZEROS),
            groups,
            epsilon: 1e-5,
        }
    }

    /// The same with another epsilon.
    pub fn with_epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }

    /// `[b, c, h, w]`, normalized.
    pub fn forward(&self, x: Dual<4>) -> Dual<4> {
        trace::pointwise(Kind::GroupNorm, &self.weight, x.dims());
        dual::group_norm(x, self.weight.val(), self.bias.val(), self.groups, self.epsilon, false)
    }

    /// `[b, c, h, w]`, normalized, then SiLU.
    pub fn forward_silu(&self, x: Dual<4>) -> Dual<4> {
        trace::pointwise(Kind::GroupNorm, &self.weight, x.dims());
        dual::group_norm(x, self.weight.val(), self.bias.val(), self.groups, self.epsilon, true)
    }

    /// `[b, c, h, w]`, normalized, times `1 + scale` plus `shift` (both `[b, c]`), then SiLU.
    pub fn forward_modulated_silu(&self, x: Dual<4>, shift: Dual<2>, scale: Dual<2>) -> Dual<4> {
        trace::pointwise(Kind::GroupNorm, &self.weight, x.dims());
        let (weight, bias) = (self.weight.val(), self.bias.val());
        dual::group_norm_modulate(x, weight, bias, shift, scale, self.groups, self.epsilon, true)
    }
}

/// Normalization over the last dimension (Ba et al., 2016).
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[d]`.
    pub weight: Param<Tensor<1>>,
    /// `[d]`.
    pub bias: Param<Tensor<1>>,
    epsilon: f64,
}

impl LayerNorm {
    /// Over `width` features; epsilon is 1e-5, PyTorch's default.
    pub fn new(width: usize, init: &mut Initialization) -> Self {
        Self { weight: init.parameter([width], Rule::ONES), bias: init.parameter([width], Rule::ZEROS), epsilon: 1e-5 }
    }

    /// The same with another epsilon.
    pub fn with_epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }

    /// `[..., d]`, normalized.
    pub fn forward<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        trace::pointwise(Kind::LayerNorm, &self.weight, x.dims());
        dual::layer_norm(x, self.weight.val(), self.bias.val(), self.epsilon)
    }
}
