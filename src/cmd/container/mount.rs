//! `coracle mount`, `unmount`, and what `image mount` shares with them.

use crate::cmd::format::human;
use crate::cmd::{Context, Exit};
use crate::engine::container::latest;
use crate::engine::container::mount::{
    Mountable, Mounted, Unmounted, mount, mountable, mountables, mounted, unmount,
};
use crate::engine::{Engine, Error, ErrorKind, Result};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;

/// Make a container's files accessible, and print where
///
/// Without a container: list what is mounted. Mounts are counted, together with podman's; each is undone by one `unmount`. As an
/// ordinary user, mount inside `coracle unshare`.
#[derive(Args, Clone, Debug)]
pub struct MountArgs {
    /// All containers
    #[arg(short, long)]
    all: bool,
    /// How to list what is mounted: json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Do not shorten IDs
    #[arg(long, visible_alias = "notruncate")]
    no_trunc: bool,
    /// Names, IDs or beginnings of IDs; podman's and buildah's, too
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Give back what `mount` mounted
///
/// The file system of a running container stays mounted for it.
#[derive(Args, Clone, Debug)]
pub struct UnmountArgs {
    /// All containers
    #[arg(short, long)]
    all: bool,
    /// All mounts of the container, not just one
    #[arg(short, long)]
    force: bool,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Mounts, or lists.
pub fn run(cx: &Context, args: MountArgs) -> Result<Exit> {
    check(args.all, args.latest, &args.containers)?;
    let json = is_json(args.format.as_deref())?;
    let engine = cx.engine()?;
    if !args.all && !args.latest && args.containers.is_empty() {
        return list(cx, &mounted(engine)?, json, args.no_trunc);
    }
    only_where_it_lasts(engine)?;
    let (chosen, mut exit) = choose(cx, args.all, args.latest, &args.containers)?;
    for (_, container) in &chosen {
        match mount(engine, container) {
            Ok(path) => cx.println(path.to_string_lossy())?,
            // It was removed meanwhile.
            Err(e) if args.all && e.kind() == ErrorKind::NotFound => {}
            Err(e) => {
                cx.report(&e);
                exit = Exit::FAILED;
            }
        }
    }
    Ok(exit)
}

/// Unmounts.
pub fn undo(cx: &Context, args: UnmountArgs) -> Result<Exit> {
    check(args.all, args.latest, &args.containers)?;
    if !args.all && !args.latest && args.containers.is_empty() {
        return Err(Error::invalid("you must provide at least one name or id"));
    }
    let engine = cx.engine()?;
    let (chosen, mut exit) = choose(cx, args.all, args.latest, &args.containers)?;
    for (word, container) in &chosen {
        match unmount(engine, container, args.force) {
            Ok(Unmounted::Done) => cx.println(word)?,
            Ok(Unmounted::Nothing) if args.all => {}
            Ok(Unmounted::Nothing) => {
                cx.report(&Error::invalid(format!(
                    "unmounting container {word}: it was not mounted by `mount`"
                )));
                exit = Exit::FAILED;
            }
            Err(e) => {
                cx.report(&e.wrap(format!("unmounting container {word}")));
                exit = Exit::FAILED;
            }
        }
    }
    Ok(exit)
}

fn check(all: bool, latest: bool, names: &[String]) -> Result<()> {
    match (all, latest, names.is_empty()) {
        (true, true, _) => Err(Error::invalid("--all and --latest cannot be used together")),
        (true, _, false) => Err(Error::invalid("no containers may be named together with --all")),
        (_, true, false) => Err(Error::invalid("--latest and containers cannot be used together")),
        _ => Ok(()),
    }
}

/// The containers with what to call them; what does not exist is reported.
fn choose(
    cx: &Context,
    all: bool,
    newest: bool,
    names: &[String],
) -> Result<(Vec<(String, Mountable)>, Exit)> {
    let engine = cx.engine()?;
    let by_id = |container: Mountable| (container.id().to_owned(), container);
    if all {
        return Ok((mountables(engine)?.into_iter().map(by_id).collect(), Exit::OK));
    }
    if newest {
        return Ok((vec![by_id(Mountable::Own(Box::new(latest(engine)?)))], Exit::OK));
    }
    let mut exit = Exit::OK;
    let mut chosen = Vec::new();
    for name in names {
        match mountable(engine, name) {
            Ok(container) => chosen.push((name.clone(), container)),
            Err(e) => {
                cx.report(&e);
                exit = Exit::FAILED;
            }
        }
    }
    Ok((chosen, exit))
}

fn list(cx: &Context, mounts: &[Mounted], json: bool, full: bool) -> Result<Exit> {
    if json {
        let row = |m: &Mounted| json!({"id": m.id, "Names": [m.name], "mountpoint": m.path});
        return print_json(cx, &mounts.iter().map(row).collect::<Vec<_>>());
    }
    let id = |m: &Mounted| if full { m.id.clone() } else { human::short_id(&m.id).to_owned() };
    print_rows(cx, &mounts.iter().map(|m| (id(m), m.path.as_path())).collect::<Vec<_>>())
}

/// Whether `--format` asks for JSON, the only format there is.
pub fn is_json(format: Option<&str>) -> Result<bool> {
    match format {
        None | Some("") => Ok(false),
        Some("json" | "{{json .}}" | "{{ json .}}" | "{{json . }}" | "{{ json . }}") => Ok(true),
        Some(other) => Err(Error::invalid(format!("unknown --format argument: {other:?}")).with_hint("json")),
    }
}

/// An ordinary user's commands work in a mount namespace that the user does not see.
pub fn only_where_it_lasts(engine: &Engine) -> Result<()> {
    if !engine.rootless() || engine.config.env.in_userns || engine.store.driver_name() != "overlay" {
        return Ok(());
    }
    Err(Error::unsupported("cannot mount using driver overlay in rootless mode")
        .with_hint("what is mounted in `coracle unshare` is seen there"))
}

/// An array, indented as podman does.
pub fn print_json(cx: &Context, rows: &[Value]) -> Result<Exit> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    rows.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))
        .map_err(|e| Error::corrupt("encode JSON").with_source(e))?;
    cx.println(String::from_utf8_lossy(&text))?;
    Ok(Exit::OK)
}

/// Names and paths in columns.
pub fn print_rows(cx: &Context, rows: &[(String, &Path)]) -> Result<Exit> {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, path) in rows {
        cx.println(format!("{name:width$}  {}", path.display()))?;
    }
    Ok(Exit::OK)
}
