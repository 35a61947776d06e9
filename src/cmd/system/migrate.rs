//! `coracle system migrate` and `system renumber`.

use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::container::set_runtime;
use clap::Args;

/// Give containers another OCI runtime
///
/// There is nothing else to migrate: what a new version or another user namespace needs is seen to by whatever command comes
/// next. Without --new-runtime it does nothing and says so.
#[derive(Args, Clone, Debug)]
pub struct MigrateArgs {
    /// All containers are started with this runtime from their next start on: a name or a path
    #[arg(long, value_name = "RUNTIME")]
    new_runtime: Option<String>,
}

/// Says that there is nothing to do (there are no lock numbers)
///
/// podman gives its locks new numbers with it. Here a lock belongs to the directory of what it locks, and has no number.
#[derive(Args, Clone, Debug)]
pub struct RenumberArgs {}

/// Sets the runtime.
pub fn run(cx: &Context, args: MigrateArgs) -> Result<Exit> {
    let Some(runtime) = args.new_runtime.filter(|name| !name.is_empty()) else {
        cx.println(
            "Nothing to migrate: containers are brought up to date by the next command that uses them",
        )?;
        return Ok(Exit::OK);
    };
    for name in set_runtime(cx.engine()?, &runtime)? {
        cx.println(name)?;
    }
    Ok(Exit::OK)
}

/// Does nothing.
pub fn renumber(cx: &Context, _: RenumberArgs) -> Result<Exit> {
    cx.println("Nothing to renumber: locks have no numbers here")?;
    Ok(Exit::OK)
}
