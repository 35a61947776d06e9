//! Volumes: by name, of images, taken from other containers; what is in them, and who may remove them.

use crate::support::{Entry, Image, Layer, Sandbox, Tarball, busybox_entries, require};
use serde_json::json;

fn run(sandbox: &Sandbox, words: &[&str]) -> crate::support::Cmd {
    sandbox.coracle(["run", "--rm", "--network=none"]).args(words.iter().copied())
}

#[test]
fn a_named_volume_is_made_kept_and_shared() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        run(&sandbox, &["-v", "data:/d", "lab/busybox", "sh", "-c", "echo one > /d/file"]).ok();
        sandbox.coracle(["volume", "ls", "-q"]).ok().stdout_is("data");
        run(&sandbox, &["-v", "data:/d:ro", "lab/busybox", "cat", "/d/file"]).ok().stdout_is("one");
        run(&sandbox, &["-v", "data:/d:ro", "lab/busybox", "touch", "/d/x"]).fails(1);
        let mount = "type=volume,src=data,dst=/d";
        run(&sandbox, &["--mount", mount, "lab/busybox", "cat", "/d/file"]).ok().stdout_is("one");
        // Two at once see the same files.
        sandbox
            .coracle([
                "run",
                "-d",
                "--network=none",
                "--name",
                "a",
                "-v",
                "data:/d",
                "lab/busybox",
                "sleep",
                "100",
            ])
            .ok();
        run(&sandbox, &["-v", "data:/d", "lab/busybox", "sh", "-c", "echo two > /d/file"]).ok();
        sandbox.coracle(["exec", "a", "cat", "/d/file"]).ok().stdout_is("two");
        let mounts = sandbox.coracle(["inspect", "a", "--format", "{{json .Mounts}}"]).ok().json();
        assert_eq!((mounts[0]["Type"].as_str(), mounts[0]["Name"].as_str()), (Some("volume"), Some("data")));
        // Who has it keeps it, running or not.
        sandbox.coracle(["volume", "rm", "data"]).fails(1).stderr_has("volume is being used");
        sandbox.coracle(["kill", "a"]).ok();
        sandbox.coracle(["volume", "rm", "-f", "data"]).fails(1).stderr_has("in use by container a");
        sandbox.coracle(["volume", "prune", "-af"]).ok().stdout_is("Total reclaimed space: 0B");
        sandbox.coracle(["rm", "-v", "a"]).ok();
        sandbox.coracle(["volume", "ls", "-q"]).ok().stdout_is("data");
        sandbox.coracle(["volume", "rm", "data"]).ok().stdout_is("data");
        sandbox.coracle(["volume", "rm", "data"]).fails(1).stderr_has("no such volume: data");
        sandbox.coracle(["volume", "rm", "-f", "data"]).ok();
        sandbox.coracle(["volume", "exists", "data"]).fails(1);
    }
}

#[test]
fn a_new_volume_is_filled_from_the_image_and_a_used_one_never() {
    for sandbox in require!(Sandbox::both()) {
        let mut entries = busybox_entries();
        entries.extend([Entry::dir("conf"), Entry::file("conf/default", "from image")]);
        let image = Image::new([Layer::of(entries)], json!({"Volumes": {"/conf": {}}}));
        sandbox.registry().push("lab/conf", "latest", &image);
        sandbox.coracle(["pull", "-q", "lab/conf"]).ok();
        sandbox.coracle(["volume", "create", "c"]).ok().stdout_is("c");
        run(&sandbox, &["-v", "c:/conf", "lab/conf", "cat", "/conf/default"]).ok().stdout_is("from image");
        run(&sandbox, &["-v", "c:/conf", "lab/conf", "rm", "/conf/default"]).ok();
        run(&sandbox, &["-v", "c:/conf", "lab/conf", "ls", "/conf"]).ok().stdout_is("");
        run(&sandbox, &["-v", "n:/conf:nocopy", "lab/conf", "ls", "/conf"]).ok().stdout_is("");
        // Files that the user put there before stay.
        sandbox.coracle(["volume", "create", "mine"]).ok();
        let tar = Tarball::of([Entry::file("own", "mine")]).finish();
        sandbox.coracle(["volume", "import", "mine", "-"]).stdin(tar).ok();
        run(&sandbox, &["-v", "mine:/conf", "lab/conf", "ls", "/conf"]).ok().stdout_is("own");
        // Anonymous ones go with `--rm` and `rm -v`, and are kept by `rm`.
        run(&sandbox, &["lab/conf", "true"]).ok();
        for name in ["a", "b"] {
            sandbox
                .coracle(["create", "--network=none", "--name", name, "lab/conf", "cat", "/conf/default"])
                .ok();
        }
        assert_eq!(sandbox.coracle(["volume", "ls", "-q"]).ok().lines().len(), 5);
        // `b` has those of `a`: they stay until it goes, too.
        sandbox
            .coracle(["create", "--network=none", "--name", "shares", "--volumes-from", "a:ro", "lab/conf"])
            .args(["cat", "/conf/default"])
            .ok();
        sandbox.coracle(["start", "-a", "shares"]).ok().stdout_is("from image");
        sandbox.coracle(["rm", "-v", "a"]).ok();
        sandbox.coracle(["start", "-a", "shares"]).ok().stdout_is("from image");
        sandbox.coracle(["rm", "-v", "shares"]).ok();
        sandbox.coracle(["rm", "b"]).ok();
        assert_eq!(sandbox.coracle(["volume", "ls", "-q"]).ok().lines().len(), 4);
        // docker's prune takes those without a name.
        sandbox.coracle(["volume", "prune", "-f"]).ok().stdout_has("Deleted Volumes:");
        assert_eq!(sandbox.coracle(["volume", "ls", "-q"]).ok().lines(), ["c", "mine", "n"]);
        sandbox.coracle(["volume", "prune", "-f", "--all"]).ok();
        sandbox.coracle(["volume", "ls", "-q"]).ok().stdout_is("");
    }
}

#[test]
fn listing_and_inspect_have_the_fields_of_both() {
    let sandbox = require!(Sandbox::user());
    let create = ["volume", "create", "--label", "a=b", "-o", "o=uid=7,gid=8", "data"];
    sandbox.coracle(create).ok().stdout_is("data");
    // Once more is no error, as with docker; with other options it is.
    sandbox.coracle(create).ok().stdout_is("data");
    sandbox.coracle(["volume", "create", "data"]).fails(1).stderr_has("already exists");
    sandbox.coracle(["volume", "create", "other"]).ok();
    sandbox
        .coracle(["volume", "ls"])
        .ok()
        .stdout_is("DRIVER      VOLUME NAME\nlocal       data\nlocal       other");
    sandbox.coracle(["volume", "ls", "-q", "--filter", "label=a"]).ok().stdout_is("data");
    sandbox.coracle(["volume", "ls", "-q", "-f", "dangling=true", "-f", "name=^o"]).ok().stdout_is("other");
    sandbox
        .coracle(["volume", "ls", "--format", "{{.Name}} {{.Label \"a\"}}"])
        .ok()
        .stdout_is("data b\nother");
    sandbox.coracle(["volume", "ls", "-f", "nope=1"]).fails(1).stderr_has("invalid filter \"nope\"");
    let shown = sandbox.coracle(["volume", "inspect", "data"]).ok().json()[0].clone();
    for key in [
        "CreatedAt",
        "Driver",
        "Labels",
        "Mountpoint",
        "Name",
        "Options",
        "Scope",
        "UID",
        "GID",
        "MountCount",
    ] {
        assert!(!shown[key].is_null(), "{key} in {shown}");
    }
    assert_eq!((shown["Labels"]["a"].as_str(), shown["Driver"].as_str()), (Some("b"), Some("local")));
    assert_eq!(sandbox.coracle(["inspect", "data"]).ok().json()[0], shown);
    sandbox.coracle(["volume", "inspect", "dat", "--format", "{{.Name}}"]).ok().stdout_is("data");
    sandbox.coracle(["volume", "inspect", "nosuch"]).fails(1).stderr_has("no such volume: nosuch");
    for bad in [
        &["-d", "nfs", "x"][..],
        &["bad/name"],
        &["-o", "type=tmpfs", "x"],
        &["-o", "size=1g", "x"],
        &["-o", "nope=1", "x"],
        &["--availability", "active", "x"],
    ] {
        sandbox.coracle(["volume", "create"]).args(bad.iter().copied()).fails(1);
    }
    sandbox.coracle(["volume", "rm", "-a"]).ok().stdout_is("data\nother");
}

#[test]
fn a_volume_may_be_a_mount_of_something_else() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        let device = sandbox.mkdir("work/device");
        sandbox.write("work/device/file", "of the host");
        let bind = format!("device={}", device.display());
        sandbox.coracle(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &bind, "bound"]).ok();
        run(&sandbox, &["-v", "bound:/d", "lab/busybox", "cat", "/d/file"]).ok().stdout_is("of the host");
        let memory =
            ["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", "memory"];
        sandbox.coracle(memory).ok();
        let hold = [
            "run",
            "-d",
            "--network=none",
            "--name",
            "holder",
            "-v",
            "memory:/m",
            "lab/busybox",
            "sleep",
            "100",
        ];
        sandbox.coracle(hold).ok();
        run(
            &sandbox,
            &["-v", "memory:/m", "lab/busybox", "sh", "-c", "echo shared > /m/x; df /m | grep -q 1024"],
        )
        .ok();
        sandbox.coracle(["exec", "holder", "cat", "/m/x"]).ok().stdout_is("shared");
        sandbox.coracle(["volume", "inspect", "memory", "--format", "{{.MountCount}}"]).ok().stdout_is("1");
        sandbox.coracle(["rm", "-ft0", "holder"]).ok();
        // Memory is gone with its last user.
        run(&sandbox, &["-v", "memory:/m", "lab/busybox", "ls", "/m"]).ok().stdout_is("");
        let nosuch = ["volume", "create", "-o", "type=nosuch", "-o", "device=x", "bad"];
        sandbox.coracle(nosuch).ok();
        run(&sandbox, &["-v", "bad:/m", "lab/busybox", "true"]).run().stderr_has("mount volume bad");
        sandbox.coracle(["volume", "rm", "bound", "memory", "bad"]).ok();
        assert!(device.join("file").exists());
    }
}

#[test]
fn files_go_out_of_a_volume_and_into_one() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        let make = "mkdir /d/sub; echo x > /d/sub/file; ln -s file /d/sub/link; chown 5:6 /d/sub/file; touch /d/.wh.kept";
        run(&sandbox, &["-v", "from:/d", "lab/busybox", "sh", "-c", make]).ok();
        let file = sandbox.path("work/out.tar");
        sandbox.coracle(["volume", "export", "from", "-o"]).arg(&file).ok();
        sandbox.coracle(["volume", "create", "to"]).ok();
        sandbox.coracle(["volume", "import", "to"]).arg(&file).ok();
        let look = "cat /d/sub/link; stat -c %u:%g /d/sub/file; ls -a /d | grep wh";
        run(&sandbox, &["-v", "to:/d", "lab/busybox", "sh", "-c", look]).ok().stdout_is("x\n5:6\n.wh.kept");
        // A part of it.
        let part = "type=volume,src=to,dst=/p,volume-subpath=sub";
        run(&sandbox, &["--mount", part, "lab/busybox", "cat", "/p/file"]).ok().stdout_is("x");
        for outside in ["../../..", "sub/link", "nosuch"] {
            let part = format!("type=volume,src=to,dst=/p,volume-subpath={outside}");
            let outcome = run(&sandbox, &["--mount", &part, "lab/busybox", "ls", "/p"]).run();
            assert!(outcome.exit_code() != 0 || outcome.stdout.contains("sub"), "{outside}: {outcome}");
        }
        // CVE-2024-23653's kin: an archive that leads out of the volume.
        let hostile = Tarball::of([
            Entry::symlink("out", sandbox.path("work").to_str().unwrap()),
            Entry::file("out/escaped", "x"),
        ]);
        sandbox.coracle(["volume", "import", "to", "-"]).stdin(hostile.finish()).run();
        assert!(!sandbox.path("work/escaped").exists());
        sandbox.coracle(["volume", "import", "to", "-"]).stdin("no tar").fails(1);
        sandbox.coracle(["volume", "import", "nosuch", "-"]).stdin("").fails(1).stderr_has("no such volume");
        sandbox.coracle(["volume", "rm", "from", "to"]).ok();
    }
}

/// Whoever gets a container with a volume has the volume, though somebody removes what is unused all the while.
#[test]
fn a_volume_is_not_removed_while_a_container_takes_it() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/busybox");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pruning = scope.spawn(|| {
            let mut pruned = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                sandbox.coracle(["volume", "prune", "-af"]).ok();
                sandbox.coracle(["volume", "rm", "-f", "v"]).run();
                pruned += 1;
            }
            pruned
        });
        for _ in 0..40 {
            sandbox.coracle(["volume", "create", "v"]).ok();
            sandbox
                .coracle(["create", "--network=none", "--name", "c", "-v", "v:/d", "lab/busybox", "true"])
                .ok();
            sandbox.coracle(["volume", "inspect", "v"]).ok();
            sandbox.coracle(["rm", "c"]).ok();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(pruning.join().unwrap() > 10);
    });
    sandbox.coracle(["volume", "rm", "-f", "v"]).ok();
}

/// A file system of the test's own with project quotas; unmounted when it is dropped.
pub struct Limited<'a>(&'a Sandbox);

impl<'a> Limited<'a> {
    /// `None` if the kernel has none.
    pub fn mount(sandbox: &'a Sandbox) -> Option<Self> {
        let script = "truncate -s 64M fs && mkfs.ext4 -q -O project,quota -E quotatype=prjquota fs && mkdir limited && \
                      mount -o loop,prjquota fs limited";
        let made = sandbox.command(["sh", "-c", script]).run();
        (made.exit_code() == 0).then_some(Self(sandbox))
    }

    fn coracle(&self, words: &[&str]) -> crate::support::Cmd {
        let path = self.0.path("work/limited/volumes");
        self.0.coracle(["--volumepath".into(), path.into_os_string()]).args(words.iter().copied())
    }
}

impl Drop for Limited<'_> {
    fn drop(&mut self) {
        drop(self.0.command(["umount", "limited"]).run());
    }
}

#[test]
fn a_volume_may_have_limits() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull("lab/busybox");
    let Some(limited) = Limited::mount(&sandbox) else {
        return crate::support::elsewhere("project quotas of ext4 in its kernel");
    };
    limited.coracle(&["volume", "create", "-o", "size=1m", "-o", "inodes=20", "small"]).ok();
    limited.coracle(&["volume", "create", "-o", "o=size=4m", "large"]).ok();
    let run = |volume: &str, script: &str| {
        let words = ["run", "--rm", "--network=none", "-v", volume, "lab/busybox", "sh", "-c", script];
        limited.coracle(&words).run()
    };
    // Root in a container is no exception. The directory itself counts, too.
    let write = "dd if=/dev/zero of=/d/f bs=64k count=32 2>/dev/null; stat -c %s /d/f; rm /d/f";
    let written = |volume: &str| run(volume, write).text().parse::<u64>().unwrap();
    assert!((900_000..=1 << 20).contains(&written("small:/d")));
    assert_eq!(written("large:/d"), 2 << 20);
    let many = "for i in $(seq 40); do touch /d/$i || break; done 2>/dev/null; ls /d | wc -l";
    run("small:/d", many).stdout_is("19");
    // What goes leaves its limits to nobody.
    limited.coracle(&["volume", "rm", "small"]).ok();
    limited.coracle(&["volume", "create", "-o", "inodes=30", "other"]).ok();
    assert_eq!(written("other:/d"), 2 << 20);
    limited.coracle(&["volume", "rm", "large", "other"]).ok();
}

#[test]
fn limits_that_cannot_be_are_refused_in_words() {
    for sandbox in require!(Sandbox::both()) {
        for option in ["size=much", "inodes=x", "o=size=-1"] {
            sandbox.coracle(["volume", "create", "-o", option, "v"]).fails(1).stderr_has("volume option");
        }
        let refused = sandbox.coracle(["volume", "create", "-o", "size=10m", "v"]).fails(1);
        refused.stderr_has(if sandbox.uid() == 0 {
            "has no project quotas"
        } else {
            "only root can set quotas"
        });
        sandbox.coracle(["volume", "ls", "-q"]).ok().stdout_is("");
    }
}
