//! `coracle volume rm`.

use crate::cmd::{Context, Exit};
use crate::engine::container::{RemoveOptions, VolumeUser, remove, volume_users};
use crate::engine::volume::Volumes;
use crate::engine::{Engine, Error, ErrorKind, Result};
use clap::Args;
use std::collections::BTreeMap;

/// Remove volumes
///
/// A volume that a container has stays, whether the container runs or not, as with docker. With --force and --time the
/// containers go first, as with podman.
#[derive(Args, Clone, Debug)]
pub struct RmArgs {
    /// All volumes
    #[arg(short, long, conflicts_with = "volumes")]
    all: bool,
    /// A missing volume is no error
    #[arg(short, long)]
    force: bool,
    /// With --force: remove containers that have it, giving them so many seconds to stop
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", allow_hyphen_values = true)]
    time: Option<i64>,
    /// Names
    #[arg(value_name = "VOLUME", required_unless_present = "all")]
    volumes: Vec<String>,
}

/// Removes one after the other, and prints what it removed.
pub fn run(cx: &Context, args: RmArgs) -> Result<Exit> {
    if args.time.is_some() && !args.force {
        return Err(Error::invalid("--force option must be specified to use the --time option"));
    }
    let engine = cx.engine()?;
    let volumes = Volumes::open(&engine.config);
    let names = match args.all {
        true => volumes.list()?.into_iter().map(|v| v.name).collect(),
        false => args.volumes,
    };
    let mut users = volume_users(engine)?;
    let mut exit = Exit::OK;
    for name in &names {
        match remove_one(engine, &volumes, name, args.time, &mut users) {
            Ok(name) => cx.println(name)?,
            Err(e) if e.kind() == ErrorKind::NotFound && args.force => {}
            Err(e) => {
                cx.report(&e);
                exit = Exit::FAILED;
            }
        }
    }
    Ok(exit)
}

fn remove_one(
    engine: &Engine,
    volumes: &Volumes,
    name: &str,
    time: Option<i64>,
    users: &mut BTreeMap<String, Vec<VolumeUser>>,
) -> Result<String> {
    let volume = volumes.resolve(name)?;
    let mut on = users.remove(&volume.name).unwrap_or_default();
    if let Some(seconds) = time {
        for user in std::mem::take(&mut on) {
            let options = RemoveOptions { force: true, timeout: Some(seconds), ..RemoveOptions::default() };
            match remove(engine, &user.id, &options) {
                // Meanwhile the container was removed.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                done => drop(done?),
            }
        }
    }
    if !on.is_empty() {
        let names = on.iter().map(|u| u.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Error::new(
            ErrorKind::InUse,
            format!("volume {} is in use by container {names}: volume is being used", volume.name),
        )
        .with_hint("remove the container first"));
    }
    volumes.remove(&volume.name)?;
    Ok(volume.name)
}
