//! The test kit itself: what it promises holds, without the product's help.

use crate::support::{Registry, RegistryOptions, Sandbox, Who, eventually, program, registry, require};
use std::time::Duration;

const IMAGES: [&str; 8] = [
    "lab/busybox",
    "lab/config",
    "lab/multi",
    "lab/arch",
    "lab/tags",
    "lab/compressions",
    "lab/deep",
    "lab/debian",
];

#[test]
fn registry_serves_what_skopeo_understands() {
    let sandbox = require!(Sandbox::user());
    let registry = sandbox.registry();
    for name in IMAGES {
        registry.provide(name);
        let source = format!("docker://{}/{name}", registry.address());
        let inspect = require!(sandbox.skopeo(["inspect", "--tls-verify=false"])).arg(source).ok();
        assert_eq!(inspect.json()["Os"], "linux", "{inspect}");
    }
}

#[test]
fn registry_with_password_and_certificate() {
    let sandbox = require!(Sandbox::user());
    registry().provide("lab/busybox");
    let options = RegistryOptions {
        auth: Some(("lab".into(), "secret".into())),
        tls: true,
        ..RegistryOptions::default()
    };
    let registry = require!(Registry::start(options));
    let certificates = sandbox.mkdir("certs");
    std::fs::copy(registry.ca(), certificates.join("ca.crt")).unwrap();
    let source = format!("docker://{}/lab/busybox", registry.address());
    let inspect = |extra: &[&str]| {
        let command = sandbox.skopeo(["inspect", "--cert-dir"]).unwrap().arg(&certificates);
        command.args(extra.iter().copied()).arg(&source).run()
    };
    inspect(&["--creds", "lab:secret"]).code(0);
    inspect(&["--creds", "lab:wrong"]).code(1).stderr_has("auth");
    inspect(&[]).code(1).stderr_has("auth");
}

#[test]
fn sandboxes_of_podman_leave_nothing() {
    for sandbox in require!(Sandbox::both()) {
        let reference = format!("{}/lab/multi", sandbox.registry().address());
        sandbox.registry().provide("lab/multi");
        require!(sandbox.podman(["pull", "-q"])).arg(&reference).ok();
        let run = ["run", "--rm", "--network=none", "lab/multi", "cat", "overwritten"];
        require!(sandbox.podman(run)).ok().stdout_is("new");
        // podman returns before its conmon has ended.
        eventually("nothing is left of podman's container", Duration::from_secs(30), || {
            sandbox.leaks().is_empty().then_some(())
        });
    }
}

#[test]
fn commands_run_as_who_they_should() {
    for sandbox in require!(Sandbox::both()) {
        let status = sandbox.command(["cat", "/proc/self/status"]).ok();
        status.code(0).stdout_has("CapInh:\t0000000000000000");
        let id = sandbox.command(["id", "-u"]).ok();
        assert_eq!(id.text() == "0", sandbox.who == Who::Root);
        let environment = sandbox.command(["env"]).ok();
        environment.stdout_lacks("CARGO");
    }
}

#[test]
fn leaks_are_seen() {
    let sandbox = require!(Sandbox::user());
    require!(program("sleep"));
    let id = "a".repeat(64);
    sandbox.mkdir(format!("root/overlay/{id}/diff"));
    sandbox.mkdir(format!("run/coracle/containers/{id}"));
    let marker = sandbox.path("leak").display().to_string();
    let running = sandbox.command(["sh", "-c", "sleep 60; true", &marker]).spawn();
    let leaks = sandbox.leaks().join("\n");
    for expected in
        [&format!("process {}", running.pid()), "layer directory without a record", "of a container"]
    {
        assert!(leaks.contains(expected), "{leaks}");
    }
    drop(running);
    std::fs::remove_dir_all(sandbox.path("root/overlay")).unwrap();
    std::fs::remove_dir_all(sandbox.path("run/coracle")).unwrap();
}

#[test]
fn terminal_is_one() {
    let sandbox = require!(Sandbox::user());
    let mut terminal = crate::support::Pty::spawn(sandbox.command(["sh"]));
    terminal.resize(41, 97);
    terminal.send("stty size; exit 7\n");
    terminal.expect("41 97");
    assert_eq!(terminal.wait().0, 7);
}
