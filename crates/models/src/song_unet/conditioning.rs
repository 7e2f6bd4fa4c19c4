use std::f64::consts::TAU;

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use sinter_kernels as kernels;

use super::{SongUnetConfig, TimeFeatures};
use crate::condition::Condition;
use crate::conditioning::Context;
use crate::dual::{self, Dual};
use crate::initialization::{Initialization, Rule, Start};
use crate::layers::{DropoutKey, Frozen, Linear, Mlp, time_frequencies, turns};
use crate::shape::DataShape;

/// Time, class and augmentation: features that are added up before a small network makes one vector of them.
#[derive(Module, Debug)]
pub struct SongConditioning {
    /// Of the time label.
    pub table: TimeTable,
    /// `[classes] -> [features]`, for data with labels. Without a label, or with the null class, the bias is left.
    pub class: Option<Linear>,
    /// `[labels, features]`, without a bias: an image that was not augmented has zeros.
    pub augmentation: Option<Param<Tensor<2>>>,
    /// `[features] -> [d] -> [d]`.
    pub mlp: Mlp,
}

/// The frequencies at which a time label is told, half as many as features.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a network holds one")]
pub enum TimeTable {
    /// Geometrically spaced, `[half]`.
    Sinusoidal(Tensor<1>),
    /// Random.
    Fourier(Frequencies),
}

/// Random frequencies, in periods, `[half]`.
#[derive(Module, Debug)]
pub struct Frequencies {
    frequencies: Frozen,
}

impl TimeTable {
    fn new(features: TimeFeatures, width: usize, init: &mut Initialization) -> Self {
        let half = width / 2;
        match features {
            TimeFeatures::Sinusoidal => {
                let frequencies = time_frequencies(width, true).map(|frequency| frequency as f32).collect();
                Self::Sinusoidal(Tensor::from_data(TensorData::new(frequencies, [half]), init.device()))
            }
            TimeFeatures::Fourier { scale } => {
                Self::Fourier(Frequencies { frequencies: Frozen::new(half, Rule::normal(scale as f32), init) })
            }
        }
    }

    pub(super) fn fixed(&self) -> usize {
        match self {
            Self::Sinusoidal(_) => 0,
            Self::Fourier(random) => random.frequencies.length(),
        }
    }

    /// All sines of the labels `[b]`, then all cosines: `[b, features]`.
    fn features(&self, label: Dual<1>) -> Dual<2> {
        let frequencies = match self {
            Self::Sinusoidal(frequencies) => frequencies.clone(),
            Self::Fourier(random) => random.frequencies.values() * TAU,
        };
        let (cosines, sines) = turns(label, frequencies.unsqueeze_dim::<2>(0)); // [b, half] each
        Dual::cat(vec![sines, cosines], 1)
    }
}

impl SongConditioning {
    pub(super) fn new(config: &SongUnetConfig, shape: &DataShape, init: &mut Initialization) -> Self {
        let (features, width) = (config.time_width(), config.embedding());
        let augmentation = |init: &mut Initialization| {
            init.parameter([config.augmentation, features], Rule::xavier(config.augmentation, features))
        };
        Self {
            table: TimeTable::new(config.time_features, features, init),
            class: shape.has_classes().then(|| Linear::new(shape.classes, features, Start::Xavier, init)),
            augmentation: (config.augmentation > 0).then(|| augmentation(init)),
            mlp: Mlp::new(features, width, width, Start::Xavier, init),
        }
    }

    /// For `batch` images with time labels `[b]`.
    pub(super) fn forward(&self, time_label: Dual<1>, condition: &Condition, dropout: Option<DropoutKey>) -> Context {
        let mut features = self.table.features(time_label.clone()); // [b, features]
        if let Some(layer) = &self.class {
            features = features + class_features(layer, condition);
        }
        if let (Some(weight), Some(augmentation)) = (&self.augmentation, &condition.augmentation) {
            features = features + kernels::linear(augmentation.clone(), weight.val(), None);
        }
        let vector = self.mlp.forward_silu(features); // [b, d]
        Context {
            embedding: dual::silu(vector.clone()),
            time: vector,
            others: Vec::new(),
            time_label: time_label.value,
            caption: None,
            dropout,
        }
    }
}

/// `layer` on labels as vectors of zeros and one `sqrt(classes)`; all zeros for the null class and without labels.
/// `[b, features]`, or `[1, features]` without labels.
fn class_features(layer: &Linear, condition: &Condition) -> Tensor<2> {
    let [classes, _] = layer.weight.dims();
    let encoded = match condition.class.clone() {
        Some(class) => class.one_hot::<2>(classes + 1).narrow(1, 0, classes).float() * (classes as f64).sqrt(),
        None => Tensor::zeros([1, classes], &layer.weight.device()),
    };
    layer.forward(encoded.into()).value
}
