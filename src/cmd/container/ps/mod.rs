//! `coracle ps`, `container ls`, `container list`, `container ps`.

mod columns;
mod row;

use crate::cmd::format::listing::Plan;
use crate::cmd::{Context, Exit};
use crate::engine::container::{self, Filters};
use crate::engine::state::Status;
use crate::engine::store::ContainerRecord;
use crate::engine::{Engine, Error, Result};
use clap::{Args, ValueEnum};
use columns::LISTING;
use jiff::Timestamp;
use row::Row;
pub(in crate::cmd) use row::status_of;
use std::time::Duration;

/// List containers
///
/// ps, container ls, container list and container ps are the same.
#[derive(Args, Clone, Debug)]
pub struct PsArgs {
    /// Show all containers, not only running ones
    #[arg(short, long)]
    all: bool,
    /// Show containers of the store that are not Coracle's, too
    #[arg(long)]
    external: bool,
    /// Show only containers that match KEY=VALUE (may be repeated)
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// "table", "table TEMPLATE", "json" (an array) or a Go template; {{json .}} prints a line of JSON a container
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show the N containers made last, in any state
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true)]
    last: Option<i64>,
    /// Show the container made last, in any state
    #[arg(short, long)]
    latest: bool,
    /// Show the namespaces' identifiers
    #[arg(long, visible_alias = "namespace")]
    ns: bool,
    /// Do not shorten IDs and commands
    #[arg(long, alias = "notruncate")]
    no_trunc: bool,
    /// Do not print the headings
    #[arg(long)]
    noheading: bool,
    /// Show ID and name of each container's pod
    #[arg(short, long)]
    pod: bool,
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
    /// Show how much was written, and the size of the root file system
    #[arg(short, long)]
    size: bool,
    /// Sort by this
    #[arg(long, value_enum, value_name = "KEY")]
    sort: Option<SortKey>,
    /// Ask the OCI runtime for each state (states are always true here: accepted and ignored)
    #[arg(long)]
    sync: bool,
    /// Print again every N seconds
    #[arg(short, long, value_name = "N")]
    watch: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
enum SortKey {
    Command,
    Created,
    Id,
    Image,
    Names,
    RunningFor,
    Size,
    Status,
}

const TABLE: &str =
    r"{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.CreatedHuman}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const NAMESPACES: &str = r"{{.ID}}\t{{.Names}}\t{{.Pid}}\t{{.Cgroup}}\t{{.IPC}}\t{{.MNT}}\t{{.NET}}\t{{.PIDNS}}\t{{.User}}\t{{.UTS}}";

/// Lists.
pub fn run(cx: &Context, args: PsArgs) -> Result<Exit> {
    args.list(cx)
}

impl PsArgs {
    fn list(&self, cx: &Context) -> Result<Exit> {
        self.check()?;
        let plan = self.plan()?;
        let Some(seconds) = self.watch.filter(|n| *n > 0) else {
            let rows = self.rows(cx.engine()?, &plan)?;
            cx.print(LISTING.render(&plan, &rows)?)?;
            // The process ends here, and the kernel frees thousands of strings faster than one by one.
            std::mem::forget(rows);
            return Ok(Exit::OK);
        };
        loop {
            let text = LISTING.render(&plan, &self.rows(cx.engine()?, &plan)?)?;
            cx.print(format!("\x1b[2J\x1b[;H{text}"))?;
            std::thread::sleep(Duration::from_secs(seconds));
        }
    }

    fn check(&self) -> Result<()> {
        let refused = match () {
            () if self.last.is_some_and(|n| n >= 0) && self.latest => {
                "--last and --latest are mutually exclusive"
            }
            () if self.quiet && (self.size || self.ns) => "--quiet conflicts with --size and --ns",
            () if self.size && self.ns => "--size and --ns conflict",
            () if self.watch.is_some() && self.latest => "--watch and --latest cannot be used together",
            () => return Ok(()),
        };
        Err(Error::invalid(refused))
    }

    fn plan(&self) -> Result<Plan> {
        if self.quiet && self.format.is_none() {
            return Plan::new(None, "{{.ID}}", false);
        }
        let mut columns = if self.ns { NAMESPACES } else { TABLE }.to_owned();
        if self.pod && !self.ns {
            columns.push_str(r"\t{{.Pod}}\t{{.PodName}}");
        }
        if self.size {
            columns.push_str(r"\t{{.Size}}");
        }
        Plan::new(self.format.as_deref(), &columns, !self.noheading)
    }

    fn rows(&self, engine: &Engine, plan: &Plan) -> Result<Vec<Row>> {
        let filters = Filters::parse(&self.filter)?;
        let mut records = container::list(engine, &filters)?;
        records.reverse();
        let last = if self.latest { Some(1) } else { self.last.and_then(|n| usize::try_from(n).ok()) };
        let any_state =
            self.all || last.is_some() || ["status", "exited"].iter().any(|k| !filters.values(k).is_empty());
        if !any_state {
            records
                .retain(|r| matches!(r.state.status, Status::Running | Status::Paused | Status::Restarting));
        }
        if let Some(last) = last {
            records.truncate(last);
        }
        let now = Timestamp::now();
        let sizes = self.size || self.sort == Some(SortKey::Size) || plan.needs("Size");
        let mut rows = Vec::with_capacity(records.len());
        let strangers = if self.external { strangers(engine)? } else { Vec::new() };
        for record in records {
            let mut row = Row::new(record, now, !self.no_trunc);
            if sizes {
                row.size = Some(row.sizes(engine)?);
            }
            rows.push(row);
        }
        rows.extend(strangers.into_iter().map(|c| Row::stranger(c, now, !self.no_trunc)));
        if let Some(key) = self.sort {
            rows.sort_by(|a, b| a.compare(b, key));
        }
        Ok(rows)
    }
}

/// Containers of the store that no record of ours knows: podman's, buildah's.
fn strangers(engine: &Engine) -> Result<Vec<ContainerRecord>> {
    let ours: Vec<String> = engine.state.list()?.into_iter().map(|r| r.id).collect();
    let mut found = engine.store.containers()?;
    found.retain(|c| !ours.contains(&c.id));
    Ok(found)
}
