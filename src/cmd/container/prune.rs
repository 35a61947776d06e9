//! `coracle container prune`.

use crate::cmd::format::human;
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::container::{Filters, prune};
use clap::Args;

/// Remove all containers that do not run
#[derive(Args, Debug)]
pub struct PruneArgs {
    /// Containers that match a filter: until=…, label=…, label!=… (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(long, short = 'f')]
    force: bool,
}

/// Asks, removes, tells how much space that gave.
pub fn run(cx: &Context, args: PruneArgs) -> Result<Exit> {
    Filters::parse(&args.filter)?;
    if !args.force && !cx.confirmed("WARNING! This will remove all stopped containers.")? {
        return Ok(Exit::OK);
    }
    let freed = sweep(cx, &args.filter)?;
    cx.println(format!("Total reclaimed space: {}", human::size(freed)))?;
    Ok(Exit::OK)
}

/// Removes and lists; returns the bytes that are free now.
///
/// # Errors
/// A filter is wrong, a container cannot be removed.
pub fn sweep(cx: &Context, filters: &[String]) -> Result<u64> {
    let (removed, bytes) = prune(cx.engine()?, &Filters::parse(filters)?)?;
    if !removed.is_empty() {
        cx.println(format!("Deleted Containers:\n{}\n", removed.join("\n")))?;
    }
    Ok(bytes)
}
