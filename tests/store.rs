//! The store in the format of containers/storage, beside its other users.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use coracle::engine::Digest;
use coracle::engine::host::random;
use coracle::engine::store::{
    BigData, ImageRecord, LayerCompression, MountOptions, NewContainer, NewImage, NewLayer, StagedLayer,
    Store, StoreOptions, diff,
};
use serde_json::json;

use crate::support::{
    Entry, Kind, Sandbox, Tarball, busybox_tar, host_architecture, program, require, store,
};

fn open(sandbox: &Sandbox, driver: &str) -> Store {
    let options = StoreOptions {
        graph_root: sandbox.graph_root(),
        run_root: sandbox.run_root(),
        driver: Some(driver.to_owned()),
        rootless: in_userns(),
        ..StoreOptions::default()
    };
    Store::open(options).unwrap()
}

/// Whether this runs below `coracle unshare`, as these tests may.
fn in_userns() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"]
}

/// Unpacks a tar stream as a layer, without the product's own reader of layers.
fn unpack(
    store: &Store,
    tar: &[u8],
    parent: Option<String>,
) -> (coracle::engine::store::StagedLayer, NewLayer) {
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
fn apply(store: &Store, tar: &[u8], parent: Option<String>) -> (StagedLayer, NewLayer) {
    let staged = store.stage_layer().unwrap();
    let split = fs::File::create(staged.tar_split_path()).unwrap();
    let applied = diff::apply(tar, staged.dir(), split, &store.apply_options().unwrap()).unwrap();
    let layer = NewLayer::from_applied(random::id().unwrap(), parent, &applied);
    (staged, layer)
}

/// An image of busybox and further layers, each of one file.
fn make_image(store: &Store, name: &str, more: usize) -> ImageRecord {
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

fn container(image: &str, volatile: bool) -> NewContainer {
    NewContainer {
        id: random::id().unwrap(),
        image: Some(image.to_owned()),
        volatile,
        ..NewContainer::default()
    }
}

#[test]
fn podman_inspects_and_runs_what_is_committed() {
    let sandbox = require!(Sandbox::root());
    require!(program("podman"));
    let store = open(&sandbox, "overlay");
    let image = make_image(&store, "localhost/lab/made:1", 3);
    let seen = require!(sandbox.podman(["image", "inspect", "localhost/lab/made:1"])).ok().json();
    assert_eq!(seen[0]["Id"], image.id.as_str());
    assert_eq!(seen[0]["RootFS"]["Layers"].as_array().unwrap().len(), 4);
    let size = store.image_size(&image.id).unwrap();
    assert_eq!(seen[0]["Size"].as_u64(), Some(size));
    require!(sandbox.podman([
        "run",
        "--rm",
        "--network",
        "none",
        "localhost/lab/made:1",
        "cat",
        "file0",
        "file2"
    ]))
    .ok()
    .stdout_is("localhost/lab/made:1 0localhost/lab/made:1 2");
    assert_eq!(store::problems(&sandbox), Vec::<String>::new());

    // And the other way: podman adds and removes names, and removes the image.
    require!(sandbox.podman(["tag", "localhost/lab/made:1", "localhost/other:2"])).ok();
    assert_eq!(store.lookup_image("localhost/other:2").unwrap().id, image.id);
    store.add_image_names(&image.id, &["localhost/third:3".into()]).unwrap();
    require!(sandbox.podman(["image", "exists", "localhost/third:3"])).ok();
    store.remove_image_names(&image.id, &["localhost/third:3".into(), "localhost/other:2".into()]).unwrap();
    let container = store.create_container(container(&image.id, false)).unwrap();
    require!(sandbox.podman(["rmi", &image.id[..12]])).fails(2);
    assert!(store.delete_image(&image.id).unwrap_err().to_string().contains("in use"));
    store.delete_container(&container.id).unwrap();
    require!(sandbox.podman(["rmi", "-f", &image.id[..12]])).ok();
    assert!(store.images().unwrap().is_empty());
    assert!(store.layers().unwrap().is_empty());
    assert_eq!(store::problems(&sandbox), Vec::<String>::new());
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
fn podman_sees_our_mounts_and_we_see_its() {
    let sandbox = require!(Sandbox::root());
    let store = open(&sandbox, "overlay");
    make_image(&store, "localhost/lab/made:1", 0);
    let made = require!(sandbox.podman(["create", "--network", "none", "localhost/lab/made:1", "true"])).ok();
    let id = made.text().to_owned();
    let ours = store.mount(&id, &MountOptions::default()).unwrap();
    let theirs = require!(sandbox.podman(["mount", &id])).ok().text().to_owned();
    assert_eq!(Path::new(&theirs), ours);
    require!(sandbox.podman(["unmount", &id])).ok();
    assert!(ours.join("bin/busybox").exists(), "podman unmounted what we still count");
    store.unmount(&id, false).unwrap();
    assert!(!ours.join("bin/busybox").exists());
    require!(sandbox.podman(["rm", &id])).ok();
    assert_eq!(store::problems(&sandbox), Vec::<String>::new());
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
fn what_writers_left_half_done_is_settled_by_the_next() {
    let sandbox = require!(Sandbox::root());
    let store = open(&sandbox, "overlay");
    let image = make_image(&store, "localhost/lab/made:1", 1);
    let base = store.layer(image.top_layer.as_deref().unwrap()).unwrap().parent.unwrap();
    // A layer as an upstream writer leaves it that was killed: recorded as incomplete.
    let broken = random::id().unwrap();
    let path = sandbox.path("root/overlay-layers/layers.json");
    let mut layers: Vec<serde_json::Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    layers.push(json!({"id": broken, "parent": base, "created": "2024-01-01T00:00:00Z", "flags": {"incomplete": true}}));
    fs::write(&path, serde_json::to_vec(&layers).unwrap()).unwrap();
    fs::create_dir_all(sandbox.path(format!("root/overlay/{broken}/diff/some"))).unwrap();
    // A container of ours whose maker died before it was recorded, and a staged layer of a dead process.
    let (id, layer) = (random::id().unwrap(), random::id().unwrap());
    fs::create_dir_all(sandbox.path(format!("root/overlay/{layer}/diff"))).unwrap();
    fs::write(sandbox.path(format!("root/coracle/pending/container-{id}-{layer}")), "").unwrap();
    fs::create_dir_all(sandbox.path("root/coracle/staging/dead/diff/etc")).unwrap();
    fs::set_permissions(
        sandbox.path("root/coracle/staging/dead/diff/etc"),
        fs::Permissions::from_mode(0o000),
    )
    .unwrap();

    assert!(store.layers().unwrap().iter().all(|l| l.id != broken), "an incomplete layer is no layer");
    let container = store.create_container(container(&image.id, false)).unwrap();
    assert!(!sandbox.path(format!("root/overlay/{layer}")).exists());
    drop(store.stage_layer().unwrap());
    assert_eq!(fs::read_dir(sandbox.path("root/coracle/staging")).unwrap().count(), 0);
    store.delete_container(&container.id).unwrap();
    assert!(!sandbox.path(format!("root/overlay/{broken}")).exists());
    assert_eq!(store::problems(&sandbox), Vec::<String>::new());
}

#[test]
fn vfs_holds_the_same_files() {
    let sandbox = require!(Sandbox::root());
    let store = open(&sandbox, "vfs");
    let image = make_image(&store, "localhost/lab/made:1", 2);
    let container = store.create_container(container(&image.id, true)).unwrap();
    let root = store.mount(&container.id, &MountOptions::default()).unwrap();
    assert!(root.join("bin/busybox").exists() && root.join("file1").exists());
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o7777, 0o555);
    store.unmount(&container.id, true).unwrap();
    let line = require!(program("podman"));
    let run = sandbox.command([line]).args(sandbox.store_flags()).args(["--storage-driver", "vfs"]);
    let run = run.env("CONTAINERS_CONF", sandbox.path("conf/podman.conf"));
    run.args(["image", "inspect", "localhost/lab/made:1"]).ok();
    store.delete_container(&container.id).unwrap();
    store.delete_image(&image.id).unwrap();
    assert_eq!(fs::read_dir(sandbox.path("root/vfs/dir")).unwrap().count(), 0);
}

#[test]
fn a_container_in_its_own_user_namespace_owns_its_files() {
    use coracle::engine::spec::{IdMapping, IdMappings};
    let sandbox = require!(Sandbox::root());
    for driver in ["overlay", "vfs"] {
        let store = open(&sandbox, driver);
        let image = make_image(&store, "localhost/lab/made:1", 1);
        let map = vec![IdMapping { container_id: 0, host_id: 10_000, size: 5_000 }];
        let id_maps = IdMappings { uids: map.clone(), gids: map };
        for round in 0..2 {
            let new = NewContainer { id_maps: id_maps.clone(), ..container(&image.id, round == 0) };
            let container = store.create_container(new).unwrap();
            let root = store.mount(&container.id, &MountOptions::default()).unwrap();
            for path in ["", "bin", "bin/busybox", "file0"] {
                let meta = fs::symlink_metadata(root.join(path)).unwrap();
                assert_eq!((meta.uid(), meta.gid()), (10_000, 10_000), "{driver} {path:?} in round {round}");
            }
            fs::write(root.join("new"), "x").unwrap();
            std::os::unix::fs::chown(root.join("new"), Some(10_001), Some(10_001)).unwrap();
            store.unmount(&container.id, false).unwrap();
            let again = store.mount(&container.id, &MountOptions::default()).unwrap();
            assert_eq!(fs::metadata(again.join("new")).unwrap().uid(), 10_001);
            store.delete_container(&container.id).unwrap();
        }
        let mapped = store.image(&image.id).unwrap().mapped_layers;
        assert_eq!(mapped.len(), usize::from(!store.can_shift().unwrap()), "one copy serves all");
        assert_eq!(store.mounted(image.top_layer.as_deref().unwrap()).unwrap(), None);
        store.delete_image(&image.id).unwrap();
        assert!(store.layers().unwrap().is_empty());
        let left = fs::read_dir(sandbox.path(format!("root/{driver}-layers"))).unwrap().flatten();
        let names: Vec<_> = left.map(|e| e.file_name()).collect();
        assert!(names.iter().all(|n| n.to_string_lossy().starts_with(['l', 'v'])), "{names:?}");
    }
    assert_eq!(store::problems(&sandbox), Vec::<String>::new());
}

#[test]
fn layers_are_committed_below_podmans_mount_of_the_store_on_itself() {
    let sandbox = require!(Sandbox::root());
    let store = open(&sandbox, "overlay");
    make_image(&store, "localhost/lab/made:1", 0);
    let home = sandbox.path("root/overlay");
    let bind = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some(&home), &home, None::<&str>, bind, None::<&str>).unwrap();
    let image = make_image(&store, "localhost/lab/made:2", 2);
    let container = store.create_container(container(&image.id, true)).unwrap();
    let root = store.mount(&container.id, &MountOptions::default()).unwrap();
    nix::mount::umount2(&home, nix::mount::MntFlags::MNT_DETACH).unwrap();
    assert!(root.join("file1").exists(), "what podman detaches is not ours");
    store.delete_container(&container.id).unwrap();
    assert_eq!(store::problems(&sandbox), Vec::<String>::new());
}

#[test]
fn a_full_disk_leaves_the_store_as_it_was() {
    let sandbox = require!(Sandbox::root());
    let root = sandbox.mkdir("root");
    nix::mount::mount(Some("none"), &root, Some("tmpfs"), nix::mount::MsFlags::empty(), Some("size=8m"))
        .unwrap();
    let store = open(&sandbox, "overlay");
    let image = make_image(&store, "localhost/lab/made:1", 0);
    let before = store.layers().unwrap();
    let filler = root.join("filler");
    // Until there is room for less and less: every step of a commit and a creation fails once.
    let mut room = 256 * 1024;
    while room > 0 {
        fill(&filler, room);
        let _ = store.create_container(container(&image.id, false));
        if let Ok(staged) = store.stage_layer() {
            let id = random::id().unwrap();
            let new = NewLayer { id: id.clone(), parent: image.top_layer.clone(), ..NewLayer::default() };
            if store.commit_layer(staged, new).is_ok() {
                store.delete_layer(&id).unwrap();
            }
        }
        for container in store.containers().unwrap() {
            store.delete_container(&container.id).unwrap();
        }
        fs::remove_file(&filler).unwrap();
        drop(store.stage_layer().unwrap());
        drop(store.create_container(container(&image.id, true)).map(|c| store.delete_container(&c.id)));
        assert_eq!(store.layers().unwrap(), before, "with room for {room} bytes");
        assert_eq!(store::problems(&sandbox), Vec::<String>::new(), "with room for {room} bytes");
        room -= 16 * 1024;
    }
    drop(store);
    nix::mount::umount2(&root, nix::mount::MntFlags::MNT_DETACH).unwrap();
}

/// Writes a file until only so many bytes are free.
fn fill(path: &Path, room: u64) {
    let free = rustix::fs::statvfs(path.parent().unwrap()).unwrap();
    let size = (free.f_bavail * free.f_frsize).saturating_sub(room);
    let file = fs::File::create(path).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size).unwrap();
}

fn open_with(sandbox: &Sandbox, change: impl FnOnce(&mut StoreOptions)) -> Store {
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

#[test]
fn fuse_overlayfs_serves_where_it_is_asked_for_and_stays() {
    use coracle::engine::spec::{IdMapping, IdMappings};
    let sandbox = require!(Sandbox::root());
    let program = require!(program("fuse-overlayfs"));
    let option = format!("overlay.mount_program={}", program.display());
    let store = open_with(&sandbox, |o| o.driver_opts = vec![option, "overlay.mountopt=nodev".into()]);
    let image = make_image(&store, "localhost/lab/made:1", 2);
    // Without the option: the store remembers.
    let store = open(&sandbox, "overlay");
    assert!(!store.native_overlay().unwrap());
    let map = vec![IdMapping { container_id: 0, host_id: 10_000, size: 5_000 }];
    let id_maps = IdMappings { uids: map.clone(), gids: map };
    for id_maps in [IdMappings::default(), id_maps] {
        let owner = id_maps.root().unwrap().0;
        let new = NewContainer { id_maps, ..container(&image.id, true) };
        let container = store.create_container(new).unwrap();
        let root = store.mount(&container.id, &MountOptions::default()).unwrap();
        assert_eq!(fs::metadata(root.join("bin/busybox")).unwrap().uid(), owner);
        let types = fs::read_to_string("/proc/self/mounts").unwrap();
        let line = types.lines().find(|l| l.contains(root.to_str().unwrap())).unwrap();
        assert!(line.contains("fuse.fuse-overlayfs"), "{line}");
        fs::write(root.join("new"), "x").unwrap();
        store.unmount(&container.id, false).unwrap();
        let again = store.mount(&container.id, &MountOptions::default()).unwrap();
        assert!(again.join("new").exists() && again.join("file1").exists());
        store.delete_container(&container.id).unwrap();
    }
    require!(sandbox.podman(["image", "exists", "localhost/lab/made:1"])).ok();
    assert_eq!(store::problems(&sandbox), Vec::<String>::new());
}

#[test]
fn links_lost_in_a_power_cut_are_made_again() {
    let sandbox = require!(Sandbox::root());
    let store = open(&sandbox, "overlay");
    let image = make_image(&store, "localhost/lab/made:1", 3);
    for entry in fs::read_dir(sandbox.path("root/overlay/l")).unwrap().flatten() {
        fs::remove_file(entry.path()).unwrap();
    }
    let container = store.create_container(container(&image.id, false)).unwrap();
    let root = store.mount(&container.id, &MountOptions::default()).unwrap();
    assert!(root.join("file2").exists() && root.join("bin/busybox").exists());
    store.delete_container(&container.id).unwrap();
    assert_eq!(store::problems(&sandbox), Vec::<String>::new());
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

#[test]
fn podman_waits_for_our_locks() {
    use coracle::engine::host::lock::FileLock;
    let sandbox = require!(Sandbox::root());
    let store = open(&sandbox, "overlay");
    make_image(&store, "localhost/lab/made:1", 0);
    for lock in ["root/overlay-layers/layers.lock", "root/overlay-images/images.lock"] {
        let held = FileLock::exclusive(&sandbox.path(lock)).unwrap();
        let mut command = require!(sandbox.podman(["images", "-q"])).into_std();
        let mut waiting = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(700));
        assert!(waiting.try_wait().unwrap().is_none(), "podman does not respect {lock}");
        drop(held);
        assert!(waiting.wait().unwrap().success());
    }
}

#[test]
fn podman_and_we_work_on_one_store_at_the_same_time() {
    let sandbox = require!(Sandbox::root());
    let store = open(&sandbox, "overlay");
    let kept = make_image(&store, "localhost/lab/kept:1", 1);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(6);
    std::thread::scope(|scope| {
        for n in 0..2 {
            let (store, kept) = (&store, &kept);
            scope.spawn(move || {
                let mut round = 0;
                while std::time::Instant::now() < until {
                    round += 1;
                    let image = make_image(store, &format!("localhost/lab/mine{n}:{round}"), 2);
                    let container = store.create_container(container(&kept.id, round % 2 == 0)).unwrap();
                    let root = store.mount(&container.id, &MountOptions::default()).unwrap();
                    assert!(root.join("bin/busybox").exists());
                    fs::write(root.join("new"), "x").unwrap();
                    store.unmount(&container.id, false).unwrap();
                    store.delete_container(&container.id).unwrap();
                    store.delete_image(&image.id).unwrap();
                }
                assert!(round > 0);
            });
        }
        let mut round = 0;
        while std::time::Instant::now() < until {
            round += 1;
            let name = format!("localhost/lab/theirs:{round}");
            sandbox.podman(["tag", "localhost/lab/kept:1", &name]).unwrap().ok();
            sandbox.podman(["run", "--rm", "--network", "none", &name, "true"]).unwrap().ok();
            sandbox.podman(["rmi", &name]).unwrap().ok();
        }
    });
    assert_eq!(store.image(&kept.id).unwrap().names, ["localhost/lab/kept:1"]);
    assert_eq!(store.images().unwrap().len(), 1);
    assert_eq!(store::problems(&sandbox), Vec::<String>::new());
}

#[test]
fn a_reader_settles_what_a_dead_writer_left() {
    let sandbox = require!(Sandbox::root());
    let store = open(&sandbox, "overlay");
    let image = make_image(&store, "localhost/lab/made:1", 1);
    let kept = make_image(&store, "localhost/lab/kept:1", 0);
    // As `rmi` leaves it that is killed when the image is forgotten and its layers are not.
    let path = sandbox.path("root/overlay-images/images.json");
    let images: Vec<serde_json::Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let rest: Vec<_> = images.into_iter().filter(|i| i["id"] != image.id.as_str()).collect();
    fs::write(&path, serde_json::to_vec(&rest).unwrap()).unwrap();
    fs::remove_dir_all(sandbox.path(format!("root/overlay-images/{}", image.id))).unwrap();
    let top = image.top_layer.unwrap();
    fs::write(sandbox.path(format!("root/coracle/pending/drop-{}-{top}", image.id)), "").unwrap();
    fs::create_dir_all(sandbox.path("root/overlay/staging/trash-dead/sub")).unwrap();

    assert_eq!(store.images().unwrap().len(), 1);
    assert!(store.layer(&top).is_err());
    assert_eq!(store.image(&kept.id).unwrap().names, ["localhost/lab/kept:1"]);
    assert_eq!(store::problems(&sandbox), Vec::<String>::new());
}

#[test]
fn what_a_front_end_leaves_of_a_container_is_swept() {
    let sandbox = require!(Sandbox::root());
    let store = open(&sandbox, "overlay");
    let image = make_image(&store, "localhost/lab/made:1", 1);
    let container = store.create_container(container(&image.id, true)).unwrap();
    let trash = store.delete_container(&container.id).unwrap().unwrap();
    let staging = sandbox.path("root/overlay/staging");
    store.sweep_trash();
    assert_eq!(fs::read_dir(&staging).unwrap().count(), 1, "it is somebody's");
    trash.leave();
    assert_eq!(fs::read_dir(&staging).unwrap().count(), 1);
    store.sweep_trash();
    assert_eq!(fs::read_dir(&staging).unwrap().count(), 0);
    assert!(store.delete_container(&container.id).unwrap().is_none());
}

#[test]
fn every_driver_shows_the_same_files() {
    let mut seen = Vec::new();
    let fuse = program("fuse-overlayfs").map(|p| format!("overlay.mount_program={}", p.display()));
    for (driver, option) in [("overlay", None), ("vfs", None), ("overlay", fuse.ok())] {
        let sandbox = require!(Sandbox::root());
        let store = open_with(&sandbox, |o| {
            o.driver = Some(driver.into());
            o.driver_opts = option.iter().cloned().collect();
        });
        let base = Tarball::of([
            Entry::dir("./").mode(0o711),
            Entry::dir("a"),
            Entry::file("a/gone", "1"),
            Entry::file("a/kept", "22").mode(0o4755).owner(3, 4),
            Entry::dir("b"),
            Entry::file("b/below", "333"),
            Entry::file("one", "4444"),
            Entry::hardlink("two", "one"),
            Entry::symlink("link", "/a"),
            Entry::new("pipe", Kind::Fifo),
        ]);
        let top = Tarball::of([
            Entry::whiteout("a", "gone"),
            Entry::dir("b"),
            Entry::opaque("b"),
            Entry::file("b/above", "55555"),
            Entry::file("link", "no link any more"),
        ]);
        let base = apply(&store, &base.finish(), None);
        let top = apply(&store, &top.finish(), Some(base.1.id.clone()));
        let id = top.1.id.clone();
        let new = NewImage { id: random::id().unwrap(), top_layer: Some(id.clone()), ..NewImage::default() };
        let image = store.commit_image(vec![base, top], new).unwrap();
        let container = store.create_container(container(&image.id, true)).unwrap();
        let root = store.mount(&container.id, &MountOptions::default()).unwrap();
        let mut files = Vec::new();
        describe(&root, &root, &mut files);
        files.sort();
        assert!(files.iter().any(|f| f.starts_with("b/above ")), "{files:#?}");
        assert!(
            !files.iter().any(|f| f.contains("gone") || f.contains("below") || f.contains(".wh.")),
            "{files:#?}"
        );
        seen.push(files);
        let mut again = Vec::new();
        store.layer_diff_tar(&id, &mut again).unwrap();
        assert_eq!(Some(Digest::sha256(&again)), store.layer(&id).unwrap().diff_digest, "{driver}");
        store.delete_container(&container.id).unwrap();
        store.delete_image(&image.id).unwrap();
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

/// Every file below a directory: name, mode, owner, size, links, target.
fn describe(root: &Path, directory: &Path, out: &mut Vec<String>) {
    let mut line = |path: &Path| {
        let meta = fs::symlink_metadata(path).unwrap();
        let size = if meta.is_dir() { 0 } else { meta.size() };
        let links = if meta.is_dir() { 0 } else { meta.nlink() };
        let target = fs::read_link(path).unwrap_or_default();
        let name = path.strip_prefix(root).unwrap().display();
        out.push(format!(
            "{name} {:o} {}:{} {size} {links} {}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            target.display()
        ));
        meta.is_dir()
    };
    line(directory);
    let mut directories = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => directories.push(entry.path()),
            false => drop(line(&entry.path())),
        }
    }
    for directory in directories {
        describe(root, &directory, out);
    }
}
