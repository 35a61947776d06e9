//! `coracle network prune`.

use crate::cmd::{Context, Exit};
use crate::engine::container::members;
use crate::engine::network::{Filters, Networks};
use crate::engine::{ErrorKind, Result};
use clap::Args;

/// Remove all networks that no container is on
///
/// Stopped containers count: they need their networks when they start again. The default network stays.
#[derive(Args, Clone, Debug)]
pub struct PruneArgs {
    /// Networks that match a filter: until=…, label=…, label!=… (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(long, short = 'f')]
    force: bool,
}

/// Asks and removes.
pub fn run(cx: &Context, args: PruneArgs) -> Result<Exit> {
    parse(&args.filter)?;
    let warning = "WARNING! This will remove all custom networks not used by at least one container.";
    if !args.force && !cx.confirmed(warning)? {
        return Ok(Exit::OK);
    }
    sweep(cx, &args.filter)
}

fn parse(filters: &[String]) -> Result<Filters> {
    let filters = Filters::parse(filters)?;
    filters.only(&["label", "label!", "until"])?;
    Ok(filters)
}

/// Removes and lists.
///
/// # Errors
/// A filter is wrong, or our records cannot be read.
pub fn sweep(cx: &Context, filters: &[String]) -> Result<Exit> {
    let filters = parse(filters)?;
    let engine = cx.engine()?;
    let networks = Networks::open(&engine.config);
    let used = members(engine)?;
    let mut removed = Vec::new();
    let mut exit = Exit::OK;
    for network in networks.list()? {
        let keep = used.contains_key(&network.name) || networks.means_default(&network.name);
        if keep || !filters.matches(&networks, &network, false) {
            continue;
        }
        match networks.remove(&network, &[]) {
            Ok(()) => removed.push(network.name),
            // Somebody else removed it meanwhile.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => {
                cx.report(&e);
                exit = Exit::FAILED;
            }
        }
    }
    if !removed.is_empty() {
        cx.println(format!("Deleted Networks:\n{}\n", removed.join("\n")))?;
    }
    Ok(exit)
}
