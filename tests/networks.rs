//! Networks as definitions: made, listed, inspected, changed, removed. No traffic.

use crate::network::on_a_host_with;
use crate::support::{Lan, Missing, Sandbox, program, require, skip};
use serde_json::Value;
use std::path::Path;

/// `network create` with these words; the network's ID.
#[track_caller]
fn create(sandbox: &Sandbox, words: &[&str]) -> String {
    let made = sandbox.coracle(["network", "create"]).args(words.iter().copied()).ok().stderr_is_empty();
    let id = made.text().trim().to_owned();
    assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    id
}

#[track_caller]
fn inspected(sandbox: &Sandbox, name: &str) -> Value {
    sandbox.coracle(["network", "inspect", name]).ok().json()[0].clone()
}

#[test]
fn a_definitions_life() {
    for sandbox in require!(Sandbox::both()) {
        let network = |words: &[&str]| sandbox.coracle(["network"]).args(words.iter().copied());
        let only_default = network(&["ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"]).ok();
        assert_eq!(only_default.text(), "bridge bridge local");
        let id = create(&sandbox, &["app"]);
        let other = create(&sandbox, &["--label", "tier=db", "db"]);
        let listed = network(&["ls"]).ok();
        assert!(listed.lines()[0].starts_with("NETWORK ID"), "{}", listed.text());
        assert_eq!(listed.lines()[1], format!("{}  app         bridge      local", &id[..12]));
        assert_eq!(network(&["ls", "-q", "--no-trunc", "-f", "label=tier"]).ok().text().trim(), other);
        assert_eq!(
            network(&["ls", "-n", "-f", "type=builtin", "--format", "{{.Name}}"]).ok().text(),
            "bridge"
        );
        for name in ["app", &id, &id[..10], "bridge", "default", "podman"] {
            network(&["exists", name]).ok();
            network(&["inspect", name]).ok();
        }
        network(&["exists", "nope"]).fails(1).stderr_is_empty();
        network(&["inspect", "nope"]).fails(1).stdout_is("[]").stderr_has("network nope not found");
        sandbox.coracle(["inspect", "--type", "network", "-f", "{{.Name}}", "app"]).ok().stdout_is("app");
        sandbox.coracle(["inspect", "-f", "{{.Driver}}", "app"]).ok().stdout_is("bridge");
        network(&["create", "app"]).fails(1).stderr_has("network with name app already exists");
        assert_eq!(network(&["create", "--ignore", "app"]).ok().text().trim(), id);
        network(&["rm", "bridge"]).fails(1).stderr_has("default network bridge cannot be removed");
        network(&["rm", "app", "nope"]).fails(1).stdout_is("app").stderr_has("network nope not found");
        network(&["rm", "-f", "nope"]).ok().stdout_is("");
        network(&["prune"]).stdin("n\n").ok().stdout_has("Are you sure");
        network(&["exists", "db"]).ok();
        network(&["prune", "-f", "--filter", "label=none"]).ok().stdout_is("");
        network(&["prune", "-f"]).ok().stdout_is("Deleted Networks:\ndb");
        assert_eq!(network(&["ls", "-q"]).ok().lines().len(), 1);
    }
}

#[test]
fn what_a_network_is_made_of() {
    for sandbox in require!(Sandbox::both()) {
        create(
            &sandbox,
            &[
                "--subnet=10.251.7.0/24",
                "--gateway=10.251.7.254",
                "--ip-range=10.251.7.128/26",
                "--subnet",
                "fd25:7::/64",
                "--aux-address",
                "router=10.251.7.9",
                "--route",
                "10.252.0.0/16,10.251.7.9,7",
                "--dns",
                "192.0.2.53",
                "--internal",
                "-o",
                "com.docker.network.driver.mtu=1400",
                "--opt",
                "isolate=true",
                "--attachable",
                "--label",
                "a=b",
                "full",
            ],
        );
        let got = inspected(&sandbox, "full");
        for (field, want) in [
            ("/subnets/0/gateway", "10.251.7.254"),
            ("/subnets/0/lease_range/start_ip", "10.251.7.128"),
            ("/subnets/0/lease_range/end_ip", "10.251.7.191"),
            ("/subnets/1/gateway", "fd25:7::1"),
            ("/routes/0/gateway", "10.251.7.9"),
            ("/network_dns_servers/0", "192.0.2.53"),
            ("/options/mtu", "1400"),
            ("/Options/com.docker.network.driver.mtu", "1400"),
            ("/options/isolate", "true"),
            ("/Labels/a", "b"),
            ("/IPAM/Driver", "default"),
            ("/IPAM/Config/0/Subnet", "10.251.7.0/24"),
            ("/IPAM/Config/0/IPRange", "10.251.7.128/26"),
            ("/IPAM/Config/0/AuxiliaryAddresses/router", "10.251.7.9"),
            ("/Scope", "local"),
        ] {
            assert_eq!(got.pointer(field).and_then(Value::as_str), Some(want), "{field} of {got:#}");
        }
        for field in [
            "/EnableIPv4",
            "/EnableIPv6",
            "/Internal",
            "/internal",
            "/Attachable",
            "/dns_enabled",
            "/ipv6_enabled",
        ] {
            assert_eq!(got.pointer(field), Some(&Value::Bool(true)), "{field}");
        }
        let network = |words: &[&str]| sandbox.coracle(["network"]).args(words.iter().copied());
        let template = "{{(index .IPAM.Config 0).Gateway}} {{range .Subnets}}{{.Subnet}} {{end}}{{.ID}}";
        let shown = network(&["inspect", "-f", template, "full"]).ok();
        let id = got["Id"].as_str().unwrap();
        assert_eq!(shown.text().trim(), format!("10.251.7.254 10.251.7.0/24 fd25:7::/64 {id}"));
        network(&["update", "--dns-add", "192.0.2.54,192.0.2.55", "--dns-drop", "192.0.2.53", "full"]).ok();
        let servers = inspected(&sandbox, "full")["network_dns_servers"].clone();
        assert_eq!(servers, serde_json::json!(["192.0.2.54", "192.0.2.55"]));
        network(&["update", "--dns-add", "192.0.2.54", "bridge"]).fails(1).stderr_has("DNS is not enabled");
    }
}

#[test]
fn what_cannot_be_made_says_why() {
    let sandbox = require!(Sandbox::root());
    create(&sandbox, &["--subnet", "10.251.8.0/24", "taken"]);
    for (words, phrase) in [
        (&["--subnet", "10.251.8.128/25", "x"][..], "already used on the host or by another config"),
        (&["--subnet", "10.127.4.0/24", "x"], "already used on the host or by another config"),
        (&["--subnet", "127.0.0.0/16", "x"], "already used on the host or by another config"),
        (&["--subnet", "nope", "x"], "invalid CIDR address: nope"),
        (&["--gateway", "10.9.0.1", "x"], "must have a corresponding subnet"),
        (&["--subnet", "10.251.9.0/24", "--gateway", "10.9.0.1", "x"], "no matching subnet for gateway"),
        (&["-d", "overlay", "x"], "swarm"),
        (&["-d", "weave", "x"], "unsupported network driver"),
        (&["-d", "macvlan", "-o", "parent=nosuch0", "x"], "parent interface nosuch0 does not exist"),
        (&["--interface-name", "lo", "x"], "bridge name lo already in use"),
        (&["-o", "colour=red", "x"], "unsupported bridge network option colour"),
        (&["-o", "com.docker.network.bridge.enable_icc=maybe", "x"], "invalid network option"),
        (&["-o", "com.docker.network.bridge.enable_ip_masquerade=false", "x"], "not supported"),
        (&["--scope", "swarm", "x"], "swarm"),
        (&["--config-only", "x"], "swarm"),
        (&["--ipam-driver", "calico", "x"], "unsupported ipam driver"),
        (&["host"], "conflicts with a valid network mode"),
        (&["a/b"], "network name a/b invalid"),
        (&["--disable-dns", "--dns", "192.0.2.1", "x"], "cannot be given together"),
    ] {
        let failed = sandbox.coracle(["network", "create"]).args(words.iter().copied()).fails(1);
        let failed = failed.stderr_has(phrase);
        assert_eq!(failed.text(), "", "{words:?}");
    }
    let user = require!(Sandbox::user());
    let refused = user.coracle(["network", "create", "-d", "macvlan", "-o", "parent=lo", "x"]).fails(1);
    refused.stderr_has("needs root");
}

/// On a host (a network namespace) with a bridge, an address and a route where the first networks would go.
#[test]
fn the_hosts_subnets_are_left_alone() {
    let sandbox = require!(Sandbox::root());
    let unshare = require!(program("unshare"));
    require!(program("ip"));
    let host = "ip link set lo up && ip link add coracle1 type bridge && ip link add eth7 type veth peer name eth8 && \
                ip addr add 10.128.0.9/24 dev eth7 && ip addr add fd77::9/64 dev eth7 && ip link set eth7 up && ip link set eth8 up && \
                ip route add 10.128.1.128/25 via 10.128.0.1 && exec \"$@\"";
    let on_host = |words: &[&str]| {
        let command = sandbox.coracle(["network"]).args(words.iter().copied());
        command.wrapped([unshare.to_str().unwrap(), "--net", "sh", "-c", host, "sh"])
    };
    on_host(&["create", "app"]).ok();
    let got = inspected(&sandbox, "app");
    assert_eq!(got["subnets"][0]["subnet"], "10.128.2.0/24");
    assert_eq!(got["network_interface"], "coracle2");
    let refused = on_host(&["create", "--subnet", "fd77::/96", "x"]).fails(1);
    refused.stderr_has("is already used on the host").stderr_has("interface eth7 has addresses in it");
    on_host(&["create", "--interface-name", "coracle1", "x"])
        .fails(1)
        .stderr_has("bridge name coracle1 already in use");
    on_host(&["create", "-d", "macvlan", "-o", "parent=eth7", "--subnet", "10.128.0.0/24", "lan"]).ok();
    assert_eq!(inspected(&sandbox, "lan")["network_interface"], "eth7");
}

#[test]
fn pools_and_the_default_subnet_come_from_the_configuration() {
    for sandbox in require!(Sandbox::both()) {
        let conf = sandbox.write(
            "conf/pools.conf",
            "[network]\ndefault_subnet = \"10.253.0.0/20\"\n\
             default_subnet_pools = [{base = \"10.253.16.0/26\", size = 27}, {base = \"10.253.32.0/20\", size = 26}]\n",
        );
        let network = |words: &[&str]| {
            sandbox.coracle(["network"]).args(words.iter().copied()).env("CONTAINERS_CONF_OVERRIDE", &conf)
        };
        let subnet = |name: &str| {
            let shown = network(&["inspect", "-f", "{{range .Subnets}}{{.Subnet}}{{end}}", name]).ok();
            shown.text().trim().to_owned()
        };
        for name in ["a", "b", "c"] {
            network(&["create", name]).ok();
        }
        let found: Vec<_> = ["bridge", "a", "b", "c"].map(subnet).into();
        assert_eq!(found, ["10.253.0.0/20", "10.253.16.0/27", "10.253.16.32/27", "10.253.32.0/26"]);
    }
}

#[test]
fn networks_made_at_the_same_time_share_nothing() {
    for sandbox in require!(Sandbox::both()) {
        let running: Vec<_> =
            (0..8).map(|_| sandbox.coracle(["network", "create", "--ipv6"]).spawn()).collect();
        for process in running {
            process.wait().code(0);
        }
        let all = sandbox.coracle(["network", "ls", "--format", "json"]).ok().json();
        let distinct = |field: &str| {
            let values = all.as_array().unwrap().iter().map(|n| n.pointer(field).unwrap().to_string());
            values.collect::<std::collections::BTreeSet<_>>().len()
        };
        for field in ["/name", "/id", "/network_interface", "/subnets/0/subnet"] {
            assert_eq!(distinct(field), 9, "{field}: {all:#}");
        }
    }
}

/// podman reads the definitions, and ours reads what podman made beside them.
#[test]
fn podman_reads_the_same_files() {
    let sandbox = require!(Sandbox::root());
    create(&sandbox, &["--subnet", "10.251.10.0/24", "--ipv6", "--label", "a=b", "-o", "mtu=1400", "ours"]);
    let directory = sandbox.path("net");
    let conf = sandbox.write("conf/netavark.conf", "[network]\nnetwork_backend = \"netavark\"\n");
    let podman = |words: &[&str]| {
        let mut line = sandbox.podman_line().unwrap();
        line.push("--network-config-dir".into());
        line.push(directory.clone().into());
        sandbox.command(line).args(words.iter().copied()).env("CONTAINERS_CONF", &conf)
    };
    require!(sandbox.podman_line());
    if !["/usr/lib/podman/netavark", "/usr/libexec/podman/netavark"].iter().any(|p| Path::new(p).exists()) {
        return skip(&Missing("netavark (scripts/deps test)".into()));
    }
    let theirs = podman(&["network", "inspect", "ours"]).ok().json();
    let ours = inspected(&sandbox, "ours");
    for field in [
        "name",
        "id",
        "driver",
        "network_interface",
        "subnets",
        "ipv6_enabled",
        "dns_enabled",
        "labels",
        "options",
    ] {
        assert_eq!(theirs[0][field], ours[field], "{field}");
    }
    podman(&["network", "create", "theirs"]).ok();
    let theirs = inspected(&sandbox, "theirs");
    assert_eq!(theirs["driver"], "bridge");
    sandbox.coracle(["network", "rm", "theirs"]).ok();
    podman(&["network", "exists", "theirs"]).fails(1);
}

/// Containers come and go on networks while they run, and every command tells the same of it.
#[test]
fn containers_on_networks() {
    for (lan, sandbox, before) in require!(hosts()) {
        come_and_go(&sandbox);
        assert_eq!(lan.host.state(), before);
    }
}

/// One for root and one for an ordinary user, with a busybox and what is on the host before.
fn hosts() -> Result<Vec<(Lan, Sandbox, String)>, Missing> {
    Sandbox::both()?.into_iter().map(|sandbox| on_a_host_with(sandbox, "lab/busybox")).collect()
}

fn come_and_go(sandbox: &Sandbox) {
    let ok = |words: &[&str]| sandbox.coracle(words.iter().copied()).ok();
    let network = |words: &[&str]| sandbox.coracle(["network"]).args(words.iter().copied());
    network(&["create", "--subnet", "10.251.20.0/24", "app"]).ok();
    network(&["create", "--subnet", "10.251.21.0/24", "side"]).ok();
    let web = ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "app:ip=10.251.20.9,mac=02:00:00:00:00:09",
        "-p",
        "127.0.0.1:8080-8081:80-81",
        "-p",
        "5353:53/udp",
        "lab/busybox",
        "sleep",
        "1000",
    ]);
    let id = web.text().trim().to_owned();

    all_tell_the_same(sandbox);
    let got = inspected(sandbox, "app");
    assert_eq!(got["Containers"][&id]["Name"], "web");
    assert_eq!(got["Containers"][&id]["IPv4Address"], "10.251.20.9/24");
    assert_eq!(got["Containers"][&id]["MacAddress"], "02:00:00:00:00:09");
    assert_eq!(got["containers"][&id]["interfaces"]["eth0"]["subnets"][0]["gateway"], "10.251.20.1");
    assert_eq!(inspected(sandbox, "side")["Containers"], serde_json::json!({}));
    network(&["ls", "-f", "dangling=true", "--format", "{{.Name}}"]).ok().stdout_is("bridge\nside");

    network(&["connect", "--alias", "www", "--ip", "10.251.21.7", "side", "web"]).ok();
    network(&["connect", "side", "web"]).fails(1).stderr_has("already");
    ok(&["exec", "web", "ip", "-4", "addr", "show", "eth1"]).stdout_has("10.251.21.7/24");
    network(&["rm", "side"]).fails(1).stderr_has("network side is being used by container web");
    network(&["prune", "-f"]).ok().stdout_is("");
    network(&["disconnect", "side", "web"]).ok();
    network(&["disconnect", "side", "web"]).fails(1);
    network(&["disconnect", "-f", "side", "web"]).ok();
    network(&["disconnect", "-f", "side", "nope"]).ok();
    sandbox.coracle(["exec", "web", "ip", "addr", "show", "eth1"]).fails(1);
    // docker's reference of network connect and of run.
    let sysctls = "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.forwarding=1";
    network(&["connect", &format!("--driver-opt=\"{sysctls}\""), "side", "web"]).ok();
    let settings = ["log_martians", "forwarding"].map(|name| format!("/proc/sys/net/ipv4/conf/eth1/{name}"));
    sandbox.coracle(["exec", "web", "cat"]).args(settings).ok().stdout_is("1\n1");
    let network_flag = format!("--network=name=app,\"driver-opt={sysctls}\",ip=10.251.20.7");
    let read = ["lab/busybox", "cat", "/proc/sys/net/ipv4/conf/eth0/log_martians"];
    ok(&[&["run", "--rm", &network_flag][..], &read].concat()).stdout_is("1");
    network(&["connect", "--driver-opt", &sysctls.replace("IFNAME", "eth0"), "side", "web"])
        .fails(1)
        .stderr_has("unrecognised network interface sysctl");
    network(&["reload", "web"]).ok().stdout_is("web");
    network(&["rm", "-f", "side"]).ok().stdout_is("side");
    sandbox.coracle(["exec", "web", "ip", "addr", "show", "eth1"]).fails(1);
    ok(&["stop", "-t", "0", "web"]);
    let addresses = "{{.NetworkSettings.IPAddress}}{{.NetworkSettings.Networks.app.MacAddress}}";
    ok(&["inspect", "-f", addresses, "web"]).stdout_is("");
    ok(&["port", "web"]).stdout_is("");
    network(&["prune", "-f"]).ok().stdout_is("");
    ok(&["rm", "web"]);
    network(&["prune", "-f"]).ok().stdout_is("Deleted Networks:\napp");
}

/// What port, inspect and ps say of the container above.
fn all_tell_the_same(sandbox: &Sandbox) {
    let ok = |words: &[&str]| sandbox.coracle(words.iter().copied()).ok();
    let shown = |format: &str| ok(&["inspect", "-f", format, "web"]).text().trim().to_owned();
    ok(&["port", "web"]).stdout_is(
        "53/udp -> 0.0.0.0:5353\n53/udp -> [::]:5353\n80/tcp -> 127.0.0.1:8080\n81/tcp -> 127.0.0.1:8081",
    );
    ok(&["container", "port", "web", "81"]).stdout_is("127.0.0.1:8081");
    ok(&["port", "-l", "53/udp"]).stdout_is("0.0.0.0:5353\n[::]:5353");
    assert_eq!(ok(&["port", "-a"]).lines().len(), 4);
    sandbox.coracle(["port", "web", "99"]).fails(1).stderr_has("no public port '99/tcp' published for web");

    let settings =
        "{{with .NetworkSettings}}{{.IPAddress}}/{{.IPPrefixLen}} {{.Gateway}} {{.MacAddress}}{{end}}";
    assert_eq!(shown(settings), "10.251.20.9/24 10.251.20.1 02:00:00:00:00:09");
    assert_eq!(
        shown("{{range $name, $n := .NetworkSettings.Networks}}{{$name}} {{$n.IPAddress}}{{end}}"),
        "app 10.251.20.9"
    );
    assert_eq!(shown("{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}"), "8080");
    assert_eq!(shown("{{(index .NetworkSettings.Networks.app.IPAMConfig \"IPv4Address\")}}"), "10.251.20.9");
    assert_eq!(
        shown("{{.HostConfig.NetworkMode}} {{.HostConfig.PortBindings}}"),
        "app map[53/udp:[{ 5353}] 80/tcp:[{127.0.0.1 8080}] 81/tcp:[{127.0.0.1 8081}]]"
    );
    assert_eq!(shown("{{json .Config.ExposedPorts}}"), r#"{"53/udp":{},"80/tcp":{},"81/tcp":{}}"#);
    let id_of_app = ok(&["network", "inspect", "-f", "{{.Id}}", "app"]).text().trim().to_owned();
    assert_eq!(shown("{{.NetworkSettings.Networks.app.NetworkID}}"), id_of_app);
    ok(&["ps", "--format", "{{.Networks}} {{.Ports}}"])
        .stdout_is("app 0.0.0.0:5353->53/udp, [::]:5353->53/udp, 127.0.0.1:8080-8081->80-81/tcp");
    let listed = ok(&["ps", "--format", "json"]).json();
    assert_eq!(listed[0]["Ports"][0]["host_port"], 8080);
    assert_eq!(listed[0]["Networks"][0], "app");
    for (filter, count) in [
        ("network=app", 1),
        (&*format!("network={}", &id_of_app[..8]), 1),
        ("network=side", 0),
        ("publish=8081", 1),
        ("publish=5353/udp", 1),
        ("publish=80", 0),
        ("expose=80-90", 1),
        ("expose=53", 0),
    ] {
        assert_eq!(ok(&["ps", "-q", "-f", filter]).lines().len(), count, "{filter}");
    }
}

/// A user's default network is none of these, and its containers can be on some nevertheless.
#[test]
fn a_users_default_network_and_others_beside_it() {
    for (lan, sandbox, before) in require!(hosts()) {
        if sandbox.uid() == 0 {
            continue;
        }
        let ok = |words: &[&str]| sandbox.coracle(words.iter().copied()).ok();
        let shown = |format: &str| ok(&["inspect", "-f", format, "web"]).text().trim().to_owned();
        ok(&["network", "create", "--subnet", "10.251.22.0/24", "app"]);
        ok(&["run", "-d", "--name", "web", "-p", "8080:80", "lab/busybox", "sleep", "1000"]);
        let names = "{{range $name, $n := .NetworkSettings.Networks}}{{$name}} {{end}}";
        assert_eq!(shown(names), "pasta");
        assert_eq!(shown("{{.HostConfig.NetworkMode}}"), "pasta");
        assert!(!shown("{{.NetworkSettings.IPAddress}}").is_empty());
        ok(&["ps", "--format", "{{.Networks}} {{.Ports}}"])
            .stdout_is("pasta 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
        ok(&["port", "web", "80"]).stdout_is("0.0.0.0:8080\n[::]:8080");
        ok(&["network", "connect", "--ip", "10.251.22.7", "app", "web"]);
        assert_eq!(shown(names), "app pasta");
        assert_eq!(shown("{{.NetworkSettings.Networks.app.IPAddress}}"), "10.251.22.7");
        ok(&["ps", "--format", "{{.Networks}}", "-f", "network=app"]).stdout_is("pasta,app");
        ok(&["ps", "-q", "-f", "network=pasta"]);
        ok(&["network", "rm", "-f", "app"]);
        assert_eq!(shown(names), "pasta");
        ok(&["rm", "-f", "-t", "0", "web"]);
        assert_eq!(lan.host.state(), before);
    }
}
