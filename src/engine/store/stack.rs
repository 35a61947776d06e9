//! Mounting and unmounting a layer with everything below it (upstream's `Driver.Get` and `Driver.Put`).

use super::backend::Backend;
use super::layout::Driver;
use super::overlay::LayerDir;
use super::{Store, file};
use crate::engine::host::mount;
use crate::engine::spec::IdMappings;
use crate::engine::{Error, ErrorKind, Result};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

/// What a mount is made with.
#[derive(Clone, Debug, Default)]
pub(super) struct StackOptions {
    pub(super) read_only: bool,
    pub(super) volatile: bool,
    pub(super) label: String,
    /// Instead of the configured ones, if there are any.
    pub(super) options: Vec<String>,
    /// Shift owners by these.
    pub(super) id_maps: IdMappings,
}

impl Store {
    /// Where we mount a layer: `<runroot>/overlay/<layer>/merged`, as upstream does for layers of read-only stores.
    ///
    /// Not in the layer's own `merged`: every podman binds `overlay` onto itself and hides what we had mounted below;
    /// one older than 4.4, which does not know volatile layers, even detaches it at the end of each command, and our
    /// mounts with it.
    pub(super) fn merged_dir(&self, id: &str, directory: &LayerDir) -> PathBuf {
        if self.driver == Driver::Vfs {
            return directory.path.clone();
        }
        self.layout.run_home.join(id).join("merged")
    }

    /// Mounts the layer; nothing is counted here.
    pub(super) fn stack(&self, id: &str, options: &StackOptions) -> Result<PathBuf> {
        let directory = self.layer_dir(id).ok_or_else(|| super::overlay::layer_missing(id))?;
        let merged = self.merged_dir(id, &directory);
        self.stack_at(id, &directory, &merged, options)?;
        Ok(merged)
    }

    /// Mounts the layer at `merged`; a layer of vfs is a directory, and stays where it is.
    pub(super) fn stack_at(
        &self,
        id: &str,
        directory: &LayerDir,
        merged: &Path,
        options: &StackOptions,
    ) -> Result<()> {
        if self.driver == Driver::Vfs {
            return Ok(());
        }
        if directory.path.join("composefs-data").exists() {
            return Err(Error::unsupported(format!("layer {id} is a composefs layer")));
        }
        file::make_dirs(merged, 0o700)?;
        let mut lowers = self.overlay_lowers(directory)?;
        if lowers.is_empty() {
            let empty = directory.path.join("empty");
            if !empty.exists() && !directory.read_only {
                file::make_dirs(&empty, 0o700)?;
            }
            lowers.push(empty);
        }
        let (diff, work) = (directory.path.join("diff"), directory.path.join("work"));
        let backend = self.backend()?;
        let writable = !directory.read_only && !options.read_only;
        if !writable {
            lowers.insert(0, diff.clone());
        } else if *backend == Backend::Native && self.driver_options.force_mask.is_some() {
            return Err(Error::unsupported("force_mask works for containers only with a mount_program"));
        }
        let shift = !options.id_maps.is_empty();
        if shift && let Some((uid, gid)) = options.id_maps.root() {
            own(merged, uid, gid)?;
            if writable {
                own(&diff, uid, gid)?;
            }
        }
        let mut mapped = Mapped::default();
        if shift && *backend == Backend::Native {
            lowers = mapped.shift(&directory.path, &lowers, &options.id_maps)?;
        }
        let upper = writable.then_some((diff.as_path(), work.as_path()));
        let fs_options = self.mount_options(options, backend, writable);
        let overlay = mount::Overlay { lowers: &lowers, upper, options: &fs_options, label: &options.label };
        match backend {
            Backend::Native => mount_native(merged, &overlay)?,
            Backend::Program(program) => {
                let more = self.program_options(options);
                mount::overlay_by_program(program, &self.layout.home, merged, &overlay, &more)?;
            }
        }
        Ok(())
    }

    /// What a mount of image layers, nothing writable on top, is made with.
    pub(super) fn read_options(&self, options: &StackOptions) -> Vec<String> {
        self.mount_options(options, &Backend::Native, false)
    }

    fn mount_options(&self, options: &StackOptions, backend: &Backend, writable: bool) -> Vec<String> {
        let configured = &self.driver_options.mount_options;
        let mut list = if options.options.is_empty() { configured.clone() } else { options.options.clone() };
        // Files whose data was not copied up are readable only through mounts that have the option too.
        let metacopy = "metacopy=on";
        if configured.iter().any(|o| o == metacopy) && !list.iter().any(|o| o == metacopy) {
            list.push(metacopy.to_owned());
        }
        if self.options.rootless || *backend != Backend::Native {
            // Needs trusted.* attributes.
            list.retain(|o| o != metacopy);
        }
        if !writable {
            list.retain(|o| o != "volatile");
        } else if options.volatile && !list.iter().any(|o| o == "volatile") {
            list.push("volatile".to_owned());
        }
        if options.read_only && !list.iter().any(|o| o == "ro") {
            list.push("ro".to_owned());
        }
        if self.options.rootless && *backend == Backend::Native {
            list.push("userxattr".to_owned());
        }
        list
    }

    fn program_options(&self, options: &StackOptions) -> String {
        let mut more = String::new();
        for (name, squash, map) in [
            ("uidmapping", "squash_to_uid", &options.id_maps.uids),
            ("gidmapping", "squash_to_gid", &options.id_maps.gids),
        ] {
            match map.as_slice() {
                [] => {}
                [one] if one.size == 1 => more.push_str(&format!(",{squash}={}", one.host_id)),
                rows => {
                    let rows: Vec<String> =
                        rows.iter().map(|r| format!("{}:{}:{}", r.container_id, r.host_id, r.size)).collect();
                    more.push_str(&format!(",{name}={}", rows.join(":")));
                }
            }
        }
        if self.driver_options.force_mask.is_some() {
            more.push_str(",xattr_permissions=2");
        }
        more
    }

    /// Unmounts the layer wherever it is mounted, counted or not.
    pub(super) fn unstack(&self, id: &str) -> Result<()> {
        if self.driver == Driver::Vfs {
            return Ok(());
        }
        let ours = self.layout.run_home.join(id);
        self.detach(&ours.join("merged"))?;
        file::remove_tree(&ours)?;
        // Where podman mounts it.
        let theirs = self.layout.home.join(id).join("merged");
        if mount::is_mount_point(&theirs)? {
            self.detach(&theirs)?;
            renew(&theirs)?;
        }
        detach_all(&self.layout.home.join(id).join("mapped"));
        Ok(())
    }

    fn detach(&self, merged: &Path) -> Result<bool> {
        match self.backend()? {
            Backend::Native => mount::detach(merged),
            Backend::Program(_) => mount::detach_fuse(merged),
        }
    }
}

/// Kernels differ in what they know: `volatile` since 5.10, `metacopy=on` by configuration. Both are improvements only.
fn mount_native(merged: &Path, overlay: &mount::Overlay<'_>) -> Result<()> {
    if let Some((_, work)) = overlay.upper {
        // The kernel refuses an upper directory that was mounted volatile before, until this is removed.
        let marker = work.join("work/incompat/volatile");
        match fs::remove_dir(&marker) {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => file::remove_tree(&marker)?,
            _ => {}
        }
    }
    let first = mount::overlay(merged, overlay);
    let Err(e) = &first else { return first };
    let optional = |o: &String| matches!(o.as_str(), "volatile" | "metacopy=on");
    if e.raw_os_error() != Some(libc::EINVAL) || !overlay.options.iter().any(optional) {
        return first;
    }
    tracing::debug!("{e}; trying without volatile and metacopy");
    let fewer: Vec<String> = overlay.options.iter().filter(|o| !optional(o)).cloned().collect();
    mount::overlay(merged, &mount::Overlay { options: &fewer, ..overlay.clone() })
}

fn own(path: &Path, uid: u32, gid: u32) -> Result<()> {
    let meta = fs::symlink_metadata(path).map_err(|e| Error::io("stat", path, e))?;
    if (meta.uid(), meta.gid()) == (uid, gid) {
        return Ok(());
    }
    chown(path, Some(uid), Some(gid)).map_err(|e| Error::io("chown", path, e))
}

/// Replaces the mount point by a fresh directory: copies of the mount in other namespaces go with the old one.
fn renew(merged: &Path) -> Result<()> {
    let fresh = merged.with_file_name("merged.1");
    let meta = fs::metadata(merged).map_err(|e| Error::io("stat", merged, e))?;
    match super::overlay::make_dir(&fresh, 0o700, (meta.uid(), meta.gid())) {
        Err(e) if e.raw_os_error() == Some(libc::EEXIST) => {}
        other => other?,
    }
    fs::rename(&fresh, merged).map_err(|e| Error::io("rename to", merged, e))
}

fn detach_all(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let _ = mount::detach(&entry.path());
    }
}

/// Idmapped views of the stores that lower directories lie in. They are needed until the overlay is mounted, and go
/// when this is dropped.
#[derive(Debug, Default)]
struct Mapped {
    mounts: Vec<PathBuf>,
}

impl Mapped {
    /// The same lower directories seen through idmapped mounts, below `<layer>/mapped`.
    fn shift(&mut self, layer: &Path, lowers: &[PathBuf], maps: &IdMappings) -> Result<Vec<PathBuf>> {
        let namespace = mount::user_namespace(&map_text(&maps.uids), &map_text(&maps.gids))?;
        let root = layer.join("mapped");
        file::make_dirs(&root, 0o700)?;
        let mut views: Vec<(PathBuf, PathBuf)> = Vec::new();
        let mut shifted = Vec::with_capacity(lowers.len());
        for lower in lowers {
            // `<home>/l/AAA`, or `<home>/<layer>/{diff,empty}`: the home directory is two levels up.
            let home = lower
                .parent()
                .and_then(Path::parent)
                .ok_or_else(|| Error::new(ErrorKind::Invalid, format!("{} is no layer", lower.display())))?;
            let below = lower.strip_prefix(home).unwrap_or(lower);
            let view = match views.iter().find(|(source, _)| source == home) {
                Some((_, view)) => view.clone(),
                None => {
                    let view = root.join(views.len().to_string());
                    file::make_dirs(&view, 0o700)?;
                    let tree = mount::clone_tree(home)?;
                    mount::id_map_tree(
                        std::os::fd::AsFd::as_fd(&tree),
                        std::os::fd::AsFd::as_fd(&namespace),
                    )?;
                    mount::attach(std::os::fd::AsFd::as_fd(&tree), &view)?;
                    self.mounts.push(view.clone());
                    views.push((home.to_owned(), view.clone()));
                    view
                }
            };
            shifted.push(view.join(below));
        }
        Ok(shifted)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        for view in &self.mounts {
            if let Err(e) = mount::detach(view) {
                tracing::debug!("{e}");
            }
        }
    }
}

/// The lines of `/proc/PID/uid_map`.
pub(super) fn map_text(map: &[crate::engine::spec::IdMapping]) -> String {
    map.iter().map(|r| format!("{} {} {}\n", r.container_id, r.host_id, r.size)).collect()
}
