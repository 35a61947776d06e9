//! Hosts of a test: network namespaces on one link, so that real packets come from elsewhere.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Missing, is_root, program};

/// A machine, as far as networks are concerned.
pub struct Host {
    /// The namespace's name, as ip-netns(8) has it.
    pub name: String,
    /// Its addresses on the link.
    pub ipv4: String,
    pub ipv6: String,
}

impl Host {
    /// The file its network namespace is mounted on.
    pub fn namespace(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// A command that runs there, as root.
    pub fn command(&self, argv: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace().display())).args(argv);
        command
    }

    /// Runs it and returns what it printed; a failure is a panic.
    #[track_caller]
    pub fn run(&self, argv: &[&str]) -> String {
        let output = self.command(argv).output().unwrap();
        assert!(
            output.status.success(),
            "{argv:?} on {}: {}",
            self.name,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Calls `act` in a thread that is on this host.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let namespace = std::fs::File::open(self.namespace()).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                act()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Interfaces, addresses, routes and firewall rules: what has to be the same before and after.
    pub fn state(&self) -> String {
        let mut text = String::new();
        for argv in
            [&["ip", "-brief", "link"][..], &["ip", "-4", "route"], &["iptables-save"], &["ip6tables-save"]]
        {
            let said = self.run(argv);
            // Counters and dates differ, and chains that netavark keeps for the next container are no rules.
            let lines =
                said.lines().filter(|l| !l.starts_with('#') && !l.starts_with(':') && !l.starts_with('*'));
            let lines =
                lines.filter(|l| *l != "COMMIT").map(|l| l.split(" <").next().unwrap_or(l).trim_end());
            // The jumps to those chains stay as well.
            let lines = lines.filter(|l| !STANDING.iter().any(|rule| l.contains(rule)));
            text.extend(lines.map(|line| format!("{line}\n")));
        }
        if program("nft").is_ok() {
            let tables = self.run(&["nft", "list", "tables"]);
            text.extend(tables.lines().filter(|l| l.contains("coracle")).map(|line| format!("{line}\n")));
        }
        text
    }
}

/// Rules that netavark makes once for a host and never removes; each does nothing by itself.
const STANDING: [&str; 5] = [
    "-j NETAVARK_FORWARD",
    "-j NETAVARK-HOSTPORT-DNAT",
    "-j NETAVARK-HOSTPORT-MASQ",
    "-A NETAVARK-HOSTPORT-MASQ",
    "-A NETAVARK-HOSTPORT-SETMARK",
];

/// Two hosts on a link; dropping it removes them.
pub struct Lan {
    /// Where containers run.
    pub host: Host,
    /// Somebody else.
    pub client: Host,
}

impl Lan {
    /// Needs root and iproute2.
    pub fn new() -> Result<Lan, Missing> {
        if !is_root() {
            return Err(Missing("root, to make network namespaces".into()));
        }
        for name in ["ip", "nsenter", "iptables"] {
            program(name)?;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let host = |role: &str, last: u32| Host {
            name: format!("ct-{}-{number}-{role}", std::process::id()),
            ipv4: format!("192.0.2.{last}"),
            ipv6: format!("2001:db8::{last}"),
        };
        let lan = Lan { host: host("h", 1), client: host("c", 2) };
        for host in [&lan.host, &lan.client] {
            ip(&["netns", "add", &host.name]);
            host.run(&["ip", "link", "set", "lo", "up"]);
        }
        ip(&[
            "-n",
            &lan.host.name,
            "link",
            "add",
            "lan0",
            "type",
            "veth",
            "peer",
            "name",
            "lan0",
            "netns",
            &lan.client.name,
        ]);
        for host in [&lan.host, &lan.client] {
            host.run(&["ip", "address", "add", &format!("{}/24", host.ipv4), "dev", "lan0"]);
            host.run(&["ip", "address", "add", &format!("{}/64", host.ipv6), "dev", "lan0", "nodad"]);
            host.run(&["ip", "link", "set", "lan0", "up"]);
        }
        // A way out, as a host has one.
        lan.host.run(&["ip", "route", "add", "default", "via", &lan.client.ipv4]);
        lan.host.run(&["ip", "-6", "route", "add", "default", "via", &lan.client.ipv6]);
        Ok(lan)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for host in [&self.host, &self.client] {
            let _ = Command::new("ip").args(["netns", "del", &host.name]).status();
        }
    }
}

#[track_caller]
fn ip(argv: &[&str]) {
    let output = Command::new("ip").args(argv).output().unwrap();
    assert!(output.status.success(), "ip {argv:?}: {}", String::from_utf8_lossy(&output.stderr));
}
