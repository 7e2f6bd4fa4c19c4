//! What a run writes down: scalars as lines of JSON and as TensorBoard's event files, pictures, and the progress that
//! a person watches.
//!
//! The x axis of all of it is the number of training images seen. A run that is continued first cuts its files back
//! to the clock of its checkpoint ([`jsonl::truncate`], [`tensorboard::truncate`]), so that they end up as if it had
//! never stopped; whatever is logged at an image count must therefore be written before the checkpoint of that count.

mod axes;
mod canvas;
pub mod curve;
mod font;
pub mod grid;
pub mod heat_map;
pub mod jsonl;
pub mod progress;
mod protobuf;
mod records;
pub mod scatter;
pub mod tensorboard;

use std::path::{Path, PathBuf};

/// What can go wrong in writing a run's records.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Values that make no picture.
    #[error("{0}")]
    Picture(String),
}

impl LoggingError {
    /// Names the file of an input or output error.
    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// A picture as PNG.
///
/// # Errors
///
/// A picture without pixels.
pub fn png(picture: &image::RgbImage) -> Result<Vec<u8>, LoggingError> {
    let mut bytes = Vec::new();
    picture
        .write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png)
        .map_err(|error| LoggingError::Picture(format!("cannot encode a picture: {error}")))?;
    Ok(bytes)
}

/// Writes a picture as a PNG file, and the folder that it belongs into.
///
/// # Errors
///
/// The file cannot be written.
pub fn save(picture: &image::RgbImage, path: &Path) -> Result<(), LoggingError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(LoggingError::file(folder))?;
    }
    std::fs::write(path, png(picture)?).map_err(LoggingError::file(path))
}
