//! The network and the names: networks, addresses, ports, host name, hosts, DNS.

use super::ports;
use super::values::boolean;
use crate::engine::oci::files::add_host;
use crate::engine::spec::{Attachment, ContainerSpec, Link, NamespaceMode, NetworkRequest, mac_address};
use crate::engine::{Error, Result};
use clap::Args;
use std::net::IpAddr;

/// Network and names of the container.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Network, with options after a colon: ip=, ip6=, mac=, alias=, interface_name= (may be repeated); or none, host,
    /// container:NAME, ns:PATH, pasta[:OPTION,…], slirp4netns[:OPTION,…]
    #[arg(long, visible_alias = "net", value_name = "NETWORK[:OPTION,…]")]
    pub network: Vec<String>,
    /// Further name in the networks (may be repeated)
    #[arg(long, visible_alias = "net-alias", value_name = "NAME", value_delimiter = ',')]
    pub network_alias: Vec<String>,
    /// IPv4 address on the first network
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    /// IPv6 address on the first network
    #[arg(long, value_name = "ADDRESS")]
    pub ip6: Option<String>,
    /// Link-local address on the first network (may be repeated)
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub link_local_ip: Vec<String>,
    /// MAC address on the first network
    #[arg(long, value_name = "ADDRESS")]
    pub mac_address: Option<String>,
    /// Know another container by its name or another one (may be repeated)
    #[arg(long, value_name = "NAME[:ALIAS]")]
    pub link: Vec<String>,
    /// Publish a port, or a range of them, on the host (may be repeated)
    #[arg(short, long, value_name = "[[IP:][HOST]:]PORT[/PROTOCOL]")]
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
    #[arg(long, value_name = "NAME[;NAME]:IP", value_delimiter = ',')]
    pub add_host: Vec<String>,
    /// Do not make /etc/hosts
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    pub no_hosts: Option<bool>,
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
        if self.use_api_socket {
            return Err(super::later("--use-api-socket", "the API socket"));
        }
        self.networks(spec)?;
        self.ports(spec)?;
        self.links(spec)?;
        self.names(spec)?;
        self.resolver(spec)?;
        self.agree(spec)
    }

    /// `--network` and what is said about the container's place there.
    fn networks(&self, spec: &mut ContainerSpec) -> Result<()> {
        let mode = &mut spec.namespaces.network;
        let attachments = &mut spec.network.attachments;
        for text in &self.network {
            let request = NetworkRequest::parse("--network", text)?;
            if self.network.len() > 1 && request.attachment.is_none() {
                return Err(Error::invalid(format!(
                    "cannot set multiple networks without bridge network mode, selected mode {text}"
                ))
                .with_hint("only networks can be combined: --network NAME --network NAME"));
            }
            *mode = request.mode;
            spec.network.options = request.options;
            let Some(attachment) = request.attachment else { continue };
            if attachments.iter().any(|a| a.network == attachment.network) {
                return Err(Error::invalid(format!(
                    "network {:?} is specified multiple times",
                    attachment.network
                ))
                .with_hint("give all options of a network with its first --network"));
            }
            attachments.push(attachment);
        }
        if let Some(flag) = self.place() {
            match mode {
                NamespaceMode::Network(kind) if kind == "bridge" => {}
                NamespaceMode::Default | NamespaceMode::Private => {
                    *mode = NamespaceMode::Network("bridge".to_owned());
                    attachments.push(Attachment { network: "bridge".to_owned(), ..Attachment::default() });
                }
                NamespaceMode::Container(_) | NamespaceMode::Host if flag == "--mac-address" => {
                    return Err(Error::invalid("conflicting options: mac-address and the network mode"));
                }
                _ => {
                    return Err(Error::invalid(format!(
                        "{flag} can only be set when the network mode is bridge"
                    ))
                    .with_hint("give a --network with a network's name"));
                }
            }
        }
        self.fill(attachments)
    }

    /// The first flag that only a container on a network can have.
    fn place(&self) -> Option<&'static str> {
        let given = [
            ("--ip", self.ip.is_some()),
            ("--ip6", self.ip6.is_some()),
            ("--mac-address", self.mac_address.is_some()),
            ("--network-alias", !self.network_alias.is_empty()),
            ("--link-local-ip", !self.link_local_ip.is_empty()),
        ];
        given.iter().find(|(_, given)| *given).map(|(flag, _)| *flag)
    }

    /// Addresses are the first network's, as in docker; aliases hold in all of them, as in podman.
    fn fill(&self, attachments: &mut [Attachment]) -> Result<()> {
        let conflict = |flag: &str, what: &str| {
            Err(Error::invalid(format!(
                "conflicting options: cannot specify both {flag} and per-network {what}"
            )))
        };
        for attachment in &mut *attachments {
            attachment.aliases.extend(self.network_alias.iter().cloned());
        }
        let Some(first) = attachments.first_mut() else { return Ok(()) };
        for (flag, text, v6) in [("--ip", &self.ip, false), ("--ip6", &self.ip6, true)] {
            let Some(text) = text else { continue };
            let ip = address(flag, text, Some(v6))?;
            if first.ips.iter().any(|i| i.is_ipv6() == v6) {
                return conflict(flag, if v6 { "IPv6 address" } else { "IPv4 address" });
            }
            first.ips.push(ip);
        }
        if let Some(text) = &self.mac_address {
            let mac = mac_address(text)?;
            if first.mac.is_some() {
                return conflict("--mac-address", "MAC address");
            }
            first.mac = Some(mac);
        }
        if !self.link_local_ip.is_empty() {
            let ips = self.link_local_ip.iter().map(|t| Ok(address("--link-local-ip", t, None)?.to_string()));
            let ips = ips.collect::<Result<Vec<_>>>()?.join(",");
            if first.options.insert("link-local-ip".to_owned(), ips).is_some() {
                return conflict("--link-local-ip", "link-local IP addresses");
            }
        }
        Ok(())
    }

    fn ports(&self, spec: &mut ContainerSpec) -> Result<()> {
        for text in &self.publish {
            for port in ports::publish(text)? {
                if port.host_port == 0 || !spec.network.ports.contains(&port) {
                    spec.network.ports.push(port);
                }
            }
        }
        ports::distinct(&spec.network.ports)?;
        spec.network.publish_all = self.publish_all;
        for text in &self.expose {
            for port in ports::expose(text)? {
                if !spec.exposed_ports.contains(&port) {
                    spec.exposed_ports.push(port);
                }
            }
        }
        Ok(())
    }

    fn links(&self, spec: &mut ContainerSpec) -> Result<()> {
        for text in &self.link {
            if text.is_empty() {
                return Err(
                    Error::invalid("empty string specified for links").with_hint("--link NAME[:ALIAS]")
                );
            }
            let (container, alias) = text.split_once(':').unwrap_or((text, text));
            let name = |t: &str| t.trim_start_matches('/').to_owned();
            let link = Link { container: name(container), alias: name(alias) };
            if link.container.is_empty() || link.alias.is_empty() || link.alias.contains(':') {
                return Err(
                    Error::invalid(format!("bad format for links: {text}")).with_hint("--link NAME[:ALIAS]")
                );
            }
            spec.network.links.push(link);
        }
        Ok(())
    }

    fn names(&self, spec: &mut ContainerSpec) -> Result<()> {
        if let Some(name) = &self.hostname {
            spec.hostname = host_name("--hostname", name)?;
        }
        if let Some(name) = &self.domainname {
            spec.domainname = host_name("--domainname", name)?;
        }
        spec.no_hostname = self.no_hostname;
        for entry in &self.add_host {
            add_host(entry)?;
        }
        spec.add_hosts.clone_from(&self.add_host);
        spec.no_hosts = self.no_hosts;
        spec.network.hosts_file = self.hosts_file.clone().unwrap_or_default();
        for (flag, given) in
            [("--add-host", !self.add_host.is_empty()), ("--hosts-file", self.hosts_file.is_some())]
        {
            if self.no_hosts == Some(true) && given {
                return Err(Error::invalid(format!("--no-hosts and {flag} cannot be set together")));
            }
        }
        match self.hosts_file.as_deref() {
            None | Some("image" | "none") => Ok(()),
            Some(path) if path.starts_with('/') => Ok(()),
            Some(path) => Err(Error::invalid(format!("invalid --hosts-file {path:?}"))
                .with_hint("an absolute path, image or none")),
        }
    }

    fn resolver(&self, spec: &mut ContainerSpec) -> Result<()> {
        for server in self.dns.iter().filter(|s| *s != "none") {
            address("--dns", server, None)?;
        }
        if self.dns.len() > 1 && self.dns.iter().any(|s| s == "none") {
            return Err(Error::invalid(
                "--dns none is not allowed to be specified with other DNS ip addresses",
            ));
        }
        for domain in self.dns_search.iter().filter(|d| d.as_str() != ".") {
            if domain.is_empty()
                || domain.len() > 255
                || domain.contains(|c: char| c.is_whitespace() || c.is_control())
            {
                return Err(Error::invalid(format!("{domain:?} is not a valid domain"))
                    .with_hint("--dns-search DOMAIN, or . for none"));
            }
        }
        if let Some(option) = self.dns_option.iter().find(|o| o.is_empty() || o.contains(char::is_whitespace))
        {
            return Err(Error::invalid(format!("invalid --dns-option {option:?}"))
                .with_hint("one word, such as ndots:1"));
        }
        spec.dns.clone_from(&self.dns);
        spec.dns_search.clone_from(&self.dns_search);
        spec.dns_options.clone_from(&self.dns_option);
        Ok(())
    }

    /// What a container whose network is another's or the host's cannot have.
    fn agree(&self, spec: &ContainerSpec) -> Result<()> {
        let conflict = |what: &str| Err(Error::invalid(format!("conflicting options: {what}")));
        let published = !spec.network.ports.is_empty() || self.publish_all;
        let dns = !self.dns.is_empty() || !self.dns_search.is_empty() || !self.dns_option.is_empty();
        match &spec.namespaces.network {
            NamespaceMode::Container(_) if published => {
                conflict("port publishing and the container type network mode")
            }
            NamespaceMode::Container(_) if !self.expose.is_empty() => {
                conflict("port exposing and the container type network mode")
            }
            NamespaceMode::Container(_) if !self.link.is_empty() => conflict(
                "container type network can't be used with links. This would result in undefined behavior",
            ),
            NamespaceMode::Container(_) if dns => conflict("dns and the network mode"),
            NamespaceMode::Container(_) if !self.add_host.is_empty() => {
                conflict("custom host-to-IP mapping and the network mode")
            }
            NamespaceMode::Host if !self.link.is_empty() => conflict(
                "host type networking can't be used with links. This would result in undefined behavior",
            ),
            _ => Ok(()),
        }
    }
}

/// An IP address; `v6` says of which family.
pub(super) fn address(flag: &str, text: &str, v6: Option<bool>) -> Result<IpAddr> {
    let ip: Option<IpAddr> = text.trim().parse().ok();
    ip.filter(|ip| v6.is_none_or(|v6| ip.is_ipv6() == v6)).ok_or_else(|| {
        let kind = v6.map_or("IP", |v6| if v6 { "IPv6" } else { "IPv4" });
        Error::invalid(format!("invalid {flag} {text:?}: it is not an {kind} address"))
    })
}

/// sethostname(2) takes 64 bytes; what is not a name would end up in /etc/hosts.
fn host_name(flag: &str, name: &str) -> Result<String> {
    let valid = name.len() <= 64
        && !name.starts_with('-')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    if valid {
        return Ok(name.to_owned());
    }
    Err(Error::invalid(format!("invalid {flag} {name:?}"))
        .with_hint("letters, digits, hyphens and dots, at most 64 of them"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        assert!(host_name("--hostname", "db-1.example").is_ok());
        for bad in ["-x", "a b", "a\nb", "ä", &"x".repeat(65)] {
            assert!(host_name("--hostname", bad).is_err(), "{bad}");
        }
    }
}
