//! Published ports of containers that are on bridges in the shared rootless namespace.
//!
//! Each container that publishes ports has a pasta of its own, attached to the shared namespace by an interface
//! `pubN`, which takes the container's own address for its guest's. A packet that comes in has the client's address as
//! its source and the container's as its destination, and is simply routed on to the bridge: nothing is translated,
//! so the container sees who it talks to. Its answers are told by their source address and port, and go out by `pubN`
//! (routing table 1000 + N), not by the way that everything else takes. Ports come and go with their process, without
//! touching those of others.
//!
//! A client on the host that connects to a loopback address is seen as the bridge's gateway; one that connects to the
//! host's address, as that address.
//!
//! Written: the container's file in `rootless-users` (a [`Record`]), `rootless-ports-ID.pid`. Everything here is called
//! with the lock of [`super::rootless`] held, save [`start`] and [`stop`], which take it.

use super::pasta;
use super::rootless::{self, MTU, Shared};
use super::{firewall, user_mode};
use crate::engine::config::Config;
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::lock::DirLock;
use crate::engine::host::netlink::{self, Netlink, Route, Rule};
use crate::engine::host::netns;
use crate::engine::spec::{PortMapping, Protocol};
use crate::engine::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Rules for published ports, asked after the namespace's own networks.
const PRIORITY: u32 = 100;
/// Slot 0's routing table.
const FIRST_TABLE: u32 = 1000;

/// A container's published ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// N: of the interface and the routing table.
    slot: u32,
    /// The container's addresses, at most one a family.
    addresses: Vec<IpAddr>,
    ports: Vec<PortMapping>,
    /// Loopback connections are redirected in the namespace (see [`firewall`]).
    redirected: bool,
}

/// Publishes the ports of the container `id`, which has to have acquired `shared`; those it had before are closed.
///
/// `addresses` are the container's on a bridge, the first of each family counts; a family in which it has none is not
/// listened on. Fails as [`pasta::start`] does.
pub fn start(
    config: &Config,
    shared: &Shared,
    id: &str,
    addresses: &[IpAddr],
    ports: &[PortMapping],
) -> Result<()> {
    let directory = shared.directory();
    let _lock = DirLock::exclusive(&directory.join("rootless-users"))?;
    close(config, directory, id)?;
    if ports.is_empty() {
        return Ok(());
    }
    let taken: Vec<u32> =
        rootless::users(directory).iter().filter_map(|id| read(directory, id)).map(|r| r.slot).collect();
    let slot = (0..).find(|slot| !taken.contains(slot)).unwrap_or_default();
    let first = |v4: bool| addresses.iter().copied().find(|a| a.is_ipv4() == v4);
    let addresses: Vec<IpAddr> = [first(true), first(false)].into_iter().flatten().collect();
    if addresses.is_empty() {
        return Err(Error::invalid(
            "ports can be published only on a network that gives the container an address",
        ));
    }
    let redirected = firewall::loops_back(config);
    let record = Record { slot, addresses, ports: ports.to_vec(), redirected };
    write(directory, id, Some(&record))?;
    crate::failpoint!("network.forward-after-record");
    let opened = open(config, shared, id, &record);
    if opened.is_err() {
        close(config, directory, id)?;
    }
    opened
}

/// Closes the published ports of the container `id`, if it has any.
pub fn stop(config: &Config, shared: &Shared, id: &str) -> Result<()> {
    let _lock = DirLock::exclusive(&shared.directory().join("rootless-users"))?;
    close(config, shared.directory(), id)
}

/// Opens the ports again whose process was killed.
pub(super) fn repair(config: &Config, shared: &Shared) -> Result<()> {
    let directory = shared.directory();
    for id in rootless::users(directory) {
        let Some(record) = read(directory, &id) else { continue };
        let in_namespace = || Ok(netlink::index(&record.interface()).is_some());
        let works =
            user_mode::running(&pidfile(directory, &id)) && netns::within(&shared.path(), in_namespace)?;
        // That of another container is not this one's failure; its next start tells.
        if !works && let Err(e) = open(config, shared, &id, &record) {
            tracing::warn!("the published ports of container {id} cannot be opened again: {e}");
        }
    }
    Ok(())
}

/// See [`stop`].
pub(super) fn close(config: &Config, directory: &Path, id: &str) -> Result<()> {
    user_mode::stop(&pidfile(directory, id))?;
    crate::failpoint!("network.forward-after-stop");
    let Some(record) = read(directory, id) else { return Ok(()) };
    let path = directory.join("rootless");
    if netns::is_mounted(&path) {
        netns::within(&path, || {
            record.unroute()?;
            if record.redirected { redirect(config, directory, Some(id)) } else { Ok(()) }
        })?;
    }
    crate::failpoint!("network.forward-after-unroute");
    write(directory, id, None)
}

fn open(config: &Config, shared: &Shared, id: &str, record: &Record) -> Result<()> {
    let program = pasta::require(config)?;
    netns::within(&shared.path(), || {
        record.unroute()?;
        record.route()?;
        if record.redirected { redirect(config, shared.directory(), None) } else { Ok(()) }
    })?;
    crate::failpoint!("network.forward-after-route");
    let pidfile = pidfile(shared.directory(), id);
    pasta::run(config, &program, &record.args()?, &shared.path(), &record.ports, &pidfile)?;
    crate::failpoint!("network.forward-after-pasta");
    netns::within(&shared.path(), || record.connect())
}

/// In the namespace: writes the redirections of all containers anew, but for one.
fn redirect(config: &Config, directory: &Path, without: Option<&str>) -> Result<()> {
    let records: Vec<Record> = rootless::users(directory)
        .iter()
        .filter(|id| Some(id.as_str()) != without)
        .filter_map(|id| read(directory, id))
        .filter(|r| r.redirected)
        .collect();
    let pairs = |r: &Record| r.addresses.iter().map(|a| (*a, r.ports.clone())).collect::<Vec<_>>();
    firewall::redirect(config, &records.iter().flat_map(pairs).collect::<Vec<_>>())
}

fn pidfile(directory: &Path, id: &str) -> PathBuf {
    directory.join(format!("rootless-ports-{id}.pid"))
}

fn read(directory: &Path, id: &str) -> Option<Record> {
    serde_json::from_slice(&fs::read(directory.join("rootless-users").join(id)).ok()?).ok()
}

fn write(directory: &Path, id: &str, record: Option<&Record>) -> Result<()> {
    let failed = |e| Error::corrupt("write the record of published ports").with_source(e);
    let json = record.map_or(Ok(Vec::new()), |r| serde_json::to_vec(r).map_err(failed))?;
    atomic::write(&directory.join("rootless-users").join(id), &json, 0o600, Durability::None)
}

impl Record {
    fn interface(&self) -> String {
        format!("pub{}", self.slot)
    }

    fn table(&self) -> u32 {
        FIRST_TABLE + self.slot
    }

    /// pasta's command line: the container's addresses are its guest's.
    fn args(&self) -> Result<Vec<String>> {
        let mut args = Vec::new();
        for address in &self.addresses {
            args.extend(["-a".to_owned(), address.to_string()]);
        }
        match self.addresses[..] {
            [IpAddr::V4(_)] => args.push("-4".to_owned()),
            [IpAddr::V6(_)] => args.push("-6".to_owned()),
            _ => {}
        }
        let unmapped = |m: &PortMapping| PortMapping { container_port: m.host_port, ..m.clone() };
        let ports: Vec<PortMapping> =
            if self.redirected { self.ports.iter().map(unmapped).collect() } else { self.ports.clone() };
        args.extend(pasta::port_args(&ports)?);
        for (option, protocol) in [("-t", Protocol::Tcp), ("-u", Protocol::Udp)] {
            if !ports.iter().any(|m| m.protocol == protocol) {
                args.extend([option.to_owned(), "none".to_owned()]);
            }
        }
        args.extend(["-T", "none", "-U", "none", "--no-map-gw", "--quiet", "--ns-ifname"].map(str::to_owned));
        args.push(self.interface());
        Ok(args)
    }

    /// In the namespace: which packets are answers of the published ports.
    fn route(&self) -> Result<()> {
        let mut netlink = Netlink::open()?;
        for address in &self.addresses {
            for port in &self.ports {
                let protocol = match port.protocol {
                    Protocol::Tcp => libc::IPPROTO_TCP,
                    Protocol::Udp => libc::IPPROTO_UDP,
                    Protocol::Sctp => continue,
                };
                let last = port.container_port.saturating_add(port.range.max(1) - 1);
                netlink.add_rule(&Rule {
                    v6: address.is_ipv6(),
                    priority: PRIORITY,
                    table: self.table(),
                    source: Some(*address),
                    source_ports: Some((
                        u8::try_from(protocol).unwrap_or_default(),
                        port.container_port,
                        last,
                    )),
                    ignore_default: false,
                })?;
            }
        }
        Ok(())
    }

    /// In the namespace: pasta's interface becomes the way out for those packets.
    fn connect(&self) -> Result<()> {
        let interface = netlink::index(&self.interface()).ok_or_else(|| {
            Error::new(ErrorKind::Runtime, format!("pasta made no interface {}", self.interface()))
        })?;
        let mut netlink = Netlink::open()?;
        netlink.up(interface, Some(MTU))?;
        for address in &self.addresses {
            let destination = rootless::default_of(*address);
            netlink.add_route(&Route { destination, interface, table: self.table(), source: None })?;
            if let IpAddr::V6(address) = address {
                netlink::introduce(interface, *address)?;
            }
        }
        Ok(())
    }

    /// In the namespace: takes away what [`Record::route`] added; the routes went with the interface.
    fn unroute(&self) -> Result<()> {
        let mut netlink = Netlink::open()?;
        for address in &self.addresses {
            netlink.remove_rules(address.is_ipv6(), self.table())?;
        }
        Ok(())
    }
}
