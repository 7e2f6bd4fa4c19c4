//! Downloads: to a temporary name, checked, then renamed.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::DataError;
use crate::card::CardFile;

/// How far a download is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Name of the file.
    pub file: &'a str,
    /// Bytes that have arrived.
    pub bytes: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

/// An HTTP client that gives up on a connection after ten seconds, and otherwise follows the environment's proxies.
pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .build()
        .into()
}

/// Downloads `file` from `url` to the path `to`, whose folder is made. Nothing is left at `to` unless the file is whole and
/// its sha256 is right.
///
/// # Errors
/// [`DataError::Download`] for what the network does, another size or another sha256; [`DataError::Io`] for the disk.
pub(crate) fn download(
    agent: &ureq::Agent,
    file: &CardFile,
    url: &str,
    to: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), DataError> {
    let failed = |reason: String| DataError::Download { url: url.to_owned(), reason };
    let response = agent.get(url).call().map_err(|error| failed(error.to_string()))?;
    let mut body = response.into_body().into_reader();

    let folder = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|source| DataError::io(folder, source))?;
    let partial = folder.join(format!("{}.{}.partial", file.name, std::process::id()));
    let result = (|| {
        let mut out = fs::File::create(&partial).map_err(|source| DataError::io(&partial, source))?;
        let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
        loop {
            let count = body.read(&mut buffer).map_err(|error| failed(error.to_string()))?;
            if count == 0 {
                break;
            }
            bytes += count as u64;
            if bytes > file.bytes {
                return Err(failed(format!("more than the {} bytes that it should have arrived", file.bytes)));
            }
            hasher.update(&buffer[..count]);
            out.write_all(&buffer[..count]).map_err(|source| DataError::io(&partial, source))?;
            progress(Progress { file: &file.name, bytes, total: file.bytes });
        }
        let found = format!("{:x}", hasher.finalize());
        if found != file.sha256 {
            let reason = format!("{bytes} bytes of sha256 {found} arrived, not {} of {}", file.bytes, file.sha256);
            return Err(failed(reason));
        }
        out.sync_all().map_err(|source| DataError::io(&partial, source))?;
        fs::rename(&partial, to).map_err(|source| DataError::io(to, source))
    })();
    if result.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&partial);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256;
    use std::net::TcpListener;

    /// Serves one answer on the loopback interface and returns its address.
    fn serve(status: &'static str, promised: usize, body: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {promised}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body).unwrap();
        });
        format!("http://{address}/file")
    }

    fn fetch(url: &str, to: &Path) -> Result<Vec<u64>, DataError> {
        let digest = sha256("the body");
        let file = CardFile { name: "file".to_owned(), bytes: 8, sha256: digest, content_sha256: None, url: None };
        let agent = ureq::Agent::config_builder().proxy(None).build().into();
        let mut seen = Vec::new();
        download(&agent, &file, url, to, &mut |progress| seen.push(progress.bytes))?;
        Ok(seen)
    }

    #[test]
    fn a_whole_file_arrives_under_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("set/file");
        let seen = fetch(&serve("200 OK", 8, b"the body"), &to).unwrap();
        assert_eq!(seen.last(), Some(&8));
        assert_eq!(fs::read(&to).unwrap(), b"the body");
        assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn anything_else_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("set/file");
        for (url, says) in [
            (serve("404 Not Found", 2, b"no"), "404"),
            (serve("200 OK", 8, b"the"), "disconnect"),
            (serve("200 OK", 8, b"the bodx"), "8 bytes of sha256"),
            (serve("200 OK", 3, b"the"), "3 bytes of sha256"),
            (serve("200 OK", 20, b"the body, and much m"), "more than the 8 bytes"),
            ("http://127.0.0.1:1/".to_owned(), "refused"),
        ] {
            let message = fetch(&url, &to).unwrap_err().to_string();
            assert!(message.contains(says) && message.contains("http://127"), "{message}");
            assert!(fs::read_dir(to.parent().unwrap()).map_or(0, Iterator::count) == 0);
        }
    }
}
