//! `NetworkSettings`: addresses, ports and networks.

use super::Texts;
use super::host::{HostPort, mode};
use crate::engine::spec::{ContainerSpec, NamespaceMode};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Default, Serialize)]
#[serde(rename = "InspectNetworkSettings")]
pub(super) struct NetworkSettings {
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    #[serde(rename = "Gateway")]
    pub gateway: String,
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u32,
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u32,
    #[serde(rename = "SecondaryIPAddresses")]
    pub secondary_ip_addresses: Option<Vec<Address>>,
    #[serde(rename = "SecondaryIPv6Addresses")]
    pub secondary_ipv6_addresses: Option<Vec<Address>>,
    #[serde(rename = "MacAddress")]
    pub mac_address: String,
    #[serde(rename = "Bridge")]
    pub bridge: String,
    #[serde(rename = "SandboxID")]
    pub sandbox_id: String,
    #[serde(rename = "HairpinMode")]
    pub hairpin_mode: bool,
    #[serde(rename = "LinkLocalIPv6Address")]
    pub link_local_ipv6_address: String,
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    pub link_local_ipv6_prefix_len: u32,
    /// A port that is exposed and not published has `null`.
    #[serde(rename = "Ports")]
    pub ports: BTreeMap<String, Option<Vec<HostPort>>>,
    #[serde(rename = "SandboxKey")]
    pub sandbox_key: String,
    #[serde(rename = "Networks")]
    pub networks: BTreeMap<String, Endpoint>,
}

/// The addresses of one network; of the first one also on top of [`NetworkSettings`].
#[derive(Debug, Default, Serialize)]
#[serde(rename = "InspectAdditionalNetwork")]
pub(super) struct Endpoint {
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    #[serde(rename = "Gateway")]
    pub gateway: String,
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u32,
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u32,
    #[serde(rename = "MacAddress")]
    pub mac_address: String,
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    #[serde(rename = "DriverOpts")]
    pub driver_opts: Option<Texts>,
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<Texts>,
    #[serde(rename = "Links")]
    pub links: Option<Vec<String>>,
    #[serde(rename = "Aliases")]
    pub aliases: Option<Vec<String>>,
    #[serde(rename = "DNSNames")]
    pub dns_names: Option<Vec<String>>,
    #[serde(rename = "GwPriority")]
    pub gateway_priority: i32,
}

/// An address beside the first one of its kind.
#[derive(Debug, Default, Serialize)]
#[serde(rename = "Address")]
pub(super) struct Address {
    #[serde(rename = "Addr")]
    pub address: String,
    #[serde(rename = "PrefixLength")]
    pub prefix_length: u32,
}

pub(super) fn network(spec: &ContainerSpec, pid: u32) -> NetworkSettings {
    let mode = mode(&spec.namespaces.network, "none");
    let networks = match &spec.namespaces.network {
        NamespaceMode::Container(_) | NamespaceMode::Path(_) => Vec::new(),
        _ => vec![(mode.clone(), Endpoint { network_id: mode, ..Endpoint::default() })],
    };
    NetworkSettings {
        ports: spec.exposed_ports.iter().map(|port| (port.clone(), None)).collect(),
        sandbox_key: if pid == 0 { String::new() } else { format!("/proc/{pid}/ns/net") },
        networks: networks.into_iter().collect(),
        ..NetworkSettings::default()
    }
}
