//! Opens a data set by its card.

use std::path::PathBuf;
use std::sync::Arc;

use super::folder::{Channels, FolderConfig};
use super::{ByteImages, Subset, cifar, held_out, idx};
use crate::card::{Card, Format, Part};
use crate::digest::sha256;
use crate::download::Progress;
use crate::store::{Found, Store};
use crate::{DataError, Source, Split, contents};

/// Opens a split of the data set that `card` describes, from where `store` finds it.
///
/// # Errors
/// [`DataError::Unsuitable`] if the card has no such split, whatever [`Store::obtain`] gives, and
/// [`DataError::Corrupt`] for files that do not hold what the card says.
pub fn open_card(
    card: &Card,
    split: Split,
    store: &Store,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Arc<dyn Source>, DataError> {
    let part = card.part(split)?;
    let found = store.obtain(card, part, progress)?;
    log::info!("{} {split}: {}", card.name, found.folder().display());
    let images = match (&card.format, &found) {
        (Format::ImageFolder(_), found) => return open_folder(card, split, found, store),
        (Format::Idx(format), found) => read_idx(card, part, format, found)?,
        (Format::Cifar(format), found) => read_cifar(card, part, format, found)?,
    };
    let count = images.labels.len() as u64;
    if count != part.count {
        let reason = format!("it holds {count} examples, but the card `{}` says {}", card.name, part.count);
        return Err(DataError::corrupt(found.folder(), reason));
    }
    if card.all.is_none() {
        return Ok(Arc::new(images));
    }
    let held = held_out(images.labels.iter().map(|&class| Some(class)), card.test_fraction);
    let chosen = (0..count).zip(held).filter(|(_, held)| *held == (split == Split::Test)).map(|(index, _)| index);
    let chosen = chosen.collect();
    Ok(Arc::new(Subset::new(Arc::new(images), chosen)))
}

/// The images of a part, with what is the same for every format.
fn byte_images(card: &Card, part: &Part, pixels: Vec<u8>, maximum: u8, labels: Vec<u32>) -> ByteImages {
    // The files were verified, so their checksums stand for their contents, however they are packed here.
    let files: Vec<_> = part.files.iter().map(|file| file.content_sha256.as_ref().unwrap_or(&file.sha256)).collect();
    ByteImages {
        name: card.name.clone(),
        shape: card.shape,
        classes: card.classes.clone(),
        pixels,
        maximum,
        labels,
        fingerprint: sha256(format!("{:?} {:?} of {files:?}", card.format, card.shape)),
    }
}

/// The decompressed files of a part, each with the path to name in errors.
fn part_contents(card: &Card, part: &Part, found: &Found) -> Result<Vec<(PathBuf, Vec<u8>)>, DataError> {
    match (found, &card.archive) {
        (Found::Archive(path), Some(archive)) => {
            let names: Vec<_> = part.files.iter().map(|file| format!("{}/{}", archive.folder, file.name)).collect();
            let members = contents::read_members(path, &names)?;
            Ok(names.iter().map(|name| path.join(name)).zip(members).collect())
        }
        (Found::Files(paths), _) => paths.iter().map(|path| Ok((path.clone(), contents::read(path)?))).collect(),
        (found, _) => Err(DataError::corrupt(found.folder(), "it is no set of files as its card says")),
    }
}

fn read_idx(card: &Card, part: &Part, format: &idx::IdxFormat, found: &Found) -> Result<ByteImages, DataError> {
    let mut files = part_contents(card, part, found)?.into_iter();
    let (Some((images_path, images)), Some((labels_path, labels))) = (files.next(), files.next()) else {
        return Err(DataError::corrupt(found.folder(), "IDX data are a file of images and a file of labels"));
    };
    let ([height, width], pixels) = idx::images(idx::parse(images, &images_path)?, format, &images_path)?;
    if [1, height, width] != card.shape {
        let reason = format!("its images have shape [1, {height}, {width}], not {:?} as the card says", card.shape);
        return Err(DataError::corrupt(images_path, reason));
    }
    let count = pixels.len() / (height * width);
    let labels = idx::labels(idx::parse(labels, &labels_path)?, count, card.classes.len(), format, &labels_path)?;
    Ok(byte_images(card, part, pixels, format.maximum, labels))
}

fn read_cifar(card: &Card, part: &Part, format: &cifar::CifarFormat, found: &Found) -> Result<ByteImages, DataError> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for (path, bytes) in part_contents(card, part, found)? {
        cifar::append(&bytes, format, card.classes.len(), &path, &mut pixels, &mut labels)?;
    }
    Ok(byte_images(card, part, pixels, 255, labels))
}

fn open_folder(card: &Card, split: Split, found: &Found, store: &Store) -> Result<Arc<dyn Source>, DataError> {
    let [channels, height, width] = card.shape;
    let config = FolderConfig {
        channels: if channels == 1 { Channels::Gray } else { Channels::Rgb },
        test_fraction: card.test_fraction,
        ..FolderConfig::new(found.folder(), height, width)
    };
    let source = config.open(&card.name, split, &store.stamps())?;
    if source.class_names() != card.classes {
        let reason = format!("its class folders are {:?}, not {:?}", source.class_names(), card.classes);
        return Err(DataError::corrupt(found.folder(), reason));
    }
    Ok(source)
}
