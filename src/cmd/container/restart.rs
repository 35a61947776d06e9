//! `coracle restart`.

use super::select::{SelectArgs, Selection, each};
use super::stop::StopFlags;
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::container::restart;
use crate::engine::state::Status;
use clap::Args;

/// Restart one or more containers
///
/// Running ones are stopped first; others are started.
#[derive(Args, Debug)]
pub struct RestartArgs {
    /// All containers, running or not
    #[arg(long, short = 'a', conflicts_with = "running")]
    all: bool,
    /// Containers that match a filter (may be repeated)
    #[arg(long, short = 'f', value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// All running containers
    #[arg(long)]
    running: bool,
    #[command(flatten)]
    how: StopFlags,
    #[command(flatten)]
    select: SelectArgs,
}

/// Restarts them at the same time.
pub fn run(cx: &Context, args: RestartArgs) -> Result<Exit> {
    let options = args.how.options()?;
    let chosen = Selection {
        args: &args.select,
        all: args.all || args.running,
        filters: &args.filter,
        states: if args.running { Status::is_live } else { |_| true },
        ignore: false,
    };
    each(cx, chosen.choose(cx)?, |engine, id| restart(engine, id, &options))
}
