//! `coracle container exists`.

use crate::cmd::{Context, Exit};
use crate::engine::{ErrorKind, Result};
use clap::Args;

/// Tell by the exit code whether a container exists: 0 yes, 1 no
#[derive(Args, Debug)]
pub struct ExistsArgs {
    /// Containers of other programs in the same store count, too
    #[arg(long)]
    external: bool,
    /// Name or ID
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Looks.
pub fn run(cx: &Context, args: ExistsArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    match engine.state.resolve(&args.container) {
        Ok(id) if engine.state.load(&id).is_ok() => return Ok(Exit::OK),
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let name = &args.container;
    let known = args.external
        && engine.store.containers()?.iter().any(|c| {
            c.id == *name || c.names.contains(name) || name.len() >= 12 && c.id.starts_with(name.as_str())
        });
    Ok(if known { Exit::OK } else { Exit::FAILED })
}
