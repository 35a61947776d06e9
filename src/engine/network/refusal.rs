//! Why pasta or slirp4netns could not do what was asked.

use crate::engine::spec::{PortMapping, Protocol};
use crate::engine::{Error, ErrorKind};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

/// The failure in the user's terms, found out by trying what the program tried: its own words depend on its version.
pub(super) fn explain(error: Error, ports: &[PortMapping]) -> Error {
    if error.kind() != ErrorKind::Runtime {
        return error;
    }
    if let Some(refused) = ports.iter().find_map(refusal) {
        return refused;
    }
    if super::pasta::lacks_a_way_out(&error) {
        return error.with_hint(
            "this host has no network; install slirp4netns or a newer passt, or use --network none",
        );
    }
    let tun = Path::new("/dev/net/tun");
    match File::options().read(true).write(true).open(tun) {
        Ok(_) => error,
        Err(e) => Error::io("open", tun, e)
            .with_kind(ErrorKind::Unsupported)
            .with_hint("it needs tun devices: as root, modprobe tun; chmod 666 /dev/net/tun")
            .wrap("user-mode networking is not possible here"),
    }
}

/// Why a port cannot be listened on, if it cannot.
fn refusal(mapping: &PortMapping) -> Option<Error> {
    let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
    let addresses = mapping.host_ip.map_or(any.to_vec(), |ip| vec![ip]);
    let ports = mapping.host_port..=mapping.host_port.saturating_add(mapping.range.max(1) - 1);
    ports.flat_map(|port| addresses.iter().map(move |ip| SocketAddr::new(*ip, port))).find_map(|address| {
        let tried = match mapping.protocol {
            Protocol::Udp => UdpSocket::bind(address).map(drop),
            _ => TcpListener::bind(address).map(drop),
        };
        let e = tried.err()?;
        let port = format!("{address}/{}", mapping.protocol.as_str());
        match e.raw_os_error() {
            Some(libc::EADDRINUSE) => Some(
                Error::new(ErrorKind::InUse, format!("cannot listen on {port}: address already in use"))
                    .with_hint(format!("see who does: ss -lnp 'sport = {}'", address.port())),
            ),
            Some(libc::EACCES) => Some(
                Error::new(ErrorKind::Unsupported, format!("cannot listen on {port}: permission denied"))
                    .with_hint(format!(
                        "publish a port from 1024 on, or as root: sysctl net.ipv4.ip_unprivileged_port_start={}",
                        address.port()
                    )),
            ),
            Some(libc::EADDRNOTAVAIL) => {
                Some(Error::invalid(format!("cannot listen on {port}: this host has no such address")))
            }
            _ => None,
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mapping = PortMapping {
            host_ip: Some("127.0.0.1".parse().unwrap()),
            host_port: taken.local_addr().unwrap().port(),
            container_port: 80,
            range: 1,
            ..PortMapping::default()
        };
        let error = explain(Error::new(ErrorKind::Runtime, "pasta failed"), std::slice::from_ref(&mapping));
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert_eq!(
            error.to_string(),
            format!("cannot listen on 127.0.0.1:{}/tcp: address already in use", mapping.host_port)
        );
        drop(taken);
        assert!(refusal(&mapping).is_none());
    }
}
