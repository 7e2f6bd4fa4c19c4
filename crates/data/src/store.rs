//! Where data sets are on this machine: looked for, downloaded, verified.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use crate::DataError;
use crate::card::{Card, CardFile, Format, Part};
use crate::digest::Stamps;
use crate::download::{Progress, agent, download};
use crate::error::{Missing, MissingFile};
use crate::sources::listing::Listing;

/// The environment variable that names a root of data sets.
pub const ROOT_VARIABLE: &str = "SINTER_DATA";

/// The roots below which data sets are looked for, each in its card's folder, and whether they may be downloaded.
#[derive(Clone, Debug)]
pub struct Store {
    /// Roots, in the order in which they are searched.
    roots: Vec<PathBuf>,
    /// The user's cache folder: downloads go to `datasets/` in it, remembered checksums to `verified/`.
    cache: Option<PathBuf>,
    download: bool,
}

/// The files of a part of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Each file of the part, in the card's order.
    Files(Vec<PathBuf>),
    /// The card's archive.
    Archive(PathBuf),
    /// A folder of images.
    Folder(PathBuf),
}

impl Found {
    /// The folder that holds it.
    pub fn folder(&self) -> &Path {
        let inside = match self {
            Self::Folder(folder) => return folder,
            Self::Archive(archive) => Some(archive),
            Self::Files(files) => files.first(),
        };
        inside.and_then(|file| file.parent()).unwrap_or(Path::new("."))
    }
}

/// Whether a data set is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// All its files are in this folder, or below it.
    Present(PathBuf),
    /// These files are nowhere, and can be downloaded or not.
    Missing {
        /// The files of the place that lacks the fewest.
        files: Vec<MissingFile>,
        /// Whether the card knows where to download them.
        downloadable: bool,
    },
}

impl Store {
    /// The roots of this user: `root` if given, then the environment's [`ROOT_VARIABLE`], then the cache folder.
    pub fn new(root: Option<&Path>, download: bool) -> Self {
        let cache = etcetera::choose_base_strategy().ok().map(|folders| folders.cache_dir().join("sinter"));
        let variable = std::env::var_os(ROOT_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let roots = [root.map(Path::to_owned), variable].into_iter().flatten().collect();
        Self::at(roots, cache, download)
    }

    /// Explicit roots, and then `datasets/` in an explicit cache folder.
    pub fn at(mut roots: Vec<PathBuf>, cache: Option<PathBuf>, download: bool) -> Self {
        roots.extend(cache.as_ref().map(|cache| cache.join("datasets")));
        Self { roots, cache, download }
    }

    /// The user's cache folder, if there is one.
    pub fn cache(&self) -> Option<&Path> {
        self.cache.as_deref()
    }

    /// Checksums remembered in the cache folder.
    pub fn stamps(&self) -> Stamps {
        Stamps::new(self.cache.as_ref().map(|cache| cache.join("verified")))
    }

    /// Whether the data set is here. Nothing is read but folders, so damage does not show.
    pub fn state(&self, card: &Card) -> State {
        let mut folder = None;
        let mut missing = Vec::new();
        for part in card.parts() {
            match self.find(card, part) {
                Ok(found) => folder = folder.or(Some(found.folder().to_owned())),
                Err(files) => missing.extend(files),
            }
        }
        match folder {
            Some(folder) if missing.is_empty() => State::Present(folder),
            _ => State::Missing { files: missing, downloadable: downloadable(card) },
        }
    }

    /// Finds, or else downloads, and verifies every part of a data set, and says which folder it is in.
    ///
    /// # Errors
    /// As [`Self::obtain`].
    pub fn prepare(&self, card: &Card, progress: &mut dyn FnMut(Progress<'_>)) -> Result<PathBuf, DataError> {
        let mut folder = PathBuf::new();
        for part in card.parts() {
            folder = self.obtain(card, part, progress)?.folder().to_owned();
        }
        Ok(folder)
    }

    /// The verified files of a part, downloaded if they are nowhere and that is possible.
    ///
    /// # Errors
    /// [`DataError::Missing`] with what to put where; [`DataError::Checksum`] for a file that is not the card's.
    pub fn obtain(&self, card: &Card, part: &Part, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Found, DataError> {
        let found = match self.find(card, part) {
            Ok(found) => found,
            Err(files) => {
                let result = self.download(card, part, progress);
                self.find(card, part).map_err(|_| {
                    DataError::Missing(Box::new(Missing {
                        card: card.name.clone(),
                        files,
                        archive: card.archive.as_ref().map(|archive| missing_file(&archive.file)),
                        searched: self.roots.iter().map(|root| root.join(&card.folder)).collect(),
                        obtain: card.obtain.trim().to_owned(),
                        download: result.err().unwrap_or_else(|| "the download is incomplete".to_owned()),
                    }))
                })?
            }
        };
        self.verify(card, part, &found)?;
        Ok(found)
    }

    /// The part's files in the first root that has them all; otherwise those missing in the root that lacks the fewest.
    fn find(&self, card: &Card, part: &Part) -> Result<Found, Vec<MissingFile>> {
        let mut fewest: Option<Vec<MissingFile>> = None;
        for root in &self.roots {
            let folder = root.join(&card.folder);
            let missing = match find_in(&folder, card, part) {
                Ok(found) => return Ok(found),
                Err(missing) => missing,
            };
            if fewest.as_ref().is_none_or(|fewest| missing.len() < fewest.len()) {
                fewest = Some(missing);
            }
        }
        Err(fewest.unwrap_or_else(|| part.files.iter().map(missing_file).collect()))
    }

    /// Downloads what the cache folder lacks of a part, or says why not.
    fn download(&self, card: &Card, part: &Part, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(), String> {
        if !self.download {
            return Err("downloads are switched off".to_owned());
        }
        if !downloadable(card) {
            return Err("its card knows no address to download it from".to_owned());
        }
        let Some(cache) = &self.cache else {
            return Err("there is no cache folder to download it to".to_owned());
        };
        let folder = cache.join("datasets").join(&card.folder);
        let files: Vec<&CardFile> = match &card.archive {
            Some(archive) => vec![&archive.file],
            None => part.files.iter().filter(|file| find_file(std::slice::from_ref(&folder), file).is_none()).collect(),
        };
        let agent = agent();
        for file in files {
            let Some(url) = &file.url else { continue };
            log::info!("downloading {url} to {}", folder.display());
            download(&agent, file, url, &folder.join(&file.name), progress).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Compares found files with their card.
    fn verify(&self, card: &Card, part: &Part, found: &Found) -> Result<(), DataError> {
        let stamps = self.stamps();
        let checksum = |path: &Path, expected: &str, found: String| DataError::Checksum {
            card: card.name.clone(),
            path: path.to_owned(),
            expected: expected.to_owned(),
            found,
        };
        let file = |path: &Path, file: &CardFile| {
            let stored = stamps.file(path)?;
            // What a gzip file holds counts, not how it was packed; and a plain file is as good as a packed one.
            let plain = file.content_sha256.as_ref().unwrap_or(&file.sha256);
            let is_gzip = path.extension().is_some_and(|extension| extension == "gz");
            let matches = stored == file.sha256
                || stored == *plain
                || (is_gzip && stamps.gzip_content(path).is_ok_and(|content| content == *plain));
            if matches { Ok(()) } else { Err(checksum(path, &file.sha256, stored)) }
        };
        match (found, &card.archive, &card.format) {
            (Found::Files(paths), _, _) => {
                paths.iter().zip(&part.files).try_for_each(|(path, expected)| file(path, expected))
            }
            (Found::Archive(path), Some(archive), _) => file(path, &archive.file),
            (Found::Folder(path), _, Format::ImageFolder(format)) => {
                let tree = Listing::read(path)?.tree(&stamps)?;
                let matches = tree == format.tree_sha256;
                if matches { Ok(()) } else { Err(checksum(path, &format.tree_sha256, tree)) }
            }
            _ => Ok(()),
        }
    }
}

/// Whether the card says where all its files can be downloaded.
fn downloadable(card: &Card) -> bool {
    let mut files = card.parts().flat_map(|part| &part.files).peekable();
    match &card.archive {
        Some(archive) => archive.file.url.is_some(),
        None => files.peek().is_some() && files.all(|file| file.url.is_some()),
    }
}

/// The part's files in one folder, or those of them that it lacks.
fn find_in(folder: &Path, card: &Card, part: &Part) -> Result<Found, Vec<MissingFile>> {
    if let Format::ImageFolder(format) = &card.format {
        let name = format!("{} PNG or JPEG images in class folders", part.count);
        let missing = MissingFile { name, sha256: Some(format.tree_sha256.clone()) };
        return if folder.is_dir() { Ok(Found::Folder(folder.to_owned())) } else { Err(vec![missing]) };
    }
    // As the archive is when it was unpacked, or the files alone.
    let unpacked = card.archive.as_ref().map(|archive| folder.join(&archive.folder));
    let folders: Vec<PathBuf> = [Some(folder.to_owned()), unpacked].into_iter().flatten().collect();
    let (mut paths, mut missing) = (Vec::new(), Vec::new());
    for file in &part.files {
        match find_file(&folders, file) {
            Some(path) => paths.push(path),
            None => missing.push(missing_file(file)),
        }
    }
    let archive = card.archive.as_ref().and_then(|archive| find_file(&folders[..1], &archive.file));
    match (missing.is_empty(), archive) {
        (true, _) => Ok(Found::Files(paths)),
        (false, Some(archive)) => Ok(Found::Archive(archive)),
        (false, None) => Err(missing),
    }
}

/// A file in the first of the folders that has it under its name, unpacked, or packed.
fn find_file(folders: &[PathBuf], file: &CardFile) -> Option<PathBuf> {
    let plain = file.name.strip_suffix(".gz").filter(|_| file.content_sha256.is_some()).unwrap_or(&file.name);
    let packed = format!("{plain}.gz");
    folders
        .iter()
        .flat_map(|folder| [&file.name, plain, &packed].map(|name| folder.join(name)))
        .find(|path| path.is_file())
}

/// How a file that is not there is told.
fn missing_file(file: &CardFile) -> MissingFile {
    MissingFile { name: file.name.clone(), sha256: Some(file.sha256.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Split;
    use crate::digest::sha256;
    use crate::sources::open_card;
    use std::fs;

    /// Three 1x2 images in two classes, as IDX files.
    const IMAGES: &[u8] = &[0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 255, 10, 20, 30, 40];
    const LABELS: &[u8] = &[0, 0, 8, 1, 0, 0, 0, 3, 1, 0, 1];

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        let mut encoder = flate2::read::GzEncoder::new(bytes, flate2::Compression::fast());
        std::io::Read::read_to_end(&mut encoder, &mut packed).unwrap();
        packed
    }

    /// The card of these images, packed.
    fn card() -> Card {
        let file = |name: &str, bytes: &[u8]| {
            let (stored, content) = (sha256(gzip(bytes)), sha256(bytes));
            format!("{{ name = \"{name}.gz\", bytes = 9, sha256 = \"{stored}\", content_sha256 = \"{content}\" }}")
        };
        let text = format!(
            "name = \"own\"\ndescription = \"\"\nsource = \"\"\nlicence = \"\"\nobtain = \"ask a friend\"\n\
             folder = \"own\"\nshape = [1, 1, 2]\nclasses = [\"a\", \"b\"]\nformat = {{ type = \"idx\" }}\n\
             train = {{ count = 3, files = [{}, {}] }}\n",
            file("images", IMAGES),
            file("labels", LABELS)
        );
        Card::parse(&text, Path::new("own.toml")).unwrap()
    }

    fn open(store: &Store) -> Result<Vec<(f32, Option<u32>)>, DataError> {
        let source = open_card(&card(), Split::Train, store, &mut |_| {})?;
        (0..source.len()).map(|index| source.example(index).map(|e| (e.pixels[1], e.class))).collect()
    }

    /// A root with the card's folder in it, and a cache folder.
    fn places() -> (tempfile::TempDir, PathBuf, Store) {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("root/own");
        fs::create_dir_all(&folder).unwrap();
        let store = Store::at(vec![place.path().join("root")], Some(place.path().join("cache")), true);
        (place, folder, store)
    }

    #[test]
    fn files_are_found_packed_unpacked_and_packed_otherwise() {
        let slow = {
            let mut packed = Vec::new();
            let mut encoder = flate2::read::GzEncoder::new(IMAGES, flate2::Compression::none());
            std::io::Read::read_to_end(&mut encoder, &mut packed).unwrap();
            packed
        };
        for (name, bytes) in [("images.gz", gzip(IMAGES)), ("images", IMAGES.to_vec()), ("images.gz", slow)] {
            let (_place, folder, store) = places();
            fs::write(folder.join(name), bytes).unwrap();
            fs::write(folder.join("labels"), LABELS).unwrap();
            let examples = open(&store).unwrap();
            assert_eq!(examples, [(1.0, Some(1)), (20.0 / 127.5 - 1.0, Some(0)), (40.0 / 127.5 - 1.0, Some(1))]);
            assert_eq!(store.state(&card()), State::Present(folder));
        }
    }

    #[test]
    fn the_first_root_that_has_all_files_is_taken() {
        let (place, folder, store) = places();
        let second = place.path().join("cache/datasets/own");
        fs::create_dir_all(&second).unwrap();
        fs::write(folder.join("labels"), LABELS).unwrap();
        fs::write(second.join("labels"), LABELS).unwrap();
        fs::write(second.join("images"), IMAGES).unwrap();
        assert_eq!(store.state(&card()), State::Present(second));
        assert_eq!(open(&store).unwrap().len(), 3);
        fs::write(folder.join("images"), IMAGES).unwrap();
        assert_eq!(store.state(&card()), State::Present(folder));
    }

    #[test]
    fn what_is_missing_is_told_with_where_and_how() {
        let (_place, folder, store) = places();
        fs::write(folder.join("labels"), LABELS).unwrap();
        let DataError::Missing(missing) = open(&store).unwrap_err() else { panic!() };
        assert_eq!(missing.files, [MissingFile { name: "images.gz".to_owned(), sha256: Some(sha256(gzip(IMAGES))) }]);
        assert_eq!(missing.searched[0], folder);
        let text = missing.to_string();
        for part in ["`own`", "images.gz", &sha256(gzip(IMAGES)), "ask a friend", "cache", "no address"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(matches!(store.state(&card()), State::Missing { downloadable: false, .. }));
    }

    #[test]
    fn another_version_is_refused_with_both_digests() {
        for (name, bytes) in
            [("images.gz", gzip(&IMAGES[1..])), ("images.gz", gzip(IMAGES)[..30].to_vec()), ("images", vec![1])]
        {
            let (_place, folder, store) = places();
            fs::write(folder.join("labels"), LABELS).unwrap();
            fs::write(folder.join(name), &bytes).unwrap();
            let text = open(&store).unwrap_err().to_string();
            for part in [name, &sha256(bytes), &sha256(gzip(IMAGES)), "sinter data prepare own"] {
                assert!(text.contains(part), "{text}");
            }
        }
    }

    #[test]
    fn a_download_that_cannot_be_is_told() {
        let mut card = card();
        for file in &mut card.train.as_mut().unwrap().files {
            file.url = Some("http://127.0.0.1:1/none".to_owned());
        }
        let (_place, _folder, store) = places();
        let prepare = |store: &Store| store.prepare(&card, &mut |_| {}).unwrap_err().to_string();
        assert!(prepare(&store).contains("downloading http://127.0.0.1:1/none failed"));
        assert!(matches!(store.state(&card), State::Missing { downloadable: true, .. }));
        let store = Store { download: false, ..store };
        assert!(prepare(&store).contains("switched off"));
        let store = Store { download: true, cache: None, ..store };
        assert!(prepare(&store).contains("no cache folder"));
    }

    /// A `.tar.gz` of two files of CIFAR records in `set/`, the records, and their card.
    fn archived() -> (Vec<u8>, [Vec<u8>; 2], Card) {
        let record = |label: u8| [vec![label], vec![10 * label; 3072]].concat();
        let files = [[record(1), record(0)].concat(), record(2)];
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in ["set/b1.bin", "set/b2.bin"].iter().zip(&files) {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, name, bytes.as_slice()).unwrap();
        }
        let archive = gzip(&builder.into_inner().unwrap());
        let file = |name, bytes| format!("{{ name = \"{name}\", bytes = 1, sha256 = \"{}\" }}", sha256(bytes));
        let text = format!(
            "name = \"own\"\ndescription = \"\"\nsource = \"\"\nlicence = \"\"\nobtain = \"\"\nfolder = \"own\"\n\
             shape = [3, 32, 32]\nclasses = [\"a\", \"b\", \"c\"]\nformat = {{ type = \"cifar\", label_bytes = 1 }}\n\
             archive = {{ folder = \"set\", file = {} }}\ntrain = {{ count = 3, files = [{}, {}] }}\n",
            file("all.tar.gz", &archive),
            file("b1.bin", &files[0]),
            file("b2.bin", &files[1])
        );
        (archive, files, Card::parse(&text, Path::new("own.toml")).unwrap())
    }

    #[test]
    fn an_archive_does_as_it_is_or_unpacked() {
        let (archive, [first, second], card) = archived();
        type Layout<'a> = &'a [(&'a str, &'a [u8])];
        let packed = gzip(&second);
        let layouts: [Layout<'_>; 4] = [
            &[("all.tar.gz", &archive)],
            &[("b1.bin", &first), ("b2.bin", &second)],
            &[("set/b1.bin", &first), ("set/b2.bin.gz", &packed)],
            // A part of it unpacked: the archive is whole.
            &[("set/b1.bin", &first), ("all.tar.gz", &archive)],
        ];
        for layout in layouts {
            let (_place, folder, store) = places();
            fs::create_dir(folder.join("set")).unwrap();
            layout.iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
            let source = open_card(&card, Split::Train, &store, &mut |_| {}).unwrap();
            let labels: Vec<_> = (0..3).map(|index| source.example(index).unwrap().class.unwrap()).collect();
            assert_eq!(labels, [1, 0, 2]);
        }
        let (_place, folder, store) = places();
        fs::write(folder.join("all.tar.gz"), &archive[1..]).unwrap();
        let text = open_card(&card, Split::Train, &store, &mut |_| {}).err().unwrap().to_string();
        assert!(text.contains("all.tar.gz") && text.contains(&sha256(&archive)), "{text}");
    }

    #[test]
    fn verified_files_that_are_not_what_the_card_says_are_told() {
        let (_, [first, second], mut card) = archived();
        let (_place, folder, store) = places();
        fs::write(folder.join("b1.bin"), first).unwrap();
        fs::write(folder.join("b2.bin"), second).unwrap();
        let mut says = |change: fn(&mut Card)| {
            change(&mut card);
            open_card(&card, Split::Train, &store, &mut |_| {}).err().unwrap().to_string()
        };
        let text = says(|card| card.train.as_mut().unwrap().count = 4);
        assert!(text.contains("3 examples, but the card `own` says 4"), "{text}");
        let text = says(|card| card.classes.truncate(2));
        assert!(text.contains("b2.bin") && text.contains("record 0 has label 2"), "{text}");
        let text = says(|card| card.train = None);
        assert!(text.contains("no train split"), "{text}");
    }
}
