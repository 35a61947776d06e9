//! What pasta and slirp4netns have in common: a process that gives a network namespace a way out, and its pidfile
//! (see [`pidfile`]).

use super::pidfile;
use crate::engine::config::Config;
use crate::engine::host::{netns, process};
use crate::engine::spec::PortMapping;
use crate::engine::{Error, Result};
use ipnet::IpNet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

/// How long a process may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// A process to be started: a pasta or a slirp4netns.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where the program is looked for, and containers.conf's options for it.
    pub config: &'a Config,
    /// The network namespace: a file it is mounted on.
    pub netns: &'a Path,
    /// Ports of the host that lead into the namespace; none of them 0.
    pub ports: &'a [PortMapping],
    /// The user's options (`--network pasta:…`), behind containers.conf's.
    pub options: &'a [String],
    /// Where the process is recorded.
    pub pidfile: &'a Path,
}

/// A network namespace's connection to the host's network.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UserMode {
    /// The interface in the namespace.
    pub interface: String,
    /// Its addresses, without link-local ones of IPv6.
    pub addresses: Vec<IpNet>,
    /// The gateway of each family that has a default route.
    pub gateways: Vec<IpAddr>,
    /// Name servers to write into resolv.conf: they lead to the host's own resolver, even to one on a loopback
    /// address. Empty: use the host's.
    pub name_servers: Vec<IpAddr>,
    /// Where the host can be reached; `None`: nowhere.
    pub host_address: Option<IpAddr>,
}

/// Whether the process of this pidfile runs.
pub fn running(pidfile: &Path) -> bool {
    pidfile::find(pidfile).is_some()
}

/// Ends the process of this pidfile, waits for it, and removes the pidfile. Nothing happens if there is none.
pub fn stop(pidfile: &Path) -> Result<()> {
    let recorded = pidfile::is_recorded(pidfile);
    // One that nobody recorded may be on its way to the background, and have a successor.
    for _ in 0..8 {
        let Some((pid, start)) = pidfile::find(pidfile) else { break };
        if let Some(fd) = process::PidFd::open(pid, start)? {
            fd.signal(libc::SIGTERM)?;
            if !fd.wait(Some(GRACE))? {
                fd.signal(libc::SIGKILL)?;
                fd.wait(Some(GRACE))?;
            }
        }
        if recorded {
            break;
        }
    }
    pidfile::remove(pidfile)
}

/// Ends it at once and does not wait: closing its network device takes as long as everything else at a container's end.
/// Not for one that listens on ports, which are to be free afterwards.
pub fn kill(pidfile: &Path) -> Result<()> {
    if !pidfile::is_recorded(pidfile) {
        return stop(pidfile);
    }
    if let Some((pid, start)) = pidfile::find(pidfile)
        && let Some(fd) = process::PidFd::open(pid, start)?
    {
        fd.signal(libc::SIGKILL)?;
    }
    crate::failpoint!("network.user-mode-after-kill");
    pidfile::remove(pidfile)
}

/// Says that a process is about to be started; a previous one is ended first.
pub(super) fn announce(pidfile: &Path) -> Result<()> {
    stop(pidfile)?;
    pidfile::announce(pidfile)?;
    crate::failpoint!("network.user-mode-after-announce");
    Ok(())
}

/// Interface, addresses and gateways of a network namespace that has one interface besides `lo`, or those of the
/// interface `name`.
pub(super) fn look(namespace: &Path, name: Option<&str>) -> Result<UserMode> {
    netns::within(namespace, || {
        let all = nix::ifaddrs::getifaddrs().map_err(|e| Error::os("list network interfaces", e))?;
        let mut found = UserMode { interface: name.unwrap_or_default().to_owned(), ..UserMode::default() };
        for entry in all {
            if entry.interface_name == "lo" || name.is_some_and(|n| n != entry.interface_name) {
                continue;
            }
            found.addresses.extend(address(&entry));
            found.interface = entry.interface_name;
        }
        let read =
            |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
        found.gateways.extend(gateway4(&read("route"), &found.interface).map(IpAddr::V4));
        found.gateways.extend(gateway6(&read("ipv6_route"), &found.interface).map(IpAddr::V6));
        Ok(found)
    })
}

/// An interface's global address with its prefix length.
fn address(entry: &nix::ifaddrs::InterfaceAddress) -> Option<IpNet> {
    let (address, mask) = (entry.address.as_ref()?, entry.netmask.as_ref()?);
    if let (Some(address), Some(mask)) = (address.as_sockaddr_in(), mask.as_sockaddr_in()) {
        return IpNet::with_netmask(address.ip().into(), mask.ip().into()).ok();
    }
    let (address, mask) = (address.as_sockaddr_in6()?.ip(), mask.as_sockaddr_in6()?.ip());
    (!address.is_unicast_link_local()).then(|| IpNet::with_netmask(address.into(), mask.into()).ok())?
}

/// The default gateway of an interface in `/proc/net/route`, whose numbers are in the host's byte order.
fn gateway4(table: &str, interface: &str) -> Option<Ipv4Addr> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default =
            fields.len() > 7 && fields[0] == interface && fields[1] == "00000000" && fields[7] == "00000000";
        let gateway = is_default.then(|| u32::from_str_radix(fields[2], 16).ok())??;
        (gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()))
    };
    table.lines().find_map(row)
}

/// The default gateway of an interface in `/proc/net/ipv6_route`.
fn gateway6(table: &str, interface: &str) -> Option<Ipv6Addr> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default = fields.len() > 9 && fields[9] == interface && fields[1] == "00";
        let gateway = is_default.then(|| u128::from_str_radix(fields[4], 16).ok())??;
        (gateway != 0).then(|| Ipv6Addr::from(gateway))
    };
    table.lines().find_map(row)
}

/// The address of a family from which this host speaks to the world, if it has a way there; no packet is sent.
pub(super) fn host_source_address(v6: bool) -> Option<IpAddr> {
    let (any, target): (IpAddr, IpAddr) = if v6 {
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into())
    } else {
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into())
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(target, 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn default_gateways_are_read_from_proc() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                  eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                  eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let wanted = if cfg!(target_endian = "little") { "10.0.2.2" } else { "2.2.0.10" };
        assert_eq!(gateway4(v4, "eth0"), Some(wanted.parse().unwrap()));
        assert_eq!(gateway4(v4, "eth1"), None);
        let v6 = "fd770000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n\
                  00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd770000000000000000000000000002 00000400 00000001 00000000 00000003     eth0\n";
        assert_eq!(gateway6(v6, "eth0"), Some("fd77::2".parse().unwrap()));
        assert_eq!(gateway6(v6, "lo"), None);
    }

    #[test]
    fn only_the_process_that_was_recorded_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let pidfile = dir.path().join("pid");
        stop(&pidfile).unwrap();
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        // A reused PID: another start time, or a process that has nothing to do with the pidfile.
        for text in [format!("{} 1\n", child.id()), child.id().to_string(), String::new()] {
            fs::write(&pidfile, text).unwrap();
            assert!(!running(&pidfile));
            stop(&pidfile).unwrap();
            assert!(!pidfile.exists());
        }
        assert!(child.try_wait().unwrap().is_none());
        pidfile::record(&pidfile, child.id()).unwrap();
        assert!(running(&pidfile));
        let mut other = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let others = dir.path().join("other");
        pidfile::record(&others, other.id()).unwrap();
        kill(&others).unwrap();
        assert!(!other.wait().unwrap().success() && !others.exists());
        let reaper = std::thread::spawn(move || child.wait().unwrap());
        stop(&pidfile).unwrap();
        assert!(!reaper.join().unwrap().success());
        assert!(!pidfile.exists());
    }
}
