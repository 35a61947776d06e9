//! A network's definition: the JSON document that netavark reads and podman writes, one file a network in our own
//! directory.

use crate::engine::{Error, Result};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A network (netavark's `network/types.rs`, podman's `libnetwork/types`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// 64 hex digits.
    pub id: String,
    /// `bridge`, `macvlan` or `ipvlan`.
    pub driver: String,
    /// The bridge, or the parent interface; empty for a parent that netavark chooses.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network_interface: String,
    /// When it was made.
    pub created: jiff::Timestamp,
    /// Its subnets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<Subnet>,
    /// Static routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// One of the subnets is IPv6.
    #[serde(default)]
    pub ipv6_enabled: bool,
    /// No way out of it.
    #[serde(default)]
    pub internal: bool,
    /// aardvark-dns answers for names in it; bridges only.
    #[serde(default)]
    pub dns_enabled: bool,
    /// Where aardvark-dns asks for names it does not know; empty: the host's name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_dns_servers: Vec<IpAddr>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Driver options: `mtu`, `vlan`, `isolate`, `metric`, `mode`, `vrf`, `no_default_route`, `parent`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// `driver`: `host-local`, `dhcp` or `none`; `aux-address:NAME`: an address that somebody else has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ipam_options: BTreeMap<String, String>,
    /// docker's word for a network that services and containers share; says nothing here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attachable: bool,
}

/// One subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Network address and prefix length.
    pub subnet: IpNet,
    /// The bridge's own address; `None`: no default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Where addresses are handed out; `None`: in the whole subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_range: Option<LeaseRange>,
}

/// First and last address that are handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRange {
    /// First; `None`: the subnet's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ip: Option<IpAddr>,
    /// Last; `None`: the subnet's last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_ip: Option<IpAddr>,
}

/// A static route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub destination: IpNet,
    /// Through whom.
    pub gateway: IpAddr,
    /// Metric; `None`: the network's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

impl Network {
    /// From the text of a file.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|e| Error::corrupt("parse a network").with_source(e))
    }

    /// Addresses that somebody else has (docker's `--aux-address`), by the names they were given.
    pub fn reserved(&self) -> impl Iterator<Item = (&str, IpAddr)> {
        let entries = self.ipam_options.iter();
        entries.filter_map(|(key, ip)| Some((key.strip_prefix("aux-address:")?, ip.parse().ok()?)))
    }

    /// Whether its containers are kept from each other (docker's `enable_icc=false`).
    pub fn separates(&self) -> bool {
        super::options::separates(&self.options)
    }

    /// Where its addresses come from: `host-local`, `dhcp` or `none`.
    pub fn ipam_driver(&self) -> &str {
        self.ipam_options
            .get("driver")
            .map_or(if self.subnets.is_empty() { "none" } else { "host-local" }, |d| d)
    }
}
