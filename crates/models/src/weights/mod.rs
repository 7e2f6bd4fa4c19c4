//! Weights in files, and the names that other implementations give them.

mod file;
mod keys;
mod tables;

pub use file::{read, write};
pub use keys::{KeyMap, Layout, Rename};
pub use tables::{ADM_UNET, DIT};

use std::path::PathBuf;

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
    /// The file is not a valid safetensors file.
    #[error("{path} is not a valid safetensors file: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
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
    /// Names or shapes that a key map does not know; all are listed, one a line.
    #[error("these tensors have no counterpart:\n{}", .0.join("\n"))]
    Unmapped(Vec<String>),
}
