//! `--tmpfs`.

use super::super::values::size;
use super::target;
use crate::engine::spec::{MountKind, MountSpec, Propagation};
use crate::engine::{Error, Result};

/// `--tmpfs TARGET[:OPTIONS]`.
///
/// # Errors
/// A relative target or an unknown option.
pub fn tmpfs(text: &str) -> Result<MountSpec> {
    let (inside, options) = text.split_once(':').unwrap_or((text, ""));
    let mut mount =
        MountSpec { kind: MountKind::Tmpfs, target: target("--tmpfs", inside)?, ..MountSpec::default() };
    for option in options.split(',').filter(|o| !o.is_empty()) {
        tmpfs_option(&mut mount, option)
            .map_err(|why| Error::invalid(format!("invalid --tmpfs {text:?}: {why}")))?;
    }
    Ok(mount)
}

pub(super) fn tmpfs_option(mount: &mut MountSpec, option: &str) -> Result<(), String> {
    const WORDS: [&str; 18] = [
        "exec",
        "noexec",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "async",
        "sync",
        "dirsync",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "relatime",
        "strictatime",
        "tmpcopyup",
        "notmpcopyup",
        "noswap",
    ];
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    match name {
        "ro" | "rw" if value.is_empty() => mount.read_only = name == "ro",
        "U" if value.is_empty() => mount.bind.chown = true,
        "size" => {
            // The kernel takes k, m, g and % only.
            let bytes = match value.strip_suffix('%') {
                Some(percent) if percent.parse::<u8>().is_ok() => value.to_owned(),
                _ => size("size", value).map_err(|_| format!("invalid size {value:?}"))?.to_string(),
            };
            mount.options.push(format!("size={bytes}"));
        }
        "mode" if u32::from_str_radix(value, 8).is_ok_and(|m| m <= 0o7777) => {
            mount.options.push(option.to_owned())
        }
        "uid" | "gid" if value.parse::<u32>().is_ok() => mount.options.push(option.to_owned()),
        "nr_inodes" | "nr_blocks" | "mpol" | "huge" if !value.is_empty() => {
            mount.options.push(option.to_owned())
        }
        name if WORDS.contains(&name) && value.is_empty() => mount.options.push(name.to_owned()),
        name => match Propagation::parse(name).filter(|_| value.is_empty()) {
            Some(mode) => mount.bind.propagation = Some(mode),
            None => return Err(format!("unknown or invalid option {option:?}")),
        },
    }
    Ok(())
}
