//! Captions: a vocabulary of words, and a small transformer that turns tokens into vectors.

use std::collections::HashMap;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::{Problems, nearest};

use crate::condition::Caption;
use crate::dual::Dual;
use crate::initialization::{Initialization, Rule, Start};
use crate::layers::{LayerNorm, Mlp, SelfAttention, trace};
use crate::shape::DataShape;

/// Taken from the scores of padding: far more than any score, but finite in half precision.
const HIDE: f32 = 1e4;

/// Token of padding.
const PADDING: i64 = 0;
/// Token that begins every caption, so that an empty one has something to look at.
const BEGIN: i64 = 1;
/// Token of the first word.
const FIRST_WORD: i64 = 2;

/// Why a caption could not be tokenized.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptionError {
    /// A word that the vocabulary does not have.
    #[error("unknown word {word:?} in caption {caption:?}{}", hint(.nearest))]
    UnknownWord {
        /// The word, in lower case.
        word: String,
        /// The caption.
        caption: String,
        /// The nearest word of the vocabulary, if any is near.
        nearest: Option<String>,
    },
    /// More words than there is room for.
    #[error("caption {caption:?} has {words} words, there is room for {room}")]
    TooLong {
        /// The caption.
        caption: String,
        /// Its words.
        words: usize,
        /// The most words allowed.
        room: usize,
    },
    /// A word was listed twice or holds white space.
    #[error("{0:?} cannot be a word of the vocabulary: words are distinct, in lower case, without spaces")]
    NotAWord(String),
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|word| format!(", did you mean {word:?}?")).unwrap_or_default()
}

/// The words that captions are made of, one token each.
///
/// Ids: 0 is padding, 1 begins every caption, word `i` of the list is `i + 2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    words: Vec<String>,
    ids: HashMap<String, i64>,
}

impl Vocabulary {
    /// A vocabulary of the given words, in this order.
    ///
    /// # Errors
    /// [`CaptionError::NotAWord`] for a repeated or empty word, or one with white space, capitals or punctuation that
    /// tokenizing removes.
    pub fn new<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Result<Self, CaptionError> {
        let words: Vec<String> = words.into_iter().map(Into::into).collect();
        let mut ids = HashMap::with_capacity(words.len());
        for (id, word) in (FIRST_WORD..).zip(&words) {
            let is_one_word = split(word).eq([word.clone()]);
            if !is_one_word || ids.insert(word.clone(), id).is_some() {
                return Err(CaptionError::NotAWord(word.clone()));
            }
        }
        Ok(Self { words, ids })
    }

    /// Number of token ids, the two special ones included.
    pub fn size(&self) -> usize {
        self.words.len() + FIRST_WORD as usize
    }

    /// The words, in the order of their ids.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The tokens of a caption: [the beginning, its words, padding], `length` in all, and how many are not padding.
    /// Case and punctuation do not matter.
    ///
    /// # Errors
    /// [`CaptionError::UnknownWord`] or [`CaptionError::TooLong`].
    pub fn encode(&self, caption: &str, length: usize) -> Result<(Vec<i64>, usize), CaptionError> {
        let mut tokens = vec![BEGIN];
        for word in split(caption) {
            let Some(id) = self.ids.get(&word) else {
                let nearest = nearest(&word, self.words.iter().map(String::as_str)).map(str::to_owned);
                return Err(CaptionError::UnknownWord { word, caption: caption.to_owned(), nearest });
            };
            tokens.push(*id);
        }
        let used = tokens.len();
        if used > length {
            let (words, room) = (used - 1, length.saturating_sub(1));
            return Err(CaptionError::TooLong { caption: caption.to_owned(), words, room });
        }
        tokens.resize(length, PADDING);
        Ok((tokens, used))
    }

    /// A batch of captions of `length` tokens; the empty caption asks for nothing.
    ///
    /// # Errors
    /// [`CaptionError::UnknownWord`] or [`CaptionError::TooLong`] of the first caption that has one.
    pub fn caption<S: AsRef<str>>(
        &self,
        captions: &[S],
        length: usize,
        device: &Device,
    ) -> Result<Caption, CaptionError> {
        let mut tokens = Vec::with_capacity(captions.len() * length);
        let mut mask = Vec::with_capacity(captions.len() * length);
        for caption in captions {
            let (row, used) = self.encode(caption.as_ref(), length)?;
            tokens.extend(row);
            mask.extend((0..length).map(|i| if i < used { 1.0f32 } else { 0.0 }));
        }
        let shape = [captions.len(), length];
        Ok(Caption {
            tokens: Tensor::from_data(TensorData::new(tokens, shape), device),
            mask: Tensor::from_data(TensorData::new(mask, shape), device),
        })
    }
}

/// The words of a caption: lower case, split at everything but letters, digits and inner hyphens and apostrophes.
fn split(caption: &str) -> impl Iterator<Item = String> + '_ {
    caption
        .split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '\''))
        .map(|word| word.trim_matches(['-', '\'']).to_lowercase())
        .filter(|word| !word.is_empty())
}

/// The transformer that reads captions. Used only where the data have captions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CaptionConfig {
    /// Features of a token.
    pub width: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
}

impl Default for CaptionConfig {
    fn default() -> Self {
        Self { width: 128, depth: 2, heads: 4 }
    }
}

impl CaptionConfig {
    /// Every problem of these values.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.width > 0, "width", "must be at least 1");
        let divides = self.heads > 0 && self.width.is_multiple_of(self.heads);
        problems.check(divides, "heads", format!("{} heads do not divide width {}", self.heads, self.width));
        problems
    }
}

/// A caption as a network's layers look at it.
#[derive(Clone, Debug)]
pub struct EncodedCaption {
    /// `[b, m, e]`.
    pub tokens: Tensor<3>,
    /// `[b, m]`, added to attention scores: 0 at a token, a large negative number at padding.
    pub mask: Tensor<2>,
    /// `[b, e]`: the mean over tokens.
    pub pooled: Tensor<2>,
}

/// A transformer over the tokens of a caption, layer norm before each part (Xiong et al., 2020).
#[derive(Module, Debug)]
pub struct CaptionEncoder {
    /// `[vocabulary, e]`.
    pub words: Param<Tensor<2>>,
    /// `[m, e]`.
    pub positions: Param<Tensor<2>>,
    /// The transformer's blocks.
    pub blocks: Vec<CaptionBlock>,
    /// Before the result.
    pub output_norm: LayerNorm,
}

impl CaptionEncoder {
    /// For captions as in `shape`.
    pub fn new(config: &CaptionConfig, shape: &DataShape, init: &mut Initialization) -> Self {
        let width = config.width;
        Self {
            words: init.parameter([shape.vocabulary, width], Rule::normal(0.02)),
            positions: init.parameter([shape.caption_length, width], Rule::normal(0.02)),
            blocks: (0..config.depth).map(|_| CaptionBlock::new(width, config.heads, init)).collect(),
            output_norm: LayerNorm::new(width, init),
        }
    }

    /// A caption `[b, m]`; without one, the empty caption for all of `batch`.
    pub fn forward(&self, caption: Option<&Caption>, batch: usize) -> EncodedCaption {
        let words = self.words.val();
        let [m, width] = self.positions.dims();
        let Caption { tokens, mask } = match caption {
            Some(caption) => caption.clone(),
            None => empty_caption(batch, m, &words.device()),
        };
        let b = tokens.dims()[0];
        let hidden = (mask.clone() - 1.0) * HIDE; // [b, m]
        trace::embedding(&self.words, [b, m, width]);
        let x = words.select(0, tokens.reshape([b * m])).reshape([b, m, width]); // [b, m, e]
        let mut x = Dual::from(x + self.positions.val().unsqueeze_dim::<3>(0));
        for block in &self.blocks {
            x = block.forward(x, hidden.clone()); // [b, m, e]
        }
        let tokens = self.output_norm.forward(x).value;
        let weight = mask.clone() / mask.sum_dim(1); // [b, m]
        let pooled = (tokens.clone() * weight.unsqueeze_dim::<3>(2)).sum_dim(1).reshape([b, width]); // [b, e]
        EncodedCaption { tokens, mask: hidden, pooled }
    }
}

fn empty_caption(batch: usize, length: usize, device: &Device) -> Caption {
    let tokens: Vec<i64> = (0..batch * length).map(|i| if i % length == 0 { BEGIN } else { PADDING }).collect();
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(tokens, [batch, length]), device);
    Caption { mask: tokens.clone().float(), tokens }
}

/// Attention and a two-layer network, each on the normalized tokens and added to them.
#[derive(Module, Debug)]
pub struct CaptionBlock {
    /// Before attention.
    pub attention_norm: LayerNorm,
    /// Tokens among themselves, padding left out.
    pub attention: SelfAttention,
    /// Before the two-layer network.
    pub mlp_norm: LayerNorm,
    /// `e -> 4 e -> e`.
    pub mlp: Mlp,
}

impl CaptionBlock {
    fn new(width: usize, heads: usize, init: &mut Initialization) -> Self {
        Self {
            attention_norm: LayerNorm::new(width, init),
            attention: SelfAttention::new(width, heads, Start::Xavier, init),
            mlp_norm: LayerNorm::new(width, init),
            mlp: Mlp::new(width, 4 * width, width, Start::Xavier, init),
        }
    }

    /// Tokens `[b, m, e]`, mask `[b, m]`.
    fn forward(&self, x: Dual<3>, mask: Tensor<2>) -> Dual<3> {
        let x = x.clone() + self.attention.forward_masked(self.attention_norm.forward(x), mask);
        x.clone() + self.mlp.forward_gelu(self.mlp_norm.forward(x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, device, randomized, rounding, values};

    fn vocabulary() -> Vocabulary {
        Vocabulary::new(["a", "red", "blue", "circle", "left", "of", "square"]).unwrap()
    }

    #[test]
    fn captions_become_tokens() {
        let vocabulary = vocabulary();
        assert_eq!(vocabulary.size(), 9);
        let (tokens, used) = vocabulary.encode("A red circle, left of a blue square.", 10).unwrap();
        assert_eq!((tokens, used), (vec![1, 2, 3, 5, 6, 7, 2, 4, 8, 0], 9));
        assert_eq!(vocabulary.encode("", 2).unwrap(), (vec![1, 0], 1));
    }

    #[test]
    fn what_cannot_be_told_is_an_error() {
        let vocabulary = vocabulary();
        assert_eq!(
            vocabulary.encode("a red circel", 10).unwrap_err().to_string(),
            "unknown word \"circel\" in caption \"a red circel\", did you mean \"circle\"?"
        );
        assert_eq!(
            vocabulary.encode("a red circle", 3).unwrap_err().to_string(),
            "caption \"a red circle\" has 3 words, there is room for 2"
        );
        for words in [vec!["a", "a"], vec!["two words"], vec!["Upper"], vec![""]] {
            assert!(matches!(Vocabulary::new(words), Err(CaptionError::NotAWord(_))));
        }
    }

    #[test]
    fn padding_says_nothing_and_words_and_their_order_do() {
        let (device, vocabulary) = (device(), vocabulary());
        let shape = DataShape::images(1, 4, 4).with_captions(vocabulary.size(), 6);
        let config = CaptionConfig { width: 16, depth: 2, heads: 2 };
        let encoder = randomized(CaptionEncoder::new(&config, &shape, &mut Initialization::new(0, &device)));
        let pooled = |captions: &[&str]| {
            let caption = vocabulary.caption(captions, 6, &device).unwrap();
            values(&encoder.forward(Some(&caption), captions.len()).pooled)
        };
        let together = pooled(&["red circle", "a red circle left of", ""]);
        assert_close(&together[..16], &pooled(&["red circle"]), rounding());
        assert_ne!(pooled(&["red circle"]), pooled(&["circle red"]));
        assert_ne!(pooled(&["red circle"]), pooled(&["blue circle"]));
        let none = encoder.forward(None, 2);
        assert_eq!(none.tokens.dims(), [2, 6, 16]);
        assert_close(&values(&none.pooled)[16..], &together[32..], rounding());
    }
}
