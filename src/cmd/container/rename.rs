//! `coracle rename`.

use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::container::{rename, resolve};
use clap::Args;

/// Give a container another name
///
/// It may run: on its networks it is known by the new name at once. Its host name stays.
#[derive(Args, Clone, Debug)]
pub struct RenameArgs {
    /// Name or ID
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// New name
    #[arg(value_name = "NAME")]
    name: String,
}

/// Renames.
pub fn run(cx: &Context, args: RenameArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    rename(engine, &resolve(engine, &args.container)?, &args.name)?;
    Ok(Exit::OK)
}
