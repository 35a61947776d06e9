//! `coracle inspect`: whatever has that name.

use crate::cmd::format::listing::unescape;
use crate::cmd::format::template::{self, List, Template, Value};
use crate::cmd::{Context, Exit, container, image, network, volume};
use crate::engine::{Error, Result};
use clap::{Args, ValueEnum};
use std::rc::Rc;

/// One object's data, for JSON and for templates.
pub type Inspected = Value;

/// Show everything about containers, images and networks
#[derive(Args, Clone, Debug)]
pub struct InspectArgs {
    /// A Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// The container made last
    #[arg(short, long, conflicts_with = "names")]
    latest: bool,
    /// Show containers' sizes, too
    #[arg(short, long)]
    size: bool,
    /// Only objects of this type
    #[arg(short, long = "type", value_enum, value_name = "TYPE", default_value = "all")]
    kind: Kind,
    /// Names or IDs
    #[arg(value_name = "NAME", required_unless_present = "latest")]
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
enum Kind {
    #[value(alias = "")]
    All,
    Container,
    Image,
    Volume,
    Network,
    Pod,
}

/// Inspects.
pub fn run(cx: &Context, args: InspectArgs) -> Result<Exit> {
    if args.kind == Kind::Pod {
        return Err(Error::unsupported("only containers, images, volumes and networks can be inspected yet"));
    }
    let engine = cx.engine()?;
    let names = match args.latest {
        true => vec![crate::engine::container::latest(engine)?.id],
        false => args.names,
    };
    show(cx, args.format.as_deref(), &names, |name| {
        if matches!(args.kind, Kind::All | Kind::Container)
            && let Some(found) = container::inspect::inspect(engine, name, args.size)?
        {
            return Ok(found);
        }
        if matches!(args.kind, Kind::All | Kind::Image)
            && let Some(found) = image::inspect::inspect(engine, name)?
        {
            return Ok(found);
        }
        if matches!(args.kind, Kind::All | Kind::Network)
            && let Some(found) = network::inspect::inspect(engine, name)?
        {
            return Ok(found);
        }
        if matches!(args.kind, Kind::All | Kind::Volume)
            && let Some(found) = volume::inspect::inspect(engine, name)?
        {
            return Ok(found);
        }
        Err(Error::not_found(match args.kind {
            Kind::Container => format!("no such container: {name}"),
            Kind::Image => format!("no such image: {name}"),
            Kind::Network => format!("network {name} not found"),
            Kind::Volume => format!("no such volume: {name}"),
            _ => format!("no such object: {name}"),
        }))
    })
}

/// Shows every object that `find` finds, as one JSON array or one line of template output each; then reports those it
/// did not find. Exit code 1 if there is one.
pub fn show(
    cx: &Context,
    format: Option<&str>,
    names: &[String],
    find: impl Fn(&str) -> Result<Inspected>,
) -> Result<Exit> {
    let template = match format {
        None | Some("" | "json") => None,
        Some(text) => Some(Template::parse(&unescape(text)).map_err(|e| Error::invalid(e.0))?),
    };
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for name in names {
        match find(name) {
            Ok(value) => found.push(value),
            Err(e) => failures.push(e),
        }
    }
    match template {
        None => {
            let list = Value::List(Rc::new(List { any: false, items: found, nil: false }));
            cx.println(template::to_json_pretty(&list, 4))?;
        }
        Some(template) => {
            for value in &found {
                cx.println(template.execute(value).map_err(|e| Error::invalid(e.0))?)?;
            }
        }
    }
    failures.iter().for_each(|e| cx.report(e));
    Ok(if failures.is_empty() { Exit::OK } else { Exit::FAILED })
}
