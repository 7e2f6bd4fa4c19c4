//! A residual network for points in the plane and other data without an image's structure.

use burn::module::Module;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::condition::Condition;
use crate::conditioning::{Conditioning, ConditioningConfig};
use crate::dual::{self, Dual};
use crate::initialization::{Initialization, Rule, Start};
use crate::layers::tap;
use crate::layers::trace::{self, Kind};
use crate::layers::{Dropout, DropoutKey, Linear, Mlp};
use crate::shape::DataShape;

/// Sines and cosines of the time label.
const TIME_FEATURES: usize = 128;
/// Of the layer norms.
const EPSILON: f64 = 1e-6;

/// A residual multilayer perceptron whose blocks are modulated as in DiT. It looks at all of `[c, h, w]` at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MlpConfig {
    /// Features between blocks.
    pub width: usize,
    /// Blocks.
    pub depth: usize,
    /// Hidden features of a block, over `width`.
    pub mlp_ratio: f64,
    /// Whether the network has a class for "any", which guidance and label dropout need.
    pub null_class: bool,
    /// Probability of dropout after each block.
    pub dropout: f64,
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self { width: 128, depth: 4, mlp_ratio: 2.0, null_class: true, dropout: 0.0 }
    }
}

impl MlpConfig {
    /// Every problem of these values for data of the given shape.
    pub fn validate(&self, shape: &DataShape) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.width > 0, "width", "must be at least 1");
        problems.check(self.depth > 0, "depth", "must be at least 1");
        let hidden = self.mlp_ratio.is_finite() && self.hidden() > 0;
        problems.check(hidden, "mlp_ratio", "must leave at least one hidden feature");
        problems.check((0.0..1.0).contains(&self.dropout), "dropout", "must be at least 0 and below 1");
        problems.check(!shape.has_captions(), "type", "an MLP cannot read captions; use `unet` or `dit`");
        problems
    }

    fn hidden(&self) -> usize {
        (self.width as f64 * self.mlp_ratio) as usize
    }
}

/// The network of [`MlpConfig`].
#[derive(Module, Debug)]
pub struct ResidualMlp {
    /// `[c h w] -> [d]`.
    pub input: Linear,
    /// Time and class.
    pub conditioning: Conditioning,
    /// The blocks.
    pub blocks: Vec<MlpBlock>,
    /// `[d] -> [2 d]`: shift, scale.
    pub output_modulation: Linear,
    /// `[d] -> [c h w]`; starts at zero.
    pub output: Linear,
}

/// A two-layer network on the normalized and modulated features, added to them through a gate.
#[derive(Module, Debug)]
pub struct MlpBlock {
    /// `[d] -> [3 d]`: shift, scale, gate; starts at zero.
    pub modulation: Linear,
    /// `d -> hidden -> d`.
    pub mlp: Mlp,
    dropout: Dropout,
}

impl ResidualMlp {
    /// For data of the given shape, with which `config` must be valid.
    pub fn new(config: &MlpConfig, shape: &DataShape, init: &mut Initialization) -> Self {
        let (width, values) = (config.width, shape.channels * shape.height * shape.width);
        let conditioning = ConditioningConfig {
            time_features: TIME_FEATURES,
            time_endpoint: false,
            width,
            null_class: config.null_class,
            augmentation: 0,
            caption: None,
            start: Start::FanIn,
            class_rule: Rule::normal(1.0),
        };
        Self {
            input: Linear::new(values, width, Start::FanIn, init),
            conditioning: Conditioning::new(conditioning, shape, init),
            blocks: (0..config.depth)
                .map(|_| MlpBlock {
                    modulation: Linear::new(width, 3 * width, Start::Zero, init),
                    mlp: Mlp::new(width, config.hidden(), width, Start::FanIn, init),
                    dropout: init.dropout(config.dropout),
                })
                .collect(),
            output_modulation: Linear::new(width, 2 * width, Start::Zero, init),
            output: Linear::new(width, values, Start::Zero, init),
        }
    }

    /// `[b, c, h, w]` and time labels `[b]` to `[b, c, h, w]`.
    pub fn forward(
        &self,
        x: impl Into<Dual<4>>,
        time_label: impl Into<Dual<1>>,
        condition: &Condition,
        dropout: Option<DropoutKey>,
    ) -> Dual<4> {
        let x = x.into();
        let [b, c, height, width] = x.dims();
        let context = self.conditioning.forward(b, time_label.into(), condition, dropout);

        let mut h = self.input.forward(x.each(|x| x.reshape([b, 1, c * height * width]))); // [b, 1, d]
        for (i, block) in self.blocks.iter().enumerate() {
            let modulation = block.modulation.forward(context.embedding.clone()); // [b, 3 d]
            let d = modulation.dims()[1] / 3;
            let part = |i: usize| modulation.clone().each(|x| x.narrow(1, i * d, d));
            trace::pointwise(Kind::ModulatedNorm, &block.modulation.weight, h.dims());
            let update = dual::layer_norm_modulate(h.clone(), part(0), part(1), EPSILON);
            let update = block.dropout.forward(block.mlp.forward_silu(update), context.dropout);
            trace::pointwise(Kind::Gate, &block.modulation.weight, h.dims());
            h = dual::gate_residual(h, update, part(2)); // [b, 1, d]
            tap::tokens("blocks", i, &h.value);
        }
        let modulation = self.output_modulation.forward(context.embedding); // [b, 2 d]
        let d = modulation.dims()[1] / 2;
        let part = |i: usize| modulation.clone().each(|x| x.narrow(1, i * d, d));
        trace::pointwise(Kind::ModulatedNorm, &self.output_modulation.weight, h.dims());
        let h = dual::layer_norm_modulate(h, part(0), part(1), EPSILON);
        self.output.forward(h).each(|h| h.reshape([b, c, height, width]))
    }
}
