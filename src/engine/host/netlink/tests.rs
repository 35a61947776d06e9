//! Interfaces of namespaces made for the purpose.

use super::*;
use crate::engine::host::netns;
use std::process::Command;

#[test]
fn an_answer_belongs_to_its_request() {
    let mut bytes = vec![0; 36];
    bytes[4..6].copy_from_slice(&2_u16.to_ne_bytes());
    bytes[8..12].copy_from_slice(&7_u32.to_ne_bytes());
    bytes[16..20].copy_from_slice(&(-17_i32).to_ne_bytes());
    assert_eq!(answer(&bytes, 7), Some(17));
    assert_eq!(answer(&bytes, 8), None);
    assert_eq!(answer(&bytes[..10], 7), None);
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

/// Namespaces are for root; what ip(8) and bridge(8) say of ours is the judge.
#[test]
fn the_other_end_of_a_pair_is_isolated() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [host, container] = ["host", "container"].map(|name| dir.path().join(name));
    for path in [&host, &container] {
        netns::create(path).unwrap();
    }
    let shown = netns::within(&host, || {
        for line in [
            "link add br0 type bridge",
            "link add v0 type veth peer name e0",
            "link set v0 master br0",
            &format!("link set e0 netns {}", container.display()),
        ] {
            ip(line);
        }
        let peer = netns::within(&container, || {
            let mut netlink = Netlink::open()?;
            assert_eq!(netlink.peer(index("lo").unwrap())?, None);
            netlink.peer(index("e0").unwrap())
        })?;
        assert_eq!(peer, index("v0"));
        Netlink::open()?.isolate_port(peer.unwrap())?;
        assert!(Netlink::open()?.isolate_port(index("lo").unwrap()).is_err());
        Ok(ip("-d link show v0"))
    });
    for path in [&host, &container] {
        netns::remove(path).unwrap();
    }
    let shown = shown.unwrap();
    assert!(shown.contains("isolated on"), "{shown}");
}

#[test]
fn a_bridge_keeps_its_address() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns");
    netns::create(&path).unwrap();
    let seen = netns::within(&path, || {
        ip("link add br0 type bridge");
        ip("link add v0 address 02:00:00:00:00:09 master br0 type veth peer name e0");
        let before = ip("-br link show br0");
        assert!(before.contains("02:00:00:00:00:09"), "{before}");
        Netlink::open()?.keep_mac(index("br0").unwrap())?;
        // A lower one comes, and the one it was taken from goes.
        ip("link add v1 address 02:00:00:00:00:01 master br0 type veth peer name e1");
        ip("link del v0");
        Ok((before, ip("-br link show br0")))
    });
    netns::remove(&path).unwrap();
    let (before, after) = seen.unwrap();
    assert_eq!(before, after);
}

/// Namespaces are for root; what ip(8) says of ours is the judge.
#[test]
fn what_was_asked_for_is_what_ip_shows() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns");
    netns::create(&path).unwrap();
    let done = netns::within(&path, || {
        let lo = index("lo").unwrap();
        assert!(index("nonesuch").is_none());
        let mut netlink = Netlink::open()?;
        netlink.up(lo, Some(4000))?;
        for address in ["10.1.2.3/32", "fd00::3/128", "10.1.2.3/32"] {
            netlink.add_address(lo, address.parse().unwrap())?;
        }
        for (destination, table) in [("0.0.0.0/0", 1000), ("::/0", 1000), ("10.9.0.0/16", TABLE_MAIN)] {
            let destination = destination.parse().unwrap();
            netlink.add_route(&Route { destination, interface: lo, table, source: None })?;
        }
        let rule = Rule {
            v6: false,
            priority: 100,
            table: 1000,
            source: Some("10.1.2.3".parse().unwrap()),
            source_ports: Some((6, 80, 90)),
            ignore_default: false,
        };
        let v6 = Rule { v6: true, source: Some("fd00::3".parse().unwrap()), ..rule };
        let main = Rule {
            table: TABLE_MAIN,
            priority: 90,
            source: None,
            source_ports: None,
            ignore_default: true,
            ..rule
        };
        for rule in [rule, v6, main, rule] {
            netlink.add_rule(&rule)?;
        }
        Ok((lo, netlink))
    });
    let (lo, _) = done.unwrap();
    let shown = netns::within(&path, || {
        let shown = [ip("-o addr show lo"), ip("route show table 1000"), ip("rule show"), ip("-6 rule show")];
        let mut netlink = Netlink::open()?;
        netlink.remove_address(lo, "10.1.2.3/32".parse().unwrap())?;
        netlink.remove_address(lo, "10.1.2.3/32".parse().unwrap())?;
        for v6 in [false, true, false] {
            netlink.remove_rules(v6, 1000)?;
        }
        Ok((shown, ip("-o addr show lo"), ip("rule show"), ip("-6 rule show")))
    });
    netns::remove(&path).unwrap();
    let ([addresses, routes, rules, rules6], after, rules_after, rules6_after) = shown.unwrap();
    assert!(addresses.contains("inet 10.1.2.3/32") && addresses.contains("inet6 fd00::3/128"), "{addresses}");
    assert!(routes.contains("default dev lo"), "{routes}");
    assert!(rules.contains("100:\tfrom 10.1.2.3 ipproto tcp sport 80-90 lookup 1000"), "{rules}");
    assert!(rules.contains("90:\tfrom all lookup main suppress_prefixlength 0"), "{rules}");
    assert_eq!(rules.matches("lookup 1000").count(), 1);
    assert!(rules6.contains("100:\tfrom fd00::3 ipproto tcp sport 80-90 lookup 1000"), "{rules6}");
    assert!(!after.contains("10.1.2.3") && !rules_after.contains("1000") && !rules6_after.contains("1000"));
}
