//! The affine map of the last dimension.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;

use super::Operation;
use super::tensor::{check, dense, sizes, slice, tensor};
use crate::slices::Isa;
use crate::slices::matrix::{Matrix, column_sums, product, transposed_product};

/// `x weight + bias` of `x` `[.., in]`, `weight` `[in, out]` and, as a third tensor, `bias` `[out]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear;

impl Operation<2> for Linear {
    /// `x` and `weight`.
    type Saved = [FlexTensor; 2];

    fn name(&self) -> &'static str {
        "linear"
    }

    fn forward(&self, inputs: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
        let [x, weight] = inputs.map(dense);
        (forward(&x, &weight, None), [x, weight])
    }

    fn backward(&self, saved: Self::Saved, gradient: FlexTensor, wanted: [bool; 2]) -> [Option<FlexTensor>; 2] {
        backward(saved, &dense(gradient), wanted)
    }
}

impl Operation<3> for Linear {
    /// `x` and `weight`.
    type Saved = [FlexTensor; 2];

    fn name(&self) -> &'static str {
        "linear"
    }

    fn forward(&self, inputs: [FlexTensor; 3]) -> (FlexTensor, Self::Saved) {
        let [x, weight, bias] = inputs.map(dense);
        (forward(&x, &weight, Some(&bias)), [x, weight])
    }

    fn backward(&self, saved: Self::Saved, gradient: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let gradient = dense(gradient);
        let outputs = saved[1].shape()[1];
        let [dx, dweight] = backward(saved, &gradient, [wanted[0], wanted[1]]);
        [dx, dweight, wanted[2].then(|| tensor(column_sums(slice(&gradient), outputs), [outputs]))]
    }
}

/// `x` as one matrix of all its rows.
fn rows(x: &FlexTensor, width: usize) -> Matrix<'_> {
    let elements = slice(x);
    Matrix::new(elements, elements.len() / width.max(1), width)
}

fn forward(x: &FlexTensor, weight: &FlexTensor, bias: Option<&FlexTensor>) -> FlexTensor {
    let [inputs, outputs] = sizes(weight);
    let mut shape = x.shape().to_vec();
    assert_eq!(shape.last(), Some(&inputs), "linear: input {shape:?} does not end in weight's {inputs} rows");
    if let Some(bias) = bias {
        check("linear", "bias", bias, [outputs]);
    }
    let y = product(Isa::detect(), rows(x, inputs), Matrix::new(slice(weight), inputs, outputs), bias.map(slice));
    shape.pop();
    shape.push(outputs);
    tensor(y, Shape::from(shape))
}

fn backward([x, weight]: [FlexTensor; 2], gradient: &FlexTensor, wanted: [bool; 2]) -> [Option<FlexTensor>; 2] {
    let [inputs, outputs] = sizes(&weight);
    let g = rows(gradient, outputs);
    let dx = || product(Isa::detect(), g, Matrix::new(slice(&weight), inputs, outputs).transposed(), None);
    let dweight = || transposed_product(Isa::detect(), rows(&x, inputs), g);
    [wanted[0].then(|| tensor(dx(), x.shape())), wanted[1].then(|| tensor(dweight(), weight.shape()))]
}
