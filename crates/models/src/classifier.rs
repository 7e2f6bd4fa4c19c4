//! A small convolutional classifier. Evaluation takes its features from it.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_kernels as kernels;

use crate::adapters::{self, AdaptersConfig};
use crate::initialization::{Initialization, Start};
use crate::layers::{Conv2d, Dropout, DropoutKey, GroupNorm, Linear, tap};
use crate::shape::DataShape;

/// Residual convolutions over a pyramid, then the mean over pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClassifierConfig {
    /// Channels of the first level; each further one has twice as many at half the height and width.
    pub channels: usize,
    /// Levels, of one residual block each.
    pub depth: usize,
    /// Length of the feature vector.
    pub features: usize,
    /// Groups of channels in each normalization.
    pub groups: usize,
    /// Probability of dropout before the logits.
    pub dropout: f64,
}

impl Default for ClassifierConfig {
    fn default() -> Self {
        Self { channels: 32, depth: 3, features: 128, groups: 8, dropout: 0.1 }
    }
}

impl ClassifierConfig {
    /// Every problem of these values for data of the given shape.
    pub fn validate(&self, shape: &DataShape) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.channels > 0, "channels", "must be at least 1");
        problems.check((1..16).contains(&self.depth), "depth", "must be at least 1 and below 16");
        problems.check(self.features > 0, "features", "must be at least 1");
        let divides = self.groups > 0 && self.channels.is_multiple_of(self.groups);
        problems.check(divides, "groups", format!("{} groups do not divide {} channels", self.groups, self.channels));
        problems.check((0.0..1.0).contains(&self.dropout), "dropout", "must be at least 0 and below 1");
        problems.check(shape.classes > 1, "", "a classifier needs data with at least two classes");
        problems
    }

    /// The network, with weights drawn from `seed`.
    ///
    /// # Errors
    /// Every problem that [`validate`](Self::validate) finds.
    pub fn build(&self, shape: &DataShape, device: &Device, seed: u64) -> Result<Classifier, Problems> {
        self.build_adapted(None, shape, device, seed)
    }

    /// The network with adapters on some of its layers; its other weights are those that it has without them.
    ///
    /// # Errors
    /// As [`build`](Self::build), and every rule that matches no layer, with keys of the `[adapters]` section.
    pub fn build_adapted(
        &self,
        adapters: Option<&AdaptersConfig>,
        shape: &DataShape,
        device: &Device,
        seed: u64,
    ) -> Result<Classifier, Problems> {
        let problems = self.validate(shape);
        if !problems.is_empty() {
            return Err(problems);
        }
        adapters::construct(adapters, seed, device, |init| Ok(Classifier::new(self, shape, init)))
    }
}

/// The network of [`ClassifierConfig`].
#[derive(Module, Debug)]
pub struct Classifier {
    /// `3 x 3`, from the image.
    pub input: Conv2d,
    /// One a level.
    pub levels: Vec<ClassifierLevel>,
    /// Before the mean over pixels.
    pub output_norm: GroupNorm,
    /// To the features.
    pub features: Linear,
    /// From the features.
    pub logits: Linear,
    dropout: Dropout,
}

/// A residual block, after a halving convolution on all levels but the first.
#[derive(Module, Debug)]
pub struct ClassifierLevel {
    /// `3 x 3`, stride 2, to twice the channels.
    pub halving: Option<Conv2d>,
    /// Before the first convolution.
    pub input_norm: GroupNorm,
    /// `3 x 3`.
    pub input_convolution: Conv2d,
    /// Before the second convolution.
    pub output_norm: GroupNorm,
    /// `3 x 3`.
    pub output_convolution: Conv2d,
}

impl Classifier {
    /// For data of the given shape, with which `config` must be valid.
    pub fn new(config: &ClassifierConfig, shape: &DataShape, init: &mut Initialization) -> Self {
        let mut width = config.channels;
        let input = Conv2d::new(shape.channels, width, 3, Start::FanIn, init);
        let mut levels = Vec::with_capacity(config.depth);
        for level in 0..config.depth {
            let mut halving = None;
            if level > 0 {
                halving = Some(Conv2d::new(width, 2 * width, 3, Start::FanIn, init).halving());
                width *= 2;
            }
            levels.push(ClassifierLevel {
                halving,
                input_norm: GroupNorm::new(width, config.groups, init),
                input_convolution: Conv2d::new(width, width, 3, Start::FanIn, init),
                output_norm: GroupNorm::new(width, config.groups, init),
                output_convolution: Conv2d::new(width, width, 3, Start::FanIn, init),
            });
        }
        Self {
            input,
            levels,
            output_norm: GroupNorm::new(width, config.groups, init),
            features: Linear::new(width, config.features, Start::FanIn, init),
            logits: Linear::new(config.features, shape.classes, Start::FanIn, init),
            dropout: init.dropout(config.dropout),
        }
    }

    /// Images `[b, c, h, w]` to features `[b, d]`: what the logits are a linear function of, after a SiLU.
    pub fn features(&self, x: Tensor<4>) -> Tensor<2> {
        let mut h = self.input.forward(x.into()); // [b, c, h, w]
        for (index, level) in self.levels.iter().enumerate() {
            if let Some(halving) = &level.halving {
                h = halving.forward(h);
            }
            let update = level.input_convolution.forward(level.input_norm.forward_silu(h.clone()));
            let update = level.output_convolution.forward(level.output_norm.forward_silu(update));
            h = h + update;
            tap::maps("levels", index, &h.value);
        }
        let h = self.output_norm.forward_silu(h);
        let [b, c, height, width] = h.dims();
        let mean = h.each(|h| h.reshape([b, c, height * width]).mean_dim(2).reshape([b, c])); // [b, c]
        self.features.forward(mean).value
    }

    /// Features `[b, d]` to logits `[b, classes]`.
    pub fn logits(&self, features: Tensor<2>, dropout: Option<DropoutKey>) -> Tensor<2> {
        self.logits.forward(self.dropout.forward(kernels::silu(features).into(), dropout)).value
    }

    /// Images `[b, c, h, w]` to logits `[b, classes]`.
    pub fn forward(&self, x: Tensor<4>, dropout: Option<DropoutKey>) -> Tensor<2> {
        self.logits(self.features(x), dropout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters;
    use crate::testing::{normal, values};

    #[test]
    fn images_become_features_and_logits() {
        let device = Device::flex();
        let shape = DataShape::images(1, 28, 28).with_classes(10);
        let network = ClassifierConfig::default().build(&shape, &device, 0).unwrap();
        let x = normal::<4>(0, [2, 1, 28, 28], &device);
        let features = network.features(x.clone());
        assert_eq!(features.dims(), [2, 128]);
        let logits = network.forward(x.clone(), None);
        assert_eq!(logits.dims(), [2, 10]);
        assert_eq!(values(&logits), values(&network.logits(features, None)));
        // The weights that a fresh network draws keep features of the order of one.
        let largest = values(&network.features(x)).iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        assert!((0.01..10.0).contains(&largest), "{largest}");
    }

    #[test]
    fn a_few_steps_downhill_tell_two_classes_apart() {
        let device = Device::flex().autodiff();
        let shape = DataShape::images(1, 8, 8).with_classes(2);
        let config = ClassifierConfig { channels: 8, depth: 2, features: 16, groups: 4, dropout: 0.0 };
        let mut network = config.build(&shape, &device, 0).unwrap();
        // Brighter on the left or on the right.
        let side = Tensor::<2>::from_data([[1.0], [-1.0], [1.0], [-1.0]], &device).reshape([4, 1, 1, 1]);
        let half = Tensor::<4>::ones([1, 1, 8, 4], &device);
        let image = Tensor::cat(vec![half.clone(), half * -1.0], 3);
        let x = normal::<4>(0, [4, 1, 8, 8], &device) * 0.3 + image * side.clone();
        let sign = side.reshape([4, 1]);
        let margin = |network: &Classifier| {
            let logits = network.forward(x.clone(), None);
            (logits.clone().narrow(1, 0, 1) - logits.narrow(1, 1, 1)) * sign.clone() // [4, 1]
        };
        for _ in 0..30 {
            let loss = ((margin(&network) * -1.0).exp() + 1.0).log().mean();
            let gradients = parameters::gradients(&network, &loss.backward());
            network = parameters::map(network, |name, flat| flat - gradients[name].clone() * 0.1);
        }
        assert!(values(&margin(&network)).iter().all(|margin| *margin > 0.0));
    }

    #[test]
    fn one_class_is_nothing_to_tell_apart() {
        let config = ClassifierConfig { groups: 7, ..ClassifierConfig::default() };
        let problems = config.build(&DataShape::images(1, 8, 8), &Device::flex(), 0).unwrap_err();
        assert_eq!(
            problems.to_string(),
            "groups: 7 groups do not divide 32 channels\na classifier needs data with at least two classes"
        );
    }
}
