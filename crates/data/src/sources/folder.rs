//! Folders of PNG and JPEG images, one folder a class.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{DynamicImage, GenericImageView, ImageReader, Rgb, RgbImage};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use super::listing::{Image, Listing};
use super::{ByteImages, held_out};
use crate::digest::{Stamps, sha256};
use crate::transform::{Kernel, from_byte};
use crate::{DataError, Example, Source, Split};

/// How an image of another size becomes one of the size asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Resize, keeping the ratio of the sides, until the image just covers the size; then cut out the middle.
    #[default]
    Crop,
    /// Resize each side by itself.
    Stretch,
}

/// The channels that images are decoded to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// One channel; colours are weighted as in Rec. 709.
    Gray,
}

/// A folder of PNG and JPEG images.
///
/// Each folder directly below `path` is a class (in the order of their names) and holds its images at any depth. A
/// folder with images directly below it and no class folders has no classes. Names that begin with a dot, and files
/// that are neither `.png` nor `.jpg` nor `.jpeg`, are passed over. Examples take turns between the classes, so that
/// the first n of them are spread over all classes. The orientation that a camera noted in a JPEG is not applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FolderConfig {
    /// The folder.
    pub path: PathBuf,
    /// Another folder with the same classes that holds the test split. Without it a part of `path` is held out.
    #[serde(default)]
    pub test_path: Option<PathBuf>,
    /// The fraction of each class that is held out if there is no `test_path`; 0 holds nothing out.
    #[serde(default = "default_test_fraction")]
    pub test_fraction: f64,
    /// Height of the examples in pixels.
    pub height: usize,
    /// Width of the examples in pixels.
    pub width: usize,
    /// Channels of the examples.
    #[serde(default)]
    pub channels: Channels,
    /// How images of another size are fitted.
    #[serde(default)]
    pub fit: Fit,
    /// Kernel of the resizing.
    #[serde(default)]
    pub kernel: Kernel,
    /// What stands behind transparent pixels: red, green, blue in 0..=255.
    #[serde(default = "default_background")]
    pub background: [u8; 3],
    /// Decode an image each time that it is asked for, instead of all once at the start: for folders larger than memory
    /// (an image held takes `channels x height x width` bytes).
    #[serde(default)]
    pub lazy: bool,
}

fn default_test_fraction() -> f64 {
    0.1
}

fn default_background() -> [u8; 3] {
    [255; 3]
}

impl FolderConfig {
    /// A folder with the defaults of a configuration file.
    pub fn new(path: impl Into<PathBuf>, height: usize, width: usize) -> Self {
        Self {
            path: path.into(),
            test_path: None,
            test_fraction: default_test_fraction(),
            height,
            width,
            channels: Channels::default(),
            fit: Fit::default(),
            kernel: Kernel::default(),
            background: default_background(),
            lazy: false,
        }
    }

    /// Problems that show without reading the folder.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.height > 0, "height", "must be at least 1");
        problems.check(self.width > 0, "width", "must be at least 1");
        problems.check((0.0..1.0).contains(&self.test_fraction), "test_fraction", "must be at least 0 and below 1");
        problems
    }

    /// Shape `[c, h, w]` of the examples.
    pub fn shape(&self) -> [usize; 3] {
        let channels = match self.channels {
            Channels::Rgb => 3,
            Channels::Gray => 1,
        };
        [channels, self.height, self.width]
    }

    /// Opens the folder's images of a split.
    ///
    /// # Errors
    /// [`DataError::Io`] and [`DataError::Corrupt`] for what cannot be read; [`DataError::Unsuitable`] if there is no
    /// image, no held-out image, or the test folder has other classes.
    pub fn open(&self, name: &str, split: Split, stamps: &Stamps) -> Result<Arc<dyn Source>, DataError> {
        let listing = Listing::read(&self.path)?;
        let (listing, chosen) = match (split, &self.test_path) {
            (Split::Train, Some(_)) => (listing, None),
            (Split::Test, Some(path)) => {
                let test = Listing::read(path)?;
                if test.classes != listing.classes {
                    let reason = format!(
                        "`{}` has the classes {:?}, but `{}` has {:?}",
                        path.display(),
                        test.classes,
                        self.path.display(),
                        listing.classes
                    );
                    return Err(DataError::Unsuitable { key: "data.source.test_path".to_owned(), reason });
                }
                (test, None)
            }
            (split, None) => (listing, Some(split)),
        };
        let tree = listing.tree(stamps)?;
        let held = held_out(listing.images.iter().map(|image| image.class), self.test_fraction);
        let mut images: Vec<Image> = listing
            .images
            .into_iter()
            .zip(held)
            .filter(|(_, held)| chosen.is_none_or(|split| *held == (split == Split::Test)))
            .map(|(image, _)| image)
            .collect();
        if images.is_empty() {
            let reason = format!("no image of `{}` is held out; raise it or give a `test_path`", self.path.display());
            return Err(DataError::Unsuitable { key: "data.source.test_fraction".to_owned(), reason });
        }
        // Stable: within a turn the classes keep their order.
        images.sort_by_key(|image| image.rank);

        let settings = (self.shape(), self.fit, self.kernel, self.background, chosen.map(|_| self.test_fraction));
        let source = FolderSource {
            name: name.to_owned(),
            folder: listing.folder,
            fingerprint: sha256(format!("image folder {tree}, {split}, {settings:?}")),
            classes: listing.classes,
            images,
            config: self.clone(),
        };
        if self.lazy { Ok(Arc::new(source)) } else { Ok(Arc::new(source.decode_all()?)) }
    }
}

/// Images of a folder, decoded when they are asked for.
struct FolderSource {
    name: String,
    folder: PathBuf,
    classes: Vec<String>,
    images: Vec<Image>,
    config: FolderConfig,
    fingerprint: String,
}

impl FolderSource {
    /// All images, decoded once.
    fn decode_all(self) -> Result<ByteImages, DataError> {
        let decoded: Vec<Vec<u8>> = self
            .images
            .par_iter()
            .map(|image| decode(&self.folder.join(&image.name), &self.config))
            .collect::<Result<_, DataError>>()?;
        Ok(ByteImages {
            name: self.name,
            shape: self.config.shape(),
            classes: self.classes,
            pixels: decoded.concat(),
            maximum: 255,
            labels: self.images.iter().filter_map(|image| image.class).collect(),
            fingerprint: self.fingerprint,
        })
    }
}

impl Source for FolderSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.images.len() as u64
    }

    fn shape(&self) -> [usize; 3] {
        self.config.shape()
    }

    fn class_names(&self) -> &[String] {
        &self.classes
    }

    fn example(&self, index: u64) -> Result<Example, DataError> {
        let Some(image) = self.images.get(index as usize) else {
            return Err(DataError::Index { name: self.name.clone(), index, len: self.len() });
        };
        let bytes = decode(&self.folder.join(&image.name), &self.config)?;
        let pixels = bytes.into_iter().map(|value| from_byte(value, 255)).collect();
        Ok(Example { pixels, class: image.class, caption: None })
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

/// One image file as bytes `[c, h, w]` of the configured size.
fn decode(path: &Path, config: &FolderConfig) -> Result<Vec<u8>, DataError> {
    let image = fitted(on_background(open_image(path)?, config.background), config);
    Ok(planes(&image, config.shape()[0]))
}

/// One image file, its transparent pixels on white.
pub(super) fn read_image(path: &Path) -> Result<DynamicImage, DataError> {
    Ok(on_background(open_image(path)?, default_background()))
}

fn open_image(path: &Path) -> Result<DynamicImage, DataError> {
    ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|source| DataError::io(path, source))?
        .decode()
        .map_err(|error| DataError::corrupt(path, format!("the image cannot be decoded ({error})")))
}

/// An image's bytes `[c, h, w]`, in one channel or three.
pub(super) fn planes(image: &DynamicImage, channels: usize) -> Vec<u8> {
    if channels == 1 {
        return image.to_luma8().into_raw();
    }
    let interleaved = image.to_rgb8().into_raw();
    (0..3).flat_map(|channel| interleaved.iter().skip(channel).step_by(3).copied()).collect()
}

/// The image without transparency.
fn on_background(image: DynamicImage, background: [u8; 3]) -> DynamicImage {
    if !image.color().has_alpha() {
        return image;
    }
    let (width, height) = image.dimensions();
    let image = image.to_rgba8();
    let blended = RgbImage::from_fn(width, height, |x, y| {
        let [red, green, blue, alpha] = image.get_pixel(x, y).0.map(u32::from);
        let mix = |value, behind| ((value * alpha + u32::from(behind) * (255 - alpha) + 127) / 255) as u8;
        Rgb([mix(red, background[0]), mix(green, background[1]), mix(blue, background[2])])
    });
    DynamicImage::ImageRgb8(blended)
}

/// The image at the configured size.
fn fitted(image: DynamicImage, config: &FolderConfig) -> DynamicImage {
    let (height, width) = (config.height as u32, config.width as u32);
    if image.dimensions() == (width, height) {
        return image;
    }
    let filter = config.kernel.filter();
    match config.fit {
        Fit::Stretch => image.resize_exact(width, height, filter),
        Fit::Crop => {
            let scale =
                f64::max(f64::from(width) / f64::from(image.width()), f64::from(height) / f64::from(image.height()));
            let scaled = |side: u32, least: u32| ((f64::from(side) * scale).round() as u32).max(least);
            let image = image.resize_exact(scaled(image.width(), width), scaled(image.height(), height), filter);
            let (left, top) = ((image.width() - width) / 2, (image.height() - height) / 2);
            image.crop_imm(left, top, width, height)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, Luma, Rgba, RgbaImage};
    use std::fs;

    /// A folder with `counts[i]` gray images in class `names[i]`, the value of each its place in the class.
    fn folder(names: &[&str], counts: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, &count) in names.iter().zip(counts) {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            for place in 0..count {
                let path = folder.path().join(name).join(format!("{place:03}.png"));
                GrayImage::from_pixel(4, 4, Luma([place])).save(path).unwrap();
            }
        }
        folder
    }

    fn open(config: &FolderConfig, split: Split) -> Result<Arc<dyn Source>, DataError> {
        config.open("test", split, &Stamps::default())
    }

    /// Class and value of every example.
    fn all(source: &dyn Source) -> Vec<(Option<u32>, u8)> {
        let value = |pixel: f32| crate::transform::to_byte(pixel);
        (0..source.len()).map(|i| source.example(i).unwrap()).map(|e| (e.class, value(e.pixels[0]))).collect()
    }

    #[test]
    fn classes_take_turns_and_a_fraction_of_each_is_held_out() {
        let folder = folder(&["b", "a", "empty", ".hidden"], &[4, 8, 0, 3]);
        fs::write(folder.path().join("notes.txt"), "no image").unwrap();
        let config = FolderConfig { test_fraction: 0.25, ..FolderConfig::new(folder.path(), 4, 4) };
        let (train, test) = (open(&config, Split::Train).unwrap(), open(&config, Split::Test).unwrap());
        assert_eq!(train.class_names(), ["a", "b"]);
        assert_eq!(train.shape(), [3, 4, 4]);
        let (a, b) = (Some(0), Some(1));
        assert_eq!(all(&*train), [(a, 0), (b, 0), (a, 1), (b, 1), (a, 2), (b, 2), (a, 4), (a, 5), (a, 6)]);
        assert_eq!(all(&*test), [(a, 3), (b, 3), (a, 7)]);
        assert_ne!(train.fingerprint(), test.fingerprint());

        let lazy = FolderConfig { lazy: true, ..config.clone() };
        let lazy = open(&lazy, Split::Train).unwrap();
        assert_eq!(all(&*lazy), all(&*train));
        assert_eq!(lazy.fingerprint(), train.fingerprint());
        assert!(matches!(lazy.example(9), Err(DataError::Index { index: 9, len: 9, .. })));
    }

    #[test]
    fn a_test_folder_must_have_the_same_classes() {
        let (train, test, other) = (folder(&["a", "b"], &[2, 2]), folder(&["a", "b"], &[1, 1]), folder(&["a"], &[1]));
        let mut config = FolderConfig::new(train.path(), 4, 4);
        config.test_path = Some(test.path().to_owned());
        assert_eq!(all(&*open(&config, Split::Train).unwrap()).len(), 4);
        assert_eq!(all(&*open(&config, Split::Test).unwrap()).len(), 2);
        config.test_path = Some(other.path().to_owned());
        let message = open(&config, Split::Test).err().unwrap().to_string();
        assert!(message.contains("data.source.test_path"), "{message}");
    }

    #[test]
    fn loose_images_have_no_class() {
        let folder = folder(&["."], &[3]);
        let mut config = FolderConfig::new(folder.path(), 4, 4);
        assert_eq!(all(&*open(&config, Split::Train).unwrap()), [(None, 0), (None, 1), (None, 2)]);
        let message = open(&config, Split::Test).err().unwrap().to_string();
        assert!(message.contains("no image of") && message.contains("test_fraction"), "{message}");
        config.path = folder.path().join("none");
        assert!(matches!(open(&config, Split::Train), Err(DataError::Io { .. })));
        fs::create_dir(&config.path).unwrap();
        let message = open(&config, Split::Train).err().unwrap().to_string();
        assert!(message.contains("no PNG or JPEG"), "{message}");
        fs::copy(folder.path().join("000.png"), config.path.join("a.PNG")).unwrap();
        config.path = folder.path().to_owned();
        let message = open(&config, Split::Train).err().unwrap().to_string();
        assert!(message.contains("both images and class folders"), "{message}");
    }

    #[test]
    fn a_damaged_image_is_named() {
        let folder = folder(&["a"], &[3]);
        let path = folder.path().join("a/001.png");
        let bytes = fs::read(&path).unwrap();
        for damaged in [&bytes[..bytes.len() / 2], b"no image at all"] {
            fs::write(&path, damaged).unwrap();
            let message = open(&FolderConfig::new(folder.path(), 4, 4), Split::Train).err().unwrap().to_string();
            assert!(message.contains("001.png") && message.contains("cannot be decoded"), "{message}");
        }
    }

    #[test]
    fn transparency_shows_the_background() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        RgbaImage::from_fn(3, 1, |x, _| Rgba([200, 0, 100, [0, 51, 255][x as usize]])).save(&path).unwrap();
        let config = FolderConfig { background: [0, 255, 100], ..FolderConfig::new(folder.path(), 1, 3) };
        // At 51 / 255 the image counts a fifth.
        assert_eq!(decode(&path, &config).unwrap(), [0, 40, 200, 255, 204, 0, 100, 100, 100]);
    }

    #[test]
    fn other_sizes_are_cropped_or_stretched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        // Left third black, middle gray, right white.
        GrayImage::from_fn(12, 4, |x, _| Luma([[0, 128, 255][x as usize / 4]])).save(&path).unwrap();
        let config = FolderConfig { channels: Channels::Gray, ..FolderConfig::new(folder.path(), 2, 2) };
        let nearest = FolderConfig { kernel: Kernel::Nearest, ..config };
        assert_eq!(decode(&path, &nearest).unwrap(), [128; 4]);
        let stretch = FolderConfig { fit: Fit::Stretch, width: 3, ..nearest };
        assert_eq!(decode(&path, &stretch).unwrap(), [0, 128, 255, 0, 128, 255]);
    }

    #[test]
    fn every_problem_of_a_configuration_is_told() {
        let config = FolderConfig { test_fraction: 1.0, ..FolderConfig::new("somewhere", 0, 0) };
        assert_eq!(config.validate().into_vec().len(), 3);
    }
}
