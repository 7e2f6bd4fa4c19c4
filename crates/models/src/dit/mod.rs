//! DiT: a transformer over patches, told time, class and caption in one of four ways (Peebles and Xie, 2023).

mod adaln;
mod block;
mod network;
mod pre_norm;
mod prior;

pub use adaln::{AdalnBlock, AdalnFinalLayer};
pub use block::{BlockDesign, DitBlock, FinalLayer, NormedCrossAttention};
pub use network::Dit;
pub use pre_norm::{PreNormBlock, PreNormFinalLayer};
pub use prior::PriorTargets;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::caption::CaptionConfig;
use crate::routing::RoutingConfig;
use crate::shape::DataShape;

/// A DiT. The defaults are those of DiT-S/2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DitConfig {
    /// Height and width of a patch, in pixels.
    pub patch: usize,
    /// Features of a token.
    pub width: usize,
    /// Blocks.
    pub depth: usize,
    /// How a block is told time, class and caption.
    pub block: BlockDesign,
    /// Attention heads.
    pub heads: usize,
    /// Hidden features of a block's two-layer network, over `width`.
    pub mlp_ratio: f64,
    /// Whether the lowest frequency of the time's sines and cosines is 1/10000, as in diffusers, and not the next on the
    /// way there, as in the paper's code.
    pub time_endpoint: bool,
    /// Whether the network has a class for "any", which guidance and label dropout need.
    pub null_class: bool,
    /// Whether the network gives a second set of channels, the variance of the reverse process.
    pub learned_variance: bool,
    /// Probability of dropout after attention and after the two-layer network (0 in the paper).
    pub dropout: f64,
    /// What blocks do with the time as a task; nothing where not given.
    pub routing: Option<RoutingConfig>,
    /// The caption encoder, for data with captions.
    pub caption: CaptionConfig,
}

impl Default for DitConfig {
    fn default() -> Self {
        Self {
            patch: 2,
            width: 384,
            depth: 12,
            block: BlockDesign::default(),
            heads: 6,
            mlp_ratio: 4.0,
            time_endpoint: false,
            null_class: true,
            learned_variance: false,
            dropout: 0.0,
            routing: None,
            caption: CaptionConfig::default(),
        }
    }
}

impl DitConfig {
    /// Every problem of these values for data of the given shape.
    pub fn validate(&self, shape: &DataShape) -> Problems {
        let mut problems = Problems::new();
        let (patch, width, heads) = (self.patch, self.width, self.heads);
        let cuts = |size: usize| patch > 0 && size >= patch && size.is_multiple_of(patch);
        problems.check(
            cuts(shape.height) && cuts(shape.width),
            "patch",
            format!("images of {} x {} cannot be cut into patches of {patch} x {patch}", shape.height, shape.width),
        );
        problems.check(
            width > 0 && width.is_multiple_of(4),
            "width",
            format!("{width} is not a multiple of 4: positions take a sine and a cosine for each of two axes"),
        );
        let divides = heads > 0 && width.is_multiple_of(heads);
        problems.check(divides, "heads", format!("{heads} heads do not divide width {width}"));
        problems.check(self.depth > 0, "depth", "must be at least 1");
        let hidden = self.mlp_ratio.is_finite() && self.hidden() > 0;
        problems.check(hidden, "mlp_ratio", "must leave at least one hidden feature");
        problems.check((0.0..1.0).contains(&self.dropout), "dropout", "must be at least 0 and below 1");
        if let Some(routing) = &self.routing {
            problems.nest("routing", routing.validate());
        }
        if shape.has_captions() {
            problems.nest("caption", self.caption.validate());
        }
        problems
    }

    /// Hidden features of a block's two-layer network.
    fn hidden(&self) -> usize {
        (self.width as f64 * self.mlp_ratio) as usize
    }
}

#[cfg(test)]
mod tests;
