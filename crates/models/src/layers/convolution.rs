use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;

use super::{Adapter, trace};
use crate::dual::{self, Dual};
use crate::initialization::{Initialization, Start};

/// A convolution with a square kernel of odd size, padded so that stride 1 keeps the image's size.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[out, in, size, size]`.
    pub weight: Param<Tensor<4>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
    /// What is trained beside it, where there is any.
    pub adapter: Option<Adapter<4>>,
    stride: usize,
}

impl Conv2d {
    /// A kernel of `size` x `size`, stride 1.
    pub fn new(inputs: usize, outputs: usize, size: usize, start: Start, init: &mut Initialization) -> Self {
        let area = size * size;
        let (weight, bias) = start.rules(inputs * area, outputs * area);
        let (weight, bias) = (init.parameter([outputs, inputs, size, size], weight), init.parameter([outputs], bias));
        let adapter = init.adapter(weight.id, |config, init| Adapter::convolution(config, inputs, outputs, size, init));
        Self { weight, bias, adapter, stride: 1 }
    }

    /// The same with every second row and column of the result.
    pub fn halving(self) -> Self {
        Self { stride: 2, ..self }
    }

    /// `[b, in, h, w]` to `[b, out, h, w]` (half of `h`, `w`, rounded up, if halving).
    pub fn forward(&self, x: Dual<4>) -> Dual<4> {
        trace::convolution(&self.weight, x.dims(), self.stride);
        let [_, _, size, _] = self.weight.dims();
        let own = |x| dual::conv2d(x, self.weight.val(), Some(self.bias.val()), self.stride, size / 2);
        match &self.adapter {
            None => own(x),
            Some(adapter) => adapter.forward(x.clone(), own(x), self.stride),
        }
    }

    /// The same with `margin` more pixels of the result on each side, for stride 1:
    /// `[b, out, h + 2 margin, w + 2 margin]`.
    pub fn forward_beyond(&self, x: Dual<4>, margin: usize) -> Dual<4> {
        self.forward(x.each(|x| x.pad([(margin, margin); 2], PadMode::Constant(0.0))))
    }
}
