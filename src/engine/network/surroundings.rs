//! What is taken on this host: subnets and interface names of other networks, ours and podman's, of the host's interfaces
//! and in its routes.

use super::Networks;
use super::definitions::{definition_files, read};
use crate::engine::{Error, Result};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// Where podman keeps root's networks.
const PODMANS: &str = "/etc/containers/networks";

/// A subnet somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Taken {
    subnet: IpNet,
    by: String,
}

/// What is taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// By networks and interfaces.
    subnets: Vec<Taken>,
    /// Where the host's packets go otherwise: a hindrance for a subnet of our choice, none for one the user asks for.
    routes: Vec<IpNet>,
    /// Names of interfaces and of what networks will call theirs.
    interfaces: BTreeSet<String>,
}

impl Surroundings {
    /// Looks at everything. Networks of others that cannot be read are passed over.
    ///
    /// # Errors
    /// Our own network directory or the host's interfaces cannot be read.
    pub fn look(networks: &Networks<'_>) -> Result<Self> {
        let mut found = Self::default();
        for network in networks.list()? {
            found.interfaces.insert(network.network_interface.clone());
            let by = format!("network {}", network.name);
            found.subnets.extend(network.subnets.iter().map(|s| Taken { subnet: s.subnet, by: by.clone() }));
        }
        let env = &networks.config.env;
        let users = env.data_home().join("containers/storage/networks");
        for dir in [PathBuf::from(PODMANS), users] {
            for network in
                definition_files(&dir).unwrap_or_default().iter().filter_map(|f| read(f).ok().flatten())
            {
                found.interfaces.insert(network.network_interface);
                let by = format!("podman's network {}", network.name);
                found
                    .subnets
                    .extend(network.subnets.iter().map(|s| Taken { subnet: s.subnet, by: by.clone() }));
            }
        }
        found.addresses()?;
        let lines = |path: &str| fs::read_to_string(path).unwrap_or_default();
        found.routes.extend(lines("/proc/net/route").lines().filter_map(route4));
        found.routes.extend(lines("/proc/net/ipv6_route").lines().filter_map(route6));
        Ok(found)
    }

    /// The host's interfaces with their addresses.
    fn addresses(&mut self) -> Result<()> {
        let all = nix::ifaddrs::getifaddrs().map_err(|e| Error::os("list the network interfaces", e))?;
        for entry in all {
            let ip = |address: Option<nix::sys::socket::SockaddrStorage>| -> Option<IpAddr> {
                let address = address?;
                let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
            };
            if let (Some(address), Some(mask)) = (ip(entry.address), ip(entry.netmask))
                && let Ok(subnet) = IpNet::with_netmask(address, mask)
                && !every_link_has(&subnet)
            {
                let by = format!("interface {}", entry.interface_name);
                self.subnets.push(Taken { subnet: subnet.trunc(), by });
            }
            self.interfaces.insert(entry.interface_name);
        }
        Ok(())
    }

    /// Who has addresses of this subnet.
    pub fn holder(&self, subnet: &IpNet) -> Option<&str> {
        self.subnets.iter().find(|t| overlap(&t.subnet, subnet)).map(|t| t.by.as_str())
    }

    /// Whether there is an interface of that name, or will be once a network is used.
    pub fn has_interface(&self, name: &str) -> bool {
        self.interfaces.contains(name)
    }

    /// The first of `coracle1`, `coracle2` … that there is not.
    pub fn free_interface(&self) -> String {
        let mut names = (1u32..).map(|n| format!("coracle{n}"));
        names.find(|name| !self.has_interface(name)).unwrap_or_default()
    }

    /// The first subnet of that prefix length in `base` that nobody has and no route leads into. Where a wide route (a
    /// private network behind a VPN, say) covers the whole of `base`, that route does not count.
    pub fn free_subnet(&self, base: &IpNet, size: u8) -> Option<IpNet> {
        let base = base.trunc();
        let routes: Vec<_> = self.routes.iter().filter(|r| !r.contains(&base)).collect();
        let mut candidates = base.subnets(size).ok()?;
        candidates.find(|c| self.holder(c).is_none() && !routes.iter().any(|r| overlap(r, c)))
    }
}

/// Two prefixes overlap exactly if one holds the other.
fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// Link-local IPv6 addresses say nothing about who has what.
fn every_link_has(subnet: &IpNet) -> bool {
    matches!(subnet, IpNet::V6(v6) if v6.addr().segments()[0] & 0xffc0 == 0xfe80)
}

/// A line of /proc/net/route: interface, destination, gateway, flags, …, mask as the eighth; numbers are in the host's byte
/// order. `None` for the heading and the default route.
fn route4(line: &str) -> Option<IpNet> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let address = |word: &str| u32::from_str_radix(word, 16).ok().map(|n| Ipv4Addr::from(n.to_ne_bytes()));
    let net = Ipv4Net::with_netmask(address(words.get(1)?)?, address(words.get(7)?)?).ok()?;
    (net.prefix_len() > 0).then_some(IpNet::V4(net))
}

/// A line of /proc/net/ipv6_route: destination and prefix length first, the interface last. `None` for default routes,
/// link-local and multicast ones.
fn route6(line: &str) -> Option<IpNet> {
    let mut words = line.split_whitespace();
    let address = Ipv6Addr::from(u128::from_str_radix(words.next()?, 16).ok()?);
    let net = Ipv6Net::new(address, u8::from_str_radix(words.next()?, 16).ok()?).ok()?;
    let subnet = IpNet::V6(net);
    (net.prefix_len() > 0 && !every_link_has(&subnet) && !address.is_multicast()).then_some(subnet)
}

#[cfg(test)]
impl Surroundings {
    /// A host with these subnets and interfaces.
    pub fn with(subnets: &[IpNet], interfaces: &[&str]) -> Self {
        let taken = |subnet: &IpNet| Taken { subnet: *subnet, by: "interface x".into() };
        Self {
            subnets: subnets.iter().map(taken).collect(),
            routes: Vec::new(),
            interfaces: interfaces.iter().map(|i| (*i).to_owned()).collect(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn routes_are_read() {
        let heading = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";
        assert_eq!(route4(heading), None);
        let line = |destination: [u8; 4], mask: [u8; 4]| {
            let hex = |octets: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(octets));
            format!("eth0\t{}\t00000000\t0001\t0\t0\t0\t{}\t0\t0\t0", hex(destination), hex(mask))
        };
        assert_eq!(route4(&line([10, 128, 4, 0], [255, 255, 252, 0])), Some(net("10.128.4.0/22")));
        assert_eq!(route4(&line([0; 4], [0; 4])), None);
        let v6 = |address: &str, prefix: &str| {
            format!(
                "{address} {prefix} {} 00 {} 00000400 00000001 0 00000001 eth0",
                "0".repeat(32),
                "0".repeat(32)
            )
        };
        assert_eq!(route6(&v6("fd000000000000070000000000000000", "40")), Some(net("fd00:0:0:7::/64")));
        for (address, prefix) in [
            ("0".repeat(32), "00"),
            ("fe80".to_owned() + &"0".repeat(28), "40"),
            ("ff00".to_owned() + &"0".repeat(28), "08"),
        ] {
            assert_eq!(route6(&v6(&address, prefix)), None, "{address}");
        }
    }

    #[test]
    fn a_free_subnet_touches_nothing() {
        let taken = |text: &str| Taken { subnet: net(text), by: "network x".into() };
        let mut around = Surroundings {
            subnets: vec![taken("10.128.0.0/24"), taken("10.128.1.128/25"), taken("10.128.4.0/22")],
            routes: vec![net("10.128.2.64/26"), net("10.0.0.0/8")],
            interfaces: ["coracle1", "coracle3"].map(String::from).into(),
        };
        assert_eq!(around.free_subnet(&net("10.128.0.0/9"), 24), Some(net("10.128.3.0/24")));
        assert_eq!(around.free_subnet(&net("10.128.0.0/23"), 24), None);
        assert_eq!(around.free_subnet(&net("10.128.4.0/23"), 24), None);
        around.routes.push(net("10.128.3.1/32"));
        assert_eq!(around.free_subnet(&net("10.128.0.0/9"), 24), Some(net("10.128.8.0/24")));
        assert_eq!(around.holder(&net("10.0.0.0/8")), Some("network x"));
        assert_eq!(around.free_interface(), "coracle2");
    }
}
