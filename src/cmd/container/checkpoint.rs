//! `coracle container checkpoint`.

use super::select::{SelectArgs, Selection};
use crate::cmd::output::Output;
use crate::cmd::{Context, Exit};
use crate::engine::container::{CheckpointOptions, Destination, Taken, checkpoint};
use crate::engine::state::Status;
use crate::engine::transport::compress::{Algorithm, Compressor, Method};
use crate::engine::{Error, Result};
use clap::Args;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Write the state of one or more running containers to disk
///
/// With CRIU, as root. The containers end then, and `container restore` lets them go on where they were. What is written is beside
/// the container and goes with it; an archive or an image has all that is needed to go on elsewhere, the container's image apart.
/// It holds the memory of the processes, secrets in it included.
#[derive(Args, Clone, Debug)]
pub struct CheckpointArgs {
    /// All running containers
    #[arg(long, short = 'a')]
    all: bool,
    /// How an archive is compressed (see --export) [default: zstd]
    #[arg(long, short = 'c', value_name = "FORMAT", value_parser = ["gzip", "none", "zstd"], overrides_with = "compress")]
    compress: Option<String>,
    /// Put the checkpoint into an image as well, from which `container restore` makes the container
    #[arg(long, value_name = "IMAGE", conflicts_with = "export", overrides_with = "create_image")]
    create_image: Option<String>,
    /// Write the checkpoint into an archive as well, a tar that podman reads, too; - is standard output
    #[arg(long, short = 'e', value_name = "FILE", overrides_with = "export")]
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
    let of_archives = [
        ("--compress", args.compress.is_some()),
        ("--ignore-rootfs", args.ignore_rootfs),
        ("--ignore-volumes", args.ignore_volumes),
    ];
    if args.export.is_none()
        && let Some((flag, _)) = of_archives.iter().find(|(_, given)| *given)
    {
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
        ignore_rootfs: args.ignore_rootfs,
        ignore_volumes: args.ignore_volumes,
    };
    let running = |status: Status| status == Status::Running;
    let chosen =
        Selection { args: &args.select, all: args.all, filters: &[], states: running, ignore: false };
    let chosen = chosen.choose(cx)?;
    if chosen.0.len() > 1
        && let Some(flag) =
            args.export.as_ref().map(|_| "--export").or(args.create_image.as_ref().map(|_| "--create-image"))
    {
        return Err(Error::invalid(format!(
            "{flag} takes one container: one checkpoint would replace the other"
        )));
    }
    let compress = args.compress.as_deref().unwrap_or("zstd");
    let to_stdout = args.export.as_deref() == Some(Path::new("-"));
    timed(cx, chosen, Report { stats: args.print_stats, verb: "checkpoint", quiet: to_stdout }, |id| {
        let engine = cx.engine()?;
        match (&args.export, &args.create_image) {
            (Some(path), _) => {
                let mut output = Some(Output::open(cx, Some(path))?);
                let mut deliver = |write: &dyn Fn(&mut dyn Write) -> Result<()>| match output.take() {
                    Some(output) => deliver(output, path, compress, write),
                    None => Ok(()),
                };
                checkpoint(engine, id, &options, Destination::Archive(&mut deliver))
            }
            (None, Some(image)) => checkpoint(engine, id, &options, Destination::Image(image)),
            (None, None) => checkpoint(engine, id, &options, Destination::Beside),
        }
    })
}

/// Has an archive written into a file, which is there whole or not at all.
fn deliver(
    mut output: Output,
    path: &Path,
    compress: &str,
    write: &dyn Fn(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let failed = |e| Error::io("write", path, e);
    if compress == "none" {
        write(&mut output)?;
    } else {
        let method = Method { algorithm: Algorithm::parse(compress)?, level: None };
        let mut compressor = Compressor::new(&mut output, method).map_err(failed)?;
        write(&mut compressor)?;
        compressor.finish().map_err(failed)?;
    }
    output.done()
}

/// What is said of checkpoints and restores.
#[derive(Clone, Copy)]
pub struct Report {
    /// How long each took, as JSON, instead of names.
    pub stats: bool,
    /// `checkpoint` or `restore`.
    pub verb: &'static str,
    /// Nothing: standard output has the archive.
    pub quiet: bool,
}

/// Does `action` to all chosen containers, and prints their labels, or how long each took, as podman does.
///
/// # Errors
/// Output cannot be written; what becomes of each container is reported.
pub fn timed(
    cx: &Context,
    (chosen, mut failed): (Vec<(String, String)>, bool),
    report: Report,
    mut action: impl FnMut(&str) -> Result<Taken>,
) -> Result<Exit> {
    let begun = Instant::now();
    let mut each = Vec::new();
    // CRIU is no friend of company: one after the other.
    for (label, id) in &chosen {
        match action(id) {
            Ok(taken) if report.stats => each.push((id.clone(), taken)),
            Ok(_) if report.quiet => {}
            Ok(_) => cx.println(label)?,
            Err(e) => {
                failed = true;
                cx.report(&e);
            }
        }
    }
    if report.stats && !report.quiet {
        print_statistics(cx, report.verb, begun.elapsed(), &each)?;
    }
    Ok(if failed { Exit::FAILED } else { Exit::OK })
}

/// Prints what podman's `--print-stats` does, times in microseconds.
///
/// # Errors
/// Output cannot be written.
pub fn print_statistics(cx: &Context, verb: &str, took: Duration, each: &[(String, Taken)]) -> Result<()> {
    let each = each.iter().map(|(id, taken)| {
        let mut of_one = serde_json::json!({
            "Id": id,
            format!("runtime_{verb}_duration"): micros(taken.duration),
        });
        if let Some(statistics) = &taken.statistics {
            of_one["criu_statistics"] = serde_json::json!(statistics);
        }
        of_one
    });
    let all = serde_json::json!({
        format!("podman_{verb}_duration"): micros(took),
        "container_statistics": each.collect::<Vec<_>>(),
    });
    cx.println(format!("{all:#}"))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
