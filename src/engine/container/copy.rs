//! `cp`: files into a container and out of it, as tars.
//!
//! A running container is seen through the root directory of its process, so what is mounted in it is there, too; of
//! another one the store's layers are mounted, and a path in a volume or bind is looked up in that. Every path inside is
//! resolved by descriptor below that root, whatever links the container has laid, and nothing of it is read but through
//! descriptors (CVE-2018-15664, CVE-2019-14271: docker resolved such paths by name, and loaded libraries of the container).

use super::stop::gone;
use super::told::tell;
use super::volumes;
use crate::engine::host::process::PidFd;
use crate::engine::host::relay::relay;
use crate::engine::host::rooted::{self, open_directory};
use crate::engine::spec::{IdMappings, MountKind};
use crate::engine::state::Record;
use crate::engine::store::MountOptions;
use crate::engine::store::diff::create::{Archive, ArchiveOptions, ChangeKind, Node, Sink, everything};
use crate::engine::store::diff::{IdMaps, Merge, Whiteouts, unpack};
use crate::engine::{Engine, Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// How to copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyOptions {
    /// Follow a symbolic link in the source's last place.
    pub follow: bool,
    /// Owners stay as they are; otherwise everything becomes the receiver's: the container's user, or the caller.
    pub keep_owners: bool,
    /// Directories may be replaced by files, and the other way round.
    pub overwrite: bool,
}

/// A place: a container's, or the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A path in a container, named as typed.
    Container {
        /// Name or ID.
        name: String,
        /// Path; relative ones begin at the root.
        path: String,
    },
    /// A path of the host.
    Host(PathBuf),
}

/// Copies a file or directory as docker's rules say (`docker cp`, "Copying files and folders"): into a directory that is
/// there by its own name, under the destination's name where nothing is, a directory's contents if the source ends in
/// `/.`. Returns how many bytes the archive had that it went through.
///
/// # Errors
/// `NotFound` for a missing container, source, or destination directory; `Invalid` where a directory meets a file.
pub fn copy(engine: &Engine, from: &Place, to: &Place, options: &CopyOptions) -> Result<u64> {
    let source = Side::open(engine, from, false)?;
    let target = Side::open(engine, to, true)?;
    let item = source.item(options.follow)?;
    let landing = target.landing(&item)?;
    let apply_options = target.apply_options(engine, options)?;
    let bytes = relay(
        |out| source.send(&item, &landing.name, true, out),
        |archive| unpack(archive, landing.directory.as_fd(), &apply_options),
    )?;
    crate::failpoint!("cp.copied");
    told(engine, from, "archive-path");
    told(engine, to, "extract-to-dir");
    Ok(bytes)
}

/// Tells of a copy, in docker's words.
fn told(engine: &Engine, place: &Place, action: &str) {
    if let Place::Container { name, path } = place
        && let Ok(record) = engine.state.resolve(name).and_then(|id| engine.state.load(&id))
    {
        tell(engine, action, &record, &[("path", path)]);
    }
}

/// Writes a file or directory of a container as a tar.
///
/// # Errors
/// As [`copy`].
pub fn copy_out(engine: &Engine, from: &Place, options: &CopyOptions, out: impl Write + Send) -> Result<()> {
    let source = Side::open(engine, from, false)?;
    let item = source.item(options.follow)?;
    let name = item.name.clone();
    source.send(&item, &name, false, out)?;
    told(engine, from, "archive-path");
    Ok(())
}

/// Unpacks a tar, compressed or not, into a directory of a container.
///
/// # Errors
/// `NotFound` or `Invalid` if that is no directory; `Corrupt` if it is no tar. What was unpacked before stays.
pub fn copy_in(engine: &Engine, archive: impl Read, to: &Place, options: &CopyOptions) -> Result<()> {
    let target = Side::open(engine, to, true)?;
    let directory = match target.at(&target.path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(directory) => directory,
        Err(rustix::io::Errno::NOTDIR) => {
            return Err(Error::invalid(format!(
                "destination \"{}\" must be a directory when copying from stdin",
                target.shown
            )));
        }
        Err(e) => return Err(target.failed(e)),
    };
    unpack(archive, directory.as_fd(), &target.apply_options(engine, options)?)?;
    told(engine, to, "extract-to-dir");
    Ok(())
}

/// One end of a copy.
struct Side<'e> {
    root: OwnedFd,
    /// Cleaned, relative to the root, without a slash at either end.
    path: PathBuf,
    /// As typed.
    shown: String,
    /// Its end: the contents are meant, not the directory.
    contents: bool,
    /// It ends in a slash: it must be a directory.
    directory: bool,
    inside: Option<Inside<'e>>,
}

/// What a container's side has more.
struct Inside<'e> {
    name: String,
    id_maps: IdMappings,
    /// The container's user, as inside of it.
    owner: (u32, u32),
    mounted: Option<(&'e Engine, String)>,
    volumes: Option<(&'e Engine, String)>,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Some((engine, id)) = &self.mounted
            && let Err(e) = engine.store.unmount(id, false)
        {
            tracing::debug!("{e}");
        }
        if let Some((engine, user)) = &self.volumes
            && let Err(e) = volumes::release(engine, user)
        {
            tracing::debug!("{e}");
        }
    }
}

/// What is copied.
struct Item {
    node: Node,
    /// Its name in the archive; empty: its contents only.
    name: Vec<u8>,
}

/// Where it goes: a directory, and the name there; empty: it merges with the directory.
struct Landing {
    directory: OwnedFd,
    name: Vec<u8>,
}

impl<'e> Side<'e> {
    fn open(engine: &'e Engine, place: &Place, writes: bool) -> Result<Self> {
        let text = match place {
            Place::Container { path, .. } => path.clone(),
            Place::Host(path) => path.to_string_lossy().into_owned(),
        };
        let contents = text == "." || text.ends_with("/.") || text == "/" || text.is_empty();
        let directory = contents || text.ends_with('/');
        let mut side = match place {
            Place::Host(path) => {
                let absolute = engine.config.env.cwd.join(path);
                let root = open_directory(Path::new("/"))?;
                // The host's own links and `..` mean what they mean to the kernel.
                let path = absolute.strip_prefix("/").unwrap_or(&absolute).to_owned();
                Self { root, path, shown: text, contents, directory, inside: None }
            }
            Place::Container { name, path } => {
                let id = super::resolve(engine, name)?;
                let record = engine.state.load(&id)?;
                let (root, path, inside) = enter(engine, &record, name, &clean(path), writes)?;
                Self { root, path, shown: text, contents, directory, inside: Some(inside) }
            }
        };
        if side.path.as_os_str().is_empty() {
            side.path = PathBuf::from(".");
        }
        Ok(side)
    }

    fn at(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        match self.inside {
            Some(_) => rooted::open(self.root.as_fd(), path, flags, Mode::empty()),
            None => rustix::fs::openat(&self.root, path, flags, Mode::empty()),
        }
    }

    fn failed(&self, e: rustix::io::Errno) -> Error {
        match (&self.inside, e) {
            (Some(inside), rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Error::not_found(
                format!("Could not find the file {} in container {}", self.shown, inside.name),
            ),
            _ => Error::io("open", &self.shown, e),
        }
    }

    /// The source.
    fn item(&self, follow: bool) -> Result<Item> {
        let links = if follow || self.directory { OFlags::empty() } else { OFlags::NOFOLLOW };
        let fd = self.at(&self.path, OFlags::PATH | links).map_err(|e| self.failed(e))?;
        let node = Node::of(fd).map_err(|e| Error::io("stat", &self.shown, e))?;
        if self.directory && !node.is_dir() {
            return Err(Error::invalid(format!("{}: not a directory", self.shown)));
        }
        let name = match self.path.file_name() {
            Some(name) if !self.contents => name.as_bytes().to_vec(),
            _ => Vec::new(),
        };
        Ok(Item { node, name })
    }

    /// docker's table of what becomes of a source at a destination.
    fn landing(&self, item: &Item) -> Result<Landing> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let merge = item.node.is_dir() && item.name.is_empty();
        match self.at(&self.path, flags) {
            Ok(directory) => {
                return Ok(Landing { directory, name: if merge { Vec::new() } else { item.name.clone() } });
            }
            Err(rustix::io::Errno::NOTDIR) if self.exists() => {
                if item.node.is_dir() {
                    return Err(Error::invalid(format!(
                        "cannot copy a directory to the file {}",
                        self.shown
                    )));
                }
                if self.directory {
                    return Err(Error::invalid(format!("{}: not a directory", self.shown)));
                }
            }
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {
                if self.directory && !item.node.is_dir() {
                    return Err(Error::not_found(format!("destination directory {} must exist", self.shown)));
                }
            }
            Err(e) => return Err(self.failed(e)),
        }
        let parent = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let directory = self.at(parent, flags).map_err(|e| match e {
            rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => {
                Error::not_found(format!("no such directory: the parent of {}", self.shown))
            }
            e => Error::io("open the parent of", &self.shown, e),
        })?;
        let name = self.path.file_name().unwrap_or(OsStr::new("")).as_bytes().to_vec();
        Ok(Landing { directory, name })
    }

    fn exists(&self) -> bool {
        self.at(&self.path, OFlags::PATH).is_ok()
    }

    /// Writes the item as a tar under `name`; `sparse`: holes as such, which is between us.
    fn send(&self, item: &Item, name: &[u8], sparse: bool, out: impl Write) -> Result<()> {
        let id_maps = self.inside.as_ref().map(|inside| inside.id_maps.clone()).unwrap_or_default();
        let options = ArchiveOptions { id_maps, subsecond: true, sparse, ..ArchiveOptions::default() };
        let mut archive = Archive::new(out, options);
        if !name.is_empty() {
            archive.present(name, &item.node, ChangeKind::Added)?;
        }
        if item.node.is_dir() {
            let directory = item.node.read().map_err(|e| Error::io("open", &self.shown, e))?;
            everything(directory.as_fd(), &mut Below { name, sink: &mut archive })?;
        }
        archive.finish().map(drop)
    }

    fn apply_options(
        &self,
        engine: &Engine,
        options: &CopyOptions,
    ) -> Result<crate::engine::store::diff::ApplyOptions> {
        let mut apply = engine.store.apply_options()?;
        apply.whiteouts = Whiteouts::Literal;
        apply.force_mask = None;
        apply.id_maps = None;
        let owner = match &self.inside {
            Some(inside) => {
                if !inside.id_maps.is_empty() {
                    let IdMappings { uids, gids } = inside.id_maps.clone();
                    apply.id_maps = Some(IdMaps { uids, gids });
                }
                inside.owner
            }
            None => (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        };
        let owner = (!options.keep_owners).then_some(owner);
        apply.merge = Some(Merge { owner, keep_kinds: !options.overwrite });
        Ok(apply)
    }
}

/// Everything comes below a name.
pub(super) struct Below<'a> {
    /// The name; empty: it stays where it is.
    pub name: &'a [u8],
    /// Where it goes.
    pub sink: &'a mut dyn Sink,
}

impl Below<'_> {
    fn path(&self, path: &[u8]) -> Vec<u8> {
        if self.name.is_empty() { path.to_vec() } else { [self.name, b"/", path].concat() }
    }
}

impl Sink for Below<'_> {
    fn wants_kinds(&self) -> bool {
        self.sink.wants_kinds()
    }

    fn present(&mut self, path: &[u8], node: &Node, kind: ChangeKind) -> Result<()> {
        self.sink.present(&self.path(path), node, kind)
    }

    fn deleted(&mut self, path: &[u8], mark: Option<&Node>) -> Result<()> {
        self.sink.deleted(&self.path(path), mark)
    }

    fn opaque(&mut self, path: &[u8], node: &Node) -> Result<()> {
        self.sink.opaque(&self.path(path), node)
    }
}

/// A container's root, and the path below it: of a stopped one perhaps a volume's.
fn enter<'e>(
    engine: &'e Engine,
    record: &Record,
    name: &str,
    path: &Path,
    writes: bool,
) -> Result<(OwnedFd, PathBuf, Inside<'e>)> {
    let spec = record.spec()?;
    let mut inside = Inside {
        name: name.to_owned(),
        id_maps: IdMappings::default(),
        owner: (0, 0),
        mounted: None,
        volumes: None,
    };
    let host = super::facts::host_facts(engine, spec);
    if let Some(maps) = super::namespaces::id_maps(engine, spec, &host)? {
        inside.id_maps = IdMappings { uids: maps.uids, gids: maps.gids };
    }
    let owner = |root: BorrowedFd<'_>| {
        super::exec::identity(root, &spec.process.user, &[]).map(|user| (user.uid, user.gid))
    };
    if let Some(root) = running_root(record)? {
        inside.owner = owner(root.as_fd())?;
        return Ok((root, path.to_owned(), inside));
    }
    let root = match &spec.image.rootfs {
        Some(_) if writes && spec.image.rootfs_overlay => {
            let text = format!(
                "container {name} is not running: what is written over its directory is gone with a run"
            );
            return Err(Error::new(ErrorKind::InUse, text));
        }
        Some(rootfs) => open_directory(Path::new(rootfs))?,
        None => {
            let mounted = match engine.store.mount(&record.id, &MountOptions::default()) {
                // Removed meanwhile.
                Err(_) if engine.state.load(&record.id).is_err() => return Err(gone(&record.id)),
                mounted => mounted?,
            };
            crate::failpoint!("cp.mounted");
            inside.mounted = Some((engine, record.id.clone()));
            open_directory(&mounted)?
        }
    };
    inside.owner = owner(root.as_fd())?;
    if let Some((source, rest, read_only)) = mounted_there(engine, record, root.as_fd(), path, &mut inside)? {
        if writes && read_only {
            return Err(Error::invalid(format!("mounted volume is marked read-only: {}", path.display())));
        }
        return Ok((open_directory(&source)?, rest, inside));
    }
    if writes && spec.read_only {
        return Err(Error::invalid("container rootfs is marked read-only"));
    }
    Ok((root, path.to_owned(), inside))
}

/// The root directory of a container that runs, as its first process sees it.
fn running_root(record: &Record) -> Result<Option<OwnedFd>> {
    if !record.state.status.is_live() || record.state.pid == 0 {
        return Ok(None);
    }
    let Some(process) = PidFd::open(record.state.pid, record.state.pid_start)? else { return Ok(None) };
    let path = format!("/proc/{}/root", record.state.pid);
    let root = match open_directory(Path::new(&path)) {
        // It has just ended.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound) => return Ok(None),
        root => root?,
    };
    // The PID was the container's all the while.
    Ok((!process.wait(Some(std::time::Duration::ZERO))?).then_some(root))
}

/// The volume or bind of a stopped container that `path` leads into: its directory, the rest of the path, and whether it is
/// read-only.
fn mounted_there<'e>(
    engine: &'e Engine,
    record: &Record,
    root: BorrowedFd<'_>,
    path: &Path,
    inside: &mut Inside<'e>,
) -> Result<Option<(PathBuf, PathBuf, bool)>> {
    let relative = |target: &str| PathBuf::from(target.trim_start_matches('/'));
    let mounts =
        record.spec()?.mounts.iter().filter(|m| matches!(m.kind, MountKind::Volume | MountKind::Bind));
    let found = mounts
        .filter(|m| path.starts_with(relative(&m.target)))
        .max_by_key(|m| relative(&m.target).components().count());
    let Some(mount) = found else { return Ok(None) };
    let rest = path.strip_prefix(relative(&mount.target)).unwrap_or(path).to_owned();
    let source = match mount.kind {
        MountKind::Volume => {
            let user = format!("copy-{}-{}", std::process::id(), &record.id[..12]);
            inside.volumes = Some((engine, user.clone()));
            volumes::prepare(engine, &user, root, mount, super::sources::fill)?
        }
        _ => super::sources::bind_source(engine, mount)?,
    };
    if !source.is_dir() {
        return Err(Error::unsupported(format!(
            "{} is a file that is mounted when the container runs",
            mount.target
        ))
        .with_hint("start the container first, or copy the file itself"));
    }
    Ok(Some((source, rest, mount.read_only)))
}

/// Relative to the root, without `.` and, as far as names go, without `..`.
fn clean(path: &str) -> PathBuf {
    let mut out = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => drop(out.pop()),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        for (path, want) in [("/a/b/", "a/b"), ("a", "a"), ("/", ""), ("../../etc/../x/.", "x"), ("", "")] {
            assert_eq!(clean(path), Path::new(want), "{path}");
        }
    }
}
