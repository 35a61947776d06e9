//! The networks a container is on, and the ports it publishes.

use super::network_words::interface;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What of the command line concerns networks. [`super::NamespacesSpec::network`] says which kind of network namespace
/// the container has; this is what happens in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    /// `--network NAME[:…]`, in order, the first one being the primary network. Empty unless the mode is
    /// `Network("bridge")`; there, creation completes it with the default network.
    pub attachments: Vec<Attachment>,
    /// What follows `pasta:` or `slirp4netns:`, split at commas.
    pub options: Vec<String>,
    /// `--publish`, as written; a host port of 0 is chosen at each start.
    pub ports: Vec<PortMapping>,
    /// `--publish-all`: every exposed port that `ports` does not name gets a free host port at each start.
    pub publish_all: bool,
    /// `--link`: a container and the name it has here.
    pub links: Vec<Link>,
    /// `--hosts-file`: a path, `image` or `none`; empty: containers.conf.
    pub hosts_file: String,
}

/// A container's place on one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attachment {
    /// The network's name; before creation whatever the user wrote (a name, an ID, its beginning).
    pub network: String,
    /// Further names there (`--network-alias`, `alias=`).
    pub aliases: Vec<String>,
    /// Fixed addresses (`--ip`, `--ip6`, `ip=`, `ip6=`): at most one a family and subnet.
    pub ips: Vec<IpAddr>,
    /// Fixed MAC address, as `aa:bb:cc:dd:ee:ff`.
    pub mac: Option<String>,
    /// The interface's name inside; empty: the first free `ethN`.
    pub interface: String,
    /// Driver options (`--driver-opt`, further `key=value` of `--network`), and two of docker's own: `gw-priority` (the
    /// network with the greatest has the default route; without: 0) and `link-local-ip` (further addresses, commas between).
    pub options: BTreeMap<String, String>,
}

impl Attachment {
    /// docker's `gw-priority`: the network with the greatest has the default route; 0 unless given.
    pub fn gateway_priority(&self) -> i64 {
        self.options.get("gw-priority").and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Takes a driver option (`--driver-opt`); docker's own that say something of the interface are checked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn set_option(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "com.docker.network.endpoint.ifname" => {
                self.interface = interface(value).map_err(|e| e.to_string())?;
            }
            name => {
                self.options.insert(name.to_owned(), value.to_owned());
                self.sysctls("eth0")?;
            }
        }
        Ok(())
    }

    /// docker's `com.docker.network.endpoint.sysctls`: files below /proc/sys and what is written to them, once the interface's
    /// name is known.
    ///
    /// # Errors
    /// One of them has not the form `net.X.Y.IFNAME.Z=VALUE`.
    pub fn sysctls(&self, name: &str) -> Result<Vec<(String, String)>, String> {
        let listed = self.options.get("com.docker.network.endpoint.sysctls").map_or("", String::as_str);
        let is_word = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        };
        let one = |text: &str| {
            let (key, value) = text.split_once('=')?;
            match key.trim().split('.').collect::<Vec<_>>()[..] {
                ["net", family @ ("ipv4" | "ipv6" | "mpls"), kind, "IFNAME", setting]
                    if is_word(kind) && is_word(setting) =>
                {
                    Some((format!("net/{family}/{kind}/{name}/{setting}"), value.trim().to_owned()))
                }
                _ => None,
            }
        };
        let parts = listed.split(',').filter(|text| !text.trim().is_empty());
        let checked = parts.map(|text| {
            one(text).ok_or_else(|| {
                format!(
                    "unrecognised network interface sysctl '{text}'; represent 'net.X.Y.ethN.Z=V' as \
                     'net.X.Y.IFNAME.Z=V'"
                )
            })
        });
        checked.collect()
    }

    /// docker's `link-local-ip`, with the prefix length that such addresses have (RFC 3927, RFC 4291).
    pub fn link_local(&self) -> Vec<ipnet::IpNet> {
        let listed = self.options.get("link-local-ip").map_or("", String::as_str).split(',');
        let addresses = listed.filter_map(|text| text.parse::<IpAddr>().ok());
        let with_prefix = |ip: IpAddr| ipnet::IpNet::new(ip, if ip.is_ipv4() { 16 } else { 64 }).ok();
        addresses.filter_map(with_prefix).collect()
    }
}

/// One `--publish`: `range` ports from `host_port` on lead to as many from `container_port` on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortMapping {
    /// The host's address that listens; `None`: all of them, IPv4 and IPv6.
    pub host_ip: Option<IpAddr>,
    /// First port on the host; 0: any that is free.
    pub host_port: u16,
    /// Last port on the host to choose from, `host_port` being the first (docker's `8080-8090:80`, where `range` is 1);
    /// 0: no choice.
    #[serde(default)]
    pub host_last: u16,
    /// First port in the container; never 0.
    pub container_port: u16,
    /// How many ports, at least 1.
    pub range: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// A transport protocol with ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP
    #[default]
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl Protocol {
    /// The word in `80/tcp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// The protocol of that name, whatever its case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp].into_iter().find(|p| p.as_str().eq_ignore_ascii_case(text))
    }
}

/// `--link CONTAINER[:ALIAS]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// Name or ID; resolved to the full ID at creation.
    pub container: String,
    /// What it is called in this container.
    pub alias: String,
}

/// A container's networks as they are now: what was asked for, changed by connect and disconnect, with what the last
/// start made of it. Part of its mutable record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkState {
    /// The networks it is to be on.
    pub attachments: Vec<Attachment>,
    /// While it lives: the addresses it got, by network name (`pasta`, `slirp4netns` for those).
    pub endpoints: BTreeMap<String, Endpoint>,
    /// While it lives: its published ports with the host ports they got.
    pub ports: Vec<PortMapping>,
}

/// A container's interface on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// Its name inside (`eth0`).
    pub interface: String,
    /// MAC address; empty: unknown.
    pub mac: String,
    /// Addresses with their prefix lengths.
    pub addresses: Vec<ipnet::IpNet>,
    /// The gateway of each family there is.
    pub gateways: Vec<IpAddr>,
    /// Name servers that answer for this network.
    pub name_servers: Vec<IpAddr>,
    /// Search domains.
    pub search_domains: Vec<String>,
    /// Name servers through which the host's own are reached, where these cannot be.
    pub forwarders: Vec<IpAddr>,
    /// Where the host is reached, when that is not the gateway.
    pub host_address: Option<IpAddr>,
}
