//! `coracle container restore`.

use super::checkpoint::timed;
use super::select::{SelectArgs, Selection};
use crate::cmd::flags::later;
use crate::cmd::{Context, Exit};
use crate::engine::container::{RestoreOptions, restore};
use crate::engine::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// Let one or more containers go on where their checkpoint was made
///
/// With CRIU, as root. A container has its addresses again; what was written into its files since the checkpoint stays.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    /// All containers that have a checkpoint
    #[arg(long, short = 'a')]
    all: bool,
    /// With locks of files
    #[arg(long)]
    file_locks: bool,
    /// Leave the files in an archive alone (see --import)
    #[arg(long)]
    ignore_rootfs: bool,
    /// Take any free IP address
    #[arg(long)]
    ignore_static_ip: bool,
    /// Take any MAC address
    #[arg(long)]
    ignore_static_mac: bool,
    /// Leave the volumes in an archive alone (see --import)
    #[arg(long)]
    ignore_volumes: bool,
    /// Make the container of an archive (not supported yet)
    #[arg(long, short = 'i', value_name = "FILE")]
    import: Option<PathBuf>,
    /// Archive of a pre-checkpoint (not supported yet)
    #[arg(long, value_name = "FILE")]
    import_previous: Option<PathBuf>,
    /// Keep the checkpoint and CRIU's logs
    #[arg(long, short = 'k')]
    keep: bool,
    /// Name of the container of an archive (see --import)
    #[arg(long, short = 'n', value_name = "NAME")]
    name: Option<String>,
    /// Make it part of a pod (not supported yet)
    #[arg(long, value_name = "POD")]
    pod: Option<String>,
    /// Show how long it took, as JSON
    #[arg(long)]
    print_stats: bool,
    /// Published ports of the container of an archive (see --import)
    #[arg(long, short = 'p', value_name = "PORT")]
    publish: Vec<String>,
    /// With open TCP connections
    #[arg(long)]
    tcp_established: bool,
    #[command(flatten)]
    select: SelectArgs,
}

/// Restores them.
pub fn run(cx: &Context, args: RestoreArgs) -> Result<Exit> {
    for (flag, given) in
        [("--import", args.import.is_some()), ("--import-previous", args.import_previous.is_some())]
    {
        if given {
            return Err(later(flag, "archives of checkpoints"));
        }
    }
    if args.pod.is_some() {
        return Err(later("--pod", "pods"));
    }
    let of_archives = [
        ("--ignore-rootfs", args.ignore_rootfs),
        ("--ignore-volumes", args.ignore_volumes),
        ("--name", args.name.is_some()),
        ("--publish", !args.publish.is_empty()),
    ];
    if let Some((flag, _)) = of_archives.iter().find(|(_, given)| *given) {
        return Err(Error::invalid(format!("{flag} can only be used with --import")));
    }
    let options = RestoreOptions {
        keep: args.keep,
        tcp_established: args.tcp_established,
        file_locks: args.file_locks,
        ignore_addresses: args.ignore_static_ip,
        ignore_mac: args.ignore_static_mac,
        ..RestoreOptions::default()
    };
    let engine = cx.engine()?;
    let selection = Selection {
        args: &args.select,
        all: args.all,
        filters: &[],
        states: |s| !s.is_live(),
        ignore: false,
    };
    let (mut chosen, failed) = selection.choose(cx)?;
    if args.all {
        chosen.retain(|(_, id)| {
            engine.state.load(id).is_ok_and(|record| record.state.checkpointed_at.is_some())
        });
    }
    timed(cx, (chosen, failed), args.print_stats, "restore", |id| restore(engine, id, &options))
}
