//! One store, several engines: podman, buildah and skopeo judge what Coracle writes, and it reads what they write.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Sandbox, Who, digest, require};

const IMAGES: [&str; 4] = ["lab/busybox", "lab/multi", "lab/config", "lab/compressions"];

/// Everything stat(1) says of what the layers of lab/multi made.
const LOOK: &str = "cd / && find bin whiteout opaque hard modes links special long becomes-file becomes-dir \
                    overwritten -exec stat -c '%n|%a|%u|%g|%F|%s|%Y|%N|%t:%T' {} + | sort; \
                    cat opaque/* whiteout/* overwritten becomes-dir/inside; \
                    md5sum special/big | cut -d' ' -f1";

#[test]
fn podman_understands_what_was_pulled() {
    for sandbox in require!(Sandbox::both()) {
        for name in IMAGES {
            sandbox.pull(name);
            let own = sandbox.coracle(["image", "inspect", name]).ok().json()[0].clone();
            let foreign = require!(sandbox.podman(["image", "inspect", name])).ok().json()[0].clone();
            for field in ["Id", "Digest", "Architecture", "Os", "Size"] {
                assert_eq!(own[field], foreign[field], "{field} of {name}\n{own:#}\n{foreign:#}");
            }
            assert_eq!(own["RootFS"]["Layers"], foreign["RootFS"]["Layers"]);
            let digest = sandbox.registry().digest(name, "latest").unwrap();
            assert_eq!(foreign["Digest"], *digest);
        }
        let listed = require!(sandbox.podman(["images", "--format", "{{.Repository}}"])).ok();
        let mut listed = listed.lines().iter().map(|name| name.replace("docker.io/", "")).collect::<Vec<_>>();
        listed.sort();
        let mut expected = IMAGES.map(String::from).to_vec();
        expected.sort();
        assert_eq!(listed, expected);
    }
}

#[test]
fn skopeo_copies_the_same_bytes_out() {
    for sandbox in require!(Sandbox::both()) {
        for name in IMAGES {
            sandbox.pull(name);
            let target = sandbox.path(format!("work/{}", name.replace('/', "-")));
            let source = sandbox.storage_reference(&format!("docker.io/{name}:latest"));
            let copy =
                require!(sandbox.skopeo(["copy", "-q", &source])).arg(format!("dir:{}", target.display()));
            copy.ok();
            let manifest: serde_json::Value =
                serde_json::from_slice(&fs::read(target.join("manifest.json")).unwrap()).unwrap();
            let config = manifest["config"]["digest"].as_str().unwrap();
            let own = sandbox.coracle(["image", "inspect", name]).ok().json()[0].clone();
            assert_eq!(
                config.strip_prefix("sha256:"),
                own["Id"].as_str().map(|id| id.trim_start_matches("sha256:"))
            );
            // From a store, layers come uncompressed: their digests are those of the archives that were pulled.
            let layers: Vec<_> =
                manifest["layers"].as_array().unwrap().iter().map(|one| &one["digest"]).collect();
            let diff_ids: Vec<_> = own["RootFS"]["Layers"].as_array().unwrap().iter().collect();
            assert_eq!(layers, diff_ids, "{name}");
            for layer in layers {
                let layer = layer.as_str().unwrap();
                let bytes = fs::read(target.join(layer.strip_prefix("sha256:").unwrap())).unwrap();
                assert_eq!(digest(&bytes), layer);
            }
        }
    }
}

#[test]
fn podman_and_buildah_work_on_what_was_pulled() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/multi");
        let run = ["run", "--rm", "--network=none", "lab/multi", "sh", "-c", LOOK];
        let seen = require!(sandbox.podman(run)).ok();
        assert!(seen.lines().len() > 30, "{seen}");
        assert_eq!(sandbox.coracle(run).ok().stdout, seen.stdout);

        let name = require!(sandbox.buildah(["from", "--pull-never", "lab/multi"])).ok();
        let name = name.text().lines().last().unwrap();
        // What buildah works on is in use.
        sandbox.coracle(["rmi", "lab/multi"]).run().stderr_has("in use");
        require!(sandbox.buildah(["commit", "-q", name, "localhost/built"])).ok();
        require!(sandbox.buildah(["rm", name])).ok();
        sandbox.coracle(["run", "--rm", "localhost/built", "cat", "overwritten"]).ok().stdout_is("new");
        sandbox.coracle(["rmi", "localhost/built", "lab/multi"]).ok();
        require!(sandbox.podman(["images", "-aq"])).ok().stdout_is("");
    }
}

#[test]
fn what_podman_pulled_runs() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.registry().provide("lab/multi");
        require!(sandbox.podman(["pull", "-q", "lab/multi"])).ok();
        sandbox.coracle(["images", "--format", "{{.Repository}}"]).ok().stdout_has("lab/multi");
        let run = ["run", "--rm", "--network=none", "lab/multi", "sh", "-c", LOOK];
        let seen = require!(sandbox.podman(run)).ok();
        assert_eq!(sandbox.coracle(run).ok().stdout, seen.stdout);
        // Pulling it again fetches nothing and changes nothing.
        let before = sandbox.coracle(["images", "-q", "--no-trunc"]).ok();
        sandbox.coracle(["pull", "-q", "lab/multi"]).ok();
        assert_eq!(sandbox.coracle(["images", "-q", "--no-trunc"]).ok().stdout, before.stdout);
        sandbox.coracle(["rmi", "lab/multi"]).ok();
        require!(sandbox.podman(["images", "-aq"])).ok().stdout_is("");
    }
}

#[test]
fn nobody_removes_an_image_that_the_other_uses() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        sandbox.coracle(["create", "--name", "own", "--network=none", "lab/busybox", "true"]).ok();
        assert_ne!(require!(sandbox.podman(["rmi", "lab/busybox"])).run().exit_code(), 0);
        sandbox.coracle(["start", "-a", "own"]).ok();
        // By force podman takes the containers of others with the image; what is left of ours can be removed.
        require!(sandbox.podman(["rmi", "-f", "lab/busybox"])).run();
        sandbox.coracle(["ps", "-a"]).ok();
        sandbox.coracle(["rm", "own"]).ok();
        sandbox.pull("lab/busybox");
        require!(sandbox.podman(["create", "--name", "foreign", "--network=none", "lab/busybox", "true"]))
            .ok();
        assert_ne!(sandbox.coracle(["rmi", "lab/busybox"]).run().exit_code(), 0);
        require!(sandbox.podman(["start", "-a", "foreign"])).ok();
        require!(sandbox.podman(["rm", "foreign"])).ok();
        sandbox.coracle(["rmi", "lab/busybox"]).ok();
    }
}

/// Both engines pull, run and remove in the same store at the same time. An image may be gone when one of them
/// comes to it, because the other removed it; nothing else may go wrong, and in the end all fits together.
///
/// A podman before 4.4 does not read the volatile records in which containers with `--rm` stand (containers/storage
/// 1.45 brought them), so it removes an image under one: beside it, our containers are removed by a second command.
#[test]
fn everybody_at_once() {
    let long = std::env::var_os("CI").is_some();
    for sandbox in require!(Sandbox::both()) {
        require!(sandbox.podman(["--version"]));
        let names = ["lab/busybox", "lab/multi", "lab/tags"];
        for name in names {
            sandbox.registry().provide(name);
        }
        // Stays the whole time: nobody may lose it.
        sandbox.pull("lab/config");
        let end = Instant::now() + Duration::from_secs(if long { 60 } else { 8 });
        let failed = AtomicBool::new(false);
        let sandbox = &sandbox;
        let volatile = podman_reads_volatile_records(sandbox);
        let work = |who: usize, own: bool| {
            let mut turn = who;
            let mut done = 0;
            while Instant::now() < end && !failed.load(Ordering::Relaxed) {
                let name = names[turn % names.len()];
                let fleeting = format!("fleeting-{who}");
                let run: Vec<Vec<&str>> = match own && !volatile {
                    false => vec![vec!["run", "--rm", "--network=none", name, "true"]],
                    true => vec![
                        vec!["run", "--network=none", "--name", &fleeting, name, "true"],
                        vec!["rm", "-f", "--ignore", &fleeting],
                    ],
                };
                let mut commands = vec![vec!["pull", "-q", name]];
                commands.extend(run.clone());
                commands.push(vec!["images", "-q"]);
                match turn.is_multiple_of(2) {
                    true => commands.push(vec!["rmi", name]),
                    false => commands.extend(run),
                }
                for argv in commands {
                    let command = if own {
                        sandbox.coracle(argv.iter().copied())
                    } else {
                        sandbox.podman(argv.iter().copied()).unwrap()
                    };
                    let outcome = command.run();
                    if outcome.exit_code() != 0 && !excusable(&outcome.stderr) {
                        failed.store(true, Ordering::Relaxed);
                        panic!("{outcome}");
                    }
                    done += usize::from(outcome.exit_code() == 0);
                }
                turn += 1;
            }
            done
        };
        let done: Vec<usize> = std::thread::scope(|scope| {
            let workers: Vec<_> = [(0, true), (1, true), (2, false), (3, false)]
                .map(|(who, own)| scope.spawn(move || work(who, own)))
                .into_iter()
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap_or(0)).collect()
        });
        assert!(done.iter().all(|done| *done > 0), "{done:?}");
        sandbox.coracle(["run", "--rm", "--entrypoint", "true", "lab/config"]).ok();
        require!(sandbox.podman(["image", "exists", "lab/config"])).ok();
        let left = sandbox.leaks();
        assert!(left.is_empty(), "{}: {left:#?}", if sandbox.who == Who::Root { "root" } else { "user" });
    }
}

/// Whether this podman knows `volatile-containers.json`: 4.4 and later.
fn podman_reads_volatile_records(sandbox: &Sandbox) -> bool {
    let said = sandbox.podman(["--version"]).map(|command| command.ok().stdout).unwrap_or_default();
    let version = said.split_whitespace().last().unwrap_or_default();
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(4), Some(4))
}

/// The ways in which one engine may notice that the other was quicker.
fn excusable(stderr: &str) -> bool {
    let stderr = stderr.to_lowercase();
    [
        "no such image",
        "image not known",
        "in use",
        "is used by",
        "not known",
        "does not exist",
        "being used",
        "layer not known",
        // podman 4.3 of an image whose last name went between two of its looks: it reads the bare ID as a name.
        "parsing named reference",
        // podman finishes a pull of an image that was removed meanwhile.
        "identifier is not a layer, image, or container",
    ]
    .iter()
    .any(|phrase| stderr.contains(phrase))
}
