//! The store in the format of containers/storage, by way of the library.

use std::fs;

use coracle::engine::Digest;
use coracle::engine::host::random;
use coracle::engine::store::{
    BigData, ImageRecord, LayerCompression, MountOptions, NewContainer, NewImage, NewLayer, StagedLayer,
    Store, StoreOptions, diff,
};
use serde_json::json;

use crate::support::{Entry, Sandbox, Tarball, busybox_tar, host_architecture, require, store};

/// The sandbox's store.
pub fn open(sandbox: &Sandbox, driver: &str) -> Store {
    open_with(sandbox, |options| options.driver = Some(driver.to_owned()))
}

/// The sandbox's store, with overlay and what else is changed.
pub fn open_with(sandbox: &Sandbox, change: impl FnOnce(&mut StoreOptions)) -> Store {
    let mut options = StoreOptions {
        graph_root: sandbox.graph_root(),
        run_root: sandbox.run_root(),
        driver: Some("overlay".to_owned()),
        rootless: in_userns(),
        ..StoreOptions::default()
    };
    change(&mut options);
    Store::open(options).unwrap()
}

/// Whether this runs below `coracle unshare`, as these tests may.
pub fn in_userns() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"]
}

/// Unpacks a tar stream as a layer, without the product's own reader of layers.
pub fn unpack(store: &Store, tar: &[u8], parent: Option<String>) -> (StagedLayer, NewLayer) {
    let staged = store.stage_layer().unwrap();
    let archive = staged.dir_path().with_file_name("layer.tar");
    fs::write(&archive, tar).unwrap();
    let status = std::process::Command::new("tar")
        .args(["-x", "-f"])
        .arg(&archive)
        .arg("-C")
        .arg(staged.dir_path())
        .status();
    assert!(status.unwrap().success());
    fs::remove_file(archive).unwrap();
    fs::write(staged.tar_split_path(), "").unwrap();
    let digest = Digest::sha256(tar);
    let id = Digest::sha256(format!("{parent:?} {digest}").as_bytes()).hex().to_owned();
    let size = tar.len() as u64;
    let layer = NewLayer {
        id,
        parent,
        compressed_digest: Some(digest.clone()),
        compressed_size: size,
        diff_digest: Some(digest),
        diff_size: size,
        compression: LayerCompression::None,
        uids: vec![0],
        gids: vec![0],
        ..NewLayer::default()
    };
    (staged, layer)
}

/// The same by the product's own reader.
pub fn apply(store: &Store, tar: &[u8], parent: Option<String>) -> (StagedLayer, NewLayer) {
    let staged = store.stage_layer().unwrap();
    let split = fs::File::create(staged.tar_split_path()).unwrap();
    let applied = diff::apply(tar, staged.dir(), split, &store.apply_options().unwrap()).unwrap();
    let layer = NewLayer::from_applied(random::id().unwrap(), parent, &applied);
    (staged, layer)
}

/// An image of busybox and further layers, each of one file.
pub fn make_image(store: &Store, name: &str, more: usize) -> ImageRecord {
    let mut staged = vec![unpack(store, &busybox_tar(), None)];
    for n in 0..more {
        let parent = staged.last().map(|(_, layer)| layer.id.clone());
        let mut tar = Tarball::new();
        tar.add(&Entry::file(format!("file{n}"), format!("{name} {n}")));
        staged.push(unpack(store, &tar.finish(), parent));
    }
    let diff_ids: Vec<_> = staged.iter().map(|(_, l)| l.diff_digest.clone()).collect();
    let top_layer = staged.last().map(|(_, l)| l.id.clone());
    let config = json!({
        "architecture": host_architecture(), "os": "linux", "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string().into_bytes();
    let config_digest = Digest::sha256(&config);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len()},
        "layers": staged.iter().map(|(_, l)| json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": l.compressed_digest, "size": l.compressed_size,
        })).collect::<Vec<_>>(),
    });
    let manifest = manifest.to_string().into_bytes();
    let digest = Digest::sha256(&manifest);
    let item = |key: String, data: &[u8]| BigData { key, data: data.to_vec(), digest: None };
    let image = NewImage {
        id: config_digest.hex().to_owned(),
        names: vec![name.to_owned()],
        top_layer,
        digest: Some(digest.clone()),
        big_data: vec![
            item("manifest".into(), &manifest),
            item(format!("manifest-{digest}"), &manifest),
            item(config_digest.to_string(), &config),
        ],
        ..NewImage::default()
    };
    store.commit_image(staged, image).unwrap()
}

/// A container of an image, to be created in the store.
pub fn container(image: &str, volatile: bool) -> NewContainer {
    NewContainer {
        id: random::id().unwrap(),
        image: Some(image.to_owned()),
        volatile,
        ..NewContainer::default()
    }
}

#[test]
fn a_container_is_mounted_counted_and_deleted() {
    let sandbox = require!(Sandbox::root());
    let store = open(&sandbox, "overlay");
    let image = make_image(&store, "localhost/lab/made:1", 1);
    for volatile in [true, false] {
        let container = store.create_container(container(&image.id, volatile)).unwrap();
        let merged = store.mount(&container.id, &MountOptions::default()).unwrap();
        assert!(merged.join("file0").exists() && merged.join("bin/busybox").exists());
        assert_eq!(store.mount(&container.id, &MountOptions::default()).unwrap(), merged);
        fs::write(merged.join("new"), "12345").unwrap();
        fs::remove_file(merged.join("file0")).unwrap();
        assert_eq!(store.container_rw_size(&container.id).unwrap(), 5);
        assert!(store.unmount(&container.id, false).unwrap());
        assert!(merged.join("new").exists());
        assert!(!store.unmount(&container.id, false).unwrap());
        assert!(!merged.join("new").exists());
        // Again, with what was written: overlay refuses a volatile upper directory that it has seen, unless told.
        store.mount(&container.id, &MountOptions::default()).unwrap();
        assert!(merged.join("new").exists() && !merged.join("file0").exists());
        let names = store.containers().unwrap();
        assert_eq!((names.len(), names[0].volatile()), (1, volatile));
        store.container_dir(&container.id).unwrap();
        store.delete_container(&container.id).unwrap();
        store.delete_container(&container.id).unwrap();
        assert!(store.containers().unwrap().is_empty());
        assert_eq!(store::problems(&sandbox), Vec::<String>::new());
    }
    assert_eq!(fs::read_dir(sandbox.path("root/overlay/staging")).unwrap().count(), 0);
    assert_eq!(store.delete_image(&image.id).unwrap().len(), 2);
    assert_eq!(fs::read_dir(sandbox.path("root/overlay/l")).unwrap().count(), 0);
}

#[test]
fn more_than_a_hundred_layers_are_one_mount() {
    let sandbox = require!(Sandbox::root());
    let store = open(&sandbox, "overlay");
    let image = make_image(&store, "localhost/lab/deep:1", 120);
    let container = store.create_container(container(&image.id, true)).unwrap();
    let merged = store.mount(&container.id, &MountOptions::default()).unwrap();
    assert_eq!(fs::read_to_string(merged.join("file119")).unwrap(), "localhost/lab/deep:1 119");
    assert!(merged.join("file0").exists());
    store.delete_container(&container.id).unwrap();
    require!(sandbox.podman(["run", "--rm", "--network", "none", "localhost/lab/deep:1", "cat", "file7"]))
        .ok()
        .stdout_is("localhost/lab/deep:1 7");
}

#[test]
fn an_additional_store_is_read_and_never_written() {
    let sandbox = require!(Sandbox::root());
    let shared = open(&sandbox, "overlay");
    let image = make_image(&shared, "localhost/lab/shared:1", 1);
    let other = require!(Sandbox::root());
    let store = Store::open(StoreOptions {
        graph_root: other.graph_root(),
        run_root: other.run_root(),
        driver: Some("overlay".into()),
        image_stores: vec![sandbox.graph_root()],
        rootless: in_userns(),
        ..StoreOptions::default()
    })
    .unwrap();
    let seen = store.lookup_image("localhost/lab/shared:1").unwrap();
    assert!(seen.read_only);
    assert!(store.delete_image(&image.id).is_err());
    assert!(!store.image_big_data(&image.id, "manifest").unwrap().is_empty());
    let container = store.create_container(container(&image.id, true)).unwrap();
    let merged = store.mount(&container.id, &MountOptions::default()).unwrap();
    assert!(merged.join("file0").exists());
    store.delete_container(&container.id).unwrap();
    let (layer, path) = store.mount_image(&image.id, &MountOptions::default()).unwrap();
    assert!(path.starts_with(other.run_root()) && path.join("file0").exists());
    assert!(fs::write(path.join("x"), "").is_err());
    store.unmount(&layer, true).unwrap();
    assert!(!path.exists());
}

#[test]
fn a_transient_store_keeps_containers_in_the_run_root() {
    let sandbox = require!(Sandbox::root());
    let store = open_with(&sandbox, |o| o.transient = true);
    let image = make_image(&store, "localhost/lab/made:1", 0);
    let container = store.create_container(container(&image.id, false)).unwrap();
    assert!(container.volatile());
    assert!(sandbox.path("run/overlay-containers/volatile-containers.json").exists());
    assert!(sandbox.path("run/overlay-layers/volatile-layers.json").exists());
    store.mount(&container.id, &MountOptions::default()).unwrap();
    store.delete_container(&container.id).unwrap();
    assert!(!sandbox.path("root/overlay-containers/containers.json").exists());
}

#[test]
fn images_can_have_a_store_of_their_own() {
    let sandbox = require!(Sandbox::root());
    let images = sandbox.path("images");
    let store = open_with(&sandbox, |o| o.image_store = Some(images.clone()));
    let image = make_image(&store, "localhost/lab/made:1", 2);
    assert!(images.join("overlay-images/images.json").exists());
    assert!(images.join("overlay-layers/layers.json").exists());
    let container = store.create_container(container(&image.id, false)).unwrap();
    let root = store.mount(&container.id, &MountOptions::default()).unwrap();
    assert!(root.join("file1").exists());
    store.delete_container(&container.id).unwrap();
    store.delete_image(&image.id).unwrap();
    assert!(store.layers().unwrap().is_empty());
    assert_eq!(fs::read_dir(images.join("overlay/l")).unwrap().count(), 0);
}
