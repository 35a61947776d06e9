//! `NetworkSettings`: addresses, ports and networks.

use super::Texts;
use super::host::{HostPort, mode};
use crate::cmd::container::ports::bindings;
use crate::cmd::format::template;
use crate::cmd::network::inspect::endpoint_id;
use crate::engine::Engine;
use crate::engine::network::Networks;
use crate::engine::spec::{self, Attachment, ContainerSpec, NamespaceMode, PortMapping};
use crate::engine::state::Record;
use ipnet::IpNet;
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
#[derive(Clone, Debug, Default, Serialize)]
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
    #[serde(serialize_with = "template::map")]
    pub driver_opts: Option<Texts>,
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<Texts>,
    #[serde(rename = "Links")]
    #[serde(serialize_with = "template::slice")]
    pub links: Option<Vec<String>>,
    #[serde(rename = "Aliases")]
    #[serde(serialize_with = "template::slice")]
    pub aliases: Option<Vec<String>>,
    #[serde(rename = "DNSNames")]
    #[serde(serialize_with = "template::slice")]
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

/// The settings of a container. Addresses and host ports are those of its life now; it has none while it does not run.
pub(super) fn network(engine: &Engine, record: &Record, spec: &ContainerSpec) -> NetworkSettings {
    let (state, pid) = (&record.state.network, record.state.pid);
    let mode = mode(&spec.namespaces.network, "none");
    let networks = Networks::open(&engine.config);
    let id = |name: &str| networks.resolve(name).map_or_else(|_| name.to_owned(), |n| n.id);
    let ends: BTreeMap<String, Endpoint> = match &spec.namespaces.network {
        NamespaceMode::Container(_) | NamespaceMode::Path(_) => BTreeMap::new(),
        NamespaceMode::Network(kind) if kind == "bridge" => {
            let one = |a: &Attachment| {
                let found = state.endpoints.get(&a.network);
                (a.network.clone(), endpoint(record, Some(a), found, id(&a.network)))
            };
            state.attachments.iter().map(one).collect()
        }
        // A user-mode network, and the networks it was connected to while it ran.
        NamespaceMode::Network(kind) => {
            let one = |(name, end): (&String, &spec::Endpoint)| {
                let place = state.attachments.iter().find(|a| a.network == *name);
                let id = if place.is_some() { id(name) } else { name.clone() };
                (name.clone(), endpoint(record, place, Some(end), id))
            };
            let mut all: BTreeMap<_, _> = state.endpoints.iter().map(one).collect();
            all.entry(kind.clone()).or_insert_with(|| endpoint(record, None, None, kind.clone()));
            all
        }
        _ => [(mode.clone(), Endpoint { network_id: mode, ..Endpoint::default() })].into(),
    };
    let primary =
        state.attachments.first().and_then(|a| ends.get(&a.network)).or_else(|| ends.values().next());
    let primary = primary.cloned().unwrap_or_default();
    NetworkSettings {
        endpoint_id: primary.endpoint_id,
        gateway: primary.gateway,
        ip_address: primary.ip_address,
        ip_prefix_len: primary.ip_prefix_len,
        ipv6_gateway: primary.ipv6_gateway,
        global_ipv6_address: primary.global_ipv6_address,
        global_ipv6_prefix_len: primary.global_ipv6_prefix_len,
        mac_address: primary.mac_address,
        ports: ports(spec, &state.ports),
        sandbox_key: if pid == 0 { String::new() } else { format!("/proc/{pid}/ns/net") },
        networks: ends,
        ..NetworkSettings::default()
    }
}

/// Exposed ports, and for published ones where on the host they are.
fn ports(spec: &ContainerSpec, published: &[PortMapping]) -> BTreeMap<String, Option<Vec<HostPort>>> {
    let mut found: BTreeMap<_, Option<Vec<HostPort>>> =
        spec.exposed_ports.iter().map(|port| (port.clone(), None)).collect();
    for binding in bindings(published) {
        let port = format!("{}/{}", binding.container_port, binding.protocol.as_str());
        found.entry(port).or_default().get_or_insert_default().push(HostPort {
            host_ip: binding.host_ip.to_string(),
            host_port: binding.host_port.to_string(),
        });
    }
    found
}

fn endpoint(
    record: &Record,
    place: Option<&Attachment>,
    end: Option<&spec::Endpoint>,
    network_id: String,
) -> Endpoint {
    let address = |v6: bool| {
        let mut all = end.into_iter().flat_map(|e| &e.addresses);
        all.find(|a| matches!(a, IpNet::V6(_)) == v6)
    };
    let ip = |v6| address(v6).map(|a| a.addr().to_string()).unwrap_or_default();
    let prefix = |v6| address(v6).map_or(0, |a| u32::from(a.prefix_len()));
    let gateway = |v6: bool| {
        let mut all = end.into_iter().flat_map(|e| &e.gateways);
        all.find(|g| g.is_ipv6() == v6).map(ToString::to_string).unwrap_or_default()
    };
    let mut out = Endpoint {
        endpoint_id: end.map(|_| endpoint_id(&record.id, &network_id)).unwrap_or_default(),
        gateway: gateway(false),
        ip_address: ip(false),
        ip_prefix_len: prefix(false),
        ipv6_gateway: gateway(true),
        global_ipv6_address: ip(true),
        global_ipv6_prefix_len: prefix(true),
        mac_address: end.map(|e| e.mac.clone()).unwrap_or_default(),
        network_id,
        ..Endpoint::default()
    };
    let Some(place) = place else { return out };
    let short = record.id.get(..12).unwrap_or_default();
    let names = [record.name()].into_iter().chain(place.aliases.iter().map(String::as_str)).chain([short]);
    out.dns_names = Some(names.map(str::to_owned).collect());
    out.aliases = (!place.aliases.is_empty()).then(|| place.aliases.clone());
    out.gateway_priority = i32::try_from(place.gateway_priority()).unwrap_or(0);
    let fixed = place
        .ips
        .iter()
        .map(|ip| (if ip.is_ipv6() { "IPv6Address" } else { "IPv4Address" }.to_owned(), ip.to_string()));
    out.ipam_config = (!place.ips.is_empty()).then(|| fixed.collect());
    out.driver_opts = (!place.options.is_empty()).then(|| place.options.clone());
    out
}
