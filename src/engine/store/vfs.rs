//! The driver that works everywhere: each layer is a full copy, `<home>/dir/<layer>` (`drivers/vfs/driver.go`).
//!
//! Layers are unpacked as for overlay, whiteouts included, and merged with the parent's copy when they are committed,
//! so that all layers of a pull can be unpacked at the same time here too.

use super::overlay::{NewDir, layer_missing, make_dir};
use super::{Store, file};
use crate::engine::{Error, Result};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat};
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

impl Store {
    /// Where a layer's files are.
    pub(super) fn vfs_dir(&self, id: &str) -> PathBuf {
        self.layout.home.join("dir").join(id)
    }

    /// Makes a layer: the parent's files, with what is staged on top.
    pub(super) fn vfs_make(&self, new: &NewDir<'_>) -> Result<()> {
        let base = if new.image { &self.layout.image_home } else { &self.layout.home }.join("dir");
        file::make_dirs(&base, 0o700)?;
        let directory = base.join(new.id);
        file::remove_tree(&directory)?;
        let made = self.vfs_fill(&directory, new);
        if made.is_err() {
            let _ = file::remove_tree(&directory);
        }
        made
    }

    fn vfs_fill(&self, directory: &Path, new: &NewDir<'_>) -> Result<()> {
        let (mode, owner) = match new.parent {
            Some(parent) => {
                let parent = self.layer_dir(parent).ok_or_else(|| layer_missing(parent))?.path;
                let meta = fs::metadata(&parent).map_err(|e| Error::io("stat", &parent, e))?;
                make_dir(directory, 0o700, (0, 0))?;
                Merge::default().directory(&parent, directory)?;
                (meta.mode() & 0o7777, (meta.uid(), meta.gid()))
            }
            None => {
                make_dir(directory, 0o555, new.root)?;
                (0o555, new.root)
            }
        };
        let Some(staged) = new.staged else { return Ok(()) };
        let source = staged.dir_path();
        staged.settle_root(mode, owner)?;
        Merge::default().directory(&source, directory)
    }

    /// Moves a layer's directory into the trash.
    pub(super) fn vfs_discard(&self, id: &str, trash: &Path) -> Result<()> {
        let directory = self.vfs_dir(id);
        match fs::rename(&directory, trash.join(id)) {
            Ok(()) => Ok(()),
            Err(_) => file::remove_tree(&directory),
        }
    }
}

/// Copies a tree onto another: whiteouts delete, everything else replaces. Files are cloned where the file system can.
#[derive(Default)]
struct Merge {
    /// Files with several names, and where the first of them went.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Merge {
    fn directory(&mut self, source: &Path, target: &Path) -> Result<()> {
        for entry in fs::read_dir(source).map_err(|e| Error::io("read", source, e))? {
            let entry = entry.map_err(|e| Error::io("read", source, e))?;
            self.entry(&entry.path(), &target.join(entry.file_name()))?;
        }
        let meta = fs::metadata(source).map_err(|e| Error::io("stat", source, e))?;
        attributes(source, target, &meta)
    }

    fn entry(&mut self, source: &Path, target: &Path) -> Result<()> {
        let meta = fs::symlink_metadata(source).map_err(|e| Error::io("stat", source, e))?;
        let kind = meta.file_type();
        if kind.is_char_device() && meta.rdev() == 0 {
            return file::remove_tree(target);
        }
        if kind.is_dir() {
            let there = fs::symlink_metadata(target).is_ok_and(|m| m.is_dir());
            if !there || opaque(source) {
                file::remove_tree(target)?;
                fs::create_dir(target).map_err(|e| Error::io("mkdir", target, e))?;
            }
            return self.directory(source, target);
        }
        file::remove_tree(target)?;
        if meta.nlink() > 1 {
            if let Some(first) = self.links.get(&(meta.dev(), meta.ino())) {
                return fs::hard_link(first, target).map_err(|e| Error::io("link", target, e));
            }
            self.links.insert((meta.dev(), meta.ino()), target.to_owned());
        }
        if kind.is_file() {
            copy_file(source, target)?;
        } else if kind.is_symlink() {
            let to = fs::read_link(source).map_err(|e| Error::io("readlink", source, e))?;
            symlink(to, target).map_err(|e| Error::io("symlink", target, e))?;
        } else {
            make_node(target, &meta)?;
        }
        attributes(source, target, &meta)
    }
}

fn make_node(target: &Path, meta: &Metadata) -> Result<()> {
    let kind = FileType::from_raw_mode(meta.mode());
    let device = makedev(libc::major(meta.rdev()), libc::minor(meta.rdev()));
    mknodat(CWD, target, kind, Mode::from_raw_mode(meta.mode() & 0o7777), device)
        .map_err(|e| Error::io("mknod", target, e))
}

fn copy_file(source: &Path, target: &Path) -> Result<()> {
    let mut from = File::open(source).map_err(|e| Error::io("open", source, e))?;
    let mut options = OpenOptions::new();
    let mut to = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(target)
        .map_err(|e| Error::io("create", target, e))?;
    if rustix::fs::ioctl_ficlone(&to, &from).is_ok() {
        return Ok(());
    }
    io::copy(&mut from, &mut to).map(drop).map_err(|e| Error::io("write", target, e))
}

/// Owner, mode, extended attributes, times; in the order in which none undoes another.
fn attributes(source: &Path, target: &Path, meta: &Metadata) -> Result<()> {
    lchown(target, Some(meta.uid()), Some(meta.gid())).map_err(|e| Error::io("chown", target, e))?;
    for name in xattr_names(source)? {
        let bytes = name.to_bytes();
        if bytes.starts_with(b"trusted.overlay.") || bytes.starts_with(b"user.overlay.") {
            continue;
        }
        let mut value = vec![0u8; 64 << 10];
        let Ok(n) = rustix::fs::lgetxattr(source, name.as_c_str(), &mut value) else { continue };
        match rustix::fs::lsetxattr(target, name.as_c_str(), &value[..n], XattrFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::PERM) => {}
            Err(e) => return Err(Error::io("setxattr", target, e)),
        }
    }
    if !meta.is_symlink() {
        let permissions = fs::Permissions::from_mode(meta.mode() & 0o7777);
        fs::set_permissions(target, permissions).map_err(|e| Error::io("chmod", target, e))?;
    }
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: meta.atime(), tv_nsec: meta.atime_nsec() },
        last_modification: rustix::fs::Timespec { tv_sec: meta.mtime(), tv_nsec: meta.mtime_nsec() },
    };
    rustix::fs::utimensat(CWD, target, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| Error::io("utimensat", target, e))
}

fn xattr_names(path: &Path) -> Result<Vec<CString>> {
    let mut buffer = vec![0u8; 64 << 10];
    match rustix::fs::llistxattr(path, &mut buffer) {
        Ok(n) => Ok(buffer[..n]
            .split_inclusive(|b| *b == 0)
            .filter_map(|name| CStr::from_bytes_with_nul(name).ok().map(CStr::to_owned))
            .collect()),
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(e) => Err(Error::io("listxattr", path, e)),
    }
}

fn opaque(directory: &Path) -> bool {
    let mut value = [0u8; 4];
    ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(|name| {
        let n = rustix::fs::lgetxattr(directory, *name, &mut value).unwrap_or(0);
        n == 1 && value[0] == b'y'
    })
}
