//! Folders of images as they are: what an evaluation reads.

use std::path::Path;
use std::sync::Arc;

use image::GenericImageView;
use rayon::prelude::*;

use super::Subset;
use super::folder::{planes, read_image};
use super::listing::Listing;
use crate::digest::{Stamps, sha256};
use crate::transform::from_byte;
use crate::{DataError, Example, Source};

/// The PNG and JPEG images of a folder, pixel for pixel: nothing is resized, so all must have one size.
///
/// Folders directly below are classes, as in [`FolderConfig`](super::folder::FolderConfig). The first image decides
/// between one channel and three. Transparent pixels stand on white. `grid.png`, which `sinter sample` leaves beside its
/// images, is passed over. Images are decoded when they are asked for.
pub struct FolderImages {
    name: String,
    listing: Listing,
    shape: [usize; 3],
    fingerprint: String,
}

/// A picture of the images, and none of them.
const GRID: &str = "grid.png";

impl FolderImages {
    /// Opens a folder. With `skip_damaged`, images that cannot be decoded are left out, each with a warning; without,
    /// they are errors when they are asked for.
    ///
    /// # Errors
    /// [`DataError::Io`] for what cannot be read; [`DataError::Corrupt`] where there are no images, or none that can
    /// be decoded.
    pub fn open(folder: &Path, skip_damaged: bool, stamps: &Stamps) -> Result<Arc<dyn Source>, DataError> {
        let mut listing = Listing::read(folder)?;
        listing.images.retain(|image| image.name != GRID);
        let mut images: Vec<u64> = (0..listing.images.len() as u64).collect();
        let path = |index: u64| folder.join(&listing.images[index as usize].name);
        if skip_damaged {
            let sound = images.par_iter().map(|&index| match read_image(&path(index)) {
                Err(DataError::Corrupt { path, reason, .. }) => {
                    log::warn!("left out: `{}`: {reason}", path.display());
                    Ok(None)
                }
                Err(error) => Err(error),
                Ok(_) => Ok(Some(index)),
            });
            images = sound.collect::<Result<Vec<_>, DataError>>()?.into_iter().flatten().collect();
        }
        let Some(&first) = images.first() else {
            return Err(DataError::corrupt(folder, "none of its images can be decoded"));
        };
        let first = read_image(&path(first))?;
        let channels = if first.color().has_color() { 3 } else { 1 };
        let shape = [channels, first.height() as usize, first.width() as usize];
        let all = images.len() == listing.images.len();
        let fingerprint = sha256(format!("images {}, {shape:?}", listing.tree(stamps)?));
        let name = folder.file_name().map_or_else(|| "folder".into(), |name| name.to_string_lossy().into_owned());
        let source = Arc::new(Self { name, listing, shape, fingerprint });
        Ok(if all { source } else { Arc::new(Subset::new(source, images)) })
    }
}

impl Source for FolderImages {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.listing.images.len() as u64
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn class_names(&self) -> &[String] {
        &self.listing.classes
    }

    fn example(&self, index: u64) -> Result<Example, DataError> {
        let Some(entry) = self.listing.images.get(index as usize) else {
            return Err(DataError::Index { name: self.name.clone(), index, len: self.len() });
        };
        let path = self.listing.folder.join(&entry.name);
        let image = read_image(&path)?;
        let [channels, height, width] = self.shape;
        if image.dimensions() != (width as u32, height as u32) {
            let (w, h) = image.dimensions();
            let reason = format!("it is {w} x {h} pixels, the first image of the folder {width} x {height}");
            return Err(DataError::corrupt(path, reason));
        }
        if channels == 1 && image.color().has_color() {
            return Err(DataError::corrupt(path, "it is in colour, the first image of the folder is not"));
        }
        let pixels = planes(&image, channels).into_iter().map(|value| from_byte(value, u8::MAX)).collect();
        Ok(Example { pixels, class: entry.class, caption: None })
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, Luma, Rgb, RgbImage};

    fn open(folder: &Path, skip: bool) -> Result<Arc<dyn Source>, DataError> {
        FolderImages::open(folder, skip, &Stamps::default())
    }

    #[test]
    fn pixels_are_those_of_the_files() {
        let folder = tempfile::tempdir().unwrap();
        RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8, y as u8, 255])).save(folder.path().join("a.png")).unwrap();
        let source = open(folder.path(), false).unwrap();
        assert_eq!((source.len(), source.shape()), (1, [3, 2, 3]));
        let bytes: Vec<u8> = source.example(0).unwrap().pixels.into_iter().map(crate::transform::to_byte).collect();
        assert_eq!(bytes, [0, 1, 2, 0, 1, 2, 0, 0, 0, 1, 1, 1, 255, 255, 255, 255, 255, 255]);
    }

    #[test]
    fn sizes_that_differ_are_told_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        GrayImage::from_pixel(4, 4, Luma([7])).save(folder.path().join("a.png")).unwrap();
        GrayImage::from_pixel(5, 4, Luma([7])).save(folder.path().join("b.png")).unwrap();
        RgbImage::new(4, 4).save(folder.path().join("c.png")).unwrap();
        let source = open(folder.path(), false).unwrap();
        assert_eq!(source.shape(), [1, 4, 4]);
        assert!(source.example(0).is_ok());
        let message = |index| source.example(index).unwrap_err().to_string();
        assert!(message(1).contains("b.png") && message(1).contains("5 x 4"), "{}", message(1));
        assert!(message(2).contains("c.png") && message(2).contains("colour"), "{}", message(2));
    }

    #[test]
    fn damaged_images_are_errors_or_left_out() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open(folder.path(), true).err().unwrap().to_string().contains("no PNG or JPEG"));
        std::fs::write(folder.path().join("a.png"), "no image").unwrap();
        assert!(open(folder.path(), true).err().unwrap().to_string().contains("none of its images"));
        assert!(open(folder.path(), false).err().unwrap().to_string().contains("a.png"));
        GrayImage::from_pixel(4, 4, Luma([7])).save(folder.path().join("b.png")).unwrap();
        let source = open(folder.path(), true).unwrap();
        assert_eq!((source.len(), source.shape()), (1, [1, 4, 4]));
        std::fs::rename(folder.path().join("a.png"), folder.path().join("c.png")).unwrap();
        let source = open(folder.path(), false).unwrap();
        assert!(source.example(0).is_ok());
        assert!(source.example(1).unwrap_err().to_string().contains("c.png"));
    }
}
