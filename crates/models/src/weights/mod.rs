//! Weights in files, and the names that other implementations give them.

mod edm;
mod file;
mod keys;
mod pickle;
mod pytorch;
mod reference;
mod regroup;
mod sit;
mod tables;

pub use file::{read, write};
pub(crate) use keys::captures;
pub use keys::{KeyMap, Layout, Rename};
pub use reference::Reference;
pub use regroup::Packed;
pub use tables::{ADM_UNET, DIFFUSERS_DIT, DIT};

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::parameters::Arrays;

/// Why weights could not be read, written or renamed.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The file is not a valid one of its kind.
    #[error("{path} is not a valid {kind} file: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What it should be.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A pickle names types that weights do not need. Nothing of it was run or read.
    #[error("{path} imports {}, which weights do not need: nothing was read from it", .names.join(", "))]
    Import {
        /// The file.
        path: PathBuf,
        /// The types.
        names: Vec<String>,
    },
    /// A tensor holds something other than floating-point numbers.
    #[error("{path}: tensor {name} holds {found}, not floating-point numbers")]
    NotFloat {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its element type.
        found: String,
    },
    /// The configuration's network is another reference's.
    #[error("the configuration's network is one of `{made_by}`, not of `{named}`")]
    OtherReference {
        /// The reference that was named.
        named: &'static str,
        /// The one that has such a network.
        made_by: &'static str,
    },
    /// The configuration's network has a part that the reference does not.
    #[error("`{named}` has no {what}, which the configuration's network has")]
    Lacks {
        /// The reference that was named.
        named: &'static str,
        /// The part.
        what: String,
    },
    /// Names or shapes that a key map does not know; all are listed, one a line.
    #[error("these tensors have no counterpart:\n{}", .0.join("\n"))]
    Unmapped(Vec<String>),
}

/// Every tensor of a file made elsewhere, in the safetensors format or PyTorch's (`.pt`, `.pth`), as 32-bit floats; of the
/// entry `part` alone, if it is given, where a PyTorch checkpoint keeps several.
///
/// # Errors
/// [`WeightsError`] if the file cannot be read, is damaged, has no such part, or is a pickle that imports a type that
/// weights do not need.
pub fn read_any(path: impl AsRef<Path>, part: Option<&str>) -> Result<Arrays, WeightsError> {
    let path = path.as_ref();
    let refused = |source| WeightsError::Io { path: path.to_owned(), source };
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(9).read_to_end(&mut start)).map_err(refused)?;
    match (&start[..], part) {
        // The length of a header, then the header.
        ([_, _, _, _, _, _, _, _, b'{'], None) => Ok(file::read_converted(path)?.0),
        ([_, _, _, _, _, _, _, _, b'{'], Some(part)) => {
            let reason = format!("it has no parts, and so no `{part}`");
            Err(WeightsError::Format { path: path.to_owned(), kind: "PyTorch", reason })
        }
        ([b'P', b'K', ..] | pytorch::OLD, _) => pytorch::read(path, part),
        _ => {
            let reason =
                "neither safetensors nor a file that PyTorch saved; load it in Python and save its state_dict again";
            Err(WeightsError::Format { path: path.to_owned(), kind: "weights", reason: reason.into() })
        }
    }
}
