use crate::initialization::{Initialization, Start};
use crate::layers::GroupNorm;

use super::AttentionOrder;

/// How the residual and attention blocks of one pyramid are made: all but their channels.
#[derive(Clone, Debug)]
pub(crate) struct BlockConfig<'a> {
    /// Features of the vector of time and condition.
    pub(crate) embedding: usize,
    /// Groups of each normalization, at the most.
    pub(crate) groups: usize,
    /// Channels of a group, at the least.
    pub(crate) group_channels: usize,
    /// Of the normalizations.
    pub(crate) epsilon: f64,
    /// Whether time and condition scale and shift normalized features, or are only added before.
    pub(crate) scale_shift: bool,
    /// Taps of the filter of halving and doubling.
    pub(crate) filter: &'a [f64],
    /// Whether a block that halves or doubles projects what it carries around even if its channels stay.
    pub(crate) projects_resampled: bool,
    /// Factor on every sum of a block's input and what it makes of it.
    pub(crate) gain: f64,
    /// Attention heads, where a head's channels are not given.
    pub(crate) heads: usize,
    /// Channels of a head.
    pub(crate) head_channels: Option<usize>,
    /// How queries, keys and values are packed.
    pub(crate) order: AttentionOrder,
    /// Probability of dropout in residual blocks.
    pub(crate) dropout: f64,
    /// Of all layers but the next two.
    pub(crate) start: Start,
    /// Of the projections to queries, keys and values.
    pub(crate) qkv_start: Start,
    /// Of each block's last layer.
    pub(crate) last_start: Start,
}

impl BlockConfig<'_> {
    /// A normalization of so many channels.
    pub(crate) fn norm(&self, channels: usize, init: &mut Initialization) -> GroupNorm {
        let groups = groups_of(channels, self.groups, self.group_channels);
        GroupNorm::new(channels, groups, init).with_epsilon(self.epsilon)
    }

    /// Attention heads of a layer of `channels`.
    pub(crate) fn heads_of(&self, channels: usize) -> usize {
        self.head_channels.map_or(self.heads, |size| channels / size)
    }
}

/// At most `groups`, of at least `group_channels` channels each.
pub(crate) fn groups_of(channels: usize, groups: usize, group_channels: usize) -> usize {
    groups.min(channels / group_channels)
}
