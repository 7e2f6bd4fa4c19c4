//! What tests share.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use sinter_process::random::{Key, Stream};

use crate::parameters;

/// The device under test: `SINTER_TEST_DEVICE`, `flex` if unset. Others need the feature of their name.
pub(crate) fn device() -> Device {
    match std::env::var("SINTER_TEST_DEVICE").as_deref() {
        Err(_) | Ok("flex") => Device::flex(),
        #[cfg(feature = "wgpu")]
        Ok("wgpu") => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "vulkan")]
        Ok("vulkan") => Device::vulkan(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "cuda")]
        Ok("cuda") => Device::cuda(0),
        Ok(other) => panic!("SINTER_TEST_DEVICE={other}: this build has no such device"),
    }
}

/// Standard normal numbers; a different `which` gives different ones.
pub(crate) fn noise(which: u64, length: usize) -> Vec<f32> {
    let mut values = vec![0.0; length];
    Key::new(0, Stream::TEST).at(which).fill_normal(&mut values);
    values
}

/// A tensor of standard normal numbers.
pub(crate) fn normal<const D: usize>(which: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(noise(which, shape.iter().product()), shape), device)
}

/// The module with every parameter drawn anew, so that nothing starts at zero.
pub(crate) fn randomized<M: Module>(module: M) -> M {
    let mut which = 1_000;
    parameters::map(module, |name, flat| {
        which += 1;
        let (length, device) = (flat.dims()[0], flat.device());
        let values = noise(which, length).into_iter();
        let is_scale = name.ends_with("norm.weight");
        let values = values.map(|value| if is_scale { 1.0 + 0.2 * value } else { 0.1 * value }).collect();
        Tensor::from_data(TensorData::new(values, [length]), &device)
    })
}

/// The elements, on the host.
pub(crate) fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.try_to_vec_as::<f32>().unwrap()
}

/// Fails unless no difference exceeds `tolerance` times the largest expected value.
pub(crate) fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / scale;
        assert!(error <= tolerance, "at {index}: {found} is not {expected} (relative error {error:e})");
    }
}

/// What is due to rounding on the device under test.
pub(crate) fn rounding() -> f32 {
    if device() == Device::flex() { 2e-6 } else { 1e-3 }
}
