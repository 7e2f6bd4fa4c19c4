//! Blocks with adaptive layer norms: adaLN, and adaLN-Zero with gates (section 3.2).

use burn::module::Module;

use super::DitConfig;
use super::block::{BlockDesign, EPSILON, NormedCrossAttention, to_caption};
use crate::conditioning::Context;
use crate::dual::{self, Dual};
use crate::initialization::{Initialization, Start};
use crate::layers::trace::{self, Kind};
use crate::layers::{Dropout, Linear, Mlp, SelfAttention};

/// Attention and a two-layer network; shift and scale of each come from the condition. With gates these do, too, and
/// all start at zero, so that the block starts as the identity (adaLN-Zero).
#[derive(Module, Debug)]
pub struct AdalnBlock {
    /// Tokens among themselves.
    pub attention: SelfAttention,
    /// Tokens to the caption, for data with captions.
    pub cross_attention: Option<NormedCrossAttention>,
    /// `d -> hidden -> d`.
    pub mlp: Mlp,
    /// `[d] -> [6 d]`: (shift, scale, gate) of attention, then of the two-layer network; `[4 d]` without gates.
    pub modulation: Linear,
    dropout: (Dropout, Dropout),
    gated: bool,
}

impl AdalnBlock {
    pub(super) fn new(config: &DitConfig, captions: bool, init: &mut Initialization) -> Self {
        let width = config.width;
        let gated = config.block == BlockDesign::AdalnZero;
        let modulations = if gated { 6 } else { 4 };
        Self {
            cross_attention: captions.then(|| NormedCrossAttention::to_caption(config, init)),
            attention: SelfAttention::new(width, config.heads, Start::Xavier, init),
            mlp: Mlp::new(width, config.hidden(), width, Start::Xavier, init),
            modulation: Linear::new(width, modulations * width, start(config), init),
            dropout: (init.dropout(config.dropout), init.dropout(config.dropout)),
            gated,
        }
    }

    /// `[b, n, d]` to `[b, n, d]`.
    pub(super) fn forward(&self, x: Dual<3>, context: &Context) -> Dual<3> {
        let [attention, mlp] = self.modulations(context);

        trace::pointwise(Kind::ModulatedNorm, &self.modulation.weight, x.dims());
        let h = dual::layer_norm_modulate(x.clone(), attention.shift, attention.scale, EPSILON); // [b, n, d]
        let h = self.dropout.0.forward(self.attention.forward(h), context.dropout);
        let x = self.add(x, h, attention.gate);

        let x = to_caption(self.cross_attention.as_ref(), x, context);

        trace::pointwise(Kind::ModulatedNorm, &self.modulation.weight, x.dims());
        let h = dual::layer_norm_modulate(x.clone(), mlp.shift, mlp.scale, EPSILON); // [b, n, d]
        let h = self.dropout.1.forward(self.mlp.forward_gelu(h), context.dropout);
        self.add(x, h, mlp.gate)
    }

    /// `x + gate h`, or `x + h`.
    fn add(&self, x: Dual<3>, h: Dual<3>, gate: Option<Dual<2>>) -> Dual<3> {
        let Some(gate) = gate else { return x + h };
        trace::pointwise(Kind::Gate, &self.modulation.weight, h.dims());
        dual::gate_residual(x, h, gate)
    }

    /// Of attention and of the two-layer network.
    fn modulations(&self, context: &Context) -> [Modulation; 2] {
        if self.gated {
            let [shift, scale, gate, mlp_shift, mlp_scale, mlp_gate] = vectors(&self.modulation, context);
            [
                Modulation { shift, scale, gate: Some(gate) },
                Modulation { shift: mlp_shift, scale: mlp_scale, gate: Some(mlp_gate) },
            ]
        } else {
            let [shift, scale, mlp_shift, mlp_scale] = vectors(&self.modulation, context);
            [Modulation { shift, scale, gate: None }, Modulation { shift: mlp_shift, scale: mlp_scale, gate: None }]
        }
    }
}

/// What one part of a block takes from the condition, `[b, d]` each.
struct Modulation {
    shift: Dual<2>,
    scale: Dual<2>,
    gate: Option<Dual<2>>,
}

/// The layer after the last block, with an adaptive layer norm.
#[derive(Module, Debug)]
pub struct AdalnFinalLayer {
    /// `[d] -> [2 d]`: shift, scale.
    pub modulation: Linear,
    /// `[d] -> [p p c]`.
    pub projection: Linear,
}

impl AdalnFinalLayer {
    pub(super) fn new(config: &DitConfig, outputs: usize, init: &mut Initialization) -> Self {
        Self {
            modulation: Linear::new(config.width, 2 * config.width, start(config), init),
            projection: Linear::new(config.width, outputs, Start::Zero, init),
        }
    }

    /// `[b, n, d]` to `[b, n, p p c]`.
    pub(super) fn forward(&self, x: Dual<3>, context: &Context) -> Dual<3> {
        let [shift, scale] = vectors(&self.modulation, context);
        trace::pointwise(Kind::ModulatedNorm, &self.modulation.weight, x.dims());
        self.projection.forward(dual::layer_norm_modulate(x, shift, scale, EPSILON))
    }
}

/// Of modulations: without gates they start as other linear layers do.
fn start(config: &DitConfig) -> Start {
    match config.block {
        BlockDesign::AdalnZero => Start::Zero,
        _ => Start::Xavier,
    }
}

/// `N` vectors `[b, d]` that a linear layer makes of the condition.
fn vectors<const N: usize>(layer: &Linear, context: &Context) -> [Dual<2>; N] {
    let all = layer.forward(context.embedding.clone()); // [b, N d]
    let width = all.dims()[1] / N;
    std::array::from_fn(|i| all.clone().each(|x| x.narrow(1, i * width, width)))
}
