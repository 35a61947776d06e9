//! `coracle container inspect`, and what `coracle inspect` shows of a container.

mod build;
mod data;

pub(crate) use build::layer_data;
pub(crate) use data::{GraphDriver, Set, Texts, set};

use crate::cmd::format::template::{Value, to_value};
use crate::cmd::system::inspect::{Inspected, show};
use crate::cmd::{Context, Exit};
use crate::engine::{Engine, Error, ErrorKind, Result, container};
use clap::Args;

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
    let names = if args.latest { vec![container::latest(engine)?.id] } else { args.containers };
    show(cx, args.format.as_deref(), &names, |name| match inspect(engine, name, args.size)? {
        Some(found) => Ok(found),
        None => Err(Error::not_found(format!("No such container: {name}"))),
    })
}

/// What is known of the container `name`; `None` if there is none.
pub fn inspect(engine: &Engine, name: &str, size: bool) -> Result<Option<Inspected>> {
    let record = match container::inspect(engine, name) {
        Ok(record) => record,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let value: Value = to_value(&build::container(engine, &record, size)?);
    Ok(Some(value))
}
