//! Blocks of a plain vision transformer, which know the condition by tokens: in-context conditioning and
//! cross-attention (section 3.2).

use burn::module::Module;

use super::DitConfig;
use super::block::{BlockDesign, EPSILON, NormedCrossAttention, to_caption};
use crate::conditioning::Context;
use crate::dual::Dual;
use crate::initialization::{Initialization, Start};
use crate::layers::{Dropout, LayerNorm, Linear, Mlp, SelfAttention};

/// Attention and a two-layer network, each on the normalized tokens and added to them.
#[derive(Module, Debug)]
pub struct PreNormBlock {
    /// Before attention.
    pub attention_norm: LayerNorm,
    /// Tokens among themselves; in context, the condition's are among them.
    pub attention: SelfAttention,
    /// Tokens to the condition's vectors, where these are a sequence of their own.
    pub condition_attention: Option<NormedCrossAttention>,
    /// Tokens to the caption, for data with captions.
    pub cross_attention: Option<NormedCrossAttention>,
    /// Before the two-layer network.
    pub mlp_norm: LayerNorm,
    /// `d -> hidden -> d`.
    pub mlp: Mlp,
    dropout: (Dropout, Dropout),
}

impl PreNormBlock {
    pub(super) fn new(config: &DitConfig, captions: bool, init: &mut Initialization) -> Self {
        let width = config.width;
        let attends = config.block == BlockDesign::CrossAttention;
        Self {
            attention_norm: LayerNorm::new(width, init).with_epsilon(EPSILON),
            attention: SelfAttention::new(width, config.heads, Start::Xavier, init),
            condition_attention: attends.then(|| NormedCrossAttention::to_condition(config, init)),
            cross_attention: captions.then(|| NormedCrossAttention::to_caption(config, init)),
            mlp_norm: LayerNorm::new(width, init).with_epsilon(EPSILON),
            mlp: Mlp::new(width, config.hidden(), width, Start::Xavier, init),
            dropout: (init.dropout(config.dropout), init.dropout(config.dropout)),
        }
    }

    /// `[b, n, d]` to `[b, n, d]`.
    pub(super) fn forward(&self, x: Dual<3>, context: &Context) -> Dual<3> {
        let h = self.attention.forward(self.attention_norm.forward(x.clone())); // [b, n, d]
        let x = x + self.dropout.0.forward(h, context.dropout);

        let x = match &self.condition_attention {
            Some(layer) => layer.forward(x, context.tokens(), None),
            None => x,
        };
        let x = to_caption(self.cross_attention.as_ref(), x, context);

        let h = self.mlp.forward_gelu(self.mlp_norm.forward(x.clone())); // [b, n, d]
        x + self.dropout.1.forward(h, context.dropout)
    }
}

/// The layer after the last block, with a plain layer norm.
#[derive(Module, Debug)]
pub struct PreNormFinalLayer {
    /// Before the projection.
    pub norm: LayerNorm,
    /// `[d] -> [p p c]`.
    pub projection: Linear,
}

impl PreNormFinalLayer {
    pub(super) fn new(width: usize, outputs: usize, init: &mut Initialization) -> Self {
        Self {
            norm: LayerNorm::new(width, init).with_epsilon(EPSILON),
            projection: Linear::new(width, outputs, Start::Zero, init),
        }
    }

    /// `[b, n, d]` to `[b, n, p p c]`.
    pub(super) fn forward(&self, x: Dual<3>) -> Dual<3> {
        self.projection.forward(self.norm.forward(x))
    }
}
