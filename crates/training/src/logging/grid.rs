//! Sheets of samples.

use std::path::Path;

use image::{Rgb, RgbImage};

use super::{LoggingError, save, scatter};

/// Background between the pictures of a sheet.
const GROUND: Rgb<u8> = Rgb([255, 255, 255]);
/// The colour of a pixel that is not a number, which no one should overlook.
const NOT_A_NUMBER: Rgb<u8> = Rgb([255, 0, 255]);

/// How the pictures of a sheet are laid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Pictures beside each other; none for a sheet about as wide as high.
    pub columns: Option<usize>,
    /// Whether they follow each other down the columns rather than along the rows.
    pub by_column: bool,
    /// Pixels of the sheet for one of the picture, along each side; none for as many as let one be seen well.
    pub scale: Option<u32>,
}

/// Lays pictures `[n, c, h, w]` with values in [-1, 1] out on a sheet; c is 1 (grey) or 3 (red, green, blue). Values
/// outside are clamped, and those that are not a number are magenta.
///
/// # Errors
///
/// No pixels, another number of channels, or values that do not fill the shape.
pub fn grid(pixels: &[f32], shape: [usize; 4], layout: Layout) -> Result<RgbImage, LoggingError> {
    let [count, channels, height, width] = shape;
    if shape.contains(&0) || !matches!(channels, 1 | 3) || shape.iter().product::<usize>() != pixels.len() {
        let message = format!("{} values are no pictures [n, 1 or 3, h, w] of shape {shape:?}", pixels.len());
        return Err(LoggingError::Picture(message));
    }
    let across = layout.columns.unwrap_or_else(|| square_side(count, height, width)).clamp(1, count);
    let down = count.div_ceil(across);
    let scale = layout.scale.unwrap_or_else(|| legible(height.max(width))).max(1) as usize;
    let gap = scale.max(2);
    let side = |tiles: usize, size: usize| (gap + tiles * (scale * size + gap)) as u32;
    let mut sheet = RgbImage::from_pixel(side(across, width), side(down, height), GROUND);
    for (index, picture) in pixels.chunks(channels * height * width).enumerate() {
        let (row, column) =
            if layout.by_column { (index % down, index / down) } else { (index / across, index % across) };
        let (left, top) = (gap + column * (scale * width + gap), gap + row * (scale * height + gap));
        for y in 0..scale * height {
            for x in 0..scale * width {
                let pixel = colour(picture, channels, height * width, y / scale * width + x / scale);
                sheet.put_pixel((left + x) as u32, (top + y) as u32, pixel);
            }
        }
    }
    Ok(sheet)
}

/// The pixel at `place` of a picture whose channels are `plane` values apart.
fn colour(picture: &[f32], channels: usize, plane: usize, place: usize) -> Rgb<u8> {
    let values = [0, 1, 2].map(|channel| picture[channel.min(channels - 1) * plane + place]);
    if values.iter().any(|value| value.is_nan()) {
        return NOT_A_NUMBER;
    }
    Rgb(values.map(|value| (127.5 * (value.clamp(-1.0, 1.0) + 1.0)).round() as u8))
}

/// Columns of a sheet about as wide as high.
fn square_side(count: usize, height: usize, width: usize) -> usize {
    (count as f64 * height as f64 / width as f64).sqrt().ceil() as usize
}

/// The scale at which a picture of this size is at least 64 pixels.
fn legible(size: usize) -> u32 {
    64usize.div_ceil(size) as u32
}

/// Writes samples `[n, c, h, w]` as a PNG: a sheet of pictures, or for c = 2 and one pixel each, points of the plane.
///
/// # Errors
///
/// As [`grid`], or the file cannot be written.
pub fn write(path: &Path, pixels: &[f32], shape: [usize; 4]) -> Result<(), LoggingError> {
    save(&picture(pixels, shape)?, path)
}

/// What [`write()`] writes.
///
/// # Errors
///
/// As [`grid`].
pub fn picture(pixels: &[f32], shape: [usize; 4]) -> Result<RgbImage, LoggingError> {
    match shape {
        [_, 2, 1, 1] => scatter::scatter(pixels, None),
        _ => grid(pixels, shape, Layout::default()),
    }
}

/// Writes one picture `[c, h, w]` as a PNG, pixel for pixel.
///
/// # Errors
///
/// As [`grid`], or the file cannot be written.
pub fn write_image(path: &Path, pixels: &[f32], [channels, height, width]: [usize; 3]) -> Result<(), LoggingError> {
    let sheet = grid(pixels, [1, channels, height, width], Layout { scale: Some(1), ..Layout::default() })?;
    let gap = (sheet.width() - width as u32) / 2;
    save(&image::imageops::crop_imm(&sheet, gap, gap, width as u32, height as u32).to_image(), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_colours() {
        let pixels = [-1.0, 1.0, 0.0, 9.0, f32::NAN, -0.5];
        let sheet = grid(&pixels, [1, 1, 2, 3], Layout { scale: Some(1), ..Layout::default() }).unwrap();
        assert_eq!(sheet.dimensions(), (3 + 4, 2 + 4));
        let at = |x, y| sheet.get_pixel(x, y).0;
        assert_eq!([at(2, 2), at(3, 2), at(4, 2)], [[0; 3], [255; 3], [128; 3]]);
        assert_eq!([at(2, 3), at(3, 3), at(4, 3)], [[255; 3], [255, 0, 255], [64; 3]]);
        assert_eq!([at(1, 2), at(5, 2)], [[255; 3]; 2]);
    }

    #[test]
    fn channels_are_planes() {
        let pixels = [1.0, -1.0, -1.0, 1.0, -1.0, -1.0];
        let sheet = grid(&pixels, [1, 3, 1, 2], Layout { scale: Some(1), ..Layout::default() }).unwrap();
        assert_eq!((sheet.get_pixel(2, 2).0, sheet.get_pixel(3, 2).0), ([255, 0, 0], [0, 255, 0]));
    }

    /// The grey of each tile of a sheet of five 1 by 1 pictures, row by row.
    fn tiles(layout: Layout) -> Vec<Vec<u8>> {
        let pixels = [-1.0, -0.75, -0.5, -0.25, 0.0];
        let sheet = grid(&pixels, [5, 1, 1, 1], Layout { scale: Some(2), ..layout }).unwrap();
        let row = |y| (2..sheet.width()).step_by(4).map(|x| sheet.get_pixel(x, y).0[0]).collect();
        (2..sheet.height()).step_by(4).map(row).collect()
    }

    #[test]
    fn layouts_differ_in_order() {
        let columns = Some(2);
        assert_eq!(tiles(Layout { columns, ..Layout::default() }), [[0, 32], [64, 96], [128, 255]]);
        assert_eq!(tiles(Layout { columns, by_column: true, scale: None }), [[0, 96], [32, 128], [64, 255]]);
        assert_eq!(tiles(Layout::default()), [vec![0, 32, 64], vec![96, 128, 255]]);
    }

    #[test]
    fn sizes_are_legible_and_sheets_about_square() {
        let size = |shape: [usize; 4]| {
            grid(&vec![0.0; shape.iter().product()], shape, Layout::default()).unwrap().dimensions()
        };
        assert_eq!(size([64, 3, 32, 32]), (8 * 66 + 2, 8 * 66 + 2));
        assert_eq!(size([1, 1, 28, 28]), (28 * 3 + 6, 28 * 3 + 6));
        assert_eq!(size([8, 1, 16, 64]), (2 + 2 * 66, 2 + 4 * 18));
        assert_eq!(size([4, 3, 100, 200]), (2 + 2 * 202, 2 + 2 * 102));
    }

    #[test]
    fn files_hold_what_was_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let one = folder.path().join("new/one.png");
        write_image(&one, &[-1.0, 1.0, 0.0, 0.0, 0.0, 0.0], [1, 2, 3]).unwrap();
        let read = image::open(&one).unwrap().to_rgb8();
        assert_eq!((read.dimensions(), read.get_pixel(1, 0).0), ((3, 2), [255; 3]));
        let points = folder.path().join("points.png");
        write(&points, &[0.0, 1.0, 2.0, 3.0], [2, 2, 1, 1]).unwrap();
        assert_eq!(image::open(&points).unwrap().to_rgb8(), scatter::scatter(&[0.0, 1.0, 2.0, 3.0], None).unwrap());
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        for (values, shape) in [(8, [1, 2, 2, 2]), (3, [1, 1, 2, 2]), (0, [0, 3, 8, 8]), (16, [1, 4, 2, 2])] {
            assert!(picture(&vec![0.0; values], shape).is_err(), "{shape:?}");
        }
    }
}
