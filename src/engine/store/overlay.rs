//! Layer directories of the overlay driver (`drivers/overlay/overlay.go`).
//!
//! `<home>/<layer>/diff` holds the layer's own files, `link` the name of a short symbolic link `<home>/l/<26 letters>`
//! to it, `lower` the links of all layers below it (`l/AAA:l/BBB`), `work` and `merged` what a mount needs, `empty` a
//! lower directory for a layer without parent. Callers hold the write lock of the layers.

use super::staging::StagedLayer;
use super::{Store, file};
use crate::engine::host::mount;
use crate::engine::host::quota::{self, Limits};
use crate::engine::{Context, Error, ErrorKind, Result};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

/// Mode of a root directory that nothing else decides (upstream's `defaultPerms`).
const ROOT_MODE: u32 = 0o555;
/// More layers than that cannot be stacked (upstream's `maxDepth`; the kernel's limit too).
pub(super) const MAX_DEPTH: usize = 500;

/// A layer directory and whether it may be written.
#[derive(Clone, Debug)]
pub(super) struct LayerDir {
    pub(super) path: PathBuf,
    pub(super) read_only: bool,
}

/// What a new layer directory is made of.
#[derive(Debug)]
pub(super) struct NewDir<'a> {
    pub(super) id: &'a str,
    /// The layer below *on disk*.
    pub(super) parent: Option<&'a str>,
    /// Contents for `diff`; `None`: an empty one.
    pub(super) staged: Option<&'a StagedLayer>,
    /// Owner of what is made, for a layer whose files are chowned to an ID map.
    pub(super) root: (u32, u32),
    /// Below the image store rather than the graph root.
    pub(super) image: bool,
    /// How much may be written into it.
    pub(super) limits: Limits,
}

/// Where the project IDs of layers begin ("CS"): those of volumes come before, podman's and docker's are small numbers.
const FIRST_PROJECT: u32 = 0x4353_0000;

impl Store {
    /// Where the directory of a layer is: our own, the image store's, an additional store's.
    pub(super) fn layer_dir(&self, id: &str) -> Option<LayerDir> {
        let own = self.home_of(&self.layout.home, id);
        if own.exists() {
            return Some(LayerDir { path: own, read_only: false });
        }
        if self.layout.image_home != self.layout.home {
            let image = self.home_of(&self.layout.image_home, id);
            if image.exists() {
                return Some(LayerDir { path: image, read_only: false });
            }
        }
        let additional = self.additional_homes().map(|home| self.home_of(&home, id)).find(|d| d.exists());
        additional.map(|path| LayerDir { path, read_only: true })
    }

    /// Makes the directory of an overlay layer. An orphan of that name is removed first. On failure nothing is left.
    pub(super) fn overlay_make(&self, new: &NewDir<'_>) -> Result<()> {
        let home = if new.image { &self.layout.image_home } else { &self.layout.home };
        let directory = home.join(new.id);
        let made = match self.overlay_fill(home, &directory, new) {
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => {
                tracing::debug!("removing the orphaned layer directory {}", directory.display());
                self.overlay_remove(home, new.id)?;
                self.overlay_fill(home, &directory, new)
            }
            other => other,
        };
        if made.is_err() {
            let _ = self.overlay_remove(home, new.id);
        }
        made
    }

    fn overlay_fill(&self, home: &Path, directory: &Path, new: &NewDir<'_>) -> Result<()> {
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                file::make_dirs(&home.join("l"), 0o755)?;
                make_dir(directory, 0o700, new.root)?;
            }
            Err(e) => return Err(Error::io("mkdir", directory, e)),
            Ok(()) => give(directory, new.root)?,
        }
        if new.limits != Limits::default() {
            self.limit_layer(home, directory, new.limits)?;
        }
        let parent = match new.parent {
            Some(id) => Some(self.layer_dir(id).ok_or_else(|| layer_missing(id))?.path),
            None => None,
        };
        self.make_diff(directory, parent.as_deref(), new)?;
        let link = super::random_link()?;
        make_link(home, new.id, &link)?;
        write_small(&directory.join("link"), link.as_bytes())?;
        make_dir(&directory.join("work"), 0o700, new.root)?;
        make_dir(&directory.join("merged"), 0o700, new.root)?;
        match parent {
            None => make_dir(&directory.join("empty"), 0o700, new.root),
            Some(parent) => write_small(&directory.join("lower"), self.lower_chain(&parent)?.as_bytes()),
        }
    }

    /// Limits the new, empty directory of a layer, and so what is going to be in it (`drivers/quota/projectquota_supported.go`).
    fn limit_layer(&self, home: &Path, directory: &Path, limits: Limits) -> Result<()> {
        if self.options.rootless {
            return Err(Error::unsupported("the size of a container's layer: only root can set quotas"));
        }
        let entries = fs::read_dir(home).map_err(|e| Error::io("read", home, e))?;
        let beside = entries.flatten().map(|entry| entry.path());
        quota::limit_by_itself(directory, beside, FIRST_PROJECT, limits)
            .context("limit the size of the container's layer")
    }

    /// `diff` with the owner and mode of its parent's, unless the staged layer has a root entry of its own.
    fn make_diff(&self, directory: &Path, parent: Option<&Path>, new: &NewDir<'_>) -> Result<()> {
        let diff = directory.join("diff");
        let below = parent.map(|parent| parent.join("diff"));
        let (mode, owner) = match &below {
            Some(below) => root_of(Some(below))?,
            None => (ROOT_MODE, new.root),
        };
        match new.staged {
            Some(staged) => staged.place(&diff, mode, owner),
            None => make_dir(&diff, mode, owner),
        }
    }

    /// The content of `lower` for a child of this layer.
    fn lower_chain(&self, parent: &Path) -> Result<String> {
        let link = self.link_of(parent)?;
        let path = parent.join("lower");
        let below = file::read_bytes(&path)?;
        let below = String::from_utf8_lossy(&below);
        if below.split(':').count() >= MAX_DEPTH {
            return Err(Error::unsupported(format!("more than {MAX_DEPTH} layers on top of each other")));
        }
        if below.is_empty() { Ok(format!("l/{link}")) } else { Ok(format!("l/{link}:{below}")) }
    }

    fn link_of(&self, directory: &Path) -> Result<String> {
        let path = directory.join("link");
        match fs::read_to_string(&path) {
            Ok(link) => Ok(link.trim().to_owned()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.recreate_links()?;
                let link = fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
                Ok(link.trim().to_owned())
            }
            Err(e) => Err(Error::io("read", &path, e)),
        }
    }

    /// The lower directories of a layer as paths below one of the stores, the uppermost first.
    pub(super) fn overlay_lowers(&self, directory: &LayerDir) -> Result<Vec<PathBuf>> {
        let text = file::read_bytes(&directory.path.join("lower"))?;
        let text = String::from_utf8_lossy(&text);
        let links: Vec<&str> = text.split(':').map(str::trim).filter(|l| !l.is_empty()).collect();
        if links.len() > MAX_DEPTH {
            return Err(Error::unsupported("too many layers on top of each other"));
        }
        let mut homes = vec![self.layout.home.clone()];
        if self.layout.image_home != self.layout.home {
            homes.push(self.layout.image_home.clone());
        }
        homes.extend(self.additional_homes());
        let find = |link: &str| homes.iter().map(|home| home.join(link)).find(|path| path.exists());
        let mut lowers = Vec::with_capacity(links.len());
        let mut repaired = false;
        for link in links {
            let mut path = find(link);
            if path.is_none() && !repaired {
                self.recreate_links()?;
                repaired = true;
                path = find(link);
            }
            lowers.push(path.ok_or_else(|| {
                Error::corrupt(format!(
                    "the layer behind {} is missing",
                    self.layout.home.join(link).display()
                ))
                .with_hint("remove the image and pull it again")
            })?);
        }
        Ok(lowers)
    }

    /// The IDs of the layers below, from the links (upstream's `getLowerDirs`).
    pub(super) fn overlay_lower_diffs(&self, directory: &LayerDir) -> Result<Vec<PathBuf>> {
        let canonical = |p: PathBuf| fs::canonicalize(&p).map_err(|e| Error::io("resolve", &p, e));
        self.overlay_lowers(directory)?.into_iter().map(canonical).collect()
    }

    /// After a power cut links in `l/`, or the `link` files that name them, may be gone: makes each again from the
    /// other (upstream's `recreateSymlinks`).
    fn recreate_links(&self) -> Result<()> {
        let home = &self.layout.home;
        tracing::warn!("repairing the links of the layers in {}", home.display());
        let links = home.join("l");
        file::make_dirs(&links, 0o755)?;
        for entry in fs::read_dir(&links).map_err(|e| Error::io("read", &links, e))?.flatten() {
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let parts: Vec<_> = target.iter().collect();
            let [up, id, diff] = parts[..] else { continue };
            let directory = home.join(id);
            if up == ".." && diff == "diff" && directory.is_dir() && !directory.join("link").exists() {
                write_small(&directory.join("link"), entry.file_name().as_encoded_bytes())?;
            }
        }
        for entry in fs::read_dir(home).map_err(|e| Error::io("read", home, e))?.flatten() {
            let Ok(link) = fs::read_to_string(entry.path().join("link")) else { continue };
            let path = links.join(link.trim());
            if fs::symlink_metadata(&path).is_err() {
                let target = Path::new("..").join(entry.file_name()).join("diff");
                symlink(&target, &path).map_err(|e| Error::io("symlink", &path, e))?;
            }
        }
        Ok(())
    }

    /// Removes a layer's directory and link at once.
    fn overlay_remove(&self, home: &Path, id: &str) -> Result<()> {
        let directory = home.join(id);
        mount::detach(&directory.join("merged"))?;
        if let Ok(link) = fs::read_to_string(directory.join("link"))
            && valid_link(link.trim())
        {
            file::remove_file(&home.join("l").join(link.trim()))?;
        }
        file::remove_tree(&directory)
    }

    /// Moves a layer's directory out of the way into `trash` and removes its link; no error if it is gone.
    pub(super) fn overlay_discard(&self, id: &str, trash: &Path) -> Result<()> {
        let mut homes = vec![&self.layout.home];
        if self.layout.image_home != self.layout.home {
            homes.push(&self.layout.image_home);
        }
        for home in homes {
            let directory = home.join(id);
            if let Ok(link) = fs::read_to_string(directory.join("link"))
                && valid_link(link.trim())
            {
                file::remove_file(&home.join("l").join(link.trim()))?;
            }
            if let Err(e) = quota::unlimit(&directory, FIRST_PROJECT) {
                tracing::debug!("{e}");
            }
            match fs::rename(&directory, trash.join(id)) {
                Ok(()) => {}
                // Gone already, or an old podman has emptied its staging directory with our trash in it.
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::CrossesDevices) => {
                    file::remove_tree(&directory)?;
                }
                Err(e) => return Err(Error::io("move away", &directory, e)),
            }
        }
        Ok(())
    }
}

/// Makes `l/<link>` lead to a layer's files.
pub(super) fn make_link(home: &Path, id: &str, link: &str) -> Result<()> {
    let target = Path::new("..").join(id).join("diff");
    let short = home.join("l").join(link);
    match symlink(&target, &short) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            file::make_dirs(&home.join("l"), 0o755)?;
            symlink(&target, &short).map_err(|e| Error::io("symlink", &short, e))
        }
        other => other.map_err(|e| Error::io("symlink", &short, e)),
    }
}

/// Mode and owner that a layer's root gets from that of the layer below it.
pub(super) fn root_of(below: Option<&Path>) -> Result<(u32, (u32, u32))> {
    let Some(path) = below else { return Ok((ROOT_MODE, (0, 0))) };
    let meta = fs::metadata(path).map_err(|e| Error::io("stat", path, e))?;
    Ok((meta.mode() & 0o7777, (meta.uid(), meta.gid())))
}

/// What is written in a `link` file becomes a path: only what upstream would write.
pub(super) fn valid_link(link: &str) -> bool {
    !link.is_empty() && link.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

pub(super) fn layer_missing(id: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("layer {id} does not exist"))
}

/// mkdir with exactly this mode and owner.
pub(super) fn make_dir(path: &Path, mode: u32, owner: (u32, u32)) -> Result<()> {
    DirBuilder::new().mode(mode).create(path).map_err(|e| Error::io("mkdir", path, e))?;
    give(path, owner)?;
    // What a umask could have taken away is set explicitly.
    if mode & 0o7077 != 0 {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(path, permissions).map_err(|e| Error::io("chmod", path, e))?;
    }
    Ok(())
}

fn give(path: &Path, owner: (u32, u32)) -> Result<()> {
    if owner == (0, 0) {
        return Ok(());
    }
    chown(path, Some(owner.0), Some(owner.1)).map_err(|e| Error::io("chown", path, e))
}

pub(super) fn write_small(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|e| Error::io("write", path, e))
}
