//! Makes a network: completes what was asked for with what is free on this host.

use super::definitions::{DEFAULT_NETWORK, valid_name};
use super::surroundings::Surroundings;
use super::{LeaseRange, Network, Networks, Route, Subnet, options};
use crate::engine::config::containers::SubnetPool;
use crate::engine::host::random;
use crate::engine::{Error, ErrorKind, Result};
use ipnet::{IpNet, Ipv6Net};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// Words that `--network` has another meaning for.
const RESERVED: [&str; 11] = [
    DEFAULT_NETWORK,
    "container",
    "default",
    "host",
    "none",
    "ns",
    "pasta",
    "pod",
    "podman",
    "private",
    "slirp4netns",
];

/// Where subnets come from unless containers.conf's `default_subnet_pools` says otherwise: half of 10.0.0.0/8, which
/// neither podman (10.89.0.0/16 and up) nor docker (172.17.0.0/16 and up, 192.168.0.0/16) takes.
const POOL: &str = "10.128.0.0/9";

/// A network to be made.
#[derive(Clone, Debug, Default)]
pub struct NewNetwork {
    /// Empty: that of its bridge.
    pub name: String,
    /// `bridge`, `macvlan` or `ipvlan`; empty: `bridge`.
    pub driver: String,
    /// Name of the bridge, or of the parent interface; empty: one is found.
    pub interface: String,
    /// Empty: one is found.
    pub subnets: Vec<NewSubnet>,
    /// Without an IPv4 subnet one is found.
    pub ipv4: bool,
    /// Without an IPv6 subnet one is found.
    pub ipv6: bool,
    /// No way out.
    pub internal: bool,
    /// Containers find each other by name (where the driver can).
    pub dns: bool,
    /// Where aardvark-dns asks for other names.
    pub dns_servers: Vec<IpAddr>,
    /// Static routes.
    pub routes: Vec<Route>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options, netavark's or docker's.
    pub options: BTreeMap<String, String>,
    /// `host-local`, `dhcp` or `none`; empty: what fits.
    pub ipam_driver: String,
    /// Addresses that others have, by any name.
    pub reserved: BTreeMap<String, IpAddr>,
    /// docker's `--attachable`; recorded.
    pub attachable: bool,
}

/// A subnet of a network to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSubnet {
    /// Its addresses.
    pub subnet: IpNet,
    /// `None`: the first one.
    pub gateway: Option<IpAddr>,
    /// First and last address to hand out; `None`: all.
    pub range: Option<(IpAddr, IpAddr)>,
}

impl Networks<'_> {
    /// Makes a network. Two processes that do so at the same time get different names, bridges and subnets.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`]: the name, the bridge or a subnet is taken. [`ErrorKind::Invalid`]: something does not fit
    /// together. [`ErrorKind::Unsupported`]: another driver.
    pub fn create(&self, new: &NewNetwork) -> Result<Network> {
        let driver = driver(self, &new.driver)?;
        check_name(&new.name)?;
        let options = options::read(driver, &new.options)?;
        let held = self.lock()?;
        if self.named(&new.name)?.is_some() {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("network with name {} already exists", new.name),
            )
            .with_hint("take another name, or give --ignore"));
        }
        let around = Surroundings::look(self)?;
        let plan = Plan { networks: self, new, driver, options: options.all, around: &around };
        let mut network = plan.network(options.interface)?;
        if network.name.is_empty() {
            network.name.clone_from(&network.network_interface);
        }
        self.save(&network, &held)?;
        self.tell("create", &network, None);
        Ok(network)
    }
}

fn driver<'n>(networks: &Networks<'_>, name: &'n str) -> Result<&'n str> {
    match name {
        "" | "bridge" => Ok("bridge"),
        "macvlan" | "ipvlan" if networks.config.rootless() => Err(Error::unsupported(format!(
            "a {name} network needs root: an ordinary user's networks are apart from the host's interfaces"
        ))),
        "macvlan" | "ipvlan" => Ok(name),
        "overlay" => Err(Error::unsupported("the overlay driver needs a swarm, which Coracle has none of")),
        _ => Err(Error::unsupported(format!("unsupported network driver {name}: plugins are not run"))
            .with_hint("one of bridge, macvlan, ipvlan")),
    }
}

fn check_name(name: &str) -> Result<()> {
    if RESERVED.contains(&name) {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "cannot create network with name {name:?} because it conflicts with a valid network mode"
            ),
        ));
    }
    if name.is_empty() || valid_name(name) {
        return Ok(());
    }
    Err(Error::invalid(format!("network name {name} invalid"))
        .with_hint("letters, digits, '_', '.' and '-', the first one a letter or digit"))
}

/// What is asked for and what there is.
struct Plan<'a> {
    networks: &'a Networks<'a>,
    new: &'a NewNetwork,
    driver: &'a str,
    options: BTreeMap<String, String>,
    around: &'a Surroundings,
}

impl Plan<'_> {
    fn network(mut self, of_options: String) -> Result<Network> {
        let interface = self.interface(of_options)?;
        let ipam = self.ipam()?;
        let subnets = if ipam == "host-local" { self.subnets()? } else { Vec::new() };
        let mut ipam_options = BTreeMap::from([("driver".to_owned(), ipam.to_owned())]);
        for (name, ip) in &self.new.reserved {
            if !subnets.iter().any(|s| s.subnet.contains(ip)) {
                return Err(Error::invalid(format!("no matching subnet for aux-address {ip}")));
            }
            ipam_options.insert(format!("aux-address:{name}"), ip.to_string());
        }
        let dns_enabled = self.new.dns && self.driver == "bridge" && ipam == "host-local";
        if !self.new.dns_servers.is_empty() && !dns_enabled {
            return Err(Error::invalid("name servers make no sense: DNS is not enabled for the network"));
        }
        self.routes(&subnets)?;
        Ok(Network {
            name: self.new.name.clone(),
            id: random::id()?,
            driver: self.driver.to_owned(),
            network_interface: interface,
            created: jiff::Timestamp::now(),
            ipv6_enabled: self.new.ipv6 || subnets.iter().any(|s| is_v6(&s.subnet)),
            subnets,
            routes: self.new.routes.clone(),
            internal: self.new.internal,
            dns_enabled,
            network_dns_servers: self.new.dns_servers.clone(),
            labels: self.new.labels.clone(),
            options: std::mem::take(&mut self.options),
            ipam_options,
            attachable: self.new.attachable,
        })
    }

    /// An unmanaged bridge is the administrator's: it is there, with addresses.
    fn unmanaged(&self) -> bool {
        self.driver == "bridge" && self.options.get("mode").is_some_and(|m| m == "unmanaged")
    }

    fn interface(&self, of_options: String) -> Result<String> {
        let asked = match (self.new.interface.as_str(), of_options.as_str()) {
            ("", name) | (name, "") => name,
            (a, b) if a == b => a,
            (a, b) => return Err(Error::invalid(format!("two interfaces are named: {a} and {b}"))),
        };
        if asked.is_empty() {
            let found = if self.driver == "bridge" { self.around.free_interface() } else { String::new() };
            return Ok(found);
        }
        if !options::interface_name(asked) {
            return Err(Error::invalid(format!("invalid interface name {asked:?}"))
                .with_hint("at most 15 letters and digits"));
        }
        let there = self.around.has_interface(asked);
        match self.driver {
            "bridge" if there && !self.unmanaged() => {
                Err(Error::new(ErrorKind::Conflict, format!("bridge name {asked} already in use"))
                    .with_hint("--opt mode=unmanaged uses a bridge that is there and leaves it alone"))
            }
            "bridge" => Ok(asked.to_owned()),
            _ if !there => Err(Error::not_found(format!("parent interface {asked} does not exist"))),
            _ => Ok(asked.to_owned()),
        }
    }

    fn ipam(&self) -> Result<&'static str> {
        let given = !self.new.subnets.is_empty();
        let found = match self.new.ipam_driver.as_str() {
            "" | "default" if given || self.driver == "bridge" => "host-local",
            "" | "default" if self.driver == "macvlan" => "dhcp",
            "" | "default" => "none",
            "host-local" => "host-local",
            "dhcp" => "dhcp",
            "none" | "null" => "none",
            other => {
                return Err(Error::unsupported(format!("unsupported ipam driver {other:?}"))
                    .with_hint("one of host-local, dhcp, none"));
            }
        };
        match found {
            "dhcp" | "none" if given => {
                Err(Error::invalid(format!("{found} ipam driver is set but subnets are given")))
            }
            "dhcp" if self.driver == "ipvlan" => Err(Error::unsupported(
                "ipam driver dhcp is not supported with ipvlan: all have one MAC address",
            )),
            "dhcp" if self.driver == "bridge" && !self.unmanaged() => {
                Err(Error::invalid("ipam driver dhcp needs a bridge with a DHCP server on it")
                    .with_hint("--opt mode=unmanaged --interface-name BRIDGE"))
            }
            "host-local" if self.driver != "bridge" && !given => Err(Error::invalid(format!(
                "a {} network with ipam driver host-local needs a subnet",
                self.driver
            ))
            .with_hint("--subnet with the addresses of the network that the parent interface is on")),
            found => Ok(found),
        }
    }

    fn subnets(&self) -> Result<Vec<Subnet>> {
        let mut found = Vec::new();
        for (i, new) in self.new.subnets.iter().enumerate() {
            let subnet = new.subnet.trunc();
            if self.new.subnets[..i]
                .iter()
                .any(|other| other.subnet.contains(&subnet) || subnet.contains(&other.subnet))
            {
                return Err(Error::invalid(format!("subnets of one network overlap: {subnet}")));
            }
            // A macvlan's or ipvlan's subnet is the one its parent is in, an unmanaged bridge's is its own.
            let shared = self.driver != "bridge" || self.unmanaged();
            if let Some(holder) = self.around.holder(&subnet).filter(|_| !shared) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("subnet {subnet} is already used on the host or by another config"),
                )
                .with_hint(format!("{holder} has addresses in it")));
            }
            found.push(self.subnet(subnet, new)?);
        }
        let has = |v6: bool, found: &[Subnet]| found.iter().any(|s| is_v6(&s.subnet) == v6);
        let wants_v4 = self.new.ipv4 && (found.is_empty() || self.new.ipv6) && !has(false, &found);
        if wants_v4 {
            found.insert(0, with_gateway(self.free_v4()?, !self.no_gateway()));
        }
        if (self.new.ipv6 || !self.new.ipv4) && !has(true, &found) {
            found.push(with_gateway(self.free_v6()?, !self.no_gateway()));
        }
        if !self.new.ipv4 && has(false, &found) {
            return Err(Error::invalid("an IPv4 subnet is given, but IPv4 is switched off"));
        }
        Ok(found)
    }

    /// An internal macvlan has nobody to send packets to.
    fn no_gateway(&self) -> bool {
        self.new.internal && self.driver != "bridge"
    }

    fn subnet(&self, subnet: IpNet, new: &NewSubnet) -> Result<Subnet> {
        let room = if is_v6(&subnet) { 126 } else { 30 };
        if subnet.prefix_len() > room {
            return Err(Error::invalid(format!(
                "subnet {subnet} is too small: a gateway and a container need /{room}"
            )));
        }
        if let Some(gateway) = new.gateway.filter(|g| !usable(&subnet, g)) {
            return Err(Error::invalid(format!("gateway {gateway} not in subnet {subnet}")));
        }
        let lease_range = match new.range {
            None => None,
            Some((start, end)) if !subnet.contains(&start) || !subnet.contains(&end) || start > end => {
                return Err(Error::invalid(format!("ip range {start}-{end} not in subnet {subnet}")));
            }
            Some((start, end)) => {
                // The first and the last address of an IPv4 subnet are nobody's.
                let hosts = hosts(&subnet);
                Some(LeaseRange { start_ip: Some(start.max(hosts.0)), end_ip: Some(end.min(hosts.1)) })
            }
        };
        let out = with_gateway(subnet, !self.no_gateway());
        Ok(Subnet { gateway: new.gateway.or(out.gateway), lease_range, ..out })
    }

    fn free_v4(&self) -> Result<IpNet> {
        let default = [SubnetPool { base: POOL.to_owned(), size: 24 }];
        let configured = self.networks.config.containers.network.default_subnet_pools.as_deref();
        for pool in configured.filter(|p| !p.is_empty()).unwrap_or(&default) {
            let bad = || {
                Error::invalid(format!(
                    "containers.conf: invalid default_subnet_pools: base {:?}, size {}",
                    pool.base, pool.size
                ))
            };
            let base: IpNet = pool.base.parse().map_err(|_| bad())?;
            if is_v6(&base) || pool.size < base.prefix_len() || pool.size > 30 {
                return Err(bad().with_hint("an IPv4 base, and a prefix length from its own to 30"));
            }
            if let Some(found) = self.around.free_subnet(&base, pool.size) {
                return Ok(found);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "could not find free subnet from subnet pools")
            .with_hint("remove networks (coracle network prune), give --subnet, or set default_subnet_pools in containers.conf"))
    }

    /// A subnet of the addresses that everybody may take by chance (RFC 4193).
    fn free_v6(&self) -> Result<IpNet> {
        for _ in 0..100 {
            let mut octets = [0; 16];
            octets[0] = 0xfd;
            octets[1..8].copy_from_slice(&random::bytes::<7>()?);
            let subnet = Ipv6Net::new(Ipv6Addr::from(octets), 64).map(IpNet::V6);
            if let Ok(subnet) = subnet
                && self.around.free_subnet(&subnet, 64).is_some()
            {
                return Ok(subnet);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "could not find a free IPv6 subnet").with_hint("give --subnet"))
    }

    fn routes(&self, subnets: &[Subnet]) -> Result<()> {
        for route in &self.new.routes {
            let (to, via) = (route.destination, route.gateway);
            if is_v6(&to) != via.is_ipv6() {
                return Err(Error::invalid(format!(
                    "route {to} via {via}: destination and gateway are of different families"
                )));
            }
            if !subnets.is_empty() && !subnets.iter().any(|s| s.subnet.contains(&via)) {
                return Err(Error::invalid(format!(
                    "route {to} via {via}: the gateway is in no subnet of the network"
                )));
            }
        }
        Ok(())
    }
}

fn is_v6(subnet: &IpNet) -> bool {
    matches!(subnet, IpNet::V6(_))
}

fn with_gateway(subnet: IpNet, gateway: bool) -> Subnet {
    Subnet { subnet, gateway: gateway.then(|| hosts(&subnet).0), lease_range: None }
}

/// First and last address that an interface may have.
fn hosts(subnet: &IpNet) -> (IpAddr, IpAddr) {
    match subnet {
        IpNet::V4(v4) => {
            let number = |ip: std::net::Ipv4Addr| u32::from(ip);
            let (first, last) = (number(v4.network()), number(v4.broadcast()));
            (IpAddr::V4((first + 1).into()), IpAddr::V4((last - 1).into()))
        }
        // The address without host bits is every router's (RFC 4291, 2.6.1).
        IpNet::V6(v6) => (IpAddr::V6((u128::from(v6.network()) + 1).into()), IpAddr::V6(v6.broadcast())),
    }
}

fn usable(subnet: &IpNet, ip: &IpAddr) -> bool {
    let (first, last) = hosts(subnet);
    subnet.contains(ip) && (first..=last).contains(ip)
}

#[cfg(test)]
mod tests;
