//! Layers as tar streams, and as directories.
//!
//! [`apply`] reads a layer's blob once and, on the way, verifies nothing but computes everything: the digest of the
//! blob, the digest of the tar inside (the DiffID), the directory tree, and the tar-split file from which
//! [`reassemble()`] later makes the same tar again, to the byte. The caller compares the digests with what the manifest
//! and the image configuration promised before it commits the layer.
//!
//! An archive is hostile input: every path is resolved below the layer's directory by file descriptors, sizes are
//! bounded by [`Limits`], and memory does not grow with the archive's size.
//!
//! Called by the store's layer staging; writes only below the directory, and to the tar-split writer, it is given.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

use crate::engine::spec::IdMapping;
use crate::engine::{Digest, Error, ErrorKind, Result};

mod buffers;
pub mod channel;
pub mod chunked;
mod compression;
mod contents;
mod crc64;
pub mod create;
mod extract;
mod members;
mod metadata;
mod parents;
mod path;
mod pipe;
mod reassemble;
pub mod tar;
pub(crate) mod tarsplit;
#[cfg(test)]
mod tests;
mod unpack;

pub use compression::{MAGIC_LEN, detect, inflate};
pub use path::clean as clean_path;
pub use reassemble::reassemble;
pub use tarsplit::{Item, Items};
pub use unpack::unpack;

/// How a layer's deletions (`.wh.NAME`, `.wh..wh..opq`) become something on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whiteouts {
    /// Overlay mounted by root: a character device 0:0, and `trusted.overlay.opaque`.
    #[default]
    Native,
    /// Overlay mounted in a user namespace with `userxattr`: a character device 0:0, and `user.overlay.opaque`.
    UserXattr,
    /// fuse-overlayfs (a `mount_program`): the marker files as they are in the archive.
    Literal,
    /// vfs: the directory holds a copy of the layers below, and what is whited out is removed from it.
    Raw,
}

/// Bounds on what one archive may make us do or remember.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one extended header (PAX records, a GNU long name). Go's archive/tar has the same limit.
    pub max_header: u64,
    /// Bytes of a path or of a link's target.
    pub max_path: usize,
    /// Data regions of one sparse file.
    pub max_sparse: usize,
    /// Bytes of the uncompressed archive; `None`: as many as the disk holds.
    pub max_size: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_header: 1 << 20, max_path: 4096, max_sparse: 1 << 16, max_size: None }
    }
}

/// User and group ID maps of a layer: an archive's ID is looked up as a container ID and stored as the host ID.
/// An empty list maps every ID to itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// User IDs.
    pub uids: Vec<IdMapping>,
    /// Group IDs.
    pub gids: Vec<IdMapping>,
}

/// How [`apply`] writes a layer.
#[derive(Clone, Debug, Default)]
pub struct ApplyOptions {
    /// The form of deletions.
    pub whiteouts: Whiteouts,
    /// Owners are mapped by this; `None`: stored as they are in the archive.
    pub id_maps: Option<IdMaps>,
    /// Rootless: device nodes, which a user namespace cannot make, are left out, and attributes it may not set are
    /// skipped, as containers/storage does.
    pub in_userns: bool,
    /// storage.conf `ignore_chown_errors`: a namespace with a single ID stores every file as that ID.
    pub ignore_chown_errors: bool,
    /// storage.conf `force_mask`: every file and directory gets this mode, its real owner and mode go into the
    /// extended attribute `user.containers.override_stat`, and special files become regular ones.
    pub force_mask: Option<u32>,
    /// The directory is no layer of ours but somebody's own, with files in it.
    pub merge: Option<Merge>,
    /// Bounds.
    pub limits: Limits,
}

/// How an archive is unpacked over files that are there. They are replaced, directories are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merge {
    /// Whose everything becomes, user and group as in the archive; `None`: as the archive says.
    pub owner: Option<(u32, u32)>,
    /// A directory is not replaced by something else, nor the other way round: that is an error.
    pub keep_kinds: bool,
}

/// The compression of a blob, told from its first bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// A bare tar.
    #[default]
    None,
    /// gzip, of one or many members (eStargz).
    Gzip,
    /// bzip2, of one or many streams.
    Bzip2,
    /// Zstandard, of one or many frames, skippable ones included (zstd:chunked).
    Zstd,
    /// xz.
    Xz,
}

impl Compression {
    /// The number that layers.json has in `compression` (containers/storage `pkg/archive`: `Compression`).
    pub fn storage_number(self) -> i32 {
        match self {
            Self::None => 0,
            Self::Bzip2 => 1,
            Self::Gzip => 2,
            Self::Xz => 3,
            Self::Zstd => 4,
        }
    }
}

/// What [`apply`] found out.
#[derive(Clone, Debug)]
pub struct Applied {
    /// SHA-256 of the uncompressed archive, to its last byte.
    pub diff_id: Digest,
    /// SHA-256 of the blob.
    pub blob_digest: Digest,
    /// Bytes of the blob.
    pub blob_size: u64,
    /// Bytes of the uncompressed archive.
    pub diff_size: u64,
    /// The user IDs that occur in the archive, sorted, before any mapping.
    pub uids: Vec<u32>,
    /// The group IDs, likewise.
    pub gids: Vec<u32>,
    /// How the blob was compressed.
    pub compression: Compression,
}

/// Docker's names for them.
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Bzip2 => "bzip2",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
        })
    }
}

/// Unpacks `blob` into `dir` (an open directory, private to the caller) and writes the gzip-compressed tar-split.
///
/// Reads `blob` to its end on a thread of its own. On an error the directory holds part of a layer: drop it.
///
/// # Errors
/// [`ErrorKind::Corrupt`] for an archive that is malformed, too large, or that reaches outside of the layer;
/// a failure of `blob` that is an [`Error`] inside an [`io::Error`] comes back as that.
pub fn apply(
    blob: impl Read + Send,
    dir: BorrowedFd<'_>,
    tar_split_gz: impl Write,
    options: &ApplyOptions,
) -> Result<Applied> {
    std::thread::scope(|scope| {
        let (producer, consumer) = pipe::pipe(options.limits.max_size);
        let producer = std::thread::Builder::new()
            .name("layer-reader".to_owned())
            .spawn_scoped(scope, move || producer.run(blob))
            .map_err(|e| Error::os("start a thread", e))?;
        let unpacked = unpack_layer(consumer, dir, tar_split_gz, options);
        let blob = producer.join().map_err(|_| Error::corrupt("the layer's reader panicked"))?;
        // What the producer met reached us through the pipe.
        let unpacked = unpacked?;
        let blob = blob?;
        Ok(Applied {
            blob_digest: blob.digest.unwrap_or_else(|| unpacked.diff_id.clone()),
            blob_size: blob.size,
            compression: blob.compression,
            diff_id: unpacked.diff_id,
            diff_size: unpacked.diff_size,
            uids: unpacked.uids.into_iter().collect(),
            gids: unpacked.gids.into_iter().collect(),
        })
    })
}

struct Unpacked {
    diff_id: Digest,
    diff_size: u64,
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
}

fn unpack_layer(
    stream: pipe::Consumer,
    dir: BorrowedFd<'_>,
    tar_split_gz: impl Write,
    options: &ApplyOptions,
) -> Result<Unpacked> {
    let mut split = tarsplit::Writer::new(tar_split_gz);
    let mut reader = tar::Reader::new(stream, &options.limits);
    let mut extractor = extract::Extractor::new(dir, options);
    let (mut uids, mut gids) = (BTreeSet::new(), BTreeSet::new());
    while let Some(entry) = reader.next(&mut split)? {
        let path = path::clean(&entry.name)?;
        let is_mark = parents::split(&path).1.starts_with(b".wh.");
        if !is_mark {
            // As upstream records them, whatever does not fit cut off.
            uids.insert(entry.uid as u32);
            gids.insert(entry.gid as u32);
        }
        let is_new = split.is_new(&path)?;
        if is_new && !is_mark && entry.sparse.is_none() {
            let mut contents = contents::Contents::on_disk(&mut reader);
            extractor.entry(&entry, &path, &mut contents)?;
            let (crc, size) = contents.finish()?;
            split.file(&entry.name, size, (size > 0).then_some(crc))?;
        } else {
            if is_new {
                split.file(&entry.name, 0, None)?;
            }
            let mut contents = contents::Contents::in_split(&mut reader, &mut split);
            extractor.entry(&entry, &path, &mut contents)?;
            contents.finish()?;
        }
    }
    reader.rest(&mut split)?;
    extractor.finish()?;
    split.finish()?;
    let (diff_id, diff_size) = reader.into_inner().finish()?;
    Ok(Unpacked { diff_id, diff_size, uids, gids })
}

/// A failure of ours that travelled inside an I/O error, or what the I/O error itself means.
fn from_io(e: io::Error) -> Error {
    let e = match e.downcast::<Error>() {
        Ok(ours) => return ours,
        Err(e) => e,
    };
    if e.raw_os_error().is_some() {
        return Error::os("read the layer", e);
    }
    let kind = match e.kind() {
        io::ErrorKind::TimedOut
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => ErrorKind::Network,
        _ => ErrorKind::Corrupt,
    };
    Error::new(kind, e.to_string())
}
