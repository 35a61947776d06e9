//! `--storage-opt size=…`: how much may be written into a container's own layer.

use crate::support::{Cmd, Sandbox, require};
use crate::volumes::Limited;

const IMAGE: &str = "lab/busybox";

/// On a store of its own, on a file system with project quotas.
fn on_it(sandbox: &Sandbox, words: &[&str]) -> Cmd {
    let place = |name: &str| sandbox.path("work/limited").join(name).display().to_string();
    sandbox
        .coracle(["--root".to_owned(), place("root"), "--runroot".to_owned(), place("run")])
        .args(words.iter().copied())
}

/// Bytes that get into a file of a new container.
fn written(sandbox: &Sandbox, global: &[&str], flags: &[&str]) -> u64 {
    let script = "dd if=/dev/zero of=/f bs=64k count=128 2>/dev/null; stat -c %s /f";
    let run = [global, &["run", "--rm", "--network=none"], flags, &[IMAGE, "sh", "-c", script]].concat();
    on_it(sandbox, &run).run().text().parse().unwrap()
}

#[test]
fn a_layer_may_have_limits() {
    let sandbox = require!(Sandbox::root());
    let Some(_mounted) = Limited::mount(&sandbox) else {
        return crate::support::elsewhere("project quotas of ext4 in its kernel");
    };
    sandbox.registry().provide(IMAGE);
    on_it(&sandbox, &["pull", "-q", IMAGE]).ok();
    const ALL: u64 = 8 << 20;
    let about_four = (3 << 20)..=(4 << 20);
    assert_eq!(written(&sandbox, &[], &[]), ALL);
    assert!(about_four.contains(&written(&sandbox, &[], &["--storage-opt=size=4m"])));
    assert!(about_four.contains(&written(&sandbox, &["--storage-opt=overlay.size=4m"], &[])));
    // What was asked for the container counts.
    let asked = written(&sandbox, &["--storage-opt=overlay.size=2m"], &["--storage-opt=size=4m"]);
    assert!(about_four.contains(&asked));
    let many = "for i in $(seq 60); do touch /$i || break; done 2>/dev/null; ls / | grep -c '^[0-9]'";
    let few = ["run", "--rm", "--network=none", "--storage-opt=inodes=40", IMAGE, "sh", "-c", many];
    let files: u32 = on_it(&sandbox, &few).run().text().parse().unwrap();
    assert!((10..40).contains(&files), "{files}");
    // It stays, and two do not share.
    for name in ["a", "b"] {
        let create = ["create", "--name", name, "--network=none", "--storage-opt=size=4m", IMAGE, "sh", "-c"];
        let script = "dd if=/dev/zero of=/f bs=64k count=48 && sleep 1000";
        on_it(&sandbox, &[&create[..], &[script]].concat()).ok();
        on_it(&sandbox, &["start", name]).ok();
    }
    let shown = on_it(&sandbox, &["inspect", "--format", "{{json .HostConfig.StorageOpt}}", "a"]).ok();
    assert_eq!(shown.json(), serde_json::json!({"size": "4m"}));
    for name in ["a", "b"] {
        let size = crate::support::eventually("it has written", std::time::Duration::from_secs(10), || {
            let size = on_it(&sandbox, &["exec", name, "stat", "-c", "%s", "/f"]).run();
            size.stdout.trim().parse::<u64>().ok().filter(|size| *size >= 3 << 20)
        });
        assert_eq!(size, 3 << 20);
        on_it(&sandbox, &["restart", "-t0", name]).ok();
    }
    on_it(&sandbox, &["rm", "-ft0", "a", "b"]).ok();
    // What goes leaves its limits to nobody.
    assert_eq!(written(&sandbox, &[], &["--storage-opt=inodes=1000"]), ALL);
}

#[test]
fn where_there_can_be_none_that_is_said() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull(IMAGE);
        let create = |words: &[&str]| {
            sandbox.coracle(words.iter().copied()).args(["create", "--storage-opt=size=1g", IMAGE]).run()
        };
        let refused = create(&[]).code(125);
        let why = if sandbox.uid() == 0 { "has no project quotas" } else { "only root can set quotas" };
        refused.stderr_has(why).stderr_lacks("not supported yet");
        sandbox.coracle(["--storage-opt=overlay.size=1g", "create", IMAGE]).fails(125).stderr_has(why);
        let vfs = sandbox.path("work/vfs").display().to_string();
        let on_vfs = |words: &[&str]| {
            sandbox.coracle(["--storage-driver=vfs", "--root", &vfs]).args(words.iter().copied())
        };
        on_vfs(&["pull", "-q", IMAGE]).ok();
        on_vfs(&["create", "--storage-opt=size=1g", IMAGE]).fails(125).stderr_has("vfs cannot limit");
        on_vfs(&["rmi", IMAGE]).ok();
        sandbox.coracle(["ps", "-aq"]).ok().stdout_is("");
        sandbox
            .coracle(["create", "--storage-opt=fast=1", IMAGE])
            .fails(125)
            .stderr_has("unknown option fast");
    }
}
