//! eStargz layers are pulled in parts where the store has the rest, and verified like any other.

use serde_json::{Value, json};

use crate::support::{
    Entry, Flaky, Image, Layer, Registry, RegistryOptions, Sandbox, Tarball, digest, gzip, noise, require,
};

const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
/// Bytes of a chunk: real ones have four megabytes.
const CHUNK: usize = 200_000;

/// A layer as stargz-snapshotter makes it, and the digest of its table of contents after `change` had its way with it.
fn estargz(entries: Vec<Entry>, change: impl Fn(&mut Value)) -> (Layer, String) {
    let tar = Tarball::of(entries).finish();
    let (mut blob, mut member, mut toc) = (Vec::new(), Vec::new(), Vec::new());
    let number = |field: &[u8]| {
        let text = std::str::from_utf8(field).unwrap().trim_matches(['\0', ' ']);
        usize::from_str_radix(text, 8).unwrap()
    };
    let mut at = 0;
    while tar[at] != 0 {
        let header = &tar[at..at + 512];
        let name = String::from_utf8(header[..100].split(|b| *b == 0).next().unwrap().to_vec()).unwrap();
        let size = number(&header[124..136]);
        member.extend_from_slice(header);
        at += 512;
        let content = &tar[at..at + size];
        if header[156] != b'0' || size == 0 {
            toc.push(json!({"name": name, "type": "dir", "mode": 0o755}));
        }
        for (index, chunk) in content.chunks(CHUNK).enumerate() {
            blob.extend(gzip(&member, 6));
            member = chunk.to_vec();
            let mut entry = json!({"name": name, "offset": blob.len(), "chunkDigest": digest(chunk)});
            entry["type"] = if index == 0 { "reg" } else { "chunk" }.into();
            if index == 0 {
                (entry["size"], entry["digest"]) = (size.into(), digest(content).into());
            } else {
                entry["chunkOffset"] = (index * CHUNK).into();
            }
            if (index + 1) * CHUNK < size {
                entry["chunkSize"] = CHUNK.into();
            }
            toc.push(entry);
        }
        at += size;
        let end = at.next_multiple_of(512);
        member.extend_from_slice(&tar[at..end]);
        at = end;
    }
    blob.extend(gzip(&member, 6));
    let mut toc = json!({"version": 1, "entries": toc});
    change(&mut toc);
    let toc = toc.to_string();
    let offset = blob.len();
    let index = Tarball::of(vec![Entry::file("stargz.index.json", toc.as_str())]).finish();
    blob.extend(gzip(&index, 6));
    // An empty member whose extra field says where the table is.
    blob.extend([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, b'S', b'G', 22, 0]);
    blob.extend(format!("{offset:016x}STARGZ").bytes());
    blob.extend([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    let whole = [&tar[..at], &index].concat();
    let layer =
        Layer { blob, media_type: "application/vnd.oci.image.layer.v1.tar+gzip", diff_id: digest(&whole) };
    (layer, digest(toc.as_bytes()))
}

/// Pushes an image with one such layer.
fn push(registry: &Registry, name: &str, (layer, toc): (Layer, String)) {
    let image = Image::new([layer], json!({}));
    registry.push(name, "plain", &image);
    let mut manifest: Value = serde_json::from_slice(&image.manifest_bytes()).unwrap();
    manifest["layers"][0]["annotations"] = json!({TOC_DIGEST: toc});
    let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
    registry.push_manifest(name, "latest", &media_type, manifest.to_string().as_bytes());
}

fn first() -> Vec<Entry> {
    vec![
        Entry::dir("data"),
        Entry::file("data/large", noise(1, 1_100_000)),
        Entry::file("data/small", "small"),
    ]
}

/// The large file under another name, one that begins like it, and something new.
fn second() -> Vec<Entry> {
    let begins = [noise(1, 3 * CHUNK), noise(2, 70_000)].concat();
    vec![
        Entry::dir("data"),
        Entry::file("data/begins", begins),
        Entry::file("data/empty", ""),
        Entry::file("data/renamed", noise(1, 1_100_000)).mode(0o700),
        Entry::symlink("data/link", "renamed"),
        Entry::file("data/new", "new"),
    ]
}

fn check_second(sandbox: &Sandbox, name: &str) {
    let format = "--format={{.GraphDriver.Data.UpperDir}}";
    let upper = sandbox.coracle(["image", "inspect", format, name]).ok().text().to_owned();
    let read = |path: &str| std::fs::read(format!("{upper}/data/{path}")).unwrap();
    assert!(read("renamed") == noise(1, 1_100_000));
    let begins = read("begins");
    assert!(begins[..3 * CHUNK] == noise(1, 3 * CHUNK) && begins[3 * CHUNK..] == noise(2, 70_000));
    assert_eq!((read("new"), read("empty").len()), (b"new".to_vec(), 0));
    assert_eq!(std::fs::read_link(format!("{upper}/data/link")).unwrap().to_str(), Some("renamed"));
}

/// A registry of the test's own, and a sandbox that pulls in parts.
fn registry(sandbox: &Sandbox) -> Registry {
    let registry = Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }).unwrap();
    sandbox.use_registry(&registry);
    let conf = sandbox.read("conf/storage.conf")
        + "\n[storage.options]\npull_options = {enable_partial_images = \"true\"}\n";
    sandbox.write("conf/storage.conf", conf);
    registry
}

#[test]
fn chunks_that_are_here_are_not_fetched() {
    for sandbox in require!(Sandbox::both()) {
        let registry = registry(&sandbox);
        push(&registry, "stargz/a", estargz(first(), |_| {}));
        push(&registry, "stargz/b", estargz(second(), |_| {}));
        let proxy = Flaky::watching(registry.address().parse().unwrap());
        let [a, b] = ["a", "b"].map(|name| format!("{}/stargz/{name}", proxy.address()));
        sandbox.coracle(["pull", "-q", &a]).ok();
        assert!(proxy.seen().answered > 1_100_000);
        sandbox.coracle(["pull", "-q", &b]).ok();
        // The ends of both files and what follows them; the layer has 1.8 MB.
        let seen = proxy.seen();
        assert!((100_000..400_000).contains(&seen.answered), "{} bytes", seen.answered);
        check_second(&sandbox, &b);
        // The archive can be made again, and nobody claims to have seen the blob.
        let blob = digest(&estargz(second(), |_| {}).0.blob);
        let layers = sandbox.read(sandbox.graph_root().join("overlay-layers/layers.json"));
        assert!(!layers.contains(&blob), "{layers}");
        sandbox.coracle(["push", "-q", &b, "dir:out"]).ok();
        let source = sandbox.storage_reference(&b);
        require!(sandbox.skopeo(["copy", "-q", &source, "dir:foreign"])).ok();
        sandbox.coracle(["system", "check"]).ok();
        sandbox.coracle(["rmi", "-f", &a, &b]).ok();
        // Files of a zstd:chunked layer are as good.
        let plain = format!("{}/plain/a", registry.address());
        registry.push("plain/a", "latest", &Image::new([Layer::of(first())], json!({})));
        sandbox.coracle(["pull", "-q", &plain]).ok();
        let chunked = format!("{}/chunked/a", registry.address());
        sandbox.coracle(["push", "-q", "--compression-format=zstd:chunked", &plain, &chunked]).ok();
        sandbox.coracle(["rmi", "-f", &plain]).ok();
        sandbox.coracle(["pull", "-q", &chunked]).ok();
        proxy.seen();
        sandbox.coracle(["pull", "-q", &b]).ok();
        let seen = proxy.seen();
        assert!(seen.answered < 1_100_000, "{} bytes", seen.answered);
        check_second(&sandbox, &b);
        sandbox.coracle(["rmi", "-f", &chunked, &b]).ok();
    }
}

#[test]
fn tables_that_lie_spoil_nothing() {
    let sandbox = require!(Sandbox::user());
    let registry = registry(&sandbox);
    push(&registry, "stargz/a", estargz(first(), |_| {}));
    let a = format!("{}/stargz/a", registry.address());
    sandbox.coracle(["pull", "-q", &a]).ok();
    let known = digest(&noise(1, 3 * CHUNK)[..CHUNK]);
    type Change = fn(&mut Value, &str);
    let changes: [Change; 6] = [
        // Another content in a chunk's place, of the same size and of another.
        |toc, known| toc["entries"][2]["chunkDigest"] = known.into(),
        |toc, known| toc["entries"][4]["chunkDigest"] = known.into(),
        |toc, _| toc["entries"][1]["offset"] = 5.into(),
        |toc, _| toc["entries"][3]["offset"] = 1_000_000_000.into(),
        |toc, _| toc["version"] = 2.into(),
        |toc, _| toc["entries"] = json!([]),
    ];
    for (number, change) in changes.iter().enumerate() {
        let name = format!("lying/{number}");
        push(&registry, &name, estargz(second(), |toc| change(toc, &known)));
        let name = format!("{}/{name}", registry.address());
        sandbox.coracle(["pull", "-q", &name]).ok();
        check_second(&sandbox, &name);
        sandbox.coracle(["rmi", "-f", &name]).ok();
    }
    // A table that is not the one of the annotation, and none at all.
    let (layer, _) = estargz(second(), |_| {});
    push(&registry, "lying/digest", (layer, digest(b"another")));
    push(&registry, "lying/none", (Layer::of(second()), digest(b"none")));
    for name in ["lying/digest", "lying/none"] {
        let name = format!("{}/{name}", registry.address());
        sandbox.coracle(["pull", "-q", &name]).ok();
        check_second(&sandbox, &name);
    }
    // Nor does a registry that gives no parts.
    push(&registry, "stargz/b", estargz(second(), |_| {}));
    let whole = Flaky::without_ranges(registry.address().parse().unwrap(), false);
    sandbox.coracle(["rmi", "-f", &format!("{}/lying/digest", registry.address())]).ok();
    let name = format!("{}/stargz/b", whole.address());
    sandbox.coracle(["pull", "-q", &name]).ok();
    check_second(&sandbox, &name);
}
