//! `coracle container prune`.

use crate::cmd::format::human;
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::container::{Filters, prune};
use clap::Args;
use std::io::BufRead;

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
    let filters = Filters::parse(&args.filter)?;
    if !args.force && !confirmed(cx)? {
        return Ok(Exit::OK);
    }
    let (removed, bytes) = prune(cx.engine()?, &filters)?;
    if !removed.is_empty() {
        cx.println(format!("Deleted Containers:\n{}\n", removed.join("\n")))?;
    }
    cx.println(format!("Total reclaimed space: {}", human::size(bytes)))?;
    Ok(Exit::OK)
}

fn confirmed(cx: &Context) -> Result<bool> {
    cx.print("WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] ")?;
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}
