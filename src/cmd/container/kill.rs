//! `coracle kill`.

use super::select::{SelectArgs, Selection, each, live};
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::container::kill;
use crate::engine::spec::signal;
use clap::Args;

/// Send a signal to one or more running containers
#[derive(Args, Debug)]
pub struct KillArgs {
    /// All running containers
    #[arg(long, short = 'a')]
    all: bool,
    /// Signal by name or number
    #[arg(
        long,
        short = 's',
        value_name = "SIGNAL",
        default_value = "KILL",
        overrides_with = "signal",
        allow_hyphen_values = true
    )]
    signal: String,
    #[command(flatten)]
    select: SelectArgs,
}

/// Signals them.
pub fn run(cx: &Context, args: KillArgs) -> Result<Exit> {
    // kill(1)'s habit, which podman takes: -s -HUP.
    let signal = args.signal.strip_prefix('-').unwrap_or(&args.signal);
    let number = signal::parse(signal)?;
    let chosen = Selection { args: &args.select, all: args.all, filters: &[], states: live, ignore: false };
    each(cx, chosen.choose(cx)?, |engine, id| kill(engine, id, number))
}
