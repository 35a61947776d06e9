//! A container's networks across its life: planned and made at its start, changed while it runs, undone at its end.

use super::settle::settle;
use super::stop::gone;
use super::system_files;
use crate::engine::conmon::RunDir;
use crate::engine::network::{self, Connection, Networks, Request, Site, Way, ports::Held};
use crate::engine::oci::files;
use crate::engine::spec::{
    Attachment, ContainerSpec, Endpoint, NamespaceMode, NetworkState, PortMapping, Protocol,
};
use crate::engine::state::{ContainerState, Locked, Record, Status};
use crate::engine::{Context, Engine, Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Calls `act` with what the networks need to know of the engine.
fn with_site<T>(engine: &Engine, act: impl FnOnce(&Site<'_>) -> Result<T>) -> Result<T> {
    let lives = |id: &str| engine.state.exists(id);
    act(&Site { config: &engine.config, lives: &lives })
}

/// How a completed spec reaches the world; `None`: its network is none of ours to make.
pub fn way(spec: &ContainerSpec) -> Option<Way> {
    match &spec.namespaces.network {
        NamespaceMode::Network(word) => Some(match word.as_str() {
            "pasta" => Way::Pasta,
            "slirp4netns" => Way::Slirp4netns,
            _ => Way::Bridge,
        }),
        _ => None,
    }
}

/// Turns the networks' names into those they have, and refuses addresses they cannot have.
pub(super) fn resolve(engine: &Engine, spec: &mut ContainerSpec) -> Result<()> {
    let networks = Networks::open(&engine.config);
    for attachment in &mut spec.network.attachments {
        attachment.network = wanted(&networks, &attachment.network)?;
    }
    for link in &mut spec.network.links {
        link.container = engine.state.resolve(&link.container)?;
    }
    with_site(engine, |site| network::check(site, &spec.network.attachments))
}

/// The name of a network that somebody wants to be on.
fn wanted(networks: &Networks<'_>, name: &str) -> Result<String> {
    networks.resolve(name).map(|network| network.name).map_err(|e| match e.kind() {
        ErrorKind::NotFound => e.with_hint(format!("coracle network create {name}")),
        _ => e,
    })
}

/// Whether the ports that a start would publish are free now.
///
/// # Errors
/// [`ErrorKind::InUse`] names the port, and the container that has it.
pub(super) fn check_ports(engine: &Engine, spec: &ContainerSpec) -> Result<()> {
    let ports = if way(spec).is_some() { published(spec) } else { return Ok(()) };
    network::ports::hold(&ports).map(drop).map_err(|e| name_holder(engine, e, "", &ports))
}

/// What a start is going to make.
pub(super) struct Planned {
    connection: Connection,
    /// Taken by whoever makes the connection.
    held: Mutex<Vec<Held>>,
    /// The runtime makes the namespace: it belongs to the container's own user namespace.
    late: bool,
}

impl Planned {
    /// The addresses for the container's files, as far as they are known before anything is made.
    pub fn addresses(&self) -> files::Addresses {
        addresses(&self.attachments(), &self.connection.planned())
    }

    /// The namespace the runtime is to join.
    pub fn netns(&self) -> Option<&Path> {
        (!self.late).then_some(self.connection.netns.as_path())
    }

    fn take_held(&self) -> Vec<Held> {
        std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn attachments(&self) -> Vec<Attachment> {
        self.connection.members.iter().map(|m| m.attachment.clone()).collect()
    }
}

/// Plans a start: takes addresses and ports.
pub(super) fn plan(
    engine: &Engine,
    run_dir: &RunDir,
    id: &str,
    spec: &ContainerSpec,
    state: &NetworkState,
) -> Result<Option<Planned>> {
    let Some(way) = way(spec) else { return Ok(None) };
    let hostname = files::hostname(spec, "", id);
    let ports = published(spec);
    let request = Request {
        id,
        name: &spec.name,
        hostname: &hostname,
        way,
        attachments: &state.attachments,
        options: &spec.network.options,
        ports: &ports,
        dns: spec.dns.iter().filter_map(|s| s.parse().ok()).collect(),
    };
    let late = spec.namespaces.user.is_own();
    with_site(engine, |site| Connection::plan(site, run_dir.path(), &request))
        .map(|(connection, held)| Some(Planned { connection, held: Mutex::new(held), late }))
        .map_err(|e| name_holder(engine, e, id, &ports))
}

/// `--publish`, and with `--publish-all` the other exposed ports.
fn published(spec: &ContainerSpec) -> Vec<PortMapping> {
    let mut ports = spec.network.ports.clone();
    if spec.network.publish_all {
        for text in &spec.exposed_ports {
            let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            let (Ok(container_port), Some(protocol)) = (port.parse(), Protocol::parse(protocol)) else {
                continue;
            };
            let given = |m: &PortMapping| {
                m.protocol == protocol
                    && (m.container_port..m.container_port.saturating_add(m.range)).contains(&container_port)
            };
            if !ports.iter().any(given) {
                ports.push(PortMapping { container_port, protocol, range: 1, ..PortMapping::default() });
            }
        }
    }
    ports
}

/// Says which container has the port, when one of ours does.
fn name_holder(engine: &Engine, error: Error, id: &str, wanted: &[PortMapping]) -> Error {
    if error.kind() != ErrorKind::InUse {
        return error;
    }
    let overlap = |a: &PortMapping, b: &PortMapping| {
        let (a_end, b_end) =
            (a.host_port.saturating_add(a.range.max(1)), b.host_port.saturating_add(b.range.max(1)));
        a.protocol == b.protocol && a.host_port > 0 && a.host_port < b_end && b.host_port < a_end
    };
    let holder = engine.state.list().unwrap_or_default().into_iter().find(|record| {
        record.id != id
            && record.state.network.ports.iter().any(|port| wanted.iter().any(|want| overlap(want, port)))
    });
    match holder {
        Some(record) => {
            let name = record.name().to_owned();
            error.with_hint(format!(
                "container {name} publishes it: coracle stop {name}, or choose another port"
            ))
        }
        None => error
            .with_hint("another program has it: choose another host port, or none to get one that is free"),
    }
}

/// Makes what was planned, beside `meanwhile`, which gets a way to wait until there is a namespace to join.
pub(super) fn make<T>(
    engine: &Engine,
    run_dir: &RunDir,
    planned: Option<&Planned>,
    meanwhile: impl FnOnce(&dyn Fn() -> Result<()>) -> Result<T>,
) -> Result<(T, BTreeMap<String, Endpoint>)> {
    let Some(planned) = planned.filter(|planned| !planned.late) else {
        return meanwhile(&|| Ok(())).map(|done| (done, BTreeMap::new()));
    };
    let (tell, told) = std::sync::mpsc::sync_channel::<()>(1);
    std::thread::scope(|scope| {
        let making = scope.spawn(move || {
            planned.connection.make_namespace()?;
            // Nobody listens any more when the other side has failed.
            let _ = tell.send(());
            with_site(engine, |site| planned.connection.make(site, run_dir.path(), planned.take_held()))
        });
        // An error of the other side closes the channel, and is told below.
        let done =
            meanwhile(&|| told.recv().map_err(|_| Error::new(ErrorKind::Runtime, "no network namespace")));
        let made = making.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (done, made) {
            (_, Err(e)) => Err(e),
            (Err(e), _) => Err(e),
            (Ok(done), Ok(made)) => Ok((done, made)),
        }
    })
}

/// Makes what has to wait until the runtime has made the namespace: `pid` is in it.
pub(super) fn make_late(
    engine: &Engine,
    run_dir: &RunDir,
    planned: &Planned,
    pid: u32,
) -> Result<Option<BTreeMap<String, Endpoint>>> {
    if !planned.late {
        return Ok(None);
    }
    planned.connection.adopt_namespace(pid)?;
    let made = with_site(engine, |site| planned.connection.make(site, run_dir.path(), planned.take_held()));
    made.map(Some)
}

/// Writes the addresses into the record, and into the container's files what planning did not know.
pub(super) fn record(
    engine: &Engine,
    run_dir: &RunDir,
    id: &str,
    spec: &ContainerSpec,
    planned: &Planned,
    made: BTreeMap<String, Endpoint>,
    state: &mut ContainerState,
) -> Result<()> {
    let connection = &planned.connection;
    let attachments = planned.attachments();
    let now = addresses(&attachments, &made);
    if now != planned.addresses() {
        system_files::rewrite(engine, run_dir, id, spec, &now)?;
    }
    state.network.attachments = attachments;
    state.network.endpoints = made;
    state.network.ports.clone_from(&connection.ports);
    Ok(())
}

/// What the endpoints contribute to hosts and resolv.conf.
fn addresses(attachments: &[Attachment], endpoints: &BTreeMap<String, Endpoint>) -> files::Addresses {
    let mut out = files::Addresses::default();
    let named = attachments.iter().filter_map(|a| endpoints.get(&a.network));
    let user_mode = ["pasta", "slirp4netns"].into_iter().filter_map(|name| endpoints.get(name));
    for endpoint in named.clone() {
        out.own.extend(endpoint.addresses.iter().map(|a| a.addr().to_string()));
        out.name_servers.extend(endpoint.name_servers.iter().map(ToString::to_string));
        out.search.extend(endpoint.search_domains.iter().cloned());
    }
    for endpoint in user_mode.clone() {
        out.own.extend(endpoint.addresses.iter().map(|a| a.addr().to_string()));
        out.forwarders.extend(endpoint.forwarders.iter().map(ToString::to_string));
    }
    // Every bridge of a user has the same.
    if let Some(endpoint) = named.clone().next().filter(|_| out.forwarders.is_empty()) {
        out.forwarders.extend(endpoint.forwarders.iter().map(ToString::to_string));
    }
    out.search.dedup();
    out.name_servers.dedup();
    // A bridge's own address is the host's; behind pasta the gateway is not.
    let host = user_mode.chain(named.clone()).find_map(|e| e.host_address);
    let host = host.or_else(|| named.flat_map(|e| &e.gateways).next().copied());
    out.gateway = host.map(|ip| ip.to_string()).unwrap_or_default();
    out
}

/// Whether something of the container's network is to be undone.
pub(super) fn is_connected(engine: &Engine, id: &str) -> bool {
    Connection::exists(&engine.state.run_dir(id))
}

/// Undoes whatever there is of the container's network.
pub(super) fn undo(engine: &Engine, id: &str) -> Result<()> {
    with_site(engine, |site| network::undo(site, &engine.state.run_dir(id)))
}

/// Puts the container `id` on one more network, running or not.
///
/// # Errors
/// [`ErrorKind::Conflict`] when it is on it; [`ErrorKind::Unsupported`] when its network namespace is not its own.
pub fn connect(engine: &Engine, id: &str, attachment: Attachment) -> Result<()> {
    let mut attachment = attachment;
    attachment.network = wanted(&Networks::open(&engine.config), &attachment.network)?;
    with_site(engine, |site| network::check(site, std::slice::from_ref(&attachment)))?;
    change(engine, id, |locked, record| {
        if record.state.network.attachments.iter().any(|a| a.network == attachment.network) {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("container {} is already connected to network {}", record.name(), attachment.network),
            ));
        }
        if record.state.status.is_live() {
            let run_dir = engine.state.run_dir(id);
            let mut connection = connection(engine, record)?;
            let made = with_site(engine, |site| connection.connect(site, &run_dir, &attachment))?;
            record.state.network.endpoints.extend(made);
            if let Some(member) = connection.members.last() {
                attachment = member.attachment.clone();
            }
        }
        let network = attachment.network.clone();
        record.state.network.attachments.push(attachment);
        refresh(engine, locked, record)?;
        tell(engine, "connect", &network, id);
        Ok(())
    })
}

/// Takes the container `id` off a network, running or not. With `force` it is no error that it was not on it.
pub fn disconnect(engine: &Engine, id: &str, network: &str, force: bool) -> Result<()> {
    let known = Networks::open(&engine.config).resolve(network);
    let network = match known {
        Ok(known) => known.name,
        Err(e) if e.kind() == ErrorKind::NotFound && force => network.to_owned(),
        Err(e) => return Err(e),
    };
    change(engine, id, |locked, record| {
        let attachments = &mut record.state.network.attachments;
        let Some(index) = attachments.iter().position(|a| a.network == network) else {
            if force {
                return Ok(());
            }
            return Err(Error::not_found(format!(
                "container {} is not connected to network {network}",
                record.name()
            )));
        };
        attachments.remove(index);
        record.state.network.endpoints.remove(&network);
        if record.state.status.is_live() {
            let run_dir = engine.state.run_dir(id);
            let mut connection = connection(engine, record)?;
            with_site(engine, |site| connection.disconnect(site, &run_dir, &network))?;
        }
        refresh(engine, locked, record)?;
        tell(engine, "disconnect", &network, id);
        Ok(())
    })
}

/// Tells of a container's network, unless that is gone.
pub(super) fn tell(engine: &Engine, action: &str, network: &str, container: &str) {
    let networks = Networks::open(&engine.config);
    if let Ok(network) = networks.resolve(network) {
        networks.tell(action, &network, Some(container));
    }
}

/// Makes the interfaces and firewall rules of a running container anew, with the same addresses and ports.
pub fn reload(engine: &Engine, id: &str) -> Result<()> {
    change(engine, id, |locked, record| {
        if !record.state.status.is_live() {
            return Err(Error::new(ErrorKind::InUse, format!("container {} is not running", record.name())));
        }
        let mut connection = connection(engine, record)?;
        // A killed `rename` may not have come as far as this.
        record.name().clone_into(&mut connection.name);
        let made = with_site(engine, |site| connection.reload(site, &engine.state.run_dir(id)))?;
        record.state.network.endpoints.extend(made);
        refresh(engine, locked, record)
    })
}

/// The container of `record` has another name now: while it runs, it is known by it on its networks and in its own /etc/hosts.
pub(super) fn renamed(engine: &Engine, locked: &Locked, record: &mut Record) -> Result<()> {
    if record.state.status.is_live() && way(record.spec()?).is_some() {
        let name = record.name().to_owned();
        let endpoints = &record.state.network.endpoints;
        let mut connection = connection(engine, record)?;
        with_site(engine, |site| {
            connection.rename(site, &engine.state.run_dir(&record.id), &name, endpoints)
        })?;
        refresh(engine, locked, record)?;
    }
    Ok(())
}

fn change(engine: &Engine, id: &str, act: impl FnOnce(&Locked, &mut Record) -> Result<()>) -> Result<()> {
    let locked = engine.state.lock(id)?;
    let Some(mut record) = settle(engine, &locked)? else { return Err(gone(id)) };
    if way(record.spec()?).is_none() {
        let name = record.name().to_owned();
        return Err(Error::unsupported(format!(
            "container {name} has no network namespace of its own to connect: its network mode is none, host or another's"
        )));
    }
    act(&locked, &mut record)
}

fn connection(engine: &Engine, record: &Record) -> Result<Connection> {
    if record.state.status == Status::Starting {
        return Err(Error::new(
            ErrorKind::InUse,
            format!("container {} is just being started", record.name()),
        ));
    }
    Connection::load(&engine.state.run_dir(&record.id))?
        .ok_or_else(|| Error::corrupt(format!("the network of container {} is not known", record.name())))
}

/// Saves the record and brings the running container's hosts and resolv.conf up to date.
fn refresh(engine: &Engine, locked: &Locked, record: &mut Record) -> Result<()> {
    locked.save(&record.state)?;
    if !record.state.status.is_live() {
        return Ok(());
    }
    let spec = record.spec()?;
    let network = &record.state.network;
    let now = addresses(&network.attachments, &network.endpoints);
    let run_dir = RunDir::new(engine.state.run_dir(&record.id));
    system_files::rewrite(engine, &run_dir, &record.id, spec, &now).context("update the container's files")
}
