//! `coracle volume inspect`, and what `coracle inspect` shows of a volume.

use crate::cmd::format::template::{Field, Struct, Value};
use crate::cmd::system::inspect::{Inspected, show};
use crate::cmd::{Context, Exit};
use crate::engine::volume::{LOCAL, Volume, Volumes};
use crate::engine::{Engine, ErrorKind, Result};
use clap::Args;
use std::rc::Rc;

/// Show everything about volumes
#[derive(Args, Clone, Debug)]
pub struct InspectArgs {
    /// All volumes
    #[arg(short, long, conflicts_with = "volumes")]
    all: bool,
    /// A Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names
    #[arg(value_name = "VOLUME", required_unless_present = "all")]
    volumes: Vec<String>,
}

/// Inspects.
pub fn run(cx: &Context, args: InspectArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let volumes = Volumes::open(&engine.config);
    let names = match args.all {
        true => volumes.list()?.into_iter().map(|v| v.name).collect(),
        false => args.volumes,
    };
    show(cx, args.format.as_deref(), &names, |name| Ok(value(&volumes, &volumes.resolve(name)?)))
}

/// What is known of the volume `name`; `None` if there is none.
pub fn inspect(engine: &Engine, name: &str) -> Result<Option<Inspected>> {
    let volumes = Volumes::open(&engine.config);
    match volumes.resolve(name) {
        Ok(volume) => Ok(Some(value(&volumes, &volume))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// docker's fields, then those that only podman has.
fn value(volumes: &Volumes, volume: &Volume) -> Inspected {
    let field = |name: &'static str, value: Value| Field { name, value, hidden: false };
    let data = volumes.data(&volume.name);
    let (uid, gid) = owner(&data);
    let fields = vec![
        field("CreatedAt", Value::Time(volume.created)),
        field("Driver", LOCAL.into()),
        field("Labels", Value::string_map(&volume.labels)),
        field("Mountpoint", data.to_string_lossy().as_ref().into()),
        field("Name", volume.name.as_str().into()),
        field("Options", Value::string_map(&volume.options)),
        field("Scope", LOCAL.into()),
        field("Anonymous", volume.anonymous.into()),
        field("UID", i64::from(uid).into()),
        field("GID", i64::from(gid).into()),
        field("MountCount", i64::try_from(volumes.mount_users(&volume.name).len()).unwrap_or(0).into()),
        field("NeedsCopyUp", volumes.is_unused(&volume.name).into()),
        field("NeedsChown", false.into()),
    ];
    Value::Struct(Rc::new(Struct { name: "Volume", fields }))
}

fn owner(path: &std::path::Path) -> (u32, u32) {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path).map_or((0, 0), |m| (m.uid(), m.gid()))
}
