//! `coracle stats`.

use crate::cmd::format::human;
use crate::cmd::format::listing::{Json, Listing, Plan, column};
use crate::cmd::format::template::Value;
use crate::cmd::{Context, Exit};
use crate::engine::container::stats::{Sample, Usage, sample};
use crate::engine::container::{Filters, latest, list, resolve};
use crate::engine::state::Record;
use crate::engine::{Engine, Error, ErrorKind, Result};
use clap::Args;
use std::collections::HashMap;
use std::time::Duration;

/// Show what containers use
///
/// Of all that run, unless some are named.
#[derive(Args, Clone, Debug)]
pub struct StatsArgs {
    /// Containers that do not run, too
    #[arg(short, long)]
    all: bool,
    /// "table TEMPLATE", "json" (an array) or a Go template; {{json .}} prints a line of JSON a container
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Seconds between two looks
    #[arg(short, long, value_name = "SECONDS", default_value_t = 1, hide_default_value = true, value_parser = clap::value_parser!(u64).range(1..))]
    interval: u64,
    /// The container that was made last
    #[arg(short, long, conflicts_with_all = ["containers", "all"])]
    latest: bool,
    /// Do not clear the screen between two looks
    #[arg(long)]
    no_reset: bool,
    /// Look once
    #[arg(long)]
    no_stream: bool,
    /// Do not shorten IDs
    #[arg(long)]
    no_trunc: bool,
    /// Names or IDs
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const COLUMNS: &str =
    r"{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";
/// Between the first two looks, of which the first is not shown.
const FIRST: Duration = Duration::from_millis(200);
/// Clears the screen and goes to its top (console_codes(4)).
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Looks once, or until it is interrupted or nothing named is left.
pub fn run(cx: &Context, args: StatsArgs) -> Result<Exit> {
    let plan = Plan::new(args.format.as_deref(), COLUMNS, true)?;
    let engine = cx.engine()?;
    // As they were named, and their IDs.
    let named: Vec<(Option<String>, String)> = match args.latest {
        true => vec![(None, latest(engine)?.id)],
        false => {
            let ids = args.containers.iter().map(|name| Ok((Some(name.clone()), resolve(engine, name)?)));
            ids.collect::<Result<_>>()?
        }
    };
    let look = || -> Result<Vec<Sample>> {
        chosen(engine, &named, args.all)?.iter().map(|record| sample(engine, record)).collect()
    };
    let word = |id: &str| named.iter().find(|(_, named)| named == id).and_then(|(word, _)| word.clone());
    let by_id = |samples: Vec<Sample>| -> HashMap<String, Usage> {
        samples.into_iter().filter_map(|sample| Some((sample.id, sample.usage?))).collect()
    };
    // A share of the processor is one of some time.
    let mut before = by_id(look()?);
    std::thread::sleep(FIRST);
    loop {
        let row = |sample: Sample| Row {
            before: before.get(&sample.id).cloned(),
            word: word(&sample.id),
            sample,
            full: args.no_trunc,
        };
        let rows: Vec<Row> = look()?.into_iter().map(row).collect();
        if !args.no_stream && !args.no_reset && cx.stdout_is_terminal() {
            cx.print(CLEAR)?;
        }
        cx.print(LISTING.render(&plan, &rows)?)?;
        if args.no_stream || rows.is_empty() && !named.is_empty() {
            return Ok(Exit::OK);
        }
        before = by_id(rows.into_iter().map(|row| row.sample).collect());
        std::thread::sleep(Duration::from_secs(args.interval));
    }
}

fn chosen(engine: &Engine, named: &[(Option<String>, String)], all: bool) -> Result<Vec<Record>> {
    if named.is_empty() {
        let every = list(engine, &Filters::parse(&[])?)?;
        return Ok(every.into_iter().filter(|r| all || r.state.status.is_live()).collect());
    }
    let mut found = Vec::new();
    for (_, id) in named {
        match engine.state.load(id) {
            Ok(record) => found.push(record),
            // Removed while we look.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(Error::wrap(e, "look at the containers")),
        }
    }
    Ok(found)
}

struct Row {
    sample: Sample,
    before: Option<Usage>,
    /// What the user called it.
    word: Option<String>,
    full: bool,
}

impl Row {
    /// Of a container that does not run docker shows zeros.
    fn of(&self, show: impl Fn(&Usage) -> String) -> Value {
        show(&self.sample.usage.clone().unwrap_or_default()).into()
    }

    fn number(&self, show: impl Fn(&Usage) -> u64) -> Value {
        let number = self.sample.usage.as_ref().map_or(0, show);
        i64::try_from(number).unwrap_or(i64::MAX).into()
    }

    fn word(&self) -> Value {
        self.word.as_deref().map_or_else(|| self.id(), Into::into)
    }

    fn id(&self) -> Value {
        if self.full { self.sample.id.as_str().into() } else { human::short_id(&self.sample.id).into() }
    }

    fn cpu(&self) -> Value {
        self.of(|u| format!("{:.2}%", u.cpu_percent(self.before.as_ref())))
    }

    fn average(&self) -> Value {
        self.of(|u| format!("{:.2}%", u.cpu_percent(None)))
    }

    fn memory(&self) -> Value {
        self.of(|u| format!("{} / {}", human::binary_size(u.memory), human::binary_size(u.memory_limit)))
    }

    fn memory_percent(&self) -> Value {
        self.of(|u| format!("{:.2}%", u.memory_percent()))
    }

    fn network(&self) -> Value {
        self.of(|u| format!("{} / {}", human::size(u.network.0), human::size(u.network.1)))
    }

    fn block(&self) -> Value {
        self.of(|u| format!("{} / {}", human::size(u.block.0), human::size(u.block.1)))
    }

    fn pids(&self) -> Value {
        self.of(|u| u.pids.to_string())
    }

    fn time(&self) -> Value {
        self.of(|u| format!("{:.6}s", u.cpu as f64 / 1e9))
    }
}

/// docker's fields, then podman's.
const LISTING: Listing<Row> = Listing {
    name: "stats",
    columns: &[
        column("BlockIO", "BLOCK I/O", Row::block, Json::Skip),
        column("CPUPerc", "CPU %", Row::cpu, Json::Skip),
        column("Container", "CONTAINER", Row::word, Json::Skip),
        column("ID", "CONTAINER ID", Row::id, Json::Skip),
        column("MemPerc", "MEM %", Row::memory_percent, Json::Skip),
        column("MemUsage", "MEM USAGE / LIMIT", Row::memory, Json::Skip),
        column("Name", "NAME", |r| r.sample.name.as_str().into(), Json::Skip),
        column("NetIO", "NET I/O", Row::network, Json::Skip),
        column("PIDs", "PIDS", Row::pids, Json::Skip),
        column("AvgCPU", "AVG CPU %", Row::average, Json::Skip),
        column("BlockInput", "BLOCK INPUT", |r| r.number(|u| u.block.0), Json::Skip),
        column("BlockOutput", "BLOCK OUTPUT", |r| r.number(|u| u.block.1), Json::Skip),
        column("ContainerID", "CONTAINER ID", |r| r.sample.id.as_str().into(), Json::Skip),
        column("CPUNano", "CPU NANO", |r| r.number(|u| u.cpu), Json::Skip),
        column("MemLimit", "MEM LIMIT", |r| r.number(|u| u.memory_limit), Json::Skip),
        column("MemUsageBytes", "MEM USAGE BYTES", |r| r.number(|u| u.memory), Json::Skip),
        column("PIDS", "PIDS", Row::pids, Json::Skip),
        column("id", "", |_| Value::Nil, Json::Only(Row::id)),
        column("name", "", |_| Value::Nil, Json::Only(|r| r.sample.name.as_str().into())),
        column("cpu_time", "", |_| Value::Nil, Json::Only(Row::time)),
        column("cpu_percent", "", |_| Value::Nil, Json::Only(Row::cpu)),
        column("avg_cpu", "", |_| Value::Nil, Json::Only(Row::average)),
        column("mem_usage", "", |_| Value::Nil, Json::Only(Row::memory)),
        column("mem_percent", "", |_| Value::Nil, Json::Only(Row::memory_percent)),
        column("net_io", "", |_| Value::Nil, Json::Only(Row::network)),
        column("block_io", "", |_| Value::Nil, Json::Only(Row::block)),
        column("pids", "", |_| Value::Nil, Json::Only(Row::pids)),
    ],
    labels: None,
};
