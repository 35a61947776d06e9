//! `coracle rm`.

use super::select::{SelectArgs, Selection, parallel};
use crate::cmd::{Context, Exit};
use crate::engine::container::remove::repair;
use crate::engine::container::{RemoveOptions, remove};
use crate::engine::{Error, ErrorKind, Result};
use clap::Args;

/// Remove one or more containers
///
/// Running containers are removed only with --force. Images stay.
#[derive(Args, Debug)]
pub struct RmArgs {
    /// All containers
    #[arg(long, short = 'a')]
    all: bool,
    /// Containers that use its namespaces are removed, too
    #[arg(long)]
    depend: bool,
    /// Containers that match a filter (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Stop running containers first (SIGKILL, or see --time); missing ones are no error
    #[arg(long, short = 'f')]
    force: bool,
    /// Missing containers are no error
    #[arg(long, short = 'i')]
    ignore: bool,
    /// Remove a docker link (refused: there are no links)
    #[arg(long)]
    link: bool,
    /// With --force: seconds between the stop signal and SIGKILL; -1 waits for ever
    #[arg(
        long,
        short = 't',
        visible_alias = "timeout",
        value_name = "SECONDS",
        allow_hyphen_values = true,
        overrides_with = "time"
    )]
    time: Option<i64>,
    /// Remove its anonymous volumes, too
    #[arg(long, short = 'v')]
    volumes: bool,
    #[command(flatten)]
    select: SelectArgs,
}

/// Removes them at the same time. Exit code 2 when one runs, as podman's.
pub fn run(cx: &Context, args: RmArgs) -> Result<Exit> {
    if args.link {
        return Err(Error::unsupported("--link: links between containers do not exist; use a network"));
    }
    if args.time.is_some() && !args.force {
        return Err(Error::invalid("--force option must be specified to use the --time option"));
    }
    let ignore = args.ignore || args.force;
    let options = RemoveOptions {
        force: args.force,
        volumes: args.volumes,
        timeout: args.time,
        depend: args.depend || args.all,
    };
    let selection =
        Selection { args: &args.select, all: args.all, filters: &args.filter, states: |_| true, ignore };
    let (chosen, mut failed) = selection.choose(cx)?;
    let engine = cx.engine()?;
    if args.all {
        repair(engine)?;
    }
    let mut running = false;
    let results = parallel(&chosen, |(_, id)| remove(engine, id, &options));
    for ((label, id), result) in chosen.iter().zip(results) {
        match result {
            Ok(removed) => {
                for other in removed.iter().filter(|other| *other != id) {
                    cx.println(other)?;
                }
                cx.println(label)?;
            }
            // It was there a moment ago: its own end (--rm) was faster, or another thread, which has told of it.
            Err(e) if e.kind() == ErrorKind::NotFound && options.depend => {}
            Err(e) if e.kind() == ErrorKind::NotFound && ignore => cx.println(label)?,
            Err(e) => {
                running |= e.kind() == ErrorKind::InUse;
                failed |= e.kind() != ErrorKind::InUse;
                cx.report(&e);
            }
        }
    }
    Ok(match (failed, running) {
        (true, _) => Exit::FAILED,
        (false, true) => Exit(2),
        (false, false) => Exit::OK,
    })
}
