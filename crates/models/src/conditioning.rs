//! What a network is told besides the image: time, class and caption, as one vector and, for captions, tokens.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use sinter_kernels as kernels;

use crate::caption::{CaptionConfig, CaptionEncoder, EncodedCaption};
use crate::condition::Condition;
use crate::dual::{self, Dual};
use crate::initialization::{Initialization, Rule, Start};
use crate::layers::{ClassEmbedding, DropoutKey, Linear, TimeEmbedding};
use crate::shape::DataShape;

/// Time, class and caption to vectors that are added up.
#[derive(Module, Debug)]
pub struct Conditioning {
    /// The time label's.
    pub time: TimeEmbedding,
    /// `[labels, features]`, added to the time's cosines and sines; for networks that are told how images were augmented.
    pub augmentation: Option<Param<Tensor<2>>>,
    /// The class's, for data with labels.
    pub class: Option<ClassEmbedding>,
    /// Reads captions, for data with them.
    pub caption: Option<CaptionEncoder>,
    /// The caption's, from the mean over its tokens.
    pub caption_mean: Option<Linear>,
}

/// Sizes and first weights of a network's [`Conditioning`].
pub(crate) struct ConditioningConfig<'a> {
    /// Sines and cosines of the time label.
    pub(crate) time_features: usize,
    /// Whether their lowest frequency is 1/10000, see [`TimeEmbedding`].
    pub(crate) time_endpoint: bool,
    /// Features of the vector.
    pub(crate) width: usize,
    pub(crate) null_class: bool,
    /// Numbers that tell how an image was augmented.
    pub(crate) augmentation: usize,
    /// `None` where the network cannot read captions.
    pub(crate) caption: Option<&'a CaptionConfig>,
    /// Of the layers that make vectors of time and caption.
    pub(crate) start: Start,
    /// Of the classes' vectors.
    pub(crate) class_rule: Rule,
}

/// What every block of a network is told.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// SiLU of the vector `[b, d]`: every block begins with it.
    pub(crate) embedding: Dual<2>,
    /// The time's part of that vector alone, before SiLU.
    pub(crate) time: Dual<2>,
    /// The other parts: the class's and the caption's, where there are any.
    pub(crate) others: Vec<Dual<2>>,
    /// As the network was given them, `[b]`.
    pub(crate) time_label: Tensor<1>,
    pub(crate) caption: Option<EncodedCaption>,
    pub(crate) dropout: Option<DropoutKey>,
}

impl Context {
    /// The parts of the vector as tokens `[b, parts, d]`, the time's first.
    pub(crate) fn tokens(&self) -> Dual<3> {
        let parts = std::iter::once(&self.time).chain(&self.others).cloned();
        Dual::cat(parts.map(|part| part.each(|x| x.unsqueeze_dim::<3>(1))).collect(), 1)
    }
}

impl Conditioning {
    pub(crate) fn new(config: ConditioningConfig, shape: &DataShape, init: &mut Initialization) -> Self {
        let ConditioningConfig {
            time_features,
            time_endpoint,
            width,
            null_class,
            augmentation,
            caption,
            start,
            class_rule,
        } = config;
        let time = TimeEmbedding::new(time_features, time_endpoint, width, start, init);
        let has_classes = shape.has_classes();
        let class = has_classes.then(|| ClassEmbedding::new(shape.classes, null_class, width, class_rule, init));
        let caption = caption.filter(|_| shape.has_captions());
        Self {
            time,
            augmentation: (augmentation > 0).then(|| init.parameter([augmentation, time_features], Rule::ZEROS)),
            class,
            caption: caption.map(|config| CaptionEncoder::new(config, shape, init)),
            caption_mean: caption.map(|config| Linear::new(config.width, width, start, init)),
        }
    }

    /// For `batch` images with time labels `[b]`.
    pub(crate) fn forward(
        &self,
        batch: usize,
        time_label: Dual<1>,
        condition: &Condition,
        dropout: Option<DropoutKey>,
    ) -> Context {
        let mut features = self.time.features(time_label.clone());
        if let (Some(weight), Some(augmentation)) = (&self.augmentation, &condition.augmentation) {
            features = features + kernels::linear(augmentation.clone(), weight.val(), None);
        }
        let time = self.time.mlp.forward_silu(features); // [b, d]
        let mut others = Vec::new();
        let class = self.class.as_ref().and_then(|table| table.forward(condition.class.clone(), batch));
        others.extend(class.map(Dual::from));
        let caption = self.caption.as_ref().map(|encoder| encoder.forward(condition.caption.as_ref(), batch));
        if let (Some(layer), Some(caption)) = (&self.caption_mean, &caption) {
            others.push(layer.forward(caption.pooled.clone().into()));
        }
        let embedding = others.iter().fold(time.clone(), |sum, other| sum + other.clone());
        Context { embedding: dual::silu(embedding), time, others, time_label: time_label.value, caption, dropout }
    }
}
