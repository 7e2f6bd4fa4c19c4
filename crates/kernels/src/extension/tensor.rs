//! Between Flex tensors and slices.

use burn::backend::TensorMetadata;
use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};

/// The tensor without gaps in memory: itself if it is so already, else a copy. Gradients may come in any layout.
pub(super) fn dense(x: FlexTensor) -> FlexTensor {
    if x.is_contiguous() { x } else { x.to_contiguous() }
}

/// The elements of a tensor that [`dense`] gave.
pub(super) fn slice(x: &FlexTensor) -> &[f32] {
    let elements = x.as_slice::<f32>();
    assert!(elements.is_some(), "the fused operations take dense tensors of 32-bit floats");
    elements.unwrap_or_default()
}

/// A tensor of `elements`, without copying them.
pub(super) fn tensor(elements: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    let shape = shape.into();
    assert_eq!(elements.len(), shape.num_elements(), "elements of a tensor of shape {shape:?}");
    FlexTensor::new(Bytes::from_elems(elements), Layout::contiguous(shape), DType::F32)
}

/// The sizes of a tensor of `D` dimensions.
pub(super) fn sizes<const D: usize>(x: &FlexTensor) -> [usize; D] {
    let shape = x.shape();
    assert_eq!(shape.num_dims(), D, "dimensions of {shape:?}");
    std::array::from_fn(|i| shape[i])
}

/// Fails with the operation's name unless `x` has the sizes `want`.
pub(super) fn check<const D: usize>(operation: &str, name: &str, x: &FlexTensor, want: [usize; D]) {
    assert_eq!(sizes::<D>(x), want, "{operation}: shape of {name}");
}
