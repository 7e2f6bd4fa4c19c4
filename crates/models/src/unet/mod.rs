//! The UNet of ADM: residual blocks and attention between two halves of a pyramid (Dhariwal and Nichol, 2021).

mod attention;
mod block_config;
mod network;
mod residual;

pub use attention::{AttentionBlock, CaptionAttentionBlock};
pub(crate) use block_config::{BlockConfig, groups_of};
pub use network::{Layer, Unet};
pub use residual::{Downsample, ResidualBlock, Upsample};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::caption::CaptionConfig;
use crate::initialization::Start;
use crate::routing::RoutingConfig;
use crate::shape::DataShape;

/// A UNet in ADM's layout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UnetConfig {
    /// Side of the squares of pixels that the first and last convolutions take as one; above 1 the pyramid starts at
    /// a smaller size, which saves much of its cost (as in Hoogeboom et al. 2023).
    pub patch: usize,
    /// Channels of the first level before its multiplier; also the sines and cosines of the time label, so an even number.
    pub channels: usize,
    /// Features of the vector of time and class that every block is told; four times `channels` where not given.
    pub embedding: Option<usize>,
    /// Channels of each level over `channels`. Every level after the first has half the height and width.
    pub multipliers: Vec<usize>,
    /// Residual blocks of each level (one more on the way up).
    pub blocks: usize,
    /// Heights of the feature maps that have attention, in pixels; those that no level has say nothing. The middle
    /// always has attention.
    pub attention: Vec<usize>,
    /// Attention heads, unless `head_channels` is given.
    pub heads: usize,
    /// Channels of a head; decides the number of heads where given.
    pub head_channels: Option<usize>,
    /// In which order a projection to queries, keys and values holds them.
    pub attention_order: AttentionOrder,
    /// Whether time and condition scale and shift the normalized features of a block, or are only added before.
    pub scale_shift_norm: bool,
    /// Whether a residual block does the halving and doubling between levels, or a strided convolution and a plain one.
    pub residual_resample: bool,
    /// Groups of channels in each normalization, at the most.
    pub groups: usize,
    /// Channels of a group, at the least: few channels make fewer groups (4 in EDM's networks).
    pub group_channels: usize,
    /// Numbers that tell the network how its image was augmented (9 in EDM); 0 where images are not.
    pub augmentation: usize,
    /// Probability of dropout in each residual block.
    pub dropout: f64,
    /// Whether the network has a class for "any", which guidance and label dropout need.
    pub null_class: bool,
    /// Whether the network gives a second set of channels, the variance of the reverse process.
    pub learned_variance: bool,
    /// What residual blocks do with the time as a task, `dtr` or `random`; nothing where not given.
    pub routing: Option<RoutingConfig>,
    /// The caption encoder, for data with captions.
    pub caption: CaptionConfig,
}

/// How the packed projection of attention is laid out; matters to weights made elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttentionOrder {
    /// All queries, all keys, all values; heads inside each (ADM's "new" order).
    #[default]
    PartsFirst,
    /// Head after head, each with its query, key and value (ADM's "legacy" order).
    HeadsFirst,
    /// Head after head, in each feature after feature, of which each is a query's, a key's and a value's (EDM's order).
    PartsLast,
}

impl Default for UnetConfig {
    fn default() -> Self {
        Self {
            patch: 1,
            channels: 64,
            embedding: None,
            multipliers: vec![1, 2, 2],
            blocks: 2,
            attention: vec![16, 14, 8, 7],
            heads: 4,
            head_channels: None,
            attention_order: AttentionOrder::default(),
            scale_shift_norm: true,
            residual_resample: true,
            groups: 32,
            group_channels: 1,
            augmentation: 0,
            dropout: 0.0,
            null_class: true,
            learned_variance: false,
            routing: None,
            caption: CaptionConfig::default(),
        }
    }
}

impl UnetConfig {
    /// Every problem of these values for data of the given shape.
    pub fn validate(&self, shape: &DataShape) -> Problems {
        let mut problems = Problems::new();
        let channels = self.channels;
        problems.check(
            channels > 0 && channels.is_multiple_of(2),
            "channels",
            format!("{channels} is not an even number above 0"),
        );
        problems.check(self.embedding != Some(0), "embedding", "must be at least 1");
        problems.check(!self.multipliers.is_empty(), "multipliers", "must name at least one level");
        problems.check(self.multipliers.iter().all(|m| *m > 0), "multipliers", "must all be at least 1");
        problems.check(self.blocks > 0, "blocks", "must be at least 1");
        problems.check((0.0..1.0).contains(&self.dropout), "dropout", "must be at least 0 and below 1");

        let halvings = self.multipliers.len().saturating_sub(1);
        problems.check(self.patch > 0, "patch", "must be at least 1");
        let factor = 1usize.checked_shl(halvings as u32).unwrap_or(0).saturating_mul(self.patch);
        let halves = |size: usize| factor > 0 && size >= factor && size.is_multiple_of(factor);
        problems.check(
            halves(shape.height) && halves(shape.width),
            "multipliers",
            format!(
                "images of {} x {} in patches of {} cannot be halved {halvings} times",
                shape.height, shape.width, self.patch
            ),
        );

        let widths: Vec<usize> = self.levels(shape).map(|level| level.width).collect();
        if let Some(problem) = group_problem(&widths, self.groups, self.group_channels) {
            problems.push("groups", problem);
        }
        let (key, size) = match self.head_channels {
            Some(size) => ("head_channels", size),
            None => ("heads", self.heads),
        };
        let attends = |level: &Level| level.is_last || self.attention.contains(&level.height);
        let divides = |level: &Level| size > 0 && level.width.is_multiple_of(size);
        if let Some(Level { width, .. }) = self.levels(shape).find(|level| attends(level) && !divides(level)) {
            problems.push(key, format!("{size} does not divide {width} channels"));
        }
        match &self.routing {
            Some(RoutingConfig::Experts(_)) => {
                problems.push("routing", "`experts` are for a DiT: a UNet takes `dtr` or `random`");
            }
            Some(routing) => {
                problems.nest("routing", routing.validate());
            }
            None => {}
        }
        if shape.has_captions() {
            problems.nest("caption", self.caption.validate());
        }
        problems
    }

    /// The levels, from the image down.
    fn levels(&self, shape: &DataShape) -> impl Iterator<Item = Level> {
        let (channels, count, mut height) = (self.channels, self.multipliers.len(), shape.height / self.patch.max(1));
        self.multipliers.iter().enumerate().map(move |(index, multiplier)| {
            let level = Level { width: multiplier * channels, height, is_last: index + 1 == count };
            height /= 2;
            level
        })
    }

    /// Features of the vector of time and class.
    fn embedding(&self) -> usize {
        self.embedding.unwrap_or(4 * self.channels)
    }

    /// How its blocks are made: second convolutions and projections start at zero, so that each starts as (a projection
    /// of) its input.
    fn block(&self) -> BlockConfig<'static> {
        BlockConfig {
            embedding: self.embedding(),
            groups: self.groups,
            group_channels: self.group_channels,
            epsilon: 1e-5,
            scale_shift: self.scale_shift_norm,
            filter: &[1.0, 1.0],
            projects_resampled: false,
            gain: 1.0,
            heads: self.heads,
            head_channels: self.head_channels,
            order: self.attention_order,
            dropout: self.dropout,
            start: Start::FanIn,
            qkv_start: Start::FanIn,
            last_start: Start::Zero,
        }
    }
}

/// What is wrong with groups for a pyramid whose levels have `widths` channels; those of two levels are normalized side
/// by side, too.
pub(crate) fn group_problem(widths: &[usize], groups: usize, group_channels: usize) -> Option<String> {
    if groups == 0 || group_channels == 0 {
        return Some("groups and their channels must be at least 1".into());
    }
    let joined = widths.iter().flat_map(|one| widths.iter().map(move |other| one + other));
    let undivided = widths.iter().copied().chain(joined).find_map(|channels| {
        let count = groups_of(channels, groups, group_channels).max(1);
        let divides = channels >= group_channels && channels.is_multiple_of(count);
        (!divides).then_some((count, channels))
    });
    undivided.map(|(count, channels)| format!("{count} groups do not divide {channels} channels"))
}

/// One level of the pyramid.
struct Level {
    /// Channels of its features.
    width: usize,
    /// Rows of its features.
    height: usize,
    is_last: bool,
}

#[cfg(test)]
mod tests;
