//! `coracle init`, `container init`.

use super::select::{SelectArgs, Selection, each};
use crate::cmd::{Context, Exit};
use crate::engine::container::init;
use crate::engine::state::Status;
use crate::engine::{ErrorKind, Result};
use clap::Args;

/// Prepare one or more containers to be started
///
/// All that a start needs is made: mounts, networks, the process. It waits for `start`, or goes with `stop` and `rm`.
#[derive(Args, Clone, Debug)]
pub struct InitArgs {
    /// All containers that do not run
    #[arg(long, short = 'a')]
    all: bool,
    #[command(flatten)]
    select: SelectArgs,
}

/// Initializes them.
pub fn run(cx: &Context, args: InitArgs) -> Result<Exit> {
    let idle = |status: Status| !status.is_live();
    let chosen = Selection { args: &args.select, all: args.all, filters: &[], states: idle, ignore: false };
    each(cx, chosen.choose(cx)?, |engine, id| match init(engine, id) {
        // Meanwhile somebody else did.
        Err(e) if args.all && e.kind() == ErrorKind::InUse => Ok(()),
        other => other,
    })
}
