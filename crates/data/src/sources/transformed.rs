//! Another source, every image of which is changed in the same way.

use std::sync::Arc;

use crate::digest::sha256;
use crate::transform::{Transform, shapes};
use crate::{DataError, Example, Source};

/// Another source with [`Transform`]s applied, in their order.
pub struct Transformed {
    source: Arc<dyn Source>,
    /// Each with the shape `[c, h, w]` that it is given.
    transforms: Vec<(Transform, [usize; 3])>,
    shape: [usize; 3],
}

impl Transformed {
    /// Applies `transforms` to every image of `source`.
    ///
    /// # Errors
    /// [`DataError::Unsuitable`] if one of them does not fit the shape that it is given.
    pub fn new(source: Arc<dyn Source>, transforms: &[Transform]) -> Result<Self, DataError> {
        let (given, shape) = shapes(transforms, source.shape())?;
        Ok(Self { source, transforms: transforms.iter().cloned().zip(given).collect(), shape })
    }
}

impl Source for Transformed {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn len(&self) -> u64 {
        self.source.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn class_names(&self) -> &[String] {
        self.source.class_names()
    }

    fn vocabulary(&self) -> &[String] {
        self.source.vocabulary()
    }

    fn longest_caption(&self) -> usize {
        self.source.longest_caption()
    }

    fn example(&self, index: u64) -> Result<Example, DataError> {
        let mut example = self.source.example(index)?;
        for (transform, shape) in &self.transforms {
            example.pixels = transform.apply(&example.pixels, *shape);
        }
        Ok(example)
    }

    fn fingerprint(&self) -> String {
        let transforms: Vec<_> = self.transforms.iter().map(|(transform, _)| format!("{transform:?}")).collect();
        sha256(format!("{} transformed by {}", self.source.fingerprint(), transforms.join(", ")))
    }
}
