use burn::module::Module;
use burn::tensor::Device;

use super::{AttentionBlock, CaptionAttentionBlock, Downsample, Level, ResidualBlock, UnetConfig, Upsample};
use crate::condition::Condition;
use crate::conditioning::{Conditioning, ConditioningConfig, Context};
use crate::dual::Dual;
use crate::initialization::{Initialization, Rule, Start};
use crate::layers::{Conv2d, DropoutKey, GroupNorm, Resample, pixel_shuffle, pixel_unshuffle, tap};
use crate::routing::RoutingConfig;
use crate::routing::masks::BlockMasks;
use crate::shape::DataShape;

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
    fn forward(&self, x: Dual<4>, context: &Context) -> Dual<4> {
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
    /// Time, class and caption.
    pub conditioning: Conditioning,
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
    patch: usize,
}

impl Unet {
    /// For data of the given shape, with which `config` must be valid.
    pub fn new(config: &UnetConfig, shape: &DataShape, init: &mut Initialization) -> Self {
        let conditioning = ConditioningConfig {
            time_features: config.channels,
            time_endpoint: false,
            width: config.embedding(),
            null_class: config.null_class,
            augmentation: config.augmentation,
            caption: Some(&config.caption),
            start: Start::FanIn,
            class_rule: Rule::normal(1.0),
        };
        let conditioning = Conditioning::new(conditioning, shape, init);
        let mut blocks = Blocks::new(config, shape, init);
        if let Some(routing) = &config.routing {
            blocks.route(routing, init.device());
        }
        let outputs = config.patch * config.patch * shape.channels * if config.learned_variance { 2 } else { 1 };
        Self {
            conditioning,
            input_blocks: blocks.input,
            middle_block: blocks.middle,
            output_blocks: blocks.output,
            output_norm: config.block().norm(blocks.width, init),
            output_convolution: Conv2d::new(blocks.width, outputs, 3, Start::Zero, init),
            patch: config.patch,
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
        let context = self.conditioning.forward(x.dims()[0], time_label.into(), condition, dropout);
        let through = |layers: &[Layer], x| layers.iter().fold(x, |x, layer| layer.forward(x, &context));

        let mut kept = Vec::with_capacity(self.input_blocks.len());
        let mut h = x.each(|x| pixel_unshuffle(x, self.patch)); // [b, p p c, h / p, w / p]
        for (i, block) in self.input_blocks.iter().enumerate() {
            h = through(block, h);
            tap::maps("input_blocks", i, &h.value);
            kept.push(h.clone());
        }
        h = through(&self.middle_block, h);
        tap::maps("middle_block", 0, &h.value);
        for (i, (block, kept)) in self.output_blocks.iter().zip(kept.into_iter().rev()).enumerate() {
            h = through(block, Dual::cat(vec![h, kept], 1));
            tap::maps("output_blocks", i, &h.value);
        }
        let h = self.output_convolution.forward(self.output_norm.forward_silu(h));
        h.each(|h| pixel_shuffle(h, self.patch))
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
        let (captions, blocks) = (shape.has_captions(), config.block());
        let residual = |inputs, outputs, init: &mut Initialization| {
            Layer::Residual(ResidualBlock::new(inputs, outputs, Resample::Keep, &blocks, init))
        };
        let attention = |channels, init: &mut Initialization| {
            let mut layers = vec![Layer::Attention(AttentionBlock::new(channels, &blocks, init))];
            if captions {
                layers.push(Layer::CaptionAttention(CaptionAttentionBlock::new(channels, config, init)));
            }
            layers
        };
        let resample = |channels, change, init: &mut Initialization| match (config.residual_resample, change) {
            (true, _) => Layer::Residual(ResidualBlock::new(channels, channels, change, &blocks, init)),
            (false, Resample::Double) => Layer::Upsample(Upsample::new(channels, init)),
            (false, _) => Layer::Downsample(Downsample::new(channels, init)),
        };

        let levels: Vec<Level> = config.levels(shape).collect();
        let mut width = levels.first().map_or(config.channels, |level| level.width);
        let mut input = vec![vec![Layer::Convolution(Conv2d::new(
            config.patch * config.patch * shape.channels,
            width,
            3,
            Start::FanIn,
            init,
        ))]];
        let mut kept = vec![width];
        for level in &levels {
            for _ in 0..config.blocks {
                let mut layers = vec![residual(width, level.width, init)];
                width = level.width;
                if config.attention.contains(&level.height) {
                    layers.extend(attention(width, init));
                }
                input.push(layers);
                kept.push(width);
            }
            if !level.is_last {
                input.push(vec![resample(width, Resample::Halve, init)]);
                kept.push(width);
            }
        }

        let mut middle = vec![residual(width, width, init)];
        middle.extend(attention(width, init));
        middle.push(residual(width, width, init));

        let mut output = Vec::new();
        for (index, level) in levels.iter().enumerate().rev() {
            for block in 0..=config.blocks {
                let joined = width + kept.pop().unwrap_or(0);
                let mut layers = vec![residual(joined, level.width, init)];
                width = level.width;
                if config.attention.contains(&level.height) {
                    layers.extend(attention(width, init));
                }
                if index > 0 && block == config.blocks {
                    layers.push(resample(width, Resample::Double, init));
                }
                output.push(layers);
            }
        }
        Self { input, middle, output, width }
    }

    /// Gives every residual block its masks, in the order of the way through the network.
    fn route(&mut self, routing: &RoutingConfig, device: &Device) {
        let mut masks = BlockMasks::new(routing, device);
        let middle = std::iter::once(&mut self.middle);
        for layer in self.input.iter_mut().chain(middle).chain(&mut self.output).flatten() {
            if let Layer::Residual(block) = layer {
                block.masks = masks.next(block.inputs());
            }
        }
    }
}
