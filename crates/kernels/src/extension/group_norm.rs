//! Group normalization, plain and with a shift and scale per image.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;

use super::Operation;
use super::bytes::Bytes;
use super::tensor::{check, dense, sizes, slice, tensor};
use crate::slices::Isa;
use crate::slices::group_norm::{self, Gradients, Groups};

/// Group normalization of `x` `[b, c, h, w]` with `gamma` and `beta` `[c]`, through SiLU if asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupNorm {
    pub(crate) groups: usize,
    pub(crate) epsilon: f64,
    pub(crate) activation: bool,
}

/// What the backward pass needs of the kernel's forward pass: `x`, the statistics of each group, and the weight and
/// bias of each image and channel.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    x: FlexTensor,
    statistics: FlexTensor,
    weight: FlexTensor,
    bias: FlexTensor,
}

impl Bytes for Saved {
    fn byte_count(&self) -> u64 {
        self.x.byte_count() + self.statistics.byte_count() + self.weight.byte_count() + self.bias.byte_count()
    }
}

impl GroupNorm {
    fn shape(&self, x: &FlexTensor) -> Groups {
        let [_, channels, height, width] = sizes(x);
        let Self { groups, epsilon, activation } = *self;
        assert!(groups > 0 && channels.is_multiple_of(groups), "{groups} groups do not divide {channels} channels");
        Groups { channels, pixels: height * width, groups, epsilon: epsilon as f32, activation }
    }

    /// The norm with a weight and bias for each image and channel, `[b, c]`.
    fn run(&self, x: FlexTensor, weight: Vec<f32>, bias: Vec<f32>) -> (FlexTensor, Saved) {
        let shape = self.shape(&x);
        let [b, c, _, _] = sizes(&x);
        let (y, statistics) = group_norm::forward(Isa::detect(), slice(&x), &weight, &bias, shape);
        let saved = Saved {
            statistics: tensor(statistics, [b, shape.groups, 2]),
            weight: tensor(weight, [b, c]),
            bias: tensor(bias, [b, c]),
            x,
        };
        (tensor(y, saved.x.shape()), saved)
    }

    fn run_backward(&self, saved: &Saved, gradient: FlexTensor) -> Gradients {
        let Saved { x, statistics, weight, bias } = saved;
        group_norm::backward(
            Isa::detect(),
            slice(x),
            slice(&dense(gradient)),
            slice(weight),
            slice(bias),
            slice(statistics),
            self.shape(x),
        )
    }
}

impl Operation<3> for GroupNorm {
    type Saved = Saved;

    fn name(&self) -> &'static str {
        "group_norm"
    }

    fn forward(&self, inputs: [FlexTensor; 3]) -> (FlexTensor, Saved) {
        let [x, gamma, beta] = inputs.map(dense);
        let [b, c, _, _] = sizes(&x);
        check("group_norm", "gamma", &gamma, [c]);
        check("group_norm", "beta", &beta, [c]);
        self.run(x, slice(&gamma).repeat(b), slice(&beta).repeat(b))
    }

    fn backward(&self, saved: Saved, gradient: FlexTensor, _: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let [_, c, _, _] = sizes(&saved.x);
        let gradients = self.run_backward(&saved, gradient);
        let total = |per_image: &[f32]| tensor(sum_of_images(per_image, c), [c]);
        [Some(tensor(gradients.x, saved.x.shape())), Some(total(&gradients.weight)), Some(total(&gradients.bias))]
    }
}

/// Group normalization of `x` `[b, c, h, w]` with `gamma` and `beta` `[c]`, then `(1 + scale)` and `shift`, each
/// `[b, c]`, through SiLU if asked. It is the same kernel with `weight = gamma (1 + scale)` and `bias = beta (1 + scale) + shift`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupNormModulate(pub(crate) GroupNorm);

impl Operation<5> for GroupNormModulate {
    /// The kernel's, and `gamma`, `beta` and `scale`.
    type Saved = (Saved, [FlexTensor; 3]);

    fn name(&self) -> &'static str {
        "group_norm_modulate"
    }

    fn forward(&self, inputs: [FlexTensor; 5]) -> (FlexTensor, Self::Saved) {
        let [x, gamma, beta, shift, scale] = inputs.map(dense);
        let [b, c, _, _] = sizes(&x);
        check("group_norm_modulate", "gamma", &gamma, [c]);
        check("group_norm_modulate", "beta", &beta, [c]);
        check("group_norm_modulate", "shift", &shift, [b, c]);
        check("group_norm_modulate", "scale", &scale, [b, c]);
        let (of_channel, of_image) =
            (slice(&gamma).iter().zip(slice(&beta)).cycle(), slice(&scale).iter().zip(slice(&shift)));
        let (weight, bias) = of_channel
            .zip(of_image)
            .map(|((gamma, beta), (scale, shift))| (gamma * (1.0 + scale), beta * (1.0 + scale) + shift))
            .unzip();
        let (y, saved) = self.0.run(x, weight, bias);
        (y, (saved, [gamma, beta, scale]))
    }

    fn backward(&self, saved: Self::Saved, gradient: FlexTensor, _: [bool; 5]) -> [Option<FlexTensor>; 5] {
        let (saved, [gamma, beta, scale]) = saved;
        let [b, c, _, _] = sizes(&saved.x);
        let Gradients { x: dx, weight: dweight, bias: dbias } = self.0.run_backward(&saved, gradient);
        let dscale = slice(&gamma).iter().zip(slice(&beta)).cycle().zip(dweight.iter().zip(&dbias));
        let dscale = dscale.map(|((gamma, beta), (dweight, dbias))| gamma * dweight + beta * dbias).collect();
        let of_channel = |per_image: &[f32]| {
            let scaled: Vec<f32> = per_image.iter().zip(slice(&scale)).map(|(d, scale)| d * (1.0 + scale)).collect();
            tensor(sum_of_images(&scaled, c), [c])
        };
        [
            Some(tensor(dx, saved.x.shape())),
            Some(of_channel(&dweight)),
            Some(of_channel(&dbias)),
            Some(tensor(dbias, [b, c])),
            Some(tensor(dscale, [b, c])),
        ]
    }
}

/// The sum over images of `[b, c]`.
fn sum_of_images(per_image: &[f32], channels: usize) -> Vec<f32> {
    let mut total = vec![0.0f64; channels];
    for row in per_image.chunks_exact(channels) {
        for (total, value) in total.iter_mut().zip(row) {
            *total += *value as f64;
        }
    }
    total.into_iter().map(|total| total as f32).collect()
}
