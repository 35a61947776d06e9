//! `coracle network connect`.

use crate::cmd::flags::place::PlaceArgs;
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::container::{network, resolve};
use clap::Args;

/// Connect a container to a further network
///
/// It may be running or not. What it is told here holds from its next start on, too.
#[derive(Args, Clone, Debug)]
pub struct ConnectArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Name or ID
    #[arg(value_name = "NETWORK")]
    network: String,
    /// Name or ID
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Connects.
pub fn run(cx: &Context, args: ConnectArgs) -> Result<Exit> {
    let attachment = args.place.attachment(&args.network)?;
    let engine = cx.engine()?;
    let id = resolve(engine, &args.container)?;
    network::connect(engine, &id, attachment)?;
    Ok(Exit::OK)
}
