use burn::module::Module;

use super::{Decoder, Encoder, NEARLY_ZERO, SongConditioning, SongUnetConfig};
use crate::condition::Condition;
use crate::conditioning::Context;
use crate::dual::Dual;
use crate::initialization::{Initialization, Start};
use crate::layers::{Conv2d, DropoutKey, GroupNorm, Resample, ResampleFilter, tap};
use crate::shape::DataShape;
use crate::unet::{AttentionBlock, BlockConfig, ResidualBlock};

/// The network of [`SongUnetConfig`].
#[derive(Module, Debug)]
pub struct SongUnet {
    /// Time, class and augmentation.
    pub conditioning: SongConditioning,
    /// `3 x 3`, from the image.
    pub input_convolution: Conv2d,
    /// The way down, from the image's size.
    pub encoder: Vec<EncoderLevel>,
    /// The bottom: two blocks, the first with attention.
    pub middle: Vec<SongBlock>,
    /// The way up, from the smallest size; each block also takes the kept features that were made last.
    pub decoder: Vec<DecoderLevel>,
    #[module(skip)]
    filter: ResampleFilter,
}

/// One level on the way down.
#[derive(Module, Debug)]
pub struct EncoderLevel {
    /// Halves; all levels but the first.
    pub down: Option<SongBlock>,
    /// What is added after that.
    pub auxiliary: Option<Auxiliary>,
    /// The rest; the features that each leaves are kept.
    pub blocks: Vec<SongBlock>,
}

/// What a level on the way down is told of the image.
#[derive(Module, Debug)]
pub enum Auxiliary {
    /// The halved image through a `1 x 1` convolution, added.
    Skip(Conv2d),
    /// A halving `3 x 3` convolution of what the last level was told, added, the sum over the square root of 2.
    Residual(Conv2d),
}

/// One level on the way up.
#[derive(Module, Debug)]
pub struct DecoderLevel {
    /// Doubles; all levels but the smallest.
    pub up: Option<SongBlock>,
    /// The rest.
    pub blocks: Vec<SongBlock>,
    /// What the level adds to the output.
    pub output: Option<Output>,
}

/// Features to the output's channels.
#[derive(Module, Debug)]
pub struct Output {
    /// Before SiLU.
    pub norm: GroupNorm,
    /// `3 x 3`; starts near zero.
    pub convolution: Conv2d,
}

/// A residual block, with or without attention after it.
#[derive(Module, Debug)]
pub struct SongBlock {
    /// With time and condition.
    pub residual: ResidualBlock,
    /// Among pixels.
    pub attention: Option<AttentionBlock>,
}

impl SongBlock {
    fn forward(&self, x: Dual<4>, context: &Context) -> Dual<4> {
        let x = self.residual.forward(x, context);
        match &self.attention {
            Some(attention) => attention.forward(x),
            None => x,
        }
    }
}

impl SongUnet {
    /// For data of the given shape, with which `config` must be valid.
    pub fn new(config: &SongUnetConfig, shape: &DataShape, init: &mut Initialization) -> Self {
        let make = Make { config, blocks: config.block() };
        let conditioning = SongConditioning::new(config, shape, init);
        let input_convolution = Conv2d::new(shape.channels, config.channels, 3, Start::Xavier, init);

        let (mut width, mut kept, mut told) = (config.channels, vec![config.channels], shape.channels);
        let mut encoder = Vec::new();
        for (level, multiplier) in config.multipliers.iter().enumerate() {
            let attention = config.attention.contains(&(shape.height >> level));
            let down = (level > 0).then(|| make.block(width, width, Resample::Halve, false, init));
            let auxiliary = if level > 0 { make.auxiliary(told, width, init) } else { None };
            if level > 0 {
                kept.push(width);
                told = if config.encoder == Encoder::Residual { width } else { told };
            }
            let mut blocks = Vec::new();
            for _ in 0..config.blocks {
                blocks.push(make.block(width, multiplier * config.channels, Resample::Keep, attention, init));
                width = multiplier * config.channels;
                kept.push(width);
            }
            encoder.push(EncoderLevel { down, auxiliary, blocks });
        }

        let middle = [true, false].map(|attention| make.block(width, width, Resample::Keep, attention, init)).into();

        let outputs = shape.channels * if config.learned_variance { 2 } else { 1 };
        let mut decoder = Vec::new();
        for (level, multiplier) in config.multipliers.iter().enumerate().rev() {
            let attention = config.attention.contains(&(shape.height >> level));
            let is_smallest = level + 1 == config.multipliers.len();
            let up = (!is_smallest).then(|| make.block(width, width, Resample::Double, false, init));
            let mut blocks = Vec::new();
            for block in 0..=config.blocks {
                let joined = width + kept.pop().unwrap_or(0);
                width = multiplier * config.channels;
                let attends = attention && block == config.blocks;
                blocks.push(make.block(joined, width, Resample::Keep, attends, init));
            }
            let has_output = level == 0 || config.decoder == Decoder::Skip;
            let output = has_output.then(|| Output {
                norm: make.blocks.norm(width, init),
                convolution: Conv2d::new(width, outputs, 3, NEARLY_ZERO, init),
            });
            decoder.push(DecoderLevel { up, blocks, output });
        }
        let filter = ResampleFilter::new(&config.filter);
        Self { conditioning, input_convolution, encoder, middle, decoder, filter }
    }

    /// Random frequencies, which are not trained.
    pub(crate) fn fixed(&self) -> usize {
        self.conditioning.table.fixed()
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
        let context = self.conditioning.forward(time_label.into(), condition, dropout);
        let mut told = x.clone();
        let mut h = self.input_convolution.forward(x);
        let mut kept = vec![h.clone()];
        for level in &self.encoder {
            if let Some(down) = &level.down {
                h = down.forward(h, &context);
                (h, told) = self.tell(&level.auxiliary, h, told);
                kept.push(h.clone());
            }
            for block in &level.blocks {
                h = block.forward(h, &context);
                tap::maps("encoder", kept.len(), &h.value);
                kept.push(h.clone());
            }
        }

        h = self.middle.iter().fold(h, |h, block| block.forward(h, &context));
        tap::maps("middle", 0, &h.value);

        let (mut kept, mut output) = (kept.into_iter().rev(), None::<Dual<4>>);
        let mut decoded = 0;
        for level in &self.decoder {
            if let Some(up) = &level.up {
                h = up.forward(h, &context);
                output = output.map(|output| self.filter.apply(output, Resample::Double));
            }
            for (block, kept) in level.blocks.iter().zip(kept.by_ref()) {
                h = block.forward(Dual::cat(vec![h, kept], 1), &context);
                tap::maps("decoder", decoded, &h.value);
                decoded += 1;
            }
            if let Some(layer) = &level.output {
                let made = layer.convolution.forward(layer.norm.forward_silu(h.clone()));
                output = Some(match output {
                    Some(output) => output + made,
                    None => made,
                });
            }
        }
        output.unwrap_or(h)
    }

    /// Features and what the level was told, from those features and what the last level was told.
    fn tell(&self, auxiliary: &Option<Auxiliary>, h: Dual<4>, told: Dual<4>) -> (Dual<4>, Dual<4>) {
        match auxiliary {
            None => (h, told),
            Some(Auxiliary::Skip(convolution)) => {
                let told = self.filter.apply(told, Resample::Halve);
                (h + convolution.forward(told.clone()), told)
            }
            Some(Auxiliary::Residual(convolution)) => {
                let h = (h + self.halved(convolution, told)) * 0.5f64.sqrt();
                (h.clone(), h)
            }
        }
    }

    /// The convolution one filter's width beyond the image, then halved: so the filter meets no zeros.
    fn halved(&self, convolution: &Conv2d, x: Dual<4>) -> Dual<4> {
        self.filter.halve(convolution.forward_beyond(x, self.filter.padding()), 0)
    }
}

/// Makes the parts of one network.
struct Make<'a> {
    config: &'a SongUnetConfig,
    blocks: BlockConfig<'a>,
}

impl Make<'_> {
    fn block(
        &self,
        inputs: usize,
        outputs: usize,
        resample: Resample,
        attention: bool,
        init: &mut Initialization,
    ) -> SongBlock {
        SongBlock {
            residual: ResidualBlock::new(inputs, outputs, resample, &self.blocks, init),
            attention: attention.then(|| AttentionBlock::new(outputs, &self.blocks, init)),
        }
    }

    fn auxiliary(&self, told: usize, width: usize, init: &mut Initialization) -> Option<Auxiliary> {
        match self.config.encoder {
            Encoder::Standard => None,
            Encoder::Skip => Some(Auxiliary::Skip(Conv2d::new(told, width, 1, Start::Xavier, init))),
            Encoder::Residual => Some(Auxiliary::Residual(Conv2d::new(told, width, 3, Start::Xavier, init))),
        }
    }
}
