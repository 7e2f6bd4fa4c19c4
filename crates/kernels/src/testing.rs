//! What the tests of the operations share: a fused form held to its composed one, and a composed one to plain loops.

use burn::tensor::{DType, Device, Element, Tensor, TensorData};

use crate::slices::testing::assert_close_above;
pub(crate) use crate::slices::testing::values;

/// A function of flat tensors, which it gives their shapes; its result is flattened again.
pub(crate) trait Form: Fn(&[Tensor<1>]) -> Tensor<1> {}
impl<F: Fn(&[Tensor<1>]) -> Tensor<1>> Form for F {}

/// Flattens a result.
pub(crate) fn flat<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let n = x.shape().num_elements();
    x.reshape([n])
}

/// Inputs of these lengths, others for each `seed`.
pub(crate) fn inputs(seed: u64, lengths: &[usize]) -> Vec<Vec<f32>> {
    // Different spreads, so that no input hides behind another.
    let input = |(i, len): (usize, &usize)| {
        values(16 * seed + i as u64 + 1, *len).into_iter().map(|v| v * (1.5 + i as f32)).collect::<Vec<f32>>()
    };
    lengths.iter().enumerate().map(input).collect()
}

fn tensor<E: Element>(x: &[E], device: &Device, dtype: DType) -> Tensor<1> {
    Tensor::from_data(TensorData::new(x.to_vec(), [x.len()]), (device, dtype))
}

/// What multiplies each element of a result of length `len` in the loss.
fn loss_weights(len: usize) -> Vec<f32> {
    values(99, len)
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
    let weights = tensor(&loss_weights(result.shape().num_elements()), device, dtype);
    let gradients = (result.clone() * weights).sum().backward();
    let of_leaves = leaves.iter().map(|x| x.grad(&gradients).map(to_vec).unwrap_or_default());
    std::iter::once(to_vec(result.inner())).chain(of_leaves).collect()
}

/// [`assert_same_on`] inputs of these lengths.
#[track_caller]
pub(crate) fn assert_same(name: &str, lengths: &[usize], fused: impl Form, composed: impl Form, tolerance: f64) {
    assert_same_on(name, &inputs(0, lengths), fused, composed, tolerance, 1e-30);
}

/// Fails unless the fused form gives the result and gradients of the composed one, which is run in 64-bit floats, up to
/// `tolerance` of the largest value, or of `floor` if that is less; and gives the same bits again, under gradient
/// checkpointing, and without autodiff.
#[track_caller]
pub(crate) fn assert_same_on(
    name: &str,
    inputs: &[Vec<f32>],
    fused: impl Form,
    composed: impl Form,
    tolerance: f64,
    floor: f64,
) {
    let device = Device::flex().autodiff();
    let got = with_gradients::<f32>(&fused, inputs, &device);
    let want = with_gradients::<f64>(&composed, inputs, &device);
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let what = if i == 0 { format!("{name}: result") } else { format!("{name}: gradient {}", i - 1) };
        assert_close_above(&what, got, want, tolerance, floor);
    }
    assert_eq!(got, with_gradients::<f32>(&fused, inputs, &device), "{name}: the same bits again");
    let checkpointing = Device::flex().autodiff().gradient_checkpointing();
    assert_eq!(got, with_gradients::<f32>(&fused, inputs, &checkpointing), "{name}: the same bits under checkpointing");
    assert_eq!(got[0], without_gradients::<f32, f32>(&fused, inputs), "{name}: the same bits without autodiff");
}

/// The result of `form`, run in `E` on tensors that are not part of a graph.
fn without_gradients<E: Element, I: Element>(form: &impl Form, inputs: &[Vec<I>]) -> Vec<E> {
    let plain: Vec<_> = inputs.iter().map(|x| tensor(x, &Device::flex(), E::dtype())).collect();
    to_vec(form(&plain))
}

/// As [`assert_same_on`], for operations on tensors that are not part of a graph, which have no gradients.
#[track_caller]
pub(crate) fn assert_same_values(
    name: &str,
    inputs: &[Vec<f32>],
    fused: impl Form,
    composed: impl Form,
    tolerance: f64,
    floor: f64,
) {
    let got = without_gradients::<f32, f32>(&fused, inputs);
    assert_close_above(name, &got, &without_gradients(&composed, inputs), tolerance, floor);
    assert_eq!(got, without_gradients::<f32, f32>(&fused, inputs), "{name}: the same bits again");
}

/// Fails unless the gradients of `form`, run in 64-bit floats, are its slopes: for each input along one direction, by a
/// central difference quotient of fourth order, to 1e-6. An input without a gradient is taken for a constant.
#[track_caller]
pub(crate) fn assert_slopes(name: &str, inputs: &[Vec<f32>], form: impl Form) {
    const STEP: f64 = 1e-3;
    let exact: Vec<Vec<f64>> = inputs.iter().map(|x| x.iter().map(|v| *v as f64).collect()).collect();
    let results = with_gradients::<f64>(&form, inputs, &Device::flex().autodiff());
    let weights = loss_weights(results[0].len());
    let terms = |result: &[f64]| result.iter().zip(&weights).map(|(y, w)| y * *w as f64).collect::<Vec<f64>>();
    // What is left of the difference of two sums of so large terms.
    let noise = 1e-11 * terms(&results[0]).iter().map(|term| term.abs()).sum::<f64>();
    for (i, gradient) in results[1..].iter().enumerate().filter(|(_, gradient)| !gradient.is_empty()) {
        let direction = values(7, gradient.len());
        let loss_at = |steps: f64| {
            let mut moved = exact.clone();
            moved[i].iter_mut().zip(&direction).for_each(|(x, d)| *x += steps * STEP * *d as f64);
            terms(&without_gradients::<f64, f64>(&form, &moved)).iter().sum::<f64>()
        };
        let slope = (8.0 * (loss_at(1.0) - loss_at(-1.0)) - (loss_at(2.0) - loss_at(-2.0))) / (12.0 * STEP);
        let terms: Vec<f64> = gradient.iter().zip(&direction).map(|(g, d)| g * *d as f64).collect();
        let (want, scale) = (terms.iter().sum::<f64>(), terms.iter().map(|term| term.abs()).sum::<f64>());
        let error = (slope - want).abs();
        assert!(error <= 1e-6 * scale + noise, "{name}: slope {i} is {slope}, not {want} (of terms of {scale} in all)");
    }
}

/// Fails unless `form`, run in 64-bit floats, gives `want(inputs)` to 1e-12.
#[track_caller]
pub(crate) fn assert_defined(name: &str, lengths: &[usize], form: impl Form, want: impl Fn(&[Vec<f64>]) -> Vec<f64>) {
    let inputs = inputs(0, lengths);
    let got = without_gradients::<f64, f32>(&form, &inputs);
    let want = want(&inputs.iter().map(|x| x.iter().map(|v| *v as f64).collect()).collect::<Vec<_>>());
    assert_eq!(got.len(), want.len(), "{name}: length");
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "{name}[{i}]: {got}, not {want}");
    }
}
