//! Pulls in parts on file systems that let files share their blocks.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::chunked::{check_b, two_images, upper};
use crate::support::{Missing, Sandbox, elsewhere, leaks, program, require, root};

/// A file system of the sandbox's own, on which its store is; unmounted when it is dropped.
struct Disk<'a>(&'a Sandbox);

impl<'a> Disk<'a> {
    /// `None` if the kernel has none of that kind.
    fn mount(sandbox: &'a Sandbox, kind: &str, flags: &[&str]) -> Result<Option<Self>, Missing> {
        let (image, place) = (sandbox.path("disk"), sandbox.graph_root());
        std::fs::File::create(&image).unwrap().set_len(512 << 20).unwrap();
        let made =
            Command::new(program(&format!("mkfs.{kind}"))?).args(["-q"]).args(flags).arg(&image).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mounted = Command::new("mount").args(["-o", "loop"]).args([&image, &place]).output().unwrap();
        if !mounted.status.success() {
            return Ok(None);
        }
        std::os::unix::fs::chown(&place, Some(sandbox.uid()), Some(sandbox.gid())).unwrap();
        Ok(Some(Self(sandbox)))
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // What keeps a user's namespaces has the mount as well.
        for pid in leaks::everybody(self.0) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
        }
        drop(Command::new("umount").arg("-l").arg(self.0.graph_root()).output());
    }
}

/// Whether any block of the file is another's, too.
fn shares(file: &Path) -> bool {
    let asked = Command::new("filefrag").args(["-sv"]).arg(file).output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    String::from_utf8_lossy(&asked.stdout).contains("shared")
}

/// Image a is here, of b only what a has not is fetched; what it has is shared, not copied.
fn files_are_shared(kind: &str, flags: &[&str]) {
    require!(root());
    require!(program("filefrag"));
    for sandbox in require!(Sandbox::both()) {
        let Some(_disk) = require!(Disk::mount(&sandbox, kind, flags)) else {
            return elsewhere(&format!("{kind} in its kernel"));
        };
        let registry = two_images(&sandbox, "");
        let [a, b] = ["a", "b"].map(|name| format!("{}/chunked/{name}", registry.address()));
        for hard_links in [false, true] {
            if hard_links {
                let conf = sandbox.read("conf/storage.conf");
                let wanted = "enable_partial_images = \"true\"";
                assert!(conf.contains(wanted));
                let both = format!("{wanted}, use_hard_links = \"true\"");
                sandbox.write("conf/storage.conf", conf.replace(wanted, &both));
            }
            sandbox.coracle(["pull", "-q", &a]).ok();
            sandbox.coracle(["pull", "-q", &b]).ok();
            check_b(&sandbox, &b);
            sandbox.coracle(["system", "check"]).ok();
            let [old, new] = [&a, &b].map(|name| upper(&sandbox, name));
            let meta = |path: PathBuf| std::fs::metadata(path).unwrap();
            let (one, copy) = (meta(old.join("data/one")), meta(new.join("data/one")));
            assert_eq!(one.ino() == copy.ino(), hard_links, "{kind}");
            assert_eq!(shares(&new.join("data/one")), !hard_links, "{kind}");
            // Another name, another mode: never the same file, but the same blocks.
            let (two, renamed) = (meta(old.join("data/two")), meta(new.join("data/renamed")));
            assert!(two.ino() != renamed.ino() && shares(&new.join("data/renamed")), "{kind}");
            assert_eq!(
                (two.permissions().mode() & 0o777, renamed.permissions().mode() & 0o777),
                (0o600, 0o644)
            );
            assert!(!shares(&new.join("data/new")));
            sandbox.coracle(["rmi", "-f", &a]).ok();
            check_b(&sandbox, &b);
            sandbox.coracle(["rmi", "-f", &b]).ok();
        }
    }
}

#[test]
fn files_share_blocks_on_xfs() {
    files_are_shared("xfs", &["-m", "reflink=1"]);
}

#[test]
fn files_share_blocks_on_btrfs() {
    files_are_shared("btrfs", &[]);
}
