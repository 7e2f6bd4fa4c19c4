//! What a record says about the data that it used.

use serde::{Deserialize, Serialize};

use crate::{Source, Split};

/// Which data a record is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the source: a card's name, `shapes`, a folder's name.
    pub name: String,
    /// Which part of it.
    pub split: Split,
    /// Number of examples.
    pub count: u64,
    /// Shape `[c, h, w]` of an example.
    pub shape: [usize; 3],
    /// Number of classes; 0 where there are none.
    pub classes: usize,
    /// sha256 of what defines the data.
    pub sha256: String,
}

impl Manifest {
    /// The manifest of an opened split.
    pub fn of(source: &dyn Source, split: Split) -> Self {
        Self {
            name: source.name().to_owned(),
            split,
            count: source.len(),
            shape: source.shape(),
            classes: source.class_names().len(),
            sha256: source.fingerprint(),
        }
    }
}
