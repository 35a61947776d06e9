//! `coracle start`.

use super::select::{SelectArgs, Selection, each};
use super::started::{Attach, start_attached};
use crate::cmd::{Context, Exit};
use crate::engine::container::{RestoreOptions, StartOptions, restore, start};
use crate::engine::state::Status;
use crate::engine::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// Start one or more containers
#[derive(Args, Debug)]
pub struct StartArgs {
    /// All containers that do not run
    #[arg(long)]
    all: bool,
    /// Attach standard output and error, and pass on signals
    #[arg(long, short = 'a')]
    attach: bool,
    /// Restore from this checkpoint
    #[arg(long, value_name = "NAME")]
    checkpoint: Option<String>,
    /// With --checkpoint: directory of the checkpoints
    #[arg(long, value_name = "DIR")]
    checkpoint_dir: Option<PathBuf>,
    /// Keys that detach from the container, a comma-separated list; empty: none
    #[arg(long, value_name = "KEYS", allow_hyphen_values = true)]
    detach_keys: Option<String>,
    /// Containers that match a filter (may be repeated)
    #[arg(long, short = 'f', value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Attach standard input
    #[arg(long, short = 'i')]
    interactive: bool,
    /// Pass signals on to the container [default: with --attach]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sig_proxy: Option<bool>,
    #[command(flatten)]
    select: SelectArgs,
}

/// Starts them; with --attach or --interactive one, and follows it.
pub fn run(cx: &Context, args: StartArgs) -> Result<Exit> {
    if args.checkpoint_dir.is_some() && args.checkpoint.is_none() {
        return Err(Error::invalid("--checkpoint-dir can only be used with --checkpoint"));
    }
    let selection = Selection {
        args: &args.select,
        all: args.all,
        filters: &args.filter,
        states: |status| !matches!(status, Status::Running | Status::Paused),
        ignore: false,
    };
    let attached = args.attach || args.interactive;
    if attached && (args.all || args.select.containers.len() > 1) {
        return Err(Error::invalid("you cannot start and attach multiple containers at once"));
    }
    let (chosen, failed) = selection.choose(cx)?;
    if let Some(name) = args.checkpoint {
        if attached || chosen.len() > 1 {
            return Err(Error::invalid("one container is restored from a checkpoint, and not attached"));
        }
        let directory =
            args.checkpoint_dir.map(|directory| std::path::absolute(&directory).unwrap_or(directory));
        let options = RestoreOptions { name, directory, keep: true, ..RestoreOptions::default() };
        return each(cx, (chosen, failed), |engine, id| restore(engine, id, &options).map(drop));
    }
    if !attached {
        let start = |engine: &_, id: &str| {
            start(engine, id, StartOptions { detached: true, ..StartOptions::default() }, &mut |_| Ok(()))
                .map(drop)
        };
        return each(cx, (chosen, failed), start);
    }
    let Some((_, id)) = chosen.first() else { return Ok(Exit::FAILED) };
    let attach = Attach {
        stdin: args.interactive,
        stdout: true,
        stderr: true,
        signals: args.sig_proxy.unwrap_or(true),
        detach_keys: args.detach_keys,
    };
    start_attached(cx, id, &attach, StartOptions::default())
}
