//! The bytes of tensors, for the profile.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;

/// Tensors, or what holds some.
pub(crate) trait Bytes {
    /// Bytes of all elements.
    fn byte_count(&self) -> u64;
}

impl Bytes for FlexTensor {
    fn byte_count(&self) -> u64 {
        (self.shape().num_elements() * size_of::<f32>()) as u64
    }
}

impl Bytes for () {
    fn byte_count(&self) -> u64 {
        0
    }
}

impl<T: Bytes> Bytes for Option<T> {
    fn byte_count(&self) -> u64 {
        self.as_ref().map_or(0, T::byte_count)
    }
}

impl<T: Bytes, const N: usize> Bytes for [T; N] {
    fn byte_count(&self) -> u64 {
        self.iter().map(T::byte_count).sum()
    }
}

impl<A: Bytes, B: Bytes> Bytes for (A, B) {
    fn byte_count(&self) -> u64 {
        self.0.byte_count() + self.1.byte_count()
    }
}

impl<A: Bytes, B: Bytes, C: Bytes> Bytes for (A, B, C) {
    fn byte_count(&self) -> u64 {
        self.0.byte_count() + self.1.byte_count() + self.2.byte_count()
    }
}
