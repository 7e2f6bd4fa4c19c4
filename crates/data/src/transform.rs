//! Fixed changes of an image: pad, crop, resize, channels.
//!
//! All functions take and give pixels `[c, h, w]` in -1..1.

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::DataError;

/// Maps a byte in `0..=maximum` to -1..1.
pub fn from_byte(value: u8, maximum: u8) -> f32 {
    f32::from(value) / (f32::from(maximum) / 2.0) - 1.0
}

/// Maps -1..1 to the nearest byte in `0..=255`; values outside are clamped.
pub fn to_byte(value: f32) -> u8 {
    ((value + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8
}

/// The kernel with which an image is resized. All but `nearest` widen when shrinking, so that they do not alias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    /// The nearest pixel.
    Nearest,
    /// Bilinear, that is a triangle.
    Bilinear,
    /// Catmull-Rom cubic.
    Bicubic,
    /// Lanczos of three lobes.
    #[default]
    Lanczos,
}

impl Kernel {
    /// The kernel's name in the image crate.
    pub(crate) fn filter(self) -> FilterType {
        match self {
            Self::Nearest => FilterType::Nearest,
            Self::Bilinear => FilterType::Triangle,
            Self::Bicubic => FilterType::CatmullRom,
            Self::Lanczos => FilterType::Lanczos3,
        }
    }
}

/// What stands beyond the edge of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Border {
    /// Black, that is -1.
    #[default]
    Black,
    /// The nearest pixel of the image.
    Edge,
    /// The image mirrored at the middle of its outermost pixels.
    Reflect,
}

impl Border {
    /// Which pixel in `0..size` stands at `position`, if it is not black.
    fn pixel(self, position: isize, size: usize) -> Option<usize> {
        let last = size as isize - 1;
        if (0..=last).contains(&position) {
            return Some(position as usize);
        }
        match self {
            Self::Black => None,
            Self::Edge => Some(position.clamp(0, last) as usize),
            // Period 2 (size - 1): 0 1 2 1 0 1 2 ...
            Self::Reflect if last > 0 => {
                let within = position.rem_euclid(2 * last);
                Some(within.min(2 * last - within) as usize)
            }
            Self::Reflect => Some(0),
        }
    }
}

/// One fixed change of every image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Transform {
    /// Adds pixels at all four sides.
    Pad(Pad),
    /// Cuts out the middle.
    CenterCrop(CenterCrop),
    /// Resizes to a height and width; the ratio of the sides is not kept.
    Resize(Resize),
    /// Repeats the one channel three times.
    GrayscaleToRgb(GrayscaleToRgb),
}

/// Adds `pixels` at each of the four sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pad {
    /// Pixels at each side.
    pub pixels: usize,
    /// What they show.
    #[serde(default)]
    pub border: Border,
}

/// Cuts out the middle `height` by `width` pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CenterCrop {
    /// Height in pixels, at most the image's.
    pub height: usize,
    /// Width in pixels, at most the image's.
    pub width: usize,
}

/// Resizes to `height` by `width` pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Kernel.
    #[serde(default)]
    pub kernel: Kernel,
}

/// Repeats the one channel of a grayscale image three times; it has no settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrayscaleToRgb {}

impl Transform {
    /// Problems that show without an image.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        if let Self::CenterCrop(CenterCrop { height, width }) | Self::Resize(Resize { height, width, .. }) = self {
            problems.check(*height > 0, "height", "must be at least 1");
            problems.check(*width > 0, "width", "must be at least 1");
        }
        problems
    }

    /// The shape that images of `shape` get.
    ///
    /// # Errors
    /// Why images of that shape cannot be changed so.
    pub fn output_shape(&self, shape: [usize; 3]) -> Result<[usize; 3], String> {
        let [channels, height, width] = shape;
        match self {
            Self::Pad(pad) => Ok([channels, height + 2 * pad.pixels, width + 2 * pad.pixels]),
            Self::CenterCrop(crop) if crop.height > height || crop.width > width => {
                Err(format!("cannot crop {}x{} out of images of {height}x{width}", crop.height, crop.width))
            }
            Self::CenterCrop(crop) => Ok([channels, crop.height, crop.width]),
            Self::Resize(resize) => Ok([channels, resize.height, resize.width]),
            Self::GrayscaleToRgb(_) if channels != 1 => {
                Err(format!("the images have {channels} channels already, not one"))
            }
            Self::GrayscaleToRgb(_) => Ok([3, height, width]),
        }
    }

    /// Changes one image of `shape`, for which [`Self::output_shape`] must have given no error.
    pub fn apply(&self, pixels: &[f32], shape: [usize; 3]) -> Vec<f32> {
        let [_, height, width] = shape;
        match self {
            Self::Pad(pad) => {
                let (rows, columns) = (height + 2 * pad.pixels, width + 2 * pad.pixels);
                window(pixels, shape, [-(pad.pixels as isize); 2], [rows, columns], pad.border)
            }
            Self::CenterCrop(crop) => {
                let corner = [(height - crop.height) as isize / 2, (width - crop.width) as isize / 2];
                window(pixels, shape, corner, [crop.height, crop.width], Border::Black)
            }
            Self::Resize(resize) => resized(pixels, shape, resize),
            Self::GrayscaleToRgb(_) => pixels.repeat(3),
        }
    }
}

/// The shapes that each of several transforms is given, one after the other, and the last one's result.
///
/// # Errors
/// [`DataError::Unsuitable`] if one of them does not fit the shape that it is given.
pub(crate) fn shapes(
    transforms: &[Transform],
    mut shape: [usize; 3],
) -> Result<(Vec<[usize; 3]>, [usize; 3]), DataError> {
    let mut given = Vec::with_capacity(transforms.len());
    for (index, transform) in transforms.iter().enumerate() {
        given.push(shape);
        shape = transform
            .output_shape(shape)
            .map_err(|reason| DataError::Unsuitable { key: format!("data.transform[{index}]"), reason })?;
    }
    Ok((given, shape))
}

/// The window of `[rows, columns]` whose upper left `corner` `[y, x]` may lie outside the image.
pub(crate) fn window(
    pixels: &[f32],
    [channels, height, width]: [usize; 3],
    corner: [isize; 2],
    [rows, columns]: [usize; 2],
    border: Border,
) -> Vec<f32> {
    let sources: Vec<_> = (0..columns).map(|column| border.pixel(corner[1] + column as isize, width)).collect();
    let mut out = Vec::with_capacity(channels * rows * columns);
    for channel in 0..channels {
        for row in 0..rows {
            match border.pixel(corner[0] + row as isize, height) {
                None => out.resize(out.len() + columns, -1.0),
                Some(y) => {
                    let line = &pixels[(channel * height + y) * width..][..width];
                    out.extend(sources.iter().map(|x| x.map_or(-1.0, |x| line[x])));
                }
            }
        }
    }
    out
}

/// The image mirrored left to right.
pub(crate) fn mirrored(pixels: &[f32], [_, _, width]: [usize; 3]) -> Vec<f32> {
    pixels.chunks_exact(width).flat_map(|line| line.iter().rev().copied()).collect()
}

/// The image resized, one channel after the other.
fn resized(pixels: &[f32], [_, height, width]: [usize; 3], to: &Resize) -> Vec<f32> {
    let mut out = Vec::new();
    for channel in pixels.chunks_exact(height * width) {
        // The image crate clamps `f32` pixels to 0..1.
        let channel: Vec<f32> = channel.iter().map(|value| (value + 1.0) / 2.0).collect();
        let image = ImageBuffer::<Luma<f32>, _>::from_raw(width as u32, height as u32, channel).unwrap_or_default();
        let image = imageops::resize(&image, to.width as u32, to.height as u32, to.kernel.filter());
        out.extend(image.into_raw().iter().map(|value| value * 2.0 - 1.0));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_reach_both_ends_and_come_back() {
        assert_eq!((from_byte(0, 255), from_byte(255, 255)), (-1.0, 1.0));
        assert_eq!((from_byte(0, 16), from_byte(8, 16), from_byte(16, 16)), (-1.0, 0.0, 1.0));
        for byte in 0..=255 {
            assert_eq!(to_byte(from_byte(byte, 255)), byte);
        }
        assert_eq!((to_byte(-3.0), to_byte(3.0), to_byte(f32::NAN)), (0, 255, 0));
    }

    #[test]
    fn borders() {
        let row = |border| window(&[0.1, 0.2, 0.3], [1, 1, 3], [0, -4], [1, 11], border);
        assert_eq!(row(Border::Black), [-1.0, -1.0, -1.0, -1.0, 0.1, 0.2, 0.3, -1.0, -1.0, -1.0, -1.0]);
        assert_eq!(row(Border::Edge), [0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3]);
        assert_eq!(row(Border::Reflect), [0.1, 0.2, 0.3, 0.2, 0.1, 0.2, 0.3, 0.2, 0.1, 0.2, 0.3]);
        assert_eq!(window(&[0.5], [1, 1, 1], [-1, -1], [3, 3], Border::Reflect), [0.5; 9]);
    }

    #[test]
    fn cropping_a_padded_image_gives_it_back() {
        let (pixels, shape): (Vec<f32>, _) = ((0..24).map(|i| i as f32 / 24.0).collect(), [2, 3, 4]);
        for border in [Border::Black, Border::Edge, Border::Reflect] {
            let pad = Transform::Pad(Pad { pixels: 2, border });
            let crop = Transform::CenterCrop(CenterCrop { height: 3, width: 4 });
            let padded = pad.output_shape(shape).unwrap();
            assert_eq!(padded, [2, 7, 8]);
            assert_eq!(crop.output_shape(padded).unwrap(), shape);
            assert_eq!(crop.apply(&pad.apply(&pixels, shape), padded), pixels);
        }
    }

    #[test]
    fn resizing_keeps_constants_range_and_means() {
        let shape = [1, 8, 8];
        let resize = |pixels: &[f32], kernel, size| {
            Transform::Resize(Resize { height: size, width: size, kernel }).apply(pixels, shape)
        };
        // A linear ramp keeps its mean under every symmetric kernel; a constant stays one.
        let ramp: Vec<f32> = (0..64).map(|i| (i % 8) as f32 / 7.0 * 1.6 - 0.8).collect();
        for kernel in [Kernel::Nearest, Kernel::Bilinear, Kernel::Bicubic, Kernel::Lanczos] {
            for size in [4, 16] {
                let constant = resize(&[0.25; 64], kernel, size);
                assert!(constant.iter().all(|value| (value - 0.25).abs() < 1e-6), "{kernel:?}");
                assert_eq!(constant.len(), size * size);
            }
            let up = resize(&ramp, kernel, 16);
            assert!(up.iter().sum::<f32>().abs() / 256.0 < 1e-3, "{kernel:?}");
            assert!(up.iter().all(|value| (-1.0..=1.0).contains(value)));
        }
        // Shrinking by two with a triangle twice as wide: weights 1 3 3 1, clipped and renormalised at the border.
        let stripes: Vec<f32> = (0..64).map(|i| if i % 8 < 4 { -1.0 } else { 1.0 }).collect();
        let half = resize(&stripes, Kernel::Bilinear, 4);
        for (got, expected) in half[..4].iter().zip([-1.0, -0.75, 0.75, 1.0]) {
            assert!((got - expected).abs() < 1e-6, "{half:?}");
        }
        assert_eq!(resize(&stripes, Kernel::Nearest, 4)[..4], [-1.0, -1.0, 1.0, 1.0]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let crop = Transform::CenterCrop(CenterCrop { height: 9, width: 4 });
        assert!(crop.output_shape([1, 8, 8]).unwrap_err().contains("9x4 out of images of 8x8"));
        let rgb = Transform::GrayscaleToRgb(GrayscaleToRgb {});
        assert!(rgb.output_shape([3, 8, 8]).unwrap_err().contains("3 channels"));
        assert_eq!(rgb.apply(&[0.5, 0.25], [1, 1, 2]), [0.5, 0.25, 0.5, 0.25, 0.5, 0.25]);
        let problems = Transform::Resize(Resize { height: 0, width: 0, kernel: Kernel::Nearest }).validate();
        assert_eq!(problems.into_vec().len(), 2);
    }

    proptest! {
        #[test]
        fn mirroring_twice_is_nothing(pixels in prop::collection::vec(-1f32..1.0, 24)) {
            let once = mirrored(&pixels, [2, 3, 4]);
            prop_assert_eq!(once[0], pixels[3]);
            prop_assert_eq!(mirrored(&once, [2, 3, 4]), pixels);
        }
    }
}
