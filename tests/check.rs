//! `system check`: every damage that can be done to a store is found, what loses nothing is repaired, what is whole stays.

use serde_json::{Value, json};
use std::fs;

use crate::support::damage::{
    CONTAINERS, IMAGES, LAYERS, LOST, MANY_STEPS, Patient, REPAIRABLE, id, truncate,
};
use crate::support::{Sandbox, require, store};

#[test]
fn what_loses_nothing_is_repaired() {
    for sandbox in require!(Sandbox::both()) {
        let patient = Patient::new(sandbox);
        for (what, words, inflict) in REPAIRABLE {
            eprintln!("--- {what}");
            patient.damage(*inflict);
            patient.check().code(125).stdout_has(words).stderr_has("damage detected");
            let before = patient.check();
            assert_eq!(before.exit_code(), 125, "a check changed something: {before}");
            patient.sandbox.coracle(["system", "check", "--repair"]).ok().stdout_has("Repaired: ");
            patient.is_well(what);
        }
    }
}

#[test]
fn a_repair_that_is_killed_is_finished_by_the_next() {
    for sandbox in require!(Sandbox::both()) {
        let patient = Patient::new(sandbox);
        let mut seen = 0;
        for point in ["check.locked", "check.mended", "check.record-mended"] {
            let mut damages: Vec<_> =
                REPAIRABLE.iter().filter(|(what, ..)| MANY_STEPS.contains(what)).collect();
            // The table last: it is looked into for the others.
            damages.sort_by_key(|(what, ..)| what.starts_with("layers.json"));
            for (what, _, inflict) in damages {
                eprintln!("--- {what}, killed at {point}");
                patient.damage(*inflict);
            }
            // Each time it comes a step further, but never with the locks alone.
            let mut kills = 0;
            let repair = || patient.sandbox.coracle(["system", "check", "--repair"]);
            while repair().env("CORACLE_FAILPOINT", point).run().exit_code() == 137 {
                kills += 1;
                assert!(kills < 100, "{point}: it never ends");
                if point == "check.locked" {
                    break;
                }
            }
            repair().ok();
            patient.is_well(point);
            seen += kills;
        }
        assert!(seen > 10, "{seen} kills");
    }
}

#[test]
fn our_own_records_are_removed_only_when_asked_for() {
    for sandbox in require!(Sandbox::both()) {
        let patient = Patient::new(sandbox);
        let sandbox = &patient.sandbox;
        sandbox.coracle(["network", "create", "lan"]).ok();
        sandbox.coracle(["create", "--name", "broken", "lab/busybox", "true"]).ok();
        let broken = sandbox.coracle(["inspect", "-f", "{{.Id}}", "broken"]).ok().text().to_owned();
        patient.damage(|p| {
            truncate(&p.sandbox.path("net/lan.json"));
            let broken = fs::read_link(p.path("coracle/names/broken")).unwrap();
            let broken = broken.file_name().unwrap().to_owned();
            truncate(&p.path("coracle/containers").join(broken).join("spec.json"));
        });
        for flags in [&[][..], &["--repair"]] {
            let found = sandbox.coracle(["system", "check"]).args(flags.iter().copied()).fails(125);
            found
                .stdout_has("lan.json is no network definition that can be read")
                .stdout_has("make the network again")
                .stdout_has(&format!("container {broken}"))
                .stdout_has("has a spec.json that cannot be read");
        }
        assert!(patient.sandbox.path("net/lan.json").exists());
        let forced = sandbox.coracle(["system", "check", "--force"]).ok();
        forced.stdout_has(&format!("Deleted damaged container: {broken}"));
        assert!(!patient.sandbox.path("net/lan.json").exists());
        let aside = fs::read_dir(patient.path("coracle/damaged")).unwrap().flatten();
        assert!(aside.map(|e| e.file_name().into_string().unwrap()).any(|name| name.contains("lan.json")));
        sandbox.coracle(["network", "create", "lan"]).ok();
        sandbox.coracle(["network", "rm", "lan"]).ok();
        sandbox.coracle(["container", "exists", "broken"]).fails(1);
        patient.is_well("records");
    }
}

#[test]
fn stores_of_others_are_looked_at_and_left_alone() {
    let theirs = require!(Sandbox::root());
    theirs.pull("lab/multi");
    let patient = Patient::new(require!(Sandbox::root()));
    let conf = patient.sandbox.read("conf/storage.conf")
        + &format!("\n[storage.options]\nadditionalimagestores = [{:?}]\n", theirs.graph_root());
    patient.sandbox.write("conf/storage.conf", conf);
    patient.sandbox.coracle(["system", "check"]).ok().stdout_is("");
    let table = theirs.graph_root().join(LAYERS);
    let before = fs::read(&table).unwrap();
    let layers: Vec<Value> = serde_json::from_slice(&before).unwrap();
    let own = patient.table(LAYERS);
    // One that is not here as well.
    let foreign = json!({"id": "9a".repeat(32), "created": "2024-01-01T00:00:00Z"});
    let with = [&layers[..], &[foreign]].concat();
    fs::write(&table, serde_json::to_vec(&with).unwrap()).unwrap();
    let named = "9a".repeat(32);
    for flags in [&[][..], &["--repair"], &["--force"]] {
        // It is said, but nothing that could be done here.
        let found = patient.sandbox.coracle(["system", "check"]).args(flags.iter().copied()).ok();
        found.stdout_has("read-only").stdout_has(&named).stdout_has("has no directory");
        assert_eq!(fs::read(&table).unwrap(), serde_json::to_vec(&with).unwrap());
    }
    assert_eq!(patient.table(LAYERS), own);
    fs::write(&table, &before[..before.len() / 2]).unwrap();
    patient.check().stdout_has("read-only").stdout_has("layers.json is damaged");
    fs::write(&table, before).unwrap();
    patient.is_well("their store");
}

#[test]
fn records_that_nobody_has_kept_are_made_from_what_is_on_disk() {
    for sandbox in require!(Sandbox::both()) {
        let patient = Patient::new(sandbox);
        let digest = |name: &str| {
            patient.sandbox.coracle(["image", "inspect", "-f", "{{.Digest}}", name]).ok().text().to_owned()
        };
        let before = digest("lab/multi");
        let image = id(&patient.image("lab/multi"));
        let committed = id(&patient.image("committed"));
        let busybox = id(&patient.image("lab/busybox"));
        for table in [LAYERS, IMAGES, CONTAINERS] {
            fs::remove_file(patient.path(table)).unwrap();
        }
        fs::remove_dir_all(patient.path("coracle/kept")).unwrap();
        patient.check().code(125);
        patient.sandbox.coracle(["system", "check", "-r"]).ok();
        for (id, name) in
            [(&image, "lab/multi"), (&committed, "localhost/committed:1"), (&busybox, "lab/busybox")]
        {
            patient.sandbox.coracle(["tag", id, name]).ok();
        }
        assert_eq!(digest(&image), before);
        patient.is_well("all tables gone");
        patient.sandbox.coracle(["rm", "c"]).ok();
    }
}

#[test]
fn what_is_lost_is_named_and_removed_only_when_asked_for() {
    for sandbox in require!(Sandbox::both()) {
        for image in ["lab/busybox", "lab/multi"] {
            sandbox.pull(image);
        }
        let patient = Patient { sandbox };
        for (what, words, inflict) in LOST {
            eprintln!("--- {what}");
            patient.sandbox.coracle(["create", "--name", "c", "lab/multi", "true"]).ok();
            patient.sandbox.coracle(["create", "--name", "other", "lab/busybox", "true"]).ok();
            let (image, container) = (
                id(&patient.image("lab/multi")),
                patient.sandbox.coracle(["inspect", "-f", "{{.Id}}", "c"]).ok().text().to_owned(),
            );
            patient.damage(*inflict);
            let found = patient.check().code(125).stdout_has(words).stdout_has(&image).stdout_has(&container);
            found.stdout_has("Pull again: docker.io/lab/multi:latest").stdout_lacks("busybox");
            let kept = patient.sandbox.coracle(["system", "check", "--repair"]).fails(125);
            kept.stdout_has(words).stdout_lacks("Deleted").stderr_has("--force");
            patient.sandbox.coracle(["image", "exists", "lab/multi"]).ok();
            patient.sandbox.coracle(["container", "exists", "c"]).ok();
            let forced = patient.sandbox.coracle(["system", "check", "--force"]).ok();
            forced
                .stdout_has(&format!("Deleted damaged image: {image}"))
                .stdout_has(&format!("Deleted damaged container: {container}"))
                .stdout_has("Pull again: docker.io/lab/multi:latest");
            patient.sandbox.coracle(["system", "check"]).ok().stdout_is("");
            assert_eq!(store::problems(&patient.sandbox), Vec::<String>::new(), "{what}");
            patient.sandbox.coracle(["start", "-a", "other"]).ok();
            patient.sandbox.pull("lab/multi");
            patient.sandbox.coracle(["run", "--rm", "--network=none", "lab/multi", "true"]).ok();
            if let Ok(podman) = patient.sandbox.podman(["images", "-q"]) {
                assert_eq!(podman.ok().lines().len(), 2, "{what}");
            }
            patient.sandbox.coracle(["rm", "other"]).ok();
        }
    }
}
