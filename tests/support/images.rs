//! The images of the tests' registry, made from what Debian packages: no internet, no foreign registry.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};
use sha2::Digest as _;

use super::tarball::gzip;
use super::{Entry, Kind, Tarball, cache_dir, program};

/// A layer as it is sent: a blob of a media type, and the digest of the archive in it.
#[derive(Clone)]
pub struct Layer {
    pub blob: Vec<u8>,
    pub media_type: &'static str,
    pub diff_id: String,
}

impl Layer {
    pub fn gzip(tar: &[u8]) -> Layer {
        Layer {
            blob: gzip(tar, 6),
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip",
            diff_id: digest(tar),
        }
    }

    pub fn zstd(tar: &[u8]) -> Layer {
        let blob = zstd::encode_all(tar, 3).unwrap();
        Layer { blob, media_type: "application/vnd.oci.image.layer.v1.tar+zstd", diff_id: digest(tar) }
    }

    pub fn plain(tar: &[u8]) -> Layer {
        Layer {
            blob: tar.to_vec(),
            media_type: "application/vnd.oci.image.layer.v1.tar",
            diff_id: digest(tar),
        }
    }

    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Layer {
        Layer::gzip(&Tarball::of(entries).finish())
    }
}

/// An image for one platform.
#[derive(Clone)]
pub struct Image {
    pub layers: Vec<Layer>,
    /// The `config` object of the image configuration.
    pub config: Value,
    pub architecture: String,
    pub variant: Option<String>,
    /// Docker's media types (manifest version 2, schema 2) instead of OCI's.
    pub docker: bool,
    pub annotations: Value,
}

impl Image {
    /// For this machine's platform.
    pub fn new(layers: impl IntoIterator<Item = Layer>, config: Value) -> Image {
        let architecture = host_architecture().to_owned();
        let layers = layers.into_iter().collect();
        Image { layers, config, architecture, variant: None, docker: false, annotations: Value::Null }
    }

    /// The image configuration as it is sent; its digest is the image's id.
    pub fn config_bytes(&self) -> Vec<u8> {
        let diff_ids: Vec<_> = self.layers.iter().map(|layer| &layer.diff_id).collect();
        let history: Vec<_> = (0..self.layers.len())
            .map(|index| json!({"created": CREATED, "created_by": format!("layer {index}")}))
            .collect();
        let mut config = json!({
            "created": CREATED,
            "architecture": self.architecture,
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": history,
        });
        if let Some(variant) = &self.variant {
            config["variant"] = json!(variant);
        }
        serde_json::to_vec(&config).unwrap()
    }

    /// The manifest as it is sent.
    pub fn manifest_bytes(&self) -> Vec<u8> {
        let config = self.config_bytes();
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|layer| {
                let media_type = if self.docker {
                    "application/vnd.docker.image.rootfs.diff.tar.gzip"
                } else {
                    layer.media_type
                };
                json!({"mediaType": media_type, "size": layer.blob.len(), "digest": digest(&layer.blob)})
            })
            .collect();
        let config_type = if self.docker {
            "application/vnd.docker.container.image.v1+json"
        } else {
            "application/vnd.oci.image.config.v1+json"
        };
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": self.media_type(),
            "config": {"mediaType": config_type, "size": config.len(), "digest": digest(&config)},
            "layers": layers,
        });
        if !self.annotations.is_null() {
            manifest["annotations"] = self.annotations.clone();
        }
        serde_json::to_vec(&manifest).unwrap()
    }

    pub fn media_type(&self) -> &'static str {
        if self.docker {
            "application/vnd.docker.distribution.manifest.v2+json"
        } else {
            "application/vnd.oci.image.manifest.v1+json"
        }
    }
}

const CREATED: &str = "2023-11-14T22:13:20Z";

/// `sha256:…` of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
}

/// This machine's architecture in OCI's words.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What is pushed under a name: tag and image, and platforms behind an index where there are several.
pub enum Offer {
    Image(&'static str, Image),
    Index(&'static str, Vec<Image>),
}

/// The images under one of our names. Panics on an unknown one.
pub fn offers(name: &str) -> Vec<Offer> {
    match name {
        "lab/busybox" => vec![Offer::Image("latest", busybox())],
        "lab/multi" => vec![Offer::Image("latest", multi())],
        "lab/config" => vec![Offer::Image("latest", config())],
        "lab/debian" => vec![Offer::Image("latest", debian())],
        "lab/services" => vec![Offer::Image("latest", services())],
        "lab/big" => vec![Offer::Image("latest", big())],
        "lab/deep" => vec![Offer::Image("latest", deep())],
        "lab/tags" => {
            let tag = |tag: &'static str| {
                let mut image = busybox();
                image.layers.push(Layer::of([Entry::file("etc/tag", tag)]));
                Offer::Image(tag, image)
            };
            vec![tag("latest"), tag("v1"), tag("v2")]
        }
        "lab/arch" => {
            let platform = |architecture: &str, variant: Option<&str>| {
                let text = format!("{architecture}{}", variant.unwrap_or_default());
                let mut image = busybox();
                image.layers.push(Layer::of([Entry::file("etc/arch", text)]));
                image.architecture = architecture.to_owned();
                image.variant = variant.map(ToOwned::to_owned);
                image
            };
            let all = vec![
                platform("arm", Some("v6")),
                platform("arm", Some("v7")),
                platform("arm64", Some("v8")),
                platform("amd64", None),
                platform("riscv64", None),
            ];
            let foreign = vec![platform("s390x", None), platform("ppc64le", None)];
            vec![Offer::Index("latest", all), Offer::Index("foreign", foreign)]
        }
        "lab/compressions" => {
            let mut layers = busybox().layers;
            layers.push(Layer::zstd(&Tarball::of([Entry::file("zstd", "zstd\n")]).finish()));
            layers.push(Layer::plain(&Tarball::of([Entry::file("plain", "plain\n")]).finish()));
            layers.push(Layer::gzip(&Tarball::of([Entry::file("gzip", "gzip\n")]).finish()));
            vec![Offer::Image("latest", Image::new(layers, json!({"Cmd": ["sh"]})))]
        }
        _ => panic!("the test registry has no image {name}"),
    }
}

/// Names whose images are too costly to make only to learn that they have not changed; the number is to be raised
/// when their making changes.
pub fn version(name: &str) -> Option<u32> {
    match name {
        "lab/debian" | "lab/services" => Some(1),
        "lab/big" => Some(1),
        _ => None,
    }
}

/// One layer: busybox with its applets, and the few files that programs expect.
pub fn busybox() -> Image {
    Image::new([Layer::gzip(&busybox_tar())], json!({"Cmd": ["sh"], "Env": ["PATH=/bin:/usr/bin:/sbin"]}))
}

/// The archive of its layer.
pub fn busybox_tar() -> Vec<u8> {
    Tarball::of(busybox_entries()).finish()
}

/// What is in it.
pub fn busybox_entries() -> Vec<Entry> {
    let busybox = program("busybox").expect("busybox-static");
    let list = Command::new(&busybox).arg("--list").output().unwrap();
    let mut entries: Vec<Entry> =
        ["bin", "dev", "etc", "home", "proc", "run", "sys", "usr", "usr/bin", "var", "sbin"]
            .map(Entry::dir)
            .into();
    entries.push(Entry::dir("root").mode(0o700));
    entries.push(Entry::dir("tmp").mode(0o1777));
    entries.push(Entry::dir("home/lab").owner(1000, 1000));
    entries.push(Entry::file("bin/busybox", fs::read(busybox).unwrap()).mode(0o755));
    for applet in String::from_utf8(list.stdout).unwrap().lines().filter(|applet| *applet != "busybox") {
        entries.push(Entry::symlink(format!("bin/{applet}"), "busybox"));
    }
    entries.push(Entry::file(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nlab:x:1000:1000:Lab:/home/lab:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ));
    entries.push(Entry::file("etc/group", "root:x:0:\nlab:x:1000:\nwheel:x:10:root,lab\naudio:x:29:lab\n"));
    entries.push(Entry::file("etc/hostname", "image\n"));
    entries
}

/// Five layers with everything that a layer may do to the ones below it.
fn multi() -> Image {
    let mut first = busybox_entries();
    first.extend([
        Entry::dir("whiteout"),
        Entry::file("whiteout/gone", "gone"),
        Entry::file("whiteout/kept", "kept"),
        Entry::dir("whiteout/tree"),
        Entry::file("whiteout/tree/leaf", "leaf"),
        Entry::dir("opaque"),
        Entry::file("opaque/a", "a"),
        Entry::file("opaque/b", "b"),
        Entry::dir("becomes-file"),
        Entry::file("becomes-file/inside", "inside"),
        Entry::file("becomes-dir", "file"),
        Entry::file("overwritten", "old"),
    ]);
    let second = [
        Entry::whiteout("whiteout", "gone"),
        Entry::whiteout("whiteout", "tree"),
        Entry::dir("opaque"),
        Entry::opaque("opaque"),
        Entry::file("opaque/c", "c"),
        Entry::file("overwritten", "new"),
        Entry::dir("hard"),
        Entry::file("hard/one", "one inode"),
        Entry::hardlink("hard/two", "hard/one"),
    ];
    // VFS_CAP_REVISION_2 with the effective bit and CAP_NET_RAW permitted (linux/capability.h)
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let third = [
        Entry::dir("modes"),
        Entry::file("modes/capable", "#!/bin/sh\n").mode(0o755).xattr("security.capability", capability),
        Entry::file("modes/xattr", "x").xattr("user.lab", "line one\nline two\0end"),
        Entry::file("modes/setuid", "s").mode(0o4755),
        Entry::file("modes/setgid", "s").mode(0o2755).owner(0, 29),
        Entry::dir("modes/sticky").mode(0o1777),
        Entry::file("modes/owned", "o").mode(0o640).owner(1000, 10),
        Entry::file("modes/nobody", "o").owner(65534, 65534),
        Entry::file("modes/time", "t").mtime(1_234_567_890, 123_456_789),
        Entry::dir("links"),
        Entry::symlink("links/absolute", "/overwritten"),
        Entry::symlink("links/relative", "../overwritten"),
        Entry::symlink("links/dangling", "/nowhere/at/all"),
        Entry::symlink("links/loop", "loop"),
    ];
    let long = format!("long/{}/{}", "d".repeat(120), "f".repeat(200));
    let fourth = [
        Entry::dir("special"),
        Entry::new("special/fifo", Kind::Fifo).mode(0o600),
        Entry::dir("long"),
        Entry::dir(format!("long/{}", "d".repeat(120))),
        Entry::file(long, "long"),
        Entry::file(b"special/not-utf8-\xff\xfe", "bytes"),
        Entry::file("special/with space\tand tab", "white"),
        Entry::file("special/empty", ""),
        Entry::file("special/big", vec![7; 3_000_000]),
    ];
    let fifth = [
        Entry::file("becomes-file", "now a file"),
        Entry::dir("becomes-dir"),
        Entry::file("becomes-dir/inside", "now a directory"),
    ];
    let layers = [Layer::of(first), Layer::of(second), Layer::of(third), Layer::of(fourth), Layer::of(fifth)];
    Image::new(layers, json!({"Cmd": ["sh"], "Env": ["PATH=/bin"], "Labels": {"layers": "five"}}))
}

/// Docker's media types and every field of the configuration.
fn config() -> Image {
    let mut entries = busybox_entries();
    entries.push(Entry::dir("srv").owner(1000, 1000));
    entries.push(Entry::dir("data"));
    entries.push(Entry::file("data/seed", "from the image\n"));
    let config = json!({
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["echo default; id; pwd; env"],
        "Env": ["PATH=/bin:/usr/bin", "LAB=from image", "EMPTY="],
        "User": "lab:wheel",
        "WorkingDir": "/srv/made/here",
        "Volumes": {"/data": {}},
        "StopSignal": "SIGUSR1",
        "Labels": {"org.example.lab": "yes", "with space": "a b"},
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "Healthcheck": {
            "Test": ["CMD-SHELL", "true"], "Interval": 30_000_000_000_u64, "Timeout": 5_000_000_000_u64, "Retries": 2
        },
        "Shell": ["/bin/sh", "-ec"],
        "OnBuild": ["RUN true"],
    });
    let mut image = Image::new([Layer::of(entries)], config);
    image.docker = true;
    image
}

/// A hundred and twenty layers.
fn deep() -> Image {
    let mut image = busybox();
    for number in 1..120 {
        image.layers.push(Layer::of([
            Entry::file("count", number.to_string()),
            Entry::file(format!("layer-{number}"), number.to_string()),
        ]));
    }
    image
}

/// A minimal root of the distribution that runs here, made by debootstrap once and kept.
fn debian() -> Image {
    let config = json!({"Cmd": ["bash"], "Env": [format!("PATH={}", super::PATH)]});
    Image::new([Layer::gzip(&debootstrapped("debian", ""))], config)
}

/// A Debian with the programs of nginx and PostgreSQL. They are unpacked and not configured: their packages would start them.
fn services() -> Image {
    let path = format!(
        "PATH={}:{}",
        [15, 16, 17].map(|v| format!("/usr/lib/postgresql/{v}/bin")).join(":"),
        super::PATH
    );
    let users = "www-data:x:33:33::/:/bin/sh\npostgres:x:70:70::/tmp:/bin/sh\n";
    let mut root = debootstrapped("services", "nginx-light postgresql postgresql-client");
    Image::new(
        [
            Layer::gzip(&std::mem::take(&mut root)),
            Layer::of([
                Entry::file("etc/passwd", format!("root:x:0:0::/root:/bin/sh\n{users}")),
                Entry::file("etc/group", "root:x:0:\nadm:x:4:\nwww-data:x:33:\npostgres:x:70:\n"),
                Entry::symlink("etc/nginx/sites-enabled/default", "/etc/nginx/sites-available/default"),
                Entry::symlink("var/log/nginx/access.log", "/dev/stdout"),
                Entry::symlink("var/log/nginx/error.log", "/dev/stderr"),
            ]),
        ],
        json!({"Cmd": ["nginx", "-g", "daemon off;"], "Env": [path], "ExposedPorts": {"80/tcp": {}}}),
    )
}

/// A tar of the distribution's smallest root file system with `procps`, and further packages' files unpacked into it.
fn debootstrapped(name: &str, packages: &str) -> Vec<u8> {
    let cache = cache_dir();
    let tarball = cache.join(format!("{name}.tar"));
    let _lock = lock(&cache.join(format!("{name}.lock")));
    if !tarball.exists() {
        debootstrap(&cache.join(name), &tarball, packages);
    }
    fs::read(tarball).unwrap()
}

fn debootstrap(root: &Path, tarball: &Path, packages: &str) {
    let script = "
        set -eu
        . /etc/os-release
        case $ID in
        ubuntu) mirror=http://archive.ubuntu.com/ubuntu ;;
        *) mirror=http://deb.debian.org/debian ;;
        esac
        rm -rf \"$1\"
        debootstrap --variant=minbase --include=procps \"$VERSION_CODENAME\" \"$1\" $mirror >\"$1.log\" 2>&1 ||
            { tail -n 20 \"$1.log\" >&2; exit 1; }
        if [ \"$3\" ]; then
            { chroot \"$1\" apt-get -q update && chroot \"$1\" apt-get -qy --no-install-recommends --download-only install $3; } \
                >>\"$1.log\" 2>&1 || { tail -n 20 \"$1.log\" >&2; exit 1; }
            for package in \"$1\"/var/cache/apt/archives/*.deb; do
                dpkg-deb --fsys-tarfile \"$package\" | tar -x --keep-directory-symlink -C \"$1\"
            done
        fi
        if [ \"$3\" ]; then # what nobody misses here, and the compiler of PostgreSQL's JIT
            rm -rf \"$1\"/usr/share/doc \"$1\"/usr/share/man \"$1\"/usr/share/locale \"$1\"/usr/lib/*/libLLVM* \"$1\"/usr/lib/llvm*
        fi
        rm -rf \"$1\"/var/cache/apt/* \"$1\"/var/lib/apt/lists/* \"$1\"/var/log/*.log
        tar --numeric-owner --xattrs --sort=name -C \"$1\" -cf \"$2.partial\" .
        mv \"$2.partial\" \"$2\"
        rm -rf \"$1\"";
    program("debootstrap").expect("debootstrap");
    let status = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(root)
        .arg(tarball)
        .arg(packages)
        .env("PATH", super::PATH)
        .status();
    assert!(status.unwrap().success(), "debootstrap failed (it needs root and a Debian mirror)");
}

/// Five layers of 120 MB in files of many sizes, which gzip halves.
fn big() -> Image {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut layers = vec![];
    for layer in 0..5 {
        let mut entries = if layer == 0 { busybox_entries() } else { Vec::new() };
        entries.push(Entry::dir(format!("big{layer}")));
        let mut left: usize = 120_000_000;
        let mut number = 0;
        while left > 0 {
            let size = [3_000, 20_000, 90_000, 700_000][(random() % 4) as usize].min(left);
            let mut content = Vec::with_capacity(size + 32);
            while content.len() < size {
                content.extend(random().to_le_bytes());
                content.extend(b"a line of text, ");
            }
            content.truncate(size);
            entries.push(Entry::file(format!("big{layer}/file-{number}"), content));
            number += 1;
            left -= size;
        }
        let tar = Tarball::of(entries).finish();
        layers.push(Layer {
            blob: gzip(&tar, 1),
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip",
            diff_id: digest(&tar),
        });
    }
    Image::new(layers, json!({"Cmd": ["sh"]}))
}

/// An exclusive lock between threads and processes, held until dropped.
pub fn lock(path: &Path) -> Flock<fs::File> {
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path).unwrap();
    Flock::lock(file, FlockArg::LockExclusive).unwrap()
}
