//! Which images a folder holds.

use std::fs;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::digest::Stamps;

/// One image file.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Path below the folder, with `/`.
    pub(crate) name: String,
    /// Number of its class, where there are classes.
    pub(crate) class: Option<u32>,
    /// How many images of its class come before it.
    pub(crate) rank: usize,
}

/// The image files of a folder.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) folder: PathBuf,
    /// Names of the class folders, sorted.
    pub(crate) classes: Vec<String>,
    /// Class after class, sorted by name within a class.
    pub(crate) images: Vec<Image>,
}

impl Listing {
    /// Lists the images below `folder`.
    pub(crate) fn read(folder: &Path) -> Result<Self, DataError> {
        let unsuitable = |reason| Err(DataError::corrupt(folder, reason));
        let (mut loose, mut classes, mut images) = (Vec::new(), Vec::new(), Vec::new());
        for (name, is_folder) in entries(folder)? {
            if !is_folder {
                loose.push(name);
                continue;
            }
            let mut names = Vec::new();
            walk(folder, &name, &mut names)?;
            if names.is_empty() {
                log::warn!("`{}` holds no PNG or JPEG image, so it is no class", folder.join(&name).display());
                continue;
            }
            let class = Some(classes.len() as u32);
            images.extend(names.into_iter().enumerate().map(|(rank, name)| Image { name, class, rank }));
            classes.push(name);
        }
        loose.retain(|name| is_image(name));
        match (loose.is_empty(), images.is_empty()) {
            (true, true) => unsuitable("it holds no PNG or JPEG image"),
            (false, false) => unsuitable("it holds both images and class folders; every image belongs into a class"),
            (true, false) => Ok(Self { folder: folder.to_owned(), classes, images }),
            (false, true) => {
                let image = |(rank, name)| Image { name, class: None, rank };
                Ok(Self {
                    folder: folder.to_owned(),
                    classes,
                    images: loose.into_iter().enumerate().map(image).collect(),
                })
            }
        }
    }

    /// sha256 over all images, as [`Stamps::tree`] defines it.
    pub(crate) fn tree(&self, stamps: &Stamps) -> Result<String, DataError> {
        let mut names: Vec<_> = self.images.iter().map(|image| image.name.clone()).collect();
        names.sort_unstable();
        stamps.tree(&self.folder, &names)
    }
}

/// The names directly below a folder that do not begin with a dot, sorted, and whether each is a folder.
fn entries(folder: &Path) -> Result<Vec<(String, bool)>, DataError> {
    let io = |source| DataError::io(folder, source);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(DataError::corrupt(entry.path(), "its name is not Unicode"));
        };
        if !name.starts_with('.') {
            // Through links, unlike `DirEntry::file_type`.
            names.push((name.to_owned(), entry.path().is_dir()));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Appends the images below `folder/name`, named from `folder`, sorted.
fn walk(folder: &Path, name: &str, names: &mut Vec<String>) -> Result<(), DataError> {
    for (child, is_folder) in entries(&folder.join(name))? {
        let child = format!("{name}/{child}");
        if is_folder {
            walk(folder, &child, names)?;
        } else if is_image(&child) {
            names.push(child);
        }
    }
    Ok(())
}

/// Whether a file's name says that it is an image that is read here.
fn is_image(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}
