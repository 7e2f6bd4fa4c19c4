//! The affine map of the last dimension.

use burn::tensor::Tensor;

/// `x weight + bias` on the last dimension.
///
/// Shapes: `x` `[.., in]`, `weight` `[in, out]` (Burn's order), `bias` `[out]`; result `[.., out]`.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    linear_composed(x, weight, bias)
}

/// [`linear`] in Burn's operations.
pub fn linear_composed<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let [inputs, outputs] = weight.dims();
    let mut shape = x.dims();
    assert!(D > 0 && shape[D - 1] == inputs, "linear: input {shape:?} does not end in weight's {inputs} rows");
    let rows = shape[..D - 1].iter().product();
    shape[D - 1] = outputs;
    // As one matrix: a batched product would give a gradient of the weight per batch entry, to be summed.
    let y = x.reshape([rows, inputs]).matmul(weight); // [rows, out]
    let y = match bias {
        Some(bias) => y + bias.unsqueeze::<2>(),
        None => y,
    };
    y.reshape(shape)
}
