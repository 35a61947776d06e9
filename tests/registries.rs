//! Ways to a registry: mirrors as their mode says, rewritten names, proxies.

use crate::support::{Registry, RegistryOptions, Sandbox, registry, require};

fn empty() -> Registry {
    Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }).unwrap()
}

/// How often a registry was asked for a manifest of this repository.
fn asked(registry: &Registry, repository: &str) -> usize {
    let path = format!("/v2/{repository}/manifests/");
    registry.log().lines().filter(|line| line.contains("\"GET ") && line.contains(&path)).count()
}

#[test]
fn mirrors_are_asked_as_their_mode_says() {
    let sandbox = require!(Sandbox::user());
    let (main, mirror) = (empty(), empty());
    let shared = registry();
    shared.provide("lab/busybox");
    sandbox.use_registry(shared);
    let from = format!("docker://{}/lab/busybox", shared.address());
    for to in
        [format!("{}/lab/busybox", main.address()), format!("{}/kept/there/lab/busybox", mirror.address())]
    {
        let flags = ["image", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false"];
        sandbox.coracle(flags).args([&from, &format!("docker://{to}")]).ok();
    }
    let digest = main.digest("lab/busybox", "latest").unwrap();
    let (by_tag, by_digest) =
        ("hub.test/lab/busybox:latest".to_owned(), format!("hub.test/lab/busybox@{digest}"));
    let conf = |registry: &str, each: &str| {
        let text = format!(
            "[[registry]]\nprefix = \"hub.test\"\nlocation = \"{}\"\ninsecure = true\n{registry}\n\
             [[registry.mirror]]\nlocation = \"{}/kept/there\"\ninsecure = true\n{each}\n",
            main.address(),
            mirror.address()
        );
        sandbox.write("conf/registries.conf", text);
    };
    for (registry, each, tag_at_mirror, digest_at_mirror) in [
        ("", "", true, true),
        ("", "pull-from-mirror = \"all\"", true, true),
        ("", "pull-from-mirror = \"digest-only\"", false, true),
        ("", "pull-from-mirror = \"tag-only\"", true, false),
        ("mirror-by-digest-only = true", "", false, true),
    ] {
        conf(registry, each);
        for (name, at_mirror) in [(&by_tag, tag_at_mirror), (&by_digest, digest_at_mirror)] {
            let before = (asked(&main, "lab/busybox"), asked(&mirror, "kept/there/lab/busybox"));
            sandbox.coracle(["pull", "-q", name]).ok();
            let after = (asked(&main, "lab/busybox"), asked(&mirror, "kept/there/lab/busybox"));
            assert_eq!(
                (after.0 > before.0, after.1 > before.1),
                (!at_mirror, at_mirror),
                "{registry} {each} {name}"
            );
            // The image is called what it was asked for, not what it is called where it came from.
            sandbox.coracle(["image", "exists", name]).ok();
            sandbox.coracle(["rmi", "-f", name]).ok();
        }
    }
    conf("mirror-by-digest-only = true", "pull-from-mirror = \"all\"");
    sandbox.coracle(["pull", "-q", &by_tag]).fails(1).stderr_has("pull-from-mirror: use one");
    conf("", "pull-from-mirror = \"sometimes\"");
    sandbox.coracle(["pull", "-q", &by_tag]).fails(1).stderr_has("sometimes");
    conf("blocked = true", "");
    sandbox.coracle(["pull", "-q", &by_tag]).fails(1).stderr_has("blocked");
    // A mirror that is down or does not have it is passed over.
    let text = sandbox.read("conf/registries.conf").replace("blocked = true\n", "");
    sandbox.write("conf/registries.conf", text.replace("/kept/there", "/nowhere"));
    sandbox.coracle(["pull", "-q", "--retry=0", &by_tag]).ok();
}

#[test]
fn a_registry_that_is_not_there_is_asked_again_where_somebody_says_how_often() {
    let sandbox = require!(Sandbox::user());
    let pull = |flags: &[&str]| {
        let pull = sandbox.coracle(["pull", "-q"]).args(flags.iter().copied());
        pull.arg("127.0.0.1:1/x").fails(1).stderr_has("connection refused")
    };
    pull(&[]).stderr_lacks("trying again");
    pull(&["--retry=2", "--retry-delay=10ms"]).stderr_has("trying again in 20ms (2 of 2)");
    sandbox.write("conf/containers.conf", "[engine]\nretry = 1\nretry_delay = \"10ms\"\n");
    pull(&[]).stderr_has("trying again in 10ms (1 of 1)");
    pull(&["--retry=0"]).stderr_lacks("trying again");
}

/// docker-registry answers requests that come as to a proxy, with the whole address.
#[test]
fn registries_elsewhere_are_reached_through_the_proxy() {
    let sandbox = require!(Sandbox::user());
    let proxy = empty();
    let shared = registry();
    shared.provide("lab/busybox");
    sandbox.use_registry(shared);
    let from = format!("docker://{}/lab/busybox", shared.address());
    let to = format!("docker://{}/lab/busybox", proxy.address());
    sandbox.coracle(["image", "copy", "-q", "--dest-tls-verify=false", &from, &to]).ok();
    let name = "registry.invalid/lab/busybox";
    let pull = || sandbox.coracle(["pull", "-q", "--retry=0", "--tls-verify=false", name]);
    pull().fails(1).stderr_has("cannot reach registry registry.invalid");
    let address = format!("http://{}", proxy.address());
    let through = |command: crate::support::Cmd| {
        command.env("http_proxy", &address).env("HTTPS_PROXY", "http://127.0.0.1:1")
    };
    through(pull()).ok();
    assert!(proxy.log().lines().any(|line| line.contains("registry.invalid")), "{}", proxy.log());
    through(sandbox.coracle([
        "push",
        "-q",
        "--retry=0",
        "--tls-verify=false",
        name,
        "registry.invalid/lab/pushed",
    ]))
    .ok();
    assert!(proxy.digest("lab/pushed", "latest").is_some());
    through(pull()).env("NO_PROXY", "registry.invalid").fails(1).stderr_has("cannot reach registry");
    // This host is not asked through it.
    let own = sandbox.coracle(["pull", "-q", "--retry=0"]).arg(format!("{}/lab/busybox", shared.address()));
    own.env("http_proxy", "http://127.0.0.1:1").ok();
}
