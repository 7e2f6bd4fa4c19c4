use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};

use super::trace;
use crate::initialization::{Initialization, Rule};

/// A vector for each class label and, if the network is to be guided, one for the null class.
#[derive(Module, Debug)]
pub struct ClassEmbedding {
    /// `[classes, d]`, or `[classes + 1, d]` with the null class last.
    pub weight: Param<Tensor<2>>,
    null: Option<usize>,
}

impl ClassEmbedding {
    /// For labels `0..classes`, and `classes` for the null class where there is one.
    pub fn new(classes: usize, null_class: bool, width: usize, rule: Rule, init: &mut Initialization) -> Self {
        let rows = classes + usize::from(null_class);
        Self { weight: init.parameter([rows, width], rule), null: null_class.then_some(classes) }
    }

    /// Labels `[b]` to vectors `[b, d]`. Without labels: the null class for all of `batch`, or `None` if there is none.
    pub fn forward(&self, class: Option<Tensor<1, Int>>, batch: usize) -> Option<Tensor<2>> {
        let weight = self.weight.val();
        let class = match (class, self.null) {
            (Some(class), _) => class,
            (None, Some(null)) => Tensor::full([batch], null as i64, &weight.device()),
            (None, None) => return None,
        };
        trace::embedding(&self.weight, [batch, weight.dims()[1]]);
        Some(weight.select(0, class))
    }
}
