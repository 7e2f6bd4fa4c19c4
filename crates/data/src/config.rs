//! The `[data]` section.

use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::augmentation::Augmentation;
use crate::card::card;
use crate::download::Progress;
use crate::loader::LoaderConfig;
use crate::noise::{Noise, NoiseConfig};
use crate::shapes::{Shapes, ShapesConfig};
use crate::sources::folder::FolderConfig;
use crate::sources::listing::Listing;
use crate::sources::{Subset, Transformed, open_card};
use crate::store::Store;
use crate::toy2d::{Toy2d, Toy2dConfig};
use crate::transform::{Transform, shapes};
use crate::{DataError, Source, Split};

/// What a model is trained on, and how it is read: the `[data]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Where the examples come from.
    pub source: SourceConfig,
    /// A folder of data sets, searched before the one that the environment's `SINTER_DATA` names and the user's cache
    /// folder.
    pub root: Option<PathBuf>,
    /// Whether a data set that is nowhere is downloaded into the cache folder, if its card knows from where.
    pub download: bool,
    /// Train on no more than the first so many examples.
    pub limit: Option<u64>,
    /// Fixed changes of every image of both splits, one after the other.
    pub transform: Vec<Transform>,
    /// Random changes of every training image.
    pub augmentation: Augmentation,
    /// Threads that read ahead of training; they do not change what is read.
    pub workers: usize,
    /// Batches that each thread has ready ahead of time.
    pub prefetch: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        let LoaderConfig { workers, prefetch, augmentation, .. } = LoaderConfig::default();
        Self {
            source: SourceConfig::default(),
            root: None,
            download: true,
            limit: None,
            transform: Vec::new(),
            augmentation,
            workers,
            prefetch,
        }
    }
}

/// What all examples of a data set have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Shape `[c, h, w]` of an image.
    pub shape: [usize; 3],
    /// Number of classes; 0 where there are none.
    pub classes: usize,
    /// Words of captions, as [`Source::vocabulary`].
    pub vocabulary: Vec<String>,
    /// Words of the longest caption; 0 where there are none.
    pub longest_caption: usize,
}

/// Where examples come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SourceConfig {
    /// Coloured shapes, drawn from the seed.
    Shapes(ShapesConfig),
    /// Points of the plane, drawn from the seed.
    Toy2d(Toy2dConfig),
    /// Images without structure, drawn from the seed.
    Noise(NoiseConfig),
    /// A data set that has a card.
    Card(CardConfig),
    /// A folder of PNG and JPEG images.
    Folder(FolderConfig),
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self::Shapes(ShapesConfig::default())
    }
}

/// A data set that has a card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CardConfig {
    /// Name of the card, as `sinter data list` shows it; or the path of a card of your own, which ends in `.toml`.
    pub name: String,
}

impl DataConfig {
    /// Every problem that shows without reading data; the keys count from `data`.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.nest("source", self.source.validate());
        for (index, transform) in self.transform.iter().enumerate() {
            problems.nest(&format!("transform[{index}]"), transform.validate());
        }
        problems.check(self.limit != Some(0), "limit", "must be at least 1");
        problems.check(self.prefetch > 0, "prefetch", "must be at least 1");
        problems
    }

    /// Opens a split. Procedural sources draw it from `seed`; what files hold does not depend on it.
    ///
    /// # Errors
    /// [`DataError::Config`] for what `validate` tells; [`DataError::Missing`] for files that are nowhere and cannot be
    /// downloaded; [`DataError::Unsuitable`] for a split or a transform that the source cannot give; and damage.
    pub fn open(&self, split: Split, seed: u64) -> Result<Arc<dyn Source>, DataError> {
        self.open_in(&self.store(), split, seed, &mut |_| {})
    }

    /// Opens a split from an explicit store, and tells the progress of downloads.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_in(
        &self,
        store: &Store,
        split: Split,
        seed: u64,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Arc<dyn Source>, DataError> {
        self.check()?;
        let mut source: Arc<dyn Source> = match &self.source {
            SourceConfig::Shapes(config) => Arc::new(Shapes::new(config.clone(), split, seed)?),
            SourceConfig::Toy2d(config) => Arc::new(Toy2d::new(config.clone(), split, seed)?),
            SourceConfig::Noise(config) => Arc::new(Noise::new(config.clone(), split, seed)?),
            SourceConfig::Card(config) => open_card(&card(&config.name)?, split, store, progress)?,
            SourceConfig::Folder(config) => {
                let name = config.path.file_name().map_or("folder".into(), |name| name.to_string_lossy());
                config.open(&name, split, &store.stamps())?
            }
        };
        if let (Some(limit), Split::Train) = (self.limit, split)
            && limit < source.len()
        {
            source = Arc::new(Subset::first(source, limit));
        }
        if !self.transform.is_empty() {
            source = Arc::new(Transformed::new(source, &self.transform)?);
        }
        Ok(source)
    }

    /// What the examples look like, as far as that is known without them: a card's files need not be there, a folder is
    /// listed and its images are not read.
    ///
    /// # Errors
    /// As [`Self::open`], but for missing and damaged files.
    pub fn outline(&self) -> Result<Outline, DataError> {
        self.check()?;
        let (shape, classes) = match &self.source {
            SourceConfig::Card(config) => {
                let card = card(&config.name)?;
                (card.shape, card.classes.len())
            }
            SourceConfig::Folder(config) => (config.shape(), Listing::read(&config.path)?.classes.len()),
            // Procedures have nothing to be missing, and look alike at every seed.
            SourceConfig::Shapes(_) | SourceConfig::Toy2d(_) | SourceConfig::Noise(_) => {
                let source = self.open(Split::Train, 0)?;
                return Ok(Outline {
                    shape: source.shape(),
                    classes: source.class_names().len(),
                    vocabulary: source.vocabulary().to_vec(),
                    longest_caption: source.longest_caption(),
                });
            }
        };
        let (_, shape) = shapes(&self.transform, shape)?;
        Ok(Outline { shape, classes, ..Outline::default() })
    }

    /// That there are no problems which show without reading data.
    fn check(&self) -> Result<(), DataError> {
        let mut problems = Problems::new();
        problems.nest("data", self.validate());
        if problems.is_empty() { Ok(()) } else { Err(DataError::Config(problems)) }
    }

    /// Where this configuration's data sets are looked for.
    pub fn store(&self) -> Store {
        Store::new(self.root.as_deref(), self.download)
    }

    /// How training reads the source.
    pub fn loader(&self) -> LoaderConfig {
        LoaderConfig {
            shuffle: true,
            augmentation: self.augmentation.clone(),
            workers: self.workers,
            prefetch: self.prefetch,
        }
    }
}

impl SourceConfig {
    /// Every problem that shows without reading data.
    pub fn validate(&self) -> Problems {
        match self {
            Self::Shapes(config) => config.validate(),
            Self::Toy2d(config) => config.validate(),
            Self::Noise(config) => config.validate(),
            Self::Folder(config) => config.validate(),
            Self::Card(config) => {
                let mut problems = Problems::new();
                match card(&config.name) {
                    Err(DataError::UnknownCard { name, nearest }) => {
                        let message = format!("no dataset card is named `{name}`");
                        match nearest {
                            Some(nearest) => problems.push_help("name", message, format!("did you mean `{nearest}`?")),
                            None => problems.push_help("name", message, "`sinter data list` shows all cards"),
                        }
                    }
                    Err(error) => problems.push("name", error.to_string()),
                    Ok(_) => {}
                }
                problems
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DataConfig, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn a_section_is_read_and_written() {
        let config = parse(
            r#"
            source = { type = "card", name = "fashion-mnist" }
            limit = 100
            transform = [{ type = "pad", pixels = 2 }, { type = "grayscale_to_rgb" }]
            augmentation = { horizontal_flip = true }
            "#,
        )
        .unwrap();
        assert_eq!(config.source, SourceConfig::Card(CardConfig { name: "fashion-mnist".to_owned() }));
        assert!(config.augmentation.horizontal_flip && config.loader().augmentation.horizontal_flip);
        assert_eq!(parse(&toml::to_string(&config).unwrap()).unwrap(), config);
        assert_eq!(parse("").unwrap(), DataConfig::default());
        assert!(config.validate().is_empty());
    }

    #[test]
    fn unknown_keys_are_refused_at_every_depth() {
        for text in [
            "sources = 1",
            r#"source = { type = "card", name = "mnist", split = 1 }"#,
            r#"source = { type = "shapes", no_such_key = 1 }"#,
            r#"transform = [{ type = "pad", pixel = 1 }]"#,
            r#"transform = [{ type = "grayscale_to_rgb", channels = 3 }]"#,
            "augmentation = { flip = true }",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_problem_is_told_with_its_key() {
        let text = r#"
            source = { type = "card", name = "fashion-mnst" }
            limit = 0
            prefetch = 0
            transform = [{ type = "pad", pixels = 2 }, { type = "resize", height = 0, width = 8 }]
        "#;
        let problems = parse(text).unwrap().validate().into_vec();
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["source.name", "transform[1].height", "limit", "prefetch"]);
        assert!(problems[0].help.as_ref().unwrap().contains("fashion-mnist"));
        let error = parse(text).unwrap().open(Split::Train, 0).err().unwrap().to_string();
        assert!(error.contains("data.transform[1].height"), "{error}");
    }

    #[test]
    fn shapes_are_limited_and_transformed() {
        let text = r#"limit = 5
            transform = [{ type = "resize", height = 8, width = 8, kernel = "bilinear" }]"#;
        let config = parse(text).unwrap();
        let train = config.open(Split::Train, 1).unwrap();
        assert_eq!((train.len(), train.shape()), (5, [3, 8, 8]));
        assert_eq!(train.example(4).unwrap().pixels.len(), 192);
        assert!(train.example(5).is_err());
        assert!(config.open(Split::Test, 1).unwrap().len() > 5);
        // Each of these is another data set.
        let plain = DataConfig { limit: None, transform: Vec::new(), ..config.clone() };
        let limited = DataConfig { transform: Vec::new(), ..config.clone() };
        let prints = [&config, &plain, &limited].map(|config| config.open(Split::Train, 1).unwrap().fingerprint());
        assert!(prints[0] != prints[1] && prints[1] != prints[2] && prints[0] != prints[2]);
        assert_ne!(config.open(Split::Train, 2).unwrap().fingerprint(), prints[0]);
    }

    #[test]
    fn an_outline_is_that_of_the_source() {
        let folder = tempfile::tempdir().unwrap();
        for class in ["cat", "dog"] {
            std::fs::create_dir(folder.path().join(class)).unwrap();
            image::GrayImage::new(3, 3).save(folder.path().join(class).join("a.png")).unwrap();
        }
        let source = SourceConfig::Folder(FolderConfig::new(folder.path(), 4, 6));
        let captions = r#"source = { type = "shapes", captions = true, objects = { min = 1, max = 2 } }"#;
        let transformed = r#"transform = [{ type = "resize", height = 8, width = 4 }]"#;
        let configs = [
            DataConfig { source, transform: parse(transformed).unwrap().transform, ..DataConfig::default() },
            parse(captions).unwrap(),
            parse(transformed).unwrap(),
            parse(r#"source = { type = "noise", shape = [4, 2, 2], classes = 7 }"#).unwrap(),
        ];
        for config in configs {
            let (outline, source) = (config.outline().unwrap(), config.open(Split::Train, 1).unwrap());
            assert_eq!((outline.shape, outline.classes), (source.shape(), source.class_names().len()));
            assert_eq!(outline.vocabulary, source.vocabulary());
            assert_eq!(outline.longest_caption, source.longest_caption());
        }
        // A card's files need not be there.
        let card = r#"source = { type = "card", name = "fashion-mnist" }
            root = "nowhere"
            transform = [{ type = "pad", pixels = 2 }, { type = "grayscale_to_rgb" }]"#;
        let outline = parse(card).unwrap().outline().unwrap();
        assert_eq!(outline, Outline { shape: [3, 32, 32], classes: 10, ..Outline::default() });
    }

    #[test]
    fn the_plane_and_a_folder_open_too() {
        let toy = parse(r#"source = { type = "toy2d", distribution = "two_moons" }"#).unwrap();
        let test = toy.open(Split::Test, 1).unwrap();
        assert_eq!((test.shape(), test.example(0).unwrap().pixels.len()), ([2, 1, 1], 2));

        let folder = tempfile::tempdir().unwrap();
        image::GrayImage::new(3, 3).save(folder.path().join("a.png")).unwrap();
        let path = folder.path().join("set");
        std::fs::create_dir(&path).unwrap();
        std::fs::rename(folder.path().join("a.png"), path.join("a.png")).unwrap();
        let source = SourceConfig::Folder(FolderConfig::new(path, 2, 2));
        let store = Store::at(Vec::new(), None, false);
        let config = DataConfig { source, ..DataConfig::default() };
        let source = config.open_in(&store, Split::Train, 0, &mut |_| {}).unwrap();
        assert_eq!((source.name(), source.len(), source.shape()), ("set", 1, [3, 2, 2]));
    }

    #[test]
    fn a_transform_that_does_not_fit_names_its_key() {
        let config = parse(r#"transform = [{ type = "pad", pixels = 1 }, { type = "grayscale_to_rgb" }]"#).unwrap();
        let message = config.open(Split::Train, 1).err().unwrap().to_string();
        assert!(message.contains("data.transform[1]") && message.contains("3 channels"), "{message}");
    }
}
