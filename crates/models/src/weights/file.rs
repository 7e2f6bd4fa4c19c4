//! Named tensors in the safetensors format.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::Path;

use burn::tensor::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View, serialize_to_file};

use super::WeightsError;
use crate::parameters::{Array, Arrays};

/// Every tensor of a safetensors file, as 32-bit floats (from F32, F64, F16 or BF16), and the file's metadata.
///
/// # Errors
/// [`WeightsError`] if the file cannot be read, is damaged, or holds a tensor that is not floating-point.
pub fn read(path: impl AsRef<Path>) -> Result<(Arrays, BTreeMap<String, String>), WeightsError> {
    read_as(path.as_ref(), floats)
}

/// As [`read`], with integers converted to floats: files made elsewhere count batches in them.
pub(super) fn read_converted(path: &Path) -> Result<(Arrays, BTreeMap<String, String>), WeightsError> {
    read_as(path, |view| floats(view).or_else(|| integers(view)))
}

fn read_as(
    path: &Path,
    convert: impl Fn(&TensorView) -> Option<Vec<f32>>,
) -> Result<(Arrays, BTreeMap<String, String>), WeightsError> {
    let damaged = |reason: String| WeightsError::Format { path: path.to_owned(), kind: "safetensors", reason };
    let bytes = fs::read(path).map_err(|source| WeightsError::Io { path: path.to_owned(), source })?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let mut arrays = Arrays::new();
    for (name, view) in file.iter() {
        let Some(values) = convert(&view) else {
            let found = format!("{:?}", view.dtype());
            return Err(WeightsError::NotFloat { path: path.to_owned(), name: name.to_owned(), found });
        };
        arrays.insert(name.to_owned(), Array { shape: view.shape().to_vec(), values });
    }
    Ok((arrays, header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()))
}

/// Writes named tensors as 32-bit floats, with `metadata`, in the safetensors format.
///
/// The file appears whole or not at all, even if the machine stops: it is written under another name in the same folder,
/// forced to the disk, and renamed.
///
/// # Errors
/// [`WeightsError::Io`] if the file system refuses.
pub fn write(path: impl AsRef<Path>, arrays: &Arrays, metadata: &BTreeMap<String, String>) -> Result<(), WeightsError> {
    let path = path.as_ref();
    let refused = |source| WeightsError::Io { path: path.to_owned(), source };
    let metadata: HashMap<String, String> = metadata.clone().into_iter().collect();
    let temporary = path.with_added_extension(format!("{}.partial", std::process::id()));
    let written =
        serialize_to_file(arrays.iter().map(|(name, array)| (name, Floats(array))), Some(metadata), &temporary)
            .map_err(std::io::Error::other)
            .and_then(|()| File::open(&temporary)?.sync_all())
            .and_then(|()| fs::rename(&temporary, path))
            .and_then(|()| sync_folder(path));
    written.map_err(|source| {
        // What is left of the attempt is of no use; the error to report is the one that ended it.
        let _ = fs::remove_file(&temporary);
        refused(source)
    })
}

/// Forces the folder's entry for `path` to the disk, where folders can be opened.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// An array as safetensors writes it.
struct Floats<'a>(&'a Array);

impl View for Floats<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.0.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
    }

    fn data_len(&self) -> usize {
        4 * self.0.values.len()
    }
}

/// The elements of a tensor, unless they are not floating-point numbers.
fn floats(view: &TensorView) -> Option<Vec<f32>> {
    let data = view.data();
    Some(match view.dtype() {
        Dtype::F32 => elements(data, f32::from_le_bytes),
        Dtype::F64 => elements(data, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F16 => elements(data, |bytes| f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => elements(data, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        _ => return None,
    })
}

/// The elements of a tensor of 32-bit or 64-bit integers.
fn integers(view: &TensorView) -> Option<Vec<f32>> {
    let data = view.data();
    Some(match view.dtype() {
        Dtype::I64 => elements(data, |bytes| i64::from_le_bytes(bytes) as f32),
        Dtype::I32 => elements(data, |bytes| i32::from_le_bytes(bytes) as f32),
        _ => return None,
    })
}

pub(super) fn elements<const N: usize>(data: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks::<N>().0.iter().map(|bytes| value(*bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        let arrays: Arrays = [
            ("a.weight".to_owned(), Array { shape: vec![2, 3], values: vec![1.0, -2.5, 0.0, 1e-30, f32::MAX, 3.0] }),
            ("b".to_owned(), Array { shape: vec![], values: vec![7.0] }),
        ]
        .into();
        let metadata = [("images".to_owned(), "12".to_owned())].into();
        write(&path, &Arrays::new(), &metadata).unwrap();
        write(&path, &arrays, &metadata).unwrap();
        assert_eq!(read(&path).unwrap(), (arrays, metadata));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_and_a_missing_one_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        assert!(matches!(read(&path), Err(WeightsError::Io { .. })));
        fs::write(&path, b"not a header").unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("weights.safetensors is not a valid safetensors file"), "{message}");
    }

    #[test]
    fn integers_are_taken_only_from_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        let bytes: Vec<u8> = [3i64, -4].iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::I64, vec![2], &bytes).unwrap();
        serialize_to_file([("count", view)], None, &path).unwrap();
        assert!(matches!(read(&path), Err(WeightsError::NotFloat { .. })));
        assert_eq!(read_converted(&path).unwrap().0["count"].values, [3.0, -4.0]);
    }

    #[test]
    fn short_floats_are_widened_exactly() {
        let bytes: Vec<u8> = [f16::from_f32(1.5), f16::from_f32(-0.125)].iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F16, vec![2], &bytes).unwrap();
        assert_eq!(floats(&view).unwrap(), [1.5, -0.125]);
        let view = TensorView::new(Dtype::I16, vec![2], &bytes).unwrap();
        assert!(floats(&view).is_none());
    }
}
