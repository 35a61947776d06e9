//! An ordinary user's containers on their default network and on bridges of their own, with real packets.

use crate::network::{get, serve};
use crate::support::lab::{Echo, kill};
use crate::support::{Lan, Missing, Sandbox, require};
use coracle::engine::network::user_mode;

/// An ordinary user on the host of a link, with a busybox.
fn user_on_a_host() -> Result<(Lan, Sandbox), Missing> {
    let lan = Lan::new()?;
    let mut sandbox = Sandbox::user()?;
    sandbox.pull("lab/busybox");
    sandbox.move_to(&lan.host);
    Ok((lan, sandbox))
}

#[test]
fn a_users_container_is_on_the_hosts_network_and_publishes_ports() {
    let (lan, sandbox) = require!(user_on_a_host());
    let before = lan.host.state();
    serve(&sandbox, "web", &["-p", "8080:80"], "hello");
    for address in ["127.0.0.1", "[::1]", &lan.host.ipv4, &format!("[{}]", lan.host.ipv6)] {
        assert_eq!(get(&lan.host, &format!("http://{address}:8080/")), "hello", "{address} from the host");
    }
    assert_eq!(get(&lan.client, &format!("http://{}:8080/", lan.host.ipv4)), "hello");
    sandbox.coracle(["logs", "web"]).ok().stderr_has(&lan.client.ipv4);
    assert_eq!(get(&lan.client, &format!("http://[{}]:8080/", lan.host.ipv6)), "hello");
    sandbox.coracle(["logs", "web"]).ok().stderr_has(&lan.client.ipv6);
    sandbox.coracle(["port", "web"]).ok().stdout_has("80/tcp -> 0.0.0.0:8080");

    let _host = Echo::new(&lan.host.namespace(), &format!("{}:7001", lan.host.ipv4));
    let _world = Echo::new(&lan.client.namespace(), "[::]:7000");
    for to in [
        "host.containers.internal 7001".to_owned(),
        format!("{} 7000", lan.client.ipv4),
        format!("{} 7000", lan.client.ipv6),
    ] {
        // Its own direction stays open: Debian 12's pasta forgets to close the other one after that.
        let script = format!("mkfifo /f; exec 3<>/f; echo >&3; rm /f; nc {to} <&3");
        sandbox.coracle(["exec", "web", "sh", "-c", &script]).ok().stdout_has(if to.contains(':') {
            &lan.host.ipv6
        } else {
            &lan.host.ipv4
        });
    }

    sandbox
        .coracle(["run", "-d", "--name", "late", "-p", "8080:80", "lab/busybox", "true"])
        .fails(125)
        .stderr_has("8080");
    let id = sandbox.coracle(["inspect", "-f", "{{.Id}}", "web"]).ok().text().trim().to_owned();
    kill(&sandbox.run_root().join("coracle/run").join(&id).join("user-mode"));
    sandbox.coracle(["network", "reload", "web"]).ok();
    assert_eq!(get(&lan.client, &format!("http://{}:8080/", lan.host.ipv4)), "hello");
    sandbox.coracle(["restart", "-t", "0", "web"]).ok();
    assert_eq!(get(&lan.client, &format!("http://{}:8080/", lan.host.ipv4)), "hello");
    sandbox.coracle(["rm", "-f", "-t", "0", "web"]).ok();
    assert_eq!(lan.host.state(), before);
    let refused = lan
        .client
        .command(&["curl", "-sS", "--max-time", "3", &format!("http://{}:8080/", lan.host.ipv4)])
        .status()
        .unwrap();
    assert!(!refused.success());
}

#[test]
fn options_of_pasta_and_slirp4netns_reach_them() {
    let (lan, sandbox) = require!(user_on_a_host());
    let show = |network: &str| {
        let argv = ["run", "--rm", "--network", network, "lab/busybox", "ip", "address"];
        sandbox.coracle(argv).ok().text().to_owned()
    };
    let shown = show("pasta:-I,outside0,--mtu,1400,-a,10.44.0.5,-n,24,-g,10.44.0.1");
    assert!(
        shown.contains("outside0") && shown.contains("mtu 1400") && shown.contains("10.44.0.5/24"),
        "{shown}"
    );
    let shown = show("slirp4netns:cidr=10.45.0.0/24,mtu=1300");
    assert!(
        shown.contains("tap0") && shown.contains("mtu 1300") && shown.contains("10.45.0.100/24"),
        "{shown}"
    );
    let wrong = ["run", "--rm", "--network", "slirp4netns:colour=red", "lab/busybox", "true"];
    sandbox.coracle(wrong).fails(125).stderr_has("unknown option for slirp4netns: \"colour=red\"");
    let wrong = ["run", "--rm", "--network", "pasta:--colour", "lab/busybox", "true"];
    sandbox.coracle(wrong).fails(125).stderr_has("pasta failed").stderr_lacks("Usage");
    serve(&sandbox, "web", &["--network", "slirp4netns", "-p", "8081:80"], "slirp");
    assert_eq!(get(&lan.client, &format!("http://{}:8081/", lan.host.ipv4)), "slirp");
    sandbox.coracle(["logs", "web"]).ok().stderr_has(&lan.client.ipv4);
    sandbox.coracle(["rm", "-f", "-t", "0", "web"]).ok();
}

#[test]
fn killed_pastas_of_a_users_bridges_are_started_again_by_the_next_container() {
    let (lan, sandbox) = require!(user_on_a_host());
    sandbox.coracle(["network", "create", "--ipv6", "app"]).ok();
    serve(&sandbox, "web", &["--network", "app", "-p", "8080:80"], "hello");
    let id = sandbox.coracle(["inspect", "-f", "{{.Id}}", "web"]).ok().text().trim().to_owned();
    let directory = sandbox.run_root().join("coracle/netns");
    let works = || {
        for (from, to) in [
            (&lan.client, lan.host.ipv4.clone()),
            (&lan.client, format!("[{}]", lan.host.ipv6)),
            (&lan.host, "127.0.0.1".to_owned()),
            (&lan.host, "[::1]".to_owned()),
        ] {
            assert_eq!(get(from, &format!("http://{to}:8080/")), "hello", "{to} from {}", from.name);
        }
    };
    works();
    let log = sandbox.coracle(["logs", "web"]).ok();
    log.stderr_has(&lan.client.ipv4).stderr_has(&lan.client.ipv6);
    kill(&directory.join("rootless.pid"));
    kill(&directory.join(format!("rootless-ports-{id}.pid")));
    assert!(!user_mode::running(&directory.join("rootless.pid")));
    // It finds the server by its name, and the world.
    let _world = Echo::new(&lan.client.namespace(), "[::]:7000");
    let script = format!(
        "wget -qO- http://web/ && mkfifo /f && exec 3<>/f && echo >&3 && nc {} 7000 <&3",
        lan.client.ipv4
    );
    let next = sandbox.coracle(["run", "--rm", "--network", "app", "lab/busybox", "sh", "-c", &script]);
    next.ok().stdout_has("hello").stdout_has(&lan.host.ipv4);
    works();
    sandbox.coracle(["rm", "-f", "-t", "0", "web"]).ok();
    let left: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["rootless-users"]);
}

#[test]
fn the_namespace_of_a_users_bridges_can_be_looked_into() {
    let (_lan, sandbox) = require!(user_on_a_host());
    let unshare = || sandbox.coracle(["unshare", "--rootless-netns", "cat", "/proc/net/dev"]);
    unshare().fails(1).stderr_has("no rootless network namespace").stderr_has("--network NAME");
    sandbox.coracle(["network", "create", "--interface-name", "seen", "app"]).ok();
    sandbox.coracle(["run", "-d", "--name", "c", "--network", "app", "lab/busybox", "sleep", "100"]).ok();
    unshare().ok().stdout_has("seen:").stdout_has("tap0:");
    sandbox.coracle(["unshare", "cat", "/proc/net/dev"]).ok().stdout_lacks("seen:");
    sandbox.coracle(["unshare", "--rootless-netns", "sh", "-c", "exit 7"]).fails(7);
    sandbox.coracle(["unshare", "--rootless-netns", "no-such-command"]).fails(127);
    sandbox.coracle(["rm", "-f", "-t", "0", "c"]).ok();
    sandbox.coracle(["network", "rm", "app"]).ok();
}

#[test]
fn a_host_without_a_network_is_no_obstacle() {
    require!(crate::support::root());
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/busybox");
    let alone = ["unshare", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"];
    let run =
        sandbox.coracle(["run", "--rm", "--network=pasta", "lab/busybox", "cat", "/sys/class/net/lo/mtu"]);
    run.wrapped(alone).ok().stdout_is("65536");
}
