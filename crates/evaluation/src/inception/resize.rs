//! The ways to the 299 x 299 pixels that the network reads, without tensors.
//!
//! They differ by 1 to 2 % in features, so that distances of one cannot be set beside those of the other. Neither filters
//! what it shrinks: an image larger than 299 pixels is aliased, as it is where the field's numbers come from.

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::InceptionError;

/// Pixels of a side of what the network reads.
pub const SIZE: usize = 299;

/// A way to bring images to 299 x 299 and to the network's range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// That of TensorFlow 1, which the first FIDs, ADM's evaluator and torch-fidelity compute: bilinear, pixel `i` read at
    /// `i in / out`, then `(x - 128) / 128`.
    #[default]
    Tensorflow,
    /// That of pytorch-fid: bilinear, pixel `i` read at `(i + 1/2) in / out - 1/2`, then `2 x / 255 - 1`.
    Pytorch,
}

/// Where one pixel of the result is read: `low` and `high` weigh `1 - fraction` and `fraction`.
struct Tap {
    low: usize,
    high: usize,
    fraction: f64,
}

impl Tap {
    fn between(&self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.fraction
    }
}

impl Resize {
    /// Its name, as in configurations and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tensorflow => "tensorflow",
            Self::Pytorch => "pytorch",
        }
    }

    fn taps(self, size: usize) -> Vec<Tap> {
        let scale = match self {
            // TensorFlow rounds the ratio to 32 bits, which moves the last pixels of a large image.
            Self::Tensorflow => f64::from(size as f32 / SIZE as f32),
            Self::Pytorch => size as f64 / SIZE as f64,
        };
        let last = size.saturating_sub(1);
        let tap = |index: usize| {
            let source = match self {
                Self::Tensorflow => index as f64 * scale,
                Self::Pytorch => ((index as f64 + 0.5) * scale - 0.5).max(0.0),
            };
            let low = (source as usize).min(last);
            Tap { low, high: (low + 1).min(last), fraction: source - low as f64 }
        };
        (0..SIZE).map(tap).collect()
    }

    /// A pixel of 0..255 in the network's range.
    fn normalize(self, value: f64) -> f64 {
        match self {
            Self::Tensorflow => (value - 128.0) / 128.0,
            Self::Pytorch => 2.0 * (value / 255.0) - 1.0,
        }
    }

    /// One channel `[height, width]` at 299 x 299, still in 0..255; `height * width` pixels are read.
    pub fn channel(self, pixels: &[u8], [height, width]: [usize; 2]) -> Vec<f64> {
        let mut resized = vec![0.0; SIZE * SIZE];
        if height * width > 0 && pixels.len() >= height * width {
            self.write(pixels, [height, width], &mut resized, |value| value);
        }
        resized
    }

    /// Writes one channel at 299 x 299, each pixel as `convert` gives it.
    fn write<T>(self, pixels: &[u8], [height, width]: [usize; 2], out: &mut [T], convert: impl Fn(f64) -> T) {
        let (rows, columns) = (self.taps(height), self.taps(width));
        // Rows first, so that a row that several results read is widened once.
        let widen = |row: &[u8]| -> Vec<f64> {
            columns.iter().map(|column| column.between(row[column.low].into(), row[column.high].into())).collect()
        };
        let widened: Vec<Vec<f64>> = pixels.chunks_exact(width).take(height).map(widen).collect();
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(SIZE)) {
            for (out, (low, high)) in out.iter_mut().zip(widened[row.low].iter().zip(&widened[row.high])) {
                *out = convert(row.between(*low, *high));
            }
        }
    }

    /// Images `[n, c, h, w]`, row-major, as `[n, 3, 299, 299]` in the network's range, each number as `convert` gives it.
    /// A gray image, of one channel, is repeated in all three. Channels are shared among the CPU's threads.
    ///
    /// # Errors
    /// [`InceptionError::Shape`] for other numbers of channels than 1 and 3, images without pixels and a wrong length.
    pub fn images<T: Copy + Default + Send>(
        self,
        pixels: &[u8],
        shape: [usize; 4],
        convert: impl Fn(f64) -> T + Sync,
    ) -> Result<Vec<T>, InceptionError> {
        let [n, c, height, width] = shape;
        let channel = height * width;
        if !matches!(c, 1 | 3) || channel == 0 || pixels.len() != n * c * channel {
            return Err(InceptionError::Shape { shape, length: pixels.len() });
        }
        let mut resized = vec![T::default(); n * 3 * SIZE * SIZE];
        resized.par_chunks_mut(3 / c * SIZE * SIZE).enumerate().for_each(|(index, out)| {
            // One channel of three, or one image of three equal ones.
            let (first, rest) = out.split_at_mut(SIZE * SIZE);
            let pixels = &pixels[index * channel..][..channel];
            self.write(pixels, [height, width], first, |value| convert(self.normalize(value)));
            rest.chunks_exact_mut(SIZE * SIZE).for_each(|copy| copy.copy_from_slice(first));
        });
        Ok(resized)
    }
}

/// Pixels in -1..1 as the bytes that an image file would hold: `round((x + 1) 127.5)` within 0..255, as EDM writes its
/// samples. (ADM cuts off instead of rounding, which darkens by half a step.) FID is a distance of such images.
pub fn quantize(pixels: &[f32]) -> Vec<u8> {
    // The conversion keeps to 0..255 by itself; what is not a number becomes 0.
    pixels.iter().map(|pixel| ((pixel + 1.0) * 127.5).round() as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Resize; 2] = [Resize::Tensorflow, Resize::Pytorch];

    #[test]
    fn an_image_of_the_right_size_stays() {
        let pixels: Vec<u8> = (0..SIZE * SIZE).map(|i| (i * 7 % 256) as u8).collect();
        for resize in BOTH {
            let kept = resize.channel(&pixels, [SIZE, SIZE]);
            assert!(
                kept.iter().zip(&pixels).all(|(kept, pixel)| (kept - f64::from(*pixel)).abs() < 1e-9),
                "{resize:?}"
            );
        }
    }

    #[test]
    fn ramps_are_read_where_they_should_be() {
        // Pixel (y, x) is 3 x + 2 y, which bilinear reading gives wherever it reads, up to the last pixel.
        let (height, width) = (40, 48);
        let pixels: Vec<u8> = (0..height * width).map(|i| (3 * (i % width) + 2 * (i / width)) as u8).collect();
        for resize in BOTH {
            let resized = resize.channel(&pixels, [height, width]);
            for (index, value) in resized.iter().enumerate() {
                let source = |i: usize, size: usize| {
                    let scale = size as f64 / SIZE as f64;
                    let read = match resize {
                        Resize::Tensorflow => i as f64 * scale,
                        Resize::Pytorch => (i as f64 + 0.5) * scale - 0.5,
                    };
                    read.clamp(0.0, (size - 1) as f64)
                };
                let expected = 3.0 * source(index % SIZE, width) + 2.0 * source(index / SIZE, height);
                // The ratio's rounding, and no more.
                assert!((value - expected).abs() < 3e-5, "{resize:?} {index}: {value} is not {expected}");
            }
        }
    }

    #[test]
    fn black_and_white_get_the_ends_of_each_range() {
        let range = |resize: Resize| resize.images(&[0, 255, 0], [1, 3, 1, 1], |value| value).unwrap();
        let (tensorflow, pytorch) = (range(Resize::Tensorflow), range(Resize::Pytorch));
        assert_eq!([tensorflow[0], tensorflow[SIZE * SIZE]], [-1.0, 127.0 / 128.0]);
        assert_eq!([pytorch[0], pytorch[SIZE * SIZE]], [-1.0, 1.0]);
    }

    #[test]
    fn gray_is_three_equal_channels() {
        let gray: Vec<u8> = (0..2 * 5 * 4).map(|i| (i * 11 % 256) as u8).collect();
        let colored: Vec<u8> = gray.chunks(20).flat_map(|image| [image; 3].concat()).collect();
        for resize in BOTH {
            let from_gray = resize.images(&gray, [2, 1, 5, 4], |value| value as f32).unwrap();
            assert_eq!(from_gray, resize.images(&colored, [2, 3, 5, 4], |value| value as f32).unwrap());
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        for (length, shape) in [(8, [1, 2, 2, 2]), (0, [1, 3, 0, 2]), (11, [1, 3, 2, 2]), (0, [1, 0, 2, 2])] {
            let refused = Resize::Pytorch.images(&vec![0; length], shape, |value| value);
            assert!(matches!(refused, Err(InceptionError::Shape { .. })), "{shape:?}");
        }
        assert!(Resize::Pytorch.images(&[], [0, 3, 2, 2], |value| value).unwrap().is_empty());
    }

    #[test]
    fn bytes_survive_being_pixels() {
        let bytes: Vec<u8> = (0..=255).collect();
        let pixels: Vec<f32> = bytes.iter().map(|byte| f32::from(*byte) / 127.5 - 1.0).collect();
        assert_eq!(quantize(&pixels), bytes);
        assert_eq!(quantize(&[-1.2, 1.2, 0.0, f32::NAN, f32::INFINITY]), [0, 255, 128, 0, 255]);
    }
}
