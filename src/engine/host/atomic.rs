//! Files replaced as a whole: a reader sees the old content or the new, a crash leaves one of them.

use crate::engine::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Whether a file must outlive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The page cache is enough: records of `--rm` containers and run-time files.
    None,
    /// fsync of the file before the rename and of its directory after it.
    Synced,
}

/// Writes `bytes` to `path` through a temporary file beside it and a rename. `mode` are the permission bits.
///
/// Fails with the operation and path that failed; the temporary file is then gone and the old content stays.
pub fn write(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = directory.join(format!(".tmp-{name}-{}", std::process::id()));
    let written = write_new(&temporary, bytes, mode, durability)
        .and_then(|()| fs::rename(&temporary, path).map_err(|e| Error::io("rename to", path, e)));
    if let Err(e) = written {
        let _ = fs::remove_file(&temporary);
        return Err(e);
    }
    match durability {
        Durability::None => Ok(()),
        Durability::Synced => sync_directory(directory),
    }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(path).map_err(|e| Error::io("create", path, e))?;
    file.write_all(bytes).map_err(|e| Error::io("write", path, e))?;
    match durability {
        Durability::None => Ok(()),
        Durability::Synced => file.sync_all().map_err(|e| Error::io("fsync", path, e)),
    }
}

/// fsync of a directory: makes renames, creations and removals in it durable (fsync(2), "calling fsync() does not
/// necessarily ensure that the entry in the directory containing the file has also reached disk").
pub fn sync_directory(path: &Path) -> Result<()> {
    let directory = File::open(path).map_err(|e| Error::io("open", path, e))?;
    directory.sync_all().map_err(|e| Error::io("fsync", path, e))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_file_and_leaves_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        write(&path, b"one", 0o600, Durability::Synced).unwrap();
        write(&path, b"two", 0o600, Durability::None).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_names_the_operation_and_path() {
        let e = write(Path::new("/no/such/dir/file"), b"", 0o600, Durability::None).unwrap_err();
        assert!(e.to_string().starts_with("create /no/such/dir/.tmp-file-"), "{e}");
    }
}
