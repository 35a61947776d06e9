//! User-defined networks while containers come, go, change and are many.

use std::time::Duration;

use crate::network::{get, on_a_host_with, serve};
use crate::network_names::{eventually, hosts};
use crate::support::{Lan, Sandbox, require};

/// A bridge without a MAC address of its own has that of a container, until this one goes.
#[test]
fn the_host_is_reached_whoever_comes_and_goes() {
    for (lan, sandbox, before) in require!(hosts()) {
        sandbox.coracle(["network", "create", "app"]).ok();
        sandbox
            .coracle(["run", "-d", "--name", "stays", "--network", "app", "lab/busybox", "sleep", "600"])
            .ok();
        let server = ["exec", "stays", "sh", "-c", "nslookup stays >/dev/null; sed 1d /proc/net/arp"];
        let known = sandbox.coracle(server).ok().text().to_owned();
        for _ in 0..5 {
            sandbox.coracle(["run", "--rm", "--network", "app", "lab/busybox", "true"]).ok();
            sandbox.coracle(server).ok().stdout_is(&known);
        }
        sandbox.coracle(["rm", "-f", "-t", "0", "stays"]).ok();
        sandbox.coracle(["network", "rm", "app"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}

/// After it there is another host, without interfaces, rules and processes of before; addresses that were asked for are those of
/// before, others are free.
#[test]
fn networks_are_there_again_after_a_reboot() {
    for (lan, mut sandbox, _) in require!(hosts()) {
        sandbox.coracle(["network", "create", "--subnet", "10.77.9.0/24", "app"]).ok();
        let flags = ["--network", "app", "--ip", "10.77.9.9", "-p", "8080:80"];
        serve(&sandbox, "web", &flags, "here");
        sandbox
            .coracle(["run", "-d", "--name", "other", "--network", "app", "lab/busybox", "sleep", "600"])
            .ok();
        sandbox.reboot();
        drop(lan);
        let lan = require!(Lan::new());
        sandbox.move_to(&lan.host);
        let before = lan.host.state();
        sandbox.coracle(["ps", "-q"]).ok().stdout_is("");
        let leases = sandbox.run_root().join("coracle/network/leases");
        assert!(!leases.exists() || std::fs::read_dir(leases).unwrap().next().is_none());
        sandbox.coracle(["start", "web", "other"]).ok();
        assert_eq!(get(&lan.client, &format!("http://{}:8080/", lan.host.ipv4)), "here");
        assert_eq!(eventually(&sandbox, "other", "wget -qO- http://web/"), "here");
        let shown = sandbox.coracle(["inspect", "--format", "{{.NetworkSettings.IPAddress}}", "web"]).ok();
        shown.stdout_is("10.77.9.9");
        sandbox.coracle(["rm", "-f", "-t", "0", "web", "other"]).ok();
        sandbox.coracle(["network", "rm", "app"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}

#[test]
fn a_renamed_container_is_found_by_its_new_name_at_once() {
    for (lan, sandbox, before) in require!(hosts()) {
        sandbox.coracle(["network", "create", "app"]).ok();
        serve(&sandbox, "blue", &["--network", "app", "--network-alias", "web"], "found");
        sandbox
            .coracle(["run", "-d", "--name", "client", "--network", "app", "lab/busybox", "sleep", "600"])
            .ok();
        sandbox.coracle(["rename", "blue", "green"]).ok();
        for name in ["green", "web"] {
            let ask = ["exec", "client", "wget", "-qO-", &format!("http://{name}/")];
            sandbox.coracle(ask).ok().stdout_is("found");
        }
        assert_ne!(sandbox.coracle(["exec", "client", "nslookup", "blue"]).run().exit_code(), 0);
        let hosts = sandbox.coracle(["exec", "green", "cat", "/etc/hosts"]).ok();
        assert!(hosts.text().contains("green") && !hosts.text().contains("blue"), "{hosts}");
        // It leaves as whole as it would have under its first name.
        sandbox.coracle(["restart", "-t", "0", "green"]).ok();
        assert_eq!(eventually(&sandbox, "client", "wget -qO- http://green/"), "found");
        sandbox.coracle(["rm", "-f", "-t", "0", "green", "client"]).ok();
        sandbox.coracle(["network", "rm", "app"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}

#[test]
fn networks_are_joined_and_left_while_a_container_runs() {
    for (lan, sandbox, before) in require!(hosts()) {
        sandbox.coracle(["network", "create", "one"]).ok();
        sandbox.coracle(["network", "create", "two"]).ok();
        // On whatever the default is, and one elsewhere to be found.
        sandbox.coracle(["run", "-d", "--name", "mover", "lab/busybox", "sleep", "600"]).ok();
        serve(&sandbox, "first", &["--network", "one"], "one");
        serve(&sandbox, "second", &["--network", "two"], "two");
        sandbox.coracle(["network", "connect", "one", "mover"]).ok();
        assert_eq!(eventually(&sandbox, "mover", "wget -qO- http://first/"), "one");
        sandbox.coracle(["network", "connect", "--alias", "late", "two", "mover"]).ok();
        assert_eq!(eventually(&sandbox, "mover", "wget -qO- http://second/"), "two");
        assert!(!eventually(&sandbox, "second", "nslookup late").is_empty());
        sandbox.coracle(["network", "connect", "one", "mover"]).fails(1).stderr_has("already connected");
        sandbox.coracle(["network", "disconnect", "one", "mover"]).ok();
        assert_ne!(
            sandbox
                .coracle(["exec", "mover", "timeout", "2", "wget", "-qO-", "http://first/"])
                .run()
                .exit_code(),
            0
        );
        assert_eq!(eventually(&sandbox, "mover", "wget -qO- http://second/"), "two");
        // Off the last one it has itself, before and after a start, and can be put on others.
        sandbox
            .coracle(["run", "-d", "--name", "alone", "--network", "one", "lab/busybox", "sleep", "600"])
            .ok();
        sandbox.coracle(["network", "disconnect", "one", "alone"]).ok();
        for _ in 0..2 {
            sandbox
                .coracle(["exec", "alone", "ip", "address"])
                .ok()
                .stdout_has("127.0.0.1")
                .stdout_lacks("eth0");
            sandbox.coracle(["exec", "alone", "cat", "/etc/hosts"]).ok().stdout_lacks("10.128.");
            sandbox.coracle(["restart", "-t", "0", "alone"]).ok();
        }
        sandbox.coracle(["network", "connect", "one", "alone"]).ok();
        assert_eq!(eventually(&sandbox, "alone", "wget -qO- http://first/"), "one");
        sandbox.coracle(["rm", "-f", "-t", "0", "alone"]).ok();
        // What was joined is joined again at the next start.
        sandbox.coracle(["restart", "-t", "0", "mover"]).ok();
        assert_eq!(eventually(&sandbox, "mover", "wget -qO- http://second/"), "two");
        sandbox.coracle(["rm", "-f", "-t", "0", "mover", "first", "second"]).ok();
        sandbox.coracle(["network", "prune", "-f"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}

#[test]
fn addresses_that_were_asked_for_stay() {
    for (lan, sandbox, before) in require!(hosts()) {
        sandbox
            .coracle([
                "network",
                "create",
                "--subnet",
                "10.201.7.0/24",
                "--ipv6",
                "--subnet",
                "fd00:201:7::/64",
                "app",
            ])
            .ok();
        let fixed = ["run", "-d", "--name", "fixed", "--network", "app:ip=10.201.7.77,mac=02:00:00:00:00:77"];
        sandbox.coracle(fixed).args(["lab/busybox", "sleep", "600"]).ok();
        for _ in 0..2 {
            let shown = sandbox.coracle(["exec", "fixed", "ip", "address", "show", "eth0"]).ok();
            shown.stdout_has("10.201.7.77/24").stdout_has("02:00:00:00:00:77").stdout_has("fd00:201:7::");
            sandbox.coracle(["restart", "-t", "0", "fixed"]).ok();
        }
        let local = ["run", "--rm", "--network", "app", "--link-local-ip", "169.254.77.7", "lab/busybox"];
        sandbox.coracle(local).args(["ip", "address", "show", "eth0"]).ok().stdout_has("169.254.77.7/16");
        let taken = ["run", "--rm", "--network", "app", "--ip", "10.201.7.77", "lab/busybox", "true"];
        sandbox.coracle(taken).fails(125).stderr_has("already allocated");
        let outside = ["run", "--rm", "--network", "app", "--ip", "10.9.9.9", "lab/busybox", "true"];
        sandbox.coracle(outside).fails(125).stderr_has("not in any subnet");
        sandbox.coracle(["rm", "-f", "-t", "0", "fixed"]).ok();
        sandbox.coracle(["network", "rm", "app"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}

#[test]
fn fifty_containers_eight_at_a_time() {
    for (lan, sandbox, before) in require!(hosts()) {
        sandbox.coracle(["network", "create", "crowd"]).ok();
        let numbers = std::sync::Mutex::new(0..50);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    loop {
                        let Some(number) = numbers.lock().unwrap().next() else { return };
                        let run = ["run", "-d", "--network", "crowd", "--name", &format!("c{number}")];
                        sandbox.coracle(run).args(["lab/busybox", "sleep", "6000"]).ok();
                    }
                });
            }
        });
        let ids = sandbox.coracle(["ps", "-q"]).ok();
        assert_eq!(ids.lines().len(), 50);
        let hosts: String = ids
            .lines()
            .iter()
            .map(|id| sandbox.coracle(["exec", id, "hostname", "-i"]).ok().text().to_owned() + "\n")
            .collect();
        let mut addresses: Vec<&str> = hosts.lines().collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), 50, "{addresses:?}");
        for name in ["c0", "c25", "c49"] {
            eventually(&sandbox, "c1", &format!("nslookup {name}"));
        }
        sandbox.coracle(["rm", "-f", "-t", "0", "--all"]).timeout(Duration::from_secs(300)).ok();
        sandbox.coracle(["network", "rm", "crowd"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}

#[test]
fn nginx_and_postgresql() {
    let made = Sandbox::both().and_then(|both| {
        both.into_iter().map(|sandbox| on_a_host_with(sandbox, "lab/services")).collect::<Result<Vec<_>, _>>()
    });
    for (lan, sandbox, before) in require!(made) {
        sandbox.coracle(["run", "-d", "--name", "web", "-p", "8080:80", "lab/services"]).ok();
        for address in ["127.0.0.1", "[::1]", &lan.host.ipv4] {
            assert!(get(&lan.host, &format!("http://{address}:8080/")).contains("nginx"), "{address}");
        }
        assert!(get(&lan.client, &format!("http://{}:8080/", lan.host.ipv4)).contains("nginx"));
        sandbox.coracle(["logs", "web"]).ok().stdout_has(&format!("{} - ", lan.client.ipv4));
        sandbox.coracle(["port", "web"]).ok().stdout_has("80/tcp -> 0.0.0.0:8080");
        sandbox.coracle(["network", "create", "app"]).ok();
        let server = "initdb -A trust -D /tmp/data >/dev/null && echo 'host all all all trust' >>/tmp/data/pg_hba.conf && exec postgres -D /tmp/data -h 0.0.0.0 -k /tmp";
        let run = [
            "run",
            "-d",
            "--name",
            "db",
            "--network",
            "app",
            "--user",
            "postgres",
            "lab/services",
            "sh",
            "-c",
        ];
        sandbox.coracle(run).arg(server).ok();
        let query = "for i in $(seq 100); do psql -h db -U postgres -tAc 'select 6 * 7' 2>/dev/null && exit; sleep 0.2; done; exit 1";
        let asked = sandbox.coracle(["run", "--rm", "--network", "app", "lab/services", "sh", "-c", query]);
        asked.timeout(Duration::from_secs(120)).ok().stdout_is("42");
        sandbox.coracle(["rm", "-f", "-t", "0", "--all"]).ok();
        sandbox.coracle(["network", "prune", "-f"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}
