//! A container's connection to its networks: planned, made, undone.
//!
//! [`Connection::plan`] takes addresses and ports and writes down, in the container's run directory, what is about to be made;
//! [`Connection::make`] makes it, [`undo`] unmakes whatever of it there is. As the file comes first and goes last, whoever
//! comes after a crash finds it and calls [`undo`]; nothing has to be guessed.

use super::ipam::{self, Leases};
use super::netavark::{Client, Netavark};
use super::pasta::{self, Pasta};
use super::rootless::Shared;
use super::slirp4netns::{self, Slirp4netns};
use super::{Network, Networks, dns, firewall, forward, ports, proxy, user_mode};
use crate::engine::config::Config;
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::netlink::{self, Netlink};
use crate::engine::host::{netns, process};
use crate::engine::spec::{Attachment, Endpoint, PortMapping};
use crate::engine::{Context, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
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

    fn save(&self, run_dir: &Path) -> Result<()> {
        let text =
            serde_json::to_vec(self).map_err(|e| Error::corrupt("encode network.json").with_source(e))?;
        atomic::write(&run_dir.join(FILE), &text, 0o600, Durability::None)
    }

    /// Takes addresses on `network` and a name for the interface.
    fn add_member(&mut self, site: &Site<'_>, network: Network, attachment: &Attachment) -> Result<()> {
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
            attachment.interface = self.free_interface();
        }
        let leases = Leases::new(&site.config.paths.run_state, site.lives);
        let addresses = match network.ipam_driver() {
            "host-local" => leases.take(&network, &self.id, &attachment.ips)?,
            _ => Vec::new(),
        };
        self.members.push(Member { network, attachment, addresses });
        Ok(())
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

    /// Makes the namespace, empty.
    pub fn make_namespace(&self) -> Result<()> {
        self.make_dir()?;
        netns::create(&self.netns)?;
        crate::failpoint!("network.after-namespace");
        Ok(())
    }

    /// Takes the namespace that the process `pid` has.
    pub fn adopt_namespace(&self, pid: u32) -> Result<()> {
        self.make_dir()?;
        netns::adopt(pid, &self.netns)
    }

    fn make_dir(&self) -> Result<()> {
        let dir = self.dir();
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|e| Error::io("mkdir", dir, e))
    }

    /// Connects the namespace that [`Connection::make_namespace`] made. Returns what the container has on each network.
    pub fn make(
        &self,
        site: &Site<'_>,
        run_dir: &Path,
        mut held: Vec<ports::Held>,
    ) -> Result<BTreeMap<String, Endpoint>> {
        let rootless = site.config.rootless();
        if !rootless {
            proxy::start(&site.config.env.program, run_dir, &held, &self.addresses())?;
            if self.redirects_loopback6(site) {
                firewall::spare_loopback6(site.config, &self.id, true)?;
            }
        }
        let mut made = self.user_mode(site, run_dir)?;
        made.extend(self.join(site, &self.members)?);
        if rootless && let Some(shared) = Shared::existing(self.dir()) {
            // pasta listens where the container has an address itself.
            held.retain(|port| !self.addresses().iter().any(|a| a.is_ipv4() == port.address.is_ipv4()));
            shared.run(|| proxy::start(&site.config.env.program, run_dir, &held, &self.addresses()))?;
            self.forward(site)?;
        }
        crate::failpoint!("network.after-setup");
        Ok(made)
    }

    /// Whether netavark makes a rule for [::1] of a published port.
    fn redirects_loopback6(&self, site: &Site<'_>) -> bool {
        let published = self.ports.iter().any(|p| p.host_ip.is_none_or(|ip| ip.is_ipv6()));
        published
            && self.way == Way::Bridge
            && !site.config.rootless()
            && self.addresses().iter().any(IpAddr::is_ipv6)
    }

    /// Starts pasta or slirp4netns, if that is the way.
    fn user_mode(&self, site: &Site<'_>, run_dir: &Path) -> Result<BTreeMap<String, Endpoint>> {
        let pidfile = run_dir.join(USER_MODE);
        let (name, found) = match self.way {
            Way::Bridge => return Ok(BTreeMap::new()),
            Way::Pasta => {
                let request = Pasta {
                    config: site.config,
                    netns: &self.netns,
                    ports: &self.ports,
                    options: &self.options,
                    pidfile: &pidfile,
                };
                ("pasta", pasta::start(&request)?)
            }
            Way::Slirp4netns => {
                let request = Slirp4netns {
                    config: site.config,
                    netns: &self.netns,
                    ports: &self.ports,
                    options: &self.options,
                    pidfile: &pidfile,
                };
                ("slirp4netns", slirp4netns::start(&request)?)
            }
        };
        let endpoint = Endpoint {
            interface: found.interface,
            addresses: found.addresses,
            gateways: found.gateways,
            forwarders: found.name_servers,
            host_address: found.host_address,
            ..Endpoint::default()
        };
        Ok(BTreeMap::from([(name.to_owned(), endpoint)]))
    }

    /// The container's addresses, those on its primary network first.
    fn addresses(&self) -> Vec<IpAddr> {
        self.members.iter().flat_map(|m| m.addresses.iter().map(ipnet::IpNet::addr)).collect()
    }

    fn join(&self, site: &Site<'_>, members: &[Member]) -> Result<BTreeMap<String, Endpoint>> {
        if members.is_empty() {
            return Ok(BTreeMap::new());
        }
        let netavark = Netavark::find(site.config)?;
        let client = self.client(site, members);
        let setup = || {
            let mut made = netavark.setup(&self.netns, &client).context("set up the network")?;
            self.add_link_local(members, &mut made)?;
            self.wait_for_names(site, members, &made);
            Ok(made)
        };
        let _lock = lock(site.config)?;
        if !site.config.rootless() {
            return setup();
        }
        let shared = Shared::acquire(site.config, self.dir(), &self.id, site.lives)?;
        let mut made = shared.run(setup)?;
        for endpoint in made.values_mut() {
            endpoint.host_address = shared.facts().host_address;
            endpoint.forwarders.clone_from(&shared.facts().name_servers);
        }
        Ok(made)
    }

    fn leave(&self, site: &Site<'_>, members: &[Member]) -> Result<()> {
        if members.is_empty() {
            return Ok(());
        }
        let netavark = Netavark::find(site.config)?;
        let client = self.client(site, members);
        let teardown = || {
            let Err(e) = netavark.teardown(&self.netns, &client) else { return Ok(()) };
            // What was made in part is torn down in part, and bridge and firewall rules stay. Made once more it goes as a
            // whole.
            tracing::debug!("network of container {}: {e}; once more", self.id);
            let other = self.netns.with_extension("again");
            netns::remove(&other)?;
            netns::create(&other)?;
            let done = netavark.setup(&other, &client).and_then(|_| netavark.teardown(&other, &client));
            netns::remove(&other)?;
            done
        };
        let _lock = lock(site.config)?;
        if !site.config.rootless() {
            return teardown();
        }
        // Without the namespace the bridges are gone, too.
        Shared::existing(self.dir()).map_or(Ok(()), |shared| shared.run(teardown))
    }

    /// docker's `--link-local-ip`, which netavark does not know: further addresses, on a link of their own.
    fn add_link_local(&self, members: &[Member], made: &mut BTreeMap<String, Endpoint>) -> Result<()> {
        for member in members {
            let addresses = member.attachment.link_local();
            let Some(endpoint) = made.get_mut(&member.network.name).filter(|_| !addresses.is_empty()) else {
                continue;
            };
            netns::within(&self.netns, || {
                let name = &endpoint.interface;
                let interface = netlink::index(name).ok_or_else(|| {
                    Error::not_found(format!("there is no interface {name} in the container"))
                })?;
                let mut netlink = Netlink::open()?;
                addresses.iter().try_for_each(|address| netlink.add_address(interface, *address))
            })
            .context("add the link-local addresses")?;
            endpoint.addresses.extend(addresses);
        }
        Ok(())
    }

    /// A container is let go when its name is known, by which time those of its neighbours are, too.
    fn wait_for_names(&self, site: &Site<'_>, members: &[Member], made: &BTreeMap<String, Endpoint>) {
        let port = site.config.containers.network.dns_bind_port.unwrap_or(53);
        for member in members.iter().filter(|m| !m.addresses.is_empty()) {
            let server = made.get(&member.network.name).and_then(|e| e.name_servers.first().copied());
            let Some(server) = server else { continue };
            let v6 = member.addresses.iter().all(|a| a.addr().is_ipv6());
            if !dns::wait_for(server, port, &self.short_id(), v6) {
                tracing::debug!("aardvark-dns does not answer on network {}", member.network.name);
            }
        }
    }

    fn short_id(&self) -> String {
        self.id.chars().take(12).collect()
    }

    /// An ordinary user's ports lead into the namespace of the bridges by pasta, and straight to the container.
    fn forward(&self, site: &Site<'_>) -> Result<()> {
        if self.way != Way::Bridge || !site.config.rootless() {
            return Ok(());
        }
        let Some(shared) = Shared::existing(self.dir()) else { return Ok(()) };
        forward::start(site.config, &shared, &self.id, &self.addresses(), &self.ports)
    }

    /// The directory of network namespaces.
    fn dir(&self) -> &Path {
        self.netns.parent().unwrap_or(Path::new("/"))
    }

    fn client<'a>(&'a self, site: &Site<'_>, members: &'a [Member]) -> Client<'a> {
        let translated = self.way == Way::Bridge && !site.config.rootless();
        Client {
            id: &self.id,
            name: &self.name,
            hostname: &self.hostname,
            members,
            ports: if translated { &self.ports } else { &[] },
            dns: &self.dns,
        }
    }

    /// Joins one more network while the container runs.
    pub fn connect(
        &mut self,
        site: &Site<'_>,
        run_dir: &Path,
        attachment: &Attachment,
    ) -> Result<BTreeMap<String, Endpoint>> {
        let network = Networks::open(site.config).resolve(&attachment.network)?;
        self.add_member(site, network, attachment)?;
        self.save(run_dir)?;
        let member = &self.members[self.members.len() - 1..];
        match self.join(site, member) {
            Ok(made) => {
                self.retarget(site, run_dir)?;
                Ok(made)
            }
            Err(e) => {
                let name = member[0].network.name.clone();
                if let Err(e) = self.disconnect(site, run_dir, &name) {
                    tracing::debug!("undo the connection to {name}: {e}");
                }
                Err(e)
            }
        }
    }

    /// Leaves a network while the container runs. `false`: it was not on it.
    pub fn disconnect(&mut self, site: &Site<'_>, run_dir: &Path, network: &str) -> Result<bool> {
        let Some(index) = self.members.iter().position(|m| m.network.name == network) else {
            return Ok(false);
        };
        let left = self.leave(site, &self.members[index..=index]);
        self.members.remove(index);
        self.save(run_dir)?;
        Leases::new(&site.config.paths.run_state, site.lives).give_back(network, &self.id)?;
        self.retarget(site, run_dir)?;
        left.map(|()| true)
    }

    /// After a change of networks: published ports lead to the addresses there are now.
    fn retarget(&self, site: &Site<'_>, run_dir: &Path) -> Result<()> {
        if self.ports.is_empty() {
            return Ok(());
        }
        proxy::retarget(run_dir, &self.addresses())?;
        self.forward(site)
    }

    /// Makes interfaces and rules anew with the same addresses, after somebody flushed the firewall.
    pub fn reload(&self, site: &Site<'_>) -> Result<BTreeMap<String, Endpoint>> {
        self.leave(site, &self.members)?;
        self.join(site, &self.members)
    }
}

/// Undoes what is written down in `run_dir`, as far as it was made. Nothing written down: nothing is done.
pub fn undo(site: &Site<'_>, run_dir: &Path) -> Result<()> {
    let Some(connection) = Connection::load(run_dir)? else { return Ok(()) };
    proxy::stop(run_dir)?;
    user_mode::stop(&run_dir.join(USER_MODE))?;
    let here = connection.boot_id == process::boot_id() && netns::is_mounted(&connection.netns);
    let left = if here { connection.leave(site, &connection.members) } else { Ok(()) };
    if here && connection.redirects_loopback6(site) {
        firewall::spare_loopback6(site.config, &connection.id, false)?;
    }
    crate::failpoint!("network.after-teardown");
    if site.config.rootless() && !connection.members.is_empty() {
        Shared::release(site.config, connection.dir(), &connection.id, site.lives)?;
    }
    netns::remove(&connection.netns)?;
    let leases = Leases::new(&site.config.paths.run_state, site.lives);
    for member in &connection.members {
        leases.give_back(&member.network.name, &connection.id)?;
    }
    let path = run_dir.join(FILE);
    fs::remove_file(&path).map_err(|e| Error::io("unlink", &path, e))?;
    left
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

/// Held around netavark, which does not expect company.
fn lock(config: &Config) -> Result<File> {
    let dir = config.paths.run_state.join("network");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(|e| Error::io("mkdir", &dir, e))?;
    let path = dir.join("lock");
    let file =
        File::options().create(true).append(true).open(&path).map_err(|e| Error::io("open", &path, e))?;
    file.lock().map_err(|e| Error::io("lock", &path, e))?;
    Ok(file)
}
