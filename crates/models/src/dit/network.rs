use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use super::DitConfig;
use super::block::{BlockDesign, DitBlock, FinalLayer};
use crate::condition::Condition;
use crate::conditioning::{Conditioning, ConditioningConfig, Context};
use crate::dual::Dual;
use crate::initialization::{Initialization, Rule, Start};
use crate::layers::{DropoutKey, PatchEmbedding, sine_cosine_positions, tap, unpatchify};
use crate::routing::{ExpertsConfig, Routing, RoutingConfig};
use crate::shape::DataShape;

/// Sines and cosines of the time label.
const TIME_FEATURES: usize = 256;

/// The network of [`DitConfig`].
#[derive(Module, Debug)]
pub struct Dit {
    /// Image to tokens.
    pub patch_embedding: PatchEmbedding,
    /// `[1, n, d]`, fixed.
    pub(super) positions: Tensor<3>,
    /// Time, class and caption.
    pub conditioning: Conditioning,
    /// The transformer.
    pub blocks: Vec<DitBlock>,
    /// Of each block, where there is any.
    pub routing: Vec<Routing>,
    /// Tokens to patches.
    pub final_layer: FinalLayer,
    #[module(skip)]
    pub(super) experts_config: Option<ExpertsConfig>,
    patch: usize,
    in_context: bool,
}

impl Dit {
    /// For data of the given shape, with which `config` must be valid.
    pub fn new(config: &DitConfig, shape: &DataShape, init: &mut Initialization) -> Self {
        let (width, patch) = (config.width, config.patch);
        let (rows, columns) = (shape.height / patch, shape.width / patch);
        let outputs = shape.channels * if config.learned_variance { 2 } else { 1 };
        let positions = TensorData::new(sine_cosine_positions(rows, columns, width), [1, rows * columns, width]);
        let conditioning = ConditioningConfig {
            time_features: TIME_FEATURES,
            time_endpoint: config.time_endpoint,
            width,
            null_class: config.null_class,
            augmentation: 0,
            caption: Some(&config.caption),
            start: Start::Small,
            class_rule: Rule::normal(0.02),
        };
        Self {
            patch_embedding: PatchEmbedding::new(shape.channels, patch, width, init),
            positions: Tensor::from_data(positions, init.device()),
            conditioning: Conditioning::new(conditioning, shape, init),
            blocks: (0..config.depth).map(|_| DitBlock::new(config, shape.has_captions(), init)).collect(),
            routing: match &config.routing {
                Some(routing) => Routing::of_blocks(routing, width, config.depth, init),
                None => Vec::new(),
            },
            experts_config: match &config.routing {
                Some(RoutingConfig::Experts(config)) => Some(config.clone()),
                _ => None,
            },
            final_layer: FinalLayer::new(config, patch * patch * outputs, init),
            patch,
            in_context: config.block == BlockDesign::InContext,
        }
    }

    /// Images `[b, c, h, w]` and time labels `[b]` to `[b, c, h, w]`, or `[b, 2 c, h, w]` with a learned variance.
    pub fn forward(
        &self,
        x: impl Into<Dual<4>>,
        time_label: impl Into<Dual<1>>,
        condition: &Condition,
        dropout: Option<DropoutKey>,
    ) -> Dual<4> {
        let x = x.into();
        let [b, _, h, w] = x.dims();
        let context = self.conditioning.forward(b, time_label.into(), condition, dropout);
        let tokens = self.through(&self.blocks, x, &context); // [b, n, d]
        let patches = self.final_layer.forward(tokens, &context); // [b, n, p p c]
        patches.each(|patches| unpatchify(patches, h / self.patch, w / self.patch, self.patch))
    }

    /// The image's tokens `[b, n, d]` that leave the first `blocks` blocks.
    pub fn tokens(&self, x: Tensor<4>, time_label: Tensor<1>, condition: &Condition, blocks: usize) -> Tensor<3> {
        let context = self.conditioning.forward(x.dims()[0], time_label.into(), condition, None);
        self.through(&self.blocks[..blocks.min(self.blocks.len())], x.into(), &context).value
    }

    /// Numbers that belong to the network and are not trained: the table of positions.
    pub fn fixed(&self) -> usize {
        self.positions.shape().num_elements()
    }

    /// Images `[b, c, h, w]` to tokens `[b, n, d]`, through some blocks.
    fn through(&self, blocks: &[DitBlock], x: Dual<4>, context: &Context) -> Dual<3> {
        let image = self.patch_embedding.forward(x) + self.positions.clone(); // [b, n, d]
        let n = image.dims()[1];
        let tokens = match self.in_context {
            true => Dual::cat(vec![image, context.tokens()], 1), // [b, n + vectors, d]
            false => image,
        };
        let tokens = blocks.iter().enumerate().fold(tokens, |tokens, (i, block)| {
            let tokens = match self.routing.get(i) {
                None => block.forward(tokens, context),
                Some(routing) => routing.through(tokens, context, |tokens| block.forward(tokens, context)),
            };
            tap::tokens("blocks", i, &tokens.value);
            tokens
        });
        if self.in_context { tokens.each(|tokens| tokens.narrow(1, 0, n)) } else { tokens }
    }
}
