//! How weights are drawn: on the host, by the counter generator, so that a seed means the same weights on every device.

use std::collections::BTreeMap;

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use sinter_process::random::{Key, Stream};

use crate::adapters::AdapterConfig;
use crate::layers::Dropout;

/// Draws the weights of one network.
///
/// Parameters are numbered in the order of construction; number `n` is drawn from
/// `(seed, initialization stream, n)` alone, and those of an adapter from a stream of its layer's. A parameter is
/// filled when it is first used, so a network that is only counted, or loaded from a file, costs nothing.
#[derive(Debug)]
pub struct Initialization {
    seed: u64,
    key: Key,
    device: Device,
    zeros: bool,
    parameters: u64,
    dropouts: u32,
    /// The weights of the layers that can be adapted, in the order of construction.
    adaptable: Vec<ParamId>,
    /// Adapters, by their layer's place in that order.
    adapters: BTreeMap<usize, AdapterConfig>,
}

impl Initialization {
    /// Weights for `device` (an autodiff device for training) from `seed`.
    pub fn new(seed: u64, device: &Device) -> Self {
        Self::of_stream(seed, Stream::INITIALIZATION, device)
    }

    fn of_stream(seed: u64, stream: Stream, device: &Device) -> Self {
        Self {
            seed,
            key: Key::new(seed, stream),
            device: device.clone(),
            zeros: false,
            parameters: 0,
            dropouts: 0,
            adaptable: Vec::new(),
            adapters: BTreeMap::new(),
        }
    }

    /// Zeros for all weights, which cost next to nothing: for what does not look at values.
    pub fn zeros(device: &Device) -> Self {
        Self { zeros: true, ..Self::new(0, device) }
    }

    /// The same with adapters on some layers, each by its layer's place among [`adaptable`](Self::adaptable).
    pub(crate) fn with_adapters(self, adapters: BTreeMap<usize, AdapterConfig>) -> Self {
        Self { adapters, ..self }
    }

    /// The weights of the layers that can be adapted and were made so far, in the order of construction.
    pub(crate) fn adaptable(&self) -> &[ParamId] {
        &self.adaptable
    }

    /// Where the weights will live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The next parameter, of the given shape.
    pub fn parameter<const D: usize>(&mut self, shape: [usize; D], rule: Rule) -> Param<Tensor<D>> {
        let draws = self.key.at(self.parameters);
        self.parameters += 1;
        let rule = if self.zeros { Rule::ZEROS } else { rule };
        let fill = move |device: &Device, require_grad: bool| {
            let mut values = vec![0.0; shape.iter().product()];
            match rule {
                // As allocated: memory that is zero and untouched takes no place.
                Rule::ZEROS => {}
                Rule::Constant(value) => values.fill(value),
                Rule::Normal { deviation } => {
                    draws.fill_normal(&mut values);
                    values.iter_mut().for_each(|value| *value *= deviation);
                }
                Rule::Uniform { bound } => {
                    draws.fill_uniform(&mut values);
                    values.iter_mut().for_each(|value| *value = (2.0 * *value - 1.0) * bound);
                }
            }
            Tensor::from_data(TensorData::new(values, shape), device).set_require_grad(require_grad)
        };
        Param::uninitialized(ParamId::new(), fill, self.device.clone(), true, shape.into())
    }

    /// Counts the layer of this weight among those that can be adapted, and makes its adapter if it is to have one.
    pub(crate) fn adapter<A>(
        &mut self,
        weight: ParamId,
        make: impl FnOnce(&AdapterConfig, &mut Self) -> A,
    ) -> Option<A> {
        let place = self.adaptable.len();
        self.adaptable.push(weight);
        let config = self.adapters.get(&place)?;
        // Of a stream of its own, so that all other parameters are drawn as without it.
        let mut own = Self::of_stream(self.seed, Stream::INITIALIZATION.nth(place as u32), &self.device);
        Some(make(config, &mut own))
    }

    /// The next dropout layer; each has masks of its own.
    pub fn dropout(&mut self, probability: f64) -> Dropout {
        let ordinal = self.dropouts;
        self.dropouts += 1;
        Dropout::new(probability, ordinal)
    }
}

/// The distribution of one parameter's elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Every element the same.
    Constant(f32),
    /// Normal, mean zero.
    Normal {
        /// Standard deviation.
        deviation: f32,
    },
    /// Uniform on `[-bound, bound)`.
    Uniform {
        /// Half the width.
        bound: f32,
    },
}

impl Rule {
    /// All zeros.
    pub const ZEROS: Self = Self::Constant(0.0);
    /// All ones.
    pub const ONES: Self = Self::Constant(1.0);

    /// Uniform with variance `2 / (fan_in + fan_out)` (Glorot and Bengio, 2010, eq. 16).
    pub fn xavier(fan_in: usize, fan_out: usize) -> Self {
        Self::Uniform { bound: (6.0 / (fan_in + fan_out) as f64).sqrt() as f32 }
    }

    /// Uniform on `+-1/sqrt(fan_in)`: PyTorch's default for the weights and biases of linear layers and convolutions.
    pub fn fan_in(fan_in: usize) -> Self {
        Self::Uniform { bound: (fan_in as f64).powf(-0.5) as f32 }
    }

    /// The same, every element times `gain`.
    pub fn times(self, gain: f32) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(value * gain),
            Self::Normal { deviation } => Self::Normal { deviation: deviation * gain },
            Self::Uniform { bound } => Self::Uniform { bound: bound * gain },
        }
    }

    /// Normal with standard deviation `deviation`.
    pub fn normal(deviation: f32) -> Self {
        Self::Normal { deviation }
    }
}

/// How a layer with a weight and a bias starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// Weight and bias uniform on `+-1/sqrt(fan_in)`, PyTorch's default.
    FanIn,
    /// Weight by [`Rule::xavier`], bias zero.
    Xavier,
    /// Weight by [`Rule::xavier`] times this, bias zero.
    XavierTimes(f32),
    /// Weight normal with standard deviation 0.02, bias zero.
    Small,
    /// Weight and bias zero: what follows starts as if the layer were not there.
    Zero,
}

impl Start {
    /// The rules of (weight, bias).
    pub(crate) fn rules(self, fan_in: usize, fan_out: usize) -> (Rule, Rule) {
        match self {
            Self::FanIn => (Rule::fan_in(fan_in), Rule::fan_in(fan_in)),
            Self::Xavier => (Rule::xavier(fan_in, fan_out), Rule::ZEROS),
            Self::XavierTimes(gain) => (Rule::xavier(fan_in, fan_out).times(gain), Rule::ZEROS),
            Self::Small => (Rule::normal(0.02), Rule::ZEROS),
            Self::Zero => (Rule::ZEROS, Rule::ZEROS),
        }
    }
}
