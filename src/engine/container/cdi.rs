//! Devices by CDI names: the files that describe them read, their nodes looked at. What follows from that is
//! [`crate::engine::oci::cdi`].

use crate::engine::host::facts;
use crate::engine::oci::cdi::{DIRECTORIES, DeviceNode, Edits, SpecFile, is_qualified, resolve};
use crate::engine::spec::{ContainerSpec, HostDevice, User};
use crate::engine::{Context, Engine, Error, Result};
use std::fs;
use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};

/// A description of a device is text that people read; more than this is none.
const LARGEST: u64 = 16 << 20;

/// Where descriptions of devices are looked for, the last first.
pub fn directories(engine: &Engine) -> Vec<PathBuf> {
    match engine.config.containers.engine.cdi_spec_dirs.values.as_slice() {
        [] => DIRECTORIES.map(PathBuf::from).to_vec(),
        configured => configured.iter().map(PathBuf::from).collect(),
    }
}

/// What the container's devices with CDI names need; nothing is read if it has none.
///
/// # Errors
/// A device is described nowhere, or twice.
pub(super) fn edits(engine: &Engine, spec: &ContainerSpec) -> Result<Edits> {
    let names = spec.devices.iter().map(|d| &d.source).filter(|source| is_qualified(source));
    let names: Vec<String> = names.cloned().collect();
    if names.is_empty() {
        return Ok(Edits::default());
    }
    let mut files = Vec::new();
    for (priority, directory) in directories(engine).iter().enumerate() {
        read(directory, priority, &mut files)
            .with_context(|| format!("read the CDI specifications in {}", directory.display()))?;
    }
    resolve(&files, &names)
}

fn read(directory: &Path, priority: usize, files: &mut Vec<SpecFile>) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == Io::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("read directory", directory, e)),
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let known = path.extension().is_some_and(|e| e == "json" || e == "yaml" || e == "yml");
        let sane = || fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= LARGEST);
        if !known || !sane() {
            continue;
        }
        match fs::read_to_string(&path) {
            Ok(text) => files.push(SpecFile { path, priority, text }),
            // Removed while we looked, or not for this user's eyes.
            Err(e) if matches!(e.kind(), Io::NotFound | Io::PermissionDenied) => {}
            Err(e) => return Err(Error::io("read", &path, e)),
        }
    }
    Ok(())
}

/// The nodes that are to be in the container, whose process is `user`.
///
/// # Errors
/// One is not on the host, and its description does not say what it is.
pub(super) fn nodes(edits: &Edits, user: &User) -> Result<Vec<HostDevice>> {
    edits.device_nodes.iter().map(|node| one(node, user)).collect()
}

fn one(asked: &DeviceNode, user: &User) -> Result<HostDevice> {
    let source = asked.host_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(&asked.path);
    let permissions = asked.permissions.as_deref().filter(|p| !p.is_empty()).unwrap_or("rwm");
    let mut device = match (asked.kind.as_deref(), asked.major, asked.minor) {
        (Some("p"), ..) => {
            return Err(Error::unsupported(format!("CDI: {} is a named pipe, not a device", asked.path)));
        }
        (Some(kind), Some(major), Some(minor)) if !kind.is_empty() => {
            HostDevice { block: kind == "b", major, minor, ..HostDevice::default() }
        }
        _ => {
            let mut found = facts::devices(source, &asked.path, permissions).context("add a CDI device")?;
            match (found.pop(), found.is_empty()) {
                (Some(only), true) => only,
                _ => return Err(Error::invalid(format!("CDI: {source} is a directory, not a device"))),
            }
        }
    };
    device.source = source.to_owned();
    device.target.clone_from(&asked.path);
    device.permissions = permissions.to_owned();
    device.mode = asked.file_mode.unwrap_or(0o666);
    device.uid = asked.uid.unwrap_or(user.uid);
    device.gid = asked.gid.unwrap_or(user.gid);
    Ok(device)
}
