//! The index of an expanded sweep: its cells by number, and the sweep that they came from.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Cell, ExperimentError, Store, Sweep, Tune, text};

/// `index.json` in the folder of an expanded sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// The tier that was expanded.
    pub tier: String,
    /// The sweep file, as it was named.
    pub file: PathBuf,
    /// What the sweep file said.
    pub sweep: Sweep,
    /// The search file whose trials these are; none for a sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tune: Option<Tune>,
    /// The cells in order of their numbers.
    pub cells: Vec<Cell>,
}

/// The folder of an expanded sweep.
pub fn sweep_folder(store: &Store, sweep: &str, tier: &str) -> PathBuf {
    store.root().join("sweeps").join(sweep).join(tier)
}

/// The folder of a search.
pub fn tune_folder(store: &Store, tune: &str, tier: &str) -> PathBuf {
    store.root().join("tunes").join(tune).join(tier)
}

impl Index {
    /// Writes it into the folder of its sweep, and returns that.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, store: &Store) -> Result<PathBuf, ExperimentError> {
        let folder = match &self.tune {
            None => sweep_folder(store, &self.sweep.name, &self.tier),
            Some(tune) => tune_folder(store, &tune.name, &self.tier),
        };
        text::write(&folder.join("index.json"), &text::json(self))?;
        Ok(folder)
    }

    /// Reads the index of a sweep's folder, and the store that it belongs to.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(folder: &Path) -> Result<(Self, Store), ExperimentError> {
        let path = folder.join("index.json");
        let bytes = fs::read(&path).map_err(ExperimentError::file(&path))?;
        let index = serde_json::from_slice(&bytes).map_err(|error| ExperimentError::content(&path, error))?;
        // `<root>/sweeps/<name>/<tier>`.
        let root = match folder.ancestors().nth(3) {
            Some(root) if root.as_os_str().is_empty() => PathBuf::from("."),
            Some(root) => root.to_path_buf(),
            None => folder.join("../../.."),
        };
        Ok((index, Store::new(root)))
    }

    /// The cell of a number.
    ///
    /// # Errors
    /// When there is none.
    pub fn cell(&self, number: usize) -> Result<&Cell, ExperimentError> {
        self.cells.get(number).ok_or_else(|| {
            let (name, count) = (&self.sweep.name, self.cells.len());
            ExperimentError::Asked(format!("{name} has {count} cells, from 0; there is no cell {number}"))
        })
    }
}
