//! `coracle volume prune`.

use crate::cmd::format::human;
use crate::cmd::{Context, Exit};
use crate::engine::container::volume_users;
use crate::engine::volume::{Filters, Volumes};
use crate::engine::{ErrorKind, Result};
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
    let (freed, exit) = sweep(cx, &args.filter, all)?;
    cx.println(format!("Total reclaimed space: {}", human::size(freed)))?;
    Ok(exit)
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
pub fn sweep(cx: &Context, filters: &[String], all: bool) -> Result<(u64, Exit)> {
    let engine = cx.engine()?;
    let volumes = Volumes::open(&engine.config);
    let filters = parse(cx, filters)?;
    volumes.sweep();
    let used = volume_users(engine)?;
    let (mut removed, mut freed) = (Vec::new(), 0);
    let mut exit = Exit::OK;
    for volume in volumes.list()? {
        if used.contains_key(&volume.name) || !(all || volume.anonymous) || !filters.matches(&volume, false) {
            continue;
        }
        let size = volumes.size(&volume).unwrap_or(0);
        match volumes.remove(&volume.name) {
            Ok(()) => {
                removed.push(volume.name);
                freed += size;
            }
            // Somebody else removed it meanwhile.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => {
                cx.report(&e);
                exit = Exit::FAILED;
            }
        }
    }
    if !removed.is_empty() {
        cx.println(format!("Deleted Volumes:\n{}\n", removed.join("\n")))?;
    }
    Ok((freed, exit))
}
