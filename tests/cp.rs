//! `cp`: docker's rules for what goes where, in containers that run and that do not.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::support::{Entry, Sandbox, Tarball, require};

fn container(sandbox: &Sandbox, name: &str, flags: &[&str], running: bool) {
    sandbox.pull("lab/busybox");
    let mut words = vec!["create", "--network=none", "--name", name];
    words.extend(flags);
    words.extend(["lab/busybox", "sleep", "1000"]);
    sandbox.coracle(words).ok();
    if running {
        sandbox.coracle(["start", name]).ok();
    }
}

/// docker's table ("docker container cp", "Description"), the same into a container and out of it.
#[test]
fn docker_s_table_of_sources_and_destinations() {
    for sandbox in require!(Sandbox::both()) {
        for running in [true, false] {
            let name = if running { "runs" } else { "sleeps" };
            container(&sandbox, name, &[], running);
            let host = sandbox.mkdir(format!("work/{name}"));
            fs::create_dir_all(host.join("dir/sub")).unwrap();
            fs::write(host.join("file"), "content").unwrap();
            fs::write(host.join("dir/sub/inner"), "inner").unwrap();
            symlink("file", host.join("link")).unwrap();
            let at = |path: &str| host.join(path).to_str().unwrap().to_owned();
            let inside = |path: &str| format!("{name}:{path}");
            let cp = |from: &str, to: &str| sandbox.coracle(["cp", from, to]);
            // Into the container, then out again under another name.
            let read = |path: &str| -> String {
                let out = host.join("read");
                cp(&inside(path), out.to_str().unwrap()).ok();
                let text = fs::read_to_string(&out).unwrap();
                fs::remove_file(&out).unwrap();
                text
            };
            cp(&at("file"), &inside("/new")).ok();
            assert_eq!(read("/new"), "content");
            cp(&at("file"), &inside("/tmp")).ok();
            assert_eq!(read("/tmp/file"), "content");
            cp(&at("file"), &inside("tmp/")).ok();
            cp(&at("file"), &inside("/nosuch/")).fails(1).stderr_has("must exist");
            cp(&at("file"), &inside("/no/such/file")).fails(1).stderr_has("no such directory");
            cp(&at("dir/sub/inner"), &inside("/new")).ok();
            assert_eq!(read("/new"), "inner");
            cp(&at("dir"), &inside("/made")).ok();
            assert_eq!(read("/made/sub/inner"), "inner");
            cp(&at("dir"), &inside("/tmp")).ok();
            assert_eq!(read("/tmp/dir/sub/inner"), "inner");
            cp(&at("dir/."), &inside("/tmp")).ok();
            assert_eq!(read("/tmp/sub/inner"), "inner");
            cp(&at("dir"), &inside("/new")).fails(1).stderr_has("cannot copy a directory to the file");
            // A link is a link, unless it is to be followed or is a directory's name with a slash.
            cp(&at("link"), &inside("/tmp/l1")).ok();
            sandbox.coracle(["cp", "-L", &at("link"), &inside("/tmp/l2")]).ok();
            let archive = sandbox.coracle(["cp", &inside("/tmp/l1"), "-"]).ok();
            assert!(archive.stdout.contains("file"), "{archive}");
            assert_eq!(read("/tmp/l2"), "content");
            // Out of it.
            cp(&inside("/made"), &at("back")).ok();
            assert_eq!(fs::read_to_string(host.join("back/sub/inner")).unwrap(), "inner");
            cp(&inside("/made/."), &at("back")).ok();
            cp(&inside("/made"), &at("back")).ok();
            assert_eq!(fs::read_to_string(host.join("back/made/sub/inner")).unwrap(), "inner");
            let owner = fs::metadata(host.join("back/made/sub/inner")).unwrap();
            assert_eq!((owner.uid(), owner.gid()), (sandbox.uid(), sandbox.gid()));
            cp(&inside("/nosuch"), &at("x"))
                .fails(1)
                .stderr_has(&format!("Could not find the file /nosuch in container {name}"));
            cp(&at("nosuch"), &inside("/x")).fails(1).stderr_has("no such file");
            // A directory is not lost to a file.
            fs::create_dir_all(host.join("kinds/file")).unwrap();
            cp(&at("file"), &inside("/tmp/kinds")).ok();
            cp(&at("kinds"), &inside("/tmp")).fails(1).stderr_has("cannot overwrite non-directory");
            sandbox.coracle(["cp", "--overwrite", &at("kinds"), &inside("/tmp")]).ok();
            sandbox.coracle(["rm", "-ft0", name]).ok();
        }
        sandbox.coracle(["cp", "nosuch:/x", "."]).fails(1).stderr_has("no such container");
        sandbox.coracle(["cp", "a", "b"]).fails(1).stderr_has("must be in a container");
        sandbox.coracle(["cp", "-", "-"]).fails(1);
    }
}

#[test]
fn owners_modes_and_streams() {
    for sandbox in require!(Sandbox::both()) {
        container(&sandbox, "c", &["--user", "1000:1000"], true);
        let sh = |script: &str| sandbox.coracle(["exec", "-u", "0", "c", "sh", "-c", script]).ok();
        let tar = Tarball::of([
            Entry::dir("d").mode(0o750).owner(7, 8),
            Entry::file("d/f", "x").mode(0o4711).owner(5, 6).mtime(1_000_000_000, 0),
            Entry::symlink("d/l", "/etc/passwd"),
            Entry::hardlink("d/h", "d/f").mode(0o4711).owner(5, 6).mtime(1_000_000_000, 0),
        ])
        .finish();
        sandbox.coracle(["cp", "-a", "-", "c:/tmp"]).stdin(tar.clone()).ok();
        let look = "cd /tmp/d; stat -c '%n %a %u:%g %Y %h' . f; readlink l";
        sh(look).stdout_has(". 750 7:8").stdout_has("f 4711 5:6 1000000000 2\n/etc/passwd");
        // Without --archive all of it is the container's user's.
        sandbox.coracle(["cp", "-", "c:/var"]).stdin(tar).ok();
        sh("stat -c %u:%g /var/d /var/d/f").stdout_is("1000:1000\n1000:1000");
        let out = sandbox.path("work/out.tar");
        let streamed = sandbox.coracle(["cp", "c:/tmp/d", "-"]).ok();
        assert!(streamed.stdout.contains("d/f"));
        sandbox.coracle(["cp", "-", "c:/etc/passwd"]).stdin("x").fails(1).stderr_has("must be a directory");
        sandbox.coracle(["cp", "-", "c:/nosuch"]).stdin("x").fails(1);
        sandbox.coracle(["cp", "-", "c:/tmp"]).stdin("no tar at all").fails(1);
        assert!(!out.exists());
        // From one container into another.
        container(&sandbox, "other", &[], false);
        sandbox.coracle(["cp", "c:/tmp/d", "other:/copied"]).ok();
        sandbox.coracle(["start", "other"]).ok();
        sandbox.coracle(["exec", "other", "cat", "/copied/f"]).ok().stdout_is("x");
    }
}

/// /tmp belongs to root, and its times with it.
#[test]
fn a_user_copies_into_a_directory_of_another_s() {
    for sandbox in require!(Sandbox::both()) {
        container(&sandbox, "box", &[], false);
        let shared = tempfile::Builder::new().prefix("coracle-cp.").tempdir_in("/tmp").unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
        let copy = shared.path().join("passwd").to_str().unwrap().to_owned();
        for _ in 0..2 {
            sandbox.coracle(["cp", "box:/etc/passwd", &copy]).ok();
            assert_eq!(fs::metadata(&copy).unwrap().uid(), sandbox.uid());
        }
        sandbox.coracle(["cp", "box:/etc", &copy.replace("passwd", "etc")]).ok();
        assert!(shared.path().join("etc/passwd").exists());
        if sandbox.uid() != 0 {
            fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
            let denied = sandbox.coracle(["cp", "box:/etc/passwd", &copy]).fails(1);
            denied.stderr_has("passwd: permission denied");
        }
    }
}

#[test]
fn mounts_are_part_of_a_container() {
    for sandbox in require!(Sandbox::both()) {
        let bound = sandbox.mkdir("work/bound");
        sandbox.write("work/file", "content");
        let bind = format!("{}:/bound", bound.display());
        let file = sandbox.path("work/file");
        let file = file.to_str().unwrap();
        for running in [true, false] {
            let flags = ["-v", "data:/data", "-v", "data:/ro:ro", "-v", &bind, "--tmpfs", "/mem"];
            container(&sandbox, "c", &flags, running);
            sandbox.coracle(["cp", file, "c:/data/f"]).ok();
            sandbox.coracle(["cp", file, "c:/bound"]).ok();
            assert_eq!(fs::read_to_string(bound.join("file")).unwrap(), "content");
            let data = sandbox.coracle(["volume", "inspect", "data", "--format", "{{.Mountpoint}}"]).ok();
            assert_eq!(fs::read_to_string(format!("{}/f", data.text())).unwrap(), "content");
            sandbox.coracle(["cp", file, "c:/ro/x"]).fails(1);
            sandbox.coracle(["cp", "c:/ro/f", &format!("{file}.back")]).ok();
            if running {
                sandbox.coracle(["cp", file, "c:/mem/f"]).ok();
                sandbox.coracle(["exec", "c", "cat", "/mem/f"]).ok().stdout_is("content");
            }
            sandbox.coracle(["rm", "-ft0", "c"]).ok();
        }
        sandbox.coracle(["volume", "rm", "data"]).ok();
        container(&sandbox, "c", &["--read-only"], false);
        sandbox.coracle(["cp", file, "c:/x"]).fails(1).stderr_has("read-only");
    }
}

/// CVE-2018-15664, CVE-2019-10152, CVE-2024-3727's kin: links of the container lead nowhere but into it.
#[test]
fn links_of_a_container_do_not_lead_out_of_it() {
    for sandbox in require!(Sandbox::both()) {
        container(&sandbox, "c", &[], true);
        let host = sandbox.mkdir("work/host");
        sandbox.write("work/host/secret", "secret");
        sandbox.write("work/mine", "mine");
        let sh = format!(
            "mkdir -p /in{0}; ln -s {0} /out; ln -s /../../../../..{0}/secret /steal; ln -s /proc/1/root /magic; mkdir /trap; \
             ln -s {0} /trap/out",
            host.display()
        );
        sandbox.coracle(["exec", "c", "sh", "-c", &sh]).ok();
        let mine = sandbox.path("work/mine");
        let mine = mine.to_str().unwrap();
        for to in ["c:/out/escaped", "c:/out", "c:/trap/out/escaped", "c:/magic/escaped"] {
            sandbox.coracle(["cp", mine, to]).run();
            for name in ["escaped", "mine"] {
                assert!(!host.join(name).exists(), "{to}");
            }
        }
        sandbox.coracle(["cp", "-L", "c:/steal", &format!("{mine}.stolen")]).fails(1);
        sandbox.coracle(["cp", "c:/out/secret", &format!("{mine}.stolen")]).fails(1);
        // An archive through a link of the container.
        let tar = Tarball::of([Entry::file("out/escaped", "x")]).finish();
        sandbox.coracle(["cp", "-", "c:/trap"]).stdin(tar).run();
        assert!(!host.join("escaped").exists());
        // A tree of the container whose link leads out, and the same name a directory: copied as it is.
        let back = sandbox.path("work/back");
        sandbox.coracle(["cp", "c:/trap", back.to_str().unwrap()]).ok();
        assert!(fs::symlink_metadata(back.join("out")).unwrap().is_symlink());
        // Onto the host, an archive's path through a link that came with it.
        sandbox
            .coracle(["exec", "c", "sh", "-c", "rm /trap/out; mkdir /trap/out; echo x > /trap/out/escaped"])
            .ok();
        sandbox.coracle(["cp", "c:/trap/.", back.to_str().unwrap()]).run();
        assert!(!host.join("escaped").exists());
    }
}

#[test]
fn holes_stay_holes() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        let make = "truncate -s 200M holes && echo end >> holes && printf middle | dd of=holes bs=1M seek=100 conv=notrunc 2>/dev/null \
                    && truncate -s 50M hole";
        sandbox.command(["sh", "-c", make]).ok();
        sandbox.coracle(["run", "-d", "--network=none", "--name", "c", "lab/busybox", "sleep", "1000"]).ok();
        sandbox.coracle(["cp", "holes", "c:/tmp/in"]).ok();
        sandbox.coracle(["cp", "hole", "c:/tmp/empty"]).ok();
        let sums = sandbox.command(["sha256sum", "holes"]).ok().stdout.split(' ').next().unwrap().to_owned();
        sandbox.coracle(["exec", "c", "sha256sum", "/tmp/in"]).ok().stdout_has(&sums);
        for file in ["/tmp/in", "/tmp/empty"] {
            let used = sandbox.coracle(["exec", "c", "du", "-k", file]).ok();
            let used: u32 = used.text().split_whitespace().next().unwrap().parse().unwrap();
            assert!(used < 4096, "{file}: {used} KiB");
        }
        sandbox.coracle(["cp", "c:/tmp/in", "back"]).ok();
        sandbox.coracle(["cp", "c:/tmp/empty", "empty"]).ok();
        sandbox.command(["cmp", "holes", "back"]).ok();
        assert_eq!(fs::metadata(sandbox.path("work/empty")).unwrap().len(), 50 << 20);
        assert!(fs::metadata(sandbox.path("work/back")).unwrap().blocks() * 512 < 4 << 20);
        // Who gets an archive gets one that every tar reads.
        let plain = sandbox.coracle(["cp", "c:/tmp/empty", "-"]).run();
        assert!(plain.stdout.len() > 50 << 20);
        sandbox.coracle(["rm", "-ft0", "c"]).ok();
    }
}
