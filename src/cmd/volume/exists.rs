//! `coracle volume exists`.

use crate::cmd::{Context, Exit};
use crate::engine::volume::Volumes;
use crate::engine::{ErrorKind, Result};
use clap::Args;

/// Tell by the exit code whether a volume exists
#[derive(Args, Clone, Debug)]
pub struct ExistsArgs {
    /// Name
    #[arg(value_name = "VOLUME")]
    volume: String,
}

/// Exit code 0 or 1.
pub fn run(cx: &Context, args: ExistsArgs) -> Result<Exit> {
    match Volumes::open(&cx.engine()?.config).get(&args.volume) {
        Ok(_) => Ok(Exit::OK),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Exit::FAILED),
        Err(e) => Err(e),
    }
}
