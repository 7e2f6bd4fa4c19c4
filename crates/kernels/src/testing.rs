//! What the tests of the operations share: a fused form held to its composed one, and a composed one to plain loops.

use burn::tensor::{DType, Device, Tensor, TensorData};

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

fn to_vec(x: Tensor<1>) -> Vec<f32> {
    x.into_data().to_vec::<f32>().unwrap()
}

/// The result of `form` and the gradient of each input, of a loss that weighs every element of the result differently.
fn with_gradients(form: &impl Form, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let device = Device::flex().autodiff();
    let tensor = |x: &Vec<f32>| Tensor::<1>::from_floats(x.as_slice(), &device);
    let leaves: Vec<_> = inputs.iter().map(|x| tensor(x).require_grad()).collect();
    let result = form(&leaves);
    let weights = tensor(&values(99, result.shape().num_elements()));
    let gradients = (result.clone() * weights).sum().backward();
    let of_leaves = leaves.iter().map(|x| x.grad(&gradients).map(to_vec).unwrap_or_default());
    std::iter::once(to_vec(result.inner())).chain(of_leaves).collect()
}

/// Fails unless both forms give the same result and gradients up to `tolerance` of the largest value, the fused form gives the same bits
/// again, and it gives them without autodiff and under gradient checkpointing too.
#[track_caller]
pub(crate) fn assert_same(name: &str, lengths: &[usize], fused: impl Form, composed: impl Form, tolerance: f64) {
    let inputs = inputs(lengths);
    let (got, want) = (with_gradients(&fused, &inputs), with_gradients(&composed, &inputs));
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let what = if i == 0 { format!("{name}: result") } else { format!("{name}: gradient {}", i - 1) };
        let want: Vec<f64> = want.iter().map(|v| *v as f64).collect();
        crate::slices::testing::assert_close(&what, got, &want, tolerance);
    }
    assert_eq!(got, with_gradients(&fused, &inputs), "{name}: the same bits again");
    let plain: Vec<_> = inputs.iter().map(|x| Tensor::<1>::from_floats(x.as_slice(), &Device::flex())).collect();
    assert_eq!(got[0], to_vec(fused(&plain)), "{name}: the same bits without autodiff");
    let device = Device::flex().autodiff().gradient_checkpointing();
    let leaves: Vec<_> =
        inputs.iter().map(|x| Tensor::<1>::from_floats(x.as_slice(), &device).require_grad()).collect();
    let gradients = fused(&leaves).powi_scalar(2).sum().backward();
    assert!(leaves.iter().zip(&want[1..]).all(|(x, want)| x.grad(&gradients).is_some() != want.is_empty()));
}

/// Fails unless `form`, run in 64-bit floats, gives `want(inputs)` to 1e-12.
#[track_caller]
pub(crate) fn assert_defined(name: &str, lengths: &[usize], form: impl Form, want: impl Fn(&[Vec<f64>]) -> Vec<f64>) {
    let inputs: Vec<Vec<f64>> = inputs(lengths).iter().map(|x| x.iter().map(|v| *v as f64).collect()).collect();
    let tensor = |x: &Vec<f64>| Tensor::from_data(TensorData::new(x.clone(), [x.len()]), (&Device::flex(), DType::F64));
    let tensors: Vec<Tensor<1>> = inputs.iter().map(tensor).collect();
    let got = form(&tensors).into_data().to_vec::<f64>().unwrap();
    let want = want(&inputs);
    assert_eq!(got.len(), want.len(), "{name}: length");
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "{name}[{i}]: {got}, not {want}");
    }
}
