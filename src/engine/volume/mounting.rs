//! Volumes that are mounts: docker's local driver with `type`, `device` and `o`.
//!
//! mount(8) does the work, as for docker's users who write such options: it knows helpers such as mount.nfs. A volume is
//! mounted when its first user comes and unmounted when its last one goes; each user is a file below
//! `<run state>/volumes/<name>/`, which a reboot takes together with the mount.

use super::{Volume, Volumes, names_in};
use crate::engine::host::lock::DirLock;
use crate::engine::host::mount;
use crate::engine::host::process::find_program;
use crate::engine::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Checks driver options.
///
/// `Invalid` for an unknown one, or a device without what says how to mount it.
pub(super) fn check_options(options: &BTreeMap<String, String>) -> Result<()> {
    for key in options.keys() {
        match key.as_str() {
            "type" | "device" | "o" => {}
            "copy" | "nocopy" | "uid" | "gid" | "UID" | "GID" => {}
            "size" | "inodes" | "SIZE" | "INODES" | "noquota" | "NOQUOTA" => {}
            _ => {
                return Err(Error::invalid(format!("invalid option {key:?} for the driver local"))
                    .with_hint("it has type, device and o, as mount(8) takes them"));
            }
        }
    }
    let has = |key: &str| options.get(key).is_some_and(|v| !v.is_empty());
    super::limits::limits(options)?;
    if has("type") && !has("device") {
        return Err(Error::invalid("missing device in volume options").with_hint("add --opt device=…"));
    }
    if has("device") && !has("type") && !binds(options) {
        return Err(
            Error::invalid("missing type in volume options").with_hint("add --opt type=… or --opt o=bind")
        );
    }
    if binds(options) && options.get("device").is_some_and(|d| !d.starts_with('/')) {
        return Err(Error::invalid("the device of a bind must be an absolute path"));
    }
    Ok(())
}

fn words(options: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    options.get("o").map(String::as_str).unwrap_or_default().split(',').filter(|w| !w.is_empty())
}

fn binds(options: &BTreeMap<String, String>) -> bool {
    options.contains_key("device") && words(options).any(|w| matches!(w, "bind" | "rbind"))
}

/// Whether such a volume is a mount of something else.
pub(super) fn is_mount(options: &BTreeMap<String, String>) -> bool {
    options.contains_key("device") || options.contains_key("type")
}

/// The value of podman's `uid`, `size` …: a word of `o`, or an option of its own, in either case.
pub(super) fn given<'a>(options: &'a BTreeMap<String, String>, key: &str) -> Option<&'a str> {
    let own = [key.to_owned(), key.to_uppercase()];
    let word = words(options).find_map(|w| w.strip_prefix(key)?.strip_prefix('='));
    word.or_else(|| own.iter().find_map(|k| options.get(k)).map(String::as_str))
}

/// `o=uid=…,gid=…` of a volume that is no mount: its owner (podman).
pub(super) fn give_to_owner(options: &BTreeMap<String, String>, data: &Path) -> Result<()> {
    if options.contains_key("device") {
        return Ok(());
    }
    let number = |key: &str| -> Result<Option<u32>> {
        given(options, key)
            .map(|v| v.parse().map_err(|_| Error::invalid(format!("volume option {key}={v}: not a number"))))
            .transpose()
    };
    let (uid, gid) = (number("uid")?, number("gid")?);
    if uid.is_some() || gid.is_some() {
        std::os::unix::fs::chown(data, uid, gid).map_err(|e| Error::io("chown", data, e))?;
    }
    Ok(())
}

impl Volumes {
    fn users(&self, name: &str) -> PathBuf {
        self.run.join(name)
    }

    /// Makes the volume ready for a user, and returns what to bind. `user` is a container's ID or another file name.
    ///
    /// Fails as mount(8) does.
    pub fn acquire(&self, volume: &Volume, user: &str) -> Result<PathBuf> {
        let data = self.data(&volume.name);
        if !volume.is_mount() {
            return Ok(data);
        }
        if binds(&volume.options) {
            let device = PathBuf::from(&volume.options["device"]);
            return match fs::metadata(&device) {
                Ok(_) => Ok(device),
                Err(e) => Err(Error::io("volume: device", &device, e)),
            };
        }
        let users = self.users(&volume.name);
        fs::create_dir_all(&users).map_err(|e| Error::io("mkdir", &users, e))?;
        let _lock = DirLock::exclusive(&users)?;
        let file = users.join(user);
        fs::File::create(&file).map_err(|e| Error::io("create", &file, e))?;
        if !mount::is_mount_point(&data)? {
            let mounted = mount_by_program(&volume.options, &data);
            if let Err(e) = mounted {
                let _ = fs::remove_file(&file);
                return Err(e.wrap(format!("mount volume {}", volume.name)));
            }
        }
        Ok(data)
    }

    /// A user is gone; the last one takes the mount along. Volumes without a mount know no users.
    pub fn release(&self, name: &str, user: &str) -> Result<()> {
        let users = self.users(name);
        let Ok(_lock) = DirLock::exclusive(&users) else { return Ok(()) };
        match fs::remove_file(users.join(user)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("unlink", users.join(user), e));
            }
            _ => {}
        }
        let left = fs::read_dir(&users).map_err(|e| Error::io("list", &users, e))?.next().is_some();
        if left {
            return Ok(());
        }
        mount::detach(&self.data(name))?;
        let _ = fs::remove_dir(&users);
        Ok(())
    }

    /// [`Volumes::release`] of everything that the user has.
    pub fn release_all(&self, user: &str) -> Result<()> {
        let mounted = names_in(&self.run).into_iter();
        for name in mounted.filter(|name| self.users(name).join(user).exists()) {
            self.release(&name, user)?;
        }
        Ok(())
    }

    pub(super) fn force_release(&self, name: &str) -> Result<()> {
        let users = self.users(name);
        if fs::symlink_metadata(&users).is_err() {
            return Ok(());
        }
        mount::detach(&self.data(name))?;
        fs::remove_dir_all(&users).map_err(|e| Error::io("remove", &users, e))
    }

    /// The users of a mounted volume.
    pub fn mount_users(&self, name: &str) -> Vec<String> {
        names_in(&self.users(name))
    }
}

fn mount_by_program(options: &BTreeMap<String, String>, target: &Path) -> Result<()> {
    let program = find_program("mount", &["/usr/bin", "/bin", "/usr/sbin", "/sbin"])
        .ok_or_else(|| Error::new(ErrorKind::MissingProgram, "mount(8) is not installed"))?;
    let mut command = Command::new(program);
    if let Some(kind) = options.get("type").filter(|t| !t.is_empty()) {
        command.arg("-t").arg(kind);
    }
    let words: Vec<&str> = words(options).collect();
    if !words.is_empty() {
        command.arg("-o").arg(words.join(","));
    }
    // After this nothing is an option any more.
    command.arg("--").arg(options.get("device").map(String::as_str).unwrap_or_default()).arg(target);
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    let output = command
        .env_clear()
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Error::os("run mount(8)", e))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(Error::invalid(text.lines().next().unwrap_or("mount(8) failed").trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_of_dockers_local_driver() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        for good in [
            &[][..],
            &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")],
            &[("type", "none"), ("device", "/srv"), ("o", "bind")],
            &[("device", "/srv"), ("o", "bind,ro")],
            &[("o", "uid=1000,gid=1000")],
            &[("size", "1g"), ("o", "inodes=50")],
        ] {
            assert!(check_options(&map(good)).is_ok(), "{good:?}");
        }
        for bad in [
            &[("size", "much")][..],
            &[("type", "tmpfs")],
            &[("device", "/dev/x")],
            &[("device", "relative"), ("o", "bind")],
            &[("nope", "x")],
        ] {
            assert!(check_options(&map(bad)).is_err(), "{bad:?}");
        }
    }
}
