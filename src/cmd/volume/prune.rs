//! `coracle volume prune`.

use crate::cmd::format::human;
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::container::prune_volumes;
use crate::engine::volume::{Filters, Volume, Volumes};
use clap::Args;

/// Remove volumes that no container has
///
/// Anonymous ones; with --all those with a name, too. That is docker's way: podman removes all of them in any case.
#[derive(Args, Clone, Debug)]
pub struct PruneArgs {
    /// Volumes with a name, too
    #[arg(short, long)]
    all: bool,
    /// Volumes that match a filter: label=…, label!=…, until=…, all=1 (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(long, short = 'f')]
    force: bool,
}

/// Asks and removes.
pub fn run(cx: &Context, args: PruneArgs) -> Result<Exit> {
    let all = args.all || parse(cx, &args.filter)?.all();
    let which = if all { "all" } else { "anonymous" };
    let warning =
        format!("WARNING! This will remove {which} local volumes not used by at least one container.");
    if !args.force && !cx.confirmed(&warning)? {
        return Ok(Exit::OK);
    }
    let freed = sweep(cx, &args.filter, all)?;
    cx.println(format!("Total reclaimed space: {}", human::size(freed)))?;
    Ok(Exit::OK)
}

fn parse(cx: &Context, filters: &[String]) -> Result<Filters> {
    let volumes = Volumes::open(&cx.engine()?.config);
    let filters = Filters::parse(filters, |name| Ok(volumes.get(name)?.created))?;
    filters.only(&["all", "anonymous", "label", "label!", "name", "since", "after", "until"])?;
    Ok(filters)
}

/// Removes and lists; returns the bytes that are free now.
///
/// # Errors
/// A filter is wrong, or our records cannot be read.
pub fn sweep(cx: &Context, filters: &[String], all: bool) -> Result<u64> {
    let filters = parse(cx, filters)?;
    let wanted = |volume: &Volume| (all || volume.anonymous) && filters.matches(volume, false);
    let (removed, freed) = prune_volumes(cx.engine()?, &wanted)?;
    if !removed.is_empty() {
        cx.println(format!("Deleted Volumes:\n{}\n", removed.join("\n")))?;
    }
    Ok(freed)
}
