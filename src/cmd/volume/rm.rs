//! `coracle volume rm`.

use crate::cmd::{Context, Exit};
use crate::engine::container::remove_volume;
use crate::engine::volume::Volumes;
use crate::engine::{Error, ErrorKind, Result};
use clap::Args;

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
    let names = match args.all {
        true => Volumes::open(&engine.config).list()?.into_iter().map(|v| v.name).collect(),
        false => args.volumes,
    };
    let mut exit = Exit::OK;
    for name in &names {
        match remove_volume(engine, name, args.time) {
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
