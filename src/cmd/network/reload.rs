//! `coracle network reload`.

use crate::cmd::container::select::{SelectArgs, Selection, each, live};
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::container::network;
use clap::Args;

/// Make interfaces, firewall rules and published ports of running containers anew
///
/// For when something else has flushed the firewall, or killed a container's pasta. Addresses and ports stay.
#[derive(Args, Debug)]
pub struct ReloadArgs {
    /// All running containers
    #[arg(long, short = 'a')]
    all: bool,
    #[command(flatten)]
    select: SelectArgs,
}

/// Reloads, and prints what was reloaded.
pub fn run(cx: &Context, args: ReloadArgs) -> Result<Exit> {
    let selection =
        Selection { args: &args.select, all: args.all, filters: &[], states: live, ignore: false };
    each(cx, selection.choose(cx)?, network::reload)
}
