//! zstd:chunked: pushed by us and read by everybody; pulled in parts where the store has the rest.

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::support::{
    Entry, Flaky, Image, Layer, Registry, RegistryOptions, Sandbox, Spoil, digest, noise, require,
};

/// A registry of the test's own.
fn empty() -> Registry {
    Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }).unwrap()
}

fn manifest(registry: &Registry, name: &str) -> Value {
    serde_json::from_slice(&registry.manifest(name, "latest")).unwrap()
}

const CHECKSUM: &str = "io.github.containers.zstd-chunked.manifest-checksum";

#[test]
fn what_is_pushed_in_chunks_is_pulled_by_all() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/multi");
        let before = sandbox.coracle(["image", "inspect", "lab/multi"]).ok().json();
        let registry = empty();
        let name = format!("{}/in/chunks", registry.address());
        let push = |flags: &[&str]| {
            sandbox
                .coracle(["push", "-q", "--compression-format=zstd:chunked"])
                .args(flags)
                .args(["lab/multi", &name])
        };
        push(&[]).ok();
        let first = manifest(&registry, "in/chunks");
        for (number, layer) in first["layers"].as_array().unwrap().iter().enumerate() {
            assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
            // A name in the fourth is no text, which JSON cannot hold.
            assert_eq!(layer["annotations"][CHECKSUM].is_string(), number != 3, "{layer}");
        }
        // What is there is known, with its table of contents.
        push(&[]).ok();
        assert_eq!(manifest(&registry, "in/chunks"), first);
        push(&["--compression-level=19"]).ok();
        assert_ne!(manifest(&registry, "in/chunks"), first);
        push(&["--format=v2s2"]).fails(1).stderr_has("zstd");
        sandbox.coracle(["rmi", "-f", "lab/multi"]).ok();
        sandbox.coracle(["pull", "-q", &name]).ok();
        let again = sandbox.coracle(["image", "inspect", &name]).ok().json();
        assert_eq!(before[0]["RootFS"], again[0]["RootFS"]);
        sandbox.coracle(["rmi", "-f", &name]).ok();
        // podman reads the table and fetches by it.
        let conf = sandbox.read("conf/storage.conf")
            + "\n[storage.options]\npull_options = {enable_partial_images = \"true\"}\n";
        sandbox.write("conf/partial.conf", conf);
        require!(sandbox.podman(["pull", "-q", "--tls-verify=false", &name]))
            .env("CONTAINERS_STORAGE_CONF", sandbox.path("conf/partial.conf"))
            .ok();
        sandbox.coracle(["run", "--rm", "--network=none", &name, "cat", "overwritten"]).ok().stdout_is("new");
    }
}

const POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";
const TAR_SPLIT: &str = "io.github.containers.zstd-chunked.tarsplit-position";

/// A sandbox that pulls in parts, and a registry with two images that have much in common, in chunks.
pub fn two_images(sandbox: &Sandbox, options: &str) -> Registry {
    let registry = empty();
    sandbox.use_registry(&registry);
    let common = [
        Entry::dir("data"),
        Entry::file("data/one", noise(1, 900_000)),
        Entry::file("data/two", noise(2, 300_000)).mode(0o600),
        Entry::file("data/small", "small"),
    ];
    let holes = [noise(4, 5000), vec![0; 100_000], noise(5, 5000)].concat();
    let grown = [noise(1, 900_000), noise(7, 1000)].concat();
    let other = [
        Entry::dir("data"),
        Entry::file("data/one", noise(1, 900_000)),
        Entry::file("data/grown", grown),
        Entry::file("data/new", noise(3, 50_000)),
        Entry::file("data/renamed", noise(2, 300_000)),
        Entry::file("data/holes", holes),
        Entry::file("data/empty", ""),
        Entry::symlink("data/link", "one"),
    ];
    for (name, entries) in [("a", common.to_vec()), ("b", other.to_vec())] {
        registry.push(&format!("plain/{name}"), "latest", &Image::new([Layer::of(entries)], json!({})));
        let plain = format!("{}/plain/{name}", registry.address());
        let chunked = format!("{}/chunked/{name}", registry.address());
        sandbox.coracle(["pull", "-q", &plain]).ok();
        sandbox.coracle(["push", "-q", "--compression-format=zstd:chunked", &plain, &chunked]).ok();
        sandbox.coracle(["rmi", "-f", &plain]).ok();
    }
    let conf = sandbox.read("conf/storage.conf")
        + &format!("\n[storage.options]\npull_options = {{enable_partial_images = \"true\"{options}}}\n");
    sandbox.write("conf/storage.conf", conf);
    registry
}

/// The image's only layer is what image b of [`two_images`] has.
pub fn check_b(sandbox: &Sandbox, name: &str) {
    let layer = upper(sandbox, name);
    assert!(std::fs::read(layer.join("data/one")).unwrap() == noise(1, 900_000));
    assert!(std::fs::read(layer.join("data/grown")).unwrap()[900_000..] == noise(7, 1000));
    assert!(std::fs::read(layer.join("data/new")).unwrap() == noise(3, 50_000));
    assert!(std::fs::read(layer.join("data/renamed")).unwrap() == noise(2, 300_000));
    assert_eq!(std::fs::read(layer.join("data/holes")).unwrap().len(), 110_000);
    assert_eq!(std::fs::metadata(layer.join("data/renamed")).unwrap().mode() & 0o7777, 0o644);
    assert_eq!(std::fs::read_link(layer.join("data/link")).unwrap().to_str(), Some("one"));
}

pub fn upper(sandbox: &Sandbox, name: &str) -> std::path::PathBuf {
    let format = "--format={{.GraphDriver.Data.UpperDir}}";
    sandbox.coracle(["image", "inspect", format, name]).ok().text().to_owned().into()
}

#[test]
fn what_other_layers_have_is_not_fetched() {
    for sandbox in require!(Sandbox::both()) {
        let registry = two_images(&sandbox, "");
        let proxy = Flaky::watching(registry.address().parse().unwrap());
        let [a, b] = ["a", "b"].map(|name| format!("{}/chunked/{name}", proxy.address()));
        sandbox.coracle(["pull", "-q", &a]).ok();
        assert!(proxy.seen().answered > 1_200_000);
        sandbox.coracle(["pull", "-q", &b]).ok();
        // The new file, the ends of the grown one and of the one with holes, the table, manifest and configuration.
        let seen = proxy.seen();
        assert!(seen.answered < 250_000, "{} bytes", seen.answered);
        check_b(&sandbox, &b);
        // The store does not claim to have seen the blob, and can give the archive again.
        let layers = sandbox.read(sandbox.graph_root().join("overlay-layers/layers.json"));
        let blob = manifest(&registry, "chunked/b")["layers"][0]["digest"].as_str().unwrap().to_owned();
        assert!(!layers.contains(&blob), "{layers}");
        sandbox.coracle(["push", "-q", &b, "dir:out"]).ok();
        let source = sandbox.storage_reference(&b);
        require!(sandbox.skopeo(["copy", "-q", &source, "dir:foreign"])).ok();
        let listed = require!(sandbox.podman(["image", "inspect", &b])).ok().json();
        assert_eq!(listed[0]["RootFS"]["Layers"].as_array().unwrap().len(), 1);
        sandbox.coracle(["rmi", "-f", &a, &b]).ok();
    }
}

#[test]
fn files_are_shared_by_hard_links_where_that_is_wanted() {
    let sandbox = require!(Sandbox::user());
    let registry = two_images(&sandbox, ", use_hard_links = \"true\"");
    let [a, b] = ["a", "b"].map(|name| format!("{}/chunked/{name}", registry.address()));
    sandbox.coracle(["pull", "-q", &a]).ok();
    sandbox.coracle(["pull", "-q", &b]).ok();
    check_b(&sandbox, &b);
    let inode = |name: &str, path: &str| std::fs::metadata(upper(&sandbox, name).join(path)).unwrap().ino();
    assert_eq!(inode(&a, "data/one"), inode(&b, "data/one"));
    assert_ne!(inode(&a, "data/two"), inode(&b, "data/renamed"), "its mode is another");
    // Nothing but the links shows: directories keep their times.
    sandbox.coracle(["system", "check"]).ok();
    sandbox.coracle(["rmi", "-f", &a]).ok();
    check_b(&sandbox, &b);
}

#[test]
fn ordinary_layers_are_converted_where_that_is_wanted() {
    for sandbox in require!(Sandbox::both()) {
        let registry = two_images(&sandbox, "");
        let proxy = Flaky::watching(registry.address().parse().unwrap());
        let [a, b, chunked] =
            ["plain/a", "plain/b", "chunked/b"].map(|name| format!("{}/{name}", proxy.address()));
        let options = ["--pull-option=convert_images=true", "--pull-option", "use_hard_links=true"];
        let pull = |name: &str| sandbox.coracle(options).args(["pull", "-q", name]).ok();
        let inode =
            |name: &str, path: &str| std::fs::metadata(upper(&sandbox, name).join(path)).unwrap().ino();
        pull(&a);
        pull(&b);
        check_b(&sandbox, &b);
        assert_eq!(inode(&a, "data/one"), inode(&b, "data/one"));
        assert_ne!(inode(&a, "data/two"), inode(&b, "data/renamed"), "its mode is another");
        sandbox.coracle(["system", "check"]).ok();
        // The same layer in chunks: what there is of it is known by the table that was made.
        sandbox.coracle(["rmi", "-f", &b]).ok();
        proxy.seen();
        sandbox.coracle(["pull", "-q", &chunked]).ok();
        let seen = proxy.seen();
        assert!(seen.answered < 250_000, "{} bytes", seen.answered);
        check_b(&sandbox, &chunked);
        sandbox.coracle(["rmi", "-f", &a, &chunked]).ok();
        // Without the option nothing of the kind happens.
        sandbox.coracle(["pull", "-q", &a]).ok();
        let layers = sandbox.read(sandbox.graph_root().join("overlay-layers/layers.json"));
        assert!(!layers.contains("zstd-chunked-manifest"), "{layers}");
        sandbox.coracle(["rmi", "-f", &a]).ok();
        let wrong = sandbox.coracle(["--pull-option=speed=true", "pull", "-q", &a]).fails(1);
        wrong.stderr_has("invalid pull option").stderr_has("convert_images");
    }
}

#[test]
fn podman_and_we_use_the_layers_of_each_other() {
    let sandbox = require!(Sandbox::user());
    let registry = two_images(&sandbox, "");
    let proxy = Flaky::watching(registry.address().parse().unwrap());
    let [a, b] = ["a", "b"].map(|name| format!("{}/chunked/{name}", proxy.address()));
    let version = require!(sandbox.podman(["--version"])).ok();
    // Before 5 it looked for other annotations than those that are written now.
    let knows = !version.text().contains("version 3.") && !version.text().contains("version 4.");
    for ours_first in [true, false] {
        let pull = |ours: bool, name: &str| match ours {
            true => sandbox.coracle(["pull", "-q", name]).ok(),
            false => sandbox.podman(["pull", "-q", "--tls-verify=false", name]).ok().unwrap().ok(),
        };
        pull(ours_first, &a);
        proxy.seen();
        pull(!ours_first, &b);
        let seen = proxy.seen();
        assert!(!knows || seen.answered < 500_000, "{ours_first}: {} bytes were fetched", seen.answered);
        check_b(&sandbox, &b);
        sandbox.coracle(["rmi", "-f", &a, &b]).ok();
    }
}

#[test]
fn a_registry_that_gives_no_parts_or_breaks_off_is_no_obstacle() {
    let sandbox = require!(Sandbox::user());
    let registry = two_images(&sandbox, "");
    let server = registry.address().parse().unwrap();
    sandbox.coracle(["pull", "-q", &format!("{}/chunked/a", registry.address())]).ok();
    let none = Flaky::without_ranges(server, false);
    let single = Flaky::without_ranges(server, true);
    let cut = Flaky::spoiling_downloads(server, Spoil::Cut, 30_000, 1);
    for proxy in [&none, &single, &cut] {
        let name = format!("{}/chunked/b", proxy.address());
        sandbox.coracle(["pull", "-q", &name]).ok();
        check_b(&sandbox, &name);
        sandbox.coracle(["rmi", "-f", &name]).ok();
    }
    assert_eq!(cut.cuts(), 1);
}

/// Image b again, with a table of contents that somebody else wrote.
fn with_table(registry: &Registry, name: &str, change: &dyn Fn(&mut Value)) {
    let mut manifest = manifest(registry, "chunked/b");
    let layer = manifest["layers"][0].clone();
    let blob = std::fs::read(registry.blob_file(layer["digest"].as_str().unwrap())).unwrap();
    let numbers = |key: &str| -> Vec<usize> {
        layer["annotations"][key].as_str().unwrap().split(':').map(|n| n.parse().unwrap()).collect()
    };
    let (table, split) = (numbers(POSITION), numbers(TAR_SPLIT));
    let json = zstd::decode_all(&blob[table[0]..table[0] + table[1]]).unwrap();
    let mut json: Value = serde_json::from_slice(&json).unwrap();
    change(&mut json);
    let json = serde_json::to_vec(&json).unwrap();
    let compressed = zstd::encode_all(&json[..], 3).unwrap();
    let mut changed = blob[..table[0] - 8].to_vec();
    let mut places = Vec::new();
    for frame in [&compressed[..], &blob[split[0]..split[0] + split[1]], &[0; 64]] {
        changed.extend([0x50, 0x2a, 0x4d, 0x18]);
        changed.extend((frame.len() as u32).to_le_bytes());
        places.push((changed.len(), frame.len()));
        changed.extend(frame);
    }
    registry.push_blob(name, &changed);
    let config = std::fs::read(registry.blob_file(manifest["config"]["digest"].as_str().unwrap())).unwrap();
    registry.push_blob(name, &config);
    manifest["layers"][0]["digest"] = digest(&changed).into();
    manifest["layers"][0]["size"] = changed.len().into();
    manifest["layers"][0]["annotations"] = json!({
        CHECKSUM: digest(&compressed),
        POSITION: format!("{}:{}:{}:1", places[0].0, places[0].1, json.len()),
        TAR_SPLIT: format!("{}:{}:{}", places[1].0, places[1].1, split[2]),
    });
    let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
    registry.push_manifest(name, "latest", &media_type, &serde_json::to_vec(&manifest).unwrap());
}

#[test]
fn a_hostile_table_of_contents_changes_nothing() {
    let sandbox = require!(Sandbox::user());
    let registry = two_images(&sandbox, "");
    sandbox.coracle(["pull", "-q", &format!("{}/chunked/a", registry.address())]).ok();
    let find = |json: &mut Value, name: &str| -> usize {
        let entries = json["entries"].as_array().unwrap();
        entries.iter().position(|entry| entry["name"] == name && entry["type"] == "reg").unwrap()
    };
    type Change<'a> = Box<dyn Fn(&mut Value) + 'a>;
    let set = |file: &'static str, key: &'static str, value: Value| -> Change<'_> {
        Box::new(move |json| {
            let at = find(json, file);
            json["entries"][at][key] = value.clone();
        })
    };
    let changes: Vec<Change<'_>> = vec![
        Box::new(|_| {}),
        // Contents that are here, under the wrong name.
        set("data/new", "digest", digest(&noise(2, 300_000)).into()),
        set("data/renamed", "digest", digest(&noise(3, 50_000)).into()),
        set("data/new", "name", "../../../../etc/passwd".into()),
        set("data/new", "name", "data/one".into()),
        set("data/new", "size", json!(1_u64 << 60)),
        set("data/new", "size", json!(-1)),
        set("data/new", "offset", json!(1_u64 << 62)),
        set("data/new", "endOffset", json!(1_u64 << 62)),
        set("data/new", "offset", json!(0)),
        Box::new(|json| json["tarSplitDigest"] = digest(b"").into()),
        Box::new(|json| json["entries"] = json!([])),
        Box::new(|json| *json = json!([])),
    ];
    for (number, change) in changes.iter().enumerate() {
        let name = format!("hostile/{number}");
        with_table(&registry, &name, change.as_ref());
        let name = format!("{}/{name}", registry.address());
        sandbox.coracle(["pull", "-q", &name]).ok();
        check_b(&sandbox, &name);
        sandbox.coracle(["rmi", "-f", &name]).ok();
    }
}
