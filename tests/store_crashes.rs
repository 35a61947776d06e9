//! What killed writers, power cuts and full disks leave of the store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use coracle::engine::host::random;
use coracle::engine::store::{MountOptions, NewLayer};
use serde_json::json;

use crate::store::{container, make_image, open};
use crate::support::{Sandbox, require, store};

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
