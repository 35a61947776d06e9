//! Driver options: netavark's, and docker's names for them.

use super::definitions::valid_name;
use crate::engine::{Error, Result};
use std::collections::BTreeMap;

const BRIDGE: [&str; 8] = ["mtu", "vlan", "isolate", "metric", "no_default_route", "vrf", "mode", "bclim"];
const MACVLAN: [&str; 6] = ["parent", "mode", "mtu", "metric", "no_default_route", "bclim"];
const IPVLAN: [&str; 5] = ["parent", "mode", "mtu", "metric", "no_default_route"];

/// docker's: whether containers on one bridge reach each other.
const ENABLE_ICC: &str = "com.docker.network.bridge.enable_icc";
/// docker's name for a bridge.
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

/// What options say besides what netavark reads from them.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// As given, with netavark's names beside docker's.
    pub all: BTreeMap<String, String>,
    /// The bridge's name, or the parent's.
    pub interface: String,
}

/// Checks the options of a network of that driver and translates docker's.
///
/// # Errors
/// An option that the driver does not have, that has such a value in no case, or that netavark has no means for.
pub(super) fn read(driver: &str, given: &BTreeMap<String, String>) -> Result<Options> {
    let mut out = Options::default();
    for (name, value) in given {
        out.all.insert(name.clone(), value.clone());
        match docker(driver, name, value)? {
            Docker::Same(ours) => _ = out.all.insert(ours.to_owned(), value.clone()),
            Docker::Interface => out.interface.clone_from(value),
            Docker::Nothing => {}
            Docker::Other => check(driver, name, value)?,
        }
    }
    let driver_options = out.all.iter().filter(|(name, _)| !name.contains("docker"));
    for (name, value) in driver_options {
        check(driver, name, value)?;
    }
    if out.interface.is_empty() {
        out.interface = out.all.get("parent").cloned().unwrap_or_default();
    }
    Ok(out)
}

/// Whether the network of these options keeps its containers apart.
pub(super) fn separates(options: &BTreeMap<String, String>) -> bool {
    options.get(ENABLE_ICC).and_then(|value| parse_bool(value)) == Some(false)
}

enum Docker {
    /// Another name for one of netavark's.
    Same(&'static str),
    /// The bridge's name.
    Interface,
    /// Says what is so anyway.
    Nothing,
    /// Not docker's.
    Other,
}

/// docker's options (docker-network-create(1), "Bridge driver options"). Those that change who reaches whom are refused
/// where netavark cannot do it: to ignore them would open what the user wants closed.
fn docker(driver: &str, name: &str, value: &str) -> Result<Docker> {
    let yes = parse_bool(value);
    let cannot =
        |why: &str| Err(Error::unsupported(format!("option {name}={value} is not supported: {why}")));
    Ok(match name {
        BRIDGE_NAME => Docker::Interface,
        "com.docker.network.driver.mtu" => Docker::Same("mtu"),
        "macvlan_mode" | "ipvlan_mode" => Docker::Same("mode"),
        "ipvlan_flag" if value == "bridge" => Docker::Nothing,
        ENABLE_ICC if yes.is_some() && (driver == "bridge" || yes == Some(true)) => Docker::Nothing,
        ENABLE_ICC if yes.is_some() => {
            return cannot("only a bridge can keep its containers apart")
                .map_err(|e: Error| e.with_hint("--opt mode=private does that for a macvlan"));
        }
        ENABLE_ICC => {
            return Err(
                Error::invalid(format!("invalid network option {name}={value}")).with_hint("true or false")
            );
        }
        "com.docker.network.bridge.enable_ip_masquerade" if yes == Some(true) => Docker::Nothing,
        "com.docker.network.bridge.enable_ip_masquerade" => {
            return cannot("a bridge's traffic is always masqueraded")
                .map_err(|e: Error| e.with_hint("--internal makes a network without a way out"));
        }
        "com.docker.network.bridge.host_binding_ipv4" | "com.docker.network.bridge.host_binding_ipv6"
            if matches!(value, "0.0.0.0" | "::") =>
        {
            Docker::Nothing
        }
        "com.docker.network.bridge.host_binding_ipv4" | "com.docker.network.bridge.host_binding_ipv6" => {
            return cannot("a network has no address of its own for published ports").map_err(|e: Error| {
                e.with_hint(format!("give it with each port: --publish {value}:8080:80"))
            });
        }
        "com.docker.network.bridge.gateway_mode_ipv4" | "com.docker.network.bridge.gateway_mode_ipv6"
            if value == "nat" =>
        {
            Docker::Nothing
        }
        "com.docker.network.container_iface_prefix" if value == "eth" => Docker::Nothing,
        "com.docker.network.bridge.default_bridge" | "com.docker.network.bridge.inhibit_ipv4"
            if yes == Some(false) =>
        {
            Docker::Nothing
        }
        name if name.contains("docker") || name == "ipvlan_flag" => {
            return cannot("netavark has nothing like it");
        }
        _ => Docker::Other,
    })
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn check(driver: &str, name: &str, value: &str) -> Result<()> {
    let known: &[&str] = match driver {
        "macvlan" => &MACVLAN,
        "ipvlan" => &IPVLAN,
        _ => &BRIDGE,
    };
    if !known.contains(&name) && !matches!(name, "macvlan_mode" | "ipvlan_mode" | "ipvlan_flag") {
        return Err(Error::invalid(format!("unsupported {driver} network option {name}"))
            .with_hint(format!("one of {}", known.join(", "))));
    }
    let one_of: &[&str] = match (driver, name) {
        ("macvlan", "mode") => &["bridge", "private", "vepa", "passthru"],
        ("ipvlan", "mode") => &["l2", "l3", "l3s"],
        (_, "mode") => &["managed", "unmanaged"],
        (_, "isolate") => &["true", "false", "strict"],
        _ => &[],
    };
    let (valid, hint) = match name {
        _ if !one_of.is_empty() => (
            one_of.contains(&value) || name == "isolate" && parse_bool(value).is_some(),
            format!("one of {}", one_of.join(", ")),
        ),
        "mtu" => (
            value.parse::<u32>().is_ok_and(|n| n == 0 || (68..=65535).contains(&n)),
            "68 to 65535; 0: the kernel's choice".to_owned(),
        ),
        "vlan" => (value.parse::<u16>().is_ok_and(|n| n <= 4094), "0 to 4094".to_owned()),
        "metric" => (value.parse::<u32>().is_ok(), "a number".to_owned()),
        "bclim" => (value.parse::<i32>().is_ok(), "a number".to_owned()),
        "no_default_route" => (parse_bool(value).is_some(), "true or false".to_owned()),
        "vrf" | "parent" => (interface_name(value), "an interface's name".to_owned()),
        _ => (true, String::new()),
    };
    if valid {
        return Ok(());
    }
    Err(Error::invalid(format!("invalid network option {name}={value}")).with_hint(hint))
}

/// What the kernel takes for an interface's name, and netavark does not take for something else.
pub(super) fn interface_name(name: &str) -> bool {
    // A VLAN's interface is called `eth0.10`.
    name.len() < 16 && (valid_name(name) || name.starts_with('_'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::ErrorKind;

    fn of(driver: &str, given: &[&str]) -> Result<Options> {
        let pairs = given.iter().map(|g| g.split_once('=').unwrap());
        read(driver, &pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    #[test]
    fn options_of_the_drivers() {
        for (driver, given) in [
            (
                "bridge",
                &["mtu=1400", "vlan=7", "isolate=strict", "isolate=1", "metric=10", "no_default_route=1"][..],
            ),
            ("bridge", &["vrf=blue", "mode=unmanaged", "bclim=-1"]),
            ("macvlan", &["parent=eth0.10", "mode=vepa", "mtu=9000"]),
            ("ipvlan", &["parent=eth0", "mode=l3s"]),
        ] {
            of(driver, given).unwrap();
        }
        for (driver, given) in [
            ("bridge", "mtu=x"),
            ("bridge", "mtu=-1"),
            ("bridge", "vlan=4095"),
            ("bridge", "isolate=maybe"),
            ("bridge", "mode=l2"),
            ("bridge", "parent=eth0"),
            ("bridge", "nope=1"),
            ("macvlan", "isolate=true"),
            ("macvlan", "mode=l2"),
            ("macvlan", "parent=a/b"),
            ("ipvlan", "mode=bridge"),
            ("bridge", "com.docker.network.driver.mtu=x"),
            ("macvlan", "macvlan_mode=nope"),
        ] {
            let e = of(driver, &[given]).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid, "{driver} {given}: {e}");
            assert!(e.hint().is_some());
        }
    }

    #[test]
    fn dockers_names() {
        let got = of("bridge", &["com.docker.network.bridge.name=br7", "com.docker.network.driver.mtu=1400"])
            .unwrap();
        assert_eq!((got.interface.as_str(), got.all["mtu"].as_str()), ("br7", "1400"));
        assert_eq!(got.all["com.docker.network.driver.mtu"], "1400");
        assert_eq!(of("macvlan", &["macvlan_mode=private", "parent=eth0"]).unwrap().all["mode"], "private");
        assert_eq!(of("macvlan", &["parent=eth0"]).unwrap().interface, "eth0");
        of("bridge", &["com.docker.network.bridge.enable_icc=true"]).unwrap();
        assert!(separates(&of("bridge", &["com.docker.network.bridge.enable_icc=0"]).unwrap().all));
        assert!(!separates(&of("bridge", &["com.docker.network.bridge.enable_icc=true"]).unwrap().all));
        let wrong = of("bridge", &["com.docker.network.bridge.enable_icc=maybe"]).unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Invalid);
        let wrong = of("macvlan", &["com.docker.network.bridge.enable_icc=false"]).unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Unsupported);
        for given in [
            "com.docker.network.bridge.enable_ip_masquerade=false",
            "com.docker.network.bridge.host_binding_ipv4=127.0.0.1",
            "com.docker.network.bridge.gateway_mode_ipv4=isolated",
            "com.docker.network.bridge.trusted_host_interfaces=eth0",
        ] {
            assert_eq!(of("bridge", &[given]).unwrap_err().kind(), ErrorKind::Unsupported, "{given}");
        }
    }
}
