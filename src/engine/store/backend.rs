//! What makes the overlay: the kernel, or a mount program.
//!
//! `mount_program` decides if it is set. Else a store that was made with one (`overlay/.has-mount-program` says `true`)
//! stays with fuse-overlayfs, because whiteouts and owners on disk differ. Else the kernel is tried once, and the run
//! root remembers what came out (`overlay-true`, `overlay-false`), as upstream's `SupportsNativeOverlay` does.

use super::diff::{ApplyOptions, Whiteouts};
use super::layout::Driver;
use super::{Store, file};
use crate::engine::host::{mount, process};
use crate::engine::{Error, ErrorKind, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Who stacks the layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    /// The kernel.
    Native,
    /// This program, normally fuse-overlayfs.
    Program(PathBuf),
}

const FLAG_FILE: &str = ".has-mount-program";

impl Store {
    /// How a layer is to be unpacked into [`super::StagedLayer::dir`].
    pub fn apply_options(&self) -> Result<ApplyOptions> {
        let rootless = self.options.rootless;
        let whiteouts = match (self.driver, self.backend()?) {
            (Driver::Overlay, Backend::Program(_)) => Whiteouts::Literal,
            // Also for vfs: the store itself merges the layer with its parent's copy when it is committed.
            _ if rootless => Whiteouts::UserXattr,
            _ => Whiteouts::Native,
        };
        Ok(ApplyOptions {
            whiteouts,
            in_userns: rootless,
            ignore_chown_errors: self.driver_options.ignore_chown_errors,
            force_mask: self.driver_options.force_mask,
            ..ApplyOptions::default()
        })
    }

    /// Finds out once per process; vfs needs neither.
    pub(super) fn backend(&self) -> Result<&Backend> {
        if let Some(backend) = self.backend.get() {
            return Ok(backend);
        }
        let backend = if self.driver == Driver::Vfs { Backend::Native } else { self.detect_backend()? };
        Ok(self.backend.get_or_init(|| backend))
    }

    fn detect_backend(&self) -> Result<Backend> {
        let flag = self.layout.home.join(FLAG_FILE);
        if let Some(program) = &self.driver_options.mount_program {
            let directories: [&Path; 0] = [];
            let name = program.to_string_lossy();
            let program = process::require_program(&name, &directories, "fuse-overlayfs")?;
            self.remember_program(&flag, true)?;
            return Ok(Backend::Program(program));
        }
        let made_with = fs::read_to_string(&flag).unwrap_or_default();
        let needs_program = match made_with.trim() {
            "true" => true,
            "false" => false,
            _ => {
                let found = self.shows_mount_program();
                self.remember_program(&flag, found)?;
                found
            }
        };
        if !needs_program && self.native_works()? {
            return Ok(Backend::Native);
        }
        let directories: [&Path; 0] = [];
        match process::find_program("fuse-overlayfs", &directories) {
            Some(program) => {
                self.remember_program(&flag, true)?;
                Ok(Backend::Program(program))
            }
            None if needs_program => {
                Err(Error::new(ErrorKind::MissingProgram, "this store was made with fuse-overlayfs")
                    .with_hint("install the package fuse-overlayfs"))
            }
            None => Err(Error::unsupported(format!(
                "the kernel cannot mount an overlay on {}",
                self.layout.home.display()
            ))
            .with_hint("install the package fuse-overlayfs, or use --storage-driver vfs")),
        }
    }

    fn remember_program(&self, flag: &Path, uses: bool) -> Result<()> {
        let text = if uses { "true" } else { "false" };
        if file::read_bytes(flag)? == text.as_bytes() {
            return Ok(());
        }
        file::make_dirs(&self.layout.home, 0o700)?;
        file::write(flag, text.as_bytes(), crate::engine::host::atomic::Durability::None)
    }

    /// Whether layers here were written for fuse-overlayfs: whiteout files or its extended attributes (upstream's
    /// `scanForMountProgramIndicators`), looked for in the top two levels of each layer.
    fn shows_mount_program(&self) -> bool {
        let Ok(layers) = fs::read_dir(&self.layout.home) else { return false };
        layers.flatten().any(|layer| {
            let diff = layer.path().join("diff");
            shows_program(&diff)
                || fs::read_dir(&diff)
                    .is_ok_and(|entries| entries.flatten().any(|e| shows_program(&e.path())))
        })
    }

    /// Whether the kernel mounts an overlay here, remembered in the run root.
    pub(super) fn native_works(&self) -> Result<bool> {
        self.remembered("overlay", || self.try_overlay())
    }

    /// A finding about the driver: from `<runroot>/overlay/NAME-{true,false}`, else found out now and noted there.
    pub(super) fn remembered(&self, name: &str, find_out: impl FnOnce() -> Result<bool>) -> Result<bool> {
        let path = |value: bool| self.layout.run_home.join(format!("{name}-{value}"));
        if path(true).exists() {
            return Ok(true);
        }
        if path(false).exists() {
            return Ok(false);
        }
        let value = find_out()?;
        file::make_dirs(&self.layout.run_home, 0o700)?;
        File::create(path(value)).map_err(|e| Error::io("create", path(value), e))?;
        Ok(value)
    }

    fn try_overlay(&self) -> Result<bool> {
        let base = self.layout.home.join(format!("compat{}", super::random_name()?));
        for name in ["merged", "lower1", "lower2", "lower2/sub", "upper", "work"] {
            file::make_dirs(&base.join(name), 0o700)?;
        }
        let options: Vec<String> =
            if self.options.rootless { vec!["userxattr".to_owned()] } else { Vec::new() };
        let lowers = [base.join("lower1"), base.join("lower2")];
        let merged = base.join("merged");
        let overlay = mount::Overlay {
            lowers: &lowers,
            upper: Some((&base.join("upper"), &base.join("work"))),
            options: &options,
            label: "",
        };
        let works = mount::overlay(&merged, &overlay).and_then(|()| {
            // Deleting what lies below needs whiteouts, making it anew needs extended attributes of a kind that some
            // backing file systems do not have.
            let sub = merged.join("sub");
            let used = fs::remove_dir(&sub)
                .and_then(|()| fs::create_dir(&sub))
                .map_err(|e| Error::io("replace a directory in", &merged, e));
            mount::detach(&merged)?;
            used
        });
        file::remove_tree(&base)?;
        match works {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::DiskFull => Err(e),
            Err(e) => {
                tracing::debug!("no native overlay: {e}");
                Ok(false)
            }
        }
    }
}

fn shows_program(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    if name.as_encoded_bytes().starts_with(b".wh.") {
        return true;
    }
    let mut buffer = [0u8; 1024];
    ["user.containers.override_stat", "user.fuseoverlayfs.opaque", "user.fuseoverlayfs.origin"]
        .iter()
        .any(|attribute| rustix::fs::lgetxattr(path, *attribute, &mut buffer).is_ok())
}
