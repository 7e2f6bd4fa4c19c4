use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::initialization::{Initialization, Rule};

/// Numbers that were drawn once and are not trained: they are kept and read with a network's parameters, but are none.
#[derive(Module, Debug)]
pub struct Frozen {
    value: Param<Tensor<1>>,
}

impl Frozen {
    /// So many numbers of a distribution.
    pub fn new(length: usize, rule: Rule, init: &mut Initialization) -> Self {
        Self { value: init.parameter([length], rule).set_require_grad(false) }
    }

    /// How many.
    pub fn length(&self) -> usize {
        self.value.lazy_shape().num_elements()
    }

    /// All.
    pub fn values(&self) -> Tensor<1> {
        self.value.val()
    }
}
