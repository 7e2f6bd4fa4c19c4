use burn::module::Module;
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_kernels::map_images;

use crate::adapters::{self, AdaptersConfig};
use crate::classifier::ClassifierConfig;
use crate::condition::Condition;
use crate::dit::{Dit, DitConfig, PriorTargets};
use crate::dual::Dual;
use crate::initialization::Initialization;
use crate::layers::{DropoutKey, tap};
use crate::mlp::{MlpConfig, ResidualMlp};
use crate::shape::DataShape;
use crate::song_unet::{SongUnet, SongUnetConfig, TimeFeatures};
use crate::unet::{Unet, UnetConfig};

/// The `[model]` section: which backbone, and its sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ModelConfig {
    /// A convolutional pyramid with attention.
    Unet(UnetConfig),
    /// A convolutional pyramid in the layout of DDPM++ and NCSN++.
    SongUnet(SongUnetConfig),
    /// A transformer over patches.
    Dit(DitConfig),
    /// A residual multilayer perceptron, for points in the plane.
    Mlp(MlpConfig),
    /// A convolutional classifier, which evaluation takes features from.
    Classifier(ClassifierConfig),
}

impl ModelConfig {
    /// Every problem of these values for data of the given shape.
    pub fn validate(&self, shape: &DataShape) -> Problems {
        match self {
            Self::Unet(config) => config.validate(shape),
            Self::SongUnet(config) => config.validate(shape),
            Self::Dit(config) => config.validate(shape),
            Self::Mlp(config) => config.validate(shape),
            Self::Classifier(config) => config.validate(shape),
        }
    }

    /// The backbone, with weights drawn from `seed`; on an autodiff device it can be trained.
    ///
    /// # Errors
    /// Every problem that [`validate`](Self::validate) finds; a classifier is not a backbone and is built by
    /// [`ClassifierConfig::build`].
    pub fn build(&self, shape: &DataShape, device: &Device, seed: u64) -> Result<Network, Problems> {
        self.build_adapted(None, shape, device, seed)
    }

    /// The backbone, with weights from `init`.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_from(&self, shape: &DataShape, mut init: Initialization) -> Result<Network, Problems> {
        let problems = self.validate(shape);
        if !problems.is_empty() {
            return Err(problems);
        }
        self.construct(shape, &mut init)
    }

    /// The backbone with adapters on some of its layers; its other weights are those that it has without them.
    ///
    /// # Errors
    /// As [`build`](Self::build), and every rule that matches no layer, with keys of the `[adapters]` section.
    pub fn build_adapted(
        &self,
        adapters: Option<&AdaptersConfig>,
        shape: &DataShape,
        device: &Device,
        seed: u64,
    ) -> Result<Network, Problems> {
        let problems = self.validate(shape);
        if !problems.is_empty() {
            return Err(problems);
        }
        adapters::construct(adapters, seed, device, |init| self.construct(shape, init))
    }

    fn construct(&self, shape: &DataShape, init: &mut Initialization) -> Result<Network, Problems> {
        Ok(match self {
            Self::Unet(config) => Network::Unet(Unet::new(config, shape, init)),
            Self::SongUnet(config) => Network::SongUnet(SongUnet::new(config, shape, init)),
            Self::Dit(config) => Network::Dit(Dit::new(config, shape, init)),
            Self::Mlp(config) => Network::Mlp(ResidualMlp::new(config, shape, init)),
            Self::Classifier(_) => {
                let mut problems = Problems::new();
                problems.push("type", "a classifier does not map images to images");
                return Err(problems);
            }
        })
    }

    /// Whether the network has a class for "any", without which it cannot be guided by class.
    pub fn has_null_class(&self) -> bool {
        match self {
            Self::Unet(config) => config.null_class,
            // Its null class is no label at all.
            Self::SongUnet(_) => true,
            Self::Dit(config) => config.null_class,
            Self::Mlp(config) => config.null_class,
            Self::Classifier(_) => false,
        }
    }

    /// The highest frequency at which the network's embedding tells its time label, in radians a unit of the label; of
    /// random frequencies three standard deviations.
    pub fn time_frequency(&self) -> f64 {
        match self {
            Self::SongUnet(SongUnetConfig { time_features: TimeFeatures::Fourier { scale }, .. }) => {
                3.0 * std::f64::consts::TAU * scale
            }
            _ => 1.0,
        }
    }

    /// Whether the network gives a second set of channels, the variance of the reverse process.
    pub fn learns_variance(&self) -> bool {
        match self {
            Self::Unet(config) => config.learned_variance,
            Self::SongUnet(config) => config.learned_variance,
            Self::Dit(config) => config.learned_variance,
            Self::Mlp(_) | Self::Classifier(_) => false,
        }
    }
}

/// A backbone: from a noised image, its time and what is asked for, to a prediction.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a process holds a handful of networks")]
pub enum Network {
    /// See [`UnetConfig`].
    Unet(Unet),
    /// See [`SongUnetConfig`].
    SongUnet(SongUnet),
    /// See [`DitConfig`].
    Dit(Dit),
    /// See [`MlpConfig`].
    Mlp(ResidualMlp),
}

impl Network {
    /// Images `[b, c, h, w]` and time labels `[b]` to `[b, c, h, w]`, or `[b, 2 c, h, w]` with a learned variance.
    ///
    /// Without a `dropout` key nothing is dropped. The images must have the size that the network was built for.
    pub fn forward(
        &self,
        x: Tensor<4>,
        time_label: Tensor<1>,
        condition: &Condition,
        dropout: Option<DropoutKey>,
    ) -> Tensor<4> {
        self.forward_dual(x, time_label, condition, dropout).value
    }

    /// [`forward`](Self::forward), and how its output moves as images and time labels do: the derivative along their
    /// tangents. What is asked for stays.
    pub fn forward_dual(
        &self,
        x: impl Into<Dual<4>>,
        time_label: impl Into<Dual<1>>,
        condition: &Condition,
        dropout: Option<DropoutKey>,
    ) -> Dual<4> {
        match self {
            Self::Unet(network) => network.forward(x, time_label, condition, dropout),
            Self::SongUnet(network) => network.forward(x, time_label, condition, dropout),
            Self::Dit(network) => network.forward(x, time_label, condition, dropout),
            Self::Mlp(network) => network.forward(x, time_label, condition, dropout),
        }
    }

    /// Numbers that belong to the network and are not trained: the positions of a DiT, random frequencies.
    pub fn fixed(&self) -> usize {
        match self {
            Self::Dit(network) => network.fixed(),
            Self::SongUnet(network) => network.fixed(),
            Self::Unet(_) | Self::Mlp(_) => 0,
        }
    }

    /// Which experts each time takes, a block after the other: ones and zeros `[tasks, experts]`; none where there are no
    /// experts.
    pub fn usage(&self) -> Vec<Tensor<2>> {
        match self {
            Self::Dit(network) => network.usage(),
            Self::Unet(_) | Self::SongUnet(_) | Self::Mlp(_) => Vec::new(),
        }
    }

    /// What the gates of experts are asked for in one update; `None` where nothing is. See [`Dit::prior_targets`].
    pub fn prior_targets(&self, seed: u64, images: u64) -> Option<PriorTargets> {
        match self {
            Self::Dit(network) => network.prior_targets(seed, images),
            Self::Unet(_) | Self::SongUnet(_) | Self::Mlp(_) => None,
        }
    }

    /// The loss of each image `[b]` that `targets` add, for time labels `[b]`. See [`Dit::prior_losses`].
    pub fn prior_losses(&self, time_label: Tensor<1>, targets: &PriorTargets) -> Option<Tensor<1>> {
        match self {
            Self::Dit(network) => Some(network.prior_losses(time_label, targets)),
            Self::Unet(_) | Self::SongUnet(_) | Self::Mlp(_) => None,
        }
    }

    /// What each block makes of images, block after block: see [`tap`].
    pub fn representations(
        &self,
        x: Tensor<4>,
        time_label: Tensor<1>,
        condition: &Condition,
    ) -> Vec<tap::Representation> {
        let parts = map_images(&x.device(), x.dims()[0], |images| {
            let (start, count) = (images.start, images.len());
            let (x, time_label) = (x.clone().narrow(0, start, count), time_label.clone().narrow(0, start, count));
            tap::record(|| self.forward(x, time_label, &condition.slice(images), None)).1
        });
        tap::joined(parts)
    }

    /// [`forward`](Self::forward) without dropout and gradients, the images shared among the CPU's threads.
    pub fn predict(&self, x: Tensor<4>, time_label: Tensor<1>, condition: &Condition) -> Tensor<4> {
        let outputs = map_images(&x.device(), x.dims()[0], |images| {
            let (start, count) = (images.start, images.len());
            let (x, time_label) = (x.clone().narrow(0, start, count), time_label.clone().narrow(0, start, count));
            self.forward(x, time_label, &condition.slice(images), None)
        });
        Tensor::cat(outputs, 0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use burn::tensor::TensorData;

    use super::*;
    use crate::caption::{CaptionConfig, Vocabulary};
    use crate::dit::BlockDesign;
    use crate::parameters;
    use crate::routing::{DtrConfig, RoutingConfig};
    use crate::song_unet::{Decoder, Encoder};
    use crate::testing::{assert_close, device, normal, randomized, rounding, values};

    const SHAPE: DataShape =
        DataShape { channels: 2, height: 8, width: 8, classes: 3, vocabulary: 5, caption_length: 4 };

    /// One small network of each kind and the data that it is for.
    pub(crate) fn networks(dropout: f64) -> Vec<(ModelConfig, DataShape)> {
        let caption = CaptionConfig { width: 8, depth: 1, heads: 2 };
        let unet = UnetConfig {
            channels: 8,
            multipliers: vec![1, 2],
            blocks: 1,
            attention: vec![4],
            heads: 2,
            groups: 4,
            dropout,
            caption: caption.clone(),
            ..UnetConfig::default()
        };
        let patches = UnetConfig { patch: 2, embedding: Some(12), attention: vec![4], ..unet.clone() };
        let plain =
            UnetConfig { residual_resample: false, scale_shift_norm: false, attention: vec![8], ..unet.clone() };
        // Half of the channels, and labels that tell apart more tasks than the images have.
        let dtr = DtrConfig { ratio: 0.5, curvature: 1.0, ..DtrConfig::default() };
        let routed = UnetConfig { routing: Some(RoutingConfig::Dtr(dtr.clone())), ..unet.clone() };
        let dit = DitConfig { width: 16, depth: 2, heads: 2, dropout, caption, ..DitConfig::default() };
        let routing = Some(RoutingConfig::Dtr(dtr));
        let design = |block| ModelConfig::Dit(DitConfig { block, ..dit.clone() });
        let mlp = MlpConfig { width: 16, depth: 2, dropout, ..MlpConfig::default() };
        let points = DataShape::images(2, 1, 1).with_classes(3);
        let labelled = DataShape::images(2, 8, 8).with_classes(3);
        let song = SongUnetConfig {
            channels: 8,
            multipliers: vec![1, 2],
            blocks: 1,
            attention: vec![4],
            dropout,
            ..SongUnetConfig::default()
        };
        let ncsnpp = SongUnetConfig {
            time_features: TimeFeatures::Fourier { scale: 0.01 },
            time_width: Some(16),
            encoder: Encoder::Residual,
            filter: vec![1.0, 3.0, 3.0, 1.0],
            ..song.clone()
        };
        let skip = SongUnetConfig { encoder: Encoder::Skip, decoder: Decoder::Skip, ..ncsnpp.clone() };
        vec![
            (ModelConfig::SongUnet(song), labelled),
            (ModelConfig::SongUnet(ncsnpp), labelled),
            (ModelConfig::SongUnet(skip), labelled),
            (ModelConfig::Unet(unet), SHAPE),
            (ModelConfig::Unet(patches), SHAPE),
            (ModelConfig::Unet(plain), SHAPE),
            (ModelConfig::Unet(routed), SHAPE),
            (design(BlockDesign::AdalnZero), SHAPE),
            (design(BlockDesign::Adaln), SHAPE),
            (design(BlockDesign::InContext), SHAPE),
            (design(BlockDesign::CrossAttention), SHAPE),
            (ModelConfig::Dit(DitConfig { block: BlockDesign::InContext, routing, ..dit.clone() }), SHAPE),
            (ModelConfig::Mlp(mlp), points),
        ]
    }

    fn condition(shape: &DataShape, batch: usize, device: &Device) -> Condition {
        let class = (0..batch).map(|i| (i % (shape.classes + 1)) as i64).collect();
        let class = Tensor::from_data(TensorData::new(class, [batch]), device);
        let captions: Vec<&str> = ["red", "blue red", "", "green"].into_iter().cycle().take(batch).collect();
        let vocabulary = Vocabulary::new(["red", "green", "blue"]).unwrap();
        let caption = vocabulary.caption(&captions, shape.caption_length.max(4), device).unwrap();
        Condition { class: Some(class), caption: Some(caption), augmentation: None }
    }

    fn inputs(shape: &DataShape, batch: usize, device: &Device) -> (Tensor<4>, Tensor<1>) {
        let x = normal(0, [batch, shape.channels, shape.height, shape.width], device);
        (x, normal::<1>(1, [batch], device) * 100.0)
    }

    #[test]
    fn all_that_is_asked_for_matters_and_rows_do_not_meet() {
        let device = Device::flex();
        for (config, shape) in networks(0.0) {
            let network = randomized(config.build(&shape, &device, 0).unwrap());
            let (x, time) = inputs(&shape, 4, &device);
            let asked = condition(&shape, 4, &device);
            let y = network.forward(x.clone(), time.clone(), &asked, None);
            assert_eq!(y.dims(), x.dims());

            let rolled = |condition: Condition| {
                values(&network.forward(x.clone().roll_dim(1, 0), time.clone().roll_dim(1, 0), &condition, None))
            };
            let mut all = asked.clone();
            all.class = all.class.map(|class| class.roll_dim(1, 0));
            all.caption = all.caption.map(|mut caption| {
                caption.tokens = caption.tokens.roll_dim(1, 0);
                caption.mask = caption.mask.roll_dim(1, 0);
                caption
            });
            assert_close(&rolled(all.clone()), &values(&y.clone().roll_dim(1, 0)), 1e-5);
            let without = |part: &str| match part {
                "class" => Condition { class: asked.class.clone(), ..all.clone() },
                _ => Condition { caption: asked.caption.clone(), ..all.clone() },
            };
            assert_ne!(rolled(without("class")), rolled(all.clone()));
            if shape.has_captions() {
                assert_ne!(rolled(without("caption")), rolled(all.clone()));
            }
            let later = network.forward(x.clone(), time.clone() + 50.0, &asked, None);
            assert_ne!(values(&later), values(&y));
        }
    }

    /// As many images as make several ranges.
    #[test]
    fn shared_images_are_those_of_one_batch() {
        let device = Device::flex();
        for (config, shape) in networks(0.3) {
            let network = randomized(config.build(&shape, &device, 0).unwrap());
            let (x, time) = inputs(&shape, 27, &device);
            for asked in [condition(&shape, 27, &device), Condition::none()] {
                let whole = network.forward(x.clone(), time.clone(), &asked, None);
                assert_close(&values(&network.predict(x.clone(), time.clone(), &asked)), &values(&whole), 1e-6);
            }
        }
    }

    /// The gradient of a batch is the sum of those of its halves, dropout included.
    #[test]
    fn accumulated_gradients_are_those_of_the_large_batch() {
        let device = Device::flex().autodiff();
        for (config, shape) in networks(0.2) {
            let network = randomized(config.build(&shape, &device, 0).unwrap());
            let (x, time) = inputs(&shape, 4, &device);
            let asked = condition(&shape, 4, &device);
            let gradient = |start: usize, length: usize| {
                let part = asked.slice(start..start + length);
                let key = DropoutKey { seed: 7, first_image: 100 + start as u64 };
                let (x, time) = (x.clone().narrow(0, start, length), time.clone().narrow(0, start, length));
                let loss = network.forward(x, time, &part, Some(key)).square().sum();
                parameters::gradients(&network, &loss.backward())
            };
            let flat =
                |gradients: BTreeMap<String, Tensor<1>>| -> Vec<f32> { gradients.values().flat_map(values).collect() };
            let (whole, first, second) = (flat(gradient(0, 4)), flat(gradient(0, 2)), flat(gradient(2, 2)));
            let sum: Vec<f32> = first.iter().zip(&second).map(|(a, b)| a + b).collect();
            let norm = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            let difference: Vec<f32> = whole.iter().zip(&sum).map(|(a, b)| a - b).collect();
            let relative = norm(&difference) / norm(&whole);
            assert!(relative < 1e-6, "{relative:e}");
        }
    }

    #[test]
    fn gradients_reach_every_parameter() {
        let device = Device::flex().autodiff();
        for (config, shape) in networks(0.0) {
            let network = randomized(config.build(&shape, &device, 0).unwrap());
            let (x, time) = inputs(&shape, 4, &device);
            let loss = network.forward(x, time, &condition(&shape, 4, &device), None).square().sum();
            let gradients = parameters::gradients(&network, &loss.backward());
            let trained =
                parameters::names_and_shapes(&network).into_keys().filter(|name| !name.ends_with("frequencies"));
            assert!(gradients.keys().cloned().eq(trained));
            // Attention does not change when all keys move alike.
            for (name, gradient) in gradients.iter().filter(|(name, _)| !name.ends_with("key.bias")) {
                assert!(values(gradient).iter().any(|value| *value != 0.0), "{name} of {config:?}");
            }
        }
    }

    #[test]
    fn a_configuration_is_read_as_it_is_written() {
        for (config, _) in networks(0.1) {
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<ModelConfig>(&text).unwrap(), config);
        }
        let unknown = serde_json::from_str::<ModelConfig>(r#"{"type": "dit", "widht": 3}"#).unwrap_err();
        assert!(unknown.to_string().contains("widht"), "{unknown}");
    }

    /// Outputs and gradients of every kind of network on the device under test, against the CPU's.
    #[test]
    #[ignore = "needs SINTER_TEST_DEVICE and a build with that device's feature"]
    fn devices_agree_with_the_cpu() {
        assert_ne!(device(), Device::flex(), "SINTER_TEST_DEVICE is unset: there is nothing to compare");
        let run = |config: &ModelConfig, shape: &DataShape, device: &Device| {
            let device = &device.clone().autodiff();
            let network = randomized(config.build(shape, device, 0).unwrap());
            let (x, time) = inputs(shape, 2, device);
            let key = Some(DropoutKey { seed: 7, first_image: 0 });
            let y = network.forward(x, time, &condition(shape, 2, device), key);
            let gradients = parameters::gradients(&network, &y.clone().square().sum().backward());
            let mut all: BTreeMap<String, Vec<f32>> =
                gradients.iter().map(|(name, gradient)| (name.clone(), values(gradient))).collect();
            all.insert("output".into(), values(&y));
            all
        };
        for (config, shape) in networks(0.1) {
            let (there, here) = (run(&config, &shape, &device()), run(&config, &shape, &Device::flex()));
            let largest = here.values().flatten().fold(0.0f32, |largest, value| largest.max(value.abs()));
            for (name, expected) in &here {
                // Gradients that are zero by structure are noise on both.
                if expected.iter().any(|value| value.abs() > 1e-5 * largest) {
                    println!("{name}");
                    assert_close(&there[name], expected, rounding());
                }
            }
        }
    }
}
