//! `network.status` of an archive: the addresses the container had, as netavark says and podman keeps them, a `StatusBlock` for
//! each network.

use crate::engine::spec::Endpoint;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What is said of one network. Go writes `null` for lists that are empty.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    interfaces: Option<BTreeMap<String, Interface>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_server_ips: Option<Vec<IpAddr>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_search_domains: Option<Vec<String>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Interface {
    mac_address: String,
    subnets: Option<Vec<Subnet>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Subnet {
    ipnet: ipnet::IpNet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

/// By network.
pub(super) fn of(endpoints: &BTreeMap<String, Endpoint>) -> BTreeMap<String, Status> {
    let status = |endpoint: &Endpoint| {
        let gateway = |net: &ipnet::IpNet| endpoint.gateways.iter().find(|ip| net.contains(*ip)).copied();
        let subnets = endpoint.addresses.iter().map(|net| Subnet { ipnet: *net, gateway: gateway(net) });
        let interface = Interface { mac_address: endpoint.mac.clone(), subnets: Some(subnets.collect()) };
        Status {
            interfaces: Some(BTreeMap::from([(endpoint.interface.clone(), interface)])),
            dns_server_ips: Some(endpoint.name_servers.clone()),
            dns_search_domains: Some(endpoint.search_domains.clone()),
        }
    };
    endpoints.iter().map(|(network, endpoint)| (network.clone(), status(endpoint))).collect()
}

/// What a restored container is to have again; a network on which it has several interfaces counts with the first.
pub(super) fn endpoints(status: BTreeMap<String, Status>) -> BTreeMap<String, Endpoint> {
    let endpoint = |status: Status| {
        let (interface, facts) = status.interfaces?.into_iter().next()?;
        let subnets = facts.subnets.unwrap_or_default();
        Some(Endpoint {
            interface,
            mac: facts.mac_address,
            gateways: subnets.iter().filter_map(|subnet| subnet.gateway).collect(),
            addresses: subnets.iter().map(|subnet| subnet.ipnet).collect(),
            name_servers: status.dns_server_ips.unwrap_or_default(),
            search_domains: status.dns_search_domains.unwrap_or_default(),
            ..Endpoint::default()
        })
    };
    status.into_iter().filter_map(|(network, status)| Some((network, endpoint(status)?))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn podman_s_is_read_and_ours_is_the_same_again() {
        // podman 5.4, `podman container checkpoint --export`.
        let text = r#"{"podman":{"dns_server_ips":null,"dns_search_domains":[],"interfaces":{"eth0":{
            "mac_address":"9a:d1:2c:00:00:01","subnets":[{"ipnet":"10.88.0.7/16","gateway":"10.88.0.1"}]}}},"odd":{}}"#;
        let read = endpoints(serde_json::from_str(text).unwrap());
        let endpoint = &read["podman"];
        assert_eq!((endpoint.interface.as_str(), endpoint.mac.as_str()), ("eth0", "9a:d1:2c:00:00:01"));
        assert_eq!(endpoint.addresses, ["10.88.0.7/16".parse::<ipnet::IpNet>().unwrap()]);
        assert_eq!(read.len(), 1);
        let again = serde_json::to_value(of(&read)).unwrap();
        assert_eq!(again["podman"]["interfaces"]["eth0"]["subnets"][0]["gateway"], "10.88.0.1");
        assert_eq!(endpoints(serde_json::from_value(again).unwrap()), read);
    }
}
