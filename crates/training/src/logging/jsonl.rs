//! `metrics.jsonl`: the numbers of a run, one JSON object a line.
//!
//! `{"images":4096,"step":64,"loss":0.25,...}`: the training images seen, the updates made, and named scalars. A number
//! is the shortest decimal that reads back as the same f64. JSON has no word for a number that is not finite: those are
//! the strings `"NaN"`, `"inf"` and `"-inf"`.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::LoggingError;

/// The scalars of one moment of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Training images seen.
    pub images: u64,
    /// Updates made.
    pub step: u64,
    /// Named scalars in the order in which they were written.
    pub scalars: Vec<(String, f64)>,
}

/// Appends records to a file.
#[derive(Debug)]
pub struct MetricsWriter {
    file: File,
    path: PathBuf,
}

impl MetricsWriter {
    /// Opens a file to append to, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, LoggingError> {
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(LoggingError::file(path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Appends one line. It has left the process when this returns.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn append<N: AsRef<str>>(&mut self, images: u64, step: u64, scalars: &[(N, f64)]) -> Result<(), LoggingError> {
        let mut object = Map::new();
        object.insert("images".into(), images.into());
        object.insert("step".into(), step.into());
        for (name, scalar) in scalars {
            object.insert(name.as_ref().into(), to_json(*scalar));
        }
        let line = format!("{}\n", Value::Object(object));
        self.file.write_all(line.as_bytes()).map_err(LoggingError::file(&self.path))
    }
}

fn to_json(scalar: f64) -> Value {
    // None for what is not finite.
    serde_json::Number::from_f64(scalar).map_or_else(|| Value::String(scalar.to_string()), Value::Number)
}

fn from_json(value: &Value) -> Option<f64> {
    match value {
        Value::String(word) if matches!(word.as_str(), "NaN" | "inf" | "-inf") => word.parse().ok(),
        value => value.as_f64(),
    }
}

/// The records of a file, up to its end or to the first line that is torn or damaged. A scalar may differ from what was
/// written in the last bit, which serde_json's reader does not settle.
///
/// # Errors
///
/// The file cannot be read.
pub fn read(path: &Path) -> Result<Vec<Record>, LoggingError> {
    let text = fs::read(path).map_err(LoggingError::file(path))?;
    Ok(lines(&text).map(|(_, record)| record).collect())
}

/// Cuts a file back to `images` training images: from the first later line on, or from the first one that is torn or
/// damaged. No file is nothing to cut.
///
/// # Errors
///
/// The file cannot be read or written.
pub fn truncate(path: &Path, images: u64) -> Result<(), LoggingError> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(LoggingError::file(path))?,
    };
    let kept: usize = lines(&text).take_while(|(_, record)| record.images <= images).map(|(line, _)| line.len()).sum();
    if kept < text.len() {
        let file = OpenOptions::new().write(true).open(path).map_err(LoggingError::file(path))?;
        file.set_len(kept as u64).map_err(LoggingError::file(path))?;
    }
    Ok(())
}

/// Whole lines, with their ends.
fn lines(text: &[u8]) -> impl Iterator<Item = (&[u8], Record)> {
    text.split_inclusive(|&byte| byte == b'\n').map_while(|line| Some((line, parse(line.strip_suffix(b"\n")?)?)))
}

fn parse(line: &[u8]) -> Option<Record> {
    let mut object: Map<String, Value> = serde_json::from_slice(line).ok()?;
    let images = object.shift_remove("images")?.as_u64()?;
    let step = object.shift_remove("step")?.as_u64()?;
    let scalars = object.into_iter().map(|(name, value)| Some((name, from_json(&value)?)));
    Some(Record { images, step, scalars: scalars.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(folder: &tempfile::TempDir) -> PathBuf {
        let path = folder.path().join("metrics.jsonl");
        let mut writer = MetricsWriter::open(&path).unwrap();
        for images in [0, 100, 200] {
            writer.append(images, images / 10, &[("loss", 0.1), ("z", 1e-300)]).unwrap();
        }
        path
    }

    #[test]
    fn a_line_is_an_object() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut writer = MetricsWriter::open(&path).unwrap();
        writer.append(64, 1, &[("loss", 0.1), ("bad", f64::NAN), ("far", f64::NEG_INFINITY), ("one", 1.0)]).unwrap();
        let line = "{\"images\":64,\"step\":1,\"loss\":0.1,\"bad\":\"NaN\",\"far\":\"-inf\",\"one\":1.0}\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), line);
        assert_eq!(read(&path).unwrap()[0].scalars[2], ("far".to_owned(), f64::NEG_INFINITY));
    }

    #[test]
    fn a_continued_file_is_that_of_a_straight_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(&folder);
        let straight = fs::read(&path).unwrap();
        let second = straight.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        for torn in second..straight.len() {
            fs::write(&path, &straight[..torn]).unwrap();
            truncate(&path, 0).unwrap();
            let mut writer = MetricsWriter::open(&path).unwrap();
            writer.append(100, 10, &[("loss", 0.1), ("z", 1e-300)]).unwrap();
            writer.append(200, 20, &[("loss", 0.1), ("z", 1e-300)]).unwrap();
            assert_eq!(fs::read(&path).unwrap(), straight);
        }
    }

    #[test]
    fn a_torn_line_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(&folder);
        let whole = fs::read(&path).unwrap();
        for torn in ["{\"images\":30", "{\"images\":300,\"step\":30}", "\u{0}\u{0}\n", "{\"images\":300}\n"] {
            OpenOptions::new().append(true).open(&path).unwrap().write_all(torn.as_bytes()).unwrap();
            assert_eq!(read(&path).unwrap().len(), 3);
            truncate(&path, 1000).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
        truncate(&folder.path().join("none"), 0).unwrap();
    }

    proptest! {
        #[test]
        fn numbers_read_back(bits in any::<u64>()) {
            let scalar = f64::from_bits(bits);
            let text = to_json(scalar).to_string();
            let back: f64 = text.trim_matches('"').parse().unwrap();
            prop_assert!(back.to_bits() == bits || back.is_nan() && scalar.is_nan());
        }
    }
}
