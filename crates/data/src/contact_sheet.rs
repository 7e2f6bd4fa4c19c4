//! A picture of some examples of a source.

use std::path::Path;

use image::{Rgb, RgbImage};

use crate::transform::to_byte;
use crate::{DataError, Example, Source};

/// Images lower than this are enlarged by a whole factor.
const LEAST_HEIGHT: usize = 48;
/// Pixels between two images.
const GAP: usize = 2;
/// Side of the picture of points.
const PLANE: usize = 256;

/// Examples in rows, on white, with what each of them is.
#[derive(Clone, Debug)]
pub struct ContactSheet {
    /// The picture.
    pub image: RgbImage,
    /// Images in a row.
    pub columns: usize,
    /// One label an image, row by row: its caption, else its class's name, else its index.
    pub labels: Vec<String>,
}

impl ContactSheet {
    /// A picture of `count` examples, evenly spaced over the source, in rows of `columns`. Points of the plane, that is
    /// examples of shape `[2, 1, 1]`, are drawn as dots in one square with corners at -1 and 1.
    ///
    /// # Errors
    /// Whatever the examples give.
    pub fn new(source: &dyn Source, count: usize, columns: usize) -> Result<Self, DataError> {
        let count = count.min(usize::try_from(source.len()).unwrap_or(usize::MAX));
        let columns = columns.clamp(1, count.max(1));
        let indices: Vec<u64> =
            (0..count).map(|place| (place as u128 * u128::from(source.len()) / count as u128) as u64).collect();
        let examples: Vec<Example> = indices.iter().map(|&index| source.example(index)).collect::<Result<_, _>>()?;
        let labels = examples
            .iter()
            .zip(&indices)
            .map(|(example, index)| {
                let class = example.class.and_then(|class| source.class_names().get(class as usize).cloned());
                example.caption.clone().or(class).unwrap_or_else(|| index.to_string())
            })
            .collect();
        let image = match source.shape() {
            [2, 1, 1] => plane(&examples),
            shape => grid(&examples, shape, columns),
        };
        Ok(Self { image, columns, labels })
    }

    /// Writes the picture as a PNG.
    ///
    /// # Errors
    /// [`DataError::Io`] if it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), DataError> {
        self.image.save(path).map_err(|error| DataError::io(path, std::io::Error::other(error)))
    }
}

/// Images in rows of `columns`; of more than three channels the first three show.
fn grid(examples: &[Example], [channels, height, width]: [usize; 3], columns: usize) -> RgbImage {
    let zoom = LEAST_HEIGHT.div_ceil(height).max(1);
    let (cell_height, cell_width) = (height * zoom + GAP, width * zoom + GAP);
    let rows = examples.len().div_ceil(columns);
    let side = |cells: usize, cell: usize| (cells * cell + GAP) as u32;
    let mut image = RgbImage::from_pixel(side(columns, cell_width), side(rows, cell_height), Rgb([255; 3]));
    for (place, example) in examples.iter().enumerate() {
        let (top, left) = (place / columns * cell_height + GAP, place % columns * cell_width + GAP);
        for y in 0..height * zoom {
            for x in 0..width * zoom {
                let pixel = y / zoom * width + x / zoom;
                let value = |colour: usize| {
                    let channel = if channels >= 3 { colour } else { 0 };
                    to_byte(example.pixels[channel * height * width + pixel])
                };
                image.put_pixel((left + x) as u32, (top + y) as u32, Rgb([value(0), value(1), value(2)]));
            }
        }
    }
    image
}

/// Points as dots, the second coordinate upwards.
fn plane(examples: &[Example]) -> RgbImage {
    let mut image = RgbImage::from_pixel(PLANE as u32, PLANE as u32, Rgb([255; 3]));
    for example in examples {
        let place = |value: f32| ((value + 1.0) / 2.0 * (PLANE - 1) as f32).round();
        let (x, y) = (place(example.pixels[0]), (PLANE - 1) as f32 - place(example.pixels[1]));
        if (0.0..PLANE as f32).contains(&x) && (0.0..PLANE as f32).contains(&y) {
            image.put_pixel(x as u32, y as u32, Rgb([20, 60, 160]));
        }
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::ByteImages;

    fn source(shape: [usize; 3], pixels: Vec<u8>, labels: Vec<u32>) -> ByteImages {
        let classes = vec!["dark".to_owned(), "light".to_owned()];
        let (name, fingerprint) = ("test".to_owned(), String::new());
        ByteImages { name, shape, classes, pixels, maximum: 255, labels, fingerprint }
    }

    #[test]
    fn images_stand_in_rows_with_their_labels() {
        let source =
            source([1, 48, 48], [10, 200, 30, 220, 50].map(|v| vec![v; 48 * 48]).concat(), vec![0, 1, 0, 1, 0]);
        let sheet = ContactSheet::new(&source, 3, 2).unwrap();
        assert_eq!(sheet.labels, ["dark", "light", "light"]);
        assert_eq!(sheet.image.dimensions(), (102, 102));
        let at = |x, y| sheet.image.get_pixel(x, y).0[0];
        assert_eq!((at(2, 2), at(51, 2), at(52, 49), at(2, 52), at(60, 60)), (10, 255, 200, 220, 255));
    }

    #[test]
    fn small_images_are_enlarged_and_channels_kept() {
        let sheet = ContactSheet::new(&source([3, 1, 1], vec![1, 2, 3], vec![]), 9, 4).unwrap();
        assert_eq!((sheet.columns, sheet.labels), (1, vec!["0".to_owned()]));
        assert_eq!(sheet.image.dimensions(), (52, 52));
        assert_eq!(sheet.image.get_pixel(40, 40).0, [1, 2, 3]);
    }

    #[test]
    fn points_are_dots() {
        let sheet = ContactSheet::new(&source([2, 1, 1], vec![0, 0, 255, 255], vec![]), 2, 1).unwrap();
        assert_ne!(sheet.image.get_pixel(0, 255).0, [255; 3]);
        assert_ne!(sheet.image.get_pixel(255, 0).0, [255; 3]);
    }
}
