//! TensorBoard's event files: scalars, images, histograms, texts and hyperparameters.
//!
//! A folder holds one file for each time that a run was started, named after the clock at which it was. The bytes are
//! a function of what is logged, but for the time of day that each event carries. Scalars, images and histograms have
//! the form of the first version of summaries, which every version of TensorBoard reads.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use image::RgbImage;

use super::protobuf::{Message, read_integer};
use super::records::{Records, frame};
use super::{LoggingError, png};

/// By this TensorBoard knows event files, whatever else is in their names.
const MARK: &str = "tfevents";

/// Buckets of a histogram, of equal width.
const BUCKETS: usize = 64;

/// Fields of `tensorboard.Event`.
mod event {
    pub(super) const WALL_TIME: u32 = 1;
    pub(super) const STEP: u32 = 2;
    pub(super) const FILE_VERSION: u32 = 3;
    pub(super) const SUMMARY: u32 = 5;
}

/// Fields of `tensorboard.Summary.Value`.
mod value {
    pub(super) const TAG: u32 = 1;
    pub(super) const SIMPLE_VALUE: u32 = 2;
    pub(super) const IMAGE: u32 = 4;
    pub(super) const HISTOGRAM: u32 = 5;
    pub(super) const TENSOR: u32 = 8;
    pub(super) const METADATA: u32 = 9;
}

/// The value of a hyperparameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Hyperparameter {
    /// An integer or a float.
    Number(f64),
    /// A switch.
    Flag(bool),
    /// Anything else, as text.
    Word(String),
}

/// Every leaf of a resolved configuration by its dotted key, as hyperparameters; arrays as text.
pub fn hyperparameters(config: &toml::Table) -> Vec<(String, Hyperparameter)> {
    let mut leaves = Vec::new();
    for (name, value) in config {
        let leaf = match value {
            toml::Value::Table(table) => {
                let inner = hyperparameters(table).into_iter();
                leaves.extend(inner.map(|(key, value)| (format!("{name}.{key}"), value)));
                continue;
            }
            toml::Value::Integer(number) => Hyperparameter::Number(*number as f64),
            toml::Value::Float(number) => Hyperparameter::Number(*number),
            toml::Value::Boolean(flag) => Hyperparameter::Flag(*flag),
            toml::Value::String(word) => Hyperparameter::Word(word.clone()),
            other => Hyperparameter::Word(other.to_string()),
        };
        leaves.push((name.clone(), leaf));
    }
    leaves
}

/// Writes one event file. Every call writes one whole record, so that nothing waits in memory.
#[derive(Debug)]
pub struct EventWriter {
    file: File,
    path: PathBuf,
}

impl EventWriter {
    /// Starts a new event file in `folder` for a run at `images` training images. Events of an earlier start that the
    /// run does not continue from are to be cut by [`truncate`] or [`clear`] before.
    ///
    /// # Errors
    ///
    /// The file cannot be created.
    pub fn create(folder: &Path, images: u64) -> Result<Self, LoggingError> {
        fs::create_dir_all(folder).map_err(LoggingError::file(folder))?;
        let mut start = 0;
        loop {
            let path = folder.join(format!("events.out.{MARK}.{images:012}.{start:03}"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    let mut writer = Self { file, path };
                    writer.write(Message::new().bytes(event::FILE_VERSION, "brain.Event:2"))?;
                    return Ok(writer);
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => start += 1,
                Err(error) => return Err(LoggingError::file(&path)(error)),
            }
        }
    }

    /// Writes named scalars, rounded to f32.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn scalars<N: AsRef<str>>(&mut self, images: u64, scalars: &[(N, f64)]) -> Result<(), LoggingError> {
        let values = scalars.iter().map(|(tag, scalar)| {
            Message::new().bytes(value::TAG, tag.as_ref()).float(value::SIMPLE_VALUE, *scalar as f32)
        });
        self.summary(images, values)
    }

    /// Writes a picture.
    ///
    /// # Errors
    ///
    /// The picture has no pixels, or the file cannot be written.
    pub fn image(&mut self, images: u64, tag: &str, picture: &RgbImage) -> Result<(), LoggingError> {
        const RGB: u64 = 3;
        let image = Message::new()
            .integer(1, picture.height().into())
            .integer(2, picture.width().into())
            .integer(3, RGB)
            .bytes(4, png(picture)?);
        self.summary(images, [Message::new().bytes(value::TAG, tag).message(value::IMAGE, image)])
    }

    /// Writes the distribution of `values` over 64 buckets of equal width between the least and the greatest. Values
    /// that are not finite are left out; without any other the histogram is empty.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn histogram(&mut self, images: u64, tag: &str, values: &[f32]) -> Result<(), LoggingError> {
        let histogram = histogram(values);
        self.summary(images, [Message::new().bytes(value::TAG, tag).message(value::HISTOGRAM, histogram)])
    }

    /// Writes a text, which TensorBoard renders as Markdown.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn text(&mut self, images: u64, tag: &str, text: &str) -> Result<(), LoggingError> {
        const STRING: u64 = 7;
        // Its shape has no dimensions; an array of texts would be shown as a table.
        let tensor = Message::new().integer(1, STRING).message(2, Message::new()).bytes(8, text);
        let value = Message::new().bytes(value::TAG, tag).message(value::TENSOR, tensor);
        self.summary(images, [value.message(value::METADATA, metadata("text", Message::new()))])
    }

    /// Writes what sets this run apart from others, and the tags of the scalars by which to compare them.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn hyperparameters<T: AsRef<str>>(
        &mut self,
        hyperparameters: &[(String, Hyperparameter)],
        metrics: &[T],
    ) -> Result<(), LoggingError> {
        const EXPERIMENT: u32 = 2;
        const SESSION_START: u32 = 3;
        let mut experiment = Message::new();
        let mut session = Message::new();
        for (name, value) in hyperparameters {
            // The kinds of `api.DataType`, and the fields of `google.protobuf.Value`.
            let (kind, value) = match value {
                Hyperparameter::Word(word) => (1, Message::new().bytes(3, word)),
                Hyperparameter::Flag(flag) => (2, Message::new().integer(4, (*flag).into())),
                Hyperparameter::Number(number) => (3, Message::new().double(2, *number)),
            };
            experiment = experiment.message(4, Message::new().bytes(1, name).integer(4, kind));
            session = session.message(1, Message::new().bytes(1, name).message(2, value));
        }
        for tag in metrics {
            let name = Message::new().bytes(2, tag.as_ref());
            experiment = experiment.message(5, Message::new().message(1, name));
        }
        let session = session.double(5, wall_time());
        let values = [("experiment", EXPERIMENT, experiment), ("session_start_info", SESSION_START, session)];
        let values = values.map(|(name, field, content)| {
            let metadata = metadata("hparams", Message::new().message(field, content));
            Message::new().bytes(value::TAG, format!("_hparams_/{name}")).message(value::METADATA, metadata)
        });
        self.summary(0, values)
    }

    fn summary(&mut self, images: u64, values: impl IntoIterator<Item = Message>) -> Result<(), LoggingError> {
        let summary = values.into_iter().fold(Message::new(), |summary, value| summary.message(1, value));
        self.write(Message::new().integer(event::STEP, images).message(event::SUMMARY, summary))
    }

    fn write(&mut self, event: Message) -> Result<(), LoggingError> {
        let mut data = Message::new().double(event::WALL_TIME, wall_time()).into_bytes();
        data.extend(event.into_bytes());
        self.file.write_all(&frame(&data)).map_err(LoggingError::file(&self.path))
    }
}

/// Seconds since 1970.
fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Which of TensorBoard's plugins shows a value, and what it is told.
fn metadata(plugin: &str, content: Message) -> Message {
    Message::new().message(1, Message::new().bytes(1, plugin).bytes(2, content.into_bytes()))
}

/// A `tensorboard.HistogramProto`: range, moments, and for each bucket its right edge and count.
fn histogram(values: &[f32]) -> Message {
    let finite = || values.iter().filter(|value| value.is_finite()).map(|&value| f64::from(value));
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let (low, high) = if low <= high { (low, high) } else { (0.0, 0.0) };
    let buckets = if low < high { BUCKETS } else { 1 };
    let width = (high - low) / buckets as f64;
    let mut counts = vec![0.0; buckets];
    let (mut sum, mut squares) = (0.0, 0.0);
    for x in finite() {
        let bucket = if width > 0.0 { ((x - low) / width) as usize } else { 0 };
        counts[bucket.min(buckets - 1)] += 1.0;
        sum += x;
        squares += x * x;
    }
    let edges: Vec<f64> =
        (1..=buckets).map(|edge| if edge == buckets { high } else { low + width * edge as f64 }).collect();
    let number = counts.iter().sum();
    let moments = Message::new().double(1, low).double(2, high).double(3, number).double(4, sum).double(5, squares);
    moments.doubles(6, &edges).doubles(7, &counts)
}

/// Cuts the event files in `folder` back to `images` training images: later events are removed, and so is what comes
/// after a torn or damaged record; files without any event left are removed. No folder is no files.
///
/// # Errors
///
/// A file cannot be read, written or removed.
pub fn truncate(folder: &Path, images: u64) -> Result<(), LoggingError> {
    for path in event_files(folder)? {
        let file = fs::read(&path).map_err(LoggingError::file(&path))?;
        let mut records = Records::new(&file);
        let mut kept = Vec::new();
        let (mut events, mut dropped) = (0, false);
        for data in records.by_ref() {
            if read_integer(data, event::STEP).is_some_and(|step| step <= images) {
                kept.extend(frame(data));
                events += 1;
            } else {
                dropped = true;
            }
        }
        if events <= 1 {
            // Nothing but the version that every file begins with.
            fs::remove_file(&path).map_err(LoggingError::file(&path))?;
        } else if dropped || records.left() > 0 {
            // Under a name that TensorBoard passes over until the file is whole.
            let partial = folder.join(".events.partial");
            fs::write(&partial, &kept).map_err(LoggingError::file(&partial))?;
            fs::rename(&partial, &path).map_err(LoggingError::file(&path))?;
        }
    }
    Ok(())
}

/// Removes the event files in `folder`, for a run that begins anew.
///
/// # Errors
///
/// A file cannot be removed.
pub fn clear(folder: &Path) -> Result<(), LoggingError> {
    event_files(folder)?.iter().try_for_each(|path| fs::remove_file(path).map_err(LoggingError::file(path)))
}

fn event_files(folder: &Path) -> Result<Vec<PathBuf>, LoggingError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(LoggingError::file(folder))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(LoggingError::file(folder))?.path();
        if path.is_file() && path.file_name().is_some_and(|name| name.to_string_lossy().contains(MARK)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;
