//! Two-dimensional convolution.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;

use super::Operation;
use super::tensor::{check, dense, sizes, slice, tensor};
use crate::slices::Isa;
use crate::slices::convolution::{self, Shape};

/// Convolution of `x` `[b, i, h, w]` with `weight` `[o, i, kh, kw]` and, as a third tensor, `bias` `[o]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Convolution {
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl Convolution {
    fn shape(&self, x: &FlexTensor, weight: &FlexTensor) -> Shape {
        let [batch, inputs, height, width] = sizes(x);
        let [outputs, of_inputs, kernel_height, kernel_width] = sizes(weight);
        let Self { stride, padding } = *self;
        assert_eq!(of_inputs, inputs, "conv2d: input channels of weight and x");
        assert!(stride > 0 && kernel_height > 0 && kernel_width > 0, "conv2d: stride and kernel must not be 0");
        assert!(
            height + 2 * padding >= kernel_height && width + 2 * padding >= kernel_width,
            "conv2d: an image of {height} x {width} with padding {padding} is smaller than the kernel"
        );
        Shape { batch, inputs, height, width, outputs, kernel_height, kernel_width, stride, padding }
    }

    fn run(&self, x: &FlexTensor, weight: &FlexTensor, bias: Option<&FlexTensor>) -> FlexTensor {
        let shape = self.shape(x, weight);
        if let Some(bias) = bias {
            check("conv2d", "bias", bias, [shape.outputs]);
        }
        let y = convolution::forward(Isa::detect(), &shape, slice(x), slice(weight), bias.map(slice));
        tensor(y, [shape.batch, shape.outputs, shape.out_height(), shape.out_width()])
    }

    fn run_backward(
        &self,
        [x, weight]: [FlexTensor; 2],
        gradient: &FlexTensor,
        wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let shape = self.shape(&x, &weight);
        let (isa, g) = (Isa::detect(), slice(gradient));
        let dx = || convolution::backward_image(isa, &shape, g, slice(&weight));
        let dweight = || convolution::backward_weight(isa, &shape, slice(&x), g);
        [wanted[0].then(|| tensor(dx(), x.shape())), wanted[1].then(|| tensor(dweight(), weight.shape()))]
    }
}

impl Operation<2> for Convolution {
    /// `x` and `weight`.
    type Saved = [FlexTensor; 2];

    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn forward(&self, inputs: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
        let [x, weight] = inputs.map(dense);
        (self.run(&x, &weight, None), [x, weight])
    }

    fn backward(&self, saved: Self::Saved, gradient: FlexTensor, wanted: [bool; 2]) -> [Option<FlexTensor>; 2] {
        self.run_backward(saved, &dense(gradient), wanted)
    }
}

impl Operation<3> for Convolution {
    /// `x` and `weight`.
    type Saved = [FlexTensor; 2];

    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn forward(&self, inputs: [FlexTensor; 3]) -> (FlexTensor, Self::Saved) {
        let [x, weight, bias] = inputs.map(dense);
        (self.run(&x, &weight, Some(&bias)), [x, weight])
    }

    fn backward(&self, saved: Self::Saved, gradient: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let gradient = dense(gradient);
        let shape = self.shape(&saved[0], &saved[1]);
        let [dx, dweight] = self.run_backward(saved, &gradient, [wanted[0], wanted[1]]);
        let dbias = || convolution::backward_bias(Isa::detect(), &shape, slice(&gradient));
        [dx, dweight, wanted[2].then(|| tensor(dbias(), [shape.outputs]))]
    }
}
