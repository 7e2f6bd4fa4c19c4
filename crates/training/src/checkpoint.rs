//! Checkpoints: everything that a run's future depends on, written whole or not at all.
//!
//! `checkpoints/<images>/` holds `network.safetensors` (`<part>/<parameter>`), `optimizer.safetensors`
//! (`<part>/<slot>/<parameter>`), `average-<half life>.safetensors` (`<part>/<parameter>`) and `checkpoint.json` (clock,
//! hashes, counts of updates, running sums of the log). The directory is written under a temporary name, synced and
//! renamed; then `checkpoints/latest` names it. Loading verifies every file's sha256.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use burn::module::Module;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sinter_models::parameters::{self, Array, Arrays};
use sinter_models::{adapters, weights};
use sinter_objectives::{Method, Tally, Weights};
use sinter_optimization::{Average, Part};

use crate::TrainingError;
use crate::run_directory::write_atomically;

/// Layout of the files; a reader refuses any other.
const FORMAT: u32 = 1;

const NETWORK: &str = "network.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const SUMMARY: &str = "checkpoint.json";
const LATEST: &str = "latest";

/// What `checkpoint.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Layout of the files.
    pub format: u32,
    /// Training images seen: the clock, and with it the position of the data loader and of every random stream.
    pub images: u64,
    /// Updates made, skipped ones included.
    pub step: u64,
    /// Updates skipped in a row just before, for a loss or gradient that was not finite.
    pub skipped: u64,
    /// Hash of the settings that define the run.
    pub config_hash: String,
    /// Updates of each part's optimizer.
    pub updates: BTreeMap<String, u64>,
    /// The runs that the method learned from, each with the hash of the weights that it took.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub teachers: BTreeMap<String, String>,
    /// Half-lives of the averages.
    pub averages: Vec<u64>,
    /// Sums behind the next line of the log.
    pub tally: Tally,
    /// sha256 of each file.
    pub files: BTreeMap<String, String>,
}

/// The clock and the sums that a checkpoint carries beside the tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Training images seen.
    pub images: u64,
    /// Updates made, skipped ones included.
    pub step: u64,
    /// Updates skipped in a row just before.
    pub skipped: u64,
    /// Sums behind the next line of the log.
    pub tally: Tally,
}

/// Averages of every averaged part, by half-life in the order of the configuration.
pub(crate) type Averages = Vec<(u64, BTreeMap<String, Average>)>;

/// The averaged weights in the form that methods take.
pub(crate) fn weights_of(averages: &BTreeMap<String, Average>) -> Weights {
    averages.iter().map(|(part, average)| (part.clone(), average.values().clone())).collect()
}

/// A checkpoint on disk.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Its directory.
    pub path: PathBuf,
    /// Its summary.
    pub summary: Summary,
}

impl Checkpoint {
    /// Writes a checkpoint under `folder`, makes it the latest and removes all but the `keep` newest.
    ///
    /// # Errors
    /// When a file cannot be written; the checkpoints that were there stay.
    pub fn write(
        folder: &Path,
        method: &dyn Method,
        averages: &Averages,
        progress: &Progress,
        config_hash: &str,
        keep: usize,
    ) -> Result<PathBuf, TrainingError> {
        let path = folder.join(progress.images.to_string());
        let temporary = folder.join(format!("{}.partial", progress.images));
        if temporary.exists() {
            fs::remove_dir_all(&temporary).map_err(TrainingError::file(&temporary))?;
        }
        fs::create_dir_all(&temporary).map_err(TrainingError::file(&temporary))?;

        let mut network = Arrays::new();
        let mut optimizer = Arrays::new();
        let mut updates = BTreeMap::new();
        for part in method.parts() {
            network.extend(prefixed(part.name(), part.parameters()?));
            optimizer.extend(prefixed(part.name(), part.state()));
            updates.insert(part.name().to_string(), part.updates());
        }
        let mut files = BTreeMap::new();
        let mut save = |name: String, arrays: &Arrays| -> Result<(), TrainingError> {
            let file = temporary.join(&name);
            weights::write(&file, arrays, &BTreeMap::new()).map_err(|error| checkpoint_error(&file, error))?;
            files.insert(name, file_hash(&file)?);
            Ok(())
        };
        save(NETWORK.into(), &network)?;
        save(OPTIMIZER.into(), &optimizer)?;
        for (half_life, parts) in averages {
            save(average_file(*half_life), &on_host(parts, &network))?;
        }
        let summary = Summary {
            format: FORMAT,
            images: progress.images,
            step: progress.step,
            skipped: progress.skipped,
            config_hash: config_hash.to_string(),
            updates,
            teachers: method.teachers(),
            averages: averages.iter().map(|(half_life, _)| *half_life).collect(),
            tally: progress.tally.clone(),
            files,
        };
        let text = serde_json::to_string_pretty(&summary).map_err(|error| checkpoint_error(&path, error))?;
        write_atomically(&temporary.join(SUMMARY), text.as_bytes())?;
        sync(&temporary)?;
        if path.exists() {
            fs::remove_dir_all(&path).map_err(TrainingError::file(&path))?;
        }
        fs::rename(&temporary, &path).map_err(TrainingError::file(&path))?;
        sync(folder)?;
        write_atomically(&folder.join(LATEST), format!("{}\n", progress.images).as_bytes())?;
        retain(folder, progress.images, keep)?;
        Ok(path)
    }

    /// The newest good checkpoint under `folder`, if there is one.
    ///
    /// # Errors
    /// When `latest` names one that cannot be read.
    pub fn latest(folder: &Path) -> Result<Option<Self>, TrainingError> {
        let pointer = folder.join(LATEST);
        if !pointer.exists() {
            return Ok(None);
        }
        let name = fs::read_to_string(&pointer).map_err(TrainingError::file(&pointer))?;
        Self::open(&folder.join(name.trim())).map(Some)
    }

    /// Opens a checkpoint directory.
    ///
    /// # Errors
    /// When it is not a checkpoint of this format.
    pub fn open(path: &Path) -> Result<Self, TrainingError> {
        let file = path.join(SUMMARY);
        let text = fs::read_to_string(&file).map_err(TrainingError::file(&file))?;
        let summary: Summary = serde_json::from_str(&text).map_err(|error| checkpoint_error(path, error))?;
        if summary.format != FORMAT {
            return Err(checkpoint_error(path, format!("has format {}, this version reads {FORMAT}", summary.format)));
        }
        Ok(Self { path: path.to_path_buf(), summary })
    }

    /// Every checkpoint under `folder`, oldest first, as (images, path).
    pub fn list(folder: &Path) -> Vec<(u64, PathBuf)> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<(u64, PathBuf)> = entries
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
            .filter(|(_, path)| path.join(SUMMARY).is_file())
            .collect();
        found.sort();
        found
    }

    /// Checks that the checkpoint was written under the settings of this hash.
    ///
    /// # Errors
    /// When it was not.
    pub fn belongs_to(&self, config_hash: &str) -> Result<(), TrainingError> {
        if self.summary.config_hash == config_hash {
            return Ok(());
        }
        Err(checkpoint_error(&self.path, "belongs to a run with other settings"))
    }

    /// Brings a method and its averages to this checkpoint. Nothing may be missing, unknown or of another shape.
    ///
    /// # Errors
    /// When a file is damaged or does not match the method; the names are listed.
    pub fn restore(&self, method: &mut dyn Method, averages: &mut Averages) -> Result<Progress, TrainingError> {
        self.same_teachers(method)?;
        let mut network = self.read(NETWORK)?;
        let mut optimizer = self.read(OPTIMIZER)?;
        let summary = &self.summary;
        for part in method.parts_mut() {
            let name = part.name().to_string();
            part.load_parameters(take_prefix(&mut network, &name))?;
            let updates = summary
                .updates
                .get(&name)
                .ok_or_else(|| checkpoint_error(&self.path, format!("has no part `{name}`")))?;
            part.load_state(&take_prefix(&mut optimizer, &name), *updates)?;
        }
        self.nothing_left(NETWORK, &network)?;
        self.nothing_left(OPTIMIZER, &optimizer)?;
        for (half_life, parts) in averages {
            let mut arrays = self.average(*half_life)?;
            for (name, average) in parts {
                average.load(&take_prefix(&mut arrays, name))?;
            }
            self.nothing_left(&average_file(*half_life), &arrays)?;
        }
        Ok(Progress {
            images: summary.images,
            step: summary.step,
            skipped: summary.skipped,
            tally: summary.tally.clone(),
        })
    }

    /// Gives a method this checkpoint's weights, the trained ones or an average, without optimizer state.
    ///
    /// # Errors
    /// When the weights do not match the method, or there is no such average.
    pub fn load_weights(&self, method: &mut dyn Method, half_life: Option<u64>) -> Result<(), TrainingError> {
        let mut network = self.read(NETWORK)?;
        if let Some(half_life) = half_life {
            network.extend(self.average(half_life)?);
        }
        for part in method.parts_mut() {
            let name = part.name().to_string();
            part.load_parameters(take_prefix(&mut network, &name))?;
        }
        self.nothing_left(NETWORK, &network)
    }

    /// Gives a fresh method this checkpoint's trained weights to start from. Adapters that it does not have stay as
    /// they start; nothing else may be missing, unknown or of another shape.
    ///
    /// # Errors
    /// When the weights do not match the method.
    pub fn start(&self, method: &mut dyn Method) -> Result<(), TrainingError> {
        let mut network = self.read(NETWORK)?;
        for part in method.parts_mut() {
            let own = take_prefix(&mut network, part.name());
            let arrays = with_own_adapters(part, own)?;
            part.load_parameters(arrays)?;
        }
        self.nothing_left(NETWORK, &network)
    }

    /// Gives a lone network the weights of this checkpoint's only part.
    ///
    /// # Errors
    /// When the weights do not match it.
    pub fn load_module<M: Module>(&self, module: M, half_life: Option<u64>) -> Result<M, TrainingError> {
        let mut arrays = self.read(NETWORK)?;
        if let Some(half_life) = half_life {
            arrays.extend(self.average(half_life)?);
        }
        let unprefixed = arrays
            .into_iter()
            .map(|(name, array)| (name.split_once('/').map_or("", |(_, rest)| rest).to_string(), array));
        parameters::write(module, unprefixed.collect()).map_err(|error| checkpoint_error(&self.path, error))
    }

    /// A run that was trained with a teacher goes on with the same weights of it.
    fn same_teachers(&self, method: &dyn Method) -> Result<(), TrainingError> {
        for (run, hash) in method.teachers() {
            match self.summary.teachers.get(&run) {
                Some(before) if *before != hash => {
                    return Err(checkpoint_error(
                        &self.path,
                        format!(
                            "learned from other weights of {run} than it has now (sha256 {before}, now {hash}): bring \
                             that run back to them, or start anew under another name"
                        ),
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn average(&self, half_life: u64) -> Result<Arrays, TrainingError> {
        if !self.summary.averages.contains(&half_life) {
            return Err(checkpoint_error(
                &self.path,
                format!("has no average of half-life {half_life}; it has {:?}", self.summary.averages),
            ));
        }
        self.read(&average_file(half_life))
    }

    fn read(&self, name: &str) -> Result<Arrays, TrainingError> {
        let file = self.path.join(name);
        let expected = self
            .summary
            .files
            .get(name)
            .ok_or_else(|| checkpoint_error(&self.path, format!("does not list {name}")))?;
        if file_hash(&file)? != *expected {
            return Err(checkpoint_error(&file, "is damaged: its sha256 is not the recorded one"));
        }
        let (arrays, _) = weights::read(&file).map_err(|error| checkpoint_error(&file, error))?;
        Ok(arrays)
    }

    fn nothing_left(&self, name: &str, arrays: &Arrays) -> Result<(), TrainingError> {
        if arrays.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = arrays.keys().map(String::as_str).collect();
        Err(checkpoint_error(&self.path.join(name), format!("holds what this run does not have: {}", names.join(", "))))
    }

    /// One sha256 over every tensor (weights, moments, averages; names, shapes and bits) and the clock. Equal digests
    /// mean equal runs.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn digest(&self) -> Result<String, TrainingError> {
        let mut digest = Sha256::new();
        digest.update(self.summary.images.to_le_bytes());
        digest.update(self.summary.step.to_le_bytes());
        for (part, updates) in &self.summary.updates {
            digest.update(part.as_bytes());
            digest.update(updates.to_le_bytes());
        }
        for name in self.summary.files.keys() {
            digest.update(name.as_bytes());
            for (tensor, Array { shape, values }) in self.read(name)? {
                digest.update(tensor.as_bytes());
                shape.iter().for_each(|size| digest.update((*size as u64).to_le_bytes()));
                values.iter().for_each(|value| digest.update(value.to_le_bytes()));
            }
        }
        Ok(hexadecimal(&digest.finalize()))
    }
}

/// The tensors of a network without adapters, with those of the part where it has some.
pub(crate) fn with_own_adapters(part: &dyn Part, mut arrays: Arrays) -> Result<Arrays, TrainingError> {
    for (name, array) in part.parameters()? {
        if adapters::is_adapter(&name) {
            arrays.entry(name).or_insert(array);
        }
    }
    Ok(arrays)
}

fn average_file(half_life: u64) -> String {
    format!("average-{half_life}.safetensors")
}

fn checkpoint_error(path: &Path, message: impl ToString) -> TrainingError {
    TrainingError::Checkpoint { path: path.to_path_buf(), message: message.to_string() }
}

fn prefixed(part: &str, arrays: Arrays) -> impl Iterator<Item = (String, Array)> {
    arrays.into_iter().map(move |(name, array)| (format!("{part}/{name}"), array))
}

/// Takes the tensors of one part out of a file's.
fn take_prefix(arrays: &mut Arrays, part: &str) -> Arrays {
    let prefix = format!("{part}/");
    let names: Vec<String> = arrays.keys().filter(|name| name.starts_with(&prefix)).cloned().collect();
    names
        .into_iter()
        .filter_map(|name| arrays.remove(&name).map(|array| (name[prefix.len()..].to_string(), array)))
        .collect()
}

/// Averages on the host, with the shapes of the parameters they average.
fn on_host(parts: &BTreeMap<String, Average>, network: &Arrays) -> Arrays {
    let mut arrays = Arrays::new();
    for (part, average) in parts {
        for (name, tensor) in average.values() {
            let name = format!("{part}/{name}");
            let values: Vec<f32> = tensor.clone().into_data().iter::<f32>().collect();
            let shape = network.get(&name).map_or_else(|| vec![values.len()], |array| array.shape.clone());
            arrays.insert(name, Array { shape, values });
        }
    }
    arrays
}

fn retain(folder: &Path, newest: u64, keep: usize) -> Result<(), TrainingError> {
    let mut found = Checkpoint::list(folder);
    // What lies ahead of the clock belongs to a future that was cut off.
    found.retain(|(images, _)| *images <= newest);
    let surplus = found.len().saturating_sub(keep);
    for (_, path) in found.into_iter().take(surplus) {
        fs::remove_dir_all(&path).map_err(TrainingError::file(&path))?;
    }
    Ok(())
}

fn file_hash(path: &Path) -> Result<String, TrainingError> {
    let mut file = File::open(path).map_err(TrainingError::file(path))?;
    let mut digest = Sha256::new();
    std::io::copy(&mut file, &mut digest).map_err(TrainingError::file(path))?;
    Ok(hexadecimal(&digest.finalize()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a directory's entries durable.
fn sync(folder: &Path) -> Result<(), TrainingError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(TrainingError::file(folder))
}
