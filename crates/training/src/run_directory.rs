//! The run directory: one place for everything a run writes, which describes itself.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sinter_data::Manifest;

use crate::{Config, TrainingError};

/// A run directory. Holding it open for training takes its lock.
#[derive(Debug)]
pub struct RunDirectory {
    root: PathBuf,
    /// Held for as long as this process trains here; the operating system drops it with the process.
    lock: Option<File>,
}

/// What made a run: written when it starts, and again whenever it is resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of this program.
    pub version: String,
    /// Version of the tensor library.
    pub burn: String,
    /// Command line.
    pub command: Vec<String>,
    /// Operating system and processor.
    pub platform: String,
    /// The device, as configured.
    pub device: String,
    /// CPU threads.
    pub threads: usize,
    /// Hash of the settings that define the run.
    pub config_hash: String,
    /// The training data.
    pub data: Manifest,
}

impl RunDirectory {
    /// Opens a directory for reading.
    ///
    /// # Errors
    /// When it is not a run directory.
    pub fn open(root: &Path) -> Result<Self, TrainingError> {
        let run = Self { root: root.to_path_buf(), lock: None };
        if !run.config_path().is_file() {
            return Err(TrainingError::Config(format!(
                "{} is not a run directory: it has no config.toml",
                root.display()
            )));
        }
        Ok(run)
    }

    /// Opens or makes a directory for training, and locks it.
    ///
    /// # Errors
    /// [`TrainingError::Locked`] if another process holds the lock.
    pub fn lock(root: &Path) -> Result<Self, TrainingError> {
        fs::create_dir_all(root).map_err(TrainingError::file(root))?;
        let path = root.join("run.lock");
        let lock =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(TrainingError::file(&path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.to_path_buf(), lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => Err(TrainingError::Locked { path: root.to_path_buf() }),
            Err(TryLockError::Error(source)) => Err(TrainingError::File { path, source }),
        }
    }

    /// Whether this process may write here.
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `config.toml`: the resolved configuration.
    pub fn config_path(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// `metrics.jsonl`: one object a line.
    pub fn metrics_path(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// `checkpoints/`.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// `samples/<images>.png`.
    pub fn samples_path(&self, images: u64) -> PathBuf {
        self.root.join("samples").join(format!("{images}.png"))
    }

    /// `samples/<images>-<name>.png`: a picture of something that the model learned.
    pub fn map_path(&self, images: u64, name: &str) -> PathBuf {
        self.root.join("samples").join(format!("{images}-{name}.png"))
    }

    /// `eval/`.
    pub fn evaluations(&self) -> PathBuf {
        self.root.join("eval")
    }

    /// The configuration the run was started with.
    ///
    /// # Errors
    /// When the file cannot be read or is not a configuration of this version.
    pub fn config(&self) -> Result<Config, TrainingError> {
        let path = self.config_path();
        let text = fs::read_to_string(&path).map_err(TrainingError::file(&path))?;
        toml::from_str(&text).map_err(|error| TrainingError::Config(format!("{}: {error}", path.display())))
    }

    /// Makes this the run of `config`, or checks that it is: a run's settings never change under it.
    ///
    /// # Errors
    /// [`TrainingError::OtherRun`], with every setting that differs.
    pub fn claim(&self, config: &Config) -> Result<(), TrainingError> {
        if self.config_path().exists() {
            let existing = self.config()?;
            if existing.hash() != config.hash() {
                let mut differences = Vec::new();
                compare("", &existing.identity(), &config.identity(), &mut differences);
                let (path, differences) = (self.root.clone(), differences.join("\n"));
                return Err(TrainingError::OtherRun { path, differences });
            }
        }
        let text = toml::to_string(config).map_err(|error| TrainingError::Config(error.to_string()))?;
        write_atomically(&self.config_path(), text.as_bytes())
    }

    /// Writes `provenance.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_provenance(&self, provenance: &Provenance) -> Result<(), TrainingError> {
        let mut text = serde_json::to_string_pretty(provenance).unwrap_or_default();
        text.push('\n');
        write_atomically(&self.root.join("provenance.json"), text.as_bytes())
    }
}

/// Lists the leaves in which two JSON values differ.
fn compare(key: &str, existing: &serde_json::Value, new: &serde_json::Value, differences: &mut Vec<String>) {
    use serde_json::Value;
    if let (Value::Object(existing), Value::Object(new)) = (existing, new) {
        let mut names: Vec<&String> = existing.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            let of = |table: &serde_json::Map<String, Value>| table.get(name).cloned().unwrap_or(Value::Null);
            compare(&key, &of(existing), &of(new), differences);
        }
    } else if existing != new {
        differences.push(format!("  {key}: {existing} there, {new} here"));
    }
}

/// Writes a file whole or not at all: to a temporary name, synced, renamed.
///
/// # Errors
/// When the file cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), TrainingError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(TrainingError::file(parent))?;
    }
    let temporary = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(TrainingError::file(path))
}
