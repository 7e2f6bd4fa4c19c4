use burn::module::Module;
use burn::tensor::Tensor;

use super::residual::scaled;
use super::{AttentionOrder, BlockConfig, UnetConfig};
use crate::caption::EncodedCaption;
use crate::dual::{self, Dual};
use crate::initialization::{Initialization, Start};
use crate::layers::{CrossAttention, GroupNorm, Linear, trace};

/// Attention among the pixels of a feature map, added to it.
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
    gain: f64,
}

impl AttentionBlock {
    pub(crate) fn new(channels: usize, config: &BlockConfig, init: &mut Initialization) -> Self {
        Self {
            norm: config.norm(channels, init),
            qkv: Linear::new(channels, 3 * channels, config.qkv_start, init),
            projection: Linear::new(channels, channels, config.last_start, init),
            heads: config.heads_of(channels),
            order: config.order,
            gain: config.gain,
        }
    }

    /// `[b, c, h, w]` to `[b, c, h, w]`.
    pub(crate) fn forward(&self, x: Dual<4>) -> Dual<4> {
        let tokens = self.norm.forward(x.clone()).each(to_tokens); // [b, n, c]
        let qkv = self.queries_keys_values(tokens); // [b, n, 3 c]
        trace::packed_attention(&self.qkv.weight, qkv.dims());
        let out = self.projection.forward(dual::packed_attention(qkv, self.heads)); // [b, n, c]
        let shape = x.dims();
        scaled(x + out.each(|out| to_image(out, shape)), self.gain)
    }

    /// The projection of tokens `[b, n, c]`, features in the order (query, key, value), head, feature: `[b, n, 3 c]`.
    fn queries_keys_values(&self, tokens: Dual<3>) -> Dual<3> {
        let (heads, size) = (self.heads, tokens.dims()[2] / self.heads);
        // Of the packed features in three dimensions, which is the part, which the head, which the feature.
        let (shape, axes) = match self.order {
            AttentionOrder::PartsFirst => return self.qkv.forward(tokens),
            AttentionOrder::HeadsFirst => ([heads, 3, size], [1, 0, 2]),
            AttentionOrder::PartsLast => ([heads, size, 3], [2, 0, 1]),
        };
        let [one, two, three] = shape;
        let behind = |dimensions: usize| axes.map(|axis| axis + dimensions);
        if self.qkv.adapter.is_some() {
            let qkv = self.qkv.forward(tokens); // [b, n, 3 c]
            let ([b, n, packed], [x, y, z]) = (qkv.dims(), behind(2));
            let sorted =
                |qkv: Tensor<3>| qkv.reshape([b, n, one, two, three]).permute([0, 1, x, y, z]).reshape([b, n, packed]);
            return qkv.each(sorted);
        }
        // The weight has fewer elements to move than the result.
        trace::linear(&self.qkv.weight, tokens.dims());
        let (weight, bias) = (self.qkv.weight.val(), self.qkv.bias.val());
        let ([channels, packed], [x, y, z]) = (weight.dims(), behind(1));
        let weight = weight.reshape([channels, one, two, three]).permute([0, x, y, z]).reshape([channels, packed]);
        let [x, y, z] = axes;
        let bias = bias.reshape(shape).permute([x, y, z]).reshape([packed]);
        dual::linear(tokens, weight, Some(bias))
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
            norm: config.block().norm(channels, init),
            attention: CrossAttention::new(
                channels,
                config.caption.width,
                config.block().heads_of(channels),
                Start::Zero,
                init,
            ),
        }
    }

    /// `[b, c, h, w]` to `[b, c, h, w]`.
    pub(super) fn forward(&self, x: Dual<4>, caption: &EncodedCaption) -> Dual<4> {
        let tokens = self.norm.forward(x.clone()).each(to_tokens); // [b, n, c]
        let shape = x.dims();
        let (others, mask) = (caption.tokens.clone().into(), Some(caption.mask.clone()));
        let out = self.attention.forward(tokens, others, mask); // [b, n, c]
        x + out.each(|out| to_image(out, shape))
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
