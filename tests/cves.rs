//! Faults that docker, podman, runc, crun and buildah had, each tried against Coracle. The number in a test's name is
//! that of the CVE.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{
    Entry, Image, Kind, Layer, Outcome, Registry, RegistryOptions, Sandbox, Tarball, busybox_entries, require,
};

/// Has a registry of its own serve an image that is busybox but for these entries (which may replace some of its
/// own, by path) and this configuration.
fn serve(sandbox: &Sandbox, entries: Vec<Entry>, config: Value) -> Registry {
    let registry = Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }).unwrap();
    sandbox.use_registry(&registry);
    let mut all = busybox_entries();
    all.retain(|entry| !entries.iter().any(|other| starts_with(&entry.path, &other.path)));
    all.extend(entries);
    registry.push("lab/evil", "latest", &Image::new([Layer::of(all)], config));
    registry
}

fn starts_with(path: &[u8], prefix: &[u8]) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

fn run(sandbox: &Sandbox, extra: &[&str], command: &[&str]) -> Outcome {
    sandbox
        .coracle(["run", "--rm"])
        .args(extra.iter().copied())
        .arg("lab/evil")
        .args(command.iter().copied())
        .run()
}

/// A directory of the host with a file in it, and what must still be true of it afterwards.
struct Victim {
    directory: std::path::PathBuf,
}

impl Victim {
    fn new(sandbox: &Sandbox) -> Victim {
        let directory = sandbox.mkdir("work/victim");
        sandbox.write("work/victim/file", "untouched");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        Victim { directory }
    }

    fn path(&self) -> &str {
        self.directory.to_str().unwrap()
    }

    #[track_caller]
    fn check(&self, sandbox: &Sandbox) {
        assert_eq!(fs::read_to_string(self.directory.join("file")).unwrap(), "untouched");
        let names: Vec<_> =
            fs::read_dir(&self.directory).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["file"], "something came into a directory of the host");
        for path in [self.directory.as_path(), &self.directory.join("file")] {
            let metadata = fs::symlink_metadata(path).unwrap();
            assert_eq!(
                (metadata.uid(), metadata.gid()),
                (sandbox.uid(), sandbox.gid()),
                "{}",
                path.display()
            );
        }
        assert_eq!(fs::metadata(&self.directory).unwrap().mode() & 0o7777, 0o755);
    }
}

#[test]
fn cve_2024_21626_descriptors_of_the_host() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        // The shell leaves 7, 8 and 9 open for us.
        let leak = ["sh", "-c", "exec 7</ 8</etc 9<.; exec \"$@\"", "sh"];
        let list = ["ls", "/proc/self/fd"];
        let inside = |arguments: &[&str]| {
            let command = sandbox.command(leak).arg(sandbox.binary()).args(sandbox.store_flags());
            command.args(arguments.iter().copied()).args(list).ok()
        };
        // The fourth is ls's own, of the directory that it lists.
        assert_eq!(inside(&["run", "--rm", "lab/busybox"]).lines(), ["0", "1", "2", "3"]);
        let up = sandbox.command(leak).arg(sandbox.binary()).args(sandbox.store_flags());
        up.args(["run", "-d", "--name", "up", "lab/busybox", "sleep", "100"]).ok();
        assert_eq!(inside(&["exec", "up"]).lines(), ["0", "1", "2", "3"]);
        for number in 3..12 {
            let directory = format!("/proc/self/fd/{number}");
            let outcome = sandbox.coracle(["run", "--rm", "-w", &directory, "lab/busybox", "ls"]).run();
            assert_ne!(outcome.exit_code(), 0, "{outcome}");
            let outcome = sandbox.coracle(["exec", "-w", &directory, "up", "ls"]).run();
            assert_ne!(outcome.exit_code(), 0, "{outcome}");
        }
    }
}

#[test]
fn cve_2022_27649_inheritable_capabilities() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        let look = ["grep", "CapInh", "/proc/self/status"];
        let none = "CapInh:\t0000000000000000";
        sandbox.coracle(["run", "--rm", "lab/busybox"]).args(look).ok().stdout_is(none);
        sandbox.coracle(["run", "--rm", "--cap-add=all", "lab/busybox"]).args(look).ok().stdout_is(none);
        sandbox.coracle(["run", "--rm", "-u", "lab", "lab/busybox"]).args(look).ok().stdout_is(none);
        sandbox.coracle(["run", "-d", "--name", "up", "lab/busybox", "sleep", "100"]).ok();
        sandbox.coracle(["exec", "up"]).args(look).ok().stdout_is(none);
        sandbox.coracle(["exec", "--privileged", "up"]).args(look).ok().stdout_is(none);
    }
}

#[test]
fn cve_2026_41579_files_made_for_the_container_behind_symlinks() {
    for sandbox in require!(Sandbox::both()) {
        let victim = Victim::new(&sandbox);
        let file = format!("{}/file", victim.path());
        let entries = vec![
            Entry::symlink("dev", victim.path()),
            Entry::symlink("proc", victim.path()),
            Entry::symlink("run", victim.path()),
            Entry::symlink("etc/hosts", &file),
            Entry::symlink("etc/resolv.conf", &file),
            Entry::symlink("etc/hostname", &file),
            Entry::symlink("etc/mtab", &file),
        ];
        let _registry = serve(&sandbox, entries, json!({"Cmd": ["true"]}));
        // Whether it runs is the runtime's affair; the host is ours.
        run(&sandbox, &[], &["true"]);
        victim.check(&sandbox);
        run(&sandbox, &["--read-only", "--tmpfs", "/run"], &["sh", "-c", "echo changed >/etc/hosts"]);
        victim.check(&sandbox);
    }
}

#[test]
fn cve_2026_30892_user_numbers_that_overflow() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        for user in
            ["4294967296", "4294967295", "0:4294967296", "18446744073709551616", "-1", "0x0", "1000:", "+0"]
        {
            let outcome =
                sandbox.coracle(["run", "--rm", &format!("--user={user}"), "lab/busybox", "id", "-u"]).run();
            assert!(outcome.exit_code() != 0 || outcome.text() == "1000", "{outcome}");
        }
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nbig:x:4294967296:0::/:/bin/sh\nword:x:zero:0::/:/bin/sh\n";
        let entries = vec![Entry::file("etc/passwd", passwd)];
        let _registry = serve(&sandbox, entries, json!({"Cmd": ["true"], "User": "big"}));
        let outcome = run(&sandbox, &[], &["id", "-u"]);
        assert_ne!(outcome.exit_code(), 0, "{outcome}");
        let outcome = run(&sandbox, &["-u", "word"], &["id", "-u"]);
        assert_ne!(outcome.exit_code(), 0, "{outcome}");
    }
}

#[test]
fn cve_2026_55686_working_directory_behind_a_symlink() {
    for sandbox in require!(Sandbox::both()) {
        let victim = Victim::new(&sandbox);
        let up = format!("{}/../victim", victim.path());
        let entries = vec![Entry::symlink("absolute", victim.path()), Entry::symlink("relative", &up)];
        let config = json!({"Cmd": ["pwd"], "WorkingDir": "/absolute/made", "User": "1000"});
        let _registry = serve(&sandbox, entries, config);
        run(&sandbox, &[], &["pwd"]);
        victim.check(&sandbox);
        for directory in ["/absolute/made/deep", "/relative/made", "/absolute", "/../../../absolute/x"] {
            run(&sandbox, &["-w", directory], &["touch", "here"]);
            victim.check(&sandbox);
        }
    }
}

#[test]
fn cve_2026_57231_the_images_environment_asks_the_host() {
    for sandbox in require!(Sandbox::both()) {
        let config = json!({"Cmd": ["env"], "Env": ["SECRET", "SEC*", "*", "PATH=/bin"]});
        let _registry = serve(&sandbox, vec![], config);
        let command = ["run", "--rm", "lab/evil", "env"];
        sandbox.coracle(command).env("SECRET", "of the host").run().stdout_lacks("of the host");
        // The user may ask for it.
        let asked = ["run", "--rm", "-e", "SECRET", "lab/evil", "env"];
        sandbox.coracle(asked).env("SECRET", "of the host").ok().stdout_has("SECRET=of the host");
    }
}

#[test]
fn cve_2024_9676_passwd_that_is_no_file() {
    for sandbox in require!(Sandbox::both()) {
        let forms = [
            vec![Entry::new("etc/passwd", Kind::Fifo), Entry::new("etc/group", Kind::Fifo)],
            vec![Entry::symlink("etc/passwd", "/dev/zero"), Entry::symlink("etc/group", "/dev/zero")],
            vec![Entry::dir("etc/passwd"), Entry::dir("etc/group")],
            vec![Entry::file("etc/passwd", vec![b'x'; 40_000_000])],
        ];
        for entries in forms {
            let _registry = serve(&sandbox, entries, json!({"Cmd": ["true"]}));
            // It may refuse or go on without names; it may not hang or grow.
            for user in ["lab", "0", "1000:wheel"] {
                let outcome = run(&sandbox, &["--pull=newer", "-u", user], &["true"]);
                assert!(outcome.took.as_secs() < 30, "{outcome}");
            }
            sandbox.coracle(["rmi", "lab/evil"]).ok();
        }
    }
}

#[test]
fn cve_2020_10696_archives_that_leave_their_root() {
    for sandbox in require!(Sandbox::both()) {
        let victim = Victim::new(&sandbox);
        let ups = format!("{}{}", "../".repeat(30), victim.path().trim_start_matches('/'));
        let inside = |name: &str| format!("{}/{name}", victim.path());
        let attacks: Vec<Vec<Entry>> = vec![
            vec![Entry::file(format!("{ups}/new"), "x")],
            vec![Entry::file(inside("new"), "x")],
            vec![Entry::symlink("door", victim.path()), Entry::file("door/new", "x")],
            vec![Entry::symlink("door", &ups), Entry::file("door/file", "changed")],
            vec![Entry::symlink("door", victim.path()), Entry::dir("door").mode(0o777).owner(1000, 1000)],
            vec![Entry::symlink("door", victim.path()), Entry::dir("door/new")],
            vec![Entry::symlink("link", inside("file")), Entry::file("link", "changed")],
            vec![Entry::hardlink("hard", inside("file")), Entry::file("hard", "changed")],
            vec![Entry::hardlink("hard", format!("{ups}/file")), Entry::file("hard", "changed")],
            vec![
                Entry::symlink("link", inside("file")),
                Entry::hardlink("hard", "link"),
                Entry::file("hard", "changed"),
            ],
            vec![Entry::symlink("door", victim.path()), Entry::file("door/.wh.file", "")],
            vec![Entry::symlink("door", victim.path()), Entry::file("door/.wh..wh..opq", "")],
            vec![Entry::file(format!("{ups}/.wh.file"), "")],
            vec![Entry::file(".wh...", ""), Entry::file(".wh..", "")],
            vec![Entry::symlink("door", victim.path()), Entry::new("door/null", Kind::Char(1, 3))],
            vec![Entry::symlink("door", victim.path()), Entry::hardlink("door/new", "etc/passwd")],
            vec![Entry::dir("..").mode(0o700), Entry::dir("../..").mode(0o700), Entry::symlink("..", "/")],
        ];
        let registry =
            require!(Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }));
        sandbox.use_registry(&registry);
        for (number, entries) in attacks.into_iter().enumerate() {
            let name = format!("lab/evil{number}");
            let tar = Tarball::of(busybox_entries().into_iter().chain(entries.clone())).finish();
            sandbox.coracle(["import", "-", &format!("{name}:imported")]).stdin(tar).run();
            victim.check(&sandbox);
            // What came of it, with one more layer on top.
            let argv = ["run", "--name", "evil", &format!("{name}:imported"), "sh", "-c", "echo >> /new"];
            if sandbox.coracle(argv).run().exit_code() == 0 {
                sandbox.coracle(["commit", "evil", &format!("{name}:committed")]).ok();
                sandbox.coracle(["export", "-o", "/dev/null", "evil"]).ok();
            }
            sandbox.coracle(["rm", "-f", "evil"]).run();
            victim.check(&sandbox);
            let mut image =
                Image::new([Layer::of(busybox_entries()), Layer::of(entries)], json!({"Cmd": ["true"]}));
            registry.push(&name, "latest", &image);
            sandbox.coracle(["pull", "-q", &name]).run();
            victim.check(&sandbox);
            // The same in one layer with everything else, and met by a running container.
            let last = image.layers.pop().unwrap();
            image.layers.insert(0, last);
            registry.push(&name, "swapped", &image);
            sandbox.coracle(["run", "--rm", &format!("{name}:swapped"), "true"]).run();
            victim.check(&sandbox);
        }
        let left = sandbox.leaks();
        assert!(left.is_empty(), "{left:#?}");
    }
}

#[test]
fn cve_2020_10696_image_archives_that_leave_their_root() {
    for sandbox in require!(Sandbox::both()) {
        let victim = Victim::new(&sandbox);
        let ups = format!("{}{}", "../".repeat(30), victim.path().trim_start_matches('/'));
        let inside = |name: &str| format!("{}/{name}", victim.path());
        let image = Image::new([Layer::plain(&crate::support::busybox_tar())], json!({"Cmd": ["true"]}));
        let (config, layer) = (image.config_bytes(), image.layers[0].blob.clone());
        let manifest = |config: &str, layer: &str| {
            let list = json!([{"Config": config, "RepoTags": ["lab/evil:latest"], "Layers": [layer]}]);
            Entry::file("manifest.json", list.to_string().into_bytes())
        };
        let whole = || vec![Entry::file("c.json", config.as_slice()), Entry::file("l.tar", layer.as_slice())];
        // Names that lead outside are names of nothing; the image beside them is loaded.
        for entries in [
            vec![Entry::file(format!("{ups}/new"), "x"), Entry::file(inside("new"), "x")],
            vec![Entry::symlink("door", victim.path()), Entry::file("door/file", "changed")],
            vec![Entry::symlink("link", inside("file")), Entry::file("link", "changed")],
            vec![Entry::hardlink("hard", inside("file")), Entry::file("hard", "changed")],
            vec![Entry::symlink("door", &ups), Entry::new("door/null", Kind::Char(1, 3))],
        ] {
            let mut all = whole();
            all.extend(entries);
            all.push(manifest("c.json", "l.tar"));
            sandbox.coracle(["load"]).stdin(Tarball::of(all).finish()).ok().stdout_has("lab/evil");
            victim.check(&sandbox);
            sandbox.coracle(["rmi", "lab/evil"]).ok();
        }
        // Files of the host are no files of an image, even if they are what they should be.
        let outside = [sandbox.write("work/c.json", &config), sandbox.write("work/l.tar", &layer)];
        let [outer_config, outer_layer] = outside.map(|path| path.display().to_string());
        for entries in [
            vec![manifest(&outer_config, "l.tar")],
            vec![manifest("c.json", &outer_layer)],
            vec![manifest("c.json", &format!("{}{outer_layer}", "../".repeat(30)))],
            vec![Entry::symlink("x", &outer_layer), manifest("c.json", "x")],
            vec![Entry::symlink("x", &outer_config), manifest("x", "l.tar")],
            vec![Entry::hardlink("x", &outer_layer), manifest("c.json", "x")],
            vec![Entry::symlink("x", "x"), manifest("c.json", "x")],
            vec![Entry::symlink("manifest.json", "/proc/self/environ")],
        ] {
            let mut all = whole();
            all.extend(entries);
            sandbox.coracle(["load"]).stdin(Tarball::of(all).finish()).fails(1).stdout_is("");
        }
        sandbox.coracle(["image", "exists", "lab/evil"]).fails(1);
    }
}

#[test]
fn cve_2021_3602_environments_of_helpers() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        let run = ["run", "-d", "--name", "up", "lab/busybox", "sleep", "100"];
        sandbox.coracle(run).env("HOST_SECRET", "hunter2").ok();
        sandbox.coracle(["exec", "up", "env"]).env("HOST_SECRET", "hunter2").ok().stdout_lacks("hunter2");
        let base = sandbox.path("root").parent().unwrap().display().to_string();
        let mut seen = 0;
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
            let command = String::from_utf8_lossy(&read("cmdline")).into_owned();
            if command.contains(&base) {
                seen += 1;
                let environment = String::from_utf8_lossy(&read("environ")).into_owned();
                assert!(!environment.contains("hunter2"), "{command} knows the caller's environment");
            }
        }
        assert!(seen > 0, "conmon names its files");
    }
}

#[test]
fn cve_2019_5736_the_engines_program_is_out_of_reach() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull("lab/busybox");
    sandbox.coracle(["run", "-d", "--name", "up", "lab/busybox", "sleep", "100"]).ok();
    let before = fs::metadata(sandbox.binary()).unwrap();
    // Whatever the process is that enters the container, its program cannot be opened for writing from inside.
    let attack =
        "for pid in 1 self; do (: >>/proc/$pid/exe) 2>/dev/null && readlink /proc/$pid/exe; done; true";
    for argv in [&["exec", "up"][..], &["run", "--rm", "lab/busybox"]] {
        let outcome = sandbox.coracle(argv.iter().copied()).args(["sh", "-c", attack]).run();
        assert!(outcome.lines().iter().all(|line| line.starts_with("/bin/")), "{outcome}");
    }
    let outcome = sandbox.coracle(["exec", "up", "/proc/self/exe", "--version"]).run();
    assert!(!outcome.stdout.contains("coracle"), "{outcome}");
    assert_eq!(fs::metadata(sandbox.binary()).unwrap().mtime(), before.mtime());
    assert!(Path::new(&sandbox.binary()).exists());
}
