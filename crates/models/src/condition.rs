//! What a network is asked to draw.

use std::ops::Range;

use burn::tensor::{Int, Tensor};

/// What a network is asked to draw. A part that is `None` is not asked for: the network then takes its null class, or
/// no caption. A part that the network was not built for is not looked at.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// Class labels `[b]`. The label `classes` is the null class, which stands for "any".
    pub class: Option<Tensor<1, Int>>,
    /// Captions, one a row.
    pub caption: Option<Caption>,
    /// How each image was augmented, `[b, labels]`; zeros, or `None`, where none was.
    pub augmentation: Option<Tensor<2>>,
}

impl Condition {
    /// Nothing is asked for.
    pub fn none() -> Self {
        Self::default()
    }

    /// Classes `[b]` only.
    pub fn of_class(class: Tensor<1, Int>) -> Self {
        Self { class: Some(class), ..Self::default() }
    }

    /// Captions only.
    pub fn of_caption(caption: Caption) -> Self {
        Self { caption: Some(caption), ..Self::default() }
    }

    /// What some of the images are asked for.
    pub fn slice(&self, images: Range<usize>) -> Self {
        let (start, count) = (images.start, images.len());
        let caption = |caption: &Caption| Caption {
            tokens: caption.tokens.clone().narrow(0, start, count),
            mask: caption.mask.clone().narrow(0, start, count),
        };
        Self {
            class: self.class.clone().map(|class| class.narrow(0, start, count)),
            caption: self.caption.as_ref().map(caption),
            augmentation: self.augmentation.clone().map(|labels| labels.narrow(0, start, count)),
        }
    }
}

/// Tokenized captions of one batch; [`Vocabulary::caption`](crate::Vocabulary::caption) makes them.
#[derive(Clone, Debug)]
pub struct Caption {
    /// Token ids `[b, m]`, padded to the data's caption length.
    pub tokens: Tensor<2, Int>,
    /// `[b, m]`: 1 at a token, 0 at padding. Every row has a token.
    pub mask: Tensor<2>,
}
