//! `coracle restart`.

use super::select::{SelectArgs, Selection, each};
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::container::{StopOptions, restart};
use crate::engine::spec::signal;
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
    /// Signal to send instead of the container's
    #[arg(long, short = 's', value_name = "SIGNAL")]
    signal: Option<String>,
    /// Seconds until SIGKILL; -1 waits for ever [default: the container's, 10]
    #[arg(
        long,
        short = 't',
        visible_alias = "timeout",
        value_name = "SECONDS",
        allow_hyphen_values = true,
        overrides_with = "time"
    )]
    time: Option<i64>,
    #[command(flatten)]
    select: SelectArgs,
}

/// Restarts them at the same time.
pub fn run(cx: &Context, args: RestartArgs) -> Result<Exit> {
    let signal = args.signal.as_deref().map(signal::parse).transpose()?;
    let options = StopOptions { timeout: args.time, signal };
    let chosen = Selection {
        args: &args.select,
        all: args.all || args.running,
        filters: &args.filter,
        states: if args.running { Status::is_live } else { |_| true },
        ignore: false,
    };
    each(cx, chosen.choose(cx)?, |engine, id| restart(engine, id, &options))
}
