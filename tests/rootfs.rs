//! `--rootfs`: a directory instead of an image, as it is or under an overlay.

use std::fs;
use std::time::Duration;

use crate::support::{Missing, Sandbox, eventually, require};

/// Sandboxes with busybox's files, and one to be seen, in the directory `work/tree`.
fn both() -> Result<Vec<Sandbox>, Missing> {
    let sandboxes = Sandbox::both()?;
    for sandbox in &sandboxes {
        sandbox.pull("lab/busybox");
        sandbox.mkdir("work/tree");
        sandbox.coracle(["create", "--name=files", "--network=none", "lab/busybox"]).ok();
        sandbox.coracle(["export", "-o", "tree.tar", "files"]).ok();
        sandbox.command(["tar", "-xf", "tree.tar", "-C", "tree"]).ok();
        sandbox.coracle(["rm", "files"]).ok();
        sandbox.write("work/tree/seen", "before");
    }
    Ok(sandboxes)
}

#[test]
fn a_directory_is_the_root() {
    for sandbox in require!(both()) {
        let run = ["run", "--name=c", "--network=none", "--rootfs", "tree", "sh", "-c"];
        sandbox.coracle(run.iter().copied().chain(["cat seen; echo after >seen; echo x >/new"])).ok();
        assert_eq!(fs::read_to_string(sandbox.path("work/tree/seen")).unwrap(), "after\n");
        assert!(sandbox.path("work/tree/new").exists());
        sandbox.coracle(["cp", "c:/seen", "-"]).ok().stdout_has("after");
        sandbox.coracle(["commit", "c", "x"]).fails(1);
        sandbox.coracle(["rm", "c"]).ok();
        assert!(sandbox.path("work/tree/new").exists(), "the directory is the user's");
        sandbox.coracle(["run", "--rm", "--network=none", "--rootfs", "nowhere", "true"]).fails(125);
        sandbox
            .coracle(["run", "--rm", "--network=none", "--rootfs", "tree:idmap", "true"])
            .fails(125)
            .stderr_has("is not supported");
    }
}

#[test]
fn a_directory_under_an_overlay_stays_as_it_is() {
    for sandbox in require!(both()) {
        let script = "cat /seen; test ! -e /new; echo after >/seen; rm /bin/ls; echo x >/new; exec sleep 100";
        let run = ["run", "-d", "--name=c", "--network=none", "--rootfs", "tree:O", "sh", "-ec", script];
        sandbox.coracle(run).ok();
        for _ in 0..2 {
            let begun = || sandbox.coracle(["exec", "c", "test", "-e", "/new"]).run().exit_code() == 0;
            eventually("it has begun", Duration::from_secs(20), || begun().then_some(()));
            sandbox.coracle(["exec", "c", "cat", "/seen", "/new"]).ok().stdout_is("after\nx");
            sandbox.coracle(["exec", "c", "ls"]).fails(127);
            sandbox.coracle(["cp", "c:/seen", "-"]).ok().stdout_has("after");
            sandbox.coracle(["export", "-o", "changed.tar", "c"]).ok();
            sandbox.command(["tar", "-xOf", "changed.tar", "seen"]).ok().stdout_is("after");
            sandbox.command(["tar", "-tf", "changed.tar", "bin/ls"]).fails(2);
            assert_eq!(fs::read_to_string(sandbox.path("work/tree/seen")).unwrap(), "before");
            assert!(!sandbox.path("work/tree/new").exists());
            // A new run begins with the directory.
            sandbox.coracle(["restart", "-t=0", "c"]).ok();
        }
        sandbox.coracle(["stop", "-t=0", "c"]).ok();
        sandbox.coracle(["cp", "c:/seen", "-"]).ok().stdout_has("before");
        sandbox.coracle(["cp", "tree/seen", "c:/put"]).fails(1).stderr_has("is not running");
        assert!(!sandbox.path("work/tree/put").exists());
        sandbox.coracle(["start", "c"]).ok();
        sandbox.coracle(["rm", "-f", "-t=0", "c"]).ok();
        assert!(sandbox.path("work/tree/bin/ls").exists() && !sandbox.path("work/tree/new").exists());
        let once =
            ["run", "--rm", "--network=none", "--rootfs", "tree:O", "sh", "-c", "rm -r /bin; echo gone"];
        sandbox.coracle(once).ok().stdout_is("gone");
        assert!(sandbox.path("work/tree/bin/ls").exists());
    }
}
