//! `coracle container inspect`, and what `coracle inspect` shows of a container.

mod config;
mod container;
mod host;
mod mounts;
mod network;

pub(crate) use container::{GraphDriver, layer_data};

use crate::cmd::format::template::{Value, to_value};
use crate::cmd::system::inspect::{Inspected, show};
use crate::cmd::{Context, Exit};
use crate::engine::container as containers;
use crate::engine::{Engine, Error, ErrorKind, Result};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Show everything about containers
#[derive(Args, Clone, Debug)]
pub struct ContainerInspectArgs {
    /// A Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// The container made last
    #[arg(short, long, conflicts_with = "containers")]
    latest: bool,
    /// Show sizes, too
    #[arg(short, long)]
    size: bool,
    /// Names or IDs
    #[arg(value_name = "CONTAINER", required_unless_present = "latest")]
    containers: Vec<String>,
}

/// Inspects.
pub fn run(cx: &Context, args: ContainerInspectArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let names = if args.latest { vec![containers::latest(engine)?.id] } else { args.containers };
    show(cx, args.format.as_deref(), &names, |name| match inspect(engine, name, args.size)? {
        Some(found) => Ok(found),
        None => Err(Error::not_found(format!("No such container: {name}"))),
    })
}

/// What is known of the container `name`; `None` if there is none.
pub fn inspect(engine: &Engine, name: &str, size: bool) -> Result<Option<Inspected>> {
    let record = match containers::inspect(engine, name) {
        Ok(record) => record,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut value = to_value(&container::container(engine, &record, size)?);
    if let Some(config) = value.field_mut("Config") {
        for check in ["Healthcheck", "StartupHealthCheck"] {
            config.field_mut(check).into_iter().for_each(health_times);
        }
    }
    Ok(Some(value))
}

/// The times of a health check are Go's durations: numbers in JSON, `30s` in templates.
pub(crate) fn health_times(check: &mut Value) {
    for name in ["Interval", "Timeout", "StartPeriod", "StartInterval"] {
        if let Some(time) = check.field_mut(name) {
            *time = match time {
                Value::Int(nanos) => Value::Duration(u64::try_from(*nanos).unwrap_or(0)),
                Value::Uint(nanos) => Value::Duration(*nanos),
                // Zero, which JSON leaves out.
                _ => Value::Duration(0),
            };
        }
    }
}

/// Go's `struct{}`: `{}` in JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Empty {}

/// Go's `map[string]struct{}`.
pub(crate) type Set = BTreeMap<String, Empty>;

/// Texts by text.
pub(crate) type Texts = BTreeMap<String, String>;

/// Makes a [`Set`].
pub(crate) fn set<S: AsRef<str>>(keys: &[S]) -> Set {
    keys.iter().map(|key| (key.as_ref().to_owned(), Empty {})).collect()
}

pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn base_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}
