//! `coracle port`, `container port`.

use super::ports::bindings;
use crate::cmd::{Context, Exit};
use crate::engine::container::{inspect, latest};
use crate::engine::spec::Protocol;
use crate::engine::state::Record;
use crate::engine::{Error, Result};
use clap::Args;

/// Show the published ports of a container
#[derive(Args, Clone, Debug)]
pub struct PortArgs {
    /// Of all running containers, each line with the container's ID
    #[arg(short, long, conflicts_with_all = ["latest", "container"])]
    all: bool,
    /// Of the container made last
    #[arg(short, long)]
    latest: bool,
    /// Name or ID
    #[arg(value_name = "CONTAINER", required_unless_present_any = ["all", "latest"])]
    container: Option<String>,
    /// Only where this port of the container leads from
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
}

/// Shows.
pub fn run(cx: &Context, args: PortArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    if args.all {
        for record in engine.state.list()? {
            let id = record.id.get(..12).unwrap_or_default();
            for line in lines(&record) {
                cx.println(format!("{id}\t{line}"))?;
            }
        }
        return Ok(Exit::OK);
    }
    let (record, port) = match (args.latest, args.container, args.port) {
        // With --latest the first word is the port.
        (true, word, None) => (latest(engine)?, word),
        (true, Some(_), Some(_)) => {
            return Err(Error::invalid("--latest and a container cannot be given together"));
        }
        (_, container, port) => (inspect(engine, &container.unwrap_or_default())?, port),
    };
    let Some(port) = port else {
        for line in lines(&record) {
            cx.println(line)?;
        }
        return Ok(Exit::OK);
    };
    let (number, protocol) = parse(&port)?;
    let all = bindings(&record.state.network.ports);
    let found: Vec<_> = all.iter().filter(|b| b.container_port == number && b.protocol == protocol).collect();
    if found.is_empty() {
        let wanted = format!("{number}/{}", protocol.as_str());
        return Err(Error::not_found(format!("no public port '{wanted}' published for {}", record.name())));
    }
    for binding in found {
        cx.println(binding.address())?;
    }
    Ok(Exit::OK)
}

fn lines(record: &Record) -> Vec<String> {
    let line =
        |b: super::ports::Binding| format!("{}/{} -> {}", b.container_port, b.protocol.as_str(), b.address());
    bindings(&record.state.network.ports).into_iter().map(line).collect()
}

fn parse(text: &str) -> Result<(u16, Protocol)> {
    let (number, word) = text.split_once('/').unwrap_or((text, "tcp"));
    let found = number.parse().ok().filter(|n| *n > 0).zip(Protocol::parse(word));
    found.ok_or_else(|| Error::invalid(format!("invalid port {text:?}")).with_hint("PORT[/tcp|udp|sctp]"))
}
