//! `coracle ps`, `container ls`, `container list`, `container ps`.

use crate::cmd::container::ports;
use crate::cmd::format::human;
use crate::cmd::format::listing::{Json, Listing, Plan, column};
use crate::cmd::format::template::{Element, Field, List, Map, Struct, Value};
use crate::cmd::{Context, Exit};
use crate::engine::container::{self, Filters};
use crate::engine::spec::{ContainerSpec, Health, MountKind, NamespaceMode, PortMapping};
use crate::engine::state::{Record, Status};
use crate::engine::store::ContainerRecord;
use crate::engine::{Engine, Error, Result};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;
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
    #[arg(long)]
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

/// What is listed of a container.
struct Row {
    id: String,
    name: String,
    image: String,
    image_id: String,
    command: Vec<String>,
    created: Timestamp,
    exposed_ports: Vec<String>,
    labels: BTreeMap<String, String>,
    auto_remove: bool,
    restarts: u32,
    pid: u32,
    exit_code: i32,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    state: &'static str,
    size: Option<(u64, u64)>,
    record: Option<Record>,
    now: Timestamp,
    short: bool,
}

impl Row {
    fn new(mut record: Record, now: Timestamp, short: bool) -> Row {
        let state = &mut record.state;
        let head = std::mem::take(&mut state.head);
        Row {
            id: record.id.clone(),
            name: head.name,
            image: head.image,
            image_id: head.image_id,
            command: head.command,
            created: record.created,
            exposed_ports: head.exposed_ports,
            labels: head.labels,
            auto_remove: head.remove,
            restarts: state.restart_count,
            pid: state.pid,
            exit_code: state.exit_code,
            started_at: state.started_at,
            finished_at: state.finished_at,
            state: state.status.as_str(),
            size: None,
            record: Some(record),
            now,
            short,
        }
    }

    fn stranger(container: ContainerRecord, now: Timestamp, short: bool) -> Row {
        #[derive(Default, serde::Deserialize)]
        #[serde(default)]
        struct Metadata {
            #[serde(rename = "image-name")]
            image_name: String,
        }
        let metadata: Metadata = serde_json::from_str(&container.metadata).unwrap_or_default();
        Row {
            id: container.id,
            name: container.names.into_iter().next().unwrap_or_default(),
            image: metadata.image_name,
            image_id: container.image,
            command: vec!["storage".to_owned()],
            created: container.created,
            exposed_ports: Vec::new(),
            labels: BTreeMap::new(),
            auto_remove: false,
            restarts: 0,
            pid: 0,
            exit_code: 0,
            started_at: None,
            finished_at: None,
            state: "storage",
            size: None,
            record: None,
            now,
            short,
        }
    }

    fn spec(&self) -> Option<&ContainerSpec> {
        self.record.as_ref().and_then(|r| r.spec().ok())
    }

    /// Bytes written, and those with the image's.
    fn sizes(&self, engine: &Engine) -> Result<(u64, u64)> {
        let written = engine.store.container_rw_size(&self.id)?;
        let image = if self.image_id.is_empty() { 0 } else { engine.store.image_size(&self.image_id)? };
        Ok((written, written + image))
    }

    fn status(&self) -> String {
        let status = status(self.state, self.exit_code, self.started_at, self.finished_at, self.now);
        match self.health() {
            Health::Starting if self.state == "running" => format!("{status} (health: starting)"),
            health if self.state == "running" && health != Health::None => {
                format!("{status} ({})", health.as_str())
            }
            _ => status,
        }
    }

    fn health(&self) -> Health {
        self.record.as_ref().map(|record| record.state.health).unwrap_or_default()
    }

    fn command(&self) -> String {
        let command = self.command.join(" ");
        if self.short { human::ellipsis(&command, 17) } else { command }
    }

    fn id(&self) -> &str {
        if self.short { human::short_id(&self.id) } else { &self.id }
    }

    fn mounts(&self) -> Vec<String> {
        let mounts = self.spec().map(|s| s.mounts.as_slice()).unwrap_or_default();
        mounts.iter().map(|m| m.target.clone()).collect()
    }

    fn networks(&self) -> Vec<String> {
        let Some(record) = &self.record else { return Vec::new() };
        match self.spec().map(|s| &s.namespaces.network) {
            Some(NamespaceMode::Host) => vec!["host".to_owned()],
            Some(NamespaceMode::Network(kind)) => {
                let own = (kind != "bridge").then(|| kind.clone());
                own.into_iter()
                    .chain(record.state.network.attachments.iter().map(|a| a.network.clone()))
                    .collect()
            }
            Some(NamespaceMode::None | NamespaceMode::Private | NamespaceMode::Default) => {
                vec!["none".to_owned()]
            }
            _ => Vec::new(),
        }
    }

    /// Published ports with the host ports they have now.
    fn ports(&self) -> &[PortMapping] {
        self.record.as_ref().map_or(&[], |r| &r.state.network.ports)
    }

    /// Identifiers of its namespaces, `""` where there is none.
    fn namespace(&self, kind: &str) -> String {
        let link = std::fs::read_link(format!("/proc/{}/ns/{kind}", self.pid));
        let text = link.ok().filter(|_| self.pid != 0).map(|l| l.to_string_lossy().into_owned());
        let number = text.as_deref().and_then(|t| t.split_once('[')).map(|(_, n)| n.trim_end_matches(']'));
        number.unwrap_or_default().to_owned()
    }

    fn compare(&self, other: &Row, key: SortKey) -> Ordering {
        match key {
            SortKey::Command => self.command.cmp(&other.command),
            SortKey::Created => self.created.cmp(&other.created),
            SortKey::Id => self.id.cmp(&other.id),
            SortKey::Image => self.image.cmp(&other.image),
            SortKey::Names => self.name.cmp(&other.name),
            SortKey::RunningFor => self.started_at.cmp(&other.started_at),
            SortKey::Size => self.size.cmp(&other.size),
            SortKey::Status => self.state.cmp(other.state),
        }
    }
}

/// docker's words: `Up 5 minutes`, `Exited (0) 3 seconds ago`, `Created`.
fn status(
    state: &str,
    exit_code: i32,
    started: Option<Timestamp>,
    finished: Option<Timestamp>,
    now: Timestamp,
) -> String {
    let since =
        |then: Option<Timestamp>| human::duration(then.map_or(0, |then| now.as_second() - then.as_second()));
    match state {
        "running" => format!("Up {}", since(started)),
        "paused" => format!("Up {} (Paused)", since(started)),
        "exited" => format!("Exited ({exit_code}) {} ago", since(finished)),
        "restarting" => format!("Restarting ({exit_code}) {} ago", since(finished)),
        "created" | "starting" => "Created".to_owned(),
        "storage" => "Storage".to_owned(),
        other => other.to_owned(),
    }
}

fn health(row: &Row) -> &'static str {
    match row.health() {
        Health::None => "",
        health => health.as_str(),
    }
}

fn seconds(time: Option<Timestamp>) -> Value {
    // Go's zero time in Unix seconds, as podman prints it.
    Value::Int(time.map_or(-62_135_596_800, Timestamp::as_second))
}

fn image_id(row: &Row) -> Value {
    let id = row.image_id.as_str();
    if row.short { human::short_id(id).into() } else { id.into() }
}

fn labels(row: &Row) -> String {
    row.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
}

fn namespaces(row: &Row) -> Value {
    const KINDS: [(&str, &str); 7] = [
        ("Mnt", "mnt"),
        ("Cgroup", "cgroup"),
        ("Ipc", "ipc"),
        ("Net", "net"),
        ("Pidns", "pid"),
        ("Uts", "uts"),
        ("User", "user"),
    ];
    let entries = KINDS.iter().map(|(name, kind)| (Rc::from(*name), row.namespace(kind).into()));
    let entries = if row.pid == 0 { BTreeMap::new() } else { entries.collect() };
    Value::Map(Rc::new(Map { element: Element::Str, entries, nil: false }))
}

/// podman's `{"80": ["tcp"]}`.
fn exposed(row: &Row) -> Value {
    let mut ports: BTreeMap<Rc<str>, Vec<&str>> = BTreeMap::new();
    for port in &row.exposed_ports {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        ports.entry(Rc::from(number)).or_default().push(protocol);
    }
    let entries = ports.into_iter().map(|(k, v)| (k, Value::strings(v))).collect();
    Value::Map(Rc::new(Map { element: Element::Other, entries, nil: false }))
}

fn size_text(row: &Row) -> Value {
    match row.size {
        Some((written, all)) => format!("{} (virtual {})", human::size(written), human::size(all)).into(),
        None => "".into(),
    }
}

fn size_json(row: &Row) -> Value {
    let Some((written, all)) = row.size else { return Value::NilPointer };
    let entries = BTreeMap::from([("rootFsSize".into(), all.into()), ("rwSize".into(), written.into())]);
    Value::Map(Rc::new(Map { element: Element::Other, entries, nil: false }))
}

fn local_volumes(row: &Row) -> Value {
    let mounts = row.spec().map(|s| s.mounts.as_slice()).unwrap_or_default();
    mounts.iter().filter(|m| m.kind == MountKind::Volume).count().to_string().into()
}

/// podman's form of published ports.
fn mappings(row: &Row) -> Value {
    let field = |name, value| Field { name, value, hidden: false };
    let one = |p: &PortMapping| {
        let ip = p.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
        let fields = vec![
            field("host_ip", ip.into()),
            field("container_port", i64::from(p.container_port).into()),
            field("host_port", i64::from(p.host_port).into()),
            field("range", i64::from(p.range).into()),
            field("protocol", p.protocol.as_str().into()),
        ];
        Value::Struct(Rc::new(Struct { name: "PortMapping", fields }))
    };
    Value::List(Rc::new(List { any: false, items: row.ports().iter().map(one).collect(), nil: false }))
}

/// podman's fields in podman's order, then docker's own. Where both have one, `--format json` has podman's type and
/// templates the printed form.
const LISTING: Listing<Row> = Listing {
    name: "container",
    columns: &[
        column("AutoRemove", "AUTOREMOVE", |r| r.auto_remove.into(), Json::Same),
        column("Command", "COMMAND", |r| r.command().into(), Json::As(|r| Value::strings(&r.command))),
        column(
            "CreatedAt",
            "CREATED AT",
            |r| human::timestamp(r.created).into(),
            Json::As(|r| human::ago(r.created, r.now).into()),
        ),
        column("CIDFile", "CIDFILE", |_| "".into(), Json::Same),
        column("Exited", "EXITED", |r| (r.state == "exited").into(), Json::Same),
        column("ExitedAt", "EXITED AT", |r| seconds(r.finished_at), Json::Same),
        column("ExitCode", "EXIT CODE", |r| i64::from(r.exit_code).into(), Json::Same),
        column("ExposedPorts", "EXPOSED PORTS", exposed, Json::Same),
        column("Id", "", |r| r.id().into(), Json::Only(|r| r.id.as_str().into())),
        column("ID", "CONTAINER ID", |r| r.id().into(), Json::As(|r| r.id.as_str().into())),
        column("Image", "IMAGE", |r| r.image.as_str().into(), Json::Same),
        column("ImageID", "IMAGE ID", image_id, Json::As(|r| r.image_id.as_str().into())),
        column("IsInfra", "IS INFRA", |_| false.into(), Json::Same),
        column("Labels", "LABELS", |r| labels(r).into(), Json::As(|r| Value::string_map(&r.labels))),
        column("Mounts", "MOUNTS", |r| r.mounts().join(",").into(), Json::As(|r| r.mounts().into())),
        column("Names", "NAMES", |r| r.name.as_str().into(), Json::As(|r| Value::strings([&r.name]))),
        column("Namespaces", "NAMESPACES", namespaces, Json::Same),
        column("Networks", "NETWORKS", |r| r.networks().join(",").into(), Json::As(|r| r.networks().into())),
        column("Pid", "PID", |r| i64::from(r.pid).into(), Json::Same),
        column("Pod", "POD ID", |_| "".into(), Json::Same),
        column("PodName", "PODNAME", |_| "".into(), Json::Same),
        column("Ports", "PORTS", |r| ports::column(r.ports(), &r.exposed_ports).into(), Json::As(mappings)),
        column(
            "Restarts",
            "RESTARTS",
            |r| r.restarts.to_string().into(),
            Json::As(|r| i64::from(r.restarts).into()),
        ),
        column("Size", "SIZE", size_text, Json::As(size_json)),
        column("StartedAt", "STARTED AT", |r| seconds(r.started_at), Json::Same),
        column("State", "STATE", |r| r.state.into(), Json::Same),
        column("Status", "STATUS", |r| r.status().into(), Json::Same),
        column("Created", "CREATED", |r| Value::Time(r.created), Json::As(|r| r.created.as_second().into())),
        column("CreatedHuman", "CREATED", |r| human::ago(r.created, r.now).into(), Json::Skip),
        column("RunningFor", "CREATED", |r| human::ago(r.created, r.now).into(), Json::Same),
        column("LocalVolumes", "LOCAL VOLUMES", local_volumes, Json::Same),
        column("HealthStatus", "HEALTH STATUS", |r| health(r).into(), Json::Same),
        column("Platform", "PLATFORM", |_| Value::NilPointer, Json::Same),
        column("Cgroup", "CGROUPNS", |r| r.namespace("cgroup").into(), Json::Skip),
        column("IPC", "IPC", |r| r.namespace("ipc").into(), Json::Skip),
        column("MNT", "MNT", |r| r.namespace("mnt").into(), Json::Skip),
        column("NET", "NET", |r| r.namespace("net").into(), Json::Skip),
        column("PIDNS", "PIDNS", |r| r.namespace("pid").into(), Json::Skip),
        column("User", "USERNS", |r| r.namespace("user").into(), Json::Skip),
        column("UTS", "UTS", |r| r.namespace("uts").into(), Json::Skip),
    ],
    labels: Some(|row| row.labels.clone()),
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn states_read_as_docker_words_them() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let cases = [
            ("running", 0, "Up 5 minutes"),
            ("paused", 0, "Up 5 minutes (Paused)"),
            ("exited", 137, "Exited (137) 3 seconds ago"),
            ("restarting", 1, "Restarting (1) 3 seconds ago"),
            ("created", 0, "Created"),
        ];
        for (state, code, text) in cases {
            assert_eq!(status(state, code, Some(at(1000)), Some(at(1297)), at(1300)), text);
        }
    }
}
