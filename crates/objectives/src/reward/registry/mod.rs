//! Rewards: what generated images are worth.
//!
//! A reward is a [`RewardConfig`] in a configuration and a [`Reward`] in use. To add one: its file, a variant, an arm in
//! `validate` and `open`.

mod classifier;
mod colourfulness;
mod compositional;
mod external;
mod jpeg;
mod process;
mod target;

use std::collections::BTreeSet;
use std::path::PathBuf;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_data::Batch;
use sinter_data::transform::{from_byte, to_byte};
use sinter_models::DataShape;

pub use classifier::{ClassifierReward, Confidence};
pub use colourfulness::colourfulness;
pub use compositional::Composition;
pub use external::ExternalConfig;
pub use jpeg::jpeg_kilobytes;

use crate::Tally;

/// A reward with its weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RewardTerm {
    /// Name in logs; by default the type's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its share of the advantage; negative: less is better. 0: it is logged and not optimised.
    #[serde(default = "one")]
    pub weight: f64,
    /// Which, under its `type`.
    #[serde(flatten)]
    pub reward: RewardConfig,
}

fn one() -> f64 {
    1.0
}

/// A reward's kind and settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum RewardConfig {
    /// How well an image of `shapes` meets its caption, by the exact detector; every skill is logged.
    Compositional {
        /// How skills become one number.
        #[serde(default)]
        score: Composition,
    },
    /// Colourfulness (Hasler and Suesstrunk 2003), on 0..255.
    Colourfulness {},
    /// Size as a JPEG file in kilobytes: DDPO's incompressibility, and with a negative weight its compressibility.
    JpegSize {
        /// Quality of the encoder, 1 to 100.
        #[serde(default = "quality")]
        quality: u8,
    },
    /// How sure a classifier is of the class that was asked for.
    Classifier {
        /// The classifier's run.
        run: PathBuf,
        /// In which unit.
        #[serde(default)]
        score: Confidence,
    },
    /// Minus the squared distance from a point, for points in the plane.
    Target {
        /// The point, one number an element.
        center: Vec<f64>,
    },
    /// A program of one's own: see [`ExternalConfig`].
    External(ExternalConfig),
}

fn quality() -> u8 {
    95
}

/// What can go wrong in a reward.
#[derive(Debug, thiserror::Error)]
pub enum RewardError {
    /// The images or what they were asked for do not suit the reward.
    #[error("reward `{name}`: {reason}")]
    Unfit {
        /// The reward.
        name: String,
        /// Why.
        reason: String,
    },
    /// An external scorer failed.
    #[error("reward `{name}`: {reason}")]
    Scorer {
        /// The reward.
        name: String,
        /// Why, with what the scorer said last.
        reason: String,
    },
    /// A score is NaN or infinite.
    #[error("reward `{name}`: the score of image {image} is {value}, not a finite number")]
    NotFinite {
        /// The reward.
        name: String,
        /// Which image of the request.
        image: usize,
        /// The score.
        value: String,
    },
    /// There are not as many scores as images.
    #[error("reward `{name}`: {scores} scores for {images} images")]
    Count {
        /// The reward.
        name: String,
        /// Scores given.
        scores: usize,
        /// Images asked about.
        images: usize,
    },
}

/// Scores of images, one each, and what is to be logged beside their mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Higher is better.
    pub values: Vec<f64>,
    /// Means by name, such as those of single skills.
    pub details: Tally,
}

impl From<Vec<f64>> for Scores {
    fn from(values: Vec<f64>) -> Self {
        Self { values, details: Tally::new() }
    }
}

/// A reward in use.
pub trait Reward: Send {
    /// The scores of images, `[n, c, h, w]` in -1..1 and of 8 bits a channel, each with the class or caption that it was
    /// asked for.
    ///
    /// # Errors
    /// When the images do not suit it or it fails.
    fn scores(&mut self, images: &Batch) -> Result<Scores, RewardError>;
}

impl RewardConfig {
    /// The name of the type.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Compositional { .. } => "compositional",
            Self::Colourfulness {} => "colourfulness",
            Self::JpegSize { .. } => "jpeg_size",
            Self::Classifier { .. } => "classifier",
            Self::Target { .. } => "target",
            Self::External(_) => "external",
        }
    }

    /// Every problem of these settings with data of a shape.
    pub fn validate(&self, shape: &DataShape) -> Problems {
        let mut problems = Problems::new();
        match self {
            Self::Compositional { .. } => compositional::validate(shape, &mut problems),
            Self::Colourfulness {} => problems.check(shape.channels == 3, "type", "needs images of three colours"),
            Self::JpegSize { quality } => {
                problems.check((1..=100).contains(quality), "quality", "must be 1 to 100");
                problems.check([1, 3].contains(&shape.channels), "type", "needs grey images or those of three colours");
            }
            Self::Classifier { .. } => problems.check(shape.has_classes(), "type", "needs data with class labels"),
            Self::Target { center } => {
                let elements = shape.channels * shape.height * shape.width;
                let message = format!("has {} numbers, an image has {elements}", center.len());
                problems.check(center.len() == elements, "center", message);
                problems.check(center.iter().all(|value| value.is_finite()), "center", "must be finite");
            }
            Self::External(config) => problems.extend(config.validate().into_vec()),
        }
        problems
    }

    /// The reward in use; `classifier` opens a run's classifier.
    ///
    /// # Errors
    /// When the classifier cannot be opened.
    pub fn open<E>(
        &self,
        name: &str,
        classifier: impl FnOnce(&std::path::Path) -> Result<ClassifierReward, E>,
    ) -> Result<Box<dyn Reward>, E> {
        let name = name.to_owned();
        Ok(match self {
            Self::Compositional { score } => Box::new(compositional::Compositional { name, score: *score }),
            Self::Colourfulness {} => Box::new(colourfulness::Colourfulness { name }),
            Self::JpegSize { quality } => Box::new(jpeg::JpegSize { name, quality: *quality }),
            Self::Classifier { run, score } => Box::new(classifier(run)?.named(name, *score)),
            Self::Target { center } => Box::new(target::Target { name, center: center.clone() }),
            Self::External(config) => Box::new(external::External::new(name, config.clone())),
        })
    }
}

/// Every problem of a list of rewards with data of a shape.
pub fn validate(terms: &[RewardTerm], shape: &DataShape) -> Problems {
    let mut problems = Problems::new();
    problems.check(!terms.is_empty(), "", "must name at least one reward");
    problems.check(terms.is_empty() || terms.iter().any(|term| term.weight != 0.0), "", "no reward has a weight");
    let mut names = BTreeSet::new();
    for (index, term) in terms.iter().enumerate() {
        let key = format!("[{index}]");
        problems.check(term.weight.is_finite(), format!("{key}.weight"), "must be a finite number");
        let name = term.name();
        if !names.insert(name) {
            problems.push_help(format!("{key}.name"), format!("another reward is named `{name}`"), "give it a name");
        }
        let plain = !name.is_empty() && !name.contains(['/', ' ']);
        problems.check(plain, format!("{key}.name"), "must be a word without slashes");
        problems.nest(&key, term.reward.validate(shape));
    }
    problems
}

impl RewardTerm {
    /// The name in logs.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.reward.kind())
    }
}

/// The rewards of a run.
pub struct Rewards(Vec<Term>);

struct Term {
    name: String,
    weight: f64,
    reward: Box<dyn Reward>,
}

/// What images are worth, reward by reward.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Worth {
    /// Weight and scores of each reward.
    pub scores: Vec<(f64, Vec<f64>)>,
    /// `<reward>` and `<reward>/<detail>`: means.
    pub means: Tally,
}

impl Rewards {
    /// Opens every reward; `classifier` opens a run's classifier.
    ///
    /// # Errors
    /// When a classifier cannot be opened.
    pub fn open<E>(
        terms: &[RewardTerm],
        mut classifier: impl FnMut(&std::path::Path) -> Result<ClassifierReward, E>,
    ) -> Result<Self, E> {
        let open = |term: &RewardTerm| {
            let name = term.name().to_owned();
            Ok(Term { weight: term.weight, reward: term.reward.open(&name, &mut classifier)?, name })
        };
        Ok(Self(terms.iter().map(open).collect::<Result<_, E>>()?))
    }

    /// How many scores one image costs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no reward.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What images are worth. Their pixels are rounded to 8 bits first, as in an image file; points of the plane are not.
    ///
    /// # Errors
    /// When a reward fails, gives another number of scores, or one that is not finite.
    pub fn worth(&mut self, images: Batch) -> Result<Worth, RewardError> {
        let images = quantized(images);
        let mut worth = Worth::default();
        for Term { name, weight, reward } in &mut self.0 {
            let Scores { values, details } = reward.scores(&images)?;
            if values.len() != images.len() {
                return Err(RewardError::Count { name: name.clone(), scores: values.len(), images: images.len() });
            }
            if let Some(image) = values.iter().position(|value| !value.is_finite()) {
                let value = values[image].to_string();
                return Err(RewardError::NotFinite { name: name.clone(), image, value });
            }
            values.iter().for_each(|value| worth.means.add(name, *value));
            worth.means.merge(&details.prefixed(&format!("{name}/")));
            worth.scores.push((*weight, values));
        }
        Ok(worth)
    }
}

fn quantized(mut images: Batch) -> Batch {
    if images.shape[1..] != [2, 1, 1] {
        images.pixels.iter_mut().for_each(|pixel| *pixel = from_byte(to_byte(*pixel), u8::MAX));
    }
    images
}

/// One number an image, by whichever thread is free; the error of the first image that has one.
fn each_image<T: Send>(
    images: &Batch,
    of: impl Fn(usize, &[f32]) -> Result<T, RewardError> + Sync,
) -> Result<Vec<T>, RewardError> {
    let size = (images.pixels.len() / images.len().max(1)).max(1);
    images.pixels.par_chunks(size).enumerate().map(|(index, pixels)| of(index, pixels)).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Images `[n, c, h, w]` without classes and captions.
    pub(crate) fn images(shape: [usize; 4], pixel: impl Fn(usize) -> f32) -> Batch {
        let pixels = (0..shape.iter().product()).map(pixel).collect();
        Batch { shape, pixels, classes: None, captions: None, first_image: 0 }
    }

    fn term(text: &str) -> RewardTerm {
        toml::from_str(text).unwrap()
    }

    fn none(_: &std::path::Path) -> Result<ClassifierReward, RewardError> {
        Err(RewardError::Unfit { name: String::new(), reason: "no runs here".into() })
    }

    #[test]
    fn several_rewards_are_told_apart() {
        let terms = [
            term("type = 'target'\ncenter = [1.0, 0.0]"),
            term("type = 'target'\nname = 'left'\nweight = 0.5\ncenter = [-1.0, 0.0]"),
        ];
        assert!(validate(&terms, &DataShape::images(2, 1, 1)).is_empty());
        let mut rewards = Rewards::open(&terms, none).unwrap();
        let worth = rewards.worth(images([2, 2, 1, 1], |i| [0.25, 0.0, 1.0, 2.0][i])).unwrap();
        assert_eq!(worth.scores, [(1.0, vec![-0.5625, -4.0]), (0.5, vec![-1.5625, -8.0])]);
        assert_eq!(worth.means.mean("left"), Some(-4.78125));
        assert_eq!((rewards.len(), rewards.is_empty()), (2, false));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |terms: &[RewardTerm], shape: DataShape| validate(terms, &shape).to_string();
        let colours = DataShape::images(3, 32, 32);
        assert_eq!(said(&[], colours), "must name at least one reward");
        let same = [term("type = 'colourfulness'"), term("type = 'colourfulness'\nweight = 0.0")];
        assert_eq!(said(&same, colours), "[1].name: another reward is named `colourfulness` (give it a name)");
        let compositional = [term("type = 'compositional'\nscore = 'all'")];
        let without = said(&compositional, colours);
        assert!(without.starts_with("[0].type: scores captions, which these data do not have"), "{without}");
        let grey = said(&[term("type = 'colourfulness'")], DataShape::images(1, 28, 28));
        assert_eq!(grey, "[0].type: needs images of three colours");
        let classes = said(&[term("type = 'classifier'\nrun = 'runs/c'")], colours);
        assert_eq!(classes, "[0].type: needs data with class labels");
        assert!(said(&[term("type = 'colourfulness'\nweight = 0.0")], colours).contains("no reward has a weight"));
        assert!(toml::from_str::<RewardTerm>("type = 'jpeg_size'\nqualty = 5").is_err());
    }

    struct Broken(Vec<f64>);

    impl Reward for Broken {
        fn scores(&mut self, _: &Batch) -> Result<Scores, RewardError> {
            Ok(self.0.clone().into())
        }
    }

    #[test]
    fn scores_are_counted_and_finite() {
        let rewards = |scores: Vec<f64>| {
            Rewards(vec![Term { name: "mine".into(), weight: 1.0, reward: Box::new(Broken(scores)) }])
        };
        let error = |scores| rewards(scores).worth(images([2, 1, 4, 4], |_| 0.0)).unwrap_err().to_string();
        assert_eq!(error(vec![1.0]), "reward `mine`: 1 scores for 2 images");
        assert_eq!(error(vec![1.0, f64::NAN]), "reward `mine`: the score of image 1 is NaN, not a finite number");
    }
}
