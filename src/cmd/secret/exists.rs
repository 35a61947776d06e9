//! `coracle secret exists`.

use crate::cmd::{Context, Exit};
use crate::engine::secret::Secrets;
use crate::engine::{ErrorKind, Result};
use clap::Args;

/// Tell by the exit code whether a secret exists
#[derive(Args, Clone, Debug)]
pub struct ExistsArgs {
    /// Name or ID
    #[arg(value_name = "SECRET")]
    secret: String,
}

/// Exit code 0 or 1.
pub fn run(cx: &Context, args: ExistsArgs) -> Result<Exit> {
    match Secrets::open(&cx.engine()?.config).resolve(&args.secret) {
        Ok(_) => Ok(Exit::OK),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Exit::FAILED),
        Err(e) => Err(e),
    }
}
