//! The texts of /etc/hosts, /etc/resolv.conf, /etc/hostname and /run/.containerenv. Pure; the caller reads the
//! host's files and writes the results into the container's run directory.

use crate::engine::spec::{ContainerSpec, NamespaceMode, User};
use crate::engine::{Error, Result};
use std::fmt::Write as _;

/// What the networks contribute to the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// The container's own addresses; empty: loopback only.
    pub own: Vec<String>,
    /// The host as the container reaches it: `host-gateway`, `host.containers.internal`; empty: unknown.
    pub gateway: String,
    /// Name servers that know the other containers' names, and ask `--dns` about others.
    pub name_servers: Vec<String>,
    /// Name servers through which the host's own are reached; they stand in for the host's file.
    pub forwarders: Vec<String>,
    /// Search domains of the networks.
    pub search: Vec<String>,
    /// The container shares the host's network: its loopback name servers work.
    pub host_network: bool,
}

/// The host name inside: the user's, the host's where the UTS namespace is shared, else the short ID. Empty for a
/// namespace joined from elsewhere, whose name stays.
pub fn hostname(spec: &ContainerSpec, host: &str, id: &str) -> String {
    match &spec.namespaces.uts {
        NamespaceMode::Container(_) | NamespaceMode::Path(_) => String::new(),
        _ if !spec.hostname.is_empty() => spec.hostname.clone(),
        NamespaceMode::Host => host.to_owned(),
        _ => id.chars().take(12).collect(),
    }
}

/// A container's name as a host name: without what may not stand in one (RFC 1123), at most 63 bytes.
pub fn hostname_of(name: &str) -> String {
    let valid: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).take(63).collect();
    valid.trim_matches(['-', '.']).to_owned()
}

/// /etc/hosts: localhost, the user's `--add-host`, the container itself, the host, then what the host's own file says
/// about other names.
///
/// # Errors
/// An `--add-host` that is not `NAME[;NAME]:IP`, or `host-gateway` where there is none.
pub fn hosts(spec: &ContainerSpec, host_file: &str, hostname: &str, addresses: &Addresses) -> Result<String> {
    let mut out = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let mut known = vec!["localhost".to_owned(), "ip6-localhost".to_owned(), "ip6-loopback".to_owned()];
    for entry in &spec.add_hosts {
        let (names, ip) = add_host(entry)?;
        let ip = match ip {
            "host-gateway" if addresses.gateway.is_empty() => {
                return Err(Error::unsupported(format!(
                    "--add-host {entry}: a container without a network has no host-gateway"
                )));
            }
            "host-gateway" => &addresses.gateway,
            ip => ip,
        };
        line(&mut out, ip, &names.split(';').collect::<Vec<_>>());
        known.extend(names.split(';').map(str::to_owned));
    }
    let mut own: Vec<&str> = vec![];
    // As docker: the whole name comes first.
    let whole = format!("{hostname}.{}", spec.domainname);
    let whole = if hostname.is_empty() || spec.domainname.is_empty() { "" } else { &whole };
    for name in [whole, hostname, spec.name.as_str()] {
        if !name.is_empty() && !own.contains(&name) && !known.iter().any(|k| k == name) {
            own.push(name);
        }
    }
    if !own.is_empty() && !addresses.host_network {
        let loopback = ["127.0.0.1".to_owned()];
        let ips = if addresses.own.is_empty() { &loopback[..] } else { &addresses.own[..] };
        for ip in ips {
            line(&mut out, ip, &own);
        }
        known.extend(own.iter().map(|n| (*n).to_owned()));
    }
    if !addresses.gateway.is_empty() {
        let names = ["host.containers.internal", "host.docker.internal"];
        let names: Vec<&str> = names.into_iter().filter(|n| !known.iter().any(|k| k == n)).collect();
        line(&mut out, &addresses.gateway, &names);
        known.extend(names.into_iter().map(str::to_owned));
    }
    for row in host_file.lines() {
        let mut words = row.split('#').next().unwrap_or_default().split_whitespace();
        let Some(ip) = words.next() else { continue };
        let names: Vec<&str> = words.filter(|w| !known.iter().any(|k| k == w)).collect();
        line(&mut out, ip, &names);
    }
    Ok(out)
}

fn line(out: &mut String, ip: &str, names: &[&str]) {
    if !names.is_empty() {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{ip}\t{}", names.join(" "));
    }
}

/// `NAME[;NAME…]:IP` into both; docker's `NAME=IP` is understood, IPv6 may stand in brackets.
///
/// # Errors
/// A part is missing or the address is none.
pub fn add_host(entry: &str) -> Result<(&str, &str)> {
    let bad = || {
        Error::invalid(format!("invalid --add-host {entry:?}"))
            .with_hint("NAME:IP, for example db:192.0.2.7 or host.internal:host-gateway")
    };
    let (names, ip) = match entry.split_once('=') {
        Some((names, ip)) if !names.contains(':') => (names, ip),
        _ => entry.split_once(':').ok_or_else(bad)?,
    };
    let ip = ip.strip_prefix('[').and_then(|i| i.strip_suffix(']')).unwrap_or(ip);
    let valid = ip == "host-gateway" || ip.parse::<core::net::IpAddr>().is_ok();
    let empty = names.split(';').any(|n| n.is_empty() || n.contains(char::is_whitespace));
    if !valid || empty { Err(bad()) } else { Ok((names, ip)) }
}

/// /etc/resolv.conf: the user's `--dns…`, else the networks' servers, else the host's that a container can reach.
pub fn resolv_conf(spec: &ContainerSpec, host_file: &str, addresses: &Addresses) -> String {
    let words = |keyword: &str| -> Vec<Vec<String>> {
        let rows = host_file.lines().map(|l| l.split(['#', ';']).next().unwrap_or_default());
        let rows = rows.map(|l| l.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        rows.filter(|w| w.first().is_some_and(|k| k == keyword)).map(|w| w[1..].to_vec()).collect()
    };
    let mut servers: Vec<String> = if !addresses.name_servers.is_empty() {
        addresses.name_servers.clone()
    } else if !spec.dns.is_empty() {
        spec.dns.clone()
    } else if !addresses.forwarders.is_empty() {
        addresses.forwarders.clone()
    } else {
        let listed = words("nameserver").into_iter().filter_map(|w| w.into_iter().next());
        let reached = |s: &String| addresses.host_network || !(s.starts_with("127.") || s == "::1");
        listed.filter(reached).collect()
    };
    servers.dedup();
    let mut search = spec.dns_search.clone();
    if search.is_empty() {
        search.clone_from(&addresses.search);
        search.extend(words("search").pop().or_else(|| words("domain").pop()).unwrap_or_default());
    }
    search.retain(|s| s != ".");
    let mut options = spec.dns_options.clone();
    if options.is_empty() {
        options = words("options").into_iter().flatten().collect();
    }
    let mut out = String::new();
    for (keyword, values) in [("search", &search), ("options", &options)] {
        if !values.is_empty() {
            let _ = writeln!(out, "{keyword} {}", values.join(" "));
        }
    }
    for server in servers {
        let _ = writeln!(out, "nameserver {server}");
    }
    out
}

/// /run/.containerenv: details for privileged containers only, as podman's.
pub fn containerenv(spec: &ContainerSpec, id: &str, rootless: bool) -> String {
    if !spec.security.privileged {
        return String::new();
    }
    format!(
        "engine=\"coracle-{}\"\nname=\"{}\"\nid=\"{id}\"\nimage=\"{}\"\nimageid=\"{}\"\nrootless={}\n",
        env!("CARGO_PKG_VERSION"),
        spec.name,
        spec.image.name,
        spec.image.id,
        u8::from(rootless),
    )
}

/// The /etc/passwd line for a user that the image does not know; `None`: none is needed. `$USERNAME`, `$UID`,
/// `$GID`, `$NAME` and `$HOME` in `--passwd-entry` are replaced.
pub fn passwd_entry(spec: &ContainerSpec, user: &User, workdir: &str) -> Option<String> {
    if spec.passwd.disabled {
        return None;
    }
    let name = user.uid.to_string();
    let home = if user.home.is_empty() { workdir } else { &user.home };
    if !spec.passwd.passwd_entry.is_empty() {
        let entry = spec.passwd.passwd_entry.replace("$USERNAME", &name).replace("$UID", &name);
        let entry = entry.replace("$GID", &user.gid.to_string()).replace("$NAME", "container user");
        return Some(entry.replace("$HOME", home) + "\n");
    }
    if !user.name.is_empty() || user.uid == 0 {
        return None;
    }
    let home = if home.contains([':', '\n']) || home.is_empty() { "/" } else { home };
    Some(format!("{name}:*:{name}:{}:container user:{home}:/bin/sh\n", user.gid))
}

/// The /etc/group line of `--group-entry`; `None`: none was asked for.
pub fn group_entry(spec: &ContainerSpec, user: &User) -> Option<String> {
    let entry = &spec.passwd.group_entry;
    if spec.passwd.disabled || entry.is_empty() {
        return None;
    }
    let gid = user.gid.to_string();
    Some(entry.replace("$GROUPNAME", &gid).replace("$GID", &gid).replace("$USERLIST", &user.name) + "\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_a_container_without_a_network() {
        let spec = ContainerSpec {
            name: "web".into(),
            add_hosts: vec!["db:192.0.2.7".into(), "six;v6=[2001:db8::1]".into()],
            ..ContainerSpec::default()
        };
        let host =
            "127.0.0.1 localhost\n# c\n192.0.2.9 nas db # x\n::1 localhost ip6-loopback\n127.0.1.1 vm\n";
        let got = hosts(&spec, host, "abc", &Addresses::default()).unwrap();
        let want = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n192.0.2.7\tdb\n\
            2001:db8::1\tsix v6\n127.0.0.1\tabc web\n192.0.2.9\tnas\n127.0.1.1\tvm\n";
        assert_eq!(got, want);
    }

    #[test]
    fn hosts_with_addresses_and_a_gateway() {
        let spec = ContainerSpec { add_hosts: vec!["gw:host-gateway".into()], ..ContainerSpec::default() };
        assert!(hosts(&spec, "", "h", &Addresses::default()).is_err());
        let net =
            Addresses { own: vec!["10.1.1.5".into()], gateway: "10.1.1.1".into(), ..Addresses::default() };
        let got = hosts(&spec, "", "h", &net).unwrap();
        assert!(
            got.contains(
                "10.1.1.1\tgw\n10.1.1.5\th\n10.1.1.1\thost.containers.internal host.docker.internal\n"
            ),
            "{got}"
        );
    }

    #[test]
    fn add_host_is_checked() {
        for good in ["a:1.2.3.4", "a:::1", "a=::1", "a;b:1.2.3.4", "a:host-gateway", "a:[::1]"] {
            assert!(add_host(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "a:", ":1.2.3.4", "a:nope", "a;;b:1.2.3.4", "a b:1.2.3.4"] {
            assert!(add_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn resolv_conf_drops_what_a_container_cannot_reach() {
        let host =
            "search corp.example\nnameserver 127.0.0.53\nnameserver 192.0.2.1 # x\noptions edns0 trust-ad\n";
        let mut spec = ContainerSpec::default();
        let net = Addresses::default();
        assert_eq!(
            resolv_conf(&spec, host, &net),
            "search corp.example\noptions edns0 trust-ad\nnameserver 192.0.2.1\n"
        );
        let shared = Addresses { host_network: true, ..Addresses::default() };
        assert!(resolv_conf(&spec, host, &shared).contains("127.0.0.53"));
        spec.dns = vec!["127.0.0.1".into()];
        spec.dns_search = vec![".".into()];
        spec.dns_options = vec!["ndots:1".into()];
        assert_eq!(resolv_conf(&spec, host, &net), "options ndots:1\nnameserver 127.0.0.1\n");
    }

    #[test]
    fn host_names() {
        let id = "0123456789abcdef";
        let mut spec = ContainerSpec::default();
        assert_eq!(hostname(&spec, "vm", id), "0123456789ab");
        spec.namespaces.uts = NamespaceMode::Host;
        assert_eq!(hostname(&spec, "vm", id), "vm");
        spec.namespaces.uts = NamespaceMode::Container("x".into());
        assert_eq!(hostname(&spec, "vm", id), "");
        spec = ContainerSpec { hostname: "mine".into(), ..ContainerSpec::default() };
        assert_eq!(hostname(&spec, "vm", id), "mine");
    }

    #[test]
    fn passwd_lines_for_unknown_users() {
        let mut spec = ContainerSpec::default();
        let unknown = User { uid: 1234, gid: 5, ..User::default() };
        assert_eq!(
            passwd_entry(&spec, &unknown, "/w").as_deref(),
            Some("1234:*:1234:5:container user:/w:/bin/sh\n")
        );
        assert_eq!(passwd_entry(&spec, &User { name: "www".into(), ..unknown.clone() }, "/"), None);
        spec.passwd.passwd_entry = "$USERNAME:x:$UID:$GID:$NAME:$HOME:/bin/x".into();
        assert_eq!(
            passwd_entry(&spec, &unknown, "/w").as_deref(),
            Some("1234:x:1234:5:container user:/w:/bin/x\n")
        );
        spec.passwd.disabled = true;
        assert_eq!(passwd_entry(&spec, &unknown, "/"), None);
    }
}
