//! `coracle volume mount`, `volume unmount`.

use crate::cmd::{Context, Exit};
use crate::engine::volume::{Volume, Volumes};
use crate::engine::{Error, Result};
use clap::Args;

/// Make a volume's files accessible, and print where
///
/// A volume with --opt device=… is mounted until `volume unmount`; others always are where `volume inspect` says. As an
/// ordinary user this is of use in `unshare` only.
#[derive(Args, Clone, Debug)]
pub struct MountArgs {
    /// Names
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

/// Give back what `volume mount` mounted
#[derive(Args, Clone, Debug)]
pub struct UnmountArgs {
    /// Names
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

const USER: &str = "command-";

/// Mounts.
pub fn run(cx: &Context, args: MountArgs) -> Result<Exit> {
    each(cx, &args.volumes, |volumes, volume| {
        let taken = volumes.mount_users(&volume.name);
        let number =
            taken.iter().filter_map(|u| u.strip_prefix(USER)?.parse::<u32>().ok()).max().map_or(0, |n| n + 1);
        let path = volumes.acquire(volume, &format!("{USER}{number}"))?;
        cx.println(path.to_string_lossy())
    })
}

/// Unmounts.
pub fn undo(cx: &Context, args: UnmountArgs) -> Result<Exit> {
    each(cx, &args.volumes, |volumes, volume| {
        let user = volumes.mount_users(&volume.name).into_iter().rev().find(|u| u.starts_with(USER));
        match user {
            Some(user) => volumes.release(&volume.name, &user)?,
            None if volume.is_mount() => {
                return Err(Error::invalid(format!(
                    "volume {} was not mounted by `volume mount`",
                    volume.name
                )));
            }
            None => {}
        }
        cx.println(&volume.name)
    })
}

fn each(cx: &Context, names: &[String], act: impl Fn(&Volumes, &Volume) -> Result<()>) -> Result<Exit> {
    let engine = cx.engine()?;
    let volumes = Volumes::open(&engine.config);
    let mut exit = Exit::OK;
    for name in names {
        if let Err(e) = volumes.resolve(name).and_then(|volume| act(&volumes, &volume)) {
            cx.report(&e);
            exit = Exit::FAILED;
        }
    }
    Ok(exit)
}
