//! What images are called and how they go: tag, untag, rmi, prune.

use super::pull::{ids, nothing_left};
use crate::support::{Sandbox, require};

#[test]
fn names_come_and_go() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/busybox");
    let id = ids(&sandbox).remove(0);
    let exists = |name: &str| sandbox.coracle(["image", "exists", name]).run().exit_code();
    sandbox.coracle(["tag", "lab/busybox", "mine", "quay.io/lab/other:v1"]).ok();
    for name in ["mine", "localhost/mine", "quay.io/lab/other:v1", &id[..8]] {
        assert_eq!(exists(name), 0, "{name}");
    }
    sandbox.coracle(["tag", "nope", "x"]).fails(1).stderr_has("No such image: nope");
    sandbox.coracle(["tag", "mine", "X"]).fails(1).stderr_has("must be lowercase");
    sandbox.coracle(["untag", "mine", "nope"]).fails(1).stderr_has("tag not known");
    sandbox.coracle(["untag", "mine", "mine"]).ok();
    assert_eq!(exists("mine"), 1);
    sandbox.coracle(["untag", &id]).ok();
    assert_eq!(exists("lab/busybox"), 1);
    assert_eq!(exists(&id), 0);
    sandbox.coracle(["image", "prune", "-f"]).ok().stdout_has(&format!("deleted: {id}"));
    nothing_left(&sandbox);
}

#[test]
fn rmi_takes_names_before_images() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/tags:v1");
    sandbox.pull("lab/tags:v2");
    sandbox.pull("lab/busybox");
    let id =
        |name: &str| sandbox.coracle(["images", "-q", "--no-trunc", name]).ok().text().replace("sha256:", "");
    let v1 = id("lab/tags:v1");
    sandbox.coracle(["tag", "lab/tags:v1", "other"]).ok();
    sandbox.coracle(["rmi", &v1]).fails(1).stderr_has("more than one name");
    let removed = sandbox.coracle(["rmi", "lab/tags:v1"]).ok();
    assert_eq!(removed.text(), "Untagged: docker.io/lab/tags:v1");
    let removed = sandbox.coracle(["rmi", "other"]).ok();
    assert_eq!(removed.lines(), ["Untagged: localhost/other:latest", &format!("Deleted: {v1}")]);
    sandbox.coracle(["rmi", "other"]).fails(1).stderr_has("No such image: other");
    sandbox.coracle(["rmi", "--ignore", "other"]).ok();
    sandbox.coracle(["rmi", "-f", "other"]).ok();
    let partly = sandbox.coracle(["rmi", "other", "lab/tags:v2"]).fails(1);
    partly.stdout_has("Deleted: ").stderr_has("No such image: other");
    sandbox.coracle(["rmi"]).fails(1).stderr_has("image name or ID must be specified");
    sandbox.coracle(["rmi", "-a"]).ok();
    assert!(ids(&sandbox).is_empty());
    nothing_left(&sandbox);
}

#[test]
fn unused_images_are_pruned() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/tags:v1");
    sandbox.pull("lab/config");
    sandbox.coracle(["image", "prune", "-f"]).ok().stdout_is("Total reclaimed space: 0B");
    sandbox.coracle(["image", "prune", "-af", "--filter", "label=nope"]).ok().stdout_lacks("deleted");
    sandbox.coracle(["image", "prune", "-af", "--filter", "until=2000-01-01"]).ok().stdout_lacks("deleted");
    sandbox.coracle(["image", "prune", "-af", "--filter", "nope=1"]).fails(1);
    sandbox.coracle(["image", "prune"]).stdin("n\n").ok().stdout_has("WARNING!");
    let pruned = sandbox.coracle(["image", "prune", "--all", "--force"]).ok();
    pruned.stdout_has("untagged: docker.io/lab/config:latest").stdout_has("Total reclaimed space: ");
    assert!(ids(&sandbox).is_empty());
    nothing_left(&sandbox);
}
