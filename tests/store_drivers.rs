//! The drivers of the store: overlay by the kernel and by fuse-overlayfs, vfs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use coracle::engine::Digest;
use coracle::engine::host::random;
use coracle::engine::store::{MountOptions, NewContainer, NewImage};

use crate::store::{apply, container, make_image, open, open_with};
use crate::support::{Entry, Kind, Sandbox, Tarball, program, require, store};

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
