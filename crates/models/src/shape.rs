use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the data look like to a network: the part of a network's shape that its configuration does not state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataShape {
    /// Channels of an image.
    pub channels: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Number of class labels; 0 for data without labels.
    #[serde(default)]
    pub classes: usize,
    /// Number of token ids, the special ones included ([`Vocabulary::size`](crate::Vocabulary::size)); 0 for data
    /// without captions.
    #[serde(default)]
    pub vocabulary: usize,
    /// Tokens of a caption, padding included; 0 for data without captions.
    #[serde(default)]
    pub caption_length: usize,
}

impl DataShape {
    /// Images without labels or captions.
    pub fn images(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width, classes: 0, vocabulary: 0, caption_length: 0 }
    }

    /// The same data with `classes` labels.
    pub fn with_classes(self, classes: usize) -> Self {
        Self { classes, ..self }
    }

    /// The same data with captions of `length` tokens out of `vocabulary`.
    pub fn with_captions(self, vocabulary: usize, length: usize) -> Self {
        Self { vocabulary, caption_length: length, ..self }
    }

    /// Whether the data have class labels.
    pub fn has_classes(&self) -> bool {
        self.classes > 0
    }

    /// Whether the data have captions.
    pub fn has_captions(&self) -> bool {
        self.vocabulary > 0 && self.caption_length > 0
    }
}

impl fmt::Display for DataShape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "images of {} x {} x {}", self.channels, self.height, self.width)?;
        if self.has_classes() {
            write!(formatter, " in {} classes", self.classes)?;
        }
        if self.has_captions() {
            write!(formatter, " with captions of {} tokens out of {}", self.caption_length, self.vocabulary)?;
        }
        Ok(())
    }
}
