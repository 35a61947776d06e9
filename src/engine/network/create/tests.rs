//! What becomes of a request on hosts of all kinds.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::engine::config::Config;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn on(subnet: &str) -> NewSubnet {
    NewSubnet { subnet: net(subnet), gateway: None, range: None }
}

fn new(subnets: &[NewSubnet]) -> NewNetwork {
    NewNetwork {
        name: "app".into(),
        subnets: subnets.to_vec(),
        ipv4: true,
        dns: true,
        ..NewNetwork::default()
    }
}

/// On a host with two bridges and a network card.
fn made_with(config: &Config, new: &NewNetwork) -> Result<Network> {
    let around =
        Surroundings::with(&[net("10.128.0.0/24"), net("192.0.2.0/24")], &["coracle1", "eth0", "docker0"]);
    let networks = Networks::open(config);
    let driver = driver(&networks, &new.driver)?;
    let options = options::read(driver, &new.options)?;
    Plan { networks: &networks, new, driver, options: options.all, around: &around }
        .network(options.interface)
}

fn made(new: &NewNetwork) -> Result<Network> {
    made_with(&Config::default(), new)
}

fn shown(network: &Network) -> Vec<String> {
    let one = |s: &Subnet| format!("{} {}", s.subnet, s.gateway.map_or("-".to_owned(), |g| g.to_string()));
    network.subnets.iter().map(one).collect()
}

#[test]
fn nothing_asked_for_is_a_bridge_with_what_is_free() {
    let got = made(&new(&[])).unwrap();
    assert_eq!(
        (got.driver.as_str(), got.network_interface.as_str(), got.id.len()),
        ("bridge", "coracle2", 64)
    );
    assert_eq!(shown(&got), ["10.128.1.0/24 10.128.1.1"]);
    assert!(got.dns_enabled && !got.ipv6_enabled && got.ipam_driver() == "host-local");
}

#[test]
fn families() {
    let dual = NewNetwork { ipv6: true, ..new(&[]) };
    let got = made(&dual).unwrap();
    assert_eq!(got.subnets.len(), 2);
    let IpNet::V6(v6) = got.subnets[1].subnet else { panic!("{got:?}") };
    assert_eq!((v6.addr().octets()[0], v6.prefix_len()), (0xfd, 64));
    assert!(got.ipv6_enabled);
    assert_ne!(made(&dual).unwrap().subnets[1], got.subnets[1]);
    let got = made(&NewNetwork { ipv6: true, ..new(&[on("fd00:7::/64")]) }).unwrap();
    assert_eq!(shown(&got), ["10.128.1.0/24 10.128.1.1", "fd00:7::/64 fd00:7::1"]);
    let got = made(&new(&[on("fd00:7::/64")])).unwrap();
    assert_eq!((shown(&got), got.ipv6_enabled), (vec!["fd00:7::/64 fd00:7::1".to_owned()], true));
    let got = made(&NewNetwork { ipv4: false, ..new(&[]) }).unwrap();
    assert!(got.subnets.len() == 1 && got.ipv6_enabled);
    assert!(made(&NewNetwork { ipv4: false, ..new(&[on("10.1.0.0/24")]) }).is_err());
}

#[test]
fn gateways_and_ranges() {
    let got = made(&new(&[NewSubnet {
        subnet: net("10.1.2.3/16"),
        gateway: Some(ip("10.1.255.254")),
        range: Some((ip("10.1.0.0"), ip("10.1.255.255"))),
    }]))
    .unwrap();
    assert_eq!(shown(&got), ["10.1.0.0/16 10.1.255.254"]);
    let range = got.subnets[0].lease_range.clone().unwrap();
    assert_eq!((range.start_ip, range.end_ip), (Some(ip("10.1.0.1")), Some(ip("10.1.255.254"))));
    for (gateway, range) in [
        (Some("10.2.0.1"), None),
        (Some("10.1.0.0"), None),
        (Some("10.1.255.255"), None),
        (Some("fd00::1"), None),
        (None, Some(("10.1.0.9", "10.1.0.8"))),
        (None, Some(("10.1.0.9", "10.2.0.8"))),
    ] {
        let subnet = NewSubnet {
            subnet: net("10.1.0.0/16"),
            gateway: gateway.map(ip),
            range: range.map(|(a, b)| (ip(a), ip(b))),
        };
        let e = made(&new(&[subnet])).unwrap_err();
        assert!(e.kind() == ErrorKind::Invalid && e.to_string().contains("not in subnet"), "{e}");
    }
}

#[test]
fn subnets_of_others_are_left_alone() {
    for taken in ["10.128.0.0/24", "10.128.0.128/25", "10.0.0.0/8", "192.0.2.64/26"] {
        let e = made(&new(&[on(taken)])).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Conflict, "{taken}");
        assert!(e.to_string().ends_with("is already used on the host or by another config"), "{e}");
    }
    assert!(made(&new(&[on("10.1.0.0/16"), on("10.1.4.0/24")])).is_err());
    assert!(made(&new(&[on("10.1.0.0/31")])).unwrap_err().to_string().contains("too small"));
    let mut config = Config::default();
    config.containers.network.default_subnet_pools = Some(vec![
        SubnetPool { base: "10.128.0.0/24".into(), size: 26 },
        SubnetPool { base: "10.9.0.0/26".into(), size: 27 },
    ]);
    assert_eq!(shown(&made_with(&config, &new(&[])).unwrap()), ["10.9.0.0/27 10.9.0.1"]);
    config.containers.network.default_subnet_pools =
        Some(vec![SubnetPool { base: "10.128.0.0/24".into(), size: 26 }]);
    let e = made_with(&config, &new(&[])).unwrap_err();
    assert!(e.to_string().contains("could not find free subnet from subnet pools"), "{e}");
    config.containers.network.default_subnet_pools =
        Some(vec![SubnetPool { base: "10.9.0.0/16".into(), size: 8 }]);
    assert!(made_with(&config, &new(&[])).unwrap_err().to_string().contains("default_subnet_pools"));
}

#[test]
fn interfaces() {
    let asked = |interface: &str| NewNetwork { interface: interface.into(), ..new(&[]) };
    assert_eq!(made(&asked("br-app")).unwrap().network_interface, "br-app");
    assert_eq!(made(&asked("docker0")).unwrap_err().to_string(), "bridge name docker0 already in use");
    assert!(made(&asked("a/b")).is_err() && made(&asked("sixteen-letters-")).is_err());
    let option = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    let unmanaged = NewNetwork { options: option("mode", "unmanaged"), ..asked("docker0") };
    assert_eq!(made(&unmanaged).unwrap().network_interface, "docker0");
    let named = NewNetwork { options: option("com.docker.network.bridge.name", "br7"), ..new(&[]) };
    assert_eq!(made(&named).unwrap().network_interface, "br7");
    assert!(made(&NewNetwork { interface: "br8".into(), ..named }).is_err());
}

#[test]
fn parents() {
    let option = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    let macvlan = NewNetwork {
        driver: "macvlan".into(),
        options: option("parent", "eth0"),
        ..new(&[on("192.0.2.0/24")])
    };
    let got = made(&macvlan).unwrap();
    assert_eq!((got.network_interface.as_str(), got.dns_enabled), ("eth0", false));
    assert_eq!(shown(&got), ["192.0.2.0/24 192.0.2.1"]);
    assert_eq!(shown(&made(&NewNetwork { internal: true, ..macvlan.clone() }).unwrap()), ["192.0.2.0/24 -"]);
    let e = made(&NewNetwork { options: option("parent", "eth7"), ..macvlan.clone() }).unwrap_err();
    assert_eq!(e.to_string(), "parent interface eth7 does not exist");
    let got = made(&NewNetwork { subnets: Vec::new(), ..macvlan.clone() }).unwrap();
    assert_eq!((got.ipam_driver(), got.subnets.len()), ("dhcp", 0));
    let ipvlan = NewNetwork { driver: "ipvlan".into(), subnets: Vec::new(), ..macvlan.clone() };
    assert_eq!(made(&ipvlan).unwrap().ipam_driver(), "none");
    assert!(made(&NewNetwork { ipam_driver: "dhcp".into(), ..ipvlan }).is_err());
    let mut rootless = Config::default();
    rootless.env.uid = 1000;
    assert_eq!(made_with(&rootless, &macvlan).unwrap_err().kind(), ErrorKind::Unsupported);
    for driver in ["overlay", "weave"] {
        let e = made(&NewNetwork { driver: driver.into(), ..new(&[]) }).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{driver}");
    }
}

#[test]
fn who_hands_out_addresses() {
    let with =
        |ipam: &str, subnets: &[NewSubnet]| made(&NewNetwork { ipam_driver: ipam.into(), ..new(subnets) });
    assert_eq!(with("host-local", &[]).unwrap().subnets.len(), 1);
    let got = with("none", &[]).unwrap();
    assert_eq!((got.subnets.len(), got.dns_enabled, got.ipam_driver()), (0, false, "none"));
    assert!(with("dhcp", &[]).unwrap_err().hint().is_some());
    for (ipam, subnets) in
        [("none", vec![on("10.1.0.0/24")]), ("dhcp", vec![on("10.1.0.0/24")]), ("calico", vec![])]
    {
        assert!(with(ipam, &subnets).is_err(), "{ipam}");
    }
    let reserved: BTreeMap<String, IpAddr> = [("router".to_owned(), ip("10.1.0.7"))].into();
    let got = made(&NewNetwork { reserved: reserved.clone(), ..new(&[on("10.1.0.0/24")]) }).unwrap();
    assert_eq!(got.reserved().collect::<Vec<_>>(), [("router", ip("10.1.0.7"))]);
    assert!(made(&NewNetwork { reserved, ..new(&[on("10.2.0.0/24")]) }).is_err());
}

#[test]
fn routes_and_name_servers() {
    let route = |to: &str, via: &str| Route { destination: net(to), gateway: ip(via), metric: Some(9) };
    let with =
        |to: &str, via: &str| made(&NewNetwork { routes: vec![route(to, via)], ..new(&[on("10.1.0.0/24")]) });
    assert_eq!(with("10.5.0.0/16", "10.1.0.9").unwrap().routes, [route("10.5.0.0/16", "10.1.0.9")]);
    assert!(with("10.5.0.0/16", "10.2.0.9").is_err());
    assert!(with("fd00::/64", "10.1.0.9").is_err());
    let servers = NewNetwork { dns_servers: vec![ip("192.0.2.53")], ..new(&[]) };
    assert_eq!(made(&servers).unwrap().network_dns_servers, [ip("192.0.2.53")]);
    assert!(made(&NewNetwork { dns: false, ..servers }).is_err());
}

#[test]
fn names() {
    for name in ["app", "App_1.x-y", "0"] {
        check_name(name).unwrap();
    }
    for name in ["host", "default", "podman", "bridge", "pasta"] {
        assert_eq!(check_name(name).unwrap_err().kind(), ErrorKind::Conflict, "{name}");
    }
    for name in ["-a", "a b", "a/b", ".", "ä", &"x".repeat(300)] {
        assert_eq!(check_name(name).unwrap_err().kind(), ErrorKind::Invalid, "{name}");
    }
}

#[test]
fn networks_made_at_once_share_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.paths.networks = dir.path().join("networks");
    let made: Vec<Network> = std::thread::scope(|scope| {
        let make = |name: Option<usize>| {
            let config = &config;
            let name = name.map(|n| format!("n{n}")).unwrap_or_default();
            scope.spawn(move || Networks::open(config).create(&NewNetwork { name, ..new(&[]) }))
        };
        let threads: Vec<_> = (0..16).map(|n| make((n % 2 == 0).then_some(n))).collect();
        threads.into_iter().map(|t| t.join().unwrap().unwrap()).collect()
    });
    let distinct = |of: &dyn Fn(&Network) -> String| {
        made.iter().map(of).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(distinct(&|n| n.name.clone()), 16);
    assert_eq!(distinct(&|n| n.id.clone()), 16);
    assert_eq!(distinct(&|n| n.network_interface.clone()), 16);
    assert_eq!(distinct(&|n| n.subnets[0].subnet.to_string()), 16);
    let e = Networks::open(&config).create(&NewNetwork { name: "n0".into(), ..new(&[]) }).unwrap_err();
    assert_eq!(
        (e.kind(), e.to_string()),
        (ErrorKind::Conflict, "network with name n0 already exists".to_owned())
    );
}
