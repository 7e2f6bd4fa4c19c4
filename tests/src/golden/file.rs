//! One golden file: a safetensors file whose metadata are strings or JSON.

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, SafeTensors};
use serde_json::Value;

/// Why a golden file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file itself cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a safetensors file.
    #[error("{path}: {source}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: safetensors::SafeTensorError,
    },
    /// The file holds no such tensor.
    #[error("{path}: no tensor `{key}`")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor that was asked for.
        key: String,
    },
    /// The tensor's numbers are of a kind that this reader does not know.
    #[error("{path}: tensor `{key}` has the unread type {dtype:?}")]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor that was asked for.
        key: String,
        /// Its type.
        dtype: Dtype,
    },
}

/// The folder of golden data: `SINTER_GOLDEN`, else `../shared/golden` from the workspace root; `None` where neither
/// is there.
pub fn folder() -> Option<PathBuf> {
    let folder = match std::env::var_os("SINTER_GOLDEN") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/golden"),
    };
    folder.is_dir().then_some(folder)
}

/// One golden file, held in memory.
pub struct File {
    path: PathBuf,
    bytes: Vec<u8>,
    header: Metadata,
    data_start: usize,
}

impl File {
    /// Reads the file and its header.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_path_buf();
        let bytes = std::fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        let (header_length, header) =
            SafeTensors::read_metadata(&bytes).map_err(|source| Error::Format { path: path.clone(), source })?;
        // The header is preceded by its own length, a little-endian u64.
        Ok(Self { path, bytes, header, data_start: header_length + 8 })
    }

    /// The file's name without folder and extension.
    pub fn name(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The names of all tensors, sorted.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = self.header.offset_keys();
        keys.sort();
        keys
    }

    /// Whether the file holds a tensor of this name.
    pub fn contains(&self, key: &str) -> bool {
        self.header.info(key).is_some()
    }

    /// Shape and values, in row-major order, of one tensor; numbers of any kind are read as f64.
    pub fn tensor(&self, key: &str) -> Result<(Vec<usize>, Vec<f64>), Error> {
        let missing = || Error::Missing { path: self.path.clone(), key: key.into() };
        let info = self.header.info(key).ok_or_else(missing)?;
        let (start, end) = info.data_offsets;
        let bytes = self.bytes.get(self.data_start + start..self.data_start + end).ok_or_else(missing)?;
        let values = match info.dtype {
            Dtype::F64 => decode(bytes, f64::from_le_bytes),
            Dtype::F32 => decode(bytes, |b| f32::from_le_bytes(b).into()),
            Dtype::I64 => decode(bytes, |b| i64::from_le_bytes(b) as f64),
            Dtype::I32 => decode(bytes, |b| i32::from_le_bytes(b).into()),
            Dtype::U8 | Dtype::BOOL => decode(bytes, |[b]: [u8; 1]| b.into()),
            dtype => return Err(Error::Type { path: self.path.clone(), key: key.into(), dtype }),
        };
        Ok((info.shape.clone(), values))
    }

    /// The values of one tensor, without its shape.
    pub fn values(&self, key: &str) -> Result<Vec<f64>, Error> {
        Ok(self.tensor(key)?.1)
    }

    /// One entry of the file's metadata: JSON where it is JSON, else a string.
    pub fn metadata(&self, key: &str) -> Option<Value> {
        let text = self.header.metadata().as_ref()?.get(key)?;
        Some(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())))
    }
}

fn decode<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| number(*chunk)).collect()
}
