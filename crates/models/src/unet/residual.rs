use burn::module::Module;

use super::BlockConfig;
use crate::conditioning::Context;
use crate::dual::{self, Dual};
use crate::initialization::{Initialization, Start};
use crate::layers::{Conv2d, Dropout, GroupNorm, Linear, Resample, ResampleFilter};
use crate::routing::Masks;

/// Two convolutions around which the input is carried; time and condition come in between them.
#[derive(Module, Debug)]
pub struct ResidualBlock {
    /// Before the first convolution.
    pub input_norm: GroupNorm,
    /// `3 x 3`, `[in] -> [out]`.
    pub input_convolution: Conv2d,
    /// `[e] -> [2 out]` (scale, shift), or `[out]` where it is only added.
    pub embedding: Linear,
    /// Before the second convolution.
    pub output_norm: GroupNorm,
    /// `3 x 3`, `[out] -> [out]`.
    pub output_convolution: Conv2d,
    /// `1 x 1`, where the number of channels changes.
    pub skip: Option<Conv2d>,
    /// The channels that the convolutions work on; all where there are none. The way around carries all.
    pub(super) masks: Option<Masks>,
    dropout: Dropout,
    #[module(skip)]
    resample: Resample,
    #[module(skip)]
    filter: ResampleFilter,
    scale_shift: bool,
    gain: f64,
}

impl ResidualBlock {
    pub(crate) fn new(
        inputs: usize,
        outputs: usize,
        resample: Resample,
        config: &BlockConfig,
        init: &mut Initialization,
    ) -> Self {
        let embedding = if config.scale_shift { 2 * outputs } else { outputs };
        let projects = inputs != outputs || (config.projects_resampled && resample != Resample::Keep);
        Self {
            input_norm: config.norm(inputs, init),
            input_convolution: Conv2d::new(inputs, outputs, 3, config.start, init),
            embedding: Linear::new(config.embedding, embedding, config.start, init),
            output_norm: config.norm(outputs, init),
            output_convolution: Conv2d::new(outputs, outputs, 3, config.last_start, init),
            skip: projects.then(|| Conv2d::new(inputs, outputs, 1, config.start, init)),
            masks: None,
            dropout: init.dropout(config.dropout),
            resample,
            filter: ResampleFilter::new(config.filter),
            scale_shift: config.scale_shift,
            gain: config.gain,
        }
    }

    /// Channels that come in.
    pub(super) fn inputs(&self) -> usize {
        self.input_norm.weight.lazy_shape()[0]
    }

    /// `[b, in, h, w]` to `[b, out, h', w']`.
    pub(crate) fn forward(&self, x: Dual<4>, context: &Context) -> Dual<4> {
        let seen = match &self.masks {
            Some(masks) => masks.over(x.clone(), context.time_label.clone()),
            None => x.clone(),
        };
        let h = self.filter.apply(self.input_norm.forward_silu(seen), self.resample); // [b, in, h', w']
        let h = self.input_convolution.forward(h); // [b, out, h', w']

        let [b, outputs, _, _] = h.dims();
        let embedding = self.embedding.forward(context.embedding.clone()); // [b, 2 out] or [b, out]
        let h = if self.scale_shift {
            let scale = embedding.clone().each(|x| x.narrow(1, 0, outputs));
            let shift = embedding.each(|x| x.narrow(1, outputs, outputs));
            self.output_norm.forward_modulated_silu(h, shift, scale)
        } else {
            self.output_norm.forward_silu(h + embedding.each(|x| x.reshape([b, outputs, 1, 1])))
        };
        let h = self.output_convolution.forward(self.dropout.forward(h, context.dropout)); // [b, out, h', w']

        let x = self.filter.apply(x, self.resample);
        let x = match &self.skip {
            Some(skip) => skip.forward(x),
            None => x,
        };
        scaled(x + h, self.gain)
    }
}

/// `gain x`, which costs nothing where the gain is 1.
pub(super) fn scaled(x: Dual<4>, gain: f64) -> Dual<4> {
    if gain == 1.0 { x } else { x * gain }
}

/// Halves height and width by a strided convolution.
#[derive(Module, Debug)]
pub struct Downsample {
    /// `3 x 3`, stride 2.
    pub halving: Conv2d,
}

impl Downsample {
    pub(super) fn new(channels: usize, init: &mut Initialization) -> Self {
        Self { halving: Conv2d::new(channels, channels, 3, Start::FanIn, init).halving() }
    }

    /// `[b, c, h, w]` to `[b, c, h/2, w/2]`.
    pub(super) fn forward(&self, x: Dual<4>) -> Dual<4> {
        self.halving.forward(x)
    }
}

/// Doubles height and width by repetition, then a convolution.
#[derive(Module, Debug)]
pub struct Upsample {
    /// `3 x 3`, at the doubled size.
    pub convolution: Conv2d,
}

impl Upsample {
    pub(super) fn new(channels: usize, init: &mut Initialization) -> Self {
        Self { convolution: Conv2d::new(channels, channels, 3, Start::FanIn, init) }
    }

    /// `[b, c, h, w]` to `[b, c, 2 h, 2 w]`.
    pub(super) fn forward(&self, x: Dual<4>) -> Dual<4> {
        self.convolution.forward(dual::upsample_nearest_2x(x))
    }
}
