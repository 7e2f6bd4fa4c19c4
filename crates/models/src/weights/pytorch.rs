//! Tensors from PyTorch's `.pt` and `.pth` files. Nothing in them is run: what a file may import is listed here.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn::tensor::{bf16, f16};
use pytorch_reader::{DType, PytorchReader, Tensor};

use super::WeightsError;
use super::file::elements;
use super::pickle::imports;
use crate::parameters::{Array, Arrays};

/// The types that weights are made of, and the plain records that training scripts keep beside them.
const ALLOWED: &[&str] = &[
    "argparse.Namespace",
    "collections.OrderedDict",
    "torch.BFloat16Storage",
    "torch.BoolStorage",
    "torch.ByteStorage",
    "torch.CharStorage",
    "torch.DoubleStorage",
    "torch.FloatStorage",
    "torch.HalfStorage",
    "torch.IntStorage",
    "torch.LongStorage",
    "torch.ShortStorage",
    "torch.Size",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_tensor_v2",
    "torch.nn.parameter.Parameter",
    "torch.storage.TypedStorage",
    "torch.storage.UntypedStorage",
];

/// The longest pickle that is looked at: names, shapes and settings take a few megabytes at most.
const LONGEST: u64 = 1 << 28;

/// How a file begins that PyTorch 1.5 or older saved: a pickle of a fixed number.
pub(super) const OLD: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9";

/// The pickles of such a file: that number, the format's version, the machine, the tensors, the order of their numbers.
const OLD_PICKLES: usize = 5;

/// Every tensor of a file that PyTorch saved, as 32-bit floats, under its name in the file's dictionaries; of the entry `part`
/// of the outermost one if it is given (`ema` of a training checkpoint).
///
/// # Errors
/// [`WeightsError`] if the file cannot be read, is damaged, has no such part, or imports a type that weights do not
/// need.
pub(super) fn read(path: &Path, part: Option<&str>) -> Result<Arrays, WeightsError> {
    let damaged = |reason: String| WeightsError::Format { path: path.to_owned(), kind: "PyTorch", reason };
    let (pickles, count) = pickles_of(path)?;
    let (mut rest, mut refused) = (&pickles[..], Vec::new());
    for _ in 0..count {
        refused.extend(imports(&mut rest).map_err(damaged)?);
    }
    refused.retain(|name| !ALLOWED.contains(&name.as_str()));
    refused.sort();
    refused.dedup();
    if !refused.is_empty() {
        return Err(WeightsError::Import { path: path.to_owned(), names: refused });
    }
    let reader = match part {
        None => PytorchReader::new(path),
        Some(part) => PytorchReader::with_top_level_key(path, part),
    };
    let tensors = reader.map_err(|error| damaged(error.to_string()))?.into_tensors();
    if tensors.is_empty() {
        // The reader does not follow a dictionary that stands in the file twice.
        return Err(damaged("there are no tensors in it, or its part is the same as another: name that one".into()));
    }
    let read = |(name, tensor): (String, Tensor)| {
        let values = floats(&tensor).map_err(|error| damaged(format!("{name}: {error}")))?;
        Ok((name, Array { shape: tensor.shape().to_vec(), values }))
    };
    tensors.into_iter().map(read).collect()
}

/// The pickles of a file, and how many: one in an archive, several at the start of an older file.
fn pickles_of(path: &Path) -> Result<(Vec<u8>, usize), WeightsError> {
    let damaged = |reason: String| WeightsError::Format { path: path.to_owned(), kind: "PyTorch", reason };
    let refused = |source| WeightsError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(refused)?;
    let mut pickles = Vec::new();
    file.by_ref().take(OLD.len() as u64).read_to_end(&mut pickles).map_err(refused)?;
    if pickles == OLD {
        file.take(LONGEST).read_to_end(&mut pickles).map_err(refused)?;
        return Ok((pickles, OLD_PICKLES));
    }
    let mut archive = zip::ZipArchive::new(file).map_err(|error| damaged(error.to_string()))?;
    let mut names = archive.file_names().flatten().map(|name| name.into_owned());
    let name = names.find(|name| name == "data.pkl" || name.ends_with("/data.pkl"));
    drop(names);
    let name = name.ok_or_else(|| damaged("there is no data.pkl in it".into()))?;
    let entry = archive.by_name(&name).map_err(|error| damaged(error.to_string()))?;
    pickles.clear();
    entry.take(LONGEST).read_to_end(&mut pickles).map_err(|error| damaged(error.to_string()))?;
    Ok((pickles, 1))
}

/// The elements, rounded to 32-bit floats.
fn floats(tensor: &Tensor) -> std::io::Result<Vec<f32>> {
    let bytes = tensor.read()?;
    Ok(match tensor.dtype() {
        DType::F64 => elements(&bytes, |bytes| f64::from_le_bytes(bytes) as f32),
        DType::F32 => elements(&bytes, f32::from_le_bytes),
        DType::F16 => elements(&bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
        DType::BF16 => elements(&bytes, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        DType::I64 => elements(&bytes, |bytes| i64::from_le_bytes(bytes) as f32),
        DType::I32 => elements(&bytes, |bytes| i32::from_le_bytes(bytes) as f32),
        DType::I16 => elements(&bytes, |bytes| i16::from_le_bytes(bytes).into()),
        DType::I8 => elements(&bytes, |bytes| i8::from_le_bytes(bytes).into()),
        DType::U64 => elements(&bytes, |bytes| u64::from_le_bytes(bytes) as f32),
        DType::U32 => elements(&bytes, |bytes| u32::from_le_bytes(bytes) as f32),
        DType::U16 => elements(&bytes, |bytes| u16::from_le_bytes(bytes).into()),
        DType::U8 | DType::Bool => elements(&bytes, |bytes| u8::from_le_bytes(bytes).into()),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// A file as `torch.save({"part": {"w": torch.tensor([1.5, -2.0])}})` writes it.
    fn checkpoint() -> Vec<u8> {
        let pickle = [
            b"\x80\x02}q\x00X\x04\x00\x00\x00part}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((".as_slice(),
            b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQ",
            b"K\x00K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRss.",
        ];
        archive(&pickle.concat())
    }

    /// The same as PyTorch 1.5 wrote it: pickles, then each storage's length and numbers.
    fn old_checkpoint() -> Vec<u8> {
        let pickles = [
            [OLD, b"\x20\x6a\xa8\x50\x19."].concat(),
            b"\x80\x02M\xe9\x03.".to_vec(),
            b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.".to_vec(),
            [
                b"\x80\x02}X\x04\x00\x00\x00part}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((".as_slice(),
                b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02NtQ",
                b"K\x00K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRss.",
            ]
            .concat(),
            b"\x80\x02]X\x01\x00\x00\x000a.".to_vec(),
        ];
        let numbers = [2u64.to_le_bytes().as_slice(), &1.5f32.to_le_bytes(), &(-2.0f32).to_le_bytes()].concat();
        [pickles.concat(), numbers].concat()
    }

    fn archive(pickle: &[u8]) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        let values: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let entries = [("data.pkl", pickle), ("data/0", &values), ("version", b"3\n"), ("byteorder", b"little")];
        for (name, bytes) in entries {
            archive.start_file(format!("archive/{name}"), stored).unwrap();
            archive.write_all(bytes).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    fn read_bytes(bytes: &[u8], part: Option<&str>) -> Result<Arrays, WeightsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.pt");
        std::fs::write(&path, bytes).unwrap();
        read(&path, part)
    }

    #[test]
    fn tensors_are_read_by_name_and_part() {
        let tensor = Array { shape: vec![2], values: vec![1.5, -2.0] };
        let all = read_bytes(&checkpoint(), None).unwrap();
        assert_eq!(all, [("part.w".to_owned(), tensor.clone())].into());
        assert_eq!(read_bytes(&checkpoint(), Some("part")).unwrap(), [("w".to_owned(), tensor)].into());
        let missing = read_bytes(&checkpoint(), Some("ema")).unwrap_err().to_string();
        assert!(missing.contains("ema"), "{missing}");
    }

    #[test]
    fn older_files_are_read_too() {
        let tensor = Array { shape: vec![2], values: vec![1.5, -2.0] };
        let all = read_bytes(&old_checkpoint(), None).unwrap();
        assert_eq!(all, [("part.w".to_owned(), tensor.clone())].into());
        assert_eq!(read_bytes(&old_checkpoint(), Some("part")).unwrap(), [("w".to_owned(), tensor)].into());
        let name = b"collections\nOrderedDict".as_slice();
        let bytes = old_checkpoint();
        let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
        let bytes = [&bytes[..at], b"posix\nsystem", &bytes[at + name.len()..]].concat();
        let message = read_bytes(&bytes, None).unwrap_err().to_string();
        assert!(message.contains("posix.system"), "{message}");
    }

    #[test]
    fn a_pickle_that_imports_more_is_not_read() {
        let message = read_bytes(&archive(b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R."), None).unwrap_err();
        assert!(message.to_string().contains("posix.system"), "{message}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// A flipped bit or a missing end gives an error or other numbers, never a panic.
        #[test]
        fn damage_is_an_error(at in any::<prop::sample::Index>(), bit in 0..8u8, end in any::<prop::sample::Index>()) {
            for whole in [checkpoint(), old_checkpoint()] {
                let (at, end) = (at.index(whole.len()), end.index(whole.len()));
                prop_assert!(read_bytes(&whole[..end], None).is_err());
                let mut bytes = whole;
                bytes[at] ^= 1 << bit;
                let _ = read_bytes(&bytes, None);
            }
        }
    }
}
