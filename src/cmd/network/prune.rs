//! `coracle network prune`.

use crate::cmd::{Context, Exit};
use crate::engine::container::members;
use crate::engine::network::{Filters, Networks};
use crate::engine::{ErrorKind, Result};
use clap::Args;
use std::io::BufRead;

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
    let filters = Filters::parse(&args.filter)?;
    filters.only(&["label", "label!", "until"])?;
    if !args.force && !confirmed(cx)? {
        return Ok(Exit::OK);
    }
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

fn confirmed(cx: &Context) -> Result<bool> {
    cx.print(
        "WARNING! This will remove all custom networks not used by at least one container.\n\
         Are you sure you want to continue? [y/N] ",
    )?;
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}
