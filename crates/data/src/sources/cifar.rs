//! The binary format of CIFAR-10 and CIFAR-100: records of label bytes, then a red, a green and a blue plane.
//!
//! Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009, and the data set's page.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::DataError;

/// Shape `[c, h, w]` of every CIFAR image.
pub const SHAPE: [usize; 3] = [3, 32, 32];

/// Bytes of one image.
const IMAGE: usize = SHAPE[0] * SHAPE[1] * SHAPE[2];

/// How the records are to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CifarFormat {
    /// Label bytes before each image, of which the last is the class: 1 in CIFAR-10, 2 in CIFAR-100 (coarse, fine).
    pub label_bytes: u8,
}

/// Appends the records in the (decompressed) `bytes` of the file `path` to `pixels` and `labels`.
///
/// # Errors
/// [`DataError::Corrupt`] if these are no whole records, or a label is not in `0..classes`.
pub fn append(
    bytes: &[u8],
    format: &CifarFormat,
    classes: usize,
    path: &Path,
    pixels: &mut Vec<u8>,
    labels: &mut Vec<u32>,
) -> Result<(), DataError> {
    let label_bytes = usize::from(format.label_bytes);
    let record = label_bytes + IMAGE;
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        let reason = format!(
            "it is cut short or no CIFAR file: {} bytes are not a whole number of records of {record}",
            bytes.len()
        );
        return Err(DataError::corrupt(path, reason));
    }
    pixels.reserve(bytes.len() / record * IMAGE);
    for (index, record) in bytes.chunks_exact(record).enumerate() {
        let (label, image) = record.split_at(label_bytes);
        match label.last() {
            Some(&class) if usize::from(class) < classes => labels.push(u32::from(class)),
            Some(class) => {
                let reason = format!("record {index} has label {class}, not in 0..={}", classes.saturating_sub(1));
                return Err(DataError::corrupt(path, reason));
            }
            None => {}
        }
        pixels.extend(image);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], label_bytes: u8, classes: usize) -> Result<(Vec<u8>, Vec<u32>), DataError> {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        append(bytes, &CifarFormat { label_bytes }, classes, Path::new("some/file"), &mut pixels, &mut labels)?;
        Ok((pixels, labels))
    }

    fn record(labels: &[u8], value: u8) -> Vec<u8> {
        [labels, &vec![value; 1024], &vec![value + 1; 1024], &vec![value + 2; 1024]].concat()
    }

    #[test]
    fn planes_are_kept_and_the_fine_label_is_the_class() {
        let (pixels, labels) = read(&[record(&[9], 10), record(&[0], 20)].concat(), 1, 10).unwrap();
        assert_eq!(labels, [9, 0]);
        assert_eq!((pixels[0], pixels[1024], pixels[2048], pixels[3072]), (10, 11, 12, 20));
        let (pixels, labels) = read(&record(&[3, 77], 10), 2, 100).unwrap();
        assert_eq!((labels, pixels.len()), (vec![77], 3072));
    }

    #[test]
    fn damage_names_the_file_and_the_record() {
        let good = [record(&[9], 10), record(&[0], 20)].concat();
        for bytes in [&good[..good.len() - 1], &[]] {
            let message = read(bytes, 1, 10).unwrap_err().to_string();
            assert!(message.contains("some/file") && message.contains("records of 3073"), "{message}");
        }
        let message = read(&[record(&[1], 0), record(&[10], 0)].concat(), 1, 10).unwrap_err().to_string();
        assert!(message.contains("record 1 has label 10, not in 0..=9"), "{message}");
    }
}
