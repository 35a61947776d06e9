//! Mounts: `-v`, `--mount`, `--tmpfs`, and what concerns the root filesystem.

mod mount;
mod secret;
mod tmpfs;
mod volume;

pub use mount::mount;
pub use tmpfs::tmpfs;
pub use volume::volume;

use super::Inputs;
use super::values::{boolean, key_value, size};
use crate::engine::config::Environment;
use crate::engine::oci::complete::clean;
use crate::engine::spec::{ContainerSpec, ImageVolumes, MountSpec, layer_limits};
use crate::engine::volume::LOCAL;
use crate::engine::{Error, ErrorKind, Result};
use clap::Args;

/// Files the container sees.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Mounts")]
pub struct MountArgs {
    /// Bind a host directory or a volume: ro, z, Z, U, O, exec, idmap, rshared … are options (may be repeated)
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    pub volume: Vec<String>,
    /// Mount, as type=bind|volume|tmpfs|ramfs|image|artifact|glob|devpts,src=…,dst=…,OPTIONS (may be repeated)
    #[arg(long, value_name = "FIELDS")]
    pub mount: Vec<String>,
    /// Mount memory (may be repeated)
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    pub tmpfs: Vec<String>,
    /// Take the mounts of another container (may be repeated)
    #[arg(long, value_name = "NAME[:OPTIONS]")]
    pub volumes_from: Vec<String>,
    /// Driver of volumes that are made
    #[arg(long, value_name = "DRIVER")]
    pub volume_driver: Option<String>,
    /// What becomes of the image's volumes: anonymous, tmpfs or ignore
    #[arg(long, value_name = "MODE", value_parser = ["anonymous", "bind", "tmpfs", "ignore"])]
    pub image_volume: Option<String>,
    /// Mount the root filesystem read-only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    pub read_only: Option<bool>,
    /// With --read-only: tmpfs on /run, /tmp, /var/tmp [default: true]
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    pub read_only_tmpfs: Option<bool>,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    pub shm_size: Option<String>,
    /// Size of each tmpfs that systemd needs (with --systemd): /run, /run/lock, /var/log/journal; 0: unlimited
    #[arg(long, value_name = "SIZE")]
    pub shm_size_systemd: Option<String>,
    /// Give the container a secret (may be repeated)
    #[arg(long, value_name = "NAME[,OPTIONS]")]
    pub secret: Vec<String>,
    /// The image argument is a directory to use as root filesystem; DIRECTORY:O leaves it as it is, and what is written is gone with the run
    #[arg(long)]
    pub rootfs: bool,
    /// Limit of the container's layer: size=10G, or inodes=NUMBER (may be repeated); as root, where the file system has project quotas
    #[arg(long, value_name = "OPTION")]
    pub storage_opt: Vec<String>,
}

impl MountArgs {
    pub(super) fn apply(&self, spec: &mut ContainerSpec, inputs: &Inputs<'_>) -> Result<()> {
        for text in &self.mount {
            add(&mut spec.mounts, mount(text, inputs.env)?)?;
        }
        for text in &self.volume {
            add(&mut spec.mounts, volume(text, inputs.env)?)?;
        }
        for text in &self.tmpfs {
            add(&mut spec.mounts, tmpfs(text)?)?;
        }
        // As podman has it: `-v` takes the place of the configured volumes, `--mount` joins the configured mounts.
        if self.volume.is_empty() {
            configured(spec, "volumes", &inputs.conf.volumes.values, |text| volume(text, inputs.env))?;
        }
        configured(spec, "mounts", &inputs.conf.mounts.values, |text| mount(text, inputs.env))?;
        spec.image_volumes = match self.image_volume.as_deref() {
            Some("tmpfs") => ImageVolumes::Tmpfs,
            Some("ignore") => ImageVolumes::Ignore,
            _ => ImageVolumes::Anonymous,
        };
        spec.read_only = self.read_only.or(inputs.conf.read_only).unwrap_or(false);
        spec.read_only_tmpfs = self.read_only_tmpfs != Some(false);
        if let Some(text) = &self.shm_size {
            spec.shm_size = Some(size("--shm-size", text)?);
        }
        spec.volumes_from.clone_from(&self.volumes_from);
        if let Some(driver) = self.volume_driver.as_deref().filter(|d| !matches!(*d, "" | LOCAL)) {
            return Err(Error::unsupported(format!("--volume-driver {driver}: only {LOCAL} is supported")));
        }
        spec.secrets = self.secret.iter().map(|text| secret::parse(text)).collect::<Result<_>>()?;
        for text in &self.storage_opt {
            let (key, value) = key_value("--storage-opt", text)?;
            spec.storage_options.insert(key, value);
        }
        layer_limits(&spec.storage_options)?;
        if self.rootfs && !self.storage_opt.is_empty() {
            return Err(Error::invalid(
                "--storage-opt: a container of --rootfs has no layer that could be limited",
            ));
        }
        if let Some(text) = &self.shm_size_systemd {
            spec.systemd_shm_size = Some(size("--shm-size-systemd", text)?);
        }
        Ok(())
    }
}

/// Adds what containers.conf says under `key`, where the command line mounts nothing else.
fn configured(
    spec: &mut ContainerSpec,
    key: &str,
    entries: &[String],
    parse: impl Fn(&str) -> Result<MountSpec>,
) -> Result<()> {
    for text in entries {
        match parse(text) {
            Ok(mount) if spec.mounts.iter().any(|m| m.target == mount.target) => {}
            Ok(mount) => spec.mounts.push(mount),
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                tracing::warn!("containers.conf: {key}: {text:?} is left out: {e}");
            }
            Err(e) => return Err(Error::invalid(format!("containers.conf: {key}")).with_source(e)),
        }
    }
    Ok(())
}

/// A target is mounted once; the very same request twice is one.
fn add(list: &mut Vec<MountSpec>, mount: MountSpec) -> Result<()> {
    match list.iter().find(|m| m.target == mount.target && !m.target.is_empty()) {
        None => list.push(mount),
        Some(same) if *same == mount => {}
        Some(_) => {
            return Err(Error::invalid(format!(
                "{} is mounted twice: duplicate mount destination",
                mount.target
            )));
        }
    }
    Ok(())
}

fn target(flag: &str, text: &str) -> Result<String> {
    if !text.starts_with('/') || text.contains('\0') {
        return Err(Error::invalid(format!("invalid {flag}: the target {text:?} is not an absolute path")));
    }
    let path = clean(text);
    if path == "/" {
        return Err(Error::invalid(format!("invalid {flag}: the target cannot be the root directory")));
    }
    Ok(path)
}

/// A host path, relative to the caller's directory when it starts with a dot.
fn host_path(text: &str, env: &Environment) -> String {
    if text.starts_with('/') {
        return text.to_owned();
    }
    clean(&env.cwd.join(text).to_string_lossy())
}

#[cfg(test)]
mod tests;
