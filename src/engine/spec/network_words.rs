//! A network in words: `--network` and containers.conf's `netns`.

use super::{Attachment, NamespaceMode, csv};
use crate::engine::{Error, Result};
use std::net::IpAddr;

/// The name under which a container is on the default network; `podman` and `default` mean it, too.
const DEFAULT_NETWORK: &str = "bridge";

/// What one `--network` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkRequest {
    /// Which kind of network namespace.
    pub mode: NamespaceMode,
    /// With `Network("bridge")`: the network.
    pub attachment: Option<Attachment>,
    /// With `Network("pasta")` and `Network("slirp4netns")`: what follows the colon, split at commas.
    pub options: Vec<String>,
}

impl NetworkRequest {
    /// Reads `MODE[:OPTION,…]`, `NETWORK[:KEY=VALUE,…]` (podman-run(1), `--network`) or docker's long form
    /// `name=NETWORK,KEY=VALUE,…`. `origin` is the flag or key it comes from, for the error.
    ///
    /// # Errors
    /// A malformed option, or one that the mode does not have.
    pub fn parse(origin: &str, text: &str) -> Result<Self> {
        let (word, rest) = match text.split_once(':') {
            _ if is_long(text) => return long(origin, text),
            Some((word, rest)) => (word, Some(rest)),
            None => (text, None),
        };
        let mode = |mode| Ok(Self { mode, ..Self::default() });
        match (word, rest) {
            ("" | "default", None) => mode(NamespaceMode::Default),
            ("private", None) => mode(NamespaceMode::Private),
            ("host", None) => mode(NamespaceMode::Host),
            ("none", None) => mode(NamespaceMode::None),
            ("container", Some(name)) if !name.is_empty() => mode(NamespaceMode::Container(name.to_owned())),
            ("container", _) => Err(Error::invalid("invalid container format container:<name|id>")
                .with_hint(format!("{origin} container:NAME or container:ID"))),
            ("ns", Some(path)) if path.starts_with('/') => mode(NamespaceMode::Path(path.to_owned())),
            ("pasta" | "slirp4netns", _) => Ok(Self {
                mode: NamespaceMode::Network(word.to_owned()),
                options: rest.into_iter().flat_map(|r| r.split(',')).map(str::to_owned).collect(),
                attachment: None,
            }),
            ("pod", _) => {
                Err(Error::unsupported(format!("{origin} {text} is not supported yet: it needs pods")))
            }
            ("private" | "host" | "none" | "ns" | "", _) => Err(invalid(origin, text)),
            (name, options) => short(origin, name, options),
        }
    }

    fn attach(attachment: Attachment) -> Self {
        let mode = NamespaceMode::Network("bridge".to_owned());
        Self { mode, attachment: Some(attachment), options: Vec::new() }
    }
}

fn invalid(origin: &str, text: &str) -> Error {
    Error::invalid(format!("invalid {origin} {text:?}")).with_hint(
        "none, host, container:NAME, ns:PATH, pasta[:OPTION,…], slirp4netns[:OPTION,…] or NETWORK[:KEY=VALUE,…]",
    )
}

fn named(name: &str) -> Attachment {
    let network = if matches!(name, "default" | "podman") { DEFAULT_NETWORK } else { name };
    Attachment { network: network.to_owned(), ..Attachment::default() }
}

/// podman's `NAME:ip=…,alias=…`.
fn short(origin: &str, name: &str, options: Option<&str>) -> Result<NetworkRequest> {
    let mut out = named(name);
    for field in options.into_iter().flat_map(|o| o.split(',')) {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        if key.is_empty() || value.is_empty() {
            let what = if key.is_empty() { "an empty option" } else { "a value is missing" };
            return Err(Error::invalid(format!("invalid option {field:?} for network {name}: {what}"))
                .with_hint(format!(
                    "{origin} {name}:ip=ADDRESS,ip6=ADDRESS,mac=ADDRESS,alias=NAME,interface_name=NAME"
                )));
        }
        match key {
            "ip" | "ip6" => out.ips.push(address(key, value)?),
            "mac" => out.mac = Some(mac_address(value)?),
            "alias" => out.aliases.push(value.to_owned()),
            "interface_name" => out.interface = interface(value)?,
            _ => {
                out.options.insert(key.to_owned(), value.to_owned());
            }
        }
    }
    Ok(NetworkRequest::attach(out))
}

/// docker's form begins with a key; a network's name has no equals sign and podman's options follow a colon.
fn is_long(text: &str) -> bool {
    text.split_once('=').is_some_and(|(key, _)| !key.is_empty() && !key.contains(':'))
}

/// docker's `name=NAME,alias=…` (docker-run(1), `--network`): keys are not case-sensitive.
fn long(origin: &str, text: &str) -> Result<NetworkRequest> {
    let bad = |what: String| {
        Error::invalid(format!("invalid argument {text:?} for {origin:?}: {what}"))
            .with_hint("name=NETWORK[,alias=NAME][,ip=ADDRESS][,ip6=ADDRESS][,mac-address=ADDRESS][,driver-opt=KEY=VALUE]")
    };
    let (mut out, mut local) = (Attachment::default(), Vec::new());
    for field in &csv(origin, text)? {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        let (key, value) = (key.trim().to_lowercase(), value.trim());
        if key.is_empty() || value.is_empty() {
            return Err(bad(format!("invalid field {field}")));
        }
        match key.as_str() {
            "name" => out.network = named(value).network,
            "alias" => out.aliases.push(value.to_owned()),
            "ip" | "ip6" => out.ips.push(address(&key, value)?),
            "mac-address" => out.mac = Some(mac_address(value)?),
            "link-local-ip" => local.push(address(&key, value)?.to_string()),
            "driver-opt" => {
                let (key, value) = value
                    .split_once('=')
                    .ok_or_else(|| bad("invalid key value pair format in driver options".into()))?;
                out.set_option(key.trim(), value.trim()).map_err(&bad)?;
            }
            "gw-priority" => {
                let number: i64 = value
                    .parse()
                    .map_err(|_| bad(format!("invalid gw-priority ({value}): invalid syntax")))?;
                out.options.insert(key, number.to_string());
            }
            _ => return Err(bad(format!("invalid field key {key}"))),
        }
    }
    if !local.is_empty() {
        out.options.insert("link-local-ip".to_owned(), local.join(","));
    }
    match out.network.as_str() {
        "" => Err(bad("network name/id is not specified".to_owned())),
        "none" | "host" | "private" | "pasta" | "slirp4netns" if out == named(&out.network) => {
            NetworkRequest::parse(origin, &out.network)
        }
        "none" | "host" | "private" | "pasta" | "slirp4netns" => {
            Err(bad(format!("{} has no such options", out.network)))
        }
        name if name.contains(':') => Err(bad(format!("invalid network name {name}"))),
        _ => Ok(NetworkRequest::attach(out)),
    }
}

fn address(key: &str, text: &str) -> Result<IpAddr> {
    let wanted = text.parse().ok().filter(|ip: &IpAddr| match key {
        "ip" => ip.is_ipv4(),
        "ip6" => ip.is_ipv6(),
        _ => true,
    });
    wanted.ok_or_else(|| Error::invalid(format!("invalid {key} address {text:?}")))
}

/// What dev_valid_name() in the kernel takes.
pub(super) fn interface(name: &str) -> Result<String> {
    let valid = name.len() < 16
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    if valid && !name.is_empty() {
        return Ok(name.to_owned());
    }
    Err(Error::invalid(format!("invalid interface name {name:?}"))
        .with_hint("at most 15 bytes, no slash, colon or space"))
}

/// A MAC address for one interface, written in any way Go's `net.ParseMAC` reads, as `aa:bb:cc:dd:ee:ff`.
///
/// # Errors
/// Not six octets, or a group address.
pub fn mac_address(text: &str) -> Result<String> {
    let bad = |why: &str| {
        Error::invalid(format!("{text} is not a valid mac address{why}"))
            .with_hint("for example 02:42:ac:11:00:02")
    };
    let (separator, width) = match text.as_bytes().get(2) {
        Some(b':') => (':', 2),
        Some(b'-') => ('-', 2),
        _ => ('.', 4),
    };
    let groups: Vec<&str> = text.split(separator).collect();
    let plain = groups.iter().all(|g| g.len() == width && g.bytes().all(|b| b.is_ascii_hexdigit()));
    let digits = groups.concat().to_ascii_lowercase();
    if !plain || digits.len() != 12 {
        return Err(bad(""));
    }
    let octets: Vec<&str> = (0..6).map(|i| &digits[2 * i..2 * i + 2]).collect();
    if digits == "000000000000"
        || matches!(digits.as_bytes()[1], b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f')
    {
        return Err(bad(": an interface's own address is neither zero nor a group's"));
    }
    Ok(octets.join(":"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::engine::ErrorKind;

    fn of(text: &str) -> NetworkRequest {
        NetworkRequest::parse("--network", text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn on(text: &str) -> Attachment {
        let got = of(text);
        assert_eq!(got.mode, NamespaceMode::Network("bridge".into()), "{text}");
        got.attachment.unwrap()
    }

    #[test]
    fn modes() {
        use NamespaceMode as M;
        for (text, mode) in [
            ("", M::Default),
            ("default", M::Default),
            ("private", M::Private),
            ("none", M::None),
            ("host", M::Host),
            ("container:web", M::Container("web".into())),
            ("ns:/run/netns/x", M::Path("/run/netns/x".into())),
            ("pasta", M::Network("pasta".into())),
            ("name=host", M::Host),
        ] {
            assert_eq!(of(text), NetworkRequest { mode, ..NetworkRequest::default() }, "{text}");
        }
        let got = of("pasta:-t,8080:80,--mtu=1500");
        assert_eq!(got.options, ["-t", "8080:80", "--mtu=1500"]);
        let got = of("slirp4netns:allow_host_loopback=true,mtu=9000");
        assert_eq!(got.mode, M::Network("slirp4netns".into()));
        assert_eq!(got.options, ["allow_host_loopback=true", "mtu=9000"]);
    }

    #[test]
    fn networks_and_their_options() {
        for (text, name) in [
            ("bridge", "bridge"),
            ("podman", "bridge"),
            ("default:ip=10.1.0.1", "bridge"),
            ("app", "app"),
            ("name=default", "bridge"),
        ] {
            assert_eq!(on(text).network, name, "{text}");
        }
        let got =
            on("app:ip=10.1.0.2,ip6=fd00::2,mac=02-AA-bb-00-00-01,alias=db,alias=sql,interface_name=net1,\
                      host_interface_name=veth9,mode=x,y=a=b");
        assert_eq!(got.ips, ["10.1.0.2".parse::<IpAddr>().unwrap(), "fd00::2".parse().unwrap()]);
        assert_eq!(got.mac.as_deref(), Some("02:aa:bb:00:00:01"));
        assert_eq!((got.aliases, got.interface.as_str()), (vec!["db".into(), "sql".into()], "net1"));
        let options: Vec<_> = got.options.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(options, ["host_interface_name=veth9", "mode=x", "y=a=b"]);
    }

    #[test]
    fn dockers_long_form() {
        let got = on(
            "name=app, ALIAS=DB,ip=10.1.0.2,ip6=fd00::2,mac-address=02:aa:bb:00:00:01,driver-opt=a=b=c,\
                      driver-opt=com.docker.network.endpoint.ifname=net7,gw-priority=-3,link-local-ip=169.254.1.1,\
                      link-local-ip=fe80::1,\"driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.\
                      log_martians=1,net.ipv6.conf.IFNAME.disable_ipv6=0\"",
        );
        let sysctls = got.sysctls("eth1").unwrap();
        assert_eq!(
            sysctls,
            ["net/ipv4/conf/eth1/log_martians=1", "net/ipv6/conf/eth1/disable_ipv6=0"].map(|s| {
                let (path, value) = s.split_once('=').unwrap();
                (path.to_owned(), value.to_owned())
            })
        );
        assert_eq!(
            (got.network.as_str(), got.aliases.as_slice(), got.ips.len()),
            ("app", &["DB".to_owned()][..], 2)
        );
        assert_eq!((got.mac.as_deref(), got.interface.as_str()), (Some("02:aa:bb:00:00:01"), "net7"));
        let options: Vec<_> = got.options.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!((options[0].as_str(), options.len()), ("a=b=c", 4));
        assert_eq!(options[2..], ["gw-priority=-3", "link-local-ip=169.254.1.1,fe80::1"]);
    }

    #[test]
    fn what_is_no_network() {
        for (text, phrase) in [
            ("container:", "invalid container format container:<name|id>"),
            ("container", "invalid container format"),
            ("ns:relative", "invalid --network"),
            ("host:x", "invalid --network"),
            (":ip=10.0.0.1", "invalid --network"),
            ("app:", "an empty option"),
            ("app:ip", "a value is missing"),
            ("app:alias=", "a value is missing"),
            ("app:ip=fd00::1", "invalid ip address"),
            ("app:ip6=10.0.0.1", "invalid ip6 address"),
            ("app:mac=zz", "zz is not a valid mac address"),
            ("app:interface_name=a/b", "invalid interface name"),
            ("app:interface_name=sixteen-letters-", "invalid interface name"),
            ("foo=bar", "invalid field key foo"),
            ("name=app,ip", "invalid field ip"),
            ("alias=x", "network name/id is not specified"),
            ("name=app,driver-opt=x", "invalid key value pair format in driver options"),
            (
                "name=app,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.eth0.x=1",
                "unrecognised network interface sysctl",
            ),
            ("name=app,\"ip=10.0.0.1", "a quote is not closed"),
            ("name=app,gw-priority=x", "invalid gw-priority (x): invalid syntax"),
            ("name=app,link-local-ip=x", "invalid link-local-ip address"),
            ("name=host,alias=x", "host has no such options"),
            ("name=container:x", "invalid network name"),
        ] {
            let e = NetworkRequest::parse("--network", text).expect_err(text);
            assert_eq!(e.kind(), ErrorKind::Invalid, "{text}");
            assert!(e.to_string().contains(phrase), "{text}: {e}");
        }
        assert_eq!(NetworkRequest::parse("--network", "pod:x").unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn mac_addresses() {
        for text in ["02:42:AC:11:00:02", "02-42-ac-11-00-02", "0242.ac11.0002"] {
            assert_eq!(mac_address(text).unwrap(), "02:42:ac:11:00:02");
        }
        for text in [
            "",
            "zz",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "2:42:ac:11:0:2",
            "02:42-ac:11:00:02",
            "01:42:ac:11:00:02",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "0242ac110002",
            "02:42:ac:11:00:0ä",
        ] {
            assert!(mac_address(text).is_err(), "{text}");
        }
    }
}
