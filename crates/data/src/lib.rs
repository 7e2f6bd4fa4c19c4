//! Data: sources, transforms, the loader, dataset cards and manifests.
//!
//! A [`Source`] is a numbered, immutable collection of [`Example`]s. It is opened from the `[data]` section of a
//! configuration and read through a loader, which turns the clock (the number of training images seen so far) into
//! [`Batch`]es. Nothing here keeps a state that would have to be saved: which example the loader shows as the n-th
//! training image, and how that example is augmented, are functions of the seed and of n.
//!
//! There are no tensors in this crate. Pixels are `f32` in -1..1, stored `[c, h, w]`.

pub mod error;

pub use error::DataError;

use serde::{Deserialize, Serialize};

/// One example of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Pixels `[c, h, w]` in -1..1.
    pub pixels: Vec<f32>,
    /// Class in `0..class_names().len()`, where the source has classes.
    pub class: Option<u32>,
    /// Caption, where the source has captions.
    pub caption: Option<String>,
}

/// A numbered, immutable collection of examples.
///
/// All examples have the same shape, and either all or none of them have a class, and likewise a caption.
/// `example` is a pure function of the index, so any number of threads may call it in any order.
pub trait Source: Send + Sync {
    /// Name that records carry: a card's name, `shapes`, a folder's name.
    fn name(&self) -> &str;

    /// Number of examples.
    fn len(&self) -> u64;

    /// Whether there are no examples at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shape `[c, h, w]` of every example.
    fn shape(&self) -> [usize; 3];

    /// Names of the classes, in the order of their numbers; empty where the source has no classes.
    fn class_names(&self) -> &[String];

    /// The example at `index`.
    ///
    /// # Errors
    /// [`DataError::Index`] unless `index < len()`, and whatever reading the example's file may give.
    fn example(&self, index: u64) -> Result<Example, DataError>;

    /// Lowercase hexadecimal sha256 of what defines the data: the contents of files, or the parameters of a
    /// procedure. Two sources with one fingerprint give equal examples at equal indices.
    fn fingerprint(&self) -> String;
}

/// Consecutive images of the clock, stacked.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Shape `[b, c, h, w]` of `pixels`.
    pub shape: [usize; 4],
    /// Pixels `[b, c, h, w]` in -1..1.
    pub pixels: Vec<f32>,
    /// One class an image, where the source has classes.
    pub classes: Option<Vec<u32>>,
    /// One caption an image, where the source has captions.
    pub captions: Option<Vec<String>>,
    /// Position on the clock of the first image; the others follow without a gap.
    pub first_image: u64,
}

/// Which part of the data a source is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// The examples that a model is trained on.
    Train,
    /// The examples that are held out.
    Test,
}

impl std::fmt::Display for Split {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}
