//! Secrets: small pieces of data under a name, which containers are given and nobody is shown.
//!
//! A secret is one directory, `<state>/secrets/<name>/`, readable by its owner only: `secret.json`, and with the driver `file`
//! the `data` itself. It is made under another name and renamed, so that it exists whole or not at all. Other drivers
//! ([`driver`]) keep the data elsewhere and are asked for it by the secret's ID. What a container was given it keeps:
//! that is [`crate::engine::container`]'s affair.

mod driver;

pub use driver::{DRIVERS, FILE};

use crate::engine::config::Config;
use crate::engine::events::{Events, Kind};
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::random;
use crate::engine::{Error, ErrorKind, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind as Io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// The most bytes of a secret (podman's `secrets.maxSecretSize`).
pub const LARGEST: usize = 512_000;

const RECORD: &str = "secret.json";
const UNFINISHED: &str = ".unfinished-";

/// `secret.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// 25 hex digits, as podman's.
    pub id: String,
    /// Who keeps the data: `file`, `pass` or `shell`.
    pub driver: String,
    /// The driver's options.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// When a secret of this name was made.
    pub created: Timestamp,
    /// When this one was.
    pub updated: Timestamp,
}

/// A secret to make.
#[derive(Clone, Debug, Default)]
pub struct NewSecret {
    /// Its name.
    pub name: String,
    /// `file`, `pass` or `shell`.
    pub driver: String,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Takes the place of one of the same name.
    pub replace: bool,
}

/// The secrets of one engine.
#[derive(Clone, Debug)]
pub struct Secrets<'a> {
    root: PathBuf,
    config: &'a Config,
}

impl<'a> Secrets<'a> {
    /// Touches nothing.
    pub fn open(config: &'a Config) -> Self {
        Self { root: config.paths.state.join("secrets"), config }
    }

    /// Keeps `data` under a name.
    ///
    /// `Conflict` if there is one of that name; `Invalid` for a name, a size or a driver that cannot be.
    pub fn create(&self, new: NewSecret, data: &[u8]) -> Result<Secret> {
        check_name(&new.name)?;
        if data.is_empty() || data.len() > LARGEST {
            return Err(Error::invalid("secret data must be larger than 0 and less than 512000 bytes"));
        }
        let before = match self.get(&new.name) {
            Ok(found) if new.replace => Some(found),
            Ok(_) => return Err(taken(&new.name)),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let now = Timestamp::now();
        let mut id = random::id()?;
        id.truncate(25);
        let secret = Secret {
            name: new.name,
            id,
            driver: new.driver,
            options: new.options,
            labels: new.labels,
            created: before.as_ref().map_or(now, |secret| secret.created),
            updated: now,
        };
        let unfinished = self.root.join(format!("{UNFINISHED}{}", secret.id));
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&unfinished).map_err(|e| Error::io("mkdir", &unfinished, e))?;
        let made = self
            .fill(&secret, &unfinished, data)
            .and_then(|()| self.publish(&secret, &unfinished, new.replace));
        // With one that was replaced, that is what it was.
        let _ = fs::remove_dir_all(&unfinished);
        if let Err(e) = made {
            if let Err(e) = driver::delete(self.config, &secret) {
                tracing::debug!("take secret {} back: {e}", secret.name);
            }
            return Err(e);
        }
        if let Some(before) = before.filter(|before| before.driver != FILE) {
            driver::delete(self.config, &before)?;
        }
        self.tell("create", &secret);
        Ok(secret)
    }

    fn fill(&self, secret: &Secret, directory: &std::path::Path, data: &[u8]) -> Result<()> {
        driver::store(self.config, secret, directory, data)?;
        crate::failpoint!("secret.after-data");
        let text = serde_json::to_vec(secret).map_err(|e| Error::corrupt(e.to_string()))?;
        atomic::write(&directory.join(RECORD), &text, 0o600, Durability::Synced)
    }

    fn publish(&self, secret: &Secret, unfinished: &std::path::Path, replace: bool) -> Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        let target = self.root.join(&secret.name);
        let renamed = match renameat_with(CWD, unfinished, CWD, &target, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::EXIST) if replace => {
                renameat_with(CWD, unfinished, CWD, &target, RenameFlags::EXCHANGE)
            }
            Err(rustix::io::Errno::EXIST) => return Err(taken(&secret.name)),
            other => other,
        };
        renamed.map_err(|e| Error::io("rename to", &target, e))?;
        crate::failpoint!("secret.after-rename");
        atomic::sync_directory(&self.root)
    }

    /// The secret of exactly this name.
    ///
    /// `NotFound` if there is none.
    pub fn get(&self, name: &str) -> Result<Secret> {
        let missing = || {
            Error::not_found(format!("no secret with name or id {name:?}: no such secret"))
                .with_hint("see `secret ls`")
        };
        check_name(name).map_err(|_| missing())?;
        let path = self.root.join(name).join(RECORD);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if matches!(e.kind(), Io::NotFound | Io::NotADirectory) => return Err(missing()),
            Err(e) => return Err(Error::io("read", &path, e)),
        };
        let secret: Secret =
            serde_json::from_slice(&text).map_err(|e| Error::corrupt(format!("{}: {e}", path.display())))?;
        Ok(Secret { name: name.to_owned(), ..secret })
    }

    /// The secret that a name, or the beginning of an ID, means.
    ///
    /// `NotFound` if there is none, `Conflict` if there are several.
    pub fn resolve(&self, word: &str) -> Result<Secret> {
        match self.get(word) {
            Err(e) if e.kind() == ErrorKind::NotFound && !word.is_empty() => {
                let mut begin = self.list()?.into_iter().filter(|secret| secret.id.starts_with(word));
                match (begin.next(), begin.next()) {
                    (None, _) => Err(e),
                    (Some(only), None) => Ok(only),
                    _ => {
                        let what = format!("more than one result secret with prefix {word}");
                        Err(Error::new(ErrorKind::Conflict, what))
                    }
                }
            }
            found => found,
        }
    }

    /// All secrets, by name.
    pub fn list(&self) -> Result<Vec<Secret>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(e) if e.kind() == Io::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("list", &self.root, e)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| Error::io("list", &self.root, e))?.file_name();
            match self.get(&name.to_string_lossy()) {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                other => found.push(other?),
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// What a secret keeps.
    pub fn data(&self, secret: &Secret) -> Result<Vec<u8>> {
        driver::lookup(self.config, secret, &self.root.join(&secret.name))
    }

    /// Removes a secret. Containers keep what they were given.
    pub fn remove(&self, secret: &Secret) -> Result<()> {
        driver::delete(self.config, secret)?;
        crate::failpoint!("secret.after-delete");
        let gone = self.root.join(format!("{UNFINISHED}{}", secret.id));
        let target = self.root.join(&secret.name);
        match fs::rename(&target, &gone) {
            Err(e) if e.kind() == Io::NotFound => return Ok(()),
            other => other.map_err(|e| Error::io("rename", &target, e))?,
        }
        fs::remove_dir_all(&gone).map_err(|e| Error::io("remove", &gone, e))?;
        self.tell("remove", secret);
        Ok(())
    }

    fn tell(&self, action: &str, secret: &Secret) {
        let attributes = BTreeMap::from([("name".to_owned(), secret.name.clone())]);
        Events::open(self.config).emit(Kind::Secret, action, &secret.id, attributes);
    }
}

fn taken(name: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("{name}: secret name in use"))
        .with_hint("--replace takes its place")
}

/// podman's rule (`secrets.validateSecretName`): up to 253 bytes without `,`, `/`, `=` and NUL. Here it is a directory's name
/// as well, so that it does not begin with a dot.
fn check_name(name: &str) -> Result<()> {
    let bad = |b: u8| matches!(b, b',' | b'/' | b'=' | 0);
    if name.is_empty() || name.len() > 253 || name.starts_with('.') || name.bytes().any(bad) {
        return Err(Error::invalid(format!(
            "secret name {name:?} can not include '=', '/', ',', or the NULL ('\\000') and be between 1 and 253 characters: \
             invalid secret name"
        )));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn config(dir: &std::path::Path) -> Config {
        let mut config = Config::default();
        config.paths.state = dir.to_owned();
        config
    }

    fn new(name: &str) -> NewSecret {
        NewSecret { name: name.into(), driver: FILE.into(), ..NewSecret::default() }
    }

    #[test]
    fn a_secrets_life() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let secrets = Secrets::open(&config);
        let made = secrets.create(new("db"), b"hunter2").unwrap();
        assert_eq!(made.id.len(), 25);
        assert_eq!(secrets.data(&secrets.resolve(&made.id[..6]).unwrap()).unwrap(), b"hunter2");
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("secrets"), mode("secrets/db"), mode("secrets/db/data")), (0o700, 0o700, 0o600));
        assert_eq!(secrets.create(new("db"), b"x").unwrap_err().kind(), ErrorKind::Conflict);
        let again = secrets.create(NewSecret { replace: true, ..new("db") }, b"other").unwrap();
        assert_eq!((again.created, secrets.data(&again).unwrap()), (made.created, b"other".to_vec()));
        assert_eq!(secrets.list().unwrap(), std::slice::from_ref(&again));
        secrets.remove(&again).unwrap();
        assert_eq!(secrets.get("db").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::read_dir(dir.path().join("secrets")).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let secrets = Secrets::open(&config);
        for bad in ["", ".x", "..", "a/b", "a,b", "a=b", "a\0", &"x".repeat(254)] {
            assert_eq!(secrets.create(new(bad), b"x").unwrap_err().kind(), ErrorKind::Invalid, "{bad:?}");
            assert_eq!(secrets.get(bad).unwrap_err().kind(), ErrorKind::NotFound, "{bad:?}");
        }
        assert!(secrets.create(new("big"), &vec![0; LARGEST + 1]).is_err());
        assert!(secrets.create(new("empty"), b"").is_err());
        assert!(secrets.create(NewSecret { driver: "vault".into(), ..new("x") }, b"x").is_err());
        assert_eq!(secrets.list().unwrap(), []);
    }
}
