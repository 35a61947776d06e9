//! What a front end tells the engine about its caller: the engine reads no environment of its own.

use crate::engine::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The caller: identity, environment, directories. Gathered once, before the user namespace is joined.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Environment variables that are valid UTF-8.
    pub vars: BTreeMap<String, String>,
    /// Effective user ID on the host; inside the rootless user namespace still the one outside it.
    pub uid: u32,
    /// Effective group ID on the host.
    pub gid: u32,
    /// `$HOME`, else the account's home directory.
    pub home: PathBuf,
    /// Working directory; relative host paths are relative to it.
    pub cwd: PathBuf,
    /// Whether the caller is in the rootless user namespace already (`coracle unshare`, an exit command).
    pub in_userns: bool,
    /// This program, for exit commands.
    pub program: PathBuf,
}

impl Environment {
    /// A variable, if it is set to something.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether the engine works as an ordinary user.
    pub fn rootless(&self) -> bool {
        self.uid != 0
    }

    /// The directories of `$PATH`.
    pub fn path(&self) -> Vec<PathBuf> {
        self.var("PATH").map(|p| p.split(':').map(PathBuf::from).collect()).unwrap_or_default()
    }

    /// `$XDG_CONFIG_HOME`, else `~/.config` (XDG base directory specification 0.8).
    pub fn config_home(&self) -> PathBuf {
        self.var("XDG_CONFIG_HOME").map_or_else(|| self.home.join(".config"), PathBuf::from)
    }

    /// `$XDG_DATA_HOME`, else `~/.local/share`.
    pub fn data_home(&self) -> PathBuf {
        self.var("XDG_DATA_HOME").map_or_else(|| self.home.join(".local/share"), PathBuf::from)
    }

    /// `$XDG_CACHE_HOME`, else `~/.cache`.
    pub fn cache_home(&self) -> PathBuf {
        self.var("XDG_CACHE_HOME").map_or_else(|| self.home.join(".cache"), PathBuf::from)
    }

    /// The user's runtime directory: `$XDG_RUNTIME_DIR`, else `/run/user/UID`, else `storage-run-UID` in `$TMPDIR`
    /// (made if need be), as containers/storage's `homedir.GetRuntimeDir` finds it, so that all tools agree.
    ///
    /// Fails if none of them belongs to the caller alone.
    pub fn runtime_dir(&self) -> Result<PathBuf> {
        if let Some(dir) = self.var("XDG_RUNTIME_DIR") {
            return Ok(fs::canonicalize(dir).unwrap_or_else(|_| PathBuf::from(dir)));
        }
        let run = PathBuf::from(format!("/run/user/{}", self.uid));
        if self.is_private(&run) {
            return Ok(run);
        }
        let temporary =
            Path::new(self.var("TMPDIR").unwrap_or("/tmp")).join(format!("storage-run-{}", self.uid));
        let made = fs::DirBuilder::new().mode(0o700).create(&temporary);
        if self.is_private(&temporary) {
            return Ok(temporary);
        }
        let error = match made {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Error::io("mkdir", &temporary, e),
            _ => Error::invalid(format!("{} exists and is not writable by you alone", temporary.display())),
        };
        Err(error.with_hint("set XDG_RUNTIME_DIR to a directory that only you can write to"))
    }

    /// The address of an ordinary user's session bus, on which their systemd listens: `$DBUS_SESSION_BUS_ADDRESS`, else
    /// `bus` in the runtime directory. `None` for root, and if the caller cannot connect to it: su(1) and sudo(8) pass on
    /// the variable of somebody else's.
    pub fn user_bus(&self) -> Option<String> {
        if !self.rootless() {
            return None;
        }
        let directory = self.var("XDG_RUNTIME_DIR").map(PathBuf::from);
        let usual = directory.unwrap_or_else(|| format!("/run/user/{}", self.uid).into()).join("bus");
        let usual = format!("unix:path={}", usual.to_string_lossy());
        let reachable = |address: &&str| match address.strip_prefix("unix:path=") {
            Some(path) => {
                let path = path.split([',', ';']).next().unwrap_or(path);
                rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
            }
            None => true,
        };
        let addresses = [self.var("DBUS_SESSION_BUS_ADDRESS"), Some(usual.as_str())];
        addresses.into_iter().flatten().find(reachable).map(str::to_owned)
    }

    fn is_private(&self, dir: &Path) -> bool {
        fs::symlink_metadata(dir)
            .is_ok_and(|m| m.is_dir() && m.uid() == self.uid && m.mode() & 0o722 == 0o700)
    }

    /// Replaces `$UID` and `$NAME` in a configured path (containers/storage `types/utils.go`, `expandEnvPath`).
    pub fn expand(&self, path: &str) -> PathBuf {
        let mut out = String::with_capacity(path.len());
        let mut rest = path;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let (name, tail) = match after.strip_prefix('{').and_then(|a| a.split_once('}')) {
                Some(braced) => braced,
                None => {
                    let end = after.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
                    after.split_at(end.unwrap_or(after.len()))
                }
            };
            match name {
                "UID" => out.push_str(&self.uid.to_string()),
                "HOME" => out.push_str(&self.home.to_string_lossy()),
                _ => out.push_str(self.var(name).unwrap_or_default()),
            }
            rest = tail;
        }
        out.push_str(rest);
        PathBuf::from(out)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment {
            uid: 1000,
            home: "/home/u".into(),
            vars: BTreeMap::from([("USER".to_owned(), "u".to_owned())]),
            ..Environment::default()
        }
    }

    #[test]
    fn paths_expand_uid_home_and_variables() {
        let env = environment();
        assert_eq!(env.expand("$HOME/s/$UID"), Path::new("/home/u/s/1000"));
        assert_eq!(env.expand("/srv/${USER}-store/$NOPE/x"), Path::new("/srv/u-store//x"));
        assert_eq!(env.expand("/plain"), Path::new("/plain"));
    }

    #[test]
    fn the_bus_is_one_that_can_be_reached() {
        let tmp = tempfile::tempdir().unwrap();
        let bus = |name: &str| format!("unix:path={}/{name}", tmp.path().display());
        let mut env = environment();
        env.vars.insert("XDG_RUNTIME_DIR".into(), tmp.path().to_string_lossy().into_owned());
        assert_eq!(env.user_bus(), None);
        env.vars.insert("DBUS_SESSION_BUS_ADDRESS".into(), bus("gone"));
        assert_eq!(env.user_bus(), None);
        fs::write(tmp.path().join("bus"), "").unwrap();
        assert_eq!(env.user_bus(), Some(bus("bus")));
        fs::write(tmp.path().join("other"), "").unwrap();
        env.vars.insert("DBUS_SESSION_BUS_ADDRESS".into(), bus("other") + ",guid=1");
        assert_eq!(env.user_bus(), Some(bus("other") + ",guid=1"));
        env.uid = 0;
        assert_eq!(env.user_bus(), None);
    }

    #[test]
    fn a_runtime_dir_others_can_write_to_is_refused() {
        let tmp = tempfile::tempdir().unwrap();
        let mut env = environment();
        env.uid = 4_000_000;
        env.vars.insert("TMPDIR".into(), tmp.path().to_string_lossy().into_owned());
        fs::create_dir(tmp.path().join("storage-run-4000000")).unwrap();
        assert!(env.runtime_dir().unwrap_err().hint().unwrap().contains("XDG_RUNTIME_DIR"));
    }
}
