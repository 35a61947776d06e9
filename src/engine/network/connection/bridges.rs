//! Bridges: netavark, where it runs, and what is done around it.

use super::super::netavark::{self, Client, Netavark};
use super::super::rootless::Shared;
use super::super::{Network, dns, firewall, forward, pasta};
use super::{Connection, Member, Site, Way};
use crate::engine::config::Config;
use crate::engine::host::netlink::{self, Netlink};
use crate::engine::host::netns;
use crate::engine::spec::Endpoint;
use crate::engine::{Context, Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

impl Connection {
    pub(super) fn join(&self, site: &Site<'_>, members: &[Member]) -> Result<BTreeMap<String, Endpoint>> {
        if members.is_empty() {
            return Ok(BTreeMap::new());
        }
        let program = Netavark::find(site.config)?;
        let client = self.client(site, members);
        let setup = || {
            let mut made = program.setup(&self.netns, &client).context("set up the network")?;
            crate::failpoint!("network.after-netavark");
            keep_macs(members)?;
            self.add_link_local(members, &mut made)?;
            self.set_sysctls(members, &made)?;
            self.separate(site, members, &made)?;
            self.wait_for_name(site, &self.short_id(), members, &made);
            Ok(made)
        };
        let _lock = lock(site.config)?;
        if !site.config.rootless() {
            return setup();
        }
        let shared = Shared::acquire(site.config, self.dir(), &self.id, site.lives)?;
        // aardvark-dns lives on in a copy of this mount namespace, and would keep the containers' file systems.
        let starts = !program.serves_names() && members.iter().any(|m| m.network.dns_enabled);
        let file_systems = site.config.paths.run_root.join("overlay");
        let mut made = shared.run_without(starts.then_some(&file_systems), setup)?;
        for endpoint in made.values_mut() {
            endpoint.host_address = shared.facts().host_address;
            endpoint.forwarders.clone_from(&shared.facts().name_servers);
        }
        Ok(made)
    }

    pub(super) fn leave(&self, site: &Site<'_>, members: &[Member]) -> Result<()> {
        if members.is_empty() {
            return Ok(());
        }
        let program = Netavark::find(site.config)?;
        let alone = |member| match self.tear_down(&program, site, std::slice::from_ref(member)) {
            // What it cannot do it has never made.
            Err(e) if e.kind() == ErrorKind::Unsupported => Ok(()),
            done => done,
        };
        let teardown = || match self.tear_down(&program, site, members) {
            Err(e) if e.kind() == ErrorKind::Unsupported => members.iter().try_for_each(alone),
            done => done,
        };
        let _lock = lock(site.config)?;
        if !site.config.rootless() {
            return teardown();
        }
        // Without the namespace the bridges are gone, too.
        Shared::existing(self.dir()).map_or(Ok(()), |shared| shared.run(teardown))
    }

    fn tear_down(&self, program: &Netavark, site: &Site<'_>, members: &[Member]) -> Result<()> {
        let client = self.client(site, members);
        for member in members.iter().filter(|m| m.network.separates()) {
            self.separate_by_rules(site, member, false)?;
        }
        let Err(e) = program.teardown(&self.netns, &client) else { return Ok(()) };
        // What was made in part is torn down in part, and bridge and firewall rules stay. Made once more it goes as a
        // whole.
        tracing::debug!("network of container {}: {e}; once more", self.id);
        let other = self.netns.with_extension("again");
        netns::remove(&other)?;
        netns::create(&other)?;
        let done = program.setup(&other, &client).and_then(|_| program.teardown(&other, &client));
        netns::remove(&other)?;
        done
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

    /// docker's settings of a single interface.
    fn set_sysctls(&self, members: &[Member], made: &BTreeMap<String, Endpoint>) -> Result<()> {
        for member in members {
            let Some(endpoint) = made.get(&member.network.name) else { continue };
            let sysctls = member.attachment.sysctls(&endpoint.interface).map_err(Error::invalid)?;
            if sysctls.is_empty() {
                continue;
            }
            // /proc/sys/net is the reader's network namespace.
            netns::within(&self.netns, || {
                sysctls.iter().try_for_each(|(file, value)| {
                    let path = Path::new("/proc/sys").join(file);
                    fs::write(&path, value).map_err(|e| Error::io(&format!("write {value} to"), &path, e))
                })
            })
            .with_context(|| format!("set what driver-opt says on network {}", member.network.name))?;
        }
        Ok(())
    }

    /// docker's `enable_icc=false`, which netavark does not know.
    fn separate(&self, site: &Site<'_>, members: &[Member], made: &BTreeMap<String, Endpoint>) -> Result<()> {
        for member in members.iter().filter(|m| m.network.separates()) {
            let network = &member.network;
            let Some(endpoint) = made.get(&network.name) else { continue };
            let port = netns::within(&self.netns, || match netlink::index(&endpoint.interface) {
                Some(interface) => Netlink::open()?.peer(interface),
                None => Ok(None),
            })?;
            let port = port.ok_or_else(|| {
                Error::not_found(format!(
                    "the port of the container on network {} is not there",
                    network.name
                ))
            })?;
            Netlink::open()
                .and_then(|mut netlink| netlink.isolate_port(port))
                .with_context(|| format!("keep the containers on network {} apart", network.name))?;
            self.separate_by_rules(site, member, true)?;
            crate::failpoint!("network.after-separation");
        }
        Ok(())
    }

    fn separate_by_rules(&self, site: &Site<'_>, member: &Member, on: bool) -> Result<()> {
        // An ordinary user's ports are redirected by nobody.
        let ports: &[_] = if site.config.rootless() { &[] } else { &self.ports };
        firewall::separate(site.config, &self.id, &member.network.network_interface, ports, on)
    }

    /// A container is let go when its `name` is known, by which time those of its neighbours are, too.
    fn wait_for_name(
        &self,
        site: &Site<'_>,
        name: &str,
        members: &[Member],
        made: &BTreeMap<String, Endpoint>,
    ) {
        let port = site.config.containers.network.dns_bind_port.unwrap_or(53);
        for member in members.iter().filter(|m| !m.addresses.is_empty()) {
            let server = made.get(&member.network.name).and_then(|e| e.name_servers.first().copied());
            let Some(server) = server else { continue };
            let v6 = member.addresses.iter().all(|a| a.addr().is_ipv6());
            if !dns::wait_for(server, port, name, v6) {
                tracing::debug!("aardvark-dns does not answer on network {}", member.network.name);
            }
        }
    }

    /// Tells the name server of the container's new name; `endpoints`: where it is to be asked.
    pub(super) fn announce(
        &self,
        site: &Site<'_>,
        old: &str,
        endpoints: &BTreeMap<String, Endpoint>,
    ) -> Result<()> {
        let named: Vec<Member> = self.members.iter().filter(|m| m.network.dns_enabled).cloned().collect();
        if named.is_empty() {
            return Ok(());
        }
        let program = Netavark::find(site.config)?;
        let tell = || {
            let mut networks = named.iter().map(|m| m.network.name.as_str());
            networks.try_for_each(|network| program.rename(network, &self.id, old, &self.name))?;
            program.reread()?;
            self.wait_for_name(site, &self.name, &named, endpoints);
            Ok(())
        };
        let _lock = lock(site.config)?;
        if !site.config.rootless() {
            return tell();
        }
        Shared::existing(self.dir()).map_or(Ok(()), |shared| shared.run(tell))
    }

    /// An ordinary user's ports lead into the namespace of the bridges by pasta, and straight to the container.
    pub(super) fn forward(&self, site: &Site<'_>) -> Result<()> {
        if self.way != Way::Bridge || !site.config.rootless() || !pasta::available(site.config) {
            return Ok(());
        }
        let Some(shared) = Shared::existing(self.dir()) else { return Ok(()) };
        forward::start(site.config, &shared, &self.id, &self.addresses(), &self.ports)
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
}

/// netavark before 1.6 lets a bridge take its MAC address from whatever containers are there: whenever one goes, the others
/// may lose the host, its name server with it, until they ask again who has its address.
fn keep_macs(members: &[Member]) -> Result<()> {
    for network in members.iter().map(|m| &m.network).filter(|n| n.driver == "bridge") {
        if let Some(bridge) = netlink::index(&network.network_interface) {
            Netlink::open()?.keep_mac(bridge)?;
        }
    }
    Ok(())
}

/// Tells the name server that runs what [`super::super::Networks::update_dns`] changed.
pub(in super::super) fn update_dns(config: &Config, network: &Network) -> Result<()> {
    if network.internal || !config.paths.run_state.join("network").is_dir() {
        return Ok(());
    }
    let program = Netavark::find(config)?;
    let _lock = lock(config)?;
    program.ask_elsewhere(&network.name, &network.network_dns_servers)
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
    netavark::await_orphan(&dir)?;
    Ok(file)
}
