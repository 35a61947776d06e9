//! `coracle stop`.

use super::select::{SelectArgs, Selection, each, live};
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::container::{StopOptions, stop};
use crate::engine::spec::signal;
use clap::Args;

/// Stop one or more running containers
///
/// Sends the container's stop signal, and SIGKILL if it still runs when the time is up.
#[derive(Args, Debug)]
pub struct StopArgs {
    /// All running containers
    #[arg(long, short = 'a')]
    all: bool,
    /// Containers that match a filter (may be repeated)
    #[arg(long, short = 'f', value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Missing containers are no error
    #[arg(long, short = 'i')]
    ignore: bool,
    #[command(flatten)]
    how: StopFlags,
    #[command(flatten)]
    select: SelectArgs,
}

/// How a container is stopped: the flags of stop and restart.
#[derive(Args, Debug)]
pub struct StopFlags {
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
}

impl StopFlags {
    /// What they ask of the engine.
    ///
    /// # Errors
    /// No such signal.
    pub fn options(&self) -> Result<StopOptions> {
        let signal = self.signal.as_deref().map(signal::parse).transpose()?;
        Ok(StopOptions { timeout: self.time, signal })
    }
}

/// Stops them at the same time.
pub fn run(cx: &Context, args: StopArgs) -> Result<Exit> {
    let options = args.how.options()?;
    let chosen = Selection {
        args: &args.select,
        all: args.all,
        filters: &args.filter,
        states: live,
        ignore: args.ignore,
    };
    each(cx, chosen.choose(cx)?, |engine, id| stop(engine, id, &options).map(drop))
}
