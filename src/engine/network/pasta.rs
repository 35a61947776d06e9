//! pasta(1): one process that gives a network namespace the host's network, without privileges.
//!
//! Two generations are in use. From 2024-08 on pasta can map an address to the host (`--map-guest-addr`), and hands
//! connections from the host's loopback to the container's own address. The one of Debian 12 (2023-03) can do neither;
//! there the container gets an address of its own instead of a copy of the host's, so that the host's is reachable.

use super::pidfile;
use super::refusal::explain;
use super::session;
use super::user_mode::{self, Request, UserMode};
use crate::engine::config::Config;
use crate::engine::host::spawn::{Ended, Spawn};
use crate::engine::host::{netlink, netns, process};
use crate::engine::spec::{PortMapping, Protocol};
use crate::engine::{Error, ErrorKind, Result};
use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Where the container sends DNS queries; pasta passes them to the host's first name server of that family.
const DNS4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
const DNS6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x1, 0x1, 0, 0, 0, 0, 1);
/// The host, seen from the container (new generation).
const HOST: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 2);
/// The container's own address and gateway (old generation): slirp4netns's, which nobody takes for a real one.
pub(super) const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);
const OWN_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Whether pasta is installed.
pub fn available(config: &Config) -> bool {
    program(config).is_some()
}

/// Starts pasta; it is ready when this returns. It ends when the namespace's file is removed, or with [`user_mode::stop`].
///
/// Fails with [`ErrorKind::MissingProgram`] without pasta, with [`ErrorKind::InUse`] if something else listens on a
/// port, with [`ErrorKind::Unsupported`] for SCTP and when the kernel has no tun devices for this user.
pub fn start(request: &Request<'_>) -> Result<UserMode> {
    let program = require(request.config)?;
    let plan = Plan::new(request, knows(&program, "map-guest-addr")?, &name_servers())?;
    // An address that is still being tested for duplicates cannot be used for a second or two.
    netns::within(request.netns, || super::rootless::sysctl("ipv6/conf/default/accept_dad", "0"))?;
    run(request.config, &program, &plan.args, request.netns, request.ports, request.pidfile)?;
    let mut found = user_mode::look(request.netns, plan.interface.as_deref())?;
    introduce(request.netns, &found)?;
    let reachable = |a: &IpAddr| found.addresses.iter().any(|own| own.addr().is_ipv4() == a.is_ipv4());
    let name_servers = plan.name_servers.iter().copied().filter(reachable).collect();
    let host_address = match plan.host {
        HostAddress::Mapped(address) => Some(address).filter(reachable),
        HostAddress::Own => [false, true]
            .into_iter()
            .find_map(user_mode::host_source_address)
            .filter(|a| !found.addresses.iter().any(|own| own.addr() == *a) && reachable(a)),
    };
    found.name_servers = name_servers;
    found.host_address = host_address;
    Ok(found)
}

pub(super) fn program(config: &Config) -> Option<PathBuf> {
    let mut directories = config.helper_directories();
    directories.extend(config.env.path());
    process::find_program("pasta", &directories)
}

/// pasta sends what comes in over IPv6 to the address that it saw last, which at the start is one that the kernel spoke
/// from before it had any: so the right one is shown to it.
fn introduce(netns: &Path, found: &UserMode) -> Result<()> {
    let address = found.addresses.iter().find_map(|a| match a.addr() {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    });
    let Some(address) = address else { return Ok(()) };
    netns::within(netns, || match netlink::index(&found.interface) {
        Some(interface) => netlink::introduce(interface, address),
        None => Ok(()),
    })
}

pub(super) fn require(config: &Config) -> Result<PathBuf> {
    program(config).ok_or_else(|| {
        Error::new(ErrorKind::MissingProgram, "pasta is not installed").with_hint("install the package passt")
    })
}

/// Whether this pasta has an option: its name stands in the program as text. Asking it would cost an exec at each
/// start.
pub(super) fn knows(program: &Path, option: &str) -> Result<bool> {
    let bytes = fs::read(program).map_err(|e| Error::io("read", program, e))?;
    let wanted = option.as_bytes();
    Ok(bytes.windows(wanted.len()).any(|window| window == wanted))
}

/// Those of containers.conf's options that say by which interface and address the world is reached.
pub(super) fn outward_options(config: &Config) -> Vec<String> {
    let names = ["-i", "--interface", "-o", "--outbound", "--outbound-if4", "--outbound-if6", "--dns-host"];
    let args = &config.containers.network.pasta_options.values;
    let found = names
        .iter()
        .flat_map(|name| values(args, std::slice::from_ref(name)).flatten().map(move |v| [name, v]));
    found.flatten().map(str::to_owned).collect()
}

/// The name servers of the host's resolv.conf, of which pasta serves the first of each family.
pub(super) fn name_servers() -> Vec<IpAddr> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.split('%').next()?.parse().ok())?
    };
    text.lines().filter_map(server).collect()
}

/// How the host is reached from the namespace.
#[derive(Debug, PartialEq)]
enum HostAddress {
    /// By an address that pasta maps.
    Mapped(IpAddr),
    /// By its own, which the namespace does not have.
    Own,
}

/// A command line and what it leads to.
#[derive(Debug)]
struct Plan {
    args: Vec<String>,
    name_servers: Vec<IpAddr>,
    host: HostAddress,
    interface: Option<String>,
}

impl Plan {
    fn new(request: &Request<'_>, recent: bool, host_servers: &[IpAddr]) -> Result<Self> {
        let configured = request.config.containers.network.pasta_options.values.iter();
        let mut args: Vec<String> = configured.chain(request.options).cloned().collect();
        // podman's own: the opposite of --no-map-gw.
        let map_gateway = args.iter().any(|a| a == "--map-gw");
        args.retain(|a| a != "--map-gw");
        let has = |names: &[&str]| values(&args, names).next().is_some();
        if has(&["-f", "--foreground", "-P", "--pid", "--netns"]) {
            return Err(Error::invalid("pasta: -f, -P and --netns are not for the user to choose"));
        }
        let chosen: Vec<IpAddr> =
            values(&args, &["--dns-forward"]).flatten().filter_map(|a| a.parse().ok()).collect();
        let mapped = values(&args, &["--map-guest-addr"]).flatten().find_map(|a| a.parse().ok());
        let interface = values(&args, &["-I", "--ns-ifname"]).flatten().next().map(str::to_owned);
        let name_servers = if chosen.is_empty() { forwarders(host_servers) } else { chosen.clone() };
        let mut more = vec!["--config-net".to_owned()];
        more.extend(port_args(request.ports)?);
        let [tcp, udp] =
            [Protocol::Tcp, Protocol::Udp].map(|p| request.ports.iter().any(|m| m.protocol == p));
        let forwarding: [(&[&str], bool); 4] = [
            (&["-t", "--tcp-ports"], tcp),
            (&["-u", "--udp-ports"], udp),
            (&["-T", "--tcp-ns"], false),
            (&["-U", "--udp-ns"], false),
        ];
        for (names, set) in forwarding {
            if !set && !has(names) {
                more.extend([names[0].to_owned(), "none".to_owned()]);
            }
        }
        if chosen.is_empty() {
            name_servers.iter().for_each(|a| more.extend(["--dns-forward".to_owned(), a.to_string()]));
        }
        if !map_gateway && !has(&["--no-map-gw"]) {
            more.push("--no-map-gw".to_owned());
        }
        if !has(&["-d", "--debug", "--trace", "-q", "--quiet"]) {
            more.push("--quiet".to_owned());
        }
        let host = match mapped {
            Some(address) => HostAddress::Mapped(address),
            None if recent => {
                more.extend(["--map-guest-addr".to_owned(), HOST.to_string()]);
                HostAddress::Mapped(HOST.into())
            }
            None => {
                if !has(&["-a", "--address", "-n", "--netmask", "-g", "--gateway", "-6", "--ipv6-only"]) {
                    let own = ["-a", &OWN.to_string(), "-n", "24", "-g", &OWN_GATEWAY.to_string()]
                        .map(str::to_owned);
                    more.extend(own);
                }
                HostAddress::Own
            }
        };
        args.extend(more);
        Ok(Self { args, name_servers, host, interface })
    }
}

/// The addresses for the families in which the host has a name server.
pub(super) fn forwarders(host_servers: &[IpAddr]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    if host_servers.iter().any(IpAddr::is_ipv4) {
        found.push(DNS4.into());
    }
    if host_servers.iter().any(IpAddr::is_ipv6) {
        found.push(DNS6.into());
    }
    found
}

/// The occurrences of an option, each with its value if it has one: `-t X`, `-tX`, `--tcp-ports X`, `--tcp-ports=X`.
fn values<'a>(args: &'a [String], names: &'a [&str]) -> impl Iterator<Item = Option<&'a str>> {
    args.iter().enumerate().filter_map(move |(n, argument)| {
        names.iter().find_map(|name| {
            let rest = argument.strip_prefix(name)?;
            if rest.is_empty() {
                return Some(args.get(n + 1).map(String::as_str));
            }
            match rest.strip_prefix('=') {
                Some(value) if name.starts_with("--") => Some(Some(value)),
                _ => (!name.starts_with("--")).then_some(Some(rest)),
            }
        })
    })
}

/// `-t` and `-u` for the ports.
pub(super) fn port_args(ports: &[PortMapping]) -> Result<Vec<String>> {
    let mut args = Vec::new();
    for port in ports {
        args.push(match port.protocol {
            Protocol::Tcp => "-t".to_owned(),
            Protocol::Udp => "-u".to_owned(),
            Protocol::Sctp => {
                return Err(Error::unsupported(format!(
                    "port {}/sctp cannot be published without root: pasta forwards TCP and UDP only",
                    port.container_port
                )));
            }
        });
        let address = port.host_ip.map(|ip| format!("{ip}/")).unwrap_or_default();
        let last = |first: u16| first.saturating_add(port.range.max(1) - 1);
        let (host, container) = (port.host_port, port.container_port);
        args.push(format!("{address}{host}-{}:{container}-{}", last(host), last(container)));
    }
    Ok(args)
}

/// Runs pasta until it has gone to the background, and records it.
pub(super) fn run(
    config: &Config,
    program: &Path,
    args: &[String],
    netns: &Path,
    ports: &[PortMapping],
    pidfile: &Path,
) -> Result<()> {
    user_mode::announce(pidfile)?;
    let started = execute(program, args, netns, pidfile).and_then(|said| {
        crate::failpoint!("network.pasta-after-start");
        let text = fs::read_to_string(pidfile).map_err(|e| Error::io("read", pidfile, e))?;
        match text.trim().parse() {
            Ok(pid) => pidfile::record(pidfile, pid).map(|()| session::leave(config, "network", pid)),
            Err(_) => Err(Error::new(ErrorKind::Runtime, "pasta did not start").with_source(said)),
        }
    });
    if started.is_err() {
        user_mode::stop(pidfile)?;
    }
    crate::failpoint!("network.pasta-after-record");
    started.map_err(|e| explain(e, ports))
}

/// Whether pasta (before 2024_10_30) would not start because the host has no default route.
pub fn lacks_a_way_out(error: &Error) -> bool {
    error.to_string().contains("routable interface")
}

/// What pasta said on its way to the background.
fn execute(program: &Path, args: &[String], netns: &Path, pidfile: &Path) -> Result<String> {
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| Error::os("make a pipe", e))?;
    let mut spawn = Spawn::new(program).args(args).arg("--netns").arg(netns).arg("-P").arg(pidfile);
    // As root pasta becomes `nobody`, who could not enter the namespace.
    if rustix::process::geteuid().is_root() {
        spawn = spawn.args(["--runas", "0:0"]);
    }
    let mut child = spawn.fd(writer.as_fd(), 1).fd(writer.as_fd(), 2).new_session().spawn()?;
    drop(writer);
    let mut said = String::new();
    let read = File::from(reader).take(1 << 16).read_to_string(&mut said);
    read.map_err(|e| Error::os("read what pasta says", e))?;
    let said = tidy(&said);
    match child.wait()? {
        Ended::Exited(0) => Ok(said),
        ended => {
            let what = if said.is_empty() { format!("it ended with {}", ended.code()) } else { said };
            Err(Error::new(ErrorKind::Runtime, "pasta failed").with_source(what))
        }
    }
}

/// Without what it says when there is no system logger, and without the help it prints after a wrong option.
fn tidy(said: &str) -> String {
    let lines = said.lines().map(str::trim).take_while(|l| !l.starts_with("Usage:"));
    let lines = lines.filter(|l| !l.is_empty() && !l.contains("to syslog"));
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn args(options: &[&str], ports: &[PortMapping], recent: bool) -> String {
        let config = Config::default();
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let at = Path::new("/x");
        let request = Request { config: &config, netns: at, ports, options: &options, pidfile: at };
        Plan::new(&request, recent, &["192.0.2.53".parse().unwrap()]).unwrap().args.join(" ")
    }

    #[test]
    fn nothing_is_forwarded_unless_asked_for() {
        let none = "-t none -u none -T none -U none --dns-forward 169.254.1.1 --no-map-gw --quiet";
        assert_eq!(args(&[], &[], true), format!("--config-net {none} --map-guest-addr 169.254.1.2"));
        assert_eq!(args(&[], &[], false), format!("--config-net {none} -a 10.0.2.100 -n 24 -g 10.0.2.2"));
        let ports = [
            PortMapping { host_port: 8080, container_port: 80, range: 1, ..PortMapping::default() },
            PortMapping {
                host_ip: Some("127.0.0.1".parse().unwrap()),
                host_port: 5000,
                container_port: 6000,
                range: 3,
                protocol: Protocol::Udp,
                ..PortMapping::default()
            },
        ];
        let line = args(&[], &ports, true);
        assert!(line.starts_with(
            "--config-net -t 8080-8080:80-80 -u 127.0.0.1/5000-5002:6000-6002 -T none -U none --dns-forward"
        ));
    }

    #[test]
    fn the_users_options_come_first_and_replace_ours() {
        let line = args(&["-t", "auto", "--udp-ns=53", "--map-gw", "--dns-forward", "192.0.2.1"], &[], true);
        assert_eq!(
            line,
            "-t auto --udp-ns=53 --dns-forward 192.0.2.1 --config-net -u none -T none --quiet --map-guest-addr 169.254.1.2"
        );
        assert!(!args(&["-a10.1.1.1"], &[], false).contains("10.0.2.100"));
        assert!(args(&["--mtu", "1500"], &[], false).starts_with("--mtu 1500 --config-net -t none"));
    }

    #[test]
    fn the_shared_namespace_takes_what_says_where_the_world_is() {
        let mut config = Config::default();
        let options = ["--mtu=1500", "-t", "auto", "-i", "eth1", "--outbound-if4=eth2"];
        config.containers.network.pasta_options.values = options.map(str::to_owned).to_vec();
        assert_eq!(outward_options(&config), ["-i", "eth1", "--outbound-if4", "eth2"]);
    }

    #[test]
    fn name_servers_are_offered_in_the_hosts_families_only() {
        let at = |texts: &[&str]| forwarders(&texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<_>>());
        assert!(at(&[]).is_empty());
        assert_eq!(at(&["127.0.0.53"]), [IpAddr::V4(DNS4)]);
        assert_eq!(at(&["fe80::1", "::1"]), [IpAddr::V6(DNS6)]);
        assert_eq!(at(&["192.0.2.1", "::1"]).len(), 2);
    }

    #[test]
    fn what_is_said_without_a_system_logger_is_left_out() {
        let said = "Failed to send 51 bytes to syslog\nNo routable interface for both IPv4 and IPv6\n\n";
        assert_eq!(tidy(said), "No routable interface for both IPv4 and IPv6");
    }
}
