//! `coracle wait`.

use crate::cmd::{Context, Exit};
use crate::engine::container::{self, Condition};
use crate::engine::{Error, ErrorKind, Result};
use clap::Args;
use std::time::Duration;

/// Wait until containers stop, and print their exit codes
#[derive(Args, Debug)]
pub struct WaitArgs {
    /// What to wait for: created, running, paused, stopped, exited, removed, not-running, next-exit
    #[arg(long, value_name = "CONDITION", value_delimiter = ',')]
    condition: Vec<String>,
    /// Print -1 for a container that does not exist
    #[arg(long)]
    ignore: bool,
    /// How often to look for a state that announces itself by nothing (250ms, 1s)
    #[arg(long, short = 'i', value_name = "DURATION", value_parser = interval)]
    interval: Option<Duration>,
    /// The container that was created last
    #[arg(long, short = 'l', conflicts_with = "containers")]
    latest: bool,
    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "CONTAINER", required_unless_present = "latest")]
    containers: Vec<String>,
}

/// `250`, `250ms`, `2s`, `1m`.
fn interval(text: &str) -> Result<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let bad = || Error::invalid(format!("invalid interval {text:?}"));
    let number: f64 = text[..digits].parse().map_err(|_| bad())?;
    let seconds = match &text[digits..] {
        "" | "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(bad()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| bad())
}

/// Waits for one after the other.
pub fn run(cx: &Context, args: WaitArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let mut conditions = args.condition.iter().map(|c| Condition::parse(c)).collect::<Result<Vec<_>>>()?;
    if conditions.is_empty() {
        conditions.push(Condition::NotRunning);
    }
    let names = match args.latest {
        true => vec![container::latest(engine)?.id],
        false => args.containers,
    };
    let mut failed = false;
    let mut ids = Vec::new();
    for name in names {
        match container::resolve(engine, &name) {
            Ok(id) => ids.push(Some(id)),
            Err(e) if e.kind() == ErrorKind::NotFound && args.ignore => ids.push(None),
            Err(e) => {
                failed = true;
                cx.report(&e);
            }
        }
    }
    let wait = |id: &str| container::wait(engine, id, &conditions, args.interval);
    for id in ids {
        match id.map_or(Ok(-1), |id| wait(&id)) {
            Ok(code) => cx.println(code.to_string())?,
            Err(e) => {
                failed = true;
                cx.report(&e);
            }
        }
    }
    Ok(if failed { Exit::FAILED } else { Exit::OK })
}
