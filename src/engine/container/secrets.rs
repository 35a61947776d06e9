//! A container's secrets: copied when it is made, so that it keeps what it was given, and put at their places by each start.
//!
//! The copies are in the record's directory, which only its owner reads; what the container sees is in the run directory,
//! owned by whom `--secret` names. In the environment a secret stands in `config.json` alone: neither `spec.json` nor
//! anything that is shown has it.

use crate::engine::conmon::RunDir;
use crate::engine::oci::{self, Resolved};
use crate::engine::secret::Secrets;
use crate::engine::spec::{ContainerSpec, SecretPlace};
use crate::engine::state::Locked;
use crate::engine::{Engine, Error, Result};
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

const COPIES: &str = "secrets";

/// Finds the secrets that are asked for.
///
/// # Errors
/// There is no such secret; two are to be at the same place.
pub(super) fn resolve(engine: &Engine, spec: &mut ContainerSpec) -> Result<()> {
    let secrets = Secrets::open(&engine.config);
    for wanted in &mut spec.secrets {
        let found = secrets.resolve(&wanted.name)?;
        (wanted.name, wanted.id) = (found.name, found.id);
        if let SecretPlace::Environment(name) = &mut wanted.place
            && name.is_empty()
        {
            name.clone_from(&wanted.name);
        }
    }
    let mut paths: Vec<String> =
        spec.secrets.iter().filter_map(crate::engine::spec::SecretUse::path).collect();
    paths.sort_unstable();
    match paths.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::invalid(format!("two secrets are to be at {}", pair[0]))),
        None => Ok(()),
    }
}

/// Copies them for a container that is being made.
pub(super) fn copy(engine: &Engine, locked: &Locked, spec: &ContainerSpec) -> Result<()> {
    if spec.secrets.is_empty() {
        return Ok(());
    }
    let secrets = Secrets::open(&engine.config);
    let dir = locked.dir().join(COPIES);
    fs::DirBuilder::new().mode(0o700).create(&dir).map_err(|e| Error::io("mkdir", &dir, e))?;
    for (number, wanted) in spec.secrets.iter().enumerate() {
        let data = secrets.data(&secrets.get(&wanted.name)?)?;
        write(&dir.join(number.to_string()), &data, 0o600, None)?;
    }
    Ok(())
}

/// Puts them where the start finds them. `dir`: of the container's record.
pub(super) fn provide(
    dir: &Path,
    run_dir: &RunDir,
    spec: &ContainerSpec,
    resolved: &mut Resolved,
) -> Result<()> {
    for (number, wanted) in spec.secrets.iter().enumerate() {
        let copy = dir.join(COPIES).join(number.to_string());
        let data = fs::read(&copy).map_err(|e| Error::io("read", &copy, e))?;
        match (&wanted.place, wanted.path()) {
            (SecretPlace::File { uid, gid, mode, .. }, Some(target)) => {
                let path = run_dir.path().join(format!("secret-{number}"));
                let owner = match &resolved.id_maps {
                    None => (*uid, *gid),
                    Some(maps) => {
                        let id = |rows, id| {
                            oci::idmap::outside(rows, id).ok_or_else(|| {
                                Error::invalid(format!(
                                    "secret {}: ID {id} is not mapped into the container",
                                    wanted.name
                                ))
                            })
                        };
                        (id(&maps.uids, *uid)?, id(&maps.gids, *gid)?)
                    }
                };
                write(&path, &data, *mode, Some(owner))?;
                resolved.files.secrets.push((target, path));
            }
            (SecretPlace::Environment(name), _) => {
                let value = String::from_utf8(data).map_err(|_| {
                    Error::invalid(format!("secret {} is no text for the environment", wanted.name))
                })?;
                resolved.env.push(format!("{name}={value}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Nobody but its owner can open the file before it has its mode. An old one is replaced.
fn write(path: &Path, data: &[u8], mode: u32, owner: Option<(u32, u32)>) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("unlink", path, e)),
        _ => {}
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
        .map_err(|e| Error::io("create", path, e))?;
    let mut file = fs::File::from(file);
    file.write_all(data).map_err(|e| Error::io("write", path, e))?;
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::fchown(&file, Some(uid), Some(gid)).map_err(|e| Error::io("chown", path, e))?;
    }
    let mode = Mode::from_raw_mode(mode & 0o7777);
    rustix::fs::fchmod(&file, mode).map_err(|e| Error::io("chmod", path, e))
}
