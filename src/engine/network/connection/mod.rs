//! A container's connection to its networks: planned, made, undone.
//!
//! [`Connection::plan`] takes addresses and ports and writes down, in the container's run directory, what is about to be made;
//! [`Connection::make`] makes it, [`undo`] unmakes whatever of it there is. As the file comes first and goes last, whoever
//! comes after a crash finds it and calls [`undo`]; nothing has to be guessed.
//!
//! `make` is what happens at a container's start, `bridges` what netavark does and what is done around it, `change` what happens to a
//! running container and at its end.

mod bridges;
mod change;
mod make;

pub(super) use bridges::update_dns;
pub use change::undo;

use super::ipam::{self, Leases};
use super::{Network, Networks, ports};
use crate::engine::config::Config;
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::{netns, process};
use crate::engine::spec::{Attachment, Endpoint, PortMapping};
use crate::engine::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What connecting needs besides a container.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The configuration: directories, programs, who calls.
    pub config: &'a Config,
    /// Whether a container of that ID still exists.
    pub lives: &'a (dyn Fn(&str) -> bool + Sync),
}

/// How a container's network namespace reaches the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Through bridges (and macvlans …) alone.
    Bridge,
    /// Through pasta.
    Pasta,
    /// Through slirp4netns.
    Slirp4netns,
}

/// One network a container is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The network as it was when the container joined it.
    pub network: Network,
    /// The container's place on it, with the interface's name.
    pub attachment: Attachment,
    /// The addresses taken for it.
    pub addresses: Vec<ipnet::IpNet>,
}

/// Who is to be connected, and to what.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The container's full ID.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its host name.
    pub hostname: &'a str,
    /// How.
    pub way: Way,
    /// The networks, the primary one first.
    pub attachments: &'a [Attachment],
    /// Options of pasta or slirp4netns.
    pub options: &'a [String],
    /// The ports to publish.
    pub ports: &'a [PortMapping],
    /// `--dns`.
    pub dns: Vec<IpAddr>,
}

/// The file `network.json` of a run directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The boot it was made in: after another one nothing of it is left.
    boot_id: String,
    /// The container's full ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its host name.
    pub hostname: String,
    /// How.
    pub way: Way,
    /// The file its network namespace is mounted on.
    pub netns: PathBuf,
    /// The networks.
    pub members: Vec<Member>,
    /// The published ports with their host ports.
    pub ports: Vec<PortMapping>,
    /// Options of pasta or slirp4netns.
    pub options: Vec<String>,
    /// `--dns`.
    pub dns: Vec<IpAddr>,
}

const FILE: &str = "network.json";

/// The pidfile of pasta or slirp4netns, beside it.
const USER_MODE: &str = "user-mode";

impl Connection {
    /// Takes addresses and ports, and writes down in `run_dir` what [`Connection::make`] is going to make. The sockets
    /// keep the ports until they are closed.
    pub fn plan(site: &Site<'_>, run_dir: &Path, request: &Request<'_>) -> Result<(Self, Vec<ports::Held>)> {
        let networks = Networks::open(site.config);
        let mut connection = Self {
            boot_id: process::boot_id().to_owned(),
            id: request.id.to_owned(),
            name: request.name.to_owned(),
            hostname: request.hostname.to_owned(),
            way: request.way,
            netns: site.config.paths.run_state.join("netns").join(request.id),
            members: Vec::new(),
            ports: Vec::new(),
            options: request.options.to_vec(),
            dns: request.dns.clone(),
        };
        for attachment in request.attachments {
            let network = networks.resolve(&attachment.network)?;
            connection.add_member(site, network, attachment)?;
        }
        let (ports, held) = ports::hold(request.ports)?;
        connection.ports = ports;
        // pasta and slirp4netns listen themselves; here it was only seen that they can.
        let held = if request.way == Way::Bridge { held } else { Vec::new() };
        connection.save(run_dir)?;
        crate::failpoint!("network.after-plan");
        Ok((connection, held))
    }

    /// What is written down in `run_dir`; `None`: nothing.
    pub fn load(run_dir: &Path) -> Result<Option<Self>> {
        let path = run_dir.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", &path, e)),
        };
        let parsed = serde_json::from_slice(&text);
        parsed.map(Some).map_err(|e| Error::corrupt(format!("parse {}", path.display())).with_source(e))
    }

    /// Whether something is written down in `run_dir`.
    pub fn exists(run_dir: &Path) -> bool {
        fs::symlink_metadata(run_dir.join(FILE)).is_ok()
    }

    pub(super) fn save(&self, run_dir: &Path) -> Result<()> {
        let text =
            serde_json::to_vec(self).map_err(|e| Error::corrupt("encode network.json").with_source(e))?;
        atomic::write(&run_dir.join(FILE), &text, 0o600, Durability::None)
    }

    /// Takes addresses on `network` and a name for the interface.
    pub(super) fn add_member(
        &mut self,
        site: &Site<'_>,
        network: Network,
        attachment: &Attachment,
    ) -> Result<()> {
        if self.members.iter().any(|m| m.network.name == network.name) {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("container {} is already connected to network {}", self.name, network.name),
            ));
        }
        let mut attachment = attachment.clone();
        attachment.network.clone_from(&network.name);
        let short = self.short_id();
        if network.dns_enabled && !attachment.aliases.contains(&short) {
            attachment.aliases.push(short);
        }
        if attachment.interface.is_empty() {
            attachment.interface = self.interface_name(site, &network);
        }
        let leases = Leases::new(&site.config.paths.run_state, site.lives);
        let addresses = match network.ipam_driver() {
            "host-local" => leases.take(&network, &self.id, &attachment.ips)?,
            _ => Vec::new(),
        };
        self.members.push(Member { network, attachment, addresses });
        Ok(())
    }

    /// How the interface on `network` is called unless the user says.
    fn interface_name(&self, site: &Site<'_>, network: &Network) -> String {
        let naming = site.config.containers.containers.interface_name.as_deref();
        let parent = &network.network_interface;
        let device = naming == Some("device") && network.driver != "bridge" && !parent.is_empty();
        match device && !self.members.iter().any(|m| m.attachment.interface == *parent) {
            true => parent.clone(),
            false => self.free_interface(),
        }
    }

    /// The first `ethN` that no network of the container has. The interface of pasta is named as the host's, so it is looked at, too.
    fn free_interface(&self) -> String {
        let taken = |name: &str| self.members.iter().any(|m| m.attachment.interface == name);
        let there = self.interfaces();
        let mut names = (0..).map(|n| format!("eth{n}"));
        names.find(|name| !taken(name) && !there.contains(name)).unwrap_or_default()
    }

    /// Names of the interfaces in the namespace, if there is one.
    fn interfaces(&self) -> Vec<String> {
        if self.way == Way::Bridge || !netns::is_mounted(&self.netns) {
            return Vec::new();
        }
        netns::interfaces(&self.netns).unwrap_or_default()
    }

    /// The addresses as they are going to be, before anything is made.
    pub fn planned(&self) -> BTreeMap<String, Endpoint> {
        let planned = self.members.iter().map(|member| {
            let network = &member.network;
            let gateways: Vec<IpAddr> = network.subnets.iter().filter_map(|s| s.gateway).collect();
            let endpoint = Endpoint {
                interface: member.attachment.interface.clone(),
                mac: member.attachment.mac.clone().unwrap_or_default(),
                addresses: member.addresses.clone(),
                name_servers: if network.dns_enabled { gateways.clone() } else { Vec::new() },
                gateways,
                ..Endpoint::default()
            };
            (network.name.clone(), endpoint)
        });
        planned.collect()
    }

    /// The container's addresses, those on its primary network first.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.members.iter().flat_map(|m| m.addresses.iter().map(ipnet::IpNet::addr)).collect()
    }

    pub(super) fn short_id(&self) -> String {
        self.id.chars().take(12).collect()
    }

    /// The directory of network namespaces.
    pub(super) fn dir(&self) -> &Path {
        self.netns.parent().unwrap_or(Path::new("/"))
    }
}

/// Checks a request without taking anything: networks that exist, addresses that can be.
pub fn check(site: &Site<'_>, attachments: &[Attachment]) -> Result<()> {
    let networks = Networks::open(site.config);
    for attachment in attachments {
        let network = networks.resolve(&attachment.network)?;
        for address in &attachment.ips {
            ipam::check_wanted(&network, *address)?;
        }
    }
    Ok(())
}
