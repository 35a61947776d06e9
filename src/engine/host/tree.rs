//! Directory trees as a whole.

use crate::engine::{Error, Result};
use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes in a tree, each file once (containers/storage `pkg/directory`: `Size`). What vanishes meanwhile counts nothing.
pub fn size(path: &Path) -> Result<u64> {
    walk(path, &mut HashSet::new())
}

fn walk(path: &Path, seen: &mut HashSet<(u64, u64)>) -> Result<u64> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(Error::io("stat", path, e)),
    };
    if !meta.is_dir() {
        let first = meta.nlink() <= 1 || seen.insert((meta.dev(), meta.ino()));
        return Ok(if first { meta.size() } else { 0 });
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(Error::io("read", path, e)),
    };
    let mut size = 0;
    for entry in entries {
        size += walk(&entry.map_err(|e| Error::io("read", path, e))?.path(), seen)?;
    }
    Ok(size)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    #[test]
    fn a_file_with_two_names_counts_once() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir(root.join("below")).unwrap();
        std::fs::write(root.join("a"), [0; 100]).unwrap();
        std::fs::hard_link(root.join("a"), root.join("below/b")).unwrap();
        std::fs::write(root.join("below/c"), [0; 10]).unwrap();
        assert_eq!(super::size(root).unwrap(), 110);
        assert_eq!(super::size(&root.join("nothing")).unwrap(), 0);
    }
}
