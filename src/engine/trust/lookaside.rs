//! Signatures in a lookaside: files, or a web server that is only read from.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::registries_d::{Lookaside, file_of, redacted};
use super::signature::{MAX_SIGNATURE, MAX_SIGNATURES, Signature};
use crate::engine::host::atomic::{self, Durability};
use crate::engine::registry::Repository;
use crate::engine::{Context, Digest, Error, ErrorKind, Result};

impl Lookaside {
    /// The signatures of a manifest. A web server is asked with the trust of the repository's host, without credentials.
    ///
    /// `Corrupt` if there is something that is no signature, or too much of it.
    pub fn read(&self, manifest: &Digest, repository: &Repository) -> Result<Vec<Signature>> {
        let mut found = Vec::new();
        for number in 1.. {
            if number > MAX_SIGNATURES {
                let why = format!("{} has more than {MAX_SIGNATURES} signatures of {manifest}", self.shown());
                return Err(Error::corrupt(why));
            }
            let url = self.signature(manifest, number);
            let bytes = match (file_of(&url), url.scheme()) {
                (Some(path), _) => read_file(&path)?,
                (None, "http" | "https") => repository.fetch_public(&url, MAX_SIGNATURE)?,
                (None, _) => {
                    let why = format!("unsupported scheme when reading signature from {}", redacted(&url));
                    return Err(Error::unsupported(why));
                }
            };
            let Some(bytes) = bytes else { break };
            found.push(Signature::from_bytes(&bytes).with_context(|| redacted(&url))?);
        }
        Ok(found)
    }

    /// Makes these the signatures of a manifest.
    ///
    /// `Unsupported` if it is not in files.
    pub fn write(&self, manifest: &Digest, signatures: &[Signature]) -> Result<()> {
        for number in 1.. {
            let path = self.file(manifest, number)?;
            match signatures.get(number - 1) {
                Some(signature) => {
                    if let Some(directory) = path.parent() {
                        fs::create_dir_all(directory).map_err(|e| Error::io("mkdir", directory, e))?;
                    }
                    atomic::write(&path, &signature.to_bytes(), 0o644, Durability::None)?;
                }
                // What comes after the first one that is missing nobody reads.
                None => match fs::remove_file(&path) {
                    Ok(()) => {}
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                    Err(e) => return Err(Error::io("remove", &path, e)),
                },
            }
        }
        Ok(())
    }

    /// Adds a signature to those of a manifest; returns the file.
    pub fn add(&self, manifest: &Digest, signature: &Signature) -> Result<std::path::PathBuf> {
        for number in 1.. {
            let path = self.file(manifest, number)?;
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory).map_err(|e| Error::io("mkdir", directory, e))?;
            }
            if !path.exists() {
                atomic::write(&path, &signature.to_bytes(), 0o644, Durability::None)?;
                return Ok(path);
            }
        }
        Err(Error::corrupt("there are no numbers left for signatures"))
    }

    /// `Unsupported` if it is not in files.
    pub fn check_writable(&self) -> Result<()> {
        self.file(&Digest::sha256(b""), 1).map(drop)
    }

    fn file(&self, manifest: &Digest, number: usize) -> Result<std::path::PathBuf> {
        let url = self.signature(manifest, number);
        file_of(&url).ok_or_else(|| {
            let scheme = url.scheme();
            Error::unsupported(format!(
                "writing directly to a {scheme} lookaside {} is not supported",
                self.shown()
            ))
            .with_hint("configure a lookaside-staging: location in registries.d")
        })
    }
}

/// A file's bytes; `None`: there is none.
///
/// `Corrupt` if it is no regular file, or too large.
pub fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut options = OpenOptions::new();
    // What is no file must not block.
    let file = match options.read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("open", path, e)),
    };
    if !file.metadata().map_err(|e| Error::io("stat", path, e))?.is_file() {
        return Err(Error::corrupt(format!("{} is no file", path.display())));
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIGNATURE as u64 + 1).read_to_end(&mut bytes).map_err(|e| Error::io("read", path, e))?;
    if bytes.len() > MAX_SIGNATURE {
        let why = format!("{} is larger than a signature may be: {MAX_SIGNATURE} bytes", path.display());
        return Err(Error::new(ErrorKind::Corrupt, why));
    }
    Ok(Some(bytes))
}
