//! Volumes: directories that outlive the containers they are mounted in.
//!
//! A volume is one directory, `<volumes>/<name>/`: `volume.json`, written once, and `_data`, which is mounted. It is made
//! under another name and renamed, so it exists whole or not at all. While `copy-up` is there no container has used it yet,
//! and the first one fills it from its image. Anonymous volumes are named by 64 hex digits and go with their container.
//!
//! The driver is `local`, with docker's options `type`, `device` and `o`: such a volume is a mount. A bind needs none, its
//! device is mounted in the container itself; others ([`Volumes::acquire`]) are mounted on `_data` as long as somebody
//! uses them. Podman's `size` and `inodes` limit a volume that is none. Who uses a volume is for `container` to say.

mod filter;
mod limits;
mod mounting;

pub use filter::Filters;

use crate::engine::config::Config;
use crate::engine::events::{Events, Kind};
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::lock::DirLock;
use crate::engine::host::{random, tree};
use crate::engine::spec::is_name;
use crate::engine::{Error, ErrorKind, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The only driver.
pub const LOCAL: &str = "local";
const RECORD: &str = "volume.json";
const DATA: &str = "_data";
const UNFILLED: &str = "copy-up";
const FILLING: &str = "copying";
/// Directory with a file for each container that has an anonymous volume.
const SHARERS: &str = "sharers";
/// Names that begin so are volumes that are being made or removed.
const UNFINISHED: &str = ".unfinished-";

/// `volume.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Driver options: `type`, `device`, `o`.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Whether it was made for one container, and goes with it.
    #[serde(default)]
    pub anonymous: bool,
}

/// A volume to make.
#[derive(Clone, Debug, Default)]
pub struct NewVolume {
    /// Its name; empty: 64 random hex digits.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `type`, `device`, `o`.
    pub options: BTreeMap<String, String>,
    /// Goes with its container.
    pub anonymous: bool,
}

/// A directory of a volume without a record that can be read.
#[derive(Clone, Debug)]
pub struct Damaged {
    /// Its name.
    pub name: String,
    /// Whether there is a place for its files.
    pub has_files: bool,
}

/// The volumes of one engine.
#[derive(Clone, Debug)]
pub struct Volumes {
    root: PathBuf,
    run: PathBuf,
    events: Events,
    rootless: bool,
}

impl Volumes {
    /// Touches nothing.
    pub fn open(config: &Config) -> Self {
        Self {
            root: config.paths.volumes.clone(),
            run: config.paths.run_state.join("volumes"),
            events: Events::open(config),
            rootless: config.rootless(),
        }
    }

    fn tell(&self, action: &str, name: &str) {
        let attributes = [("name", name), ("driver", LOCAL)];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.events.emit(Kind::Volume, action, name, attributes.into());
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// What is mounted for the volume.
    pub fn data(&self, name: &str) -> PathBuf {
        self.dir(name).join(DATA)
    }

    /// Makes a volume.
    ///
    /// `Conflict` if there is one of that name; `Invalid` for a name or option that cannot be.
    pub fn create(&self, new: NewVolume) -> Result<Volume> {
        let name = if new.name.is_empty() { random::id()? } else { new.name };
        check_name(&name)?;
        mounting::check_options(&new.options)?;
        let volume = Volume {
            created: Timestamp::now(),
            labels: new.labels,
            options: new.options,
            anonymous: new.anonymous,
            name,
        };
        let unfinished = self.root.join(format!("{UNFINISHED}{}", hex::encode(random::bytes::<8>()?)));
        let data = unfinished.join(DATA);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o711);
        builder.create(&unfinished).map_err(|e| Error::io("mkdir", &unfinished, e))?;
        let made = self.fill(&volume, &unfinished, &data).and_then(|()| {
            crate::failpoint!("volume.made");
            let target = self.dir(&volume.name);
            match fs::rename(&unfinished, &target) {
                // A directory without a record is the rest of something: nobody's.
                Err(_) if target.join(RECORD).exists() => Err(Error::new(
                    ErrorKind::Conflict,
                    format!("volume with name {} already exists", volume.name),
                )),
                Err(e) => Err(Error::io("rename to", &target, e)),
                Ok(()) => Ok(()),
            }
        });
        if let Err(e) = made {
            let _ = fs::remove_dir_all(&unfinished);
            return Err(e);
        }
        crate::failpoint!("volume.placed");
        self.tell("create", &volume.name);
        Ok(volume)
    }

    fn fill(&self, volume: &Volume, unfinished: &Path, data: &Path) -> Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o755).create(data).map_err(|e| Error::io("mkdir", data, e))?;
        self.limit(&volume.options, data)?;
        mounting::give_to_owner(&volume.options, data)?;
        if !volume.is_mount() {
            let mark = unfinished.join(UNFILLED);
            fs::File::create(&mark).map_err(|e| Error::io("create", &mark, e))?;
        }
        let text = serde_json::to_vec(volume).map_err(|e| Error::corrupt(e.to_string()))?;
        let durability = if volume.anonymous { Durability::None } else { Durability::Synced };
        atomic::write(&unfinished.join(RECORD), &text, 0o600, durability)
    }

    /// The volume of exactly this name.
    ///
    /// `NotFound` if there is none.
    pub fn get(&self, name: &str) -> Result<Volume> {
        let missing = || Error::not_found(format!("no such volume: {name}")).with_hint("see `volume ls`");
        check_name(name).map_err(|_| missing())?;
        let path = self.dir(name).join(RECORD);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e)
                if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
            {
                return Err(missing());
            }
            Err(e) => return Err(Error::io("read", &path, e)),
        };
        let volume: Volume =
            serde_json::from_slice(&text).map_err(|e| Error::corrupt(format!("{}: {e}", path.display())))?;
        Ok(Volume { name: name.to_owned(), ..volume })
    }

    /// The volume that a name, or the beginning of one, means.
    ///
    /// `NotFound` if there is none, `Conflict` if there are several.
    pub fn resolve(&self, name: &str) -> Result<Volume> {
        match self.get(name) {
            Err(e) if e.kind() == ErrorKind::NotFound && !name.is_empty() => {
                let all = self.list()?;
                let mut begin = all.into_iter().filter(|v| v.name.starts_with(name));
                match (begin.next(), begin.next()) {
                    (None, _) => Err(e),
                    (Some(only), None) => Ok(only),
                    (Some(a), Some(b)) => Err(Error::new(
                        ErrorKind::Conflict,
                        format!("volume name {name} is ambiguous: {} and {}", a.name, b.name),
                    )),
                }
            }
            found => found,
        }
    }

    /// All volumes, by name.
    pub fn list(&self) -> Result<Vec<Volume>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("list", &self.root, e)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("list", &self.root, e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            match self.get(&name) {
                Ok(volume) => found.push(volume),
                // Being made, being removed, or somebody else's.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Directories of volumes whose record is missing or cannot be read.
    pub fn damaged(&self) -> Result<Vec<Damaged>> {
        let mut found = Vec::new();
        for name in names_in(&self.root) {
            if check_name(&name).is_err() || !self.dir(&name).is_dir() || self.get(&name).is_ok() {
                continue;
            }
            let has_files = fs::read_dir(self.data(&name)).is_ok();
            found.push(Damaged { name, has_files });
        }
        Ok(found)
    }

    /// Gives a volume whose record is lost a new one.
    pub fn record_again(&self, name: &str) -> Result<()> {
        let _unused = self.unused()?;
        if self.get(name).is_ok() {
            return Ok(());
        }
        let made = fs::metadata(self.dir(name)).and_then(|meta| meta.modified()).ok();
        let volume = Volume {
            name: name.to_owned(),
            created: made.and_then(|at| Timestamp::try_from(at).ok()).unwrap_or_else(Timestamp::now),
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
            anonymous: false,
        };
        let text = serde_json::to_vec(&volume).map_err(|e| Error::corrupt(e.to_string()))?;
        atomic::write(&self.dir(name).join(RECORD), &text, 0o600, Durability::Synced)
    }

    /// Bytes of the volume's files; a mounted one's are not ours to count.
    pub fn size(&self, volume: &Volume) -> Result<u64> {
        if volume.is_mount() { Ok(0) } else { tree::size(&self.data(&volume.name)) }
    }

    /// Held by whoever gives a container a volume, from looking whether it is there until the container can be seen to
    /// have it: nobody removes volumes meanwhile.
    pub fn in_use(&self) -> Result<DirLock> {
        self.lock(DirLock::shared)
    }

    /// Held by whoever removes volumes, from looking who has them: nobody takes one meanwhile.
    pub fn unused(&self) -> Result<DirLock> {
        self.lock(DirLock::exclusive)
    }

    fn lock(&self, take: fn(&Path) -> Result<DirLock>) -> Result<DirLock> {
        fs::create_dir_all(&self.root).map_err(|e| Error::io("mkdir", &self.root, e))?;
        take(&self.root)
    }

    /// Removes a volume with all that is in it. Whether somebody uses it is for the caller to know.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.retire(name)?.discard()
    }

    /// Takes a volume out of sight: from here on there is none of that name. What was in it is still to be removed, which
    /// takes its time.
    pub fn retire(&self, name: &str) -> Result<Retired> {
        check_name(name)?;
        self.force_release(name)?;
        let gone = self.root.join(format!("{UNFINISHED}{}", hex::encode(random::bytes::<8>()?)));
        match fs::rename(self.dir(name), &gone) {
            Ok(()) => self.tell("destroy", name),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Retired(None)),
            Err(e) => return Err(Error::io("rename", self.dir(name), e)),
        }
        crate::failpoint!("volume.retired");
        Ok(Retired(Some(gone)))
    }

    /// Removes what an interrupted create or remove left more than an hour ago.
    pub fn sweep(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let old = entry
                .metadata()
                .and_then(|m| m.modified())
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > std::time::Duration::from_secs(3600)));
            if old && entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                Self::unlimit(&entry.path().join(DATA));
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Notes that a container has the anonymous volume.
    pub fn share(&self, name: &str, container: &str) -> Result<()> {
        let file = self.dir(name).join(SHARERS).join(container);
        match fs::File::create(&file) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            other => return other.map(drop).map_err(|e| Error::io("create", &file, e)),
        }
        let directory = self.dir(name).join(SHARERS);
        fs::create_dir_all(&directory).map_err(|e| Error::io("mkdir", &directory, e))?;
        fs::File::create(&file).map(drop).map_err(|e| Error::io("create", &file, e))
    }

    /// The container has it no more.
    pub fn unshare(&self, name: &str, container: &str) -> Result<()> {
        let file = self.dir(name).join(SHARERS).join(container);
        match fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("unlink", &file, e)),
            _ => Ok(()),
        }
    }

    /// The containers that have, or had when they were killed, the anonymous volume.
    pub fn sharers(&self, name: &str) -> Vec<String> {
        names_in(&self.dir(name).join(SHARERS))
    }

    /// Whether no container has used it yet.
    pub fn is_unused(&self, name: &str) -> bool {
        [UNFILLED, FILLING].iter().any(|mark| fs::symlink_metadata(self.dir(name).join(mark)).is_ok())
    }

    /// Fills the volume once: calls `copy` with its directory if nobody has used it and it is empty. A copy that was
    /// interrupted is begun again.
    pub fn fill_once(&self, name: &str, copy: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let (unfilled, filling) = (self.dir(name).join(UNFILLED), self.dir(name).join(FILLING));
        let data = self.data(name);
        if fs::symlink_metadata(&filling).is_ok() {
            // Nothing ran on it yet. The directory itself stays, as it may have limits.
            empty(&data)?;
        } else if fs::symlink_metadata(&unfilled).is_ok() {
            let empty = fs::read_dir(&data).map_err(|e| Error::io("list", &data, e))?.next().is_none();
            if !empty {
                return fs::remove_file(&unfilled).map_err(|e| Error::io("unlink", &unfilled, e));
            }
            fs::rename(&unfilled, &filling).map_err(|e| Error::io("rename", &unfilled, e))?;
        } else {
            return Ok(());
        }
        crate::failpoint!("volume.filling");
        copy(&data)?;
        crate::failpoint!("volume.filled");
        fs::remove_file(&filling).map_err(|e| Error::io("unlink", &filling, e))
    }
}

/// The names in a directory, sorted; none if it is not there.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Removes what is in a directory.
fn empty(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).map_err(|e| Error::io("list", directory, e))? {
        let path = entry.map_err(|e| Error::io("list", directory, e))?.path();
        let is_dir = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
        let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(|e| Error::io("remove", &path, e))?;
    }
    Ok(())
}

/// What was in a volume that is none any more.
#[must_use]
#[derive(Debug)]
pub struct Retired(Option<PathBuf>);

impl Retired {
    /// Removes it. The container's processes wrote into it: it is walked without following links.
    pub fn discard(self) -> Result<()> {
        let Some(gone) = self.0 else { return Ok(()) };
        Volumes::unlimit(&gone.join(DATA));
        fs::remove_dir_all(&gone).map_err(|e| Error::io("remove", &gone, e))
    }
}

impl Volume {
    /// Whether it is a mount of something else.
    pub fn is_mount(&self) -> bool {
        mounting::is_mount(&self.options)
    }
}

/// Docker's rule for names of volumes, which podman shares.
///
/// `Invalid` for anything but letters, digits, `_`, `.` and `-` after a first letter or digit.
pub fn check_name(name: &str) -> Result<()> {
    if name.len() <= 255 && is_name(name) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed"
    ))
    .with_hint("if you intended to pass a host directory, use an absolute path"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn volumes(directory: &Path) -> Volumes {
        let mut config = Config::default();
        config.paths.volumes = directory.join("volumes");
        config.paths.run_state = directory.join("run");
        Volumes::open(&config)
    }

    fn named(name: &str) -> NewVolume {
        NewVolume { name: name.to_owned(), ..NewVolume::default() }
    }

    #[test]
    fn a_volume_is_made_once_found_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let volumes = volumes(directory.path());
        assert!(volumes.list().unwrap().is_empty());
        let made = volumes.create(named("data")).unwrap();
        assert_eq!(volumes.get("data").unwrap(), made);
        assert_eq!(volumes.create(named("data")).unwrap_err().kind(), ErrorKind::Conflict);
        let anonymous = volumes.create(named("")).unwrap();
        assert_eq!(volumes.list().unwrap().len(), 2);
        assert_eq!(volumes.resolve(&anonymous.name[..8]).unwrap().name, anonymous.name);
        volumes.create(named("data2")).unwrap();
        assert_eq!(volumes.resolve("dat").unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(volumes.resolve("data").unwrap().name, "data");
        volumes.remove("data").unwrap();
        assert_eq!(volumes.get("data").unwrap_err().kind(), ErrorKind::NotFound);
        for bad in ["", "../x", ".hidden", "a/b", "-x", "é"] {
            assert!(check_name(bad).is_err(), "{bad}");
            assert!(volumes.get(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_volume_is_filled_once_and_never_over_anything() {
        let directory = tempfile::tempdir().unwrap();
        let volumes = volumes(directory.path());
        volumes.create(named("a")).unwrap();
        assert!(volumes.is_unused("a"));
        let fill = |path: &Path| -> Result<()> {
            fs::write(path.join("from-image"), "x").unwrap();
            Ok(())
        };
        volumes.fill_once("a", fill).unwrap();
        assert!(!volumes.is_unused("a") && volumes.data("a").join("from-image").exists());
        volumes.fill_once("a", |_| panic!("filled twice")).unwrap();
        volumes.create(named("b")).unwrap();
        fs::write(volumes.data("b").join("mine"), "x").unwrap();
        volumes.fill_once("b", |_| panic!("filled over something")).unwrap();
        assert!(volumes.data("b").join("mine").exists());
        // An interrupted copy.
        volumes.create(named("c")).unwrap();
        let broken = volumes.fill_once("c", |path| {
            fs::write(path.join("half"), "x").unwrap();
            Err(Error::corrupt("power cut"))
        });
        assert!(broken.is_err());
        volumes.fill_once("c", fill).unwrap();
        assert!(!volumes.data("c").join("half").exists() && volumes.data("c").join("from-image").exists());
    }
}
