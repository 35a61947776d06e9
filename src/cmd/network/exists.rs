//! `coracle network exists`.

use crate::cmd::{Context, Exit};
use crate::engine::network::Networks;
use crate::engine::{ErrorKind, Result};
use clap::Args;

/// Tell by the exit code whether a network exists: 0 yes, 1 no
#[derive(Args, Clone, Debug)]
pub struct ExistsArgs {
    /// Name or ID
    #[arg(value_name = "NETWORK")]
    network: String,
}

/// Looks.
pub fn run(cx: &Context, args: ExistsArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    match Networks::open(&engine.config).resolve(&args.network) {
        Ok(_) => Ok(Exit::OK),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Exit::FAILED),
        Err(e) => Err(e),
    }
}
