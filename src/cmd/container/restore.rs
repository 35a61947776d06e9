//! `coracle container restore`.

use super::checkpoint::{Report, print_statistics, timed};
use super::making::found_image;
use super::select::{SelectArgs, Selection};
use crate::cmd::flags::image::ImageArgs;
use crate::cmd::flags::later;
use crate::cmd::flags::ports::{distinct, publish};
use crate::cmd::{Context, Exit};
use crate::engine::container::{
    ImportOptions, RestoreOptions, Taken, Unpacked, import, resolve, restore, runtime_of_image,
};
use crate::engine::host::relay::relay;
use crate::engine::spec::{ContainerSpec, ImageSource, PortMapping};
use crate::engine::{Engine, Error, ErrorKind, Result, image};
use clap::Args;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Let one or more containers go on where their checkpoint was made
///
/// With CRIU, as root. A container has its addresses again; what was written into its files since the checkpoint stays. From an
/// archive, or an image that `container checkpoint --create-image` made, the container itself is made again, under its name and
/// ID; such an archive runs with whatever rights it asks for, so restore only what you trust.
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
    /// Make the container of an archive, of ours or of podman's; - is standard input
    #[arg(long, short = 'i', value_name = "FILE")]
    import: Option<PathBuf>,
    /// Archive of the pre-checkpoint that the archive continues
    #[arg(long, value_name = "FILE")]
    import_previous: Option<PathBuf>,
    /// Keep the checkpoint and CRIU's logs
    #[arg(long, short = 'k')]
    keep: bool,
    /// Another name, and a new ID and addresses, for the container of an archive (see --import)
    #[arg(long, short = 'n', value_name = "NAME")]
    name: Option<String>,
    /// Make it part of a pod (not supported yet)
    #[arg(long, value_name = "POD")]
    pod: Option<String>,
    /// Show how long it took, as JSON
    #[arg(long)]
    print_stats: bool,
    /// Published ports of the container of an archive, instead of its own (see --import)
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
    if args.pod.is_some() {
        return Err(later("--pod", "pods"));
    }
    let options = RestoreOptions {
        keep: args.keep,
        tcp_established: args.tcp_established,
        file_locks: args.file_locks,
        ignore_addresses: args.ignore_static_ip,
        ignore_mac: args.ignore_static_mac,
        ..RestoreOptions::default()
    };
    if args.import.is_some() || holds_checkpoints(cx, &args.select.containers)? {
        return make_again(cx, &args, &options);
    }
    let of_archives = [
        ("--ignore-rootfs", args.ignore_rootfs),
        ("--ignore-volumes", args.ignore_volumes),
        ("--import-previous", args.import_previous.is_some()),
        ("--name", args.name.is_some()),
        ("--publish", !args.publish.is_empty()),
    ];
    if let Some((flag, _)) = of_archives.iter().find(|(_, given)| *given) {
        return Err(Error::invalid(format!("{flag} can only be used with image or --import")));
    }
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
    let report = Report { stats: args.print_stats, verb: "restore", quiet: false };
    timed(cx, (chosen, failed), report, |id| restore(engine, id, &options))
}

/// Whether the names are those of images of checkpoints, and of no container.
fn holds_checkpoints(cx: &Context, names: &[String]) -> Result<bool> {
    let engine = cx.engine()?;
    for name in names {
        match resolve(engine, name) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            _ => return Ok(false),
        }
        match image::find(engine, name) {
            Ok(found) if runtime_of_image(engine, &found.image)?.is_some() => {}
            _ => return Ok(false),
        }
    }
    Ok(!names.is_empty())
}

/// Makes containers of an archive, or of images.
fn make_again(cx: &Context, args: &RestoreArgs, options: &RestoreOptions) -> Result<Exit> {
    let names = &args.select.containers;
    if args.import.is_some() {
        if args.all || args.select.latest {
            return Err(Error::invalid("cannot use --import with --all or --latest"));
        }
        if !names.is_empty() || !args.select.cidfile.is_empty() {
            return Err(Error::invalid("cannot use --import with positional arguments"));
        }
    }
    if args.name.is_some() && args.tcp_established {
        return Err(Error::invalid("--tcp-established cannot be used with --name"));
    }
    if args.name.is_some() && names.len() > 1 {
        return Err(Error::invalid("--name can only be used with one checkpoint image"));
    }
    let ports: Vec<PortMapping> =
        args.publish.iter().map(|text| publish(text)).collect::<Result<Vec<_>>>()?.concat();
    distinct(&ports)?;
    let engine = cx.engine()?;
    let wanted = ImportOptions {
        name: args.name.clone().unwrap_or_default(),
        ignore_rootfs: args.ignore_rootfs,
        ignore_volumes: args.ignore_volumes,
    };
    let begun = Instant::now();
    let make = |unpacked: Unpacked| -> Result<(String, Taken)> {
        let mut unpacked = unpacked;
        if let Some(path) = &args.import_previous {
            unpacked.read_previous(engine, open(cx, path)?)?;
        }
        unpacked.spec.image = image_of(engine, &unpacked.spec)?;
        if !ports.is_empty() {
            unpacked.spec.network.ports.clone_from(&ports);
        }
        import(engine, unpacked, &wanted, options)
    };
    let results = match &args.import {
        Some(path) => vec![Unpacked::read(engine, open(cx, path)?).and_then(make)],
        None => names.iter().map(|name| of_image(engine, name).and_then(make)).collect(),
    };
    let (mut each, mut failed) = (Vec::new(), false);
    for result in results {
        match result {
            Ok((id, taken)) if args.print_stats => each.push((id, taken)),
            Ok((id, _)) => cx.println(id)?,
            Err(e) => {
                failed = true;
                cx.report(&e);
            }
        }
    }
    if args.print_stats {
        print_statistics(cx, "restore", begun.elapsed(), &each)?;
    }
    Ok(if failed { Exit::FAILED } else { Exit::OK })
}

fn open(cx: &Context, path: &Path) -> Result<Box<dyn Read + Send>> {
    if path == Path::new("-") {
        if cx.stdin_is_terminal() {
            return Err(Error::invalid("an archive is not read from a terminal")
                .with_hint("name a file, or use a pipe"));
        }
        return Ok(Box::new(std::io::stdin()));
    }
    Ok(Box::new(File::open(path).map_err(|e| Error::io("open", path, e))?))
}

/// The archive in an image: its files.
fn of_image(engine: &Engine, name: &str) -> Result<Unpacked> {
    let image = image::find(engine, name)?.image;
    let layer = image.top_layer.ok_or_else(|| Error::corrupt(format!("image {name} has no layer")))?;
    relay(
        |mut out| engine.store.write_tree(&layer, &|_, _| false, &mut out),
        |archive| Unpacked::read(engine, archive),
    )
}

/// The very image the container was made from, pulled if it is not here: what it had written lies over its files.
fn image_of(engine: &Engine, spec: &ContainerSpec) -> Result<ImageSource> {
    let was = &spec.image;
    if engine.store.image(&was.id).is_ok() {
        return Ok(was.clone());
    }
    let name = if was.name.is_empty() { &was.requested } else { &was.name };
    let found = found_image(engine, name, &ImageArgs::default())?;
    if found.id != was.id {
        return Err(Error::not_found(format!(
            "no such image: {name} as it was, {}",
            image::short_id(&was.id)
        ))
        .with_hint(format!("{name} is another image now, to which the container's files do not fit")));
    }
    Ok(ImageSource { requested: was.requested.clone(), ..found })
}
