//! `coracle image prune`.

use super::filters::Filters;
use crate::cmd::format::human;
use crate::cmd::{Context, Exit};
use crate::engine::image::remove::prune;
use crate::engine::{Error, Result};
use clap::Args;
use std::collections::HashSet;

/// Remove unused images
///
/// Without --all only dangling ones: those without a name that no other image is built on.
#[derive(Args, Clone, Debug, Default)]
pub struct PruneArgs {
    /// Remove every image that no container uses
    #[arg(short, long)]
    pub all: bool,
    /// Remove the cache of builds, too (builds keep none)
    #[arg(long)]
    pub build_cache: bool,
    /// Remove images of other tools' containers, too (refused: they are in use)
    #[arg(long)]
    pub external: bool,
    /// Only images that match: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE] … (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}

/// Runs `coracle image prune`.
pub fn run(cx: &Context, args: PruneArgs) -> Result<Exit> {
    if args.external {
        return Err(Error::unsupported("--external: containers of other tools are not removed"));
    }
    let what = match args.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    if !args.force && !cx.confirmed(&format!("WARNING! This will remove {what}."))? {
        return Ok(Exit::OK);
    }
    let freed = sweep(cx, &args.filter, args.all)?;
    cx.println(format!("Total reclaimed space: {}", human::size(freed)))?;
    Ok(Exit::OK)
}

/// Removes and lists; returns the bytes that are free now.
///
/// # Errors
/// A filter is wrong, an image cannot be removed.
pub fn sweep(cx: &Context, filters: &[String], all: bool) -> Result<u64> {
    let engine = cx.engine()?;
    // docker's way to say --all and its opposite; which images are dangling is the engine's business.
    let (dangling, others): (Vec<_>, Vec<_>) = filters.iter().partition(|f| f.starts_with("dangling="));
    Filters::parse(filters, None)?;
    let all = match dangling.last().map(|f| f.as_str()) {
        Some("dangling=false" | "dangling=0" | "dangling=f") => true,
        Some(_) => false,
        None => all,
    };
    let others: Vec<String> = others.into_iter().cloned().collect();
    let filters = Filters::parse(&others, None)?;
    let facts = filters.facts(engine, HashSet::new())?;
    let removed = prune(engine, all, &|image| filters.matches(engine, image, &facts).map(|wanted| !wanted))?;
    if !removed.is_empty() {
        cx.println("Deleted Images:")?;
    }
    for image in &removed {
        for name in &image.untagged {
            cx.println(format!("untagged: {name}"))?;
        }
        cx.println(format!("deleted: {}", image.id))?;
    }
    if !removed.is_empty() {
        cx.println("")?;
    }
    Ok(removed.iter().map(|r| r.size).sum())
}
