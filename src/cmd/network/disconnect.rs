//! `coracle network disconnect`.

use crate::cmd::{Context, Exit};
use crate::engine::container::{network, resolve};
use crate::engine::{ErrorKind, Result};
use clap::Args;

/// Take a container off a network
///
/// It may be running or not.
#[derive(Args, Clone, Debug)]
pub struct DisconnectArgs {
    /// It is no error if it is not on it, or if there is no such container
    #[arg(short, long)]
    force: bool,
    /// Name or ID
    #[arg(value_name = "NETWORK")]
    network: String,
    /// Name or ID
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Disconnects.
pub fn run(cx: &Context, args: DisconnectArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    match resolve(engine, &args.container) {
        Ok(id) => network::disconnect(engine, &id, &args.network, args.force)?,
        Err(e) if e.kind() == ErrorKind::NotFound && args.force => {}
        Err(e) => return Err(e),
    }
    Ok(Exit::OK)
}
