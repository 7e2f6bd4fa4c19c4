use burn::module::Module;
use burn::tensor::Tensor;
use sinter_kernels as kernels;

use super::{AttentionOrder, UnetConfig};
use crate::caption::EncodedCaption;
use crate::initialization::{Initialization, Start};
use crate::layers::{CrossAttention, GroupNorm, Linear};

/// Attention among the pixels of a feature map, added to it. The projection starts at zero.
#[derive(Module, Debug)]
pub struct AttentionBlock {
    /// Before attention.
    pub norm: GroupNorm,
    /// `[c] -> [3 c]`.
    pub qkv: Linear,
    /// `[c] -> [c]`.
    pub projection: Linear,
    heads: usize,
    #[module(skip)]
    order: AttentionOrder,
}

impl AttentionBlock {
    pub(super) fn new(channels: usize, config: &UnetConfig, init: &mut Initialization) -> Self {
        Self {
            norm: GroupNorm::new(channels, config.groups, init),
            qkv: Linear::new(channels, 3 * channels, Start::FanIn, init),
            projection: Linear::new(channels, channels, Start::Zero, init),
            heads: config.heads_of(channels),
            order: config.attention_order,
        }
    }

    /// `[b, c, h, w]` to `[b, c, h, w]`.
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let tokens = to_tokens(self.norm.forward(x.clone())); // [b, n, c]
        let (weight, bias) = self.packed_by_part();
        let qkv = kernels::linear(tokens, weight, Some(bias)); // [b, n, 3 c]
        let out = self.projection.forward(kernels::packed_attention(qkv, self.heads)); // [b, n, c]
        let shape = x.dims();
        x + to_image(out, shape)
    }

    /// The projection with its columns in the order (query, key, value), head, feature.
    fn packed_by_part(&self) -> (Tensor<2>, Tensor<1>) {
        let (weight, bias) = (self.qkv.weight.val(), self.qkv.bias.val());
        match self.order {
            AttentionOrder::PartsFirst => (weight, bias),
            AttentionOrder::HeadsFirst => {
                let [channels, packed] = weight.dims();
                let size = packed / (3 * self.heads);
                let weight = weight.reshape([channels, self.heads, 3, size]).swap_dims(1, 2);
                let bias = bias.reshape([self.heads, 3, size]).swap_dims(0, 1);
                (weight.reshape([channels, packed]), bias.reshape([packed]))
            }
        }
    }
}

/// Attention of the pixels of a feature map to a caption, added to it.
#[derive(Module, Debug)]
pub struct CaptionAttentionBlock {
    /// Before attention.
    pub norm: GroupNorm,
    /// Pixels to the caption.
    pub attention: CrossAttention,
}

impl CaptionAttentionBlock {
    pub(super) fn new(channels: usize, config: &UnetConfig, init: &mut Initialization) -> Self {
        Self {
            norm: GroupNorm::new(channels, config.groups, init),
            attention: CrossAttention::new(channels, config.caption.width, config.heads_of(channels), init),
        }
    }

    /// `[b, c, h, w]` to `[b, c, h, w]`.
    pub(super) fn forward(&self, x: Tensor<4>, caption: &EncodedCaption) -> Tensor<4> {
        let tokens = to_tokens(self.norm.forward(x.clone())); // [b, n, c]
        let shape = x.dims();
        x + to_image(self.attention.forward(tokens, caption), shape)
    }
}

/// `[b, c, h, w]` to `[b, h w, c]`.
fn to_tokens(x: Tensor<4>) -> Tensor<3> {
    let [b, c, h, w] = x.dims();
    x.reshape([b, c, h * w]).swap_dims(1, 2)
}

/// `[b, h w, c]` to `[b, c, h, w]`.
fn to_image(tokens: Tensor<3>, shape: [usize; 4]) -> Tensor<4> {
    tokens.swap_dims(1, 2).reshape(shape)
}
