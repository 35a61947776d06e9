//! The store beside its other users.

use std::fs;
use std::path::Path;

use coracle::engine::store::MountOptions;

use crate::store::{container, make_image, open};
use crate::support::{Sandbox, program, require, store};

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
