//! From classes and captions on the host to what a network is asked for.

use burn::tensor::{Device, Int, Tensor, TensorData};
use sinter_models::{CaptionError, Condition, DataShape, Vocabulary};

/// Turns the classes and captions of one data set into conditions.
#[derive(Clone, Debug)]
pub struct Conditioner {
    shape: DataShape,
    vocabulary: Option<Vocabulary>,
}

impl Conditioner {
    /// For images `[c, h, w]` with so many classes, and captions of at most `longest` words out of `words`; either may
    /// be absent (0, empty).
    ///
    /// # Errors
    /// When a word of the vocabulary is not a word.
    pub fn new(image: [usize; 3], classes: usize, words: &[String], longest: usize) -> Result<Self, CaptionError> {
        let [channels, height, width] = image;
        let mut shape = DataShape::images(channels, height, width).with_classes(classes);
        let mut vocabulary = None;
        if !words.is_empty() {
            let known = Vocabulary::new(words.iter().cloned())?;
            // One token more than words: every caption has a beginning.
            shape = shape.with_captions(known.size(), longest + 1);
            vocabulary = Some(known);
        }
        Ok(Self { shape, vocabulary })
    }

    /// Shape of the images and sizes of the conditions.
    pub fn shape(&self) -> &DataShape {
        &self.shape
    }

    /// The condition of a batch of images. Where `dropped` holds, an image is asked for nothing: it has the null class
    /// and the empty caption. Classes or captions that the data do not have are left out.
    ///
    /// # Errors
    /// When a caption has an unknown word or too many words.
    pub fn condition(
        &self,
        classes: Option<&[u32]>,
        captions: Option<&[String]>,
        dropped: impl Fn(usize) -> bool,
        device: &Device,
    ) -> Result<Condition, CaptionError> {
        let class = classes.filter(|_| self.shape.has_classes()).map(|classes| {
            let null = self.shape.classes as i64;
            let labels = classes.iter().enumerate().map(|(i, &class)| if dropped(i) { null } else { i64::from(class) });
            Tensor::<1, Int>::from_data(TensorData::from(labels.collect::<Vec<i64>>().as_slice()), device)
        });
        let caption = match (&self.vocabulary, captions) {
            (Some(vocabulary), Some(captions)) => {
                let asked: Vec<&str> =
                    captions.iter().enumerate().map(|(i, text)| if dropped(i) { "" } else { text.as_str() }).collect();
                Some(vocabulary.caption(&asked, self.shape.caption_length, device)?)
            }
            _ => None,
        };
        Ok(Condition { class, caption, augmentation: None })
    }
}
