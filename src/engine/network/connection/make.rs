//! Making a connection when a container starts: the namespace, the ports, pasta or slirp4netns.

use super::super::rootless::Shared;
use super::super::{firewall, pasta, ports, proxy, slirp4netns, user_mode};
use super::{Connection, Site, USER_MODE, Way};
use crate::engine::host::netlink::{self, Netlink};
use crate::engine::host::netns;
use crate::engine::spec::Endpoint;
use crate::engine::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

impl Connection {
    /// Makes the namespace, empty.
    pub fn make_namespace(&self) -> Result<()> {
        self.make_dir()?;
        netns::create(&self.netns)?;
        self.raise_loopback()?;
        crate::failpoint!("network.after-namespace");
        Ok(())
    }

    /// Takes the namespace that the process `pid` has.
    pub fn adopt_namespace(&self, pid: u32) -> Result<()> {
        self.make_dir()?;
        netns::adopt(pid, &self.netns)?;
        self.raise_loopback()
    }

    /// Otherwise netavark, pasta or slirp4netns does.
    fn raise_loopback(&self) -> Result<()> {
        if !self.members.is_empty() || self.way != Way::Bridge {
            return Ok(());
        }
        netns::within(&self.netns, || match netlink::index("lo") {
            Some(lo) => Netlink::open()?.up(lo, None),
            None => Ok(()),
        })
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
            proxy::start(site.config, run_dir, &held, &self.addresses())?;
            if self.redirects_loopback6(site) {
                firewall::spare_loopback6(site.config, &self.id, true)?;
            }
        }
        let mut made = self.user_mode(site, run_dir)?;
        made.extend(self.join(site, &self.members)?);
        crate::failpoint!("network.after-join");
        if rootless && let Some(shared) = Shared::existing(self.dir()) {
            // pasta listens where the container has an address itself. Without it the proxy does, to whose container
            // all clients are one.
            let with_pasta = pasta::available(site.config);
            held.retain(|port| {
                !with_pasta || !self.addresses().iter().any(|a| a.is_ipv4() == port.address.is_ipv4())
            });
            shared.run(|| proxy::start(site.config, run_dir, &held, &self.addresses()))?;
            self.forward(site)?;
        }
        crate::failpoint!("network.after-setup");
        Ok(made)
    }

    /// Whether netavark makes a rule for `[::1]` of a published port.
    pub(super) fn redirects_loopback6(&self, site: &Site<'_>) -> bool {
        let published = self.ports.iter().any(|p| p.host_ip.is_none_or(|ip| ip.is_ipv6()));
        published
            && self.way == Way::Bridge
            && !site.config.rootless()
            && self.addresses().iter().any(IpAddr::is_ipv6)
    }

    /// Starts pasta or slirp4netns, if that is the way.
    pub(super) fn user_mode(&self, site: &Site<'_>, run_dir: &Path) -> Result<BTreeMap<String, Endpoint>> {
        let request = user_mode::Request {
            config: site.config,
            netns: &self.netns,
            ports: &self.ports,
            options: &self.options,
            pidfile: &run_dir.join(USER_MODE),
        };
        let (name, found) = match self.way {
            Way::Bridge => return Ok(BTreeMap::new()),
            Way::Pasta => match pasta::start(&request) {
                // A host without a network is no reason for a container not to run.
                Err(e) if pasta::lacks_a_way_out(&e) && slirp4netns::available(site.config) => {
                    tracing::info!("{e}: slirp4netns instead");
                    ("slirp4netns", slirp4netns::start(&user_mode::Request { options: &[], ..request })?)
                }
                found => ("pasta", found?),
            },
            Way::Slirp4netns => ("slirp4netns", slirp4netns::start(&request)?),
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
}
