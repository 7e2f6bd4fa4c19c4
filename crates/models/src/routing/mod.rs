//! Task routing: every time of a process is a task with a part of a network of its own.
//!
//! A block works on `m x`, and what it leaves over of its input, `(1 - m) x`, passes by. DTR's `m` is a fixed choice of
//! channels ([`masks`]), for the blocks of a DiT and the residual blocks of a UNet; Switch-DiT's is made by experts, of
//! which each time takes a few ([`experts`]), and a loss leads them to divide times among themselves ([`prior`]).

pub mod experts;
pub mod masks;
pub mod prior;

pub use experts::{Experts, ExpertsConfig};
pub use masks::{DtrConfig, Masks, RandomConfig};

use burn::module::Module;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use masks::BlockMasks;

use crate::conditioning::Context;
use crate::dual::Dual;
use crate::initialization::Initialization;

/// What a network's blocks do with the task that a time is. The time label of the process must count the tasks: `index`
/// with as many steps, or `thousand` for 1000 tasks; labels beyond the ends are those of the ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RoutingConfig {
    /// A window of channels that moves from the first to the last as noise grows, alike in all blocks (DTR).
    Dtr(DtrConfig),
    /// As many channels, drawn for each task and block: what DTR is compared with.
    Random(RandomConfig),
    /// Linear experts, of which each time takes a few (Switch-DiT).
    Experts(ExpertsConfig),
}

impl RoutingConfig {
    /// Every problem of these values.
    pub fn validate(&self) -> Problems {
        match self {
            Self::Dtr(config) => config.validate(),
            Self::Random(config) => config.validate(),
            Self::Experts(config) => config.validate(),
        }
    }
}

/// The routing of one block.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a network holds a few")]
pub enum Routing {
    /// Fixed channels.
    Masks(Masks),
    /// Learned.
    Experts(Experts),
}

impl Routing {
    /// Those of each of `blocks` blocks of so many channels, which share memory where they are alike.
    pub(crate) fn of_blocks(
        config: &RoutingConfig,
        channels: usize,
        blocks: usize,
        init: &mut Initialization,
    ) -> Vec<Self> {
        match config {
            RoutingConfig::Dtr(_) | RoutingConfig::Random(_) => {
                let mut masks = BlockMasks::new(config, init.device());
                (0..blocks).filter_map(|_| masks.next(channels)).map(Self::Masks).collect()
            }
            RoutingConfig::Experts(config) => {
                (0..blocks).map(|_| Self::Experts(Experts::new(config, channels, init))).collect()
            }
        }
    }

    /// Tokens `[b, n, d]` through `block`, which works on what the routing lets through.
    pub(crate) fn through(&self, x: Dual<3>, context: &Context, block: impl FnOnce(Dual<3>) -> Dual<3>) -> Dual<3> {
        let mask = match self {
            // A step function of the time, whose derivative is 0.
            Self::Masks(masks) => masks.of(context.time_label.clone()).unsqueeze_dim(1).into(), // [b, 1, d]
            Self::Experts(experts) => experts.mask(x.clone(), context.time.clone()),            // [b, n, d]
        };
        let seen = x.clone() * mask;
        block(seen.clone()) + (x - seen)
    }
}
