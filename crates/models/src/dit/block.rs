use burn::module::Module;
use burn::tensor::Tensor;
use sinter_kernels as kernels;

use super::DitConfig;
use crate::caption::EncodedCaption;
use crate::conditioning::Context;
use crate::initialization::{Initialization, Start};
use crate::layers::{CrossAttention, Dropout, LayerNorm, Linear, Mlp, SelfAttention};

/// Of the layer norms without a weight.
const EPSILON: f64 = 1e-6;

/// Attention and a two-layer network; shift, scale and gate of each come from the condition and start at zero, so that
/// the block starts as the identity (adaLN-Zero, section 3.2).
#[derive(Module, Debug)]
pub struct DitBlock {
    /// Tokens among themselves.
    pub attention: SelfAttention,
    /// Tokens to the caption, for data with captions.
    pub cross_attention: Option<NormedCrossAttention>,
    /// `d -> hidden -> d`.
    pub mlp: Mlp,
    /// `[d] -> [6 d]`: (shift, scale, gate) of attention, then of the two-layer network.
    pub modulation: Linear,
    dropout: (Dropout, Dropout),
}

impl DitBlock {
    pub(super) fn new(config: &DitConfig, captions: bool, init: &mut Initialization) -> Self {
        let width = config.width;
        let cross_attention = || NormedCrossAttention::new(width, config.caption.width, config.heads, init);
        Self {
            cross_attention: captions.then(cross_attention),
            attention: SelfAttention::new(width, config.heads, Start::Xavier, init),
            mlp: Mlp::new(width, config.hidden(), width, Start::Xavier, init),
            modulation: Linear::new(width, 6 * width, Start::Zero, init),
            dropout: (init.dropout(config.dropout), init.dropout(config.dropout)),
        }
    }

    /// `[b, n, d]` to `[b, n, d]`.
    pub(super) fn forward(&self, x: Tensor<3>, context: &Context) -> Tensor<3> {
        let modulation = Modulation::<6>::of(&self.modulation, context);
        let [attention_shift, attention_scale, attention_gate, mlp_shift, mlp_scale, mlp_gate] = modulation.0;

        let h = kernels::layer_norm_modulate(x.clone(), attention_shift, attention_scale, EPSILON); // [b, n, d]
        let h = self.dropout.0.forward(self.attention.forward(h), context.dropout);
        let x = kernels::gate_residual(x, h, attention_gate);

        let x = match (&self.cross_attention, &context.caption) {
            (Some(layer), Some(caption)) => layer.forward(x, caption),
            _ => x,
        };

        let h = kernels::layer_norm_modulate(x.clone(), mlp_shift, mlp_scale, EPSILON); // [b, n, d]
        let h = self.dropout.1.forward(self.mlp.forward_gelu(h), context.dropout);
        kernels::gate_residual(x, h, mlp_gate)
    }
}

/// Attention to a caption on the normalized tokens, added to them.
#[derive(Module, Debug)]
pub struct NormedCrossAttention {
    /// Before attention.
    pub norm: LayerNorm,
    /// Tokens to the caption.
    pub attention: CrossAttention,
}

impl NormedCrossAttention {
    fn new(width: usize, caption_width: usize, heads: usize, init: &mut Initialization) -> Self {
        Self { norm: LayerNorm::new(width, init), attention: CrossAttention::new(width, caption_width, heads, init) }
    }

    /// `[b, n, d]` to `[b, n, d]`.
    fn forward(&self, x: Tensor<3>, caption: &EncodedCaption) -> Tensor<3> {
        x.clone() + self.attention.forward(self.norm.forward(x), caption)
    }
}

/// From tokens to the values of their patches; starts at zero.
#[derive(Module, Debug)]
pub struct FinalLayer {
    /// `[d] -> [2 d]`: shift, scale.
    pub modulation: Linear,
    /// `[d] -> [p p c]`.
    pub projection: Linear,
}

impl FinalLayer {
    pub(super) fn new(width: usize, outputs: usize, init: &mut Initialization) -> Self {
        Self {
            modulation: Linear::new(width, 2 * width, Start::Zero, init),
            projection: Linear::new(width, outputs, Start::Zero, init),
        }
    }

    /// `[b, n, d]` to `[b, n, p p c]`.
    pub(super) fn forward(&self, x: Tensor<3>, context: &Context) -> Tensor<3> {
        let [shift, scale] = Modulation::<2>::of(&self.modulation, context).0;
        self.projection.forward(kernels::layer_norm_modulate(x, shift, scale, EPSILON))
    }
}

/// `N` vectors `[b, d]` that a linear layer makes of the condition.
struct Modulation<const N: usize>([Tensor<2>; N]);

impl<const N: usize> Modulation<N> {
    fn of(layer: &Linear, context: &Context) -> Self {
        let all = layer.forward(context.embedding.clone()); // [b, N d]
        let width = all.dims()[1] / N;
        Self(std::array::from_fn(|i| all.clone().narrow(1, i * width, width)))
    }
}
