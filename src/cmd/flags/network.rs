//! The network and the names: host name, hosts, DNS. What needs a network of its own is refused until there is one.

use super::namespaces::mode;
use crate::engine::oci::files::add_host;
use crate::engine::spec::{ContainerSpec, NamespaceMode};
use crate::engine::{Error, Result};
use clap::Args;

/// Network and names of the container.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Network: none, host, container:NAME, ns:PATH, or a network's name (may be repeated)
    #[arg(long, visible_alias = "net", value_name = "MODE")]
    pub network: Vec<String>,
    /// Further name in the networks (may be repeated)
    #[arg(long, visible_alias = "net-alias", value_name = "NAME", value_delimiter = ',')]
    pub network_alias: Vec<String>,
    /// IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    /// IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    pub ip6: Option<String>,
    /// Link-local address (may be repeated)
    #[arg(long, value_name = "ADDRESS")]
    pub link_local_ip: Vec<String>,
    /// MAC address
    #[arg(long, value_name = "ADDRESS")]
    pub mac_address: Option<String>,
    /// Link to another container (may be repeated)
    #[arg(long, value_name = "NAME[:ALIAS]")]
    pub link: Vec<String>,
    /// Publish a port on the host (may be repeated)
    #[arg(short, long, value_name = "[IP:][HOST:]PORT[/PROTOCOL]", value_delimiter = ',')]
    pub publish: Vec<String>,
    /// Publish all exposed ports on ports of the host's choice
    #[arg(short = 'P', long)]
    pub publish_all: bool,
    /// Record a port as exposed (may be repeated)
    #[arg(long, value_name = "PORT[-PORT][/PROTOCOL]", value_delimiter = ',')]
    pub expose: Vec<String>,
    /// Host name inside
    #[arg(short = 'h', long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// NIS domain name inside
    #[arg(long, value_name = "NAME")]
    pub domainname: Option<String>,
    /// Do not make /etc/hostname
    #[arg(long)]
    pub no_hostname: bool,
    /// Line for /etc/hosts; host-gateway is the host's address (may be repeated)
    #[arg(long, value_name = "NAME:IP")]
    pub add_host: Vec<String>,
    /// Do not make /etc/hosts
    #[arg(long)]
    pub no_hosts: bool,
    /// File that /etc/hosts starts from: a path, image or none
    #[arg(long, value_name = "FILE")]
    pub hosts_file: Option<String>,
    /// Name server (may be repeated)
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub dns: Vec<String>,
    /// Search domain; . for none (may be repeated)
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',')]
    pub dns_search: Vec<String>,
    /// Option for resolv.conf (may be repeated)
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION", value_delimiter = ',')]
    pub dns_option: Vec<String>,
    /// Give the container access to the engine's API socket
    #[arg(long)]
    pub use_api_socket: bool,
}

impl NetworkArgs {
    pub(super) fn apply(&self, spec: &mut ContainerSpec) -> Result<()> {
        spec.namespaces.network = network(&self.network)?;
        self.refuse_what_needs_a_network()?;
        for text in &self.expose {
            for port in ports(text)? {
                if !spec.exposed_ports.contains(&port) {
                    spec.exposed_ports.push(port);
                }
            }
        }
        if let Some(name) = &self.hostname {
            spec.hostname = host_name(name)?;
        }
        spec.domainname = self.domainname.clone().unwrap_or_default();
        spec.no_hostname = self.no_hostname;
        for entry in &self.add_host {
            add_host(entry)?;
        }
        spec.add_hosts.clone_from(&self.add_host);
        spec.no_hosts = self.no_hosts;
        if spec.no_hosts && !spec.add_hosts.is_empty() {
            return Err(Error::invalid("--no-hosts and --add-host cannot be given together"));
        }
        if self.hosts_file.is_some() {
            return Err(super::later("--hosts-file", "another base for /etc/hosts"));
        }
        for server in self.dns.iter().filter(|s| *s != "none") {
            if server.parse::<core::net::IpAddr>().is_err() {
                return Err(Error::invalid(format!("invalid --dns {server:?}: it is not an IP address")));
            }
        }
        spec.dns.clone_from(&self.dns);
        spec.dns_search.clone_from(&self.dns_search);
        spec.dns_options.clone_from(&self.dns_option);
        Ok(())
    }

    fn refuse_what_needs_a_network(&self) -> Result<()> {
        let given = [
            ("--publish", !self.publish.is_empty()),
            ("--publish-all", self.publish_all),
            ("--network-alias", !self.network_alias.is_empty()),
            ("--ip", self.ip.is_some()),
            ("--ip6", self.ip6.is_some()),
            ("--link-local-ip", !self.link_local_ip.is_empty()),
            ("--mac-address", self.mac_address.is_some()),
            ("--link", !self.link.is_empty()),
        ];
        if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
            return Err(super::later(flag, "networks")
                .with_hint("use --network host, --network none or --network container:NAME for now"));
        }
        if self.use_api_socket {
            return Err(super::later("--use-api-socket", "the API socket"));
        }
        Ok(())
    }
}

fn network(modes: &[String]) -> Result<NamespaceMode> {
    let text = match modes {
        [] => return Ok(NamespaceMode::Default),
        [one] => one.as_str(),
        _ => return Err(super::later("several --network", "networks")),
    };
    match text.split(':').next().unwrap_or_default() {
        "none" | "host" | "container" | "ns" => mode("--network", Some(text), &["none"]),
        "" => Ok(NamespaceMode::Default),
        _ => Err(super::later(&format!("--network {text}"), "networks")
            .with_hint("use --network host, --network none or --network container:NAME for now")),
    }
}

/// `80`, `80/udp`, `8000-8002/tcp` as single ports with their protocol.
fn ports(text: &str) -> Result<Vec<String>> {
    let bad = || Error::invalid(format!("invalid --expose {text:?}")).with_hint("PORT[-PORT][/tcp|udp|sctp]");
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(bad());
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |s: &str| s.parse::<u16>().ok().filter(|p| *p > 0);
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => {
            Ok((first..=last).map(|p| format!("{p}/{protocol}")).collect())
        }
        _ => Err(bad()),
    }
}

/// sethostname(2) takes 64 bytes; what is not a name would end up in /etc/hosts.
fn host_name(name: &str) -> Result<String> {
    let valid = name.len() <= 64
        && !name.starts_with('-')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    if valid {
        return Ok(name.to_owned());
    }
    Err(Error::invalid(format!("invalid --hostname {name:?}"))
        .with_hint("letters, digits, hyphens and dots, at most 64 of them"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::engine::ErrorKind;

    #[test]
    fn networks() {
        let of = |t: &str| network(&[t.to_owned()]);
        assert_eq!(of("none").unwrap(), NamespaceMode::None);
        assert_eq!(of("host").unwrap(), NamespaceMode::Host);
        assert_eq!(of("container:x").unwrap(), NamespaceMode::Container("x".into()));
        for later in ["bridge", "default", "podman", "pasta", "slirp4netns:mtu=1", "mynet", "private"] {
            assert_eq!(of(later).unwrap_err().kind(), ErrorKind::Unsupported, "{later}");
        }
        assert_eq!(of("container:").unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn exposed_ports() {
        assert_eq!(ports("80").unwrap(), ["80/tcp"]);
        assert_eq!(ports("8000-8001/UDP").unwrap(), ["8000/udp", "8001/udp"]);
        for bad in ["", "0", "65536", "2-1", "80/icmp", "x"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn host_names() {
        assert!(host_name("db-1.example").is_ok());
        for bad in ["-x", "a b", "a\nb", "ä", &"x".repeat(65)] {
            assert!(host_name(bad).is_err(), "{bad}");
        }
    }
}
