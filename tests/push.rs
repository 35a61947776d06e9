//! Images to registries: what arrives there is what was here, judged by podman and skopeo.

use serde_json::Value;

use crate::support::{
    Entry, Flaky, Image, Layer, Registry, RegistryOptions, Sandbox, Spoil, digest, program, require,
};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A registry of the test's own.
fn empty() -> Registry {
    Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }).unwrap()
}

fn manifest(registry: &Registry, name: &str, tag: &str) -> Value {
    serde_json::from_slice(&registry.manifest(name, tag)).unwrap()
}

fn layer_digests(manifest: &Value) -> Vec<&str> {
    manifest["layers"].as_array().unwrap().iter().map(|l| l["digest"].as_str().unwrap()).collect()
}

#[test]
fn what_was_pushed_is_pulled_and_run_by_podman() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/multi");
        let registry = empty();
        let name = format!("{}/some/where:v1", registry.address());
        let pushed = sandbox.coracle(["push", "lab/multi", &name]).ok();
        let hash = registry.digest("some/where", "v1").unwrap();
        assert!(pushed.text().starts_with(&format!("v1: digest: {hash} size: ")), "{pushed}");
        pushed
            .stderr_has(&format!("The push refers to repository [{}/some/where]", registry.address()))
            .stderr_has(": Pushed");
        let before = sandbox.coracle(["image", "inspect", "lab/multi"]).ok().json();
        sandbox.coracle(["rmi", "lab/multi"]).ok();
        require!(sandbox.podman(["pull", "-q", "--tls-verify=false", &name])).ok();
        let after = sandbox.coracle(["image", "inspect", &name]).ok().json();
        assert_eq!(before[0]["Id"], after[0]["Id"]);
        assert_eq!(before[0]["RootFS"], after[0]["RootFS"]);
        sandbox.coracle(["run", "--rm", "--network=none", &name, "cat", "overwritten"]).ok().stdout_is("new");
    }
}

#[test]
fn what_the_registry_has_is_not_sent_and_the_digest_stays() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/multi");
    let shared = sandbox.registry();
    let original = shared.digest("lab/multi", "latest").unwrap();
    // Into another repository of the registry it came from: nothing is compressed, the blobs are mounted.
    let name = format!("{}/copies/multi", shared.address());
    let pushed = sandbox.coracle(["push", "lab/multi", &name]).ok();
    pushed.stdout_has(&format!("latest: digest: {original} size: ")).stderr_has("Layer already exists");
    assert_eq!(shared.digest("copies/multi", "latest").unwrap(), original);
    // To another registry the layers are made anew; the second time they are known there.
    let registry = empty();
    let name = format!("{}/a/multi", registry.address());
    sandbox.coracle(["push", "-q", "lab/multi", &name]).ok().stdout_is(&format!("{name}:latest"));
    let again = sandbox.coracle(["push", "lab/multi", &format!("{}/b/multi", registry.address())]).ok();
    // The configuration.
    assert_eq!(again.stderr.matches(": Pushed").count(), 1, "{again}");
    assert_eq!(registry.manifest("a/multi", "latest"), registry.manifest("b/multi", "latest"));
}

#[test]
fn forms_of_manifest_and_layers_are_the_users_choice() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/multi");
    let registry = empty();
    let to = |tag: &str| format!("{}/lab/multi:{tag}", registry.address());
    let push = |flags: &[&str], tag: &str| {
        sandbox.coracle(["push", "-q"]).args(flags.iter().copied()).args(["lab/multi", &to(tag)])
    };
    push(&["--format", "v2s2"], "docker").ok();
    let docker = manifest(&registry, "lab/multi", "docker");
    assert_eq!(docker["mediaType"], DOCKER);
    assert_eq!(docker["layers"][0]["mediaType"], "application/vnd.docker.image.rootfs.diff.tar.gzip");
    assert_eq!(docker["config"]["mediaType"], "application/vnd.docker.container.image.v1+json");
    push(&["--format=oci", "--compression-format=zstd", "--compression-level=7"], "zstd").ok();
    let zstd = manifest(&registry, "lab/multi", "zstd");
    assert_eq!(zstd["mediaType"], OCI);
    assert_eq!(zstd["layers"][1]["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    for flags in [
        &["--format=v2s2", "--compression-format=zstd"][..],
        &["--format", "v2s1"],
        &["--format", "nope"],
        &["--compression-format", "bzip2"],
        &["--compression-level", "10"],
        &["--encryption-key", "jwe:/k"],
        &["--sign-by", "somebody"],
    ] {
        push(flags, "wrong").fails(1);
    }
    assert!(registry.digest("lab/multi", "wrong").is_none());
    for tag in ["docker", "zstd"] {
        let copy = sandbox.path(format!("work/{tag}"));
        require!(sandbox.skopeo(["copy", "-q", "--src-tls-verify=false"]))
            .args([format!("docker://{}", to(tag)), format!("dir:{}", copy.display())])
            .ok();
        require!(sandbox.podman(["run", "--rm", "--network=none", "--tls-verify=false"]))
            .args([&to(tag), "cat", "overwritten"])
            .ok()
            .stdout_is("new");
    }
}

#[test]
fn a_broken_upload_goes_on_where_it_broke() {
    let sandbox = require!(Sandbox::user());
    let registry = empty();
    // Does not compress, so that the proxy sees all of it.
    let noise: Vec<u8> =
        (0..6_000_000_u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    let noise = noise.iter().zip(digest(&noise).bytes().cycle()).map(|(a, b)| a ^ b).collect::<Vec<_>>();
    let shared = sandbox.registry();
    let image = Image::new([Layer::of([Entry::file("noise", noise.as_slice())])], serde_json::json!({}));
    shared.push("lab/noise", "latest", &image);
    sandbox.coracle(["pull", "-q", "lab/noise"]).ok();
    let server = registry.address().parse().unwrap();
    let flaky = Flaky::cutting_uploads(server, 1_500_000, 2);
    let name = format!("{}/lab/noise", flaky.address());
    sandbox.coracle(["push", "--retry=5", "--retry-delay=10ms", "lab/noise", &name]).ok();
    assert_eq!(flaky.cuts(), 2);
    let pushed = manifest(&registry, "lab/noise", "latest");
    for layer in layer_digests(&pushed) {
        assert_eq!(digest(&std::fs::read(registry.blob_file(layer)).unwrap()), layer);
    }
    let flaky = Flaky::cutting_uploads(server, 100_000, usize::MAX);
    let name = format!("{}/other/noise", flaky.address());
    let options = ["--retry=1", "--retry-delay=10ms", "--compression-level=3"];
    sandbox
        .coracle(["push"])
        .args(options)
        .args(["lab/noise", &name])
        .fails(1)
        .stderr_has("cannot reach registry");
    assert!(registry.digest("other/noise", "latest").is_none());
}

#[test]
fn a_bad_network_spoils_no_image() {
    let sandbox = require!(Sandbox::user());
    let registry = empty();
    let noise: Vec<u8> = (0..40_000_u32).flat_map(|i| digest(&i.to_le_bytes()).into_bytes()).collect();
    let image = Image::new([Layer::of([Entry::file("noise", noise.as_slice())])], serde_json::json!({}));
    registry.push("lab/noise", "latest", &image);
    let server = registry.address().parse().unwrap();
    for spoil in [Spoil::Cut, Spoil::Corrupt, Spoil::Reorder] {
        let flaky = Flaky::spoiling_downloads(server, spoil, 300_000, 1);
        let name = format!("{}/lab/noise", flaky.address());
        let pull = || sandbox.coracle(["pull", "-q", "--retry-delay=10ms", &name]).run();
        let first = pull();
        assert_eq!(flaky.cuts(), 1, "{spoil:?}: {first}");
        match spoil {
            // The rest is asked for.
            Spoil::Cut => assert_eq!(first.exit_code(), 0, "{first}"),
            _ => {
                first.code(1);
                assert_eq!(sandbox.coracle(["images", "-q"]).ok().text(), "");
                assert_eq!(pull().exit_code(), 0);
            }
        }
        sandbox.coracle(["rmi", &name]).ok();
    }
}

#[test]
fn tags_credentials_and_the_digest_file() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/busybox");
    let registry = empty();
    let repository = format!("{}/x/y", registry.address());
    for tag in ["one", "two"] {
        sandbox.coracle(["tag", "lab/busybox", &format!("{repository}:{tag}")]).ok();
    }
    sandbox
        .coracle(["push", "--all-tags", &repository])
        .ok()
        .stdout_has("one: digest:")
        .stdout_has("two: digest:");
    sandbox.coracle(["push", "-a", &format!("{repository}:one")]).fails(1).stderr_has("tag can't be used");
    let file = sandbox.path("work/digest");
    sandbox.coracle(["push", "-q", "--digestfile"]).arg(&file).arg(format!("{repository}:one")).ok();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), registry.digest("x/y", "one").unwrap());

    let auth = Some(("lab".into(), "secret".into()));
    let options = RegistryOptions { empty: true, tls: true, auth, ..RegistryOptions::default() };
    let guarded = Registry::start(options).unwrap();
    require!(program("openssl"));
    let name = format!("{}/x/y", guarded.address());
    let push = |flags: &[&str]| {
        sandbox.coracle(["push", "-q"]).args(flags.iter().copied()).args(["lab/busybox", &name])
    };
    let trusting = ["--tls-verify=false", "--creds=lab:secret"];
    push(&["--creds=lab:secret", "--tls-verify=true"]).fails(1).stderr_has("certs.d");
    push(&trusting[..1]).fails(1).stderr_has("requested access to").stderr_has("is denied");
    push(&["--tls-verify=false", "--creds=lab:wrong"]).fails(1).stderr_has("denied");
    push(&trusting).ok();
    push(&["--tls-verify=false", "--creds=lab:secret", "--format=v2s2"]).ok();
}

#[test]
fn what_cannot_be_pushed_is_said_at_once() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/busybox");
    sandbox.coracle(["push", "nosuch"]).fails(1).stderr_has("No such image: nosuch");
    let id = sandbox.coracle(["images", "-q", "lab/busybox"]).ok().text().to_owned();
    sandbox.coracle(["push", &id]).fails(1).stderr_has("where is it to be pushed to?");
    sandbox.coracle(["tag", "lab/busybox", "mine"]).ok();
    sandbox.coracle(["push", "mine"]).fails(1).stderr_has("of this host, of no registry");
    sandbox
        .coracle(["push", "lab/busybox", "127.0.0.1:1/x"])
        .fails(1)
        .stderr_has("cannot reach registry 127.0.0.1:1");
    sandbox
        .coracle(["push", "--platform=linux/s390x", "lab/busybox", "127.0.0.1:1/x"])
        .fails(1)
        .stderr_has("is for linux/");
}
