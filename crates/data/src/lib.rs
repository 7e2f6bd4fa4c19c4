//! Data: sources, transforms, the loader, dataset cards and manifests.
//!
//! A [`Source`] is a numbered, immutable collection of [`Example`]s. It is opened from the `[data]` section of a
//! configuration and read through a loader, which turns the clock (the number of training images seen so far) into
//! [`Batch`]es. Nothing here keeps a state that would have to be saved: which example the loader shows as the n-th
//! training image, and how that example is augmented, are functions of the seed and of n.
//!
//! There are no tensors in this crate. Pixels are `f32` in -1..1, stored `[c, h, w]`.

pub mod augmentation;
pub mod card;
pub mod config;
pub mod contact_sheet;
pub mod contents;
pub mod digest;
pub mod download;
pub mod error;
pub mod loader;
pub mod manifest;
pub mod noise;
pub mod shapes;
pub mod sources;
pub mod store;
pub mod stream;
pub mod toy2d;
pub mod transform;

pub use augmentation::Augmentation;
pub use card::{Card, card, cards};
pub use config::{CardConfig, DataConfig, Outline, SourceConfig};
pub use contact_sheet::ContactSheet;
pub use download::Progress;
pub use error::DataError;
pub use loader::{Loader, LoaderConfig};
pub use manifest::Manifest;
pub use sources::folder::FolderConfig;
pub use store::{State, Store};
pub use stream::BatchStream;

use std::ops::Range;

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

    /// Every word that captions are made of, in a fixed order; empty where the source has no captions.
    fn vocabulary(&self) -> &[String] {
        &[]
    }

    /// Words of the longest caption; 0 where the source has no captions.
    fn longest_caption(&self) -> usize {
        0
    }

    /// Centres and common standard deviation of the modes, where the examples are points in the plane around such: of a
    /// mixture of round normal distributions, or of the fields of a board, each of which holds the circle of three
    /// deviations.
    fn modes(&self) -> Option<(Vec<[f64; 2]>, f64)> {
        None
    }

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

impl Batch {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.shape[0]
    }

    /// Whether there are no images at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ranges of at most `size` images (at least 1) that cover the batch in order.
    pub fn chunks(&self, size: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (count, size) = (self.len(), size.max(1));
        (0..count).step_by(size).map(move |start| start..(start + size).min(count))
    }

    /// The images of a range, at their own positions on the clock.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let [_, c, h, w] = self.shape;
        let image = c * h * w;
        Self {
            shape: [range.len(), c, h, w],
            pixels: self.pixels[range.start * image..range.end * image].to_vec(),
            classes: self.classes.as_ref().map(|classes| classes[range.clone()].to_vec()),
            captions: self.captions.as_ref().map(|captions| captions[range.clone()].to_vec()),
            first_image: self.first_image + range.start as u64,
        }
    }
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
