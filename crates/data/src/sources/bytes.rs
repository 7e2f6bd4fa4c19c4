//! Images held in memory as bytes.

use crate::transform::from_byte;
use crate::{DataError, Example, Source};

/// Images of one shape held as bytes, with one class each or none at all: a quarter of the memory of `f32`.
#[derive(Clone, Debug, PartialEq)]
pub struct ByteImages {
    /// Name that records carry.
    pub name: String,
    /// Shape `[c, h, w]` of every image; none of them is 0.
    pub shape: [usize; 3],
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Pixels `[n, c, h, w]`, in `0..=maximum`.
    pub pixels: Vec<u8>,
    /// The value of a pixel that is fully on.
    pub maximum: u8,
    /// One class an image, below `classes.len()`; empty where there are no classes.
    pub labels: Vec<u32>,
    /// sha256 of what defines the data.
    pub fingerprint: String,
}

impl Source for ByteImages {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        (self.pixels.len() / self.shape.iter().product::<usize>()) as u64
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn class_names(&self) -> &[String] {
        &self.classes
    }

    fn example(&self, index: u64) -> Result<Example, DataError> {
        if index >= self.len() {
            return Err(DataError::Index { name: self.name.clone(), index, len: self.len() });
        }
        let index = index as usize;
        let size = self.shape.iter().product::<usize>();
        let pixels = &self.pixels[index * size..(index + 1) * size];
        Ok(Example {
            pixels: pixels.iter().map(|&value| from_byte(value, self.maximum)).collect(),
            class: self.labels.get(index).copied(),
            caption: None,
        })
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}
