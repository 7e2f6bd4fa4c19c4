//! What the tests of the operations share: a fused form held to its composed one, and a composed one to plain loops.

use burn::tensor::{DType, Device, Element, Tensor, TensorData};

pub(crate) use crate::slices::testing::values;

/// A function of flat tensors, which it gives their shapes; its result is flattened again.
pub(crate) trait Form: Fn(&[Tensor<1>]) -> Tensor<1> {}
impl<F: Fn(&[Tensor<1>]) -> Tensor<1>> Form for F {}

/// Flattens a result.
pub(crate) fn flat<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let n = x.shape().num_elements();
    x.reshape([n])
}

fn inputs(lengths: &[usize]) -> Vec<Vec<f32>> {
    // Different spreads, so that no input hides behind another.
    let input = |(i, len): (usize, &usize)| {
        values(i as u64 + 1, *len).into_iter().map(|v| v * (1.5 + i as f32)).collect::<Vec<f32>>()
    };
    lengths.iter().enumerate().map(input).collect()
}

fn tensor(x: &[f32], device: &Device, dtype: DType) -> Tensor<1> {
    Tensor::from_data(TensorData::new(x.to_vec(), [x.len()]), (device, dtype))
}

fn to_vec<E: Element>(x: Tensor<1>) -> Vec<E> {
    x.into_data().try_to_vec::<E>().unwrap()
}

/// The result of `form`, run in `E`, and the gradient of each input, of a loss that weighs every element of the result
/// differently; an input that has none gives nothing.
fn with_gradients<E: Element>(form: &impl Form, inputs: &[Vec<f32>], device: &Device) -> Vec<Vec<E>> {
    let dtype = E::dtype();
    let leaves: Vec<_> = inputs.iter().map(|x| tensor(x, device, dtype).require_grad()).collect();
    let result = form(&leaves);
    let weights = tensor(&values(99, result.shape().num_elements()), device, dtype);
    let gradients = (result.clone() * weights).sum().backward();
    let of_leaves = leaves.iter().map(|x| x.grad(&gradients).map(to_vec).unwrap_or_default());
    std::iter::once(to_vec(result.inner())).chain(of_leaves).collect()
}

/// Fails unless the fused form gives the result and gradients of the composed one, which is run in 64-bit floats, up to
/// `tolerance` of the largest value; and gives the same bits again, under gradient checkpointing, and without autodiff.
#[track_caller]
pub(crate) fn assert_same(name: &str, lengths: &[usize], fused: impl Form, composed: impl Form, tolerance: f64) {
    let inputs = inputs(lengths);
    let device = Device::flex().autodiff();
    let got = with_gradients::<f32>(&fused, &inputs, &device);
    let want = with_gradients::<f64>(&composed, &inputs, &device);
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let what = if i == 0 { format!("{name}: result") } else { format!("{name}: gradient {}", i - 1) };
        crate::slices::testing::assert_close(&what, got, want, tolerance);
    }
    assert_eq!(got, with_gradients::<f32>(&fused, &inputs, &device), "{name}: the same bits again");
    let checkpointing = Device::flex().autodiff().gradient_checkpointing();
    assert_eq!(
        got,
        with_gradients::<f32>(&fused, &inputs, &checkpointing),
        "{name}: the same bits under checkpointing"
    );
    let plain: Vec<_> = inputs.iter().map(|x| tensor(x, &Device::flex(), DType::F32)).collect();
    assert_eq!(got[0], to_vec::<f32>(fused(&plain)), "{name}: the same bits without autodiff");
}

/// Fails unless `form`, run in 64-bit floats, gives `want(inputs)` to 1e-12.
#[track_caller]
pub(crate) fn assert_defined(name: &str, lengths: &[usize], form: impl Form, want: impl Fn(&[Vec<f64>]) -> Vec<f64>) {
    let inputs = inputs(lengths);
    let tensors: Vec<_> = inputs.iter().map(|x| tensor(x, &Device::flex(), DType::F64)).collect();
    let got = to_vec::<f64>(form(&tensors));
    let want = want(&inputs.iter().map(|x| x.iter().map(|v| *v as f64).collect()).collect::<Vec<_>>());
    assert_eq!(got.len(), want.len(), "{name}: length");
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "{name}[{i}]: {got}, not {want}");
    }
}
