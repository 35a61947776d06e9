//! Published ports on the host: whether they are free, which is taken where any will do, and the sockets that keep them.
//!
//! A port that netavark redirects is bound by nobody, so another program, or another container, could take it and would wait for
//! connections in vain. The sockets made here keep it, and what reaches them is what no firewall rule redirects: IPv6
//! for a container that has none. [`super::proxy`] passes that on.

use crate::engine::spec::{PortMapping, Protocol};
use crate::engine::{Error, ErrorKind, Result};
use std::io::ErrorKind as Io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

/// A bound socket and where its traffic is to go.
#[derive(Debug)]
pub struct Held {
    /// Listening (TCP) or bound (UDP).
    pub socket: OwnedFd,
    /// The host's address it is bound to.
    pub address: IpAddr,
    /// Its protocol.
    pub protocol: Protocol,
    /// The container's port.
    pub container_port: u16,
}

/// Binds every port of `mappings`; a host port of 0 becomes one that is free. Ranges whose host ports are chosen are
/// taken apart.
///
/// # Errors
/// [`ErrorKind::InUse`] names the port that is taken; [`ErrorKind::Invalid`] an address that is not the host's;
/// [`ErrorKind::Unsupported`] a port that this user may not have.
pub fn hold(mappings: &[PortMapping]) -> Result<(Vec<PortMapping>, Vec<Held>)> {
    let mut settled = Vec::new();
    let mut held = Vec::new();
    for mapping in mappings {
        if mapping.host_last > mapping.host_port {
            settled.push(one_of(mapping, &mut held)?);
            continue;
        }
        if mapping.host_port > 0 {
            for n in 0..mapping.range.max(1) {
                let host_port = mapping.host_port.saturating_add(n);
                let single = PortMapping {
                    host_port,
                    container_port: mapping.container_port.saturating_add(n),
                    range: 1,
                    ..mapping.clone()
                };
                hold_one(&single, &mut held)?;
            }
            settled.push(PortMapping { range: mapping.range.max(1), ..mapping.clone() });
            continue;
        }
        for n in 0..mapping.range.max(1) {
            let container_port = mapping.container_port.saturating_add(n);
            settled.push(any(&PortMapping { container_port, range: 1, ..mapping.clone() }, &mut held)?);
        }
    }
    Ok((settled, held))
}

/// The first free port of `host_port` to `host_last`.
fn one_of(mapping: &PortMapping, held: &mut Vec<Held>) -> Result<PortMapping> {
    let mut last = None;
    for host_port in mapping.host_port..=mapping.host_last {
        let chosen = PortMapping { host_port, host_last: 0, range: 1, ..mapping.clone() };
        match hold_one(&chosen, held) {
            Ok(()) => return Ok(chosen),
            Err(e) if e.kind() == ErrorKind::InUse => last = Some(e),
            Err(e) => return Err(e),
        }
    }
    let range = format!("{}-{}", mapping.host_port, mapping.host_last);
    Err(last.map_or_else(
        || Error::new(ErrorKind::InUse, "no port"),
        |e| e.wrap(format!("all ports of {range} are taken")),
    ))
}

/// How often another free port is tried when the one of one family is taken in the other.
const ATTEMPTS: usize = 32;

/// A free port of all the addresses concerned.
fn any(mapping: &PortMapping, held: &mut Vec<Held>) -> Result<PortMapping> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let first = addresses(mapping.host_ip).next().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let port = free_port(mapping.protocol, first).map_err(|e| refused(mapping, first, &e))?;
        let chosen = PortMapping { host_port: port, ..mapping.clone() };
        match hold_one(&chosen, held) {
            Ok(()) => return Ok(chosen),
            Err(e) if e.kind() == ErrorKind::InUse => last = Some(e),
            Err(e) => return Err(e),
        }
    }
    Err(last.unwrap_or_else(|| Error::new(ErrorKind::InUse, "no free port is left on the host")))
}

fn free_port(protocol: Protocol, address: IpAddr) -> std::io::Result<u16> {
    let any = SocketAddr::new(address, 0);
    match protocol {
        Protocol::Udp => Ok(UdpSocket::bind(any)?.local_addr()?.port()),
        // SCTP has the numbers to itself; one that TCP has free is as good as any.
        Protocol::Tcp | Protocol::Sctp => Ok(TcpListener::bind(any)?.local_addr()?.port()),
    }
}

fn hold_one(mapping: &PortMapping, held: &mut Vec<Held>) -> Result<()> {
    let before = held.len();
    for address in addresses(mapping.host_ip) {
        let bound = match bind(mapping.protocol, SocketAddr::new(address, mapping.host_port)) {
            Ok(Some(socket)) => socket,
            Ok(None) => continue,
            // A host without IPv6 listens on IPv4 alone.
            Err(e) if mapping.host_ip.is_none() && address.is_ipv6() && no_such_family(&e) => continue,
            Err(e) => {
                held.truncate(before);
                return Err(refused(mapping, address, &e));
            }
        };
        held.push(Held {
            socket: bound,
            address,
            protocol: mapping.protocol,
            container_port: mapping.container_port,
        });
    }
    Ok(())
}

/// The addresses that listen for a mapping.
fn addresses(host_ip: Option<IpAddr>) -> impl Iterator<Item = IpAddr> {
    let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let count = if host_ip.is_some() { 0 } else { 2 };
    host_ip.into_iter().chain(all.into_iter().take(count))
}

fn no_such_family(e: &std::io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// `None`: SCTP, whose ports are not held (the kernel may lack it, and nothing here could pass it on).
fn bind(protocol: Protocol, address: SocketAddr) -> std::io::Result<Option<OwnedFd>> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
        Protocol::Sctp => return Ok(None),
    };
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    if address.is_ipv6() {
        // The IPv4 address has a socket of its own.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections that were closed a moment ago do not keep the port.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    if protocol == Protocol::Tcp {
        rustix::net::listen(&socket, 128)?;
    }
    Ok(Some(socket))
}

/// docker's and podman's words, which scripts look for.
fn refused(mapping: &PortMapping, address: IpAddr, e: &std::io::Error) -> Error {
    let at = format!("{}/{}", SocketAddr::new(address, mapping.host_port), mapping.protocol.as_str());
    match e.kind() {
        Io::AddrInUse => Error::new(
            ErrorKind::InUse,
            format!("cannot publish port {}: bind: address already in use ({at})", mapping.host_port),
        ),
        Io::PermissionDenied => Error::unsupported(format!(
            "cannot publish port {}: bind: permission denied ({at})",
            mapping.host_port
        ))
        .with_hint(format!(
            "an ordinary user's ports begin at /proc/sys/net/ipv4/ip_unprivileged_port_start: publish a higher one, \
             or as root: sysctl net.ipv4.ip_unprivileged_port_start={}",
            mapping.host_port
        )),
        Io::AddrNotAvailable => {
            Error::invalid(format!("cannot publish port {}: {address} is no address of this host", mapping.host_port))
        }
        _ => Error::os(format!("bind {at}"), std::io::Error::new(e.kind(), e.to_string())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mapping(host_port: u16, protocol: Protocol) -> PortMapping {
        let host_ip = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        PortMapping { host_ip, host_port, host_last: 0, container_port: 80, range: 1, protocol }
    }

    #[test]
    fn a_port_is_held_once() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let (settled, held) = hold(&[mapping(0, protocol)]).unwrap();
            assert_eq!((settled.len(), held.len()), (1, 1));
            let port = settled[0].host_port;
            assert_ne!(port, 0);
            let again = hold(&[mapping(port, protocol)]).unwrap_err();
            assert_eq!(again.kind(), ErrorKind::InUse);
            assert!(again.to_string().contains("address already in use"), "{again}");
            drop(held);
            hold(&[mapping(port, protocol)]).unwrap();
        }
    }

    #[test]
    fn both_families_and_ranges_of_chosen_ports() {
        let wanted = PortMapping { host_ip: None, range: 3, ..mapping(0, Protocol::Tcp) };
        let (settled, held) = hold(&[wanted]).unwrap();
        assert_eq!(settled.iter().map(|m| m.container_port).collect::<Vec<_>>(), [80, 81, 82]);
        assert!(held.len() >= 3);
    }

    #[test]
    fn one_of_a_range_of_host_ports() {
        let (first, _held) = hold(&[mapping(0, Protocol::Tcp)]).unwrap();
        let taken = first[0].host_port;
        let wanted = PortMapping { host_last: taken.saturating_add(20), ..mapping(taken, Protocol::Tcp) };
        let (chosen, _held) = hold(&[wanted]).unwrap();
        assert!(chosen[0].host_port > taken && chosen[0].host_last == 0);
    }

    #[test]
    fn strange_addresses_are_refused() {
        let elsewhere = PortMapping { host_ip: "203.0.113.9".parse().ok(), ..mapping(8080, Protocol::Tcp) };
        assert_eq!(hold(&[elsewhere]).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
