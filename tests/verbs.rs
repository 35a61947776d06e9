//! Verbs of podman's that docker does not have: init, clone, runlabel, system reset, migrate, renumber.

use std::fs;
use std::path::Path;

use crate::support::{Missing, Sandbox, require};

const IMAGE: &str = "lab/busybox";

fn both() -> Result<Vec<Sandbox>, Missing> {
    let sandboxes = Sandbox::both()?;
    sandboxes.iter().for_each(|sandbox| sandbox.pull(IMAGE));
    Ok(sandboxes)
}

fn shown(sandbox: &Sandbox, name: &str, format: &str) -> String {
    sandbox.coracle(["inspect", "--format", format, name]).ok().text().to_owned()
}

fn create(sandbox: &Sandbox, name: &str, flags: &[&str], command: &[&str]) {
    let create = sandbox.coracle(["create", "--name", name]).args(flags.iter().copied());
    create.arg(IMAGE).args(command.iter().copied()).ok();
}

#[test]
fn what_is_initialized_only_has_to_be_let_go() {
    for sandbox in require!(both()) {
        create(&sandbox, "c", &["--network=none"], &["sh", "-c", "echo said; exec sleep 1000"]);
        sandbox.coracle(["init", "c"]).ok().stdout_is("c");
        assert_eq!(shown(&sandbox, "c", "{{.State.Status}} {{.State.Running}}"), "initialized false");
        sandbox.coracle(["ps", "-a", "--format", "{{.Status}}"]).ok().stdout_is("Initialized");
        let initialized = ["ps", "-aq", "--filter", "status=initialized", "--format", "{{.Names}}"];
        sandbox.coracle(initialized).ok().stdout_is("c");
        let pid = shown(&sandbox, "c", "{{.State.Pid}}");
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        sandbox.coracle(["wait", "--condition=initialized", "c"]).ok();
        // Nothing of it runs.
        sandbox.coracle(["logs", "c"]).ok().stdout_is("");
        sandbox.coracle(["exec", "c", "true"]).fails(125).stderr_has("running containers");
        sandbox.coracle(["kill", "c"]).fails(1).stderr_has("not running");
        sandbox.coracle(["top", "c"]).fails(1).stderr_has("not running");
        sandbox.coracle(["pause", "c"]).fails(1).stderr_has("not running");
        sandbox.coracle(["attach", "c"]).fails(1).stderr_has("running containers");
        sandbox.coracle(["init", "c"]).fails(1).stderr_has("already been created in runtime");
        sandbox.coracle(["init", "--all"]).ok().stdout_is("");
        sandbox.coracle(["start", "c"]).ok();
        assert_eq!(shown(&sandbox, "c", "{{.State.Status}} {{.State.Pid}}"), format!("running {pid}"));
        crate::support::eventually("it speaks", std::time::Duration::from_secs(10), || {
            (sandbox.coracle(["logs", "c"]).ok().text() == "said").then_some(())
        });
        sandbox.coracle(["init", "c"]).fails(1).stderr_has("already been created in runtime");
        sandbox.coracle(["stop", "-t", "0", "c"]).ok();
        // A second life: attached from the first byte, and its code is told.
        create(&sandbox, "d", &["--network=none"], &["sh", "-c", "echo first; exit 7"]);
        sandbox.coracle(["container", "init", "--latest"]).ok();
        sandbox.coracle(["start", "-a", "d"]).fails(7).stdout_is("first");
        let told = ["events", "--since=1h", "--stream=false", "--filter", "container=d", "--format"];
        let told = sandbox.coracle(told).arg("{{.Action}}").ok();
        assert_eq!(told.lines(), ["create", "init", "attach", "start", "die"]);
    }
}

#[test]
fn what_is_initialized_can_be_given_up() {
    for sandbox in require!(both()) {
        create(&sandbox, "c", &["--network=none", "--restart=always"], &["sleep", "1000"]);
        sandbox.coracle(["init", "c"]).ok();
        sandbox.coracle(["stop", "c"]).ok();
        assert_eq!(shown(&sandbox, "c", "{{.State.Status}} {{.State.Pid}}"), "created 0");
        sandbox.coracle(["init", "c"]).ok();
        sandbox.coracle(["start", "c"]).ok();
        sandbox.coracle(["stop", "-t", "0", "c"]).ok();
        sandbox.coracle(["init", "c"]).ok();
        // Killed behind our back it is what it was, and no policy starts it.
        let pid = shown(&sandbox, "c", "{{.State.Pid}}").parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        let killed = sandbox.command(["kill", "-9", &pid.as_raw_nonzero().to_string()]).run();
        if killed.exit_code() != 0 {
            // As an ordinary user it is in another user namespace.
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        sandbox.coracle(["wait", "c"]).ok().stdout_is("137");
        assert_eq!(shown(&sandbox, "c", "{{.State.Status}} {{.State.Pid}}"), "exited 0");
        sandbox.coracle(["init", "c"]).ok();
        sandbox.coracle(["rm", "c"]).ok();
        create(&sandbox, "c", &["--network=none"], &["sleep", "1000"]);
        sandbox.coracle(["init", "c"]).ok();
        sandbox.coracle(["container", "prune", "-f"]).ok();
        sandbox.coracle(["ps", "-aq"]).ok().stdout_is("");
        // What cannot be started cannot be initialized.
        create(&sandbox, "c", &["--network=none"], &["/no/such/program"]);
        sandbox.coracle(["init", "c"]).fails(1).stderr_has("/no/such/program");
        assert_eq!(shown(&sandbox, "c", "{{.State.Status}}"), "created");
    }
}

#[test]
fn a_clone_is_like_its_original() {
    for sandbox in require!(both()) {
        sandbox.coracle(["volume", "create", "data"]).ok();
        let flags = [
            "--network=none",
            "-e",
            "A=b",
            "-l",
            "team=x",
            "-v",
            "data:/data",
            "--restart=on-failure:3",
            "-m",
            "64m",
        ];
        create(&sandbox, "web", &flags, &["sh", "-c", "echo $A; touch /data/x; sleep 1000"]);
        sandbox.coracle(["rename", "web", "site"]).ok();
        let id = sandbox.coracle(["container", "clone", "site"]).ok().text().to_owned();
        let same = "{{.Config.Env}} {{.Config.Labels}} {{.Path}} {{.Args}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} \
                    {{.HostConfig.RestartPolicy}} {{.Image}} {{range .Mounts}}{{.Name}} {{.Destination}}{{end}}";
        assert_eq!(shown(&sandbox, "site-clone", "{{.Id}}"), id);
        assert_eq!(shown(&sandbox, "site-clone", same), shown(&sandbox, "site", same));
        // Further ones are counted.
        for (original, name) in [("site", "site-clone1"), ("site-clone1", "site-clone2")] {
            let id = sandbox.coracle(["container", "clone", original]).ok().text().to_owned();
            assert_eq!(shown(&sandbox, &id, "{{.Name}}").trim_start_matches('/'), name);
        }
        sandbox.coracle(["container", "clone", "site", "data"]).ok();
        sandbox.coracle(["container", "clone", "--name=data", "site"]).fails(1).stderr_has("already in use");
        sandbox.coracle(["container", "clone", "--name=a", "site", "b"]).fails(1).stderr_has("name it once");
        // Limits of its own; swap follows.
        sandbox.coracle(["container", "clone", "-m", "256m", "--cpus=0.5", "site", "big"]).ok();
        let limits = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}}";
        assert_eq!(shown(&sandbox, "big", limits), "268435456 536870912 500000000");
        // Another image, the same command.
        sandbox.coracle(["tag", IMAGE, "other"]).ok();
        sandbox.coracle(["container", "clone", "site", "moved", "other"]).ok();
        assert_eq!(shown(&sandbox, "moved", "{{.Config.Image}}"), "localhost/other:latest");
        sandbox.coracle(["container", "clone", "site", "none", "no/such"]).fails(1);
        sandbox.coracle(["container", "clone", "nobody"]).fails(1).stderr_has("no such container");
        sandbox.coracle(["container", "clone", "--pod=p", "site"]).fails(1).stderr_has("pods");
        sandbox.coracle(["container", "clone", "--force", "site"]).fails(1).stderr_has("--destroy");
    }
}

#[test]
fn a_clone_may_take_its_originals_place() {
    for sandbox in require!(both()) {
        let run = ["run", "-d", "--name", "c", "--network=none", IMAGE, "sleep", "1000"];
        sandbox.coracle(run).ok();
        sandbox.coracle(["container", "clone", "--destroy", "c"]).fails(1).stderr_has("rm -f c");
        sandbox.coracle(["ps", "-a", "--format", "{{.Names}}"]).ok().stdout_is("c");
        let id = sandbox.coracle(["container", "clone", "--destroy", "-f", "--run", "c", "d"]).ok();
        sandbox
            .coracle(["ps", "--no-trunc", "--format", "{{.Names}} {{.ID}}"])
            .ok()
            .stdout_is(&format!("d {}", id.text()));
        // One with --rm goes when it ends, as its original would.
        sandbox.coracle(["run", "-d", "--rm", "--name", "r", "--network=none", IMAGE, "sleep", "1000"]).ok();
        sandbox.coracle(["container", "clone", "--run", "r"]).ok();
        sandbox.coracle(["stop", "-t", "0", "r", "r-clone", "d"]).ok();
        sandbox.coracle(["ps", "-a", "--format", "{{.Names}}"]).ok().stdout_is("d");
    }
}

#[test]
fn networks_are_cloned_as_they_are_now() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull(IMAGE);
    for name in ["one", "two"] {
        sandbox.coracle(["network", "create", name]).ok();
    }
    create(&sandbox, "c", &["--network=one"], &["sleep", "1000"]);
    sandbox.coracle(["network", "connect", "two", "c"]).ok();
    sandbox.coracle(["network", "disconnect", "one", "c"]).ok();
    sandbox.coracle(["container", "clone", "c"]).ok();
    let networks = "{{range $name, $n := .NetworkSettings.Networks}}{{$name}}{{end}}";
    assert_eq!(shown(&sandbox, "c-clone", networks), "two");
}

#[test]
fn a_label_says_how_to_run_an_image() {
    for sandbox in require!(both()) {
        create(&sandbox, "base", &["--network=none"], &["true"]);
        let run = "LABEL RUN=\"podman run --name NAME --network=none -e N=\\$NAME \\${OPT1} IMAGE echo ran\"";
        let evil = "LABEL EVIL=\"touch /tmp/coracle-was-here\"";
        sandbox
            .coracle(["commit", "-q", "--change", run, "--change", evil, "base", "localhost/team/app:2"])
            .ok();
        let label = ["container", "runlabel"];
        let image = "localhost/team/app:2";
        sandbox.coracle(label).args(["--display", "run", image, "more"]).env("OPT1", "--rm").ok().stdout_has(
            "coracle run --name app --network=none -e N=app --rm localhost/team/app:2 echo ran more",
        );
        sandbox
            .coracle(label)
            .args(["run", image, "and", "more"])
            .env("OPT1", "--init=false")
            .ok()
            .stdout_is("ran and more");
        assert_eq!(shown(&sandbox, "app", "{{.Config.Image}}"), image);
        sandbox.coracle(label).args(["run", image]).env("OPT1", "-q").fails(125).stderr_has("already in use");
        sandbox.coracle(label).args(["--replace", "run", image]).env("OPT1", "-q").ok().stdout_is("ran");
        sandbox.coracle(label).args(["-n", "mine", "-q", "RUN", image]).env("OPT1", "-q").ok().stdout_is("");
        assert_eq!(shown(&sandbox, "mine", "{{.State.ExitCode}}"), "0");
        sandbox.coracle(label).args(["evil", image]).fails(1).stderr_has("not done for an image");
        assert!(!Path::new("/tmp/coracle-was-here").exists());
        sandbox
            .coracle(label)
            .args(["install", image])
            .fails(1)
            .stderr_has("cannot find the value of label: install");
        sandbox.coracle(["image", "exists", IMAGE]).ok();
    }
}

#[test]
fn a_reset_leaves_nothing_but_what_others_use() {
    for sandbox in require!(both()) {
        let registry = sandbox.registry();
        registry.provide("lab/multi");
        sandbox.coracle(["pull", "-q", "lab/multi"]).ok();
        sandbox
            .coracle(["run", "-d", "--name", "c", "--network=none", "-v", "v:/v", IMAGE, "sleep", "1000"])
            .ok();
        create(&sandbox, "d", &["--network=none"], &["true"]);
        sandbox.coracle(["network", "create", "n"]).ok();
        sandbox.coracle(["secret", "create", "s", "-"]).stdin("x").ok();
        sandbox.coracle(["artifact", "add", "localhost/files", "/etc/hostname"]).ok();
        let theirs = sandbox.podman(["create", "--name", "theirs", "lab/multi", "true"]);
        let theirs = theirs.ok().map(|podman| podman.ok());
        sandbox.coracle(["system", "reset"]).stdin("n\n").ok().stdout_has("WARNING! This will remove");
        sandbox.coracle(["inspect", "c"]).ok();
        let said = sandbox.coracle(["system", "reset", "--force"]).ok();
        for part in ["Removed: 2 containers", "1 volumes, 1 networks, 1 secrets, 1 artifacts"] {
            assert!(said.stdout.contains(part), "{said}");
        }
        for list in
            [&["ps", "-aq"][..], &["volume", "ls", "-q"], &["secret", "ls", "-q"], &["artifact", "ls", "-n"]]
        {
            sandbox.coracle(list.iter().copied()).ok().stdout_is("");
        }
        let left = sandbox.coracle(["images", "--format", "{{.Repository}}"]).ok();
        if theirs.is_some() {
            assert!(said.stdout.contains("Kept: container theirs of another tool, and its image"), "{said}");
            assert_eq!(left.lines().len(), 1, "{left}");
            left.stdout_has("lab/multi");
            sandbox.podman(["start", "-a", "theirs"]).unwrap().ok();
            sandbox.podman(["rm", "theirs"]).unwrap().ok();
            sandbox.coracle(["system", "reset", "-f"]).ok().stdout_has("Removed: 1 images");
        } else {
            left.stdout_is("");
        }
        sandbox.coracle(["system", "reset", "-f"]).ok().stdout_is("Nothing was there to be removed");
        let layers = sandbox.graph_root().join("overlay");
        let left = fs::read_dir(layers).unwrap().flatten().filter(|e| e.file_name().len() == 64).count();
        assert_eq!(left, 0);
        // And everything works again.
        sandbox.pull(IMAGE);
        sandbox.coracle(["run", "--rm", "--network=none", IMAGE, "true"]).ok();
    }
}

#[test]
fn a_reset_that_was_killed_is_repeated() {
    for sandbox in require!(both()) {
        for point in ["reset.after-containers", "reset.after-images"] {
            sandbox.pull(IMAGE);
            sandbox.coracle(["run", "-d", "--network=none", "-v", "v:/v", IMAGE, "sleep", "1000"]).ok();
            sandbox.coracle(["system", "reset", "-f"]).env("CORACLE_FAILPOINT", point).fails(137);
            sandbox.coracle(["ps", "-aq"]).ok().stdout_is("");
            sandbox.coracle(["system", "reset", "-f"]).ok().stdout_has("1 volumes");
            sandbox.coracle(["images", "-aq"]).ok().stdout_is("");
            sandbox.coracle(["volume", "ls", "-q"]).ok().stdout_is("");
        }
    }
}

#[test]
fn there_is_nothing_to_migrate_but_a_runtime() {
    for sandbox in require!(both()) {
        sandbox.coracle(["system", "renumber"]).ok().stdout_has("Nothing to renumber");
        sandbox.coracle(["system", "migrate"]).ok().stdout_has("Nothing to migrate");
        create(&sandbox, "c", &["--network=none"], &["true"]);
        let runtime = crate::support::program("runc").or_else(|_| crate::support::program("crun"));
        let Ok(runtime) = runtime else { return crate::support::elsewhere("a runtime") };
        let runtime = runtime.display().to_string();
        sandbox
            .coracle(["system", "migrate", "--new-runtime", "/no/such/runtime"])
            .fails(1)
            .stderr_has("not installed");
        sandbox.coracle(["system", "migrate", "--new-runtime", &runtime]).ok().stdout_is("c");
        sandbox.coracle(["system", "migrate", "--new-runtime", &runtime]).ok().stdout_is("");
        assert!(runtime.ends_with(&shown(&sandbox, "c", "{{.OCIRuntime}}")));
        sandbox.coracle(["start", "-a", "c"]).ok();
    }
}
