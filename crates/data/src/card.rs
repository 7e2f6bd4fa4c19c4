//! Dataset cards: what a data set is, whose it is, and the exact files that hold it.

use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::nearest;

use crate::sources::cifar::CifarFormat;
use crate::sources::idx::IdxFormat;
use crate::{DataError, Split};

/// The cards that the binary knows, by the name of their file in `datasets/`.
const CARDS: [(&str, &str); 9] = [
    ("mnist", include_str!("../../../datasets/mnist.toml")),
    ("fashion-mnist", include_str!("../../../datasets/fashion-mnist.toml")),
    ("emnist-letters", include_str!("../../../datasets/emnist-letters.toml")),
    ("digits8x8", include_str!("../../../datasets/digits8x8.toml")),
    ("cifar10", include_str!("../../../datasets/cifar10.toml")),
    ("cifar10-20k", include_str!("../../../datasets/cifar10-20k.toml")),
    ("cifar100", include_str!("../../../datasets/cifar100.toml")),
    ("emoji64", include_str!("../../../datasets/emoji64.toml")),
    ("signdigits64", include_str!("../../../datasets/signdigits64.toml")),
];

/// The description of a data set that is stored in files.
///
/// Either there are files of a `train` and a `test` split, or of one of them, or `all` examples stand together and
/// `test_fraction` of each class is held out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Name by which configurations and records call it.
    pub name: String,
    /// What it shows.
    pub description: String,
    /// Who made it, and where it is described.
    pub source: String,
    /// Its licence.
    pub licence: String,
    /// How a person gets the files.
    pub obtain: String,
    /// The folder of its files below a root of data sets.
    pub folder: String,
    /// Shape `[c, h, w]` of an image.
    pub shape: [usize; 3],
    /// Names of the classes, in the order of their numbers.
    pub classes: Vec<String>,
    /// How the files are to be read.
    pub format: Format,
    /// One file that holds all the others.
    #[serde(default)]
    pub archive: Option<Archive>,
    /// The examples to train on.
    #[serde(default)]
    pub train: Option<Part>,
    /// The held-out examples.
    #[serde(default)]
    pub test: Option<Part>,
    /// Examples without a split.
    #[serde(default)]
    pub all: Option<Part>,
    /// The fraction of each class of `all` that is held out.
    #[serde(default)]
    pub test_fraction: f64,
}

/// The format of a data set's files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Format {
    /// A file of images and a file of labels.
    Idx(IdxFormat),
    /// Files of records.
    Cifar(CifarFormat),
    /// A folder of PNG and JPEG images, one folder a class.
    ImageFolder(ImageFolderFormat),
}

/// A folder of images of the card's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageFolderFormat {
    /// sha256 of what `find . -type f | LC_ALL=C sort | xargs sha256sum` prints in the folder.
    pub tree_sha256: String,
}

/// A part of a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Number of examples.
    pub count: u64,
    /// Its files: images, then labels; or files of records in their order; or none for a folder of images.
    #[serde(default)]
    pub files: Vec<CardFile>,
}

/// A file as it was published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardFile {
    /// Name below the data set's folder.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Its sha256.
    pub sha256: String,
    /// sha256 of what it holds, if it is gzip: a plain or newly packed copy is as good.
    #[serde(default)]
    pub content_sha256: Option<String>,
    /// Where it can be downloaded.
    #[serde(default)]
    pub url: Option<String>,
}

/// A `.tar.gz` that holds the files of a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// The folder in the archive that the files are in.
    pub folder: String,
    /// The archive itself.
    pub file: CardFile,
}

impl Card {
    /// Reads a card from the text of the file `path`.
    ///
    /// # Errors
    /// [`DataError::Corrupt`] if it is no card, or its parts do not fit each other.
    pub fn parse(text: &str, path: &Path) -> Result<Self, DataError> {
        let wrong = |reason: String| DataError::Corrupt {
            path: path.to_owned(),
            reason,
            help: "compare it with the cards in `datasets/`".to_owned(),
        };
        let card: Self = toml::from_str(text).map_err(|error| wrong(format!("it is no dataset card: {error}")))?;
        card.inconsistency().map_or(Ok(card), |reason| Err(wrong(reason)))
    }

    /// What in this card contradicts itself.
    fn inconsistency(&self) -> Option<String> {
        let parts: Vec<&Part> = [&self.train, &self.test, &self.all].into_iter().flatten().collect();
        if parts.is_empty() || (self.all.is_some() && parts.len() > 1) {
            return Some("it needs `train`, `test` or both, or else `all`".to_owned());
        }
        if self.shape.contains(&0) || self.classes.is_empty() || parts.iter().any(|part| part.count == 0) {
            return Some("the numbers in `shape`, `classes` and every `count` must be at least 1".to_owned());
        }
        if !(0.0..1.0).contains(&self.test_fraction) {
            return Some("`test_fraction` must be at least 0 and below 1".to_owned());
        }
        match self.format {
            Format::Idx(_) if parts.iter().any(|part| part.files.len() != 2) => {
                Some("a part in the IDX format has two files, images and labels".to_owned())
            }
            Format::Cifar(_) if self.shape != crate::sources::cifar::SHAPE => {
                Some(format!("the CIFAR format has shape {:?}", crate::sources::cifar::SHAPE))
            }
            Format::Cifar(ref format) if format.label_bytes == 0 || parts.iter().any(|part| part.files.is_empty()) => {
                Some("a part in the CIFAR format has at least one file and one label byte".to_owned())
            }
            Format::ImageFolder(_) if self.all.is_none() || ![1, 3].contains(&self.shape[0]) => {
                Some("a folder of images is one part, `all`, with 1 or 3 channels".to_owned())
            }
            _ => None,
        }
    }

    /// The part that holds a split.
    ///
    /// # Errors
    /// [`DataError::Unsuitable`] if the card has no such split.
    pub fn part(&self, split: Split) -> Result<&Part, DataError> {
        let part = match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
        };
        part.as_ref().or(self.all.as_ref()).ok_or_else(|| DataError::Unsuitable {
            key: "data.source.name".to_owned(),
            reason: format!("the data set `{}` has no {split} split, only the other one", self.name),
        })
    }

    /// All parts that there are.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        [&self.train, &self.test, &self.all].into_iter().flatten()
    }
}

/// All cards that the binary knows.
///
/// # Errors
/// [`DataError::Corrupt`] if one of them is damaged.
pub fn cards() -> Result<Vec<Card>, DataError> {
    CARDS.iter().map(|(name, text)| Card::parse(text, Path::new(&format!("datasets/{name}.toml")))).collect()
}

/// The card called `name`, or the user's own card if `name` is the path of a `.toml` file.
///
/// # Errors
/// [`DataError::UnknownCard`] with the nearest name, or an error of reading the user's own card.
pub fn card(name: &str) -> Result<Card, DataError> {
    if name.ends_with(".toml") {
        let text = fs::read_to_string(name).map_err(|source| DataError::io(name, source))?;
        return Card::parse(&text, Path::new(name));
    }
    match CARDS.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => Card::parse(text, Path::new(&format!("datasets/{name}.toml"))),
        None => Err(DataError::UnknownCard {
            name: name.to_owned(),
            nearest: nearest(name, CARDS.iter().map(|(known, _)| *known)).map(str::to_owned),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_card_is_whole() {
        for (card, (name, _)) in cards().unwrap().iter().zip(CARDS) {
            assert_eq!(card.name, name);
            assert_eq!(super::card(name).unwrap(), *card);
            let archive = card.archive.iter().map(|archive| &archive.file);
            for file in card.parts().flat_map(|part| &part.files).chain(archive) {
                for digest in [Some(&file.sha256), file.content_sha256.as_ref()].into_iter().flatten() {
                    assert!(digest.len() == 64 && digest.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')), "{name}");
                }
                assert!(file.bytes > 0, "{name}");
                assert_eq!(file.name.ends_with(".tar.gz"), file.content_sha256.is_none() && file.name.ends_with("gz"));
            }
        }
    }

    #[test]
    fn an_unknown_name_gets_the_nearest() {
        let message = card("fashion_mnst").unwrap_err().to_string();
        assert!(message.contains("`fashion_mnst`") && message.contains("`fashion-mnist`"), "{message}");
        assert!(card("somewhere/own.toml").unwrap_err().to_string().contains("somewhere/own.toml"));
    }

    #[test]
    fn a_card_that_contradicts_itself_is_refused() {
        let good = toml::to_string(&card("mnist").unwrap()).unwrap();
        let parse = |text: &str| Card::parse(text, Path::new("own.toml")).unwrap_err().to_string();
        assert!(Card::parse(&good, Path::new("own.toml")).is_ok());
        assert!(parse(&good.replace("count = 10000", "count = 0")).contains("every `count`"));
        assert!(parse(&good.replace("\"idx\"", "\"cifar\"")).contains("own.toml"));
        assert!(parse(&good.replace("[train", "[all")).contains("or else `all`"));
        assert!(parse(&good.replace("licence", "license")).contains("license"));
    }

    #[test]
    fn a_missing_split_is_told() {
        let message = card("emnist-letters").unwrap().part(Split::Train).unwrap_err().to_string();
        assert!(message.contains("`emnist-letters` has no train split"), "{message}");
    }
}
