//! `coracle pause` and `coracle unpause`.

use super::select::{SelectArgs, Selection, each};
use crate::cmd::{Context, Exit};
use crate::engine::container;
use crate::engine::state::Status;
use crate::engine::{Engine, Result};
use clap::Args;

/// Freeze all processes of one or more containers
#[derive(Args, Debug)]
pub struct PauseArgs {
    /// All running containers
    #[arg(long, short = 'a')]
    all: bool,
    /// Containers that match a filter (may be repeated)
    #[arg(long, short = 'f', value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    select: SelectArgs,
}

/// Let one or more paused containers go on
#[derive(Args, Debug)]
pub struct UnpauseArgs {
    /// All paused containers
    #[arg(long, short = 'a')]
    all: bool,
    /// Containers that match a filter (may be repeated)
    #[arg(long, short = 'f', value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    select: SelectArgs,
}

/// Pauses them at the same time.
pub fn pause(cx: &Context, args: PauseArgs) -> Result<Exit> {
    let PauseArgs { all, filter, select } = args;
    change(cx, &select, all, &filter, |status| status == Status::Running, container::pause)
}

/// Unpauses them at the same time.
pub fn unpause(cx: &Context, args: UnpauseArgs) -> Result<Exit> {
    let UnpauseArgs { all, filter, select } = args;
    change(cx, &select, all, &filter, |status| status == Status::Paused, container::unpause)
}

fn change(
    cx: &Context,
    args: &SelectArgs,
    all: bool,
    filters: &[String],
    states: fn(Status) -> bool,
    action: fn(&Engine, &str) -> Result<()>,
) -> Result<Exit> {
    let chosen = Selection { args, all, filters, states, ignore: false };
    each(cx, chosen.choose(cx)?, action)
}
