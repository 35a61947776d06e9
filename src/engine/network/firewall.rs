//! What netavark does not do with the packet filter, with whichever of nft and iptables there is: most of it in the shared rootless
//! namespace.
//!
//! Connections that a container begins from a published port leave by that port's own pasta. They must keep the
//! container's address there, or pasta would take the masqueraded one for its guest's and send what comes in to it.
//!
//! The pasta of Debian 12 hands connections from the host's loopback to the namespace's loopback. There they are told
//! apart by the host's port and sent on to the container (`CORACLE` in the nat table). The kernel translates no packet
//! from ::1; so there the namespace does without ::1, which leaves UDP to `[::1]` unanswered.

use super::pasta;
use crate::engine::config::Config;
use crate::engine::host::netlink::{self, Netlink, Route};
use crate::engine::host::process;
use crate::engine::host::spawn::{Spawn, scratch};
use crate::engine::spec::PortMapping;
use crate::engine::{Error, ErrorKind, Result};
use std::fmt::Write as _;
use std::io::{Read, Seek, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

const NFT: &str = "table inet coracle {
  chain postrouting {
    type nat hook postrouting priority srcnat - 10; policy accept;
    oifname \"pub*\" snat ip to ip saddr
    oifname \"pub*\" snat ip6 to ip6 saddr
  }
}
";

/// In the new namespace: the rules that do not depend on a container.
pub(super) fn prepare(config: &Config) -> Result<()> {
    let nft = find(config, "nft");
    if let Some(nft) = &nft {
        feed(nft, &["-f", "-"], NFT)?;
    }
    let loopback = loops_back(config);
    if loopback {
        super::rootless::sysctl("ipv4/conf/all/route_localnet", "1")?;
        super::rootless::sysctl("ipv4/conf/default/route_localnet", "1")?;
        give_up_loopback6()?;
    }
    if nft.is_some() && !loopback {
        return Ok(());
    }
    for v6 in [false, true] {
        let Some(program) = restore(config, v6) else { continue };
        let mut text = String::from("*nat\n-I POSTROUTING 1 -o pub+ -j ACCEPT\n");
        if loopback {
            let local = loopback_address(v6);
            text.push_str(":CORACLE - [0:0]\n-I PREROUTING 1 -i pub+ -j CORACLE\n");
            let _ = writeln!(text, "-I OUTPUT 1 -d {local} -j CORACLE");
            if !v6 {
                text.push_str("-I POSTROUTING 1 -s 127.0.0.0/8 ! -o lo -j MASQUERADE\n");
            }
        }
        text.push_str("COMMIT\n");
        feed(&program, &["--noflush"], &text)?;
    }
    Ok(())
}

/// Whether the installed pasta hands loopback connections to the namespace's loopback.
pub(super) fn loops_back(config: &Config) -> bool {
    pasta::program(config).is_some_and(|program| !pasta::knows(&program, "host-lo-to-ns-lo").unwrap_or(true))
}

/// Sends the host's ports that arrive at an address or on the loopback on to the ports of the container with that
/// address. What is not in `containers` is not sent on any more; connections that exist are not touched.
pub(super) fn redirect(config: &Config, containers: &[(IpAddr, Vec<PortMapping>)]) -> Result<()> {
    for v6 in [false, true] {
        let Some(program) = restore(config, v6) else { continue };
        let of_family = containers.iter().filter(|(address, _)| address.is_ipv6() == v6);
        let rules: String = of_family.map(|(address, ports)| redirections(*address, ports)).collect();
        feed(&program, &["--noflush"], &format!("*nat\n:CORACLE - [0:0]\n{rules}COMMIT\n"))?;
    }
    Ok(())
}

fn redirections(address: IpAddr, ports: &[PortMapping]) -> String {
    let mut text = String::new();
    for mapping in ports.iter().filter(|m| m.host_ip.is_none_or(|ip| ip.is_ipv4() == address.is_ipv4())) {
        for n in 0..mapping.range.max(1) {
            let (host, container) =
                (mapping.host_port.saturating_add(n), mapping.container_port.saturating_add(n));
            let to = std::net::SocketAddr::new(address, container);
            let protocol = mapping.protocol.as_str();
            for from in [address, loopback_address(address.is_ipv6())] {
                let _ = writeln!(
                    text,
                    "-A CORACLE -d {from} -p {protocol} --dport {host} -j DNAT --to-destination {to}"
                );
            }
        }
    }
    text
}

fn loopback_address(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
}

/// Makes ::1 an address like any other, so that connections to it are made from one that can be answered.
fn give_up_loopback6() -> Result<()> {
    let Some(interface) = netlink::index("lo") else { return Ok(()) };
    let mut netlink = Netlink::open()?;
    let loopback = IpAddr::from(Ipv6Addr::LOCALHOST).into();
    netlink.remove_address(interface, loopback)?;
    let source = IpAddr::from(super::rootless::OWN6);
    netlink.add_address(interface, source.into())?;
    netlink.add_route(&Route {
        destination: loopback,
        interface,
        table: netlink::TABLE_MAIN,
        source: Some(source),
    })
}

/// Keeps netavark's rules from sending connections to `[::1]` on to the container `id`, which could never answer: the kernel
/// lets no packet from ::1 out. They reach [`super::proxy`] then. With `on` false: takes that back, if it is there.
pub(super) fn spare_loopback6(config: &Config, id: &str, on: bool) -> Result<()> {
    // A connection that has been translated, even to where it was going, is not translated again. The priority is before
    // `dstnat` (-100), a name that nft before 1.0.7 does not take here.
    let own = Own {
        name: format!("coracle-{}", short(id)),
        family: "ip6",
        chains: vec![
            "type nat hook output priority -110; policy accept; ip6 daddr ::1 dnat to ::1;".to_owned(),
        ],
        rules: vec![("nat", vec![true], "OUTPUT -d ::1/128".to_owned(), "ACCEPT")],
    };
    own.set(config, on)
}

/// Has nothing routed from `bridge` back to it, where from port to port nothing is forwarded: so its containers are apart.
/// Connections to the published `ports` of the container `id` that begin there are not redirected, but reach
/// [`super::proxy`]. With `on` false: takes that back, if it is there.
pub(super) fn separate(
    config: &Config,
    id: &str,
    bridge: &str,
    ports: &[PortMapping],
    on: bool,
) -> Result<()> {
    let mut own = Own {
        name: format!("coracle-{}-{bridge}", short(id)),
        family: "inet",
        chains: vec![format!(
            "type filter hook forward priority -1; policy accept; iifname \"{bridge}\" oifname \"{bridge}\" drop;"
        )],
        rules: vec![("filter", vec![false, true], format!("FORWARD -i {bridge} -o {bridge}"), "DROP")],
    };
    let mut spared = String::new();
    for port in ports {
        let last = port.host_port.saturating_add(port.range.max(1) - 1);
        let (protocol, first) = (port.protocol.as_str(), port.host_port);
        for (family, address) in [("ipv4", "ip"), ("ipv6", "ip6")] {
            let from = format!("meta nfproto {family} iifname \"{bridge}\" {protocol} dport {first}-{last}");
            let _ = write!(spared, " {from} dnat {address} to {address} daddr;");
        }
        let matches = format!("PREROUTING -i {bridge} -p {protocol} --dport {first}:{last}");
        own.rules.push(("nat", vec![false, true], matches, "ACCEPT"));
    }
    if !spared.is_empty() {
        own.chains.push(format!("type nat hook prerouting priority -110; policy accept;{spared}"));
    }
    own.set(config, on)
}

fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// Rules of one container's own: a table of nft's, or rules of iptables that are told apart by a comment.
struct Own {
    name: String,
    /// nft's, and what is in the table's chains.
    family: &'static str,
    chains: Vec<String>,
    /// iptables' table, for which families (whether IPv6), what is matched, the target.
    rules: Vec<(&'static str, Vec<bool>, String, &'static str)>,
}

impl Own {
    fn set(&self, config: &Config, on: bool) -> Result<()> {
        let name = &self.name;
        if let Some(nft) = find(config, "nft") {
            let table = format!("table {} {name}", self.family);
            // Declared, so that it can be deleted.
            let mut text = format!("{table}\ndelete {table}\n");
            if on {
                let chains = self.chains.iter().zip(1..);
                let chains = chains.map(|(chain, n)| format!("chain own{n} {{ {chain} }}\n"));
                let _ = write!(text, "{table} {{\n{}}}\n", chains.collect::<String>());
            }
            return feed(&nft, &["-f", "-"], &text);
        }
        let verb = if on { "-I" } else { "-D" };
        for (table, families, matches, target) in &self.rules {
            let rule = format!("{verb} {matches} -m comment --comment {name} -j {target}");
            for program in families.iter().filter_map(|v6| restore(config, *v6)) {
                match feed(&program, &["--noflush"], &format!("*{table}\n{rule}\nCOMMIT\n")) {
                    // It was never made, or went with a reboot.
                    Err(_) if !on => {}
                    done => done?,
                }
            }
        }
        Ok(())
    }
}

fn find(config: &Config, name: &str) -> Option<PathBuf> {
    process::find_program(name, &config.env.path())
}

fn restore(config: &Config, v6: bool) -> Option<PathBuf> {
    find(config, if v6 { "ip6tables-restore" } else { "iptables-restore" })
}

/// Runs a program that reads rules.
fn feed(program: &Path, args: &[&str], text: &str) -> Result<()> {
    let failed = |e: std::io::Error| Error::io("prepare the input of", program, e);
    let (mut input, mut output) = (scratch()?, scratch()?);
    input.write_all(text.as_bytes()).and_then(|()| input.rewind()).map_err(failed)?;
    let spawn = Spawn::new(program).args(args).env("PATH", process::PROGRAM_DIRECTORIES.join(":"));
    let spawn = spawn.env("XTABLES_LOCKFILE", "/dev/null");
    let mut child = spawn.fd(input.as_fd(), 0).fd(output.as_fd(), 1).fd(output.as_fd(), 2).spawn()?;
    if child.wait()?.success() {
        return Ok(());
    }
    let mut said = String::new();
    let _ = output.rewind().and_then(|()| output.read_to_string(&mut said));
    let context = format!("{} failed", program.display());
    Err(Error::new(ErrorKind::Runtime, context).with_source(said.trim().to_owned()))
}
