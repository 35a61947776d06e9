//! `coracle network inspect`, and what `coracle inspect` shows of a network.

use crate::cmd::format::template::{Element, Field, List, Map, Struct, Value, rfc3339};
use crate::cmd::system::inspect::{Inspected, show};
use crate::cmd::{Context, Exit};
use crate::engine::container::{Member, members};
use crate::engine::network::{LeaseRange, Network, Networks, Subnet};
use crate::engine::spec::Endpoint;
use crate::engine::{Digest, Engine, ErrorKind, Result};
use clap::Args;
use ipnet::IpNet;
use std::net::IpAddr;
use std::rc::Rc;

/// Show everything about networks
///
/// docker's fields and podman's, which differ in case: Containers has docker's form, containers podman's.
#[derive(Args, Clone, Debug)]
pub struct InspectArgs {
    /// A Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Accepted and ignored: there is no swarm to tell more about
    #[arg(short, long)]
    verbose: bool,
    /// Names or IDs
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
}

/// Inspects.
pub fn run(cx: &Context, args: InspectArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let networks = Networks::open(&engine.config);
    let mut on = members(engine)?;
    let known = std::cell::RefCell::new(&mut on);
    show(cx, args.format.as_deref(), &args.networks, |name| {
        let network = networks.resolve(name)?;
        let members = known.borrow_mut().get(&network.name).cloned().unwrap_or_default();
        Ok(value(&network, &members))
    })
}

/// What is known of the network `name`; `None` if there is none.
pub fn inspect(engine: &Engine, name: &str) -> Result<Option<Inspected>> {
    match Networks::open(&engine.config).resolve(name) {
        Ok(network) => {
            let members = members(engine)?.remove(&network.name).unwrap_or_default();
            Ok(Some(value(&network, &members)))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// podman's fields under their names in JSON, then docker's; templates know podman's by their Go names, too.
fn value(network: &Network, members: &[Member]) -> Inspected {
    let subnets = subnets(network);
    let options = Value::string_map(&network.options);
    let fields = vec![
        json("name", network.name.as_str().into()),
        json("id", network.id.as_str().into()),
        json("driver", network.driver.as_str().into()),
        json("network_interface", network.network_interface.as_str().into()),
        json("created", rfc3339(&network.created).into()),
        json("subnets", subnets.clone()),
        json("routes", routes(network)),
        json("ipv6_enabled", network.ipv6_enabled.into()),
        json("internal", network.internal.into()),
        json("dns_enabled", network.dns_enabled.into()),
        json("network_dns_servers", servers(network)),
        json("labels", Value::string_map(&network.labels)),
        json("options", options.clone()),
        json("ipam_options", Value::string_map(&network.ipam_options)),
        json(
            "containers",
            containers(members, |m| {
                structure(
                    "NetworkContainerInfo",
                    vec![json("name", m.name.as_str().into()), json("interfaces", interfaces(m))],
                )
            }),
        ),
        json("Name", network.name.as_str().into()),
        json("Id", network.id.as_str().into()),
        go("ID", network.id.as_str().into()),
        json("Created", Value::Time(network.created)),
        json("Scope", "local".into()),
        json("Driver", network.driver.as_str().into()),
        json("EnableIPv4", has(network, false).into()),
        json("EnableIPv6", has(network, true).into()),
        json("IPAM", ipam(network)),
        json("Internal", network.internal.into()),
        json("Attachable", network.attachable.into()),
        json("Ingress", false.into()),
        json("ConfigFrom", structure("ConfigReference", vec![json("Network", "".into())])),
        json("ConfigOnly", false.into()),
        json("Containers", containers(members, |m| endpoint(network, m))),
        json("Options", options),
        json("Labels", Value::string_map(&network.labels)),
        go("NetworkInterface", network.network_interface.as_str().into()),
        go("Subnets", subnets),
        go("Routes", routes(network)),
        go("IPv6Enabled", network.ipv6_enabled.into()),
        go("DNSEnabled", network.dns_enabled.into()),
        go("NetworkDNSServers", servers(network)),
        go("IPAMOptions", Value::string_map(&network.ipam_options)),
    ];
    structure("Network", fields)
}

fn json(name: &'static str, value: Value) -> Field {
    Field { name, value, hidden: false }
}

/// A name that only templates know.
fn go(name: &'static str, value: Value) -> Field {
    Field { name, value, hidden: true }
}

fn structure(name: &'static str, fields: Vec<Field>) -> Value {
    Value::Struct(Rc::new(Struct { name, fields }))
}

fn list(items: Vec<Value>) -> Value {
    Value::List(Rc::new(List { any: false, items, nil: false }))
}

/// Whether a network has IPv6 (or IPv4) addresses.
pub(super) fn has(network: &Network, v6: bool) -> bool {
    network.subnets.iter().any(|s| matches!(s.subnet, IpNet::V6(_)) == v6) || v6 && network.ipv6_enabled
}

/// podman's `subnets`.
pub(super) fn subnets(network: &Network) -> Value {
    let one = |s: &Subnet| {
        let ip = |ip: Option<IpAddr>| ip.map_or(Value::NilPointer, |ip| ip.to_string().into());
        let lease = |range: &LeaseRange| {
            let (start, end) = (ip(range.start_ip), ip(range.end_ip));
            structure(
                "LeaseRange",
                vec![
                    json("start_ip", start.clone()),
                    json("end_ip", end.clone()),
                    go("StartIP", start),
                    go("EndIP", end),
                ],
            )
        };
        let range = s.lease_range.as_ref().map_or(Value::NilPointer, lease);
        let mut fields = vec![json("subnet", s.subnet.to_string().into())];
        fields.extend(s.gateway.map(|g| json("gateway", g.to_string().into())));
        fields.extend(s.lease_range.as_ref().map(|_| json("lease_range", range.clone())));
        fields.extend([
            go("Subnet", s.subnet.to_string().into()),
            go("Gateway", ip(s.gateway)),
            go("LeaseRange", range),
        ]);
        structure("Subnet", fields)
    };
    list(network.subnets.iter().map(one).collect())
}

/// podman's `routes`.
pub(super) fn routes(network: &Network) -> Value {
    let one = |r: &crate::engine::network::Route| {
        let (to, via) = (Value::from(r.destination.to_string()), Value::from(r.gateway.to_string()));
        let metric = r.metric.map_or(Value::NilPointer, |m| i64::from(m).into());
        let mut fields = vec![json("destination", to.clone()), json("gateway", via.clone())];
        fields.extend(r.metric.map(|_| json("metric", metric.clone())));
        fields.extend([go("Destination", to), go("Gateway", via), go("Metric", metric)]);
        structure("Route", fields)
    };
    list(network.routes.iter().map(one).collect())
}

/// Name servers behind the network's own.
pub(super) fn servers(network: &Network) -> Value {
    Value::strings(network.network_dns_servers.iter().map(ToString::to_string))
}

/// docker's `IPAM`.
fn ipam(network: &Network) -> Value {
    let config = |s: &Subnet| {
        let range = s.lease_range.as_ref().and_then(|r| prefix(r.start_ip?, r.end_ip?, &s.subnet));
        let gateway = s.gateway.map(|g| g.to_string()).unwrap_or_default();
        let others = network.reserved().filter(|(_, ip)| s.subnet.contains(ip));
        let others = others.map(|(name, ip)| (Rc::from(name), ip.to_string().into())).collect();
        structure(
            "IPAMConfig",
            vec![
                json("Subnet", s.subnet.to_string().into()),
                json("IPRange", range.unwrap_or_default().into()),
                json("Gateway", gateway.into()),
                json(
                    "AuxiliaryAddresses",
                    Value::Map(Rc::new(Map { element: Element::Str, entries: others, nil: false })),
                ),
            ],
        )
    };
    let driver = match network.ipam_driver() {
        "host-local" => "default",
        "none" => "null",
        other => other,
    };
    structure(
        "IPAM",
        vec![
            json("Driver", driver.into()),
            json("Options", Value::string_map(std::iter::empty())),
            json("Config", list(network.subnets.iter().map(config).collect())),
        ],
    )
}

/// A range that is a prefix, without the addresses that nobody can have, as docker writes it; others as `FIRST-LAST`.
fn prefix(first: IpAddr, last: IpAddr, subnet: &IpNet) -> Option<String> {
    let holds = |len: u8| {
        let net = IpNet::new(first, len).ok()?.trunc();
        let edge = |ip: IpAddr, end: IpAddr, outer: IpAddr| ip == end || end == outer && next_to(ip, outer);
        let fits =
            edge(first, net.network(), subnet.network()) && edge(last, net.broadcast(), subnet.broadcast());
        fits.then(|| net.to_string())
    };
    Some(
        (subnet.prefix_len()..=subnet.max_prefix_len())
            .find_map(holds)
            .unwrap_or_else(|| format!("{first}-{last}")),
    )
}

fn next_to(a: IpAddr, b: IpAddr) -> bool {
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    };
    number(a).abs_diff(number(b)) == 1
}

fn containers(members: &[Member], shown: impl Fn(&Member) -> Value) -> Value {
    // docker and podman list those that run.
    let live = members.iter().filter(|m| m.endpoint.is_some());
    let entries = live.map(|m| (Rc::from(m.id.as_str()), shown(m))).collect();
    Value::Map(Rc::new(Map { element: Element::Other, entries, nil: false }))
}

/// podman's `interfaces` of a container: subnets and MAC address by interface.
fn interfaces(member: &Member) -> Value {
    let one = |e: &Endpoint| {
        let address = |net: &IpNet| {
            let gateway =
                e.gateways.iter().find(|g| net.contains(*g)).map(ToString::to_string).unwrap_or_default();
            structure(
                "NetAddress",
                vec![json("ipnet", net.to_string().into()), json("gateway", gateway.into())],
            )
        };
        structure(
            "NetInterface",
            vec![
                json("subnets", list(e.addresses.iter().map(address).collect())),
                json("mac_address", e.mac.as_str().into()),
            ],
        )
    };
    let entries = member.endpoint.iter().map(|e| (Rc::from(e.interface.as_str()), one(e))).collect();
    Value::Map(Rc::new(Map { element: Element::Other, entries, nil: false }))
}

/// docker's entry for a container.
fn endpoint(network: &Network, member: &Member) -> Value {
    let address = |v6: bool| {
        let found =
            member.endpoint.iter().flat_map(|e| &e.addresses).find(|a| matches!(a, IpNet::V6(_)) == v6);
        found.map(ToString::to_string).unwrap_or_default()
    };
    let mac = member.endpoint.as_ref().map(|e| e.mac.clone()).unwrap_or_default();
    structure(
        "EndpointResource",
        vec![
            json("Name", member.name.as_str().into()),
            json("EndpointID", endpoint_id(&member.id, &network.id).into()),
            json("MacAddress", mac.into()),
            json("IPv4Address", address(false).into()),
            json("IPv6Address", address(true).into()),
            go("Interfaces", interfaces(member)),
        ],
    )
}

/// Docker's endpoints are objects with an ID; here it follows from what they connect.
pub fn endpoint_id(container: &str, network: &str) -> String {
    Digest::sha256(format!("{container}/{network}").as_bytes()).hex().to_owned()
}
