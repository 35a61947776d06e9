//! slirp4netns(1): user-mode networking where pasta is missing or not wanted.
//!
//! The namespace has `tap0` with the address 10.0.2.100 (the hundredth of `cidr`), a gateway (the second) and a name
//! server (the third) that passes queries on to the host's. Ports are opened by a request on a socket; the client's
//! address is kept, but slirp4netns listens on IPv4 only. It answers `port_handler=rootlesskit`, too: podman's rootlesskit
//! forwarder would lose the client's address and is not used.

use super::pidfile::{self, SOCKET_SUFFIX};
use super::refusal::explain;
use super::rootless::sysctl;
use super::user_mode::{self, Request, UserMode};
use crate::engine::config::Config;
use crate::engine::host::netns;
use crate::engine::host::process;
use crate::engine::host::spawn::{Child, Spawn, scratch};
use crate::engine::spec::{PortMapping, Protocol};
use crate::engine::{Context, Error, ErrorKind, Result};
use ipnet::Ipv4Net;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The interface in the namespace.
const INTERFACE: &str = "tap0";
/// As podman has it: slirp4netns works better with large packets.
const MTU: u32 = 65520;
/// How long an answer to a request for a port may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts slirp4netns; it is ready when this returns. It ends with [`user_mode::stop`] only.
///
/// Fails with [`ErrorKind::MissingProgram`] without slirp4netns, with [`ErrorKind::Invalid`] for an option it does not
/// have, with [`ErrorKind::InUse`] if something else listens on a port, with [`ErrorKind::Unsupported`] for SCTP and IPv6
/// ports and when the kernel has no tun devices for this user.
pub fn start(request: &Request<'_>) -> Result<UserMode> {
    let configured = request.config.containers.engine.network_cmd_options.values.iter();
    let options = Options::parse(configured.chain(request.options).map(String::as_str))?;
    let program = require(request.config)?;
    let wanted = requests(request.ports, options.guest(100)?)?;
    user_mode::announce(request.pidfile)?;
    let started = launch(&program, request, &options).and_then(|()| open_ports(request.pidfile, &wanted));
    crate::failpoint!("network.slirp4netns-after-ports");
    let _ = fs::remove_file(socket(request.pidfile));
    if started.is_err() {
        user_mode::stop(request.pidfile)?;
    }
    started.map_err(|e| explain(e, request.ports))?;
    let mut found = user_mode::look(request.netns, Some(INTERFACE))?;
    found.name_servers = vec![options.guest(3)?.into()];
    found.host_address = if options.host_loopback {
        Some(options.guest(2)?.into())
    } else {
        [false, true].into_iter().find_map(user_mode::host_source_address)
    };
    Ok(found)
}

/// Whether slirp4netns is installed.
pub fn available(config: &Config) -> bool {
    require(config).is_ok()
}

fn require(config: &Config) -> Result<PathBuf> {
    let configured = config.containers.engine.network_cmd_path.as_deref().filter(|path| !path.is_empty());
    let mut directories = config.helper_directories();
    directories.extend(config.env.path());
    process::require_program(configured.unwrap_or("slirp4netns"), &directories, "slirp4netns")
}

/// podman-run(1), `--network slirp4netns:…`.
#[derive(Debug, PartialEq)]
struct Options {
    host_loopback: bool,
    mtu: u32,
    cidr: Ipv4Net,
    ipv6: bool,
    outbound: Option<String>,
    outbound6: Option<String>,
}

impl Options {
    fn parse<'a>(options: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut parsed = Self {
            host_loopback: false,
            mtu: MTU,
            cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 2, 0), 24),
            ipv6: true,
            outbound: None,
            outbound6: None,
        };
        for option in options {
            let unknown = || Error::invalid(format!("unknown option for slirp4netns: \"{option}\""));
            let (name, value) = option.split_once('=').ok_or_else(unknown)?;
            let bad = || Error::invalid(format!("invalid {name} \"{value}\" for slirp4netns"));
            match name {
                "allow_host_loopback" => parsed.host_loopback = flag(value).ok_or_else(bad)?,
                "enable_ipv6" => parsed.ipv6 = flag(value).ok_or_else(bad)?,
                "mtu" => {
                    parsed.mtu =
                        value.parse().ok().filter(|mtu| (68..=65521).contains(mtu)).ok_or_else(bad)?
                }
                // Its range is slirp4netns's own.
                "cidr" => {
                    parsed.cidr =
                        value.parse().ok().filter(|net: &Ipv4Net| net.prefix_len() <= 25).ok_or_else(bad)?;
                }
                "outbound_addr" => parsed.outbound = Some(outbound::<Ipv4Addr>(value).ok_or_else(bad)?),
                "outbound_addr6" => parsed.outbound6 = Some(outbound::<Ipv6Addr>(value).ok_or_else(bad)?),
                "port_handler" if matches!(value, "slirp4netns" | "rootlesskit") => {}
                "port_handler" => return Err(bad()),
                _ => return Err(unknown()),
            }
        }
        if parsed.outbound6.is_some() && !parsed.ipv6 {
            return Err(Error::invalid("outbound_addr6 of slirp4netns needs enable_ipv6=true"));
        }
        Ok(parsed)
    }

    /// The n-th address of the network.
    fn guest(&self, n: u32) -> Result<Ipv4Addr> {
        let address = u32::from(self.cidr.network()).checked_add(n).map(Ipv4Addr::from);
        address.ok_or_else(|| Error::invalid(format!("invalid cidr \"{}\" for slirp4netns", self.cidr)))
    }

    fn args(&self) -> Vec<String> {
        let mut args = vec!["-c".to_owned(), "-r".to_owned(), "3".to_owned(), format!("--mtu={}", self.mtu)];
        args.extend(["--enable-sandbox", "--enable-seccomp"].map(str::to_owned));
        args.push(format!("--cidr={}", self.cidr.trunc()));
        if !self.host_loopback {
            args.push("--disable-host-loopback".to_owned());
        }
        if self.ipv6 {
            args.push("--enable-ipv6".to_owned());
        }
        args.extend(self.outbound.as_ref().map(|a| format!("--outbound-addr={a}")));
        args.extend(self.outbound6.as_ref().map(|a| format!("--outbound-addr6={a}")));
        args
    }
}

fn flag(value: &str) -> Option<bool> {
    value.parse().ok()
}

/// An address of the family, or the name of an interface.
fn outbound<A: std::str::FromStr>(value: &str) -> Option<String> {
    let named = || nix::net::if_::if_nametoindex(value).is_ok();
    (value.parse::<A>().is_ok() || named()).then(|| value.to_owned())
}

/// Starts it and waits until the interface is configured.
fn launch(program: &Path, request: &Request<'_>, options: &Options) -> Result<()> {
    let failed = |e: rustix::io::Errno| Error::os("prepare slirp4netns", e);
    let (ready, told) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed)?;
    // It goes on writing there while it lives.
    let mut log = scratch()?;
    let directory = request.pidfile.parent().unwrap_or(Path::new("/"));
    let socket = socket(request.pidfile);
    let mut spawn = Spawn::new(program)
        // By its name the process is found if we are killed before it is recorded.
        .name(&request.pidfile.to_string_lossy())
        .args(options.args())
        .arg("--netns-type=path");
    if !request.ports.is_empty() {
        // A relative path, for a socket's must be short.
        spawn = spawn.arg("--api-socket").arg(socket.file_name().unwrap_or_default());
    }
    spawn = spawn.arg(request.netns).arg(INTERFACE).directory(directory).new_session();
    spawn = spawn.fd(log.as_fd(), 1).fd(log.as_fd(), 2).fd(told.as_fd(), 3);
    // The address it configures is usable at once only if it is not tested for duplicates first.
    let tested = netns::within(request.netns, || {
        let before = fs::read_to_string("/proc/sys/net/ipv6/conf/default/accept_dad").unwrap_or_default();
        sysctl("ipv6/conf/default/accept_dad", "0").map(|()| before)
    })?;
    let child = spawn.spawn()?;
    drop(told);
    crate::failpoint!("network.slirp4netns-after-start");
    pidfile::record(request.pidfile, child.pid())?;
    super::session::leave(request.config, "network", child.pid());
    let mut byte = [0];
    let told = File::from(ready).read_exact(&mut byte);
    netns::within(request.netns, || match tested.trim() {
        "" => Ok(()),
        before => sysctl("ipv6/conf/default/accept_dad", before),
    })?;
    crate::failpoint!("network.slirp4netns-after-ready");
    told.map_err(|_| failure(child, &mut log))
}

fn failure(mut child: Child, log: &mut File) -> Error {
    child.kill();
    let _ = child.wait();
    let mut said = String::new();
    let _ = log.rewind().and_then(|()| log.read_to_string(&mut said));
    let lines = said.lines().filter(|line| !line.starts_with("WARNING") && !line.contains("tapfd="));
    let said = lines.collect::<Vec<_>>().join("; ");
    Error::new(ErrorKind::Runtime, "slirp4netns failed").with_source(said)
}

fn socket(pidfile: &Path) -> PathBuf {
    let mut path = pidfile.as_os_str().to_owned();
    path.push(SOCKET_SUFFIX);
    path.into()
}

/// One request for each port.
fn requests(ports: &[PortMapping], guest: Ipv4Addr) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for mapping in ports {
        let address = match mapping.host_ip {
            None => Ipv4Addr::UNSPECIFIED,
            Some(IpAddr::V4(address)) => address,
            Some(IpAddr::V6(address)) => {
                return Err(Error::unsupported(format!("slirp4netns cannot publish ports on {address}"))
                    .with_hint("publish them on an IPv4 address, or use --network pasta"));
            }
        };
        if mapping.protocol == Protocol::Sctp {
            return Err(Error::unsupported(format!(
                "port {}/sctp cannot be published by slirp4netns: it forwards TCP and UDP only",
                mapping.container_port
            )));
        }
        for n in 0..mapping.range.max(1) {
            let request = serde_json::json!({
                "execute": "add_hostfwd",
                "arguments": {
                    "proto": mapping.protocol.as_str(),
                    "host_addr": address.to_string(),
                    "host_port": mapping.host_port.saturating_add(n),
                    "guest_addr": guest.to_string(),
                    "guest_port": mapping.container_port.saturating_add(n),
                },
            });
            found.push(request.to_string());
        }
    }
    Ok(found)
}

fn open_ports(pidfile: &Path, requests: &[String]) -> Result<()> {
    if requests.is_empty() {
        return Ok(());
    }
    let path = socket(pidfile);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let directory = File::open(directory).map_err(|e| Error::io("open", directory, e))?;
    // Short enough for a socket's address.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let short = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    requests.iter().try_for_each(|request| {
        ask(&short, request).with_context(|| format!("ask slirp4netns at {}", path.display()))
    })
}

fn ask(path: &str, request: &str) -> Result<()> {
    let failed = |e: std::io::Error| Error::os("speak with slirp4netns", e);
    let mut stream = UnixStream::connect(path).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.write_all(request.as_bytes()).map_err(failed)?;
    stream.shutdown(std::net::Shutdown::Write).map_err(failed)?;
    let mut answer = Vec::new();
    stream.take(1 << 16).read_to_end(&mut answer).map_err(failed)?;
    let answer: serde_json::Value = serde_json::from_slice(&answer)
        .map_err(|e| Error::new(ErrorKind::Runtime, "slirp4netns answered nonsense").with_source(e))?;
    match answer.pointer("/error/desc") {
        None => Ok(()),
        Some(text) => Err(Error::new(ErrorKind::Runtime, "slirp4netns failed").with_source(text.to_string())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn args(options: &[&str]) -> Result<String> {
        Options::parse(options.iter().copied()).map(|options| options.args().join(" "))
    }

    #[test]
    fn options_become_arguments() {
        assert_eq!(
            args(&[]).unwrap(),
            "-c -r 3 --mtu=65520 --enable-sandbox --enable-seccomp --cidr=10.0.2.0/24 --disable-host-loopback --enable-ipv6"
        );
        let line = args(&[
            "allow_host_loopback=true",
            "mtu=1500",
            "cidr=10.5.0.0/24",
            "enable_ipv6=false",
            "outbound_addr=192.0.2.1",
            "port_handler=rootlesskit",
        ]);
        assert_eq!(
            line.unwrap(),
            "-c -r 3 --mtu=1500 --enable-sandbox --enable-seccomp --cidr=10.5.0.0/24 --outbound-addr=192.0.2.1"
        );
        assert!(args(&["outbound_addr6=lo"]).unwrap().ends_with("--outbound-addr6=lo"));
        for bad in [
            "mtu",
            "mtu=20",
            "cidr=10.0.0.0/30",
            "cidr=fd00::/64",
            "allow_host_loopback=yes",
            "port_handler=docker",
            "outbound_addr=::1",
            "gateway=10.0.2.2",
        ] {
            assert_eq!(args(&[bad]).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
        assert!(args(&["enable_ipv6=false", "outbound_addr6=::1"]).is_err());
    }

    #[test]
    fn a_port_is_a_request_and_ipv6_is_refused() {
        let guest = Ipv4Addr::new(10, 0, 2, 100);
        let mut mapping =
            PortMapping { host_port: 8080, container_port: 80, range: 2, ..PortMapping::default() };
        let found = requests(std::slice::from_ref(&mapping), guest).unwrap();
        assert_eq!(found.len(), 2);
        let second: serde_json::Value = serde_json::from_str(&found[1]).unwrap();
        assert_eq!(second["arguments"]["host_addr"], "0.0.0.0");
        assert_eq!(second["arguments"]["host_port"], 8081);
        assert_eq!(second["arguments"]["guest_port"], 81);
        mapping.host_ip = Some("::1".parse().unwrap());
        assert_eq!(
            requests(std::slice::from_ref(&mapping), guest).unwrap_err().kind(),
            ErrorKind::Unsupported
        );
    }
}
