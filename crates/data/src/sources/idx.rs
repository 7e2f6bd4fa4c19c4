//! The IDX format of MNIST and its kin: a big-endian header, then unsigned bytes.
//!
//! Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section "The IDX file format".

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::DataError;

/// How the numbers in a pair of IDX files (images, labels) are to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdxFormat {
    /// The value of a pixel that is fully on: 255, or 16 in the 8x8 digits.
    pub maximum: u8,
    /// Whether rows and columns are swapped in the file, as they are in EMNIST.
    pub transposed: bool,
    /// The label of the first class: 0, or 1 in EMNIST letters.
    pub first_label: u8,
}

impl Default for IdxFormat {
    fn default() -> Self {
        Self { maximum: 255, transposed: false, first_label: 0 }
    }
}

/// An array of unsigned bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// Size along each dimension, slowest first.
    pub shape: Vec<usize>,
    /// Values, the last dimension fastest.
    pub values: Vec<u8>,
}

/// Reads an IDX array of unsigned bytes from the (decompressed) `bytes` of the file `path`.
///
/// # Errors
/// [`DataError::Corrupt`] for another format, another element type, or too few or too many bytes.
pub fn parse(mut bytes: Vec<u8>, path: &Path) -> Result<Array, DataError> {
    let corrupt = |reason: String| Err(DataError::corrupt(path, reason));
    // Two zero bytes, the element type (8: unsigned byte), the number of dimensions, then each size.
    let dimensions = match bytes.as_slice() {
        [0, 0, 8, dimensions, ..] if *dimensions > 0 => *dimensions as usize,
        [0, 0, kind, _, ..] if [9, 11, 12, 13, 14].contains(kind) => {
            return corrupt(format!("it holds elements of IDX type {kind}; only unsigned bytes (type 8) are read"));
        }
        _ => {
            let start: Vec<_> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            return corrupt(format!("it is no IDX file: it starts with `{}`, not with `00 00 08`", start.join(" ")));
        }
    };
    let header = 4 + 4 * dimensions;
    if bytes.len() < header {
        return corrupt(format!("it is cut short: {} bytes, but its header alone has {header}", bytes.len()));
    }
    let shape: Vec<usize> = bytes[4..header]
        .chunks_exact(4)
        .map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize)
        .collect();
    let expected = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    match expected.and_then(|count| count.checked_add(header)) {
        Some(expected) if expected == bytes.len() => {
            bytes.drain(..header);
            Ok(Array { shape, values: bytes })
        }
        Some(expected) if expected < bytes.len() => {
            corrupt(format!("it has {} bytes where its header {shape:?} asks for {expected}", bytes.len()))
        }
        _ => corrupt(format!("it is cut short: {} bytes, but its header says {shape:?}", bytes.len())),
    }
}

/// Images `[n, 1, h, w]`: their height and width, and their pixels, upright.
///
/// # Errors
/// [`DataError::Corrupt`] if the array has other than three dimensions, or a pixel above the format's maximum.
pub fn images(array: Array, format: &IdxFormat, path: &Path) -> Result<([usize; 2], Vec<u8>), DataError> {
    let &[_, rows, columns] = array.shape.as_slice() else {
        return Err(DataError::corrupt(path, format!("images have shape [n, h, w], this is {:?}", array.shape)));
    };
    if let Some(position) = array.values.iter().position(|&value| value > format.maximum) {
        let (image, value) = (position / (rows * columns), array.values[position]);
        let reason = format!("image {image} has a pixel of {value}, above {}", format.maximum);
        return Err(DataError::corrupt(path, reason));
    }
    if !format.transposed {
        return Ok(([rows, columns], array.values));
    }
    let mut upright = Vec::with_capacity(array.values.len());
    for image in array.values.chunks_exact((rows * columns).max(1)) {
        upright.extend((0..columns).flat_map(|column| (0..rows).map(move |row| image[row * columns + column])));
    }
    Ok(([columns, rows], upright))
}

/// Classes in `0..classes`, from labels that start at the format's first.
///
/// # Errors
/// [`DataError::Corrupt`] if the array is no list of `count` labels, or a label names no class.
pub fn labels(
    array: Array,
    count: usize,
    classes: usize,
    format: &IdxFormat,
    path: &Path,
) -> Result<Vec<u32>, DataError> {
    if array.shape != [count] {
        let reason = format!("there are {count} images, but the labels have shape {:?}", array.shape);
        return Err(DataError::corrupt(path, reason));
    }
    let class = |(index, &label): (usize, &u8)| match label.checked_sub(format.first_label) {
        Some(class) if usize::from(class) < classes => Ok(u32::from(class)),
        _ => {
            let first = usize::from(format.first_label);
            let reason = format!("label {index} is {label}, not in {first}..={}", first + classes - 1);
            Err(DataError::corrupt(path, reason))
        }
    };
    array.values.iter().enumerate().map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IDX file of unsigned bytes.
    fn file(shape: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, shape.len() as u8];
        shape.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes.extend(values);
        bytes
    }

    fn message<T: std::fmt::Debug>(result: Result<T, DataError>) -> String {
        let message = result.unwrap_err().to_string();
        assert!(message.contains("some/file") && message.contains("replace it"), "{message}");
        message
    }

    const PATH: &str = "some/file";

    #[test]
    fn a_file_is_read_as_written() {
        let array = parse(file(&[2, 2, 3], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]), Path::new(PATH)).unwrap();
        assert_eq!(array.shape, [2, 2, 3]);
        let (size, pixels) = images(array, &IdxFormat::default(), Path::new(PATH)).unwrap();
        assert_eq!((size, &pixels[6..9]), ([2, 3], &[7, 8, 9][..]));
    }

    #[test]
    fn transposed_images_are_put_upright() {
        let array = Array { shape: vec![2, 2, 3], values: vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] };
        let format = IdxFormat { transposed: true, ..IdxFormat::default() };
        let (size, pixels) = images(array, &format, Path::new(PATH)).unwrap();
        assert_eq!(size, [3, 2]);
        assert_eq!(pixels, [1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12]);
    }

    #[test]
    fn labels_start_where_the_format_says() {
        let format = IdxFormat { first_label: 1, ..IdxFormat::default() };
        let array = |values: &[u8]| Array { shape: vec![values.len()], values: values.to_vec() };
        assert_eq!(labels(array(&[1, 26, 2]), 3, 26, &format, Path::new(PATH)).unwrap(), [0, 25, 1]);
        for bad in [0, 27] {
            let text = message(labels(array(&[1, bad]), 2, 26, &format, Path::new(PATH)));
            assert!(text.contains(&format!("label 1 is {bad}, not in 1..=26")), "{text}");
        }
        let text = message(labels(array(&[1, 2]), 3, 26, &format, Path::new(PATH)));
        assert!(text.contains("3 images"), "{text}");
    }

    #[test]
    fn damage_is_told_apart() {
        let good = file(&[2, 2], &[1, 2, 3, 4]);
        let parse = |bytes: &[u8]| message(parse(bytes.to_vec(), Path::new(PATH)));
        assert!(parse(&good[..15]).contains("cut short: 15 bytes, but its header says [2, 2]"));
        assert!(parse(&good[..9]).contains("its header alone has 12"));
        assert!(parse(&[&good[..], &[5]].concat()).contains("17 bytes where"));
        assert!(parse(b"\x89PNG").contains("no IDX file: it starts with `89 50 4e 47`"));
        assert!(parse(b"").contains("no IDX file"));
        assert!(
            parse(
                &file(&[2], &[1, 2]).iter().enumerate().map(|(i, &b)| if i == 2 { 13 } else { b }).collect::<Vec<_>>()
            )
            .contains("IDX type 13")
        );
        // Sizes whose product overflows must not wrap round to a length that fits.
        assert!(parse(&file(&[u32::MAX, u32::MAX, u32::MAX], &[])).contains("cut short"));
    }

    #[test]
    fn a_pixel_above_the_maximum_is_an_error() {
        let format = IdxFormat { maximum: 16, ..IdxFormat::default() };
        let array = Array { shape: vec![2, 1, 2], values: vec![16, 0, 3, 17] };
        let text = message(images(array, &format, Path::new(PATH)));
        assert!(text.contains("image 1 has a pixel of 17, above 16"), "{text}");
    }
}
