//! The UNet of score SDEs, DDPM++ and NCSN++ (Song et al., 2021), as EDM has it (Karras et al., 2022: `SongUNet`).
//!
//! Beside ADM's ([`unet`](crate::unet)): sums of two are divided by the square root of 2, blocks that halve and double do
//! so by a filter, attention has one head and, on the way up, stands in the last block of a level only. NCSN++ also
//! tells every level a halved image, and knows noise levels by random frequencies.

mod conditioning;
mod network;

pub use conditioning::{SongConditioning, TimeTable};
pub use network::{Auxiliary, DecoderLevel, EncoderLevel, Output, SongBlock, SongUnet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::initialization::Start;
use crate::shape::DataShape;
use crate::unet::{AttentionOrder, BlockConfig, group_problem};

/// Groups of a normalization at the most, and channels of one at the least.
const GROUPS: (usize, usize) = (32, 4);

/// A UNet in the layout of DDPM++ and NCSN++. The defaults are DDPM++ on CIFAR-10 as EDM trains it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SongUnetConfig {
    /// Channels before the multipliers; an even number.
    pub channels: usize,
    /// Channels of each level over `channels`. Every level after the first has half the height and width.
    pub multipliers: Vec<usize>,
    /// Features of the vector of time and class that every block is told; four times `channels` where not given.
    pub embedding: Option<usize>,
    /// Residual blocks of each level (one more on the way up).
    pub blocks: usize,
    /// Heights of the feature maps that have attention, in pixels. The middle always has attention.
    pub attention: Vec<usize>,
    /// How the time label is told.
    pub time_features: TimeFeatures,
    /// Sines and cosines of the time label; `channels` where not given (twice as many in NCSN++).
    pub time_width: Option<usize>,
    /// What levels on the way down are told beside the features of the level above.
    pub encoder: Encoder,
    /// Where the output is made.
    pub decoder: Decoder,
    /// Taps of the filter that images are halved and doubled with; an even number (`[1, 3, 3, 1]` in NCSN++).
    pub filter: Vec<f64>,
    /// Numbers that tell the network how its image was augmented (9 in EDM); 0 where images are not.
    pub augmentation: usize,
    /// Probability of dropout in each residual block.
    pub dropout: f64,
    /// Whether the network gives a second set of channels, the variance of the reverse process.
    pub learned_variance: bool,
}

/// How a time label becomes features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TimeFeatures {
    /// Sines and cosines at geometrically spaced frequencies, from 1 to 1/10000 (DDPM++).
    #[default]
    Sinusoidal,
    /// Sines and cosines at random frequencies, for labels that are logarithms of noise levels (NCSN++).
    Fourier {
        /// Standard deviation of the frequencies, in periods.
        #[serde(default = "sixteen")]
        scale: f64,
    },
}

fn sixteen() -> f64 {
    16.0
}

/// What levels on the way down are told beside the features of the level above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoder {
    /// Nothing (DDPM++).
    #[default]
    Standard,
    /// The image itself, halved.
    Skip,
    /// A halving convolution of what the last level was told (NCSN++).
    Residual,
}

/// Where the output is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decoder {
    /// By the last level.
    #[default]
    Standard,
    /// By every level, each adding to the doubled output of the smaller ones.
    Skip,
}

impl Default for SongUnetConfig {
    fn default() -> Self {
        Self {
            channels: 128,
            multipliers: vec![2, 2, 2],
            embedding: None,
            blocks: 4,
            attention: vec![16],
            time_features: TimeFeatures::default(),
            time_width: None,
            encoder: Encoder::default(),
            decoder: Decoder::default(),
            filter: vec![1.0, 1.0],
            augmentation: 0,
            dropout: 0.1,
            learned_variance: false,
        }
    }
}

impl SongUnetConfig {
    /// Every problem of these values for data of the given shape.
    pub fn validate(&self, shape: &DataShape) -> Problems {
        let mut problems = Problems::new();
        let channels = self.channels;
        problems.check(channels > 0, "channels", "must be at least 1");
        let features = self.time_width();
        problems.check(
            features >= 4 && features.is_multiple_of(2),
            if self.time_width.is_some() { "time_width" } else { "channels" },
            format!("{features} is not an even number of sines and cosines, at least 4"),
        );
        problems.check(self.embedding != Some(0), "embedding", "must be at least 1");
        problems.check(!self.multipliers.is_empty(), "multipliers", "must name at least one level");
        problems.check(self.multipliers.iter().all(|m| *m > 0), "multipliers", "must all be at least 1");
        problems.check(self.blocks > 0, "blocks", "must be at least 1");
        problems.check((0.0..1.0).contains(&self.dropout), "dropout", "must be at least 0 and below 1");
        if let TimeFeatures::Fourier { scale } = self.time_features {
            problems.check(scale > 0.0 && scale.is_finite(), "time_features.scale", "must be finite and positive");
        }
        let sum: f64 = self.filter.iter().sum();
        problems.check(
            !self.filter.is_empty() && self.filter.len().is_multiple_of(2) && sum.is_finite() && sum != 0.0,
            "filter",
            "must be an even number of taps that do not add up to 0",
        );
        let halvings = self.multipliers.len().saturating_sub(1);
        let factor = 1usize.checked_shl(halvings as u32).unwrap_or(0);
        let halves = |size: usize| factor > 0 && size >= factor && size.is_multiple_of(factor);
        problems.check(
            halves(shape.height) && halves(shape.width),
            "multipliers",
            format!("images of {} x {} cannot be halved {halvings} times", shape.height, shape.width),
        );
        let widths: Vec<usize> =
            std::iter::once(channels).chain(self.multipliers.iter().map(|m| m * channels)).collect();
        if let Some(problem) = group_problem(&widths, GROUPS.0, GROUPS.1) {
            problems.push("channels", problem);
        }
        problems.check(!shape.has_captions(), "type", "a Song UNet cannot read captions; use `unet` or `dit`");
        problems
    }

    /// Sines and cosines of the time label.
    fn time_width(&self) -> usize {
        self.time_width.unwrap_or(self.channels)
    }

    /// Features of the vector of time and class.
    fn embedding(&self) -> usize {
        self.embedding.unwrap_or(4 * self.channels)
    }

    /// How its blocks are made: second convolutions and projections start near zero.
    fn block(&self) -> BlockConfig<'_> {
        BlockConfig {
            embedding: self.embedding(),
            groups: GROUPS.0,
            group_channels: GROUPS.1,
            epsilon: 1e-6,
            scale_shift: false,
            filter: &self.filter,
            projects_resampled: true,
            gain: 0.5f64.sqrt(),
            heads: 1,
            head_channels: None,
            order: AttentionOrder::PartsLast,
            dropout: self.dropout,
            start: Start::Xavier,
            qkv_start: Start::XavierTimes(0.2f32.sqrt()),
            last_start: NEARLY_ZERO,
        }
    }
}

/// Of each block's last layer and of the output's.
const NEARLY_ZERO: Start = Start::XavierTimes(1e-5);

#[cfg(test)]
mod tests;
