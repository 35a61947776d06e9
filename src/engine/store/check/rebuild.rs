//! A layer's files and its tar-split file made again, from what is there of it, or from a layer with the same digest.

use super::bench::Bench;
use super::contents::Verdict;
use super::{Look, Mend};
use crate::engine::digest::{Algorithm, Hasher};
use crate::engine::host::quota::Limits;
use crate::engine::host::rooted::open_directory;
use crate::engine::store::diff::channel::{Source, channel};
use crate::engine::store::diff::{self, Item, Items};
use crate::engine::store::layout::Driver;
use crate::engine::store::overlay::NewDir;
use crate::engine::store::staging::{StagedLayer, Trash};
use crate::engine::store::{LayerRecord, Store};
use crate::engine::{Digest, Error, Result};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// Where the tar of a layer can be had from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// Its own files and tar-split.
    Itself,
    /// Another layer with the same digest.
    Other(String),
    /// Its tar-split alone: it has no files with contents.
    Split,
    /// Its own files, written as a commit writes them.
    Written,
}

/// Reads a tar-split file to its end; whether it has files with contents.
pub(super) fn parse_split(path: &Path) -> Result<bool> {
    let file = File::open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::not_found("its tar-split file is missing"),
        _ => Error::io("open", path, e),
    })?;
    let mut items = Items::new(BufReader::new(file));
    let (mut contents, mut empty) = (false, true);
    while let Some(item) = items.next().map_err(|e| e.wrap("its tar-split file is damaged"))? {
        contents |= matches!(item, Item::File { size: 1.., .. });
        empty = false;
    }
    if empty { Err(Error::corrupt("its tar-split file is empty")) } else { Ok(contents) }
}

/// The layer's changes as a commit writes them, if that gives the recorded digest.
pub(super) fn written_again(store: &Store, layer: &LayerRecord) -> Option<()> {
    struct Hash(Hasher);
    impl Write for Hash {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut hash = Hash(Hasher::new(Algorithm::Sha256));
    store.write_changes(&layer.id, &|_, _| false, &mut hash).ok()?;
    (Some(hash.0.finish()) == layer.diff_digest).then_some(())
}

impl<'s> Look<'s, '_> {
    /// Where the layer can be had from, its own files being no help unless `own` says so.
    pub(super) fn source_for(&self, layer: &LayerRecord) -> Option<From> {
        let digest = layer.diff_digest.as_ref()?;
        if !layer.uid_map.is_empty() || self.store.driver == Driver::Vfs {
            return None;
        }
        if matches!(self.verdicts.get(&layer.id), Some(Verdict::Touched(..))) {
            return Some(From::Itself);
        }
        if matches!(self.verdicts.get(&layer.id), Some(Verdict::Split(_, true))) {
            return Some(From::Written);
        }
        let donor = self.tables.layers.iter().find(|other| {
            other.id != layer.id
                && other.diff_digest.as_ref() == Some(digest)
                && !other.incomplete()
                && other.uid_map.is_empty()
                && matches!(
                    self.verdicts.get(&other.id),
                    None | Some(Verdict::Whole(_) | Verdict::Touched(..))
                )
                && parse_split(&self.store.layout.tar_split(&other.id)).is_ok()
                && self.store.layer_dir(&other.id).is_some_and(|d| self.store.files_of(&d.path).is_dir())
        });
        if let Some(donor) = donor {
            return Some(From::Other(donor.id.clone()));
        }
        let alone = parse_split(&self.store.layout.tar_split(&layer.id)).is_ok_and(|contents| !contents);
        alone.then_some(From::Split)
    }

    /// The repair of a layer's files and tar-split.
    pub(super) fn rebuilding(&self, layer: &LayerRecord, from: From) -> Mend<'s> {
        let layer = layer.clone();
        Box::new(move |bench| bench.rebuild(&layer, &from))
    }
}

impl Bench<'_> {
    fn rebuild(&self, layer: &LayerRecord, from: &From) -> Result<()> {
        let store = self.store;
        let digest = layer.diff_digest.clone().ok_or_else(|| Error::corrupt("the layer has no digest"))?;
        let staged = stage(store, layer, from, &digest)?;
        store.sync_image()?;
        let tar_split = store.layout.tar_split(&layer.id);
        if *from != From::Written {
            self.swap_files(layer, &staged)?;
        }
        staged.move_out("tar-split.gz", &tar_split)
    }

    /// Puts staged files in the place of a layer's, which go. Who has it mounted keeps those it has.
    fn swap_files(&self, layer: &LayerRecord, staged: &StagedLayer) -> Result<()> {
        let store = self.store;
        let directory = store.layout.image_home.join(&layer.id);
        let files = directory.join("diff");
        if !directory.is_dir() {
            return store.make_layer_dir(&NewDir {
                id: &layer.id,
                parent: layer.parent.as_deref(),
                staged: Some(staged),
                root: (0, 0),
                image: true,
                limits: Limits::default(),
            });
        }
        let parent = layer.parent.as_deref().and_then(|id| store.layer_dir(id)).map(|d| d.path.join("diff"));
        let (mode, owner) = super::super::overlay::root_of(parent.as_deref())?;
        let trash = Trash::new(store)?;
        match fs::rename(&files, trash.path.join("diff")) {
            Err(e) if e.kind() == io::ErrorKind::CrossesDevices => super::super::file::remove_tree(&files)?,
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("move away", &files, e)),
            _ => {}
        }
        staged.place(&files, mode, owner)
    }
}

/// Unpacks the layer anew and compares its digest.
fn stage(store: &Store, layer: &LayerRecord, from: &From, digest: &Digest) -> Result<StagedLayer> {
    let staged = store.stage_layer()?;
    let path = staged.tar_split_path();
    let split = File::create(&path).map_err(|e| Error::io("create", &path, e))?;
    let (source, drain) = channel();
    let options = store.apply_options()?;
    let applied = std::thread::scope(|scope| {
        scope.spawn(|| send(store, layer, from, source));
        diff::apply(drain, staged.dir(), BufWriter::new(split), &options)
    })?;
    if applied.diff_id == *digest {
        return Ok(staged);
    }
    Err(Error::corrupt(format!("what there is of it has the digest {}, not {digest}", applied.diff_id)))
}

fn send(store: &Store, layer: &LayerRecord, from: &From, mut source: Source) {
    let sent = match from {
        From::Itself => store.layer_diff_tar(&layer.id, &mut source),
        From::Other(donor) => store.layer_diff_tar(donor, &mut source),
        From::Written => store.write_changes(&layer.id, &|_, _| false, &mut source),
        From::Split => send_split(store, layer, &mut source),
    };
    if let Err(e) = sent {
        source.fail(e);
    }
}

fn send_split(store: &Store, layer: &LayerRecord, source: &mut Source) -> Result<()> {
    let path = store.layout.tar_split(&layer.id);
    let split = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
    let nothing = open_directory(store.graph_root())?;
    diff::reassemble(BufReader::new(split), nothing.as_fd(), source)
}
