//! The one network namespace in which an ordinary user's bridges are.
//!
//! netavark needs a network namespace to make bridges and rules in, and a user may not touch the host's. So all their
//! bridges are in one of their own, whose way out is one pasta (or slirp4netns) on the interface `tap0`. It has no
//! address of the host's: no network of the host is on a link there, and the host itself can be reached by its address.
//!
//! Written, in the directory given: `rootless` (the namespace), `rootless.pid`, `rootless.json` (written last: without
//! it the rest is unfinished), `rootless-resolv.conf`, and `rootless-users/ID` for each container that needs it
//! ([`super::forward`] keeps its record there). All is done under a lock on `rootless-users`. Called by
//! [`crate::engine::container`] before and after netavark.

use super::pasta;
use super::slirp4netns;
use super::user_mode::{self, Request, UserMode};
use super::{firewall, forward};
use crate::engine::config::Config;
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::lock::DirLock;
use crate::engine::host::netlink::{self, Netlink, Route, Rule, TABLE_MAIN};
use crate::engine::host::netns;
use crate::engine::{Error, Result};
use ipnet::IpNet;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind as Io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The interface that leads out.
pub(super) const INTERFACE: &str = "tap0";
/// What pasta offers; with a smaller one every packet costs as much and carries less.
pub(super) const MTU: u32 = 65520;
/// Networks of the namespace itself are looked up before any container's own way out.
pub(super) const PRIORITY_NETWORKS: u32 = 90;
pub(super) const OWN6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xa, 2, 0, 0, 0, 0, 0x100);

/// Tells whether a container that uses the namespace still runs, by its ID.
pub type Alive<'a> = &'a dyn Fn(&str) -> bool;

/// The namespace, ready for use.
#[derive(Debug)]
pub struct Shared {
    directory: PathBuf,
    facts: UserMode,
}

impl Shared {
    /// The namespace for the container `id`, made if there is none and repaired if something in it was killed.
    /// It exists until [`Shared::release`] has been called for the last container that is `alive`.
    ///
    /// Fails as [`pasta::start`] does.
    pub fn acquire(config: &Config, directory: &Path, id: &str, alive: Alive<'_>) -> Result<Self> {
        let users = directory.join("rootless-users");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&users);
        made.map_err(|e| Error::io("mkdir", &users, e))?;
        let _lock = DirLock::exclusive(&users)?;
        let user = users.join(id);
        let opened = fs::OpenOptions::new().append(true).create(true).open(&user);
        opened.map_err(|e| Error::io("create", &user, e))?;
        crate::failpoint!("network.rootless-after-user");
        drop_the_gone(config, directory, |other| other == id || alive(other))?;
        let shared = Self::prepare(config, directory)?;
        forward::repair(config, &shared)?;
        Ok(shared)
    }

    /// The namespace if there is one, for what is done to it at a container's end. It is not repaired.
    pub fn existing(directory: &Path) -> Option<Self> {
        let facts = read_facts(directory)?;
        Some(Self { directory: directory.to_owned(), facts })
    }

    /// The file it is mounted on.
    pub fn path(&self) -> PathBuf {
        self.directory.join("rootless")
    }

    /// Its addresses, the name servers that it reaches, and the host's address. Containers on its bridges reach the
    /// same ones.
    pub fn facts(&self) -> &UserMode {
        &self.facts
    }

    /// Where this is kept.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Environment for what runs there: iptables-legacy wants to write its lock below /run.
    pub fn environment(&self) -> Vec<(String, PathBuf)> {
        vec![("XTABLES_LOCKFILE".to_owned(), self.directory.join("rootless-xtables.lock"))]
    }

    /// Calls `act` in the namespace, where /etc/resolv.conf names servers that it reaches; what `act` starts is there, too.
    pub fn run<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.run_without(None, act)
    }

    /// The same for what may start a process that lives on, which must not keep what is mounted below `without`.
    pub fn run_without<T: Send>(
        &self,
        without: Option<&Path>,
        act: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        let resolv = self.directory.join("rootless-resolv.conf");
        netns::within_covered(&self.path(), &resolv, Path::new("/etc/resolv.conf"), without, act)
    }

    /// The container `id` needs it no longer: its published ports are closed, and with the last container that is
    /// `alive` the namespace goes. Nothing happens if that was done before.
    pub fn release(config: &Config, directory: &Path, id: &str, alive: Alive<'_>) -> Result<()> {
        let users = directory.join("rootless-users");
        let _lock = match DirLock::exclusive(&users) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
            other => other?,
        };
        drop_the_gone(config, directory, |other| other != id && alive(other))?;
        crate::failpoint!("network.rootless-after-release");
        if self::users(directory).is_empty() { remove(directory) } else { Ok(()) }
    }

    fn prepare(config: &Config, directory: &Path) -> Result<Self> {
        let path = directory.join("rootless");
        let pidfile = directory.join("rootless.pid");
        let mut facts = read_facts(directory);
        if facts.is_none() {
            remove(directory)?;
            netns::create(&path)?;
            crate::failpoint!("network.rootless-after-namespace");
            netns::within(&path, || set_up(config))?;
            crate::failpoint!("network.rootless-after-set-up");
        }
        if facts.is_none() || !user_mode::running(&pidfile) {
            facts = Some(way_out(config, directory)?);
        }
        let mut facts = facts.unwrap_or_default();
        // The host may have moved to another network since.
        facts.host_address =
            user_mode::host_source_address(false).or_else(|| user_mode::host_source_address(true));
        Ok(Self { directory: directory.to_owned(), facts })
    }
}

/// The names of the users, whether they are alive or not.
pub(super) fn users(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory.join("rootless-users")).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().into_string().ok()).filter(|name| !name.starts_with('.')).collect()
}

fn drop_the_gone(config: &Config, directory: &Path, stays: impl Fn(&str) -> bool) -> Result<()> {
    for id in users(directory).iter().filter(|id| !stays(id)) {
        forward::close(config, directory, id)?;
        crate::failpoint!("network.rootless-after-close");
        remove_file(&directory.join("rootless-users").join(id))?;
    }
    Ok(())
}

/// What `rootless.json` says, if the namespace is there.
fn read_facts(directory: &Path) -> Option<UserMode> {
    let text = fs::read(directory.join("rootless.json")).ok()?;
    let facts = serde_json::from_slice(&text).ok()?;
    netns::is_mounted(&directory.join("rootless")).then_some(facts)
}

/// The namespace, its process, and what was written about it.
fn remove(directory: &Path) -> Result<()> {
    remove_file(&directory.join("rootless.json"))?;
    crate::failpoint!("network.rootless-after-forget");
    user_mode::stop(&directory.join("rootless.pid"))?;
    crate::failpoint!("network.rootless-after-stop");
    netns::remove(&directory.join("rootless"))?;
    crate::failpoint!("network.rootless-after-remove");
    ["rootless-resolv.conf", "rootless-xtables.lock"]
        .iter()
        .try_for_each(|name| remove_file(&directory.join(name)))
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != Io::NotFound => Err(Error::io("unlink", path, e)),
        _ => Ok(()),
    }
}

/// In the new namespace: a router, whose own networks are looked up before everything else.
fn set_up(config: &Config) -> Result<()> {
    for (name, value) in [
        ("ipv4/ip_forward", "1"),
        ("ipv6/conf/all/forwarding", "1"),
        ("ipv6/conf/default/forwarding", "1"),
        ("ipv6/conf/default/accept_dad", "0"),
        // The way back of a published port's packets is not the one that their source address would take.
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
    ] {
        sysctl(name, value)?;
    }
    let mut netlink = Netlink::open()?;
    if let Some(lo) = netlink::index("lo") {
        netlink.up(lo, None)?;
    }
    for v6 in [false, true] {
        let networks = Rule {
            v6,
            priority: PRIORITY_NETWORKS,
            table: TABLE_MAIN,
            source: None,
            source_ports: None,
            ignore_default: true,
        };
        // Without IPv6 in the kernel there is nothing to look up.
        netlink.add_rule(&networks).or_else(|e| if v6 { Ok(()) } else { Err(e) })?;
    }
    firewall::prepare(config)
}

/// Writes a value below /proc/sys/net; one that this kernel does not have is left out.
pub(super) fn sysctl(name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys/net").join(name);
    match fs::write(&path, value) {
        Err(e) if e.kind() != Io::NotFound => Err(Error::io("write", &path, e)),
        _ => Ok(()),
    }
}

/// Starts what leads out of the namespace, and records it.
fn way_out(config: &Config, directory: &Path) -> Result<UserMode> {
    let path = directory.join("rootless");
    let addresses = own_addresses();
    let wants = config.containers.network.default_rootless_network_cmd.as_deref();
    let with_slirp =
        wants == Some("slirp4netns") || (!pasta::available(config) && slirp4netns::available(config));
    let started =
        if with_slirp { slirp_out(config, directory) } else { pasta_out(config, directory, &addresses) };
    let facts = match started {
        Ok(facts) => facts,
        // Containers reach each other without the world, too; the next container tries again.
        Err(_) if addresses.is_empty() => UserMode { interface: INTERFACE.to_owned(), ..UserMode::default() },
        Err(e) => return Err(e),
    };
    crate::failpoint!("network.rootless-after-way-out");
    if !with_slirp && user_mode::running(&directory.join("rootless.pid")) {
        netns::within(&path, || configure(&facts.addresses))?;
    }
    let mut text = String::new();
    for server in facts.name_servers.iter().chain(pasta::name_servers().iter().filter(|s| !s.is_loopback())) {
        let _ = writeln!(text, "nameserver {server}");
    }
    atomic::write(&directory.join("rootless-resolv.conf"), text.as_bytes(), 0o644, Durability::None)?;
    let json =
        serde_json::to_vec(&facts).map_err(|e| Error::corrupt("write rootless.json").with_source(e))?;
    atomic::write(&directory.join("rootless.json"), &json, 0o600, Durability::None)?;
    Ok(facts)
}

/// The namespace's addresses, in the families in which the host itself has a way out.
fn own_addresses() -> Vec<IpNet> {
    let has = |v6: bool| user_mode::host_source_address(v6).is_some();
    let own: [(bool, IpAddr); 2] = [(false, pasta::OWN.into()), (true, OWN6.into())];
    own.into_iter().filter(|(v6, _)| has(*v6)).map(|(_, address)| IpNet::from(address)).collect()
}

fn pasta_out(config: &Config, directory: &Path, addresses: &[IpNet]) -> Result<UserMode> {
    let program = pasta::require(config)?;
    let name_servers = pasta::forwarders(&pasta::name_servers());
    let mut args: Vec<String> = pasta::outward_options(config);
    args.extend(
        ["-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw", "--quiet"].map(str::to_owned),
    );
    args.extend(["--ns-ifname".to_owned(), INTERFACE.to_owned()]);
    addresses.iter().for_each(|a| args.extend(["-a".to_owned(), a.addr().to_string()]));
    name_servers.iter().for_each(|a| args.extend(["--dns-forward".to_owned(), a.to_string()]));
    let (netns, pidfile) = (directory.join("rootless"), directory.join("rootless.pid"));
    pasta::run(config, &program, &args, &netns, &[], &pidfile)?;
    Ok(UserMode {
        interface: INTERFACE.to_owned(),
        addresses: addresses.to_vec(),
        gateways: Vec::new(),
        name_servers,
        host_address: None,
    })
}

/// slirp4netns makes and configures an interface of the same name by itself.
fn slirp_out(config: &Config, directory: &Path) -> Result<UserMode> {
    let (netns, pidfile) = (&directory.join("rootless"), &directory.join("rootless.pid"));
    slirp4netns::start(&Request { config, netns, ports: &[], options: &[], pidfile })
}

/// In the namespace: addresses and default routes of the interface that leads out.
fn configure(addresses: &[IpNet]) -> Result<()> {
    let interface = netlink::index(INTERFACE).ok_or_else(|| {
        Error::not_found(format!("the interface {INTERFACE} of the rootless namespace is not there"))
    })?;
    let mut netlink = Netlink::open()?;
    netlink.up(interface, Some(MTU))?;
    for address in addresses {
        netlink.add_address(interface, *address)?;
        let destination = default_of(address.addr());
        netlink.add_route(&Route { destination, interface, table: TABLE_MAIN, source: None })?;
    }
    Ok(())
}

/// `0.0.0.0/0` or `::/0`.
pub(super) fn default_of(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V4(_) => ipnet::Ipv4Net::default().into(),
        IpAddr::V6(_) => ipnet::Ipv6Net::default().into(),
    }
}
