#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::*;
use archive::{Item, gzip, tar};

mod archive;
mod hostile;
mod roundtrip;
mod streams;

/// A layer's directory below a directory of its own, so that what escapes lands beside it.
struct Layer {
    base: tempfile::TempDir,
    fd: OwnedFd,
    split: Vec<u8>,
}

impl Layer {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("diff")).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(base.path().join("diff"), flags, Mode::empty()).unwrap();
        Self { base, fd, split: Vec::new() }
    }

    fn apply(&mut self, blob: &[u8], options: &ApplyOptions) -> Result<Applied> {
        self.split.clear();
        apply(blob, self.fd.as_fd(), &mut self.split, options)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().join("diff").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn meta(&self, name: &str) -> fs::Metadata {
        fs::symlink_metadata(self.path(name)).unwrap()
    }

    fn exists(&self, name: &str) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok()
    }

    fn xattr(&self, name: &str, key: &str) -> Option<Vec<u8>> {
        xattr(&self.path(name), key)
    }

    fn is_whiteout(&self, name: &str) -> bool {
        let meta = self.meta(name);
        std::os::unix::fs::FileTypeExt::is_char_device(&meta.file_type()) && meta.rdev() == 0
    }

    fn reassembled(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        reassemble(&self.split[..], self.fd.as_fd(), &mut out).map(|()| out)
    }
}

fn xattr(path: &Path, key: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    let n = rustix::fs::lgetxattr(path, key, &mut value).ok()?;
    value.truncate(n);
    Some(value)
}

/// Skips, visibly, where only root can do it.
fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

#[test]
fn a_layer_of_everything_is_what_the_archive_says() {
    if !root() {
        return;
    }
    let items = [
        Item::dir("./"),
        Item::dir("./usr/").mode(0o711).mtime(1_111_111_111),
        Item::dir("./usr/bin/").owner(12, 34),
        Item::file("./usr/bin/tool", "tool").mode(0o4755).owner(1000, 3_000_000_000).mtime(1_234_567_890),
        Item::hard_link("./usr/bin/other", "./usr/bin/tool").mode(0o4755).owner(1000, 3_000_000_000),
        Item::symlink("./bin", "usr/bin").owner(5, 6).mtime(99),
        Item::file("./bin/through", "link"),
        Item::file("missing/parents/file", "x").pax("mtime", "1600000000.123456789"),
        Item::new(b'6', "fifo").mode(0o620),
        Item::device("null", 1, 3).mode(0o666),
        Item::file("cap", "c")
            .xattr("security.capability", b"\x01\0\0\x02\n\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        Item::file(b"latin-\xe4", "raw"),
        Item::file("l/".repeat(80) + "long", "long name"),
        Item::file("empty", ""),
    ];
    let blob = tar(&items);
    let mut layer = Layer::new();
    let applied = layer.apply(&gzip(&blob), &ApplyOptions::default()).unwrap();
    assert_eq!(applied.diff_id, Digest::sha256(&blob));
    assert_eq!(applied.blob_digest, Digest::sha256(&gzip(&blob)));
    assert_eq!((applied.diff_size, applied.blob_size), (blob.len() as u64, gzip(&blob).len() as u64));
    assert_eq!(applied.uids, [0, 5, 12, 1000]);
    assert_eq!(applied.gids, [0, 6, 34, 3_000_000_000]);

    let usr = layer.meta("usr");
    assert_eq!((usr.mode() & 0o7777, usr.mtime()), (0o711, 1_111_111_111));
    assert_eq!(layer.meta("usr/bin").uid(), 12);
    // The directory got its time back after the file that came through the link.
    assert_eq!(layer.meta("usr/bin").mtime(), 1_000_000_000);
    let tool = layer.meta("usr/bin/tool");
    assert_eq!((tool.mode() & 0o7777, tool.uid(), tool.gid()), (0o4755, 1000, 3_000_000_000));
    assert_eq!(tool.ino(), layer.meta("usr/bin/other").ino());
    let link = layer.meta("bin");
    assert_eq!((link.uid(), link.gid(), link.mtime()), (5, 6, 99));
    assert_eq!(layer.read("usr/bin/through"), "link");
    let file = layer.meta("missing/parents/file");
    assert_eq!((file.mtime(), file.mtime_nsec()), (1_600_000_000, 123_456_789));
    assert_eq!(layer.meta("missing/parents").permissions().mode() & 0o7777, 0o755);
    assert_eq!(layer.meta("fifo").permissions().mode() & 0o7777, 0o620);
    assert_eq!(
        (layer.meta("null").rdev(), layer.meta("null").mode() & 0o7777),
        (rustix::fs::makedev(1, 3), 0o666)
    );
    assert_eq!(layer.xattr("cap", "security.capability").unwrap()[4], b'\n');
    assert_eq!(layer.read(&("l/".repeat(80) + "long")), "long name");
    assert_eq!(layer.reassembled().unwrap(), blob);
}

#[test]
fn whiteouts_take_the_form_of_the_driver() {
    if !root() {
        return;
    }
    let items = [
        Item::file("d/.wh.gone", ""),
        Item::file("d/.wh..wh..opq", ""),
        Item::file("d/new", "new"),
        // Both orders of a whiteout and this layer's own file of that name.
        Item::dir("early"),
        Item::file("early/kept", "kept"),
        Item::file(".wh.early", ""),
        Item::file(".wh.late", ""),
        Item::dir("late"),
        Item::file("both", "both"),
        Item::file(".wh.both", ""),
        Item::file(".wh..wh.plnk", "aufs"),
    ];
    let blob = tar(&items);
    for (whiteouts, key) in
        [(Whiteouts::Native, "trusted.overlay.opaque"), (Whiteouts::UserXattr, "user.overlay.opaque")]
    {
        let mut layer = Layer::new();
        layer.apply(&blob, &ApplyOptions { whiteouts, ..Default::default() }).unwrap();
        assert!(layer.is_whiteout("d/gone"));
        for dir in ["d", "early", "late"] {
            assert_eq!(layer.xattr(dir, key).as_deref(), Some(&b"y"[..]), "{dir}");
        }
        assert_eq!(layer.read("early/kept"), "kept");
        assert_eq!(layer.read("both"), "both");
        assert!(!layer.exists("d/.wh.gone") && !layer.exists(".wh..wh.plnk"));
        assert_eq!(layer.reassembled().unwrap(), blob);
    }
    let mut layer = Layer::new();
    layer.apply(&blob, &ApplyOptions { whiteouts: Whiteouts::Literal, ..Default::default() }).unwrap();
    assert!(layer.meta("d/.wh.gone").is_file() && layer.meta("d/.wh..wh..opq").is_file());

    let mut layer = Layer::new();
    for dir in ["d/sub", "early/old", "late/old", "far"] {
        fs::create_dir_all(layer.path(dir)).unwrap();
    }
    for file in ["d/gone", "d/other", "d/sub/x", "early/kept", "both", "far/away"] {
        fs::write(layer.path(file), "below").unwrap();
    }
    layer.apply(&blob, &ApplyOptions { whiteouts: Whiteouts::Raw, ..Default::default() }).unwrap();
    for gone in ["d/gone", "d/other", "d/sub", "early/old", "late/old", "d/.wh.gone"] {
        assert!(!layer.exists(gone), "{gone}");
    }
    assert_eq!(layer.read("d/new"), "new");
    assert_eq!(layer.read("early/kept"), "kept");
    assert_eq!(layer.read("both"), "both");
    assert_eq!(layer.read("far/away"), "below");
}
