//! `coracle system prune`.

use crate::cmd::format::human;
use crate::cmd::{Context, Exit, container, image, network, volume};
use crate::engine::{Error, Result};
use clap::Args;

/// Remove what nobody uses
///
/// Containers that do not run, networks that no container is on, and dangling images; with --all every image that no container
/// uses; with --volumes anonymous volumes that no container has.
#[derive(Args, Clone, Debug)]
pub struct PruneArgs {
    /// Every image that no container uses, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// What builds left, too (builds leave nothing)
    #[arg(long)]
    build: bool,
    /// Containers of other tools, too (refused: they are theirs)
    #[arg(long)]
    external: bool,
    /// What matches a filter: until=…, label=…, label!=… (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Anonymous volumes, too
    #[arg(long)]
    volumes: bool,
}

/// Asks and removes.
pub fn run(cx: &Context, args: PruneArgs) -> Result<Exit> {
    if args.external {
        return Err(Error::unsupported("--external: containers of other tools are not removed"));
    }
    let key = |filter: &String| filter.split('=').next().unwrap_or_default().trim_end_matches('!').to_owned();
    if let Some(unknown) = args.filter.iter().find(|f| !matches!(key(f).as_str(), "label" | "until")) {
        return Err(
            Error::invalid(format!("invalid filter {unknown:?}")).with_hint("one of label, label!, until")
        );
    }
    let until = args.filter.iter().any(|f| key(f) == "until");
    if args.volumes && until {
        return Err(Error::invalid("the \"until\" filter is not supported with \"--volumes\""));
    }
    if !args.force && !cx.confirmed(&warning(&args))? {
        return Ok(Exit::OK);
    }
    let mut freed = container::prune::sweep(cx, &args.filter)?;
    let exit = network::prune::sweep(cx, &args.filter)?;
    if args.volumes {
        freed += volume::prune::sweep(cx, &args.filter, false)?;
    }
    freed += image::prune::sweep(cx, &args.filter, args.all)?;
    cx.println(format!("Total reclaimed space: {}", human::size(freed)))?;
    Ok(exit)
}

fn warning(args: &PruneArgs) -> String {
    let mut lines = vec![
        "WARNING! This will remove:",
        "  - all stopped containers",
        "  - all networks not used by at least one container",
    ];
    if args.volumes {
        lines.push("  - all anonymous volumes not used by at least one container");
    }
    lines.push(match args.all {
        true => "  - all images without at least one container associated to them",
        false => "  - all dangling images",
    });
    let filters = format!("  Items to be pruned will be filtered with:\n  - {}", args.filter.join("\n  - "));
    if !args.filter.is_empty() {
        lines.push("");
        lines.push(&filters);
    }
    lines.join("\n") + "\n"
}
