//! netavark as a child process: bridges, veth pairs, firewall rules; it starts aardvark-dns by itself.
//!
//! `netavark setup NETNS` reads a JSON document on stdin and answers with one (its `commands/setup.rs`, the same from
//! 1.0 to 2.1); `teardown` takes the same document. A failure is `{"error": …}` on stdout. Versions before 1.15 make
//! several changes to bridge and firewall that another netavark may undo in between, so whoever calls it holds a lock.

use super::{Network, connection::Member, pidfile};
use crate::engine::config::Config;
use crate::engine::host::process::{self, PidFd};
use crate::engine::host::spawn::{Spawn, scratch};
use crate::engine::spec::{Endpoint, PortMapping};
use crate::engine::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// In the directory of networks: the netavark that runs now.
const PIDFILE: &str = "netavark";
/// How long one whose caller was killed may go on.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a netavark whose caller was killed: it finishes what it is at. Called with the lock held.
pub(super) fn await_orphan(dir: &Path) -> Result<()> {
    let pidfile = dir.join(PIDFILE);
    while let Some((pid, start)) = pidfile::find(&pidfile) {
        let Some(fd) = PidFd::open(pid, start)? else { break };
        tracing::debug!("a netavark that was left alone is still running");
        if !fd.wait(Some(PATIENCE))? {
            return Err(Error::new(ErrorKind::InUse, format!("netavark (process {pid}) does not end"))
                .with_hint(format!("kill {pid}")));
        }
    }
    pidfile::remove(&pidfile)
}

/// The program with what it needs besides a container.
#[derive(Debug)]
pub(super) struct Netavark {
    program: PathBuf,
    aardvark: Option<PathBuf>,
    /// Where aardvark-dns's files are, and the lock.
    dir: PathBuf,
    rootless: bool,
    env: Vec<(String, String)>,
}

/// One container's part (netavark's `NetworkOptions`).
#[derive(Debug, Serialize)]
struct Options<'a> {
    container_id: &'a str,
    container_name: &'a str,
    container_hostname: &'a str,
    networks: BTreeMap<&'a str, PerNetwork<'a>>,
    network_info: BTreeMap<&'a str, Network>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    port_mappings: Vec<Port>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_servers: Option<&'a [IpAddr]>,
}

#[derive(Debug, Serialize)]
struct PerNetwork<'a> {
    interface_name: &'a str,
    static_ips: Vec<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    static_mac: Option<&'a str>,
    aliases: &'a [String],
    options: &'a BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Port {
    host_ip: String,
    host_port: u16,
    container_port: u16,
    protocol: &'static str,
    range: u16,
}

/// What a setup says of one network (netavark's `StatusBlock`).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    interfaces: Option<BTreeMap<String, Interface>>,
    dns_server_ips: Option<Vec<IpAddr>>,
    dns_search_domains: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Interface {
    mac_address: String,
    subnets: Option<Vec<Address>>,
}

#[derive(Debug, Deserialize)]
struct Address {
    ipnet: ipnet::IpNet,
    gateway: Option<IpAddr>,
}

/// Whom netavark is to serve.
#[derive(Debug)]
pub(super) struct Client<'a> {
    /// The container's full ID.
    pub id: &'a str,
    /// Its name, which aardvark-dns answers to.
    pub name: &'a str,
    /// Its host name.
    pub hostname: &'a str,
    /// The networks concerned.
    pub members: &'a [Member],
    /// Its published ports, with host ports.
    pub ports: &'a [PortMapping],
    /// `--dns`: where aardvark-dns asks on behalf of this container.
    pub dns: &'a [IpAddr],
}

/// Nothing answers there, at once: where aardvark-dns before 1.11, which knows no internal networks, is to ask on behalf of one.
const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(240, 0, 0, 1));

impl Netavark {
    /// Finds the programs. `run_state`: below it are the files of aardvark-dns.
    ///
    /// # Errors
    /// [`ErrorKind::MissingProgram`] without netavark.
    pub fn find(config: &Config) -> Result<Self> {
        let directories = config.helper_directories();
        let program = process::require_program("netavark", &directories, "netavark").map_err(|e| {
            e.with_hint("install the packages netavark and aardvark-dns, or use --network none or host")
        })?;
        let network = &config.containers.network;
        let mut env = vec![("PATH".to_owned(), process::PROGRAM_DIRECTORIES.join(":"))];
        if let Some(driver) = &network.firewall_driver {
            env.push(("NETAVARK_FW".to_owned(), driver.clone()));
        }
        if let Some(port) = network.dns_bind_port {
            env.push(("NETAVARK_DNS_PORT".to_owned(), port.to_string()));
        }
        let dir = config.paths.run_state.join("network");
        // The lock of iptables-legacy, where /run cannot be written.
        env.push(("XTABLES_LOCKFILE".to_owned(), dir.join("xtables.lock").display().to_string()));
        for name in ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"] {
            if let Some(value) = config.env.var(name) {
                env.push((name.to_owned(), value.to_owned()));
            }
        }
        let aardvark = process::find_program("aardvark-dns", &directories);
        Ok(Self { program, aardvark, dir, rootless: config.rootless(), env })
    }

    /// Whether aardvark-dns runs according to its pidfile.
    pub fn serves_names(&self) -> bool {
        self.name_server().is_some()
    }

    /// PID and start time of aardvark-dns.
    fn name_server(&self) -> Option<(u32, u64)> {
        let text = fs::read_to_string(self.dir.join("aardvark-dns/aardvark.pid")).ok()?;
        let pid = text.trim().parse().ok()?;
        Some((pid, process::start_time(pid)?))
    }

    /// Has the aardvark-dns that runs ask `servers` on behalf of a network from now on. Nothing happens if none serves the network;
    /// the next one will be told anyway. The file's first line is the network's own addresses, then the servers
    /// (aardvark-dns's `config/mod.rs`, the same from 1.0 to 1.14). Called with the lock held.
    pub fn ask_elsewhere(&self, network: &str, servers: &[IpAddr]) -> Result<()> {
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let servers = if servers.is_empty() { String::new() } else { format!(" {}", servers.join(",")) };
        self.edit(network, |text| {
            let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
            let own = first.split(' ').next().unwrap_or_default();
            format!("{own}{servers}\n{rest}")
        })?;
        self.reread()
    }

    /// Has the aardvark-dns that runs call the container `id` `new` on a network from now on, as it called it `old`. Behind the
    /// first line of the file stands one for each container: ID, IPv4 and IPv6 addresses, names, servers, of which the name
    /// comes before the aliases. [`Netavark::reread`] is to follow. Called with the lock held.
    pub fn rename(&self, network: &str, id: &str, old: &str, new: &str) -> Result<()> {
        self.edit(network, |text| {
            let line = |line: &str| match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
                [this, v4, v6, names] if this == id => match names.strip_prefix(old) {
                    Some(rest) if rest.is_empty() || rest.starts_with([',', ' ']) => {
                        format!("{this} {v4} {v6} {new}{rest}\n")
                    }
                    _ => format!("{line}\n"),
                },
                _ => format!("{line}\n"),
            };
            text.lines().map(line).collect()
        })
    }

    fn edit(&self, network: &str, change: impl FnOnce(&str) -> String) -> Result<()> {
        let path = self.dir.join("aardvark-dns").join(network);
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| Error::io("read", &path, e))?,
        };
        // In its place: every file of the directory is a network to aardvark-dns.
        fs::write(&path, change(&text)).map_err(|e| Error::io("write", &path, e))
    }

    /// Has the aardvark-dns that runs read its files.
    pub fn reread(&self) -> Result<()> {
        if let Some((pid, start)) = self.name_server()
            && let Some(fd) = PidFd::open(pid, start)?
        {
            fd.signal(libc::SIGHUP)?;
        }
        Ok(())
    }

    /// Connects the namespace `netns`; returns what each network gave.
    pub fn setup(&self, netns: &Path, client: &Client<'_>) -> Result<BTreeMap<String, Endpoint>> {
        let dns = client.members.iter().find(|m| m.network.dns_enabled);
        if let Some(member) = dns.filter(|_| self.aardvark.is_none()) {
            tracing::warn!(
                "aardvark-dns is not installed: names do not resolve on network {}; install the package aardvark-dns",
                member.network.name
            );
        }
        let answer = self.run("setup", netns, client)?;
        let parsed: BTreeMap<String, Status> = serde_json::from_slice(&answer).map_err(|e| {
            Error::new(ErrorKind::Runtime, "netavark's answer cannot be understood").with_source(e)
        })?;
        Ok(parsed.into_iter().map(|(name, status)| (name, endpoint(status))).collect())
    }

    /// Undoes [`Netavark::setup`].
    pub fn teardown(&self, netns: &Path, client: &Client<'_>) -> Result<()> {
        self.run("teardown", netns, client).map(drop)
    }

    fn run(&self, verb: &str, netns: &Path, client: &Client<'_>) -> Result<Vec<u8>> {
        let input = serde_json::to_vec(&self.options(client))
            .map_err(|e| Error::corrupt("encode netavark's request").with_source(e))?;
        self.execute(&[verb.to_owned(), netns.display().to_string()], &input)
    }

    fn options<'a>(&self, client: &Client<'a>) -> Options<'a> {
        let members = client.members.iter();
        let networks = members.clone().map(|m| (m.network.name.as_str(), per_network(m)));
        Options {
            container_id: client.id,
            container_name: client.name,
            container_hostname: client.hostname,
            networks: networks.collect(),
            network_info: members.map(|m| (m.network.name.as_str(), self.info(client.members, m))).collect(),
            port_mappings: client.ports.iter().flat_map(ports).collect(),
            // From an internal network nothing is asked elsewhere, whatever the user's servers.
            dns_servers: (!client.dns.is_empty() && client.members.iter().any(|m| !m.network.internal))
                .then_some(client.dns),
        }
    }

    /// The definition as this machine's programs understand it.
    fn info(&self, members: &[Member], member: &Member) -> Network {
        let mut network = member.network.clone();
        // Of several default routes the one with the lowest metric is used; netavark's own is 100.
        let priority = member.attachment.gateway_priority();
        let below = members.iter().filter(|other| other.attachment.gateway_priority() < priority).count();
        if below > 0 {
            let metric = 100_usize.saturating_sub(below);
            network.options.entry("metric".to_owned()).or_insert_with(|| metric.to_string());
        }
        network.dns_enabled &= self.aardvark.is_some();
        if network.internal {
            network.network_dns_servers = vec![NOWHERE];
        }
        network
    }

    /// stdin, stdout and stderr are files in memory: aardvark-dns outlives netavark and may keep them open.
    fn execute(&self, arguments: &[String], input: &[u8]) -> Result<Vec<u8>> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|e| Error::io("mkdir", &self.dir, e))?;
        let [mut stdin, mut stdout, mut stderr] = [scratch()?, scratch()?, scratch()?];
        let failed = |e| Error::os("talk to netavark", e);
        stdin.write_all(input).and_then(|()| stdin.rewind()).map_err(failed)?;
        let mut spawn = Spawn::new(&self.program).arg("--config").arg(&self.dir);
        if let Some(aardvark) = &self.aardvark {
            spawn = spawn.arg("--aardvark-binary").arg(aardvark);
        }
        let rootless = if self.rootless { "true" } else { "false" };
        spawn =
            spawn.args(["--rootless", rootless]).args(arguments).envs(self.env.iter().map(|(n, v)| (n, v)));
        let fds = spawn.fd(stdin.as_fd(), 0).fd(stdout.as_fd(), 1).fd(stderr.as_fd(), 2);
        let pidfile = self.dir.join(PIDFILE);
        pidfile::announce(&pidfile)?;
        let mut child = fds.name(&pidfile.to_string_lossy()).new_session().spawn()?;
        crate::failpoint!("network.netavark-after-start");
        let recorded = pidfile::record(&pidfile, child.pid());
        let ended = child.wait()?;
        // One that was that quick needs no record.
        recorded.or_else(|e| if e.kind() == ErrorKind::Runtime { Ok(()) } else { Err(e) })?;
        pidfile::remove(&pidfile)?;
        let mut answer = Vec::new();
        stdout.rewind().and_then(|()| stdout.read_to_end(&mut answer)).map_err(failed)?;
        if ended.success() {
            return Ok(answer);
        }
        let mut said = String::new();
        // Not UTF-8: then netavark's own answer has to do.
        let _ = stderr.rewind().and_then(|()| stderr.read_to_string(&mut said));
        Err(refusal(&answer, &said))
    }
}

fn per_network(member: &Member) -> PerNetwork<'_> {
    PerNetwork {
        interface_name: &member.attachment.interface,
        static_ips: member.addresses.iter().map(ipnet::IpNet::addr).collect(),
        static_mac: member.attachment.mac.as_deref(),
        aliases: &member.attachment.aliases,
        options: &member.attachment.options,
    }
}

fn ports(mapping: &PortMapping) -> Vec<Port> {
    vec![Port {
        host_ip: mapping.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        host_port: mapping.host_port,
        container_port: mapping.container_port,
        protocol: mapping.protocol.as_str(),
        range: mapping.range.max(1),
    }]
}

fn endpoint(status: Status) -> Endpoint {
    let mut endpoint = Endpoint {
        name_servers: status.dns_server_ips.unwrap_or_default(),
        search_domains: status.dns_search_domains.unwrap_or_default(),
        ..Endpoint::default()
    };
    for (name, interface) in status.interfaces.unwrap_or_default() {
        endpoint.interface = name;
        endpoint.mac = interface.mac_address;
        for address in interface.subnets.unwrap_or_default() {
            endpoint.addresses.push(address.ipnet);
            endpoint.gateways.extend(address.gateway);
        }
    }
    endpoint
}

/// netavark's `{"error": …}`, else what it logged.
fn refusal(answer: &[u8], logged: &str) -> Error {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let words = match serde_json::from_slice::<Refusal>(answer) {
        Ok(refusal) => refusal.error,
        Err(_) if !logged.trim().is_empty() => logged.trim().to_owned(),
        Err(_) => "it failed without a word".to_owned(),
    };
    if words.contains("unknown network driver") || words.contains("not yet supported") {
        return Error::unsupported(format!("netavark: {words}"))
            .with_hint("the installed netavark is too old: ipvlan needs 1.5, the IPAM driver dhcp 1.6");
    }
    if let Some(driver) =
        ["ipvlan", "macvlan", "vlan", "vrf", "bridge"].into_iter().find(|driver| words.contains(driver))
        && words.contains("Operation not supported")
    {
        return Error::unsupported(format!("netavark: {words}"))
            .with_hint(format!("the kernel may lack the module: modprobe {driver}"));
    }
    let error = Error::new(ErrorKind::Runtime, format!("netavark: {words}"));
    if words.contains("iptables") && words.contains("No such file") {
        return error.with_hint("install the package iptables");
    }
    error
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_both_generations() {
        let text = br#"{"podman":{"dns_search_domains":["dns.podman"],"dns_server_ips":["10.89.0.1"],"interfaces":{"eth0":
            {"mac_address":"fa:2b:03:40:13:7a","subnets":[{"gateway":"10.88.0.1","ipnet":"10.88.0.5/16"},{"ipnet":"fd00::5/64"}]}}}}"#;
        let parsed: BTreeMap<String, Status> = serde_json::from_slice(text).unwrap();
        let got = endpoint(parsed.into_values().next().unwrap());
        assert_eq!((got.interface.as_str(), got.mac.as_str()), ("eth0", "fa:2b:03:40:13:7a"));
        assert_eq!(got.addresses.len(), 2);
        assert_eq!(got.gateways, ["10.88.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(got.search_domains, ["dns.podman"]);
        // macvlan without DNS: some fields are null.
        let parsed: Status = serde_json::from_str(r#"{"interfaces":null,"dns_server_ips":null}"#).unwrap();
        assert_eq!(endpoint(parsed), Endpoint::default());
    }

    #[test]
    fn a_name_is_changed_where_it_is_the_containers() {
        let dir = tempfile::tempdir().unwrap();
        let netavark = Netavark {
            program: PathBuf::new(),
            aardvark: None,
            dir: dir.path().to_owned(),
            rootless: false,
            env: Vec::new(),
        };
        fs::create_dir(dir.path().join("aardvark-dns")).unwrap();
        let path = dir.path().join("aardvark-dns/app");
        let before = "10.89.0.1 1.1.1.1\na1 10.89.0.2  web,a1\nb2 10.89.0.3 fd00::3 web,webs,b2 9.9.9.9\nc3 10.89.0.4  webs\n";
        fs::write(&path, before).unwrap();
        netavark.rename("app", "b2", "web", "shop").unwrap();
        netavark.rename("app", "c3", "web", "shop").unwrap();
        netavark.rename("app", "d4", "web", "shop").unwrap();
        netavark.rename("none", "b2", "web", "shop").unwrap();
        let after = before.replace("fd00::3 web,", "fd00::3 shop,");
        assert_eq!(fs::read_to_string(&path).unwrap(), after);
    }

    #[test]
    fn refusals() {
        assert_eq!(refusal(br#"{"error":"no bridge"}"#, "x").to_string(), "netavark: no bridge");
        assert_eq!(refusal(b"", "boom\n").to_string(), "netavark: boom");
        assert_eq!(refusal(b"", "").to_string(), "netavark: it failed without a word");
        let kernel = refusal(
            br#"{"error":"create ipvlan interface: Netlink error: Operation not supported (os error 95)"}"#,
            "",
        );
        assert_eq!(kernel.kind(), ErrorKind::Unsupported);
        assert_eq!(kernel.hint(), Some("the kernel may lack the module: modprobe ipvlan"));
    }
}
