//! `image trust`: rules said and shown.

use crate::support::{GpgKey, Sandbox, require};

#[test]
fn rules_are_set_and_shown_as_podman_shows_them() {
    let sandbox = require!(Sandbox::user());
    let key = require!(GpgKey::new(&sandbox, "good@lab.test", "", "never"));
    let policy = "home/.config/containers/policy.json";
    std::fs::remove_file(sandbox.path(policy)).unwrap();
    let trust = |arguments: &[&str]| sandbox.coracle(["image", "trust"]).args(arguments.iter().copied());
    let file = sandbox.path("work/policy.json");
    let at = format!("--policypath={}", file.display());
    let public = key.public.to_str().unwrap();
    trust(&["set", &at, "-t", "accept", "q.io"]).fails(1).stderr_has("default trust policy must be set");
    trust(&["set", &at, "-t", "reject", "default"]).ok();
    trust(&["set", &at, "-t", "accept", "q.io"]).ok();
    trust(&["set", &at, "-f", public, "q.io/signed"]).ok();
    trust(&["set", &at, "-t", "sigstoreSigned", "-f", public, "r.io"]).ok();
    trust(&["set", &at, "q.io/none"]).fails(1).stderr_has("at least one public key must be defined");
    trust(&["set", &at, "-t", "maybe", "q.io"]).fails(1).stderr_has("invalid choice: maybe (choose from");
    trust(&["set", &at, "-f", "nowhere", "q.io"]).fails(1).stderr_has("there is no file");
    trust(&["set", &at, "-t", "accept", "q io"]).fails(1).stderr_has("invalid image uri");
    sandbox.write("places/q.yaml", "docker:\n  q.io:\n    sigstore: https://q.io/sigs\n");
    let places = format!("--registrypath={}", sandbox.path("places").display());
    let shown = trust(&["show", &at, &places]).ok();
    let lines = shown.lines();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["TRANSPORT", "NAME", "TYPE", "ID", "STORE"]);
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["all", "default", "reject"]);
    assert_eq!(
        lines[3].split_whitespace().collect::<Vec<_>>(),
        ["repository", "q.io/signed", "signed", "good@lab.test", "https://q.io/sigs"]
    );
    assert_eq!(trust(&["show", &at, "-n"]).ok().lines().len(), 4);
    trust(&["show", &at, "--raw"]).ok().stdout_is(sandbox.read("work/policy.json").trim());
    assert_eq!(trust(&["show", &at, "-n", "r.io"]).ok().lines().len(), 1);
    let own = trust(&["show", &at, &places, "--json"]).ok().json();
    let podman = ["image", "trust", "show", "--json", &at, &places];
    let foreign = require!(sandbox.podman(podman)).ok().json();
    for (own, foreign) in own.as_array().unwrap().iter().zip(foreign.as_array().unwrap()) {
        for field in ["transport", "name", "repo_name", "sigstore", "type"] {
            assert_eq!(own[field], foreign[field], "{field}: {own} {foreign}");
        }
    }
    assert_eq!(own.as_array().unwrap().len(), foreign.as_array().unwrap().len());
    // Without a path it is the user's own file, which takes the system's place.
    assert!(!sandbox.path(policy).exists());
    trust(&["set", "-t", "accept", "default"]).ok();
    assert!(sandbox.path(policy).exists());
    trust(&["set", "-t", "reject", "docker.io/lab"]).ok();
    sandbox.registry().provide("lab/busybox");
    sandbox
        .coracle(["pull", "-q", "lab/busybox"])
        .fails(1)
        .stderr_has("running image docker.io/lab/busybox:latest is rejected by policy");
}
