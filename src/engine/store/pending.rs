//! What is half made or half dropped, noted before it is begun and forgotten when it is done.
//!
//! Upstream writes layers.json twice for each layer, first with the flag `incomplete`. We write it once, complete: while
//! a layer's directory is made, an empty file `<graphroot>/coracle/pending/layer-<id>` says so. All of it happens
//! under the write lock of the layers, so whoever gets that lock and finds a note knows that its writer died.
//! Nothing here is synced: the name alone carries the information, and a journalling file system writes it no later
//! than the directories made after it.

use super::Store;
use super::file;
use crate::engine::{Error, Result};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

/// One thing under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    /// A layer's directory; complete once the layer is recorded.
    Layer {
        /// The layer.
        id: String,
    },
    /// A container and its layer; complete once the container is recorded.
    Container {
        /// The container.
        id: String,
        /// Its layer.
        layer: String,
    },
    /// A container and its layer that are being deleted.
    Removal {
        /// The container.
        id: String,
        /// Its layer.
        layer: String,
    },
    /// A layer on which a deleted image stood; nothing to do if the image is still recorded.
    Drop {
        /// The image.
        image: String,
        /// Its top layer, or one of its mapped layers.
        layer: String,
    },
}

impl Pending {
    /// Its note's name.
    pub(super) fn file_name(&self) -> String {
        match self {
            Self::Layer { id } => format!("layer-{id}"),
            Self::Container { id, layer } => format!("container-{id}-{layer}"),
            Self::Removal { id, layer } => format!("removal-{id}-{layer}"),
            Self::Drop { image, layer } => format!("drop-{image}-{layer}"),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let mut next = || parts.next().map(str::to_owned);
        match next()?.as_str() {
            "layer" => Some(Self::Layer { id: next()? }),
            "container" => Some(Self::Container { id: next()?, layer: next()? }),
            "removal" => Some(Self::Removal { id: next()?, layer: next()? }),
            "drop" => Some(Self::Drop { image: next()?, layer: next()? }),
            _ => None,
        }
    }
}

/// A note on disk. [`Note::done`] forgets it; dropped without that, the next writer finishes or undoes the matter.
#[derive(Debug)]
#[must_use]
pub(super) struct Note {
    path: PathBuf,
}

impl Note {
    pub(super) fn write(store: &Store, pending: &Pending) -> Result<Self> {
        let path = store.layout.pending.join(pending.file_name());
        match File::create(&path) {
            Ok(_) => Ok(Self { path }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                file::make_dirs(&store.layout.pending, 0o700)?;
                File::create(&path).map_err(|e| Error::io("create", &path, e))?;
                Ok(Self { path })
            }
            Err(e) => Err(Error::io("create", &path, e)),
        }
    }

    /// The matter is settled.
    pub(super) fn done(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether there are notes: of writers at work, or of dead ones.
pub(super) fn any(store: &Store) -> bool {
    fs::read_dir(&store.layout.pending).is_ok_and(|mut entries| entries.next().is_some())
}

/// Every note there is; the caller holds the write lock of the layers.
pub(super) fn list(store: &Store) -> Result<Vec<(Note, Pending)>> {
    let directory = &store.layout.pending;
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", directory, e)),
    };
    let mut notes = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("read", directory, e))?;
        if let Some(pending) = entry.file_name().to_str().and_then(Pending::parse) {
            notes.push((Note { path: entry.path() }, pending));
        }
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_everything_in_its_name() {
        for pending in [
            Pending::Layer { id: "a1".into() },
            Pending::Container { id: "c".into(), layer: "d".into() },
            Pending::Removal { id: "c".into(), layer: "d".into() },
            Pending::Drop { image: "1".into(), layer: "2".into() },
        ] {
            assert_eq!(Pending::parse(&pending.file_name()), Some(pending));
        }
        assert_eq!(Pending::parse(".tmp"), None);
    }
}
