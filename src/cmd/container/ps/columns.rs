//! The fields of `ps`.

use super::row::Row;
use crate::cmd::container::ports;
use crate::cmd::format::human;
use crate::cmd::format::listing::{Json, Listing, column};
use crate::cmd::format::template::{Element, Field, List, Map, Struct, Value};
use crate::engine::spec::{Health, MountKind, PortMapping};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::rc::Rc;

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
    human::pairs(&row.labels)
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
pub(super) const LISTING: Listing<Row> = Listing {
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
        column("Mounts", "MOUNTS", |r| r.mounted().into(), Json::As(|r| r.mounts().into())),
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
