//! Published ports in docker's words, for ps, port and inspect.

use crate::engine::spec::{PortMapping, Protocol};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One port of the host that leads to one port of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// In the container.
    pub container_port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// On the host.
    pub host_ip: IpAddr,
    /// On the host; 0: not known yet.
    pub host_port: u16,
}

impl Binding {
    /// `0.0.0.0:8080`, `[::]:8080`.
    pub fn address(&self) -> String {
        match self.host_ip {
            IpAddr::V4(ip) => format!("{ip}:{}", self.host_port),
            IpAddr::V6(ip) => format!("[{ip}]:{}", self.host_port),
        }
    }
}

/// Every single port, in order. A port on all addresses is there twice, for IPv4 and IPv6, as in docker.
pub fn bindings(ports: &[PortMapping]) -> Vec<Binding> {
    let mut found = Vec::new();
    for port in ports {
        let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let ips = port.host_ip.map_or(all.to_vec(), |ip| vec![ip]);
        for (host_ip, offset) in
            ips.into_iter().flat_map(|ip| (0..port.range).map(move |offset| (ip, offset)))
        {
            let host_port = if port.host_port == 0 { 0 } else { port.host_port.saturating_add(offset) };
            let container_port = port.container_port.saturating_add(offset);
            found.push(Binding { container_port, protocol: port.protocol, host_ip, host_port });
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The PORTS column: `0.0.0.0:8080->80/tcp, [::]:8080->80/tcp`, neighbours as ranges, then exposed ports that are not
/// published.
pub fn column(ports: &[PortMapping], exposed: &[String]) -> String {
    let all = bindings(ports);
    let mut runs: Vec<(Binding, u16)> = Vec::new();
    let mut sorted = all.clone();
    sorted.sort_by_key(|b| (b.protocol, b.host_ip, b.container_port, b.host_port));
    for binding in sorted {
        let grows = runs.last_mut().filter(|(first, length)| {
            first.protocol == binding.protocol
                && first.host_ip == binding.host_ip
                && first.container_port.checked_add(*length) == Some(binding.container_port)
                && first.host_port.checked_add(*length) == Some(binding.host_port)
        });
        match grows {
            Some((_, length)) => *length += 1,
            None => runs.push((binding, 1)),
        }
    }
    runs.sort_by_key(|(first, _)| *first);
    let mut out = String::new();
    for (first, length) in runs {
        let end = |port: u16| if length > 1 { format!("-{}", port + (length - 1)) } else { String::new() };
        let (to, protocol) = (first.container_port, first.protocol.as_str());
        // Writing to a String cannot fail.
        let _ = write!(out, "{}{}->{to}{}/{protocol}, ", first.address(), end(first.host_port), end(to));
    }
    let published =
        |port: &str| all.iter().any(|b| port == format!("{}/{}", b.container_port, b.protocol.as_str()));
    let rest: Vec<&String> = exposed.iter().filter(|port| !published(port)).collect();
    out.push_str(&crate::cmd::format::human::exposed_ports(&rest));
    out.trim_end_matches(", ").to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cmd::flags::ports::publish;

    fn shown(texts: &[&str], exposed: &[&str]) -> String {
        let ports: Vec<_> = texts.iter().flat_map(|t| publish(t).unwrap()).collect();
        column(&ports, &exposed.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_column() {
        for (texts, exposed, want) in [
            (&["8080:80"][..], &["80/tcp"][..], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
            (&["127.0.0.1:8080:80"], &["443/tcp"], "127.0.0.1:8080->80/tcp, 443/tcp"),
            (&["[::1]:53:53/udp"], &[], "[::1]:53->53/udp"),
            (&["127.0.0.1:8000-8002:80-82"], &["81/tcp", "83/tcp"], "127.0.0.1:8000-8002->80-82/tcp, 83/tcp"),
            (
                &["127.0.0.1:80:80", "127.0.0.1:81:81", "127.0.0.1:8083:82"],
                &[],
                "127.0.0.1:80-81->80-81/tcp, 127.0.0.1:8083->82/tcp",
            ),
            (&[], &["80/tcp", "81/tcp"], "80-81/tcp"),
            (&[], &[], ""),
            (&["127.0.0.1:65535:65535"], &[], "127.0.0.1:65535->65535/tcp"),
        ] {
            assert_eq!(shown(texts, exposed), want, "{texts:?}");
        }
    }

    #[test]
    fn single_ports() {
        let ports: Vec<_> =
            ["8000-8001:80-81", "127.0.0.1:5353:53/udp"].iter().flat_map(|t| publish(t).unwrap()).collect();
        let lines: Vec<_> =
            bindings(&ports).iter().map(|b| format!("{} {}", b.container_port, b.address())).collect();
        assert_eq!(
            lines,
            ["53 127.0.0.1:5353", "80 0.0.0.0:8000", "80 [::]:8000", "81 0.0.0.0:8001", "81 [::]:8001"]
        );
    }
}
