//! `coracle container checkpoint`.

use super::select::{SelectArgs, Selection};
use crate::cmd::flags::later;
use crate::cmd::{Context, Exit};
use crate::engine::container::{CheckpointOptions, checkpoint};
use crate::engine::state::Status;
use crate::engine::{Error, Result};
use clap::Args;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Write the state of one or more running containers to disk
///
/// With CRIU, as root. The containers end then, and `container restore` lets them go on where they were. What is written is beside
/// the container and goes with it.
#[derive(Args, Clone, Debug)]
pub struct CheckpointArgs {
    /// All running containers
    #[arg(long, short = 'a')]
    all: bool,
    /// How an archive is compressed (see --export)
    #[arg(long, short = 'c', value_name = "FORMAT", value_parser = ["gzip", "none", "zstd"])]
    compress: Option<String>,
    /// Put the checkpoint into an image (not supported yet)
    #[arg(long, value_name = "IMAGE")]
    create_image: Option<String>,
    /// Write the checkpoint into an archive (not supported yet)
    #[arg(long, short = 'e', value_name = "FILE")]
    export: Option<PathBuf>,
    /// With locks of files
    #[arg(long)]
    file_locks: bool,
    /// Leave the container's files out of an archive (see --export)
    #[arg(long)]
    ignore_rootfs: bool,
    /// Leave volumes out of an archive (see --export)
    #[arg(long)]
    ignore_volumes: bool,
    /// Keep CRIU's logs and statistics
    #[arg(long, short = 'k')]
    keep: bool,
    /// The containers go on
    #[arg(long, short = 'R')]
    leave_running: bool,
    /// Write the memory only, while the containers go on: the checkpoint proper is quicker then
    #[arg(long, short = 'P', conflicts_with = "with_previous")]
    pre_checkpoint: bool,
    /// Show how long it took, as JSON
    #[arg(long)]
    print_stats: bool,
    /// With open TCP connections
    #[arg(long)]
    tcp_established: bool,
    /// Write only what changed since --pre-checkpoint
    #[arg(long)]
    with_previous: bool,
    #[command(flatten)]
    select: SelectArgs,
}

/// Writes them.
pub fn run(cx: &Context, args: CheckpointArgs) -> Result<Exit> {
    if args.create_image.is_some() {
        return Err(later("--create-image", "archives of checkpoints"));
    }
    if args.export.is_some() {
        return Err(later("--export", "archives of checkpoints"));
    }
    let of_archives = [
        ("--compress", args.compress.is_some()),
        ("--ignore-rootfs", args.ignore_rootfs),
        ("--ignore-volumes", args.ignore_volumes),
    ];
    if let Some((flag, _)) = of_archives.iter().find(|(_, given)| *given) {
        return Err(Error::invalid(format!("{flag} can only be used with --export")));
    }
    let options = CheckpointOptions {
        name: String::new(),
        keep: args.keep,
        leave_running: args.leave_running,
        tcp_established: args.tcp_established,
        file_locks: args.file_locks,
        pre: args.pre_checkpoint,
        with_previous: args.with_previous,
    };
    let running = |status: Status| status == Status::Running;
    let chosen =
        Selection { args: &args.select, all: args.all, filters: &[], states: running, ignore: false };
    timed(cx, chosen.choose(cx)?, args.print_stats, "checkpoint", |id| checkpoint(cx.engine()?, id, &options))
}

/// Does `action` to all chosen containers, and prints their labels, or with `stats` how long each took, as podman does.
///
/// # Errors
/// Output cannot be written; what becomes of each container is reported.
pub fn timed(
    cx: &Context,
    (chosen, mut failed): (Vec<(String, String)>, bool),
    stats: bool,
    verb: &str,
    action: impl Fn(&str) -> Result<Duration>,
) -> Result<Exit> {
    let begun = Instant::now();
    let mut each = Vec::new();
    // CRIU is no friend of company: one after the other.
    for (label, id) in &chosen {
        match action(id) {
            Ok(took) if stats => {
                each.push(serde_json::json!({"Id": id, format!("runtime_{verb}_duration"): micros(took)}));
            }
            Ok(_) => cx.println(label)?,
            Err(e) => {
                failed = true;
                cx.report(&e);
            }
        }
    }
    if stats {
        let all = serde_json::json!({
            format!("podman_{verb}_duration"): micros(begun.elapsed()),
            "container_statistics": each,
        });
        cx.println(format!("{all:#}"))?;
    }
    Ok(if failed { Exit::FAILED } else { Exit::OK })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
