use burn::module::Module;
use burn::tensor::Tensor;
use sinter_kernels as kernels;

use super::residual::Resample;
use super::{AttentionBlock, CaptionAttentionBlock, Downsample, ResidualBlock, UnetConfig, Upsample};
use crate::caption::{CaptionEncoder, EncodedCaption};
use crate::condition::Condition;
use crate::initialization::{Initialization, Rule, Start};
use crate::layers::{ClassEmbedding, Conv2d, DropoutKey, GroupNorm, Linear, TimeEmbedding};
use crate::shape::DataShape;

/// What every layer is told.
#[derive(Clone, Debug)]
pub(super) struct Context {
    /// SiLU of the sum of the time's and the condition's vectors `[b, e]`.
    pub(super) embedding: Tensor<2>,
    pub(super) caption: Option<EncodedCaption>,
    pub(super) dropout: Option<DropoutKey>,
}

/// One layer of a block.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "layers live in vectors that are built once")]
pub enum Layer {
    /// The first of the network.
    Convolution(Conv2d),
    /// With time and condition.
    Residual(ResidualBlock),
    /// Among pixels.
    Attention(AttentionBlock),
    /// To the caption.
    CaptionAttention(CaptionAttentionBlock),
    /// To half the size.
    Downsample(Downsample),
    /// To twice the size.
    Upsample(Upsample),
}

impl Layer {
    fn forward(&self, x: Tensor<4>, context: &Context) -> Tensor<4> {
        match self {
            Self::Convolution(layer) => layer.forward(x),
            Self::Residual(layer) => layer.forward(x, context),
            Self::Attention(layer) => layer.forward(x),
            Self::CaptionAttention(layer) => match &context.caption {
                Some(caption) => layer.forward(x, caption),
                None => x,
            },
            Self::Downsample(layer) => layer.forward(x),
            Self::Upsample(layer) => layer.forward(x),
        }
    }
}

/// The network of [`UnetConfig`]. Blocks and layers are numbered as in ADM.
#[derive(Module, Debug)]
pub struct Unet {
    /// Time label to a vector.
    pub time_embedding: TimeEmbedding,
    /// Class to a vector, for data with labels.
    pub class_embedding: Option<ClassEmbedding>,
    /// Caption to tokens, for data with captions.
    pub caption_encoder: Option<CaptionEncoder>,
    /// The caption's mean to a vector.
    pub caption_embedding: Option<Linear>,
    /// The way down; the result of each is kept.
    pub input_blocks: Vec<Vec<Layer>>,
    /// The bottom.
    pub middle_block: Vec<Layer>,
    /// The way up; each also takes the kept result that was made last.
    pub output_blocks: Vec<Vec<Layer>>,
    /// Before the last convolution.
    pub output_norm: GroupNorm,
    /// `3 x 3`, to the output's channels; starts at zero.
    pub output_convolution: Conv2d,
}

impl Unet {
    /// For data of the given shape, with which `config` must be valid.
    pub fn new(config: &UnetConfig, shape: &DataShape, init: &mut Initialization) -> Self {
        let width = 4 * config.channels;
        let captions = shape.has_captions();
        let class_embedding = |init: &mut Initialization| {
            ClassEmbedding::new(shape.classes, config.null_class, width, Rule::normal(1.0), init)
        };
        let time_embedding = TimeEmbedding::new(config.channels, width, Start::FanIn, init);
        let class_embedding = shape.has_classes().then(|| class_embedding(init));
        let caption_encoder = captions.then(|| CaptionEncoder::new(&config.caption, shape, init));
        let caption_embedding = captions.then(|| Linear::new(config.caption.width, width, Start::FanIn, init));
        let blocks = Blocks::new(config, shape, init);
        let outputs = shape.channels * if config.learned_variance { 2 } else { 1 };
        Self {
            time_embedding,
            class_embedding,
            caption_encoder,
            caption_embedding,
            input_blocks: blocks.input,
            middle_block: blocks.middle,
            output_blocks: blocks.output,
            output_norm: GroupNorm::new(blocks.width, config.groups, init),
            output_convolution: Conv2d::new(blocks.width, outputs, 3, Start::Zero, init),
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
        let b = x.dims()[0];
        let mut embedding = self.time_embedding.forward(time_label); // [b, e]
        let class = self.class_embedding.as_ref().and_then(|table| table.forward(condition.class.clone(), b));
        if let Some(class) = class {
            embedding = embedding + class;
        }
        let caption = self.caption_encoder.as_ref().map(|encoder| encoder.forward(condition.caption.as_ref(), b));
        if let (Some(layer), Some(caption)) = (&self.caption_embedding, &caption) {
            embedding = embedding + layer.forward(caption.pooled.clone());
        }
        let context = Context { embedding: kernels::silu(embedding), caption, dropout };
        let through = |layers: &[Layer], x| layers.iter().fold(x, |x, layer| layer.forward(x, &context));

        let mut kept = Vec::with_capacity(self.input_blocks.len());
        let mut h = x; // [b, c, h, w]
        for block in &self.input_blocks {
            h = through(block, h);
            kept.push(h.clone());
        }
        h = through(&self.middle_block, h);
        for (block, kept) in self.output_blocks.iter().zip(kept.into_iter().rev()) {
            h = through(block, Tensor::cat(vec![h, kept], 1));
        }
        self.output_convolution.forward(self.output_norm.forward_silu(h))
    }
}

/// The pyramid, while it is built.
struct Blocks {
    input: Vec<Vec<Layer>>,
    middle: Vec<Layer>,
    output: Vec<Vec<Layer>>,
    /// Channels of the last block.
    width: usize,
}

impl Blocks {
    fn new(config: &UnetConfig, shape: &DataShape, init: &mut Initialization) -> Self {
        let captions = shape.has_captions();
        let residual = |inputs, outputs, init: &mut Initialization| {
            Layer::Residual(ResidualBlock::new(inputs, outputs, Resample::Keep, config, init))
        };
        let attention = |channels, init: &mut Initialization| {
            let mut layers = vec![Layer::Attention(AttentionBlock::new(channels, config, init))];
            if captions {
                layers.push(Layer::CaptionAttention(CaptionAttentionBlock::new(channels, config, init)));
            }
            layers
        };
        let halve = |channels, init: &mut Initialization| match config.residual_resample {
            true => Layer::Residual(ResidualBlock::new(channels, channels, Resample::Halve, config, init)),
            false => Layer::Downsample(Downsample::new(channels, init)),
        };
        let double = |channels, init: &mut Initialization| match config.residual_resample {
            true => Layer::Residual(ResidualBlock::new(channels, channels, Resample::Double, config, init)),
            false => Layer::Upsample(Upsample::new(channels, init)),
        };

        let last = config.multipliers.len().saturating_sub(1);
        let mut height = shape.height;
        let mut width = config.channels * config.multipliers.first().copied().unwrap_or(1);
        let mut input = vec![vec![Layer::Convolution(Conv2d::new(shape.channels, width, 3, Start::FanIn, init))]];
        let mut kept = vec![width];
        for (level, multiplier) in config.multipliers.iter().enumerate() {
            for _ in 0..config.blocks {
                let mut layers = vec![residual(width, multiplier * config.channels, init)];
                width = multiplier * config.channels;
                if config.attention.contains(&height) {
                    layers.extend(attention(width, init));
                }
                input.push(layers);
                kept.push(width);
            }
            if level < last {
                input.push(vec![halve(width, init)]);
                kept.push(width);
                height /= 2;
            }
        }

        let mut middle = vec![residual(width, width, init)];
        middle.extend(attention(width, init));
        middle.push(residual(width, width, init));

        let mut output = Vec::new();
        for (level, multiplier) in config.multipliers.iter().enumerate().rev() {
            for block in 0..=config.blocks {
                let joined = width + kept.pop().unwrap_or(0);
                let mut layers = vec![residual(joined, multiplier * config.channels, init)];
                width = multiplier * config.channels;
                if config.attention.contains(&height) {
                    layers.extend(attention(width, init));
                }
                if level > 0 && block == config.blocks {
                    layers.push(double(width, init));
                    height *= 2;
                }
                output.push(layers);
            }
        }
        Self { input, middle, output, width }
    }
}
