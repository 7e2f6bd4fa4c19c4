//! Cells: resolved configurations in folders named by the hash of their content.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{ExperimentError, Selection, text};

/// Digits of a cell's name: 64 bits, so that among a million cells two meet by chance once in ten million times.
const DIGITS: usize = 16;
/// The name that a configuration has while its own is computed.
pub(crate) const NAMELESS: &str = "cell";

/// One run or evaluation of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Its place among the cells of the sweep, from 0; runs that others need come first.
    pub number: usize,
    /// The hash of what it does, and the name of its folder.
    pub hash: String,
    /// What it does.
    pub kind: Kind,
    /// What a reader calls it: `network=dit seed=1`, or the name of a run that others need.
    pub label: String,
    /// Its levels by axis; empty for a run that others need.
    pub levels: Selection,
    /// Its seed.
    pub seed: u64,
    /// Whether it is there for others to use, and no result.
    pub prepared: bool,
    /// The cells that must be done before.
    pub needs: Vec<String>,
}

/// What a cell does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Kind {
    /// It trains; its folder is the run directory.
    Train,
    /// It evaluates another cell's run.
    Evaluate {
        /// Hash of that cell.
        run: String,
    },
}

/// The folder under which cells and sweeps are kept, `runs` unless told otherwise. Cells of equal content are one: two
/// sweeps that share a baseline make it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store under a folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a cell.
    pub fn cell(&self, hash: &str) -> PathBuf {
        self.root.join("cells").join(hash)
    }

    /// The hash of a nameless configuration in which other cells are named by their folders: that of its text with their
    /// hashes in place of the folders, so that it does not depend on where the store is.
    pub(crate) fn hash(&self, kind: &Kind, needs: &[String], nameless: &str) -> String {
        let mut digest = Sha256::new();
        if let Kind::Evaluate { run } = kind {
            digest.update(format!("evaluate {run}\n"));
        }
        let mut plain = nameless.to_owned();
        for need in needs {
            plain = plain.replace(&*self.cell(need).to_string_lossy(), &format!("@{need}"));
        }
        digest.update(plain);
        text::hexadecimal(&digest.finalize())[..DIGITS].to_owned()
    }

    /// Writes a cell's folder, if it is not there: `config.toml` and `cell.json`.
    pub(crate) fn write(&self, cell: &Cell, nameless: &str) -> Result<(), ExperimentError> {
        let folder = self.cell(&cell.hash);
        let config = folder.join("config.toml");
        if config.exists() {
            return self.verify(cell);
        }
        text::write(&folder.join("cell.json"), &text::json(cell))?;
        text::write(&config, renamed(nameless, NAMELESS, &cell.hash).as_bytes())
    }

    /// Checks that a cell's configuration is the one that its hash was made of.
    ///
    /// # Errors
    /// When it is not there or was changed.
    pub fn verify(&self, cell: &Cell) -> Result<(), ExperimentError> {
        let path = self.cell(&cell.hash).join("config.toml");
        let found = fs::read_to_string(&path).map_err(ExperimentError::file(&path))?;
        let nameless = renamed(&found, &cell.hash, NAMELESS);
        if self.hash(&cell.kind, &cell.needs, &nameless) == cell.hash {
            Ok(())
        } else {
            let folder = self.cell(&cell.hash);
            let message =
                format!("was changed since the sweep was expanded; remove {} to make it anew", folder.display());
            Err(ExperimentError::content(&path, message))
        }
    }
}

/// The configuration with another name.
fn renamed(config: &str, from: &str, to: &str) -> String {
    let line = |name: &str| format!("name = \"{name}\"\n");
    match config.starts_with(&line(from)) {
        true => config.replacen(&line(from), &line(to), 1),
        false => config.replacen(&format!("\n{}", line(from)), &format!("\n{}", line(to)), 1),
    }
}

impl Cell {
    /// Reads the cell of a folder.
    ///
    /// # Errors
    /// When it has none.
    pub fn read(folder: &Path) -> Result<Self, ExperimentError> {
        let path = folder.join("cell.json");
        let bytes = fs::read(&path).map_err(ExperimentError::file(&path))?;
        serde_json::from_slice(&bytes).map_err(|error| ExperimentError::content(&path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(store: &Store, needs: &[String], config: &str) -> Cell {
        let hash = store.hash(&Kind::Train, needs, config);
        let (label, levels, needs) = ("a".into(), Selection::new(), needs.to_vec());
        Cell { number: 0, hash, kind: Kind::Train, label, levels, seed: 1, prepared: false, needs }
    }

    #[test]
    fn a_changed_cell_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let config = "name = \"cell\"\nseed = 1\n\n[data]\nname = \"cell\"\n";
        let cell = cell(&store, &[], config);
        store.write(&cell, config).unwrap();
        let path = store.cell(&cell.hash).join("config.toml");
        let written = fs::read_to_string(&path).unwrap();
        assert_eq!(written, format!("name = \"{}\"\nseed = 1\n\n[data]\nname = \"cell\"\n", cell.hash));
        assert_eq!(Cell::read(&store.cell(&cell.hash)).unwrap(), cell);
        store.write(&cell, config).unwrap();
        fs::write(&path, written.replace("seed = 1", "seed = 2")).unwrap();
        assert!(store.verify(&cell).unwrap_err().to_string().contains("was changed"));
    }

    #[test]
    fn a_hash_does_not_depend_on_where_the_store_is() {
        let hash = |root: &str| {
            let store = Store::new(root);
            let needs = ["0123456789abcdef".to_owned()];
            let config = format!("name = \"cell\"\n[objective]\nteacher = {:?}\n", store.cell(&needs[0]));
            cell(&store, &needs, &config).hash
        };
        assert_eq!(hash("runs"), hash("/somewhere/else"));
        let store = Store::new("runs");
        let (train, evaluate) = (Kind::Train, Kind::Evaluate { run: "0123456789abcdef".into() });
        assert_ne!(store.hash(&train, &[], "seed = 1"), store.hash(&evaluate, &[], "seed = 1"));
    }
}
