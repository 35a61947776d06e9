//! Owner, mode, times and extended attributes of what an archive holds.

use std::cell::Cell;
use std::ffi::CString;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Gid, Mode, Timestamps, Uid};
use rustix::io::Errno;

use crate::engine::host::rooted;
use crate::engine::spec::IdMapping;
use crate::engine::{Error, ErrorKind, Result};

use super::parents::{Dir, time};
use super::tar::{Entry, Kind};
use super::{ApplyOptions, Whiteouts};

/// containers/storage `pkg/idtools`: owner and mode that `force_mask` hides; fuse-overlayfs shows them again.
const OVERRIDE: &str = "user.containers.override_stat";

/// Gives files what their entries say, by the options of this layer.
pub struct Metadata<'a> {
    options: &'a ApplyOptions,
    /// What a new file's owner and group are without a chown.
    own: (u32, u32),
    /// Permissions that a new file does not get; all, when the umask is not known.
    umask: Cell<u32>,
    told_of_xattrs: Cell<bool>,
}

/// Where a file is: by descriptor when it could be opened, else by name.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Its directory.
    pub dir: &'a Dir,
    /// Its name there.
    pub name: &'a [u8],
    /// A descriptor that is not `O_PATH`.
    pub fd: Option<BorrowedFd<'a>>,
    /// It was made just now by us, so it has our owner and the mode of its creation.
    pub fresh: bool,
}

impl Place<'_> {
    fn error(&self, op: &str, e: Errno) -> Error {
        Error::io(op, self.dir.join(self.name), e)
    }
}

impl<'a> Metadata<'a> {
    /// For one layer.
    pub fn new(options: &'a ApplyOptions) -> Self {
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        // A directory that was here before us may have a default ACL, which replaces the umask.
        let ours = options.whiteouts != Whiteouts::Raw && options.merge.is_none();
        let umask = if ours { umask() } else { None };
        Self { options, own, umask: Cell::new(umask.unwrap_or(0o777)), told_of_xattrs: Cell::new(false) }
    }

    /// An archive's owner and group as they are stored.
    pub fn owner(&self, entry: &Entry) -> Result<(u32, u32)> {
        let id = |id: i64, maps: fn(&super::IdMaps) -> &[IdMapping]| {
            // 2^32-1 means "no change" to chown(2), and a larger one would wrap round to somebody else's.
            let valid = u32::try_from(id).ok().filter(|id| *id != u32::MAX);
            let mapped = match &self.options.id_maps {
                Some(all) => valid.and_then(|id| map_id(maps(all), id)),
                None => valid,
            };
            mapped.ok_or_else(|| {
                let name = String::from_utf8_lossy(&entry.name);
                Error::corrupt(format!("{name:?} belongs to ID {id}, which cannot be stored"))
            })
        };
        let (uid, gid) = match self.options.merge.and_then(|merge| merge.owner) {
            Some((uid, gid)) => (uid.into(), gid.into()),
            None => (entry.uid, entry.gid),
        };
        Ok((id(uid, |m| &m.uids)?, id(gid, |m| &m.gids)?))
    }

    /// The host's IDs of the container's root, when they are not ours.
    pub fn root_owner(&self) -> Option<(u32, u32)> {
        let maps = self.options.id_maps.as_ref()?;
        let root = (map_id(&maps.uids, 0)?, map_id(&maps.gids, 0)?);
        (root != self.own).then_some(root)
    }

    /// The mode to pass when a file is made; the rest of [`Metadata::mode`] follows by chmod.
    pub fn creation_mode(&self, entry: &Entry) -> Mode {
        Mode::from_raw_mode(self.mode(entry) & 0o777)
    }

    fn mode(&self, entry: &Entry) -> u32 {
        self.options.force_mask.unwrap_or(entry.mode)
    }

    /// Owner, mode, extended attributes and times. For a directory that is open, the times are its keeper's matter.
    pub fn apply(&self, entry: &Entry, place: Place<'_>) -> Result<()> {
        if self.options.force_mask.is_none() {
            self.chown(entry, place)?;
        }
        if entry.kind != Kind::Symlink {
            self.chmod(entry, place)?;
        }
        self.xattrs(entry, place)?;
        if entry.kind != Kind::Directory {
            self.set_times(entry, place)?;
        }
        Ok(())
    }

    /// Owner alone, as for a whiteout.
    pub fn chown(&self, entry: &Entry, place: Place<'_>) -> Result<()> {
        let (uid, gid) = self.owner(entry)?;
        if place.fresh && (uid, gid) == self.own && !place.dir.set_gid {
            return Ok(());
        }
        let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        let changed = match place.fd {
            Some(fd) => rustix::fs::fchown(fd, user, group),
            None => {
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::chownat(place.dir.fd(), place.name, user, group, flags)
            }
        };
        match changed {
            Ok(()) => Ok(()),
            Err(_) if self.options.ignore_chown_errors => Ok(()),
            Err(e @ (Errno::INVAL | Errno::PERM)) if self.options.in_userns => {
                Err(place.error(&format!("chown to {uid}:{gid}"), e).with_kind(ErrorKind::Unsupported).with_hint(
                    "the user namespace has too few IDs for this image: give the user a range of 65536 or more \
                     in /etc/subuid and /etc/subgid",
                ))
            }
            Err(e) => Err(place.error(&format!("chown to {uid}:{gid}"), e)),
        }
    }

    fn chmod(&self, entry: &Entry, place: Place<'_>) -> Result<()> {
        let mode = self.mode(entry) & 0o7777;
        if place.fresh && !place.dir.set_gid && mode & (0o7000 | self.umask.get()) == 0 {
            return Ok(());
        }
        let mode = Mode::from_raw_mode(mode);
        match place.fd {
            Some(fd) => rustix::fs::fchmod(fd, mode),
            None => rooted::chmod_at(place.dir.fd(), &cstring(place.name)?, mode),
        }
        .map_err(|e| place.error("chmod", e))
    }

    fn xattrs(&self, entry: &Entry, place: Place<'_>) -> Result<()> {
        for (key, value) in &entry.xattrs {
            if self.is_ours(key) {
                continue;
            }
            match set_xattr(place, key, value) {
                // From now on creation modes are not cut by the umask alone.
                Ok(()) if key == b"system.posix_acl_default" => self.umask.set(0o777),
                Ok(()) => {}
                Err(Errno::OPNOTSUPP) => self.tell(key, place),
                Err(Errno::PERM) if self.options.in_userns => {
                    tracing::debug!(
                        "{}: {} not set",
                        place.dir.join(place.name),
                        String::from_utf8_lossy(key)
                    );
                }
                Err(e) => return Err(place.error(&format!("set {} of", String::from_utf8_lossy(key)), e)),
            }
        }
        if self.options.force_mask.is_some() && !matches!(entry.kind, Kind::Symlink | Kind::HardLink) {
            let value = self.override_value(entry)?;
            set_xattr(place, OVERRIDE.as_bytes(), value.as_bytes())
                .map_err(|e| place.error("set override of", e))?;
        }
        Ok(())
    }

    /// `UID:GID:MODE:TYPE` (containers/storage `pkg/idtools`, FormatContainersOverrideXattrDevice).
    pub fn override_value(&self, entry: &Entry) -> Result<String> {
        let (uid, gid) = self.owner(entry)?;
        let (major, minor) = entry.device;
        let kind = match entry.kind {
            Kind::Directory => "dir".to_owned(),
            Kind::Symlink => "symlink".to_owned(),
            Kind::Fifo => "pipe".to_owned(),
            Kind::BlockDevice => format!("block-{major}-{minor}"),
            Kind::CharDevice => format!("char-{major}-{minor}"),
            Kind::File | Kind::HardLink | Kind::Global => "file".to_owned(),
        };
        Ok(format!("{uid}:{gid}:{:04o}:{kind}", entry.mode))
    }

    /// Attributes an image has no say in: labels are given at mount, and overlay's own would let a layer redirect or
    /// hide what is below it.
    fn is_ours(&self, key: &[u8]) -> bool {
        let overlay: &[&[u8]] = match self.options.whiteouts {
            Whiteouts::Native => &[b"trusted.overlay."],
            Whiteouts::UserXattr => &[b"trusted.overlay.", b"user.overlay."],
            Whiteouts::Literal => &[b"trusted.overlay.", b"user.overlay.", b"user.fuseoverlayfs."],
            Whiteouts::Raw => &[],
        };
        key == b"security.selinux" || overlay.iter().any(|prefix| key.starts_with(prefix))
    }

    fn tell(&self, key: &[u8], place: Place<'_>) {
        if !self.told_of_xattrs.replace(true) {
            let (name, key) = (place.dir.join(place.name), String::from_utf8_lossy(key));
            tracing::warn!("{name}: the file system does not support the attribute {key}; it is left out");
        }
    }

    fn set_times(&self, entry: &Entry, place: Place<'_>) -> Result<()> {
        let (last_access, last_modification) = times(entry);
        let times = Timestamps { last_access, last_modification };
        match place.fd {
            Some(fd) => rustix::fs::futimens(fd, &times),
            None => rustix::fs::utimensat(place.dir.fd(), place.name, &times, AtFlags::SYMLINK_NOFOLLOW),
        }
        .map_err(|e| place.error("set the times of", e))
    }
}

/// Access and modification time; a file was not read before it was last written.
pub fn times(entry: &Entry) -> (rustix::fs::Timespec, rustix::fs::Timespec) {
    let atime = entry.atime.unwrap_or(entry.mtime).max(entry.mtime);
    let convert = |t: super::tar::Time| time(t.seconds, t.nanoseconds.unsigned_abs());
    (convert(atime), convert(entry.mtime))
}

/// Sets one attribute, of the link itself where it is a symbolic link.
pub fn set_xattr(place: Place<'_>, key: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    let flags = rustix::fs::XattrFlags::empty();
    match place.fd {
        Some(fd) => rustix::fs::fsetxattr(fd, key, value, flags),
        None => {
            let key = CString::new(key).map_err(|_| Errno::INVAL)?;
            let name = CString::new(place.name).map_err(|_| Errno::INVAL)?;
            rooted::set_xattr_at(place.dir.fd(), &name, &key, value)
        }
    }
}

/// A name for a system call.
pub fn cstring(name: &[u8]) -> Result<CString> {
    CString::new(name).map_err(|_| Error::corrupt("a name has a NUL byte"))
}

fn map_id(maps: &[IdMapping], id: u32) -> Option<u32> {
    if maps.is_empty() {
        return Some(id);
    }
    maps.iter().find_map(|m| {
        let offset = id.checked_sub(m.container_id)?;
        (offset < m.size).then(|| m.host_id.checked_add(offset)).flatten()
    })
}

/// The process's umask, without changing it as umask(2) would.
fn umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(value.trim(), 8).ok()
}
