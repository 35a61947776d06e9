//! Unpacking layers, judged by GNU tar and by podman's own store.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use coracle::engine::Digest;
use coracle::engine::store::diff::{Applied, ApplyOptions, apply, reassemble};
use serde_json::Value;

use super::support::{Entry, Image, Kind, Layer, Sandbox, Tarball, program, require, root};

/// All of a file that a layer can say.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    pub kind: String,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, i64),
    pub links: u64,
    pub content: Vec<u8>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// No file of these tests is from after 2025.
const MADE_NOW: i64 = 1_767_225_600;

/// Every file below `root` by its relative path, the root's own metadata left out.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, Node> {
    let mut nodes = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                todo.push(path.clone());
            }
            nodes.insert(path.strip_prefix(root).unwrap().to_owned(), node(&path, &meta));
        }
    }
    nodes
}

fn node(path: &Path, meta: &fs::Metadata) -> Node {
    let kind = meta.file_type();
    let content = if kind.is_file() {
        fs::read(path).unwrap()
    } else if kind.is_symlink() {
        fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec()
    } else {
        Vec::new()
    };
    let device = kind.is_char_device() || kind.is_block_device();
    Node {
        kind: format!("{:o} {}", meta.mode() & 0o170_000, if device { meta.rdev() } else { 0 }),
        mode: meta.mode() & 0o7777,
        owner: (meta.uid(), meta.gid()),
        // Whiteouts, and directories the archive does not name, are as old as the unpacking.
        mtime: if meta.mtime() > MADE_NOW { (0, 0) } else { (meta.mtime(), meta.mtime_nsec()) },
        // Of a directory the file system's business.
        links: if meta.is_dir() { 0 } else { meta.nlink() },
        content,
        xattrs: xattrs(path),
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let n = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut found = BTreeMap::new();
    for name in names[..n].split(|&b| b == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 1 << 16];
        let n = rustix::fs::lgetxattr(path, CString::new(name).unwrap(), &mut value[..]).unwrap();
        value.truncate(n);
        found.insert(name.to_vec(), value);
    }
    found
}

/// Compares trees file by file, so that a failure names the file.
fn same_trees(ours: &Path, theirs: &Path) {
    let (ours, theirs) = (tree(ours), tree(theirs));
    let names = |tree: &BTreeMap<PathBuf, Node>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    for (path, node) in &ours {
        assert_eq!(node, &theirs[path], "{}", path.display());
    }
}

/// Applies a blob into a new directory.
fn apply_to(dir: &Path, blob: &[u8]) -> (Applied, Vec<u8>) {
    fs::create_dir_all(dir).unwrap();
    let fd = fs::File::open(dir).unwrap();
    let mut split = Vec::new();
    let applied = apply(blob, fd.as_fd(), &mut split, &ApplyOptions::default()).unwrap();
    (applied, split)
}

fn reassembled(dir: &Path, split: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    reassemble(split, fs::File::open(dir).unwrap().as_fd(), &mut tar).unwrap();
    tar
}

/// A shell in a directory; it has to succeed.
pub fn shell(dir: &Path, script: &str) {
    let status = Command::new("sh").arg("-ec").arg(script).current_dir(dir).status().unwrap();
    assert!(status.success(), "{script}");
}

/// Files of every kind, made by shell so that GNU tar has all to say about them.
pub const FILES: &str = r#"
    umask 022
    mkdir -p src/usr/bin src/etc/empty src/deep/$(printf 'd%.0s/' $(seq 1 60))
    cd src
    printf 'tool' > usr/bin/tool; chmod 4755 usr/bin/tool; ln usr/bin/tool usr/bin/again
    chown 1000:2000 usr/bin/tool; chmod 4755 usr/bin/tool
    setcap cap_net_raw+ep usr/bin/again 2>/dev/null || true
    ln -s usr/bin bin; ln -s /nowhere dangling; chown -h 7:8 dangling
    head -c 3000000 /dev/urandom > etc/random
    printf 'x' > "etc/$(printf '\344')"; printf 'u' > 'etc/mit Ümlaut & <Zeichen>'
    printf 'l' > "etc/$(printf 'n%.0s' $(seq 1 200))"
    ln -s "$(printf 't/%.0s' $(seq 1 90))" etc/longlink
    truncate -s 10M etc/hole; printf data | dd of=etc/hole bs=1 seek=5000000 conv=notrunc 2>/dev/null
    truncate -s 1M etc/allhole
    i=0; while [ $i -lt 60 ]; do printf $i | dd of=etc/many bs=1 seek=$((i * 65536)) conv=notrunc 2>/dev/null; i=$((i+1)); done
    mkfifo -m 620 etc/fifo; mknod etc/null c 1 3; chmod 666 etc/null; mknod etc/loop b 7 0
    mkdir -m 2775 etc/setgid; chown 0:50 etc/setgid; printf s > etc/setgid/file; mkdir etc/setgid/dir
    mkdir -m 1777 tmp; mkdir -m 000 etc/locked
    setfattr -n user.text -v hello etc/random; setfattr -n user.nl -v 0x610a620a00 usr/bin
    setfattr -n trusted.t -v 0xff00 etc/empty
    touch -d '2001-02-03 04:05:06.789012345' etc/random etc/setgid; touch -h -d '1999-01-01' bin
    touch -d '1960-01-01 00:00:00.25' etc/empty
    find . -newermt 2026-01-01 -exec touch -h -d 2010-10-10 {} +
"#;

#[test]
fn gnu_tar_extracts_the_same_files() {
    require!(root());
    require!(program("setfattr"));
    let base = tempfile::tempdir_in("/var/tmp").unwrap();
    shell(base.path(), FILES);
    for (name, flags) in [
        ("pax", "--format=pax --xattrs --xattrs-include='*'"),
        ("sparse1", "--format=pax --sparse --xattrs --xattrs-include='*'"),
        ("sparse01", "--format=pax --sparse --sparse-version=0.1"),
        ("sparse00", "--format=pax --sparse --sparse-version=0.0"),
        ("gnu", "--format=gnu"),
        ("gnusparse", "--format=gnu --sparse"),
        ("blocks", "--format=pax --blocking-factor=200"),
    ] {
        shell(
            base.path(),
            &format!(
                "tar -C src --numeric-owner {flags} -cf {name}.tar . 2>/dev/null
                 mkdir {name}.theirs
                 tar -C {name}.theirs --xattrs --xattrs-include='*' --numeric-owner -p --same-owner -xf {name}.tar 2>/dev/null"
            ),
        );
        let blob = fs::read(base.path().join(format!("{name}.tar"))).unwrap();
        let ours = base.path().join(format!("{name}.ours"));
        let (applied, split) = apply_to(&ours, &blob);
        assert_eq!(applied.diff_id, Digest::sha256(&blob), "{name}");
        same_trees(&ours, &base.path().join(format!("{name}.theirs")));
        assert!(reassembled(&ours, &split) == blob, "{name}: the tar is another");
        if flags.contains("--sparse") {
            let blocks = |file: &str| fs::metadata(ours.join("etc").join(file)).unwrap().blocks() * 512;
            assert!(blocks("hole") < 1 << 20 && blocks("allhole") < 1 << 16, "{name}: holes are filled");
        }
    }
}

/// The lines of a tar-split, neighbouring segments made one: where a segment is cut is nobody's business.
fn items(split: &[u8]) -> Vec<Value> {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(split).read_to_string(&mut text).unwrap();
    let mut items: Vec<Value> = Vec::new();
    let mut raw: Vec<u8> = Vec::new();
    for (position, line) in text.lines().enumerate() {
        let mut item: Value = serde_json::from_str(line).unwrap();
        assert_eq!(item["position"], position);
        item.as_object_mut().unwrap().remove("position");
        if item["type"] == 2 {
            use base64::prelude::{BASE64_STANDARD, Engine as _};
            raw.extend(BASE64_STANDARD.decode(item["payload"].as_str().unwrap()).unwrap());
            continue;
        }
        items.push(Value::from(hex::encode(std::mem::take(&mut raw))));
        items.push(item);
    }
    items.push(Value::from(hex::encode(raw)));
    items
}

/// Writes an image as an OCI layout that skopeo reads.
fn oci_layout(sandbox: &Sandbox, image: &Image) -> String {
    let blob = |bytes: &[u8]| {
        let digest = Digest::sha256(bytes);
        sandbox.write(format!("oci/blobs/sha256/{}", digest.hex()), bytes);
        digest
    };
    image.layers.iter().for_each(|layer| drop(blob(&layer.blob)));
    blob(&image.config_bytes());
    let manifest = image.manifest_bytes();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [{
        "mediaType": image.media_type(), "digest": blob(&manifest), "size": manifest.len(),
        "annotations": {"org.opencontainers.image.ref.name": "it"},
    }]});
    sandbox.write("oci/index.json", index.to_string());
    sandbox.write("oci/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    format!("oci:{}:it", sandbox.path("oci").display())
}

/// Which of them has sparse files.
const SPARSE: usize = 2;

fn layers(base: &Path) -> Image {
    shell(base, FILES);
    // What podman makes 1970, and what it cannot push.
    shell(base, "touch -d 2000-01-01 src/etc/empty");
    shell(base, "tar -C src --xattrs --xattrs-include='*' --numeric-owner --format=pax -cf one.tar .");
    let one = fs::read(base.join("one.tar")).unwrap();
    let mut two = Tarball::of([
        Entry::dir("etc"),
        Entry::whiteout("etc", "random"),
        Entry::file("etc/later", "later").owner(3, 4).mode(0o600).mtime(1_600_000_000, 5),
        Entry::dir("usr/bin/").mode(0o700),
        Entry::opaque("usr/bin"),
        Entry::file("implied/parents/here", vec![7; 70_000]),
        Entry::hardlink("implied/link", "implied/parents/here"),
        Entry::new("cap", Kind::File(b"c".to_vec())).xattr("user.b", b"\n=\0"),
    ])
    .finish();
    two.extend([0; 5 * 512]);
    two.extend(b"no archive any more, but a part of the digest");
    shell(base, "tar -C src/etc --numeric-owner --format=pax --sparse -cf sparse.tar hole many random");
    let sparse = fs::read(base.join("sparse.tar")).unwrap();
    Image::new([Layer::gzip(&one), Layer::zstd(&two), Layer::gzip(&sparse)], serde_json::json!({}))
}

#[test]
fn podmans_store_has_the_same_files_and_the_same_tar_split() {
    let sandbox = require!(Sandbox::root());
    require!(program("setfattr"));
    let base = tempfile::tempdir_in("/var/tmp").unwrap();
    let image = layers(base.path());
    let from = oci_layout(&sandbox, &image);
    require!(sandbox.skopeo(["copy", "-q", &from, &sandbox.storage_reference("it")])).ok();

    let root = sandbox.graph_root();
    let layers: Value = serde_json::from_str(&sandbox.read("root/overlay-layers/layers.json")).unwrap();
    for (index, layer) in image.layers.iter().enumerate() {
        let theirs = layers.as_array().unwrap().iter().find(|l| l["diff-digest"] == *layer.diff_id).unwrap();
        let id = theirs["id"].as_str().unwrap();
        let ours = base.path().join(format!("ours{index}"));
        let (applied, split) = apply_to(&ours, &layer.blob);
        same_trees(&ours, &root.join("overlay").join(id).join("diff"));
        assert_eq!(applied.diff_id.as_str(), layer.diff_id);
        assert_eq!(theirs["diff-size"], applied.diff_size);
        assert_eq!(theirs["compressed-size"], applied.blob_size);
        assert_eq!(theirs["compressed-diff-digest"], applied.blob_digest.as_str());
        assert_eq!(theirs["compression"], applied.compression.storage_number());
        let ids = |key: &str| theirs[key].as_array().map_or(Vec::new(), Clone::clone);
        assert_eq!(ids("uidset"), applied.uids.iter().map(|id| Value::from(*id)).collect::<Vec<_>>());
        assert_eq!(ids("gidset"), applied.gids.iter().map(|id| Value::from(*id)).collect::<Vec<_>>());

        let split_path = root.join("overlay-layers").join(format!("{id}.tar-split.gz"));
        let their_split = fs::read(&split_path).unwrap();
        // Of a sparse file theirs loses the map, so that the layer cannot be pushed; ours does not.
        if index != SPARSE {
            assert_eq!(items(&split), items(&their_split));
            let tar = reassembled(&root.join("overlay").join(id).join("diff"), &their_split);
            assert_eq!(Digest::sha256(&tar).as_str(), layer.diff_id);
        }
        // Theirs is as good to us, and ours to them: it takes the place of theirs for the push below.
        fs::write(&split_path, &split).unwrap();
    }
    let to = format!("dir:{}", sandbox.path("pushed").display());
    let copied = sandbox.skopeo(["copy", "-q", "--dest-decompress", &sandbox.storage_reference("it"), &to]);
    require!(copied).ok();
    for layer in &image.layers {
        let blob =
            fs::read(sandbox.path("pushed").join(layer.diff_id.trim_start_matches("sha256:"))).unwrap();
        assert_eq!(Digest::sha256(&blob).as_str(), layer.diff_id);
    }
}
