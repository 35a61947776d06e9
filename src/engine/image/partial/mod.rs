//! A layer of which the store has a part: only the rest is fetched.
//!
//! The blob's table of contents (zstd:chunked; for eStargz see [`estargz`]) names each file's digest and place. Files that another layer with such a
//! table has are taken from there, the others are asked for by ranges, and what stands between them is in the tar-split
//! that comes with the table: so the very tar of the layer is made again and unpacked like any other, and its DiffID is
//! verified like any other's. A table can therefore say what it likes: whatever is wrong with it, the blob is then fetched
//! as a whole. What is not verified is the blob's own digest, which is not recorded.
//!
//! Only where storage.conf's `pull_options` say `enable_partial_images`; for `convert_images` see [`convert()`]. The tables are kept beside the layers as
//! containers/storage keeps them (`zstd-chunked-manifest`), for podman's pulls and for ours.

mod convert;
mod estargz;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::engine::digest::{Algorithm, Hasher};
use crate::engine::host::relay::relay;
use crate::engine::host::{link, rooted};
use crate::engine::image::layers::ChainLayer;
use crate::engine::registry::Repository;
use crate::engine::registry::ranges::Ranges;
use crate::engine::store::diff::chunked::toc::{self, Part, Places, Sum, Toc, TocFile};
use crate::engine::store::diff::tarsplit::{Item, Items};
use crate::engine::store::diff::{self, Applied, ApplyOptions, chunked};
use crate::engine::store::{LAYER_TOC, StagedLayer};
use crate::engine::{Engine, Error, Result};

pub(super) use convert::convert;

/// What lies between two ranges is fetched with them if it is no more than this many bytes.
const GAP: u64 = 4 << 10;

/// How a layer is brought.
pub(super) struct Request<'a> {
    pub(super) engine: &'a Engine,
    pub(super) repository: &'a Repository,
    pub(super) layer: &'a ChainLayer,
    pub(super) options: &'a ApplyOptions,
    pub(super) cancel: &'a Arc<AtomicBool>,
    /// Hears how many bytes of the blob have come.
    pub(super) received: &'a (dyn Fn(u64) + Sync),
}

/// Unpacks the layer into `staged`. `None`: nothing of it is here, and nothing was unpacked; the table of contents is with
/// `staged` in any case.
///
/// # Errors
/// Whatever went wrong: the blob should then be fetched as a whole, into another directory.
pub(super) fn fetch(request: &Request<'_>, staged: &StagedLayer) -> Result<Option<Applied>> {
    let blob = &request.layer.blob;
    if chunked::estargz::is_estargz(blob.annotations.as_ref()) {
        return estargz::fetch(request, staged);
    }
    let annotations = blob.annotations.as_ref().ok_or_else(|| Error::invalid("the layer has no table"))?;
    let places = Places::of(annotations, blob.size)?;
    let (table, split) = (places.toc, places.tar_split);
    if split.start < table.end {
        return Err(Error::corrupt("the layer's table of contents is out of order"));
    }
    let mut ranges = request.repository.ranges(
        &blob.digest,
        vec![(table.start, table.end), (split.start, split.end)],
        request.cancel,
    );
    let compressed = ranges.read_all(table.start, table.end)?;
    let toc = kept(staged, |file| toc::inflate_checked(&compressed, &places.checksum, file))?;
    drop(compressed);
    let split_digest =
        toc.tar_split.as_ref().ok_or_else(|| Error::unsupported("the layer has no tar-split"))?;
    let local = Local::find(request.engine, &toc)?;
    if local.by_sum.is_empty() {
        return Ok(None);
    }
    let split = ranges.read_all(split.start, split.end)?;
    if !split_digest.matches(&split) {
        return Err(Error::corrupt("the layer's tar-split does not match its digest"));
    }
    let fetched = ranges.received();
    drop(ranges);
    let plan = Plan { files: toc.by_name(), local: &local, split: &split };
    let mut ranges = request.repository.ranges(&blob.digest, plan.ranges()?, request.cancel);
    let applied = unpack(request, staged, |out| {
        plan.write(&mut ranges, out, &|received| (request.received)(fetched + received))
    })?;
    local.share(request.engine, &toc, staged);
    tell(request, fetched + ranges.received());
    Ok(Some(applied))
}

/// Writes a table of contents to its place with the layer, and reads it.
fn kept(staged: &StagedLayer, write: impl FnOnce(&mut File) -> Result<()>) -> Result<Toc> {
    let path = staged.toc_path();
    let failed = |e| Error::io("write", &path, e);
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
    write(&mut file)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Toc::read(BufReader::new(file))
}

/// Unpacks the tar that `write` makes of the parts, and verifies it.
fn unpack(
    request: &Request<'_>,
    staged: &StagedLayer,
    write: impl FnOnce(&mut dyn Write) -> Result<()> + Send,
) -> Result<Applied> {
    let tar_split = staged.tar_split_path();
    let kept = File::create(&tar_split).map_err(|e| Error::io("create", &tar_split, e))?;
    let applied = relay(
        |out| {
            let mut out = BufWriter::with_capacity(64 << 10, out);
            write(&mut out)?;
            out.flush().map_err(|e| Error::os("write the layer", e))
        },
        |tar| diff::apply(tar, staged.dir(), BufWriter::new(kept), request.options),
    )?;
    if applied.diff_id != request.layer.diff_id {
        return Err(Error::corrupt(format!("the parts have the DiffID {}", applied.diff_id)));
    }
    Ok(applied)
}

fn tell(request: &Request<'_>, fetched: u64) {
    let blob = &request.layer.blob;
    tracing::debug!("layer {}: {fetched} of {} bytes were fetched", blob.digest, blob.size);
}

/// Contents in the store.
struct Local {
    /// The directories of layers.
    roots: Vec<OwnedFd>,
    by_sum: HashMap<Sum, Found>,
}

/// Where a content is.
struct Found {
    root: usize,
    name: String,
    at: u64,
}

impl Local {
    /// Looks for everything the table names in the layers that have a table, and verifies what it finds.
    fn find(engine: &Engine, wanted: &Toc) -> Result<Self> {
        let sums: HashSet<&Sum> = wanted
            .files
            .iter()
            .flat_map(|file| std::iter::once(&file.sum).chain(file.parts.iter().map(|part| &part.sum)))
            .collect();
        let mut local = Self { roots: Vec::new(), by_sum: HashMap::new() };
        for layer in engine.store.layers()? {
            if !layer.big_data_names.iter().any(|name| name == LAYER_TOC) {
                continue;
            }
            let read = || -> Result<(Toc, OwnedFd)> {
                let toc = Toc::read(BufReader::new(engine.store.layer_toc(&layer.id)?))?;
                Ok((toc, rooted::open_directory(&engine.store.layer_paths(&layer.id)?.upper)?))
            };
            match read() {
                Ok((toc, root)) => local.look(&toc, root, &sums),
                Err(e) => tracing::debug!("layer {} is not looked through: {e}", layer.id),
            }
        }
        Ok(local)
    }

    fn look(&mut self, toc: &Toc, root: OwnedFd, wanted: &HashSet<&Sum>) {
        let number = self.roots.len();
        for file in &toc.files {
            let whole = Part {
                at: 0,
                size: file.size,
                sum: file.sum,
                span: toc::Span { start: 0, end: 0 },
                zeros: false,
            };
            for part in std::iter::once(&whole).chain(file.parts.iter().filter(|part| !part.zeros)) {
                if wanted.contains(&part.sum)
                    && !self.by_sum.contains_key(&part.sum)
                    && verified(&root, &file.name, part)
                {
                    let found = Found { root: number, name: file.name.clone(), at: part.at };
                    self.by_sum.insert(part.sum, found);
                }
            }
        }
        self.roots.push(root);
    }

    fn open(&self, found: &Found, size: u64) -> Result<io::Take<File>> {
        self.open_at(found, 0, size)
    }

    /// A stretch of a content.
    fn open_at(&self, found: &Found, at: u64, size: u64) -> Result<io::Take<File>> {
        let (mut file, _) =
            rooted::open_regular_in_root(self.roots[found.root].as_fd(), Path::new(&found.name))?;
        file.seek(SeekFrom::Start(found.at + at)).map_err(|e| Error::os("seek", e))?;
        Ok(file.take(size))
    }

    /// Files that are here as a whole need not take room twice. Only told if it cannot be done.
    fn share(&self, engine: &Engine, toc: &Toc, staged: &StagedLayer) {
        let hard_links = engine.config.storage.pull_options.hard_links;
        for file in &toc.files {
            let Some(found) = self.by_sum.get(&file.sum).filter(|found| found.at == 0) else { continue };
            let (root, name) = (self.roots[found.root].as_fd(), Path::new(&found.name));
            match link::share(root, name, staged.dir(), Path::new(&file.name), hard_links) {
                Ok(true) => {}
                Ok(false) => return,
                Err(e) => tracing::debug!("{:?} is not shared: {e}", file.name),
            }
        }
    }
}

/// Whether a part of a file is what the table says.
fn verified(root: &OwnedFd, name: &str, part: &Part) -> bool {
    let read = || -> io::Result<bool> {
        let (mut file, size) =
            rooted::open_regular_in_root(root.as_fd(), Path::new(name)).map_err(io::Error::other)?;
        if part.at.checked_add(part.size).is_none_or(|end| end > size) {
            return Ok(false);
        }
        file.seek(SeekFrom::Start(part.at))?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut buffer = vec![0; 128 << 10];
        let mut content = file.take(part.size);
        loop {
            match content.read(&mut buffer)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        Ok(hex::decode(hasher.finish().hex()).is_ok_and(|sum| sum == part.sum))
    };
    read().unwrap_or(false)
}

/// The tar, piece by piece.
struct Plan<'a> {
    files: HashMap<&'a [u8], &'a TocFile>,
    local: &'a Local,
    split: &'a [u8],
}

impl<'a> Plan<'a> {
    fn items(&self) -> Result<Items<zstd::stream::read::Decoder<'a, &'a [u8]>>> {
        let inflated = zstd::stream::read::Decoder::with_buffer(self.split);
        Ok(Items::plain(inflated.map_err(|e| Error::os("inflate", e))?))
    }

    fn file(&self, name: &[u8], size: u64) -> Result<&'a TocFile> {
        let file = self.files.get(name).filter(|file| file.size == size);
        file.copied().ok_or_else(|| Error::corrupt("the layer's tar-split and table of contents disagree"))
    }

    fn is_here(&self, part: &Part) -> bool {
        part.zeros || self.local.by_sum.contains_key(&part.sum)
    }

    /// What of the blob is needed.
    fn ranges(&self) -> Result<Vec<(u64, u64)>> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        let mut items = self.items()?;
        while let Some(item) = items.next()? {
            let Item::File { name, size: 1.., .. } = &item else { continue };
            let Item::File { size, .. } = item else { continue };
            let file = self.file(name, size)?;
            if self.local.by_sum.contains_key(&file.sum) {
                continue;
            }
            for part in file.parts.iter().filter(|part| !self.is_here(part)) {
                match ranges.last_mut() {
                    Some(last) if part.span.start < last.1 => {
                        return Err(Error::corrupt("the layer's contents are out of order"));
                    }
                    Some(last) if part.span.start - last.1 <= GAP => last.1 = part.span.end,
                    _ => ranges.push((part.span.start, part.span.end)),
                }
            }
        }
        Ok(ranges)
    }

    /// Writes the tar.
    fn write(&self, ranges: &mut Ranges, out: &mut dyn Write, received: &dyn Fn(u64)) -> Result<()> {
        let failed = |e: io::Error| match e.downcast::<Error>() {
            Ok(ours) => ours,
            Err(e) => Error::os("write the layer", e),
        };
        let mut items = self.items()?;
        while let Some(item) = items.next()? {
            match item {
                Item::Segment(bytes) => out.write_all(&bytes).map_err(failed)?,
                Item::File { size: 0, .. } => {}
                Item::File { name, size, .. } => {
                    let file = self.file(&name, size)?;
                    if let Some(found) = self.local.by_sum.get(&file.sum) {
                        exactly(&mut self.local.open(found, size)?, size, out)?;
                        continue;
                    }
                    for part in &file.parts {
                        self.part(part, ranges, out)?;
                    }
                    received(ranges.received());
                }
            }
        }
        Ok(())
    }

    fn part(&self, part: &Part, ranges: &mut Ranges, out: &mut dyn Write) -> Result<()> {
        if part.zeros {
            return exactly(&mut io::repeat(0).take(part.size), part.size, out);
        }
        if let Some(found) = self.local.by_sum.get(&part.sum) {
            return exactly(&mut self.local.open(found, part.size)?, part.size, out);
        }
        let compressed = BufReader::with_capacity(64 << 10, ranges.span(part.span.start, part.span.end));
        let inflated = zstd::stream::read::Decoder::with_buffer(compressed);
        let inflated = inflated.map_err(|e| Error::os("inflate", e))?;
        exactly(&mut inflated.take(part.size.saturating_add(1)), part.size, out)
    }
}

/// Copies what must be `size` bytes.
fn exactly(from: &mut impl Read, size: u64, out: &mut (impl Write + ?Sized)) -> Result<()> {
    let copied = io::copy(from, out).map_err(|e| match e.downcast::<Error>() {
        Ok(ours) => ours,
        Err(e) => Error::os("make the layer", e),
    })?;
    if copied == size { Ok(()) } else { Err(Error::corrupt("a content is not as large as it should be")) }
}
