//! What can go wrong with experiments.

use std::path::{Path, PathBuf};

use sinter_config::ConfigError;

/// An error of an experiment.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A sweep, or the configuration of a cell, is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Configurations of cells are wrong, each problem once with the cells that have it.
    #[error("{}", .0.join("\n"))]
    Cells(Vec<String>),
    /// A file of this room that does not hold what it should.
    #[error("{}: {message}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to do.
        message: String,
    },
    /// What was asked for is not there.
    #[error("{0}")]
    Asked(String),
    /// Another process works on the cell.
    #[error("cell {0} is being run by another process")]
    Busy(String),
}

impl ExperimentError {
    /// Names the file of an input or output error.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// A file that does not hold what it should.
    pub(crate) fn content(path: &Path, message: impl std::fmt::Display) -> Self {
        Self::Content { path: path.to_path_buf(), message: message.to_string() }
    }
}
