//! What can go wrong with data, each with what to do about it.

use std::path::PathBuf;

/// An error about data. Its message names the file, or the key, and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder could not be read or written.
    #[error("cannot read or write `{}`: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A file is not what its format says: corrupt, truncated, of another format, or with a value out of range.
    #[error("`{}`: {reason}; {help}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
        /// What to do.
        help: String,
    },

    /// A file's sha256 is not the one that the dataset's card states.
    #[error(
        "`{}` is damaged or another version: the card `{card}` expects sha256 {expected}, found {found}; \
         delete the file and run `sinter data prepare {card}`, or put the right one in its place",
        path.display()
    )]
    Checksum {
        /// Name of the card.
        card: String,
        /// The file, or the folder whose tree was hashed.
        path: PathBuf,
        /// The card's sha256.
        expected: String,
        /// The file's sha256.
        found: String,
    },

    /// Files of a dataset are not on this machine and could not be downloaded.
    #[error("{0}")]
    Missing(Box<Missing>),

    /// There is no card with this name.
    #[error("no dataset card is named `{name}`{}; `sinter data list` shows all cards",
        nearest.as_ref().map(|nearest| format!(" (did you mean `{nearest}`?)")).unwrap_or_default())]
    UnknownCard {
        /// The name asked for.
        name: String,
        /// The nearest name that exists.
        nearest: Option<String>,
    },

    /// A download failed.
    #[error("downloading {url} failed: {reason}")]
    Download {
        /// Address of the file.
        url: String,
        /// What went wrong.
        reason: String,
    },

    /// An example was asked for beyond the end of its source.
    #[error("`{name}` has {len} examples, so there is none at index {index}")]
    Index {
        /// Name of the source.
        name: String,
        /// The index asked for.
        index: u64,
        /// Number of examples.
        len: u64,
    },

    /// The configuration asks for something that this data cannot give.
    #[error("{key}: {reason}")]
    Unsuitable {
        /// Path of the configuration key.
        key: String,
        /// What does not fit, and what would.
        reason: String,
    },

    /// The `[data]` section has problems.
    #[error(transparent)]
    Config(#[from] sinter_config::Problems),

    /// A worker thread of the loader ended without a result.
    #[error("a data loader thread ended unexpectedly while loading images {first_image}.. of `{name}`")]
    Worker {
        /// Name of the source.
        name: String,
        /// First image of the batch that did not come.
        first_image: u64,
    },
}

/// A file that a dataset needs, as a person who looks for it must know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingFile {
    /// Path below the dataset's folder.
    pub name: String,
    /// Its sha256, where the card knows it.
    pub sha256: Option<String>,
}

impl std::fmt::Display for MissingFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.sha256 {
            Some(sha256) => write!(formatter, "{}  (sha256 {sha256})", self.name),
            None => formatter.write_str(&self.name),
        }
    }
}

/// Which files of a dataset are missing, where they were looked for and how to get them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Name of the card.
    pub card: String,
    /// The files.
    pub files: Vec<MissingFile>,
    /// One file that would do instead of them.
    pub archive: Option<MissingFile>,
    /// Folders in which the files were looked for; the first of them is a good place to put them.
    pub searched: Vec<PathBuf>,
    /// How to obtain the files by hand, from the card.
    pub obtain: String,
    /// Why they were not downloaded.
    pub download: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(formatter, "files of the dataset `{}` are missing:", self.card)?;
        for file in &self.files {
            writeln!(formatter, "  {file}")?;
        }
        if let Some(archive) = &self.archive {
            writeln!(formatter, "or, instead of them:\n  {archive}")?;
        }
        writeln!(formatter, "put them in one of these folders (looked for in this order):")?;
        for folder in &self.searched {
            writeln!(formatter, "  {}", folder.display())?;
        }
        writeln!(formatter, "how to get them: {}", self.obtain)?;
        write!(formatter, "not downloaded: {}", self.download)
    }
}

impl DataError {
    /// A file or folder that the operating system would not let us read or write.
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    /// A file that is not what it should be, and that only another copy can replace.
    pub(crate) fn corrupt(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Corrupt { path: path.into(), reason: reason.into(), help: "replace it with an undamaged copy".to_owned() }
    }
}
