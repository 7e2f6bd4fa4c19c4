//! What files hold: plain, gzip, or members of a `.tar.gz`.

use std::fs;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::DataError;

/// The first two bytes of every gzip file (RFC 1952, 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The bytes of a file, decompressed if it is gzip, whatever its name.
///
/// # Errors
/// [`DataError::Io`] if it cannot be read, [`DataError::Corrupt`] if it is damaged gzip.
pub fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let stored = fs::read(path).map_err(|source| DataError::io(path, source))?;
    if !stored.starts_with(&GZIP_MAGIC) {
        return Ok(stored);
    }
    let mut bytes = Vec::new();
    match MultiGzDecoder::new(stored.as_slice()).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(DataError::corrupt(path, format!("the gzip data is damaged or cut short ({error})"))),
    }
}

/// The bytes of the members called `names` of a `.tar.gz`, in the order of `names`, in one pass.
///
/// # Errors
/// [`DataError::Io`] if it cannot be opened, [`DataError::Corrupt`] if it is damaged or lacks a member.
pub fn read_members(archive: &Path, names: &[String]) -> Result<Vec<Vec<u8>>, DataError> {
    let damaged =
        |error: std::io::Error| DataError::corrupt(archive, format!("the archive is damaged or cut short ({error})"));
    let file = fs::File::open(archive).map_err(|source| DataError::io(archive, source))?;
    let mut archived = tar::Archive::new(MultiGzDecoder::new(BufReader::new(file)));
    let mut found: Vec<Option<Vec<u8>>> = vec![None; names.len()];
    for entry in archived.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = entry.path().map_err(damaged)?.to_string_lossy().replace('\\', "/");
        let name = name.strip_prefix("./").unwrap_or(&name);
        if let Some(index) = names.iter().position(|wanted| wanted == name) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(damaged)?;
            found[index] = Some(bytes);
        }
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    names
        .iter()
        .zip(found)
        .map(|(name, bytes)| bytes.ok_or_else(|| DataError::corrupt(archive, format!("there is no `{name}` in it"))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_gzip_are_told_apart_by_their_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gz");
        fs::write(&path, "plain").unwrap();
        assert_eq!(read(&path).unwrap(), b"plain");
        fs::write(&path, gzip(b"packed")).unwrap();
        assert_eq!(read(&path).unwrap(), b"packed");
    }

    #[test]
    fn damaged_gzip_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gz");
        let packed = gzip(&[7; 5000]);
        for damaged in [packed[..packed.len() - 6].to_vec(), {
            let mut bytes = packed.clone();
            let last = bytes.len() - 5;
            bytes[last] ^= 1; // in the checksum
            bytes
        }] {
            fs::write(&path, damaged).unwrap();
            let message = read(&path).unwrap_err().to_string();
            assert!(message.contains("a.gz") && message.contains("gzip data is damaged"), "{message}");
        }
        let message = read(&folder.path().join("none")).unwrap_err().to_string();
        assert!(message.contains("none"), "{message}");
    }

    #[test]
    fn members_come_in_the_order_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar.gz");
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in [("set/a.bin", "first"), ("set/readme", "no"), ("set/b.bin", "second")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, bytes.as_bytes()).unwrap();
        }
        let packed = gzip(&builder.into_inner().unwrap());
        fs::write(&path, &packed).unwrap();
        let names = ["set/b.bin".to_owned(), "set/a.bin".to_owned()];
        assert_eq!(read_members(&path, &names).unwrap(), [b"second".to_vec(), b"first".to_vec()]);

        let message = read_members(&path, &["set/c.bin".to_owned()]).unwrap_err().to_string();
        assert!(message.contains("no `set/c.bin`"), "{message}");
        fs::write(&path, &packed[..packed.len() / 2]).unwrap();
        let message = read_members(&path, &names).unwrap_err().to_string();
        assert!(message.contains("a.tar.gz") && message.contains("damaged"), "{message}");
    }
}
