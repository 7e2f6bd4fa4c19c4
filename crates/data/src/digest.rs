//! sha256 of files and folders, remembered so that start-up stays fast.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::DataError;

/// Lowercase hexadecimal sha256 of `bytes`.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Lowercase hexadecimal sha256 of everything that `reader` gives.
///
/// # Errors
/// Whatever reading gives.
pub fn sha256_of_reader(mut reader: impl Read) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(format!("{:x}", hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Digests that were computed before, one small file each, keyed by the path, size and modification time of what was
/// read. Without a folder nothing is remembered.
#[derive(Clone, Debug, Default)]
pub struct Stamps {
    folder: Option<PathBuf>,
}

impl Stamps {
    /// Keeps digests in `folder`, which is made when the first one is kept.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// sha256 of a file as it is stored.
    ///
    /// # Errors
    /// [`DataError::Io`] if the file cannot be read.
    pub fn file(&self, path: &Path) -> Result<String, DataError> {
        self.remember(&format!("file\n{}", identity(path)?), || {
            let file = fs::File::open(path).map_err(|source| DataError::io(path, source))?;
            sha256_of_reader(file).map_err(|source| DataError::io(path, source))
        })
    }

    /// sha256 of what a gzip file holds.
    ///
    /// # Errors
    /// [`DataError::Io`] if the file cannot be read or decompressed.
    pub fn gzip_content(&self, path: &Path) -> Result<String, DataError> {
        self.remember(&format!("gzip content\n{}", identity(path)?), || {
            let file = fs::File::open(path).map_err(|source| DataError::io(path, source))?;
            sha256_of_reader(flate2::read::MultiGzDecoder::new(file)).map_err(|source| DataError::io(path, source))
        })
    }

    /// One sha256 of many files below `folder`, which are named with `/` and sorted: that of the text that
    /// `find . -type f | LC_ALL=C sort | xargs sha256sum` prints in the folder.
    ///
    /// # Errors
    /// [`DataError::Io`] if a file cannot be read.
    pub fn tree(&self, folder: &Path, names: &[String]) -> Result<String, DataError> {
        let identities: Vec<_> =
            names.par_iter().map(|name| identity(&folder.join(name))).collect::<Result<_, DataError>>()?;
        self.remember(&format!("tree\n{}", identities.join("\n")), || {
            let lines: Vec<_> = names
                .par_iter()
                .map(|name| {
                    let path = folder.join(name);
                    let bytes = fs::read(&path).map_err(|source| DataError::io(&path, source))?;
                    Ok(format!("{}  ./{name}\n", sha256(bytes)))
                })
                .collect::<Result<_, DataError>>()?;
            Ok(sha256(lines.concat()))
        })
    }

    /// The digest remembered under `key`, or the one that `compute` finds. A cache that cannot be written costs time,
    /// never the result.
    fn remember(&self, key: &str, compute: impl FnOnce() -> Result<String, DataError>) -> Result<String, DataError> {
        let Some(folder) = &self.folder else { return compute() };
        let stamp = folder.join(format!("{}.verified", sha256(key)));
        if let Ok(digest) = fs::read_to_string(&stamp)
            && digest.len() == 64
        {
            return Ok(digest);
        }
        let digest = compute()?;
        let temporary = folder.join(format!("{}.{}", sha256(key), std::process::id()));
        let written = fs::create_dir_all(folder)
            .and_then(|()| fs::write(&temporary, &digest))
            .and_then(|()| fs::rename(&temporary, &stamp));
        if let Err(error) = written {
            log::debug!("cannot remember a checksum in {}: {error}", folder.display());
        }
        Ok(digest)
    }
}

/// What changes when a file does: its absolute path, size and modification time.
fn identity(path: &Path) -> Result<String, DataError> {
    let metadata = fs::metadata(path).map_err(|source| DataError::io(path, source))?;
    let absolute = std::path::absolute(path).map_err(|source| DataError::io(path, source))?;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok(format!("{} {} {:?}", absolute.display(), metadata.len(), modified))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_digest() {
        // FIPS 180-4, the one-block example.
        assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(sha256_of_reader("abc".as_bytes()).unwrap(), sha256("abc"));
    }

    #[test]
    fn a_stamp_answers_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (file, cache) = (folder.path().join("a"), folder.path().join("cache"));
        let stamps = Stamps::new(Some(cache.clone()));
        fs::write(&file, "abc").unwrap();
        assert_eq!(stamps.file(&file).unwrap(), sha256("abc"));
        let stamp = fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
        assert_eq!(stamp.extension().unwrap(), "verified");

        // The stamp is believed: this is what saves the time.
        fs::write(&stamp, "f".repeat(64)).unwrap();
        assert_eq!(stamps.file(&file).unwrap(), "f".repeat(64));

        // Another size is another key.
        fs::write(&file, "abcd").unwrap();
        assert_eq!(stamps.file(&file).unwrap(), sha256("abcd"));
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "abc").unwrap();
        let stamps = Stamps::new(Some(file.join("below a file")));
        assert_eq!(stamps.file(&file).unwrap(), sha256("abc"));
    }

    #[test]
    fn a_tree_is_the_digest_of_its_list() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        fs::write(folder.path().join("b/c"), "abc").unwrap();
        fs::write(folder.path().join("a"), "").unwrap();
        let names = ["a".to_owned(), "b/c".to_owned()];
        let expected = format!("{}  ./a\n{}  ./b/c\n", sha256(""), sha256("abc"));
        assert_eq!(Stamps::default().tree(folder.path(), &names).unwrap(), sha256(expected));
    }
}
