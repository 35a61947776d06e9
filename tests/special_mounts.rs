//! `--mount` of what is neither a bind nor a volume: images, patterns, artifacts, memory, terminals.

use std::fs;

use crate::support::{Cmd, Entry, Image, Layer, Missing, Sandbox, busybox_entries, require};

const IMAGE: &str = "lab/busybox";

/// Sandboxes with an image of two layers, the upper of which hides a file of the lower: `lab/tools`.
fn both() -> Result<Vec<Sandbox>, Missing> {
    let sandboxes = Sandbox::both()?;
    for sandbox in &sandboxes {
        let lower = [Entry::dir("share"), Entry::file("share/old", "old"), Entry::file("share/hidden", "x")];
        let upper = [Entry::file("share/new", "new"), Entry::file("share/.wh.hidden", "")];
        let layers = [Layer::of(busybox_entries()), Layer::of(lower), Layer::of(upper)];
        sandbox.registry().push("lab/tools", "latest", &Image::new(layers, serde_json::json!({})));
        sandbox.pull(IMAGE);
    }
    Ok(sandboxes)
}

fn run(sandbox: &Sandbox, mounts: &[&str], script: &str) -> Cmd {
    let run = sandbox.coracle(["run", "--rm", "--network=none"]);
    run.args(mounts.iter().map(|m| format!("--mount={m}"))).args([IMAGE, "sh", "-ec", script])
}

#[test]
fn an_image_is_mounted_whole_or_in_part_and_is_not_changed() {
    for sandbox in require!(both()) {
        // It is pulled for this.
        let whole = "type=image,src=lab/tools,dst=/tools";
        run(&sandbox, &[whole], "cd /tools/share; ls; cat new").ok().stdout_is("new\nold\nnew");
        run(&sandbox, &[whole], "touch /tools/x").fails(1).stderr_has("Read-only");
        let part = "type=image,source=lab/tools,target=/s,subpath=share";
        run(&sandbox, &[part], "ls /s").ok().stdout_is("new\nold");
        let file = "type=image,src=lab/tools,dst=/one,image-subpath=share/old";
        run(&sandbox, &[file], "cat /one").ok().stdout_is("old");
        let rw = "type=image,src=lab/tools,dst=/s,subpath=share,rw=true";
        run(&sandbox, &[rw], "echo 1 >/s/made; rm /s/old; ls /s").ok().stdout_is("made\nnew");
        run(&sandbox, &[rw], "ls /s").ok().stdout_is("new\nold");
        // Twice in one container, beside the same image as root.
        let two = ["type=image,src=lab/busybox,dst=/a", "type=image,src=lab/busybox,dst=/b,rw"];
        run(&sandbox, &two, "/b/bin/busybox touch /b/x; test ! -e /a/x").ok();
        run(&sandbox, &["type=image,src=lab/tools,dst=/s,subpath=no/such"], "true").fails(125);
        run(&sandbox, &["type=image,src=lab/tools,dst=/s,subpath=../../share"], "ls /s")
            .ok()
            .stdout_is("new\nold");
        run(&sandbox, &["type=image,src=lab/nosuch,dst=/s"], "true").fails(125);
    }
}

#[test]
fn an_image_that_is_mounted_stays() {
    for sandbox in require!(both()) {
        let mount = "--mount=type=image,src=lab/tools,dst=/tools";
        let create = ["create", "--name=c", "--network=none", mount, IMAGE, "sleep", "100"];
        sandbox.coracle(create).ok();
        sandbox.coracle(["rmi", "lab/tools"]).fails(1).stderr_has("in use").stderr_has("mounts it");
        sandbox.coracle(["image", "prune", "-a", "-f"]).ok();
        sandbox.coracle(["start", "c"]).ok();
        sandbox.coracle(["exec", "c", "cat", "/tools/share/new"]).ok().stdout_is("new");
        let seen = sandbox.coracle(["inspect", "c"]).ok().json();
        let shown = &seen[0]["Mounts"][0];
        assert_eq!((&shown["Type"], &shown["RW"]), (&"image".into(), &false.into()), "{shown}");
        // The end of the run unmounts it; another start mounts it again.
        sandbox.coracle(["restart", "-t", "0", "c"]).ok();
        sandbox.coracle(["exec", "c", "cat", "/tools/share/old"]).ok().stdout_is("old");
        sandbox.coracle(["rmi", "-f", "lab/tools"]).ok();
        sandbox.coracle(["container", "inspect", "c"]).fails(1);
    }
}

#[test]
fn an_image_is_mounted_or_removed_but_not_both() {
    for sandbox in require!(both()) {
        let mount = "--mount=type=image,src=lab/tools,dst=/tools";
        let create = ["create", "--pull=never", "--name=c", "--network=none", mount, IMAGE, "true"];
        let (mut mounted, mut removed) = (0, 0);
        for round in 0..40 {
            if mounted > 1 && removed > 1 {
                break;
            }
            sandbox.coracle(["pull", "-q", "lab/tools"]).ok();
            let (made, gone) = std::thread::scope(|scope| {
                let made = scope.spawn(|| sandbox.coracle(create).run());
                // Now the one, now the other is first.
                std::thread::sleep(std::time::Duration::from_millis(round % 10 * 4));
                let gone = sandbox.coracle(["rmi", "lab/tools"]).run();
                (made.join().unwrap(), gone)
            });
            match (made.exit_code(), gone.exit_code()) {
                (0, 1) => {
                    gone.stderr_has("container c mounts it");
                    sandbox.coracle(["start", "-a", "c"]).ok();
                    sandbox.coracle(["rm", "c"]).ok();
                    mounted += 1;
                }
                (125, 0) => {
                    made.stderr_has("No such image: lab/tools");
                    sandbox.coracle(["container", "exists", "c"]).fails(1);
                    removed += 1;
                }
                _ => panic!("{made}\n{gone}"),
            }
        }
        // What an interrupted create left does not count once it is cleared away.
        sandbox.coracle(["pull", "-q", "lab/tools"]).ok();
        let killed = sandbox.coracle(create).env("CORACLE_FAILPOINT", "create.before-images").run();
        assert_ne!(killed.exit_code(), 0);
        sandbox.coracle(["rmi", "lab/tools"]).ok();
    }
}

#[test]
fn a_container_whose_image_to_mount_went_says_so() {
    let sandbox = require!(both()).swap_remove(0);
    let mount = "--mount=type=image,src=lab/tools,dst=/tools";
    sandbox.coracle(["pull", "-q", "lab/tools"]).ok();
    sandbox.coracle(["create", "--name=c", "--network=none", mount, IMAGE, "true"]).ok();
    // podman knows nothing of what our containers mount.
    require!(sandbox.podman(["rmi", "docker.io/lab/tools"])).ok();
    let failed = sandbox.coracle(["start", "-a", "c"]).fails(1);
    failed.stderr_has("mount image lab/tools at /tools").stderr_has("no such image");
    sandbox.coracle(["rm", "c"]).ok();
}

#[test]
fn files_that_match_a_pattern_are_mounted() {
    for sandbox in require!(both()) {
        let dir = sandbox.mkdir("work/globs");
        for name in ["a.so", "b.so", "other"] {
            fs::write(dir.join(name), name).unwrap();
        }
        let dir = dir.display();
        let into = format!("type=glob,src={dir}/*.so,dst=/libs,ro");
        run(&sandbox, &[&into], "cd /libs; cat *; ! touch a.so").ok().stdout_is("a.sob.so");
        let at_home = format!("type=glob,src={dir}/[o]*");
        run(&sandbox, &[&at_home], &format!("cat {dir}/other")).ok().stdout_is("other");
        let none = format!("type=glob,src={dir}/*.none,dst=/libs");
        run(&sandbox, &[&none], "true").fails(125).stderr_has("no file paths matching glob");
        // What is asked for by name may be there already, before the pattern or behind it.
        let one = format!("type=bind,src={dir}/other,dst=/libs/a.so");
        for mounts in [[&into, &one], [&one, &into]] {
            let twice = run(&sandbox, &mounts.map(String::as_str), "true").fails(125);
            twice.stderr_has("/libs/a.so is mounted twice");
        }
    }
}

#[test]
fn files_of_an_artifact_are_mounted() {
    for sandbox in require!(both()) {
        let dir = sandbox.mkdir("work/files");
        for name in ["one.txt", "two.txt"] {
            fs::write(dir.join(name), name).unwrap();
        }
        let add = sandbox.coracle(["artifact", "add", "localhost/files"]);
        add.args([dir.join("one.txt"), dir.join("two.txt")]).ok();
        let all = "type=artifact,src=localhost/files,dst=/data";
        run(&sandbox, &[all], "cd /data; cat *; ! echo x >one.txt").ok().stdout_is("one.txttwo.txt");
        let named = format!("{all},name=part");
        run(&sandbox, &[&named], "ls /data").ok().stdout_is("part-0\npart-1");
        let one = format!("{all},title=two.txt");
        run(&sandbox, &[&one], "ls /data").ok().stdout_is("two.txt");
        // On a file that is there the only one is mounted itself.
        let on = "type=artifact,src=localhost/files,dst=/etc/passwd";
        run(&sandbox, &[&format!("{on},title=two.txt")], "cat /etc/passwd").ok().stdout_is("two.txt");
        run(&sandbox, &[on], "true").fails(125).stderr_has("several blobs");
        run(&sandbox, &[&format!("{all},title=none")], "true").fails(125).stderr_has("no blob");
        run(&sandbox, &["type=artifact,src=localhost/none,dst=/x"], "true").fails(125);
    }
}

#[test]
fn memory_and_terminals() {
    for sandbox in require!(both()) {
        let fields = |target: &str| format!("grep ' {target} ' /proc/self/mounts | cut -d' ' -f3,4");
        let said =
            |mount: &str, target: &str| run(&sandbox, &[mount], &fields(target)).ok().text().to_owned();
        let tmpfs = said("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700", "/t");
        assert!(
            tmpfs.starts_with("tmpfs ") && tmpfs.contains("size=1024k") && tmpfs.contains("mode=700"),
            "{tmpfs}"
        );
        let ramfs = said("type=ramfs,dst=/r,ro", "/r");
        assert!(ramfs.starts_with("ramfs ") && ramfs.contains("ro"), "{ramfs}");
        let devpts = said("type=devpts,dst=/pts,mode=0620,ptmxmode=0666", "/pts");
        assert!(devpts.starts_with("devpts ") && devpts.contains("ptmxmode=666"), "{devpts}");
    }
}
