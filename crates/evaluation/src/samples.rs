//! Images that are measured.

use std::ops::Range;

use rayon::prelude::*;
use sinter_data::transform::{from_byte, to_byte};
use sinter_data::{DataError, Example, Source};

/// Generated images with what was asked of each; or images of a set, with what they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Shape `[n, c, h, w]`.
    pub shape: [usize; 4],
    /// Pixels in -1..1, `[n, c, h, w]`.
    pub pixels: Vec<f32>,
    /// Class asked for, one an image.
    pub classes: Option<Vec<u32>>,
    /// Caption asked for, one an image.
    pub captions: Option<Vec<String>>,
}

impl Samples {
    /// Examples of a source, each read by whichever thread is free.
    ///
    /// # Errors
    /// When an example cannot be read.
    pub fn read(source: &dyn Source, range: Range<u64>) -> Result<Self, DataError> {
        let [c, h, w] = source.shape();
        let examples: Vec<Example> =
            range.into_par_iter().map(|index| source.example(index)).collect::<Result<_, _>>()?;
        let shape = [examples.len(), c, h, w];
        let (mut pixels, mut classes, mut captions) =
            (Vec::with_capacity(shape.iter().product()), Vec::new(), Vec::new());
        for example in examples {
            pixels.extend(example.pixels);
            classes.extend(example.class);
            captions.extend(example.caption);
        }
        let classes = (!classes.is_empty()).then_some(classes);
        let captions = (!captions.is_empty()).then_some(captions);
        Ok(Self { shape, pixels, classes, captions })
    }

    /// The pixels of image files of these samples: 8 bits each. Points of the plane stay as they are.
    ///
    /// Metrics are taken from these, so that a number does not depend on whether samples were written to files before.
    #[must_use]
    pub fn quantized(mut self) -> Self {
        if !is_point(self.image()) {
            for pixel in &mut self.pixels {
                *pixel = from_byte(to_byte(*pixel), u8::MAX);
            }
        }
        self
    }

    /// The first pixel that is no number, and which image it belongs to.
    pub(crate) fn not_finite(&self) -> Option<(usize, f32)> {
        let image = self.image().iter().product::<usize>().max(1);
        let at = self.pixels.iter().position(|pixel| !pixel.is_finite())?;
        Some((at / image, self.pixels[at]))
    }

    /// Shape `[c, h, w]` of an image.
    pub fn image(&self) -> [usize; 3] {
        [self.shape[1], self.shape[2], self.shape[3]]
    }
}

/// Whether "images" of a shape are points of the plane.
pub(crate) fn is_point(image: [usize; 3]) -> bool {
    image == [2, 1, 1]
}
