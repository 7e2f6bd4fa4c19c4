use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use sinter_kernels as kernels;

use super::DitConfig;
use super::block::{Context, DitBlock, FinalLayer};
use crate::caption::CaptionEncoder;
use crate::condition::Condition;
use crate::initialization::{Initialization, Rule, Start};
use crate::layers::{
    ClassEmbedding, DropoutKey, Linear, PatchEmbedding, TimeEmbedding, sine_cosine_positions, unpatchify,
};
use crate::shape::DataShape;

/// Sines and cosines of the time label.
const TIME_FEATURES: usize = 256;

/// The network of [`DitConfig`].
#[derive(Module, Debug)]
pub struct Dit {
    /// Image to tokens.
    pub patch_embedding: PatchEmbedding,
    /// `[1, n, d]`, fixed.
    positions: Tensor<3>,
    /// Time label to a vector.
    pub time_embedding: TimeEmbedding,
    /// Class to a vector, for data with labels.
    pub class_embedding: Option<ClassEmbedding>,
    /// Caption to tokens, for data with captions.
    pub caption_encoder: Option<CaptionEncoder>,
    /// The caption's mean to a vector.
    pub caption_embedding: Option<Linear>,
    /// The transformer.
    pub blocks: Vec<DitBlock>,
    /// Tokens to patches.
    pub final_layer: FinalLayer,
    patch: usize,
}

impl Dit {
    /// For data of the given shape, with which `config` must be valid.
    pub fn new(config: &DitConfig, shape: &DataShape, init: &mut Initialization) -> Self {
        let (width, patch) = (config.width, config.patch);
        let (rows, columns) = (shape.height / patch, shape.width / patch);
        let outputs = shape.channels * if config.learned_variance { 2 } else { 1 };
        let positions = TensorData::new(sine_cosine_positions(rows, columns, width), [1, rows * columns, width]);
        let captions = shape.has_captions();
        Self {
            patch_embedding: PatchEmbedding::new(shape.channels, patch, width, init),
            positions: Tensor::from_data(positions, init.device()),
            time_embedding: TimeEmbedding::new(TIME_FEATURES, width, Start::Small, init),
            class_embedding: shape
                .has_classes()
                .then(|| ClassEmbedding::new(shape.classes, config.null_class, width, Rule::normal(0.02), init)),
            caption_encoder: captions.then(|| CaptionEncoder::new(&config.caption, shape, init)),
            caption_embedding: captions.then(|| Linear::new(config.caption.width, width, Start::Small, init)),
            blocks: (0..config.depth).map(|_| DitBlock::new(config, captions, init)).collect(),
            final_layer: FinalLayer::new(width, patch * patch * outputs, init),
            patch,
        }
    }

    /// Images `[b, c, h, w]` and time labels `[b]` to `[b, c, h, w]`, or `[b, 2 c, h, w]` with a learned variance.
    pub fn forward(
        &self,
        x: Tensor<4>,
        time_label: Tensor<1>,
        condition: &Condition,
        dropout: Option<DropoutKey>,
    ) -> Tensor<4> {
        let [b, _, h, w] = x.dims();
        let context = self.context(b, time_label, condition, dropout);
        let tokens = self.through(&self.blocks, x, &context); // [b, n, d]
        let patches = self.final_layer.forward(tokens, &context); // [b, n, p p c]
        unpatchify(patches, h / self.patch, w / self.patch, self.patch)
    }

    /// The tokens `[b, n, d]` that leave the first `blocks` blocks.
    pub fn tokens(&self, x: Tensor<4>, time_label: Tensor<1>, condition: &Condition, blocks: usize) -> Tensor<3> {
        let context = self.context(x.dims()[0], time_label, condition, None);
        self.through(&self.blocks[..blocks.min(self.blocks.len())], x, &context)
    }

    /// Images `[b, c, h, w]` to tokens `[b, n, d]`, through some blocks.
    fn through(&self, blocks: &[DitBlock], x: Tensor<4>, context: &Context) -> Tensor<3> {
        let tokens = self.patch_embedding.forward(x) + self.positions.clone(); // [b, n, d]
        blocks.iter().fold(tokens, |tokens, block| block.forward(tokens, context))
    }

    /// What blocks are told, from time labels `[b]` and what is asked for.
    fn context(
        &self,
        batch: usize,
        time_label: Tensor<1>,
        condition: &Condition,
        dropout: Option<DropoutKey>,
    ) -> Context {
        let mut embedding = self.time_embedding.forward(time_label); // [b, d]
        let class = self.class_embedding.as_ref().and_then(|table| table.forward(condition.class.clone(), batch));
        if let Some(class) = class {
            embedding = embedding + class;
        }
        let encode = |encoder: &CaptionEncoder| encoder.forward(condition.caption.as_ref(), batch);
        let caption = self.caption_encoder.as_ref().map(encode);
        if let (Some(layer), Some(caption)) = (&self.caption_embedding, &caption) {
            embedding = embedding + layer.forward(caption.pooled.clone());
        }
        Context { embedding: kernels::silu(embedding), caption, dropout }
    }
}
