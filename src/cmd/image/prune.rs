//! `coracle image prune`.

use super::filters::Filters;
use crate::cmd::format::human;
use crate::cmd::{Context, Exit};
use crate::engine::image::remove::prune;
use crate::engine::{Error, Result};
use clap::Args;
use std::collections::HashSet;
use std::io::{BufRead, Write};

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
    if !args.force && !confirmed(args.all)? {
        return Ok(Exit::FAILED);
    }
    let engine = cx.engine()?;
    // docker's way to say --all and its opposite; which images are dangling is the engine's business.
    let (dangling, others): (Vec<_>, Vec<_>) = args.filter.iter().partition(|f| f.starts_with("dangling="));
    Filters::parse(&args.filter, None)?;
    let all = match dangling.last().map(|f| f.as_str()) {
        Some("dangling=false" | "dangling=0" | "dangling=f") => true,
        Some(_) => false,
        None => args.all,
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
    let freed: u64 = removed.iter().map(|r| r.size).sum();
    cx.println(format!("Total reclaimed space: {}", human::size(freed)))?;
    Ok(Exit::OK)
}

fn confirmed(all: bool) -> Result<bool> {
    let what = match all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    let mut stderr = std::io::stderr().lock();
    let asked =
        write!(stderr, "WARNING! This will remove {what}.\nAre you sure you want to continue? [y/N] ");
    asked.and_then(|()| stderr.flush()).map_err(|e| Error::os("write to standard error", e))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|e| Error::os("read standard input", e))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
