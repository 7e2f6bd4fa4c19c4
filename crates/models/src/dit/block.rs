//! The designs of a block (Peebles and Xie, 2023, section 3.2).

use burn::module::Module;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DitConfig;
use super::adaln::{AdalnBlock, AdalnFinalLayer};
use super::pre_norm::{PreNormBlock, PreNormFinalLayer};
use crate::conditioning::Context;
use crate::dual::Dual;
use crate::initialization::{Initialization, Start};
use crate::layers::{CrossAttention, LayerNorm};

/// Of the layer norms in blocks and before the last projection.
pub(super) const EPSILON: f64 = 1e-6;

/// How a block is told time, class and caption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlockDesign {
    /// Layer norms whose shift and scale come from the condition, and so does a gate on what is added to the tokens;
    /// all start at zero, so that the block starts as the identity.
    #[default]
    AdalnZero,
    /// The same without gates.
    Adaln,
    /// The condition's vectors are tokens beside those of the image.
    InContext,
    /// The condition's vectors are a sequence of their own, to which the image's tokens attend in every block.
    CrossAttention,
}

impl BlockDesign {
    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::AdalnZero => "adaln_zero",
            Self::Adaln => "adaln",
            Self::InContext => "in_context",
            Self::CrossAttention => "cross_attention",
        }
    }
}

/// A block of one design.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a network holds a few")]
pub enum DitBlock {
    /// With adaptive layer norms.
    Adaln(AdalnBlock),
    /// With plain ones, for tokens that hold the condition or attend to it.
    PreNorm(PreNormBlock),
}

impl DitBlock {
    pub(super) fn new(config: &DitConfig, captions: bool, init: &mut Initialization) -> Self {
        match config.block {
            BlockDesign::AdalnZero | BlockDesign::Adaln => Self::Adaln(AdalnBlock::new(config, captions, init)),
            BlockDesign::InContext | BlockDesign::CrossAttention => {
                Self::PreNorm(PreNormBlock::new(config, captions, init))
            }
        }
    }

    /// `[b, n, d]` to `[b, n, d]`.
    pub(super) fn forward(&self, x: Dual<3>, context: &Context) -> Dual<3> {
        match self {
            Self::Adaln(block) => block.forward(x, context),
            Self::PreNorm(block) => block.forward(x, context),
        }
    }
}

/// From tokens to the values of their patches, behind a layer norm that is adaptive where those of the blocks are.
/// The projection starts at zero.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a network holds one")]
pub enum FinalLayer {
    /// Behind an adaptive layer norm.
    Adaln(AdalnFinalLayer),
    /// Behind a plain one.
    PreNorm(PreNormFinalLayer),
}

impl FinalLayer {
    pub(super) fn new(config: &DitConfig, outputs: usize, init: &mut Initialization) -> Self {
        match config.block {
            BlockDesign::AdalnZero | BlockDesign::Adaln => Self::Adaln(AdalnFinalLayer::new(config, outputs, init)),
            BlockDesign::InContext | BlockDesign::CrossAttention => {
                Self::PreNorm(PreNormFinalLayer::new(config.width, outputs, init))
            }
        }
    }

    /// `[b, n, d]` to `[b, n, p p c]`.
    pub(super) fn forward(&self, x: Dual<3>, context: &Context) -> Dual<3> {
        match self {
            Self::Adaln(layer) => layer.forward(x, context),
            Self::PreNorm(layer) => layer.forward(x),
        }
    }
}

/// Attention of the normalized tokens to others, added to them.
#[derive(Module, Debug)]
pub struct NormedCrossAttention {
    /// Before attention.
    pub norm: LayerNorm,
    /// To the others.
    pub attention: CrossAttention,
}

impl NormedCrossAttention {
    /// To a caption. It starts as the identity.
    pub(super) fn to_caption(config: &DitConfig, init: &mut Initialization) -> Self {
        let DitConfig { width, heads, caption, .. } = config;
        Self {
            norm: LayerNorm::new(*width, init),
            attention: CrossAttention::new(*width, caption.width, *heads, Start::Zero, init),
        }
    }

    /// To the condition's vectors.
    pub(super) fn to_condition(config: &DitConfig, init: &mut Initialization) -> Self {
        let DitConfig { width, heads, .. } = config;
        Self {
            norm: LayerNorm::new(*width, init).with_epsilon(EPSILON),
            attention: CrossAttention::new(*width, *width, *heads, Start::Xavier, init),
        }
    }

    /// `[b, n, d]` to `[b, n, d]`, looking at `others` `[b, m, e]` but for those that `mask` `[b, m]` hides.
    pub(super) fn forward(&self, x: Dual<3>, others: Dual<3>, mask: Option<Tensor<2>>) -> Dual<3> {
        x.clone() + self.attention.forward(self.norm.forward(x), others, mask)
    }
}

/// Tokens `[b, n, d]` after attention to the caption, where there is one.
pub(super) fn to_caption(layer: Option<&NormedCrossAttention>, x: Dual<3>, context: &Context) -> Dual<3> {
    match (layer, &context.caption) {
        (Some(layer), Some(caption)) => layer.forward(x, caption.tokens.clone().into(), Some(caption.mask.clone())),
        _ => x,
    }
}
