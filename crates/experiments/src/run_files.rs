//! What a run directory holds, read without knowing networks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::ExperimentError;

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsLine {
    /// Training images seen.
    pub images: u64,
    /// Named scalars.
    pub scalars: Vec<(String, f64)>,
}

/// An evaluation record, as far as a report needs it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct EvaluationRecord {
    /// True name, such as `FD[classifier:shapes]-2k`.
    pub metric: String,
    /// The number.
    pub value: f64,
    /// Samples it was computed on.
    pub n: usize,
    /// What a reader should know before believing the number.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What the number depends on.
    #[serde(default)]
    pub protocol: Value,
}

/// A run directory, or the folder of a cell that evaluates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFiles {
    /// Lines of `metrics.jsonl`, up to the first that is torn.
    pub lines: Vec<MetricsLine>,
    /// The record of the most training images of every metric, by metric.
    pub records: BTreeMap<String, EvaluationRecord>,
    /// `provenance.json`; null where there is none.
    pub provenance: Value,
}

impl RunFiles {
    /// Reads a folder; what is not there is empty.
    ///
    /// # Errors
    /// When a file is there but cannot be read.
    pub fn read(folder: &Path) -> Result<Self, ExperimentError> {
        let lines = lines(&optional(&folder.join("metrics.jsonl"))?);
        let provenance = serde_json::from_slice(&optional(&folder.join("provenance.json"))?).unwrap_or_default();
        Ok(Self { lines, records: records(&folder.join("eval"))?, provenance })
    }

    /// Training images seen.
    pub fn images(&self) -> u64 {
        self.lines.last().map_or(0, |line| line.images)
    }

    /// The last finite value of a scalar.
    pub fn last(&self, name: &str) -> Option<f64> {
        let values = self.lines.iter().rev().flat_map(|line| line.scalars.iter().rev());
        values.filter(|(other, value)| other == name && value.is_finite()).map(|(_, value)| *value).next()
    }

    /// The finite values of a scalar over images; a name that ends in `*` stands for the first that begins so.
    pub fn curve(&self, name: &str) -> Vec<(f64, f64)> {
        let matches = |other: &str| match name.strip_suffix('*') {
            Some(start) => other.starts_with(start),
            None => other == name,
        };
        let value = |line: &MetricsLine| {
            let found = line.scalars.iter().find(|(other, value)| matches(other) && value.is_finite());
            found.map(|(_, value)| (line.images as f64, *value))
        };
        self.lines.iter().filter_map(value).collect()
    }

    /// The record of a metric whose name is this or begins with it.
    pub fn record(&self, metric: &str) -> Option<&EvaluationRecord> {
        self.records.get(metric).or_else(|| {
            let (_, record) = self.records.range(metric.to_owned()..).next()?;
            record.metric.starts_with(metric).then_some(record)
        })
    }
}

/// The bytes of a file; none where it is not there.
fn optional(path: &Path) -> Result<Vec<u8>, ExperimentError> {
    match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        bytes => bytes.map_err(ExperimentError::file(path)),
    }
}

fn lines(text: &[u8]) -> Vec<MetricsLine> {
    let number = |value: &Value| match value {
        Value::String(word) => word.parse().ok(),
        value => value.as_f64(),
    };
    let line = |line: &[u8]| {
        let object: Map<String, Value> = serde_json::from_slice(line).ok()?;
        let images = object.get("images")?.as_u64()?;
        let scalars = object.iter().filter(|(name, _)| !matches!(name.as_str(), "images" | "step"));
        let scalars = scalars.filter_map(|(name, value)| Some((name.clone(), number(value)?))).collect();
        Some(MetricsLine { images, scalars })
    };
    text.split_inclusive(|&byte| byte == b'\n').map_while(|text| line(text.strip_suffix(b"\n")?)).collect()
}

/// The newest records of a folder `eval`, by metric.
fn records(folder: &Path) -> Result<BTreeMap<String, EvaluationRecord>, ExperimentError> {
    // `<images>-<metric>.json`: of each metric only the newest is read.
    let mut newest: BTreeMap<String, (u64, PathBuf)> = BTreeMap::new();
    for path in listed(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((images, metric)) = name.strip_suffix(".json").and_then(|name| name.split_once('-')) else { continue };
        let Ok(images) = images.parse() else { continue };
        let entry = newest.entry(metric.to_owned()).or_insert((images, path.clone()));
        if images >= entry.0 {
            *entry = (images, path);
        }
    }
    let mut records = BTreeMap::new();
    for (_, path) in newest.into_values() {
        // Other files of the folder, such as probes, are no records.
        if let Ok(record) = serde_json::from_slice::<EvaluationRecord>(&optional(&path)?) {
            records.insert(record.metric.clone(), record);
        }
    }
    Ok(records)
}

/// The entries of a folder; none where it is not there.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, ExperimentError> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => {
            let entries = entries.map_err(ExperimentError::file(folder))?;
            Ok(entries.flatten().map(|entry| entry.path()).collect())
        }
    }
}

/// The newest pictures of a run with their kinds: the sample grid, `samples`, and maps of what the model learned.
///
/// # Errors
/// When their folder cannot be read.
pub fn pictures(folder: &Path) -> Result<Vec<(String, PathBuf)>, ExperimentError> {
    let mut newest: BTreeMap<String, (u64, PathBuf)> = BTreeMap::new();
    for path in listed(&folder.join("samples"))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(stem) = name.strip_suffix(".png") else { continue };
        let (images, kind) = stem.split_once('-').unwrap_or((stem, "samples"));
        let Ok(images) = images.parse() else { continue };
        let entry = newest.entry(kind.to_owned()).or_insert((images, path.clone()));
        if images >= entry.0 {
            *entry = (images, path);
        }
    }
    let mut pictures: Vec<(String, PathBuf)> = newest.into_iter().map(|(kind, (_, path))| (kind, path)).collect();
    pictures.sort_by_key(|(kind, _)| (kind != "samples", kind.clone()));
    Ok(pictures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_directory_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(RunFiles::read(folder.path()).unwrap(), RunFiles::default());
        write(
            "metrics.jsonl",
            "{\"images\":10,\"step\":1,\"loss\":2.0}\n{\"images\":20,\"step\":2,\"loss\":1.0,\"validation/loss\":1.5}\n\
             {\"images\":30,\"step\":3,\"loss\":\"NaN\",\"evaluation/FD[a]-8\":7.0}\n{\"images\":40,\"st",
        );
        for (name, value) in [("100-FD_a_-8", 1.0), ("20-FD_a_-8", 2.0), ("9-detector", 0.5), ("100-probe", 0.0)] {
            let metric = if name.contains("FD") { "FD[a]-8" } else { "detector" };
            let text = match name {
                "100-probe" => "{\"blocks\": []}".to_owned(),
                _ => format!("{{\"metric\": \"{metric}\", \"value\": {value}, \"n\": 8, \"protocol\": {{}}}}"),
            };
            write(&format!("eval/{name}.json"), &text);
        }
        let run = RunFiles::read(folder.path()).unwrap();
        assert_eq!((run.images(), run.last("loss"), run.last("none")), (30, Some(1.0), None));
        assert_eq!(run.curve("loss"), [(10.0, 2.0), (20.0, 1.0)]);
        assert_eq!(run.curve("evaluation/FD[*"), [(30.0, 7.0)]);
        assert_eq!(run.record("FD[").map(|record| record.value), Some(1.0));
        assert_eq!(run.record("detector").map(|record| record.n), Some(8));
        assert!(run.record("FE").is_none() && run.records.len() == 2);
    }

    #[test]
    fn the_newest_pictures_come_first_the_grid() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("samples")).unwrap();
        for name in ["8.png", "16.png", "16-experts.png", "8-experts.png", "x.png", "16.txt"] {
            fs::write(folder.path().join("samples").join(name), "").unwrap();
        }
        let found = pictures(folder.path()).unwrap();
        let names: Vec<_> =
            found.iter().map(|(kind, path)| (kind.as_str(), path.file_name().unwrap().to_str().unwrap())).collect();
        assert_eq!(names, [("samples", "16.png"), ("experts", "16-experts.png")]);
    }
}
