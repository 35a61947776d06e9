//! Images from registries: pull in all its ways, and what is stored of them.

use crate::support::{Entry, Image, Layer, Registry, RegistryOptions, Sandbox, program, registry, require};
use serde_json::json;

const ID: usize = 64;

/// A small image of its own, so that a test may spoil or remove it.
fn image(text: &str) -> Image {
    Image::new(
        [Layer::of([Entry::file("base", "base")]), Layer::of([Entry::file("text", text)])],
        json!({"Cmd": ["x"]}),
    )
}

/// The IDs of all images.
pub fn ids(sandbox: &Sandbox) -> Vec<String> {
    let listed = sandbox.coracle(["images", "-q", "--no-trunc"]).ok();
    listed.lines().iter().map(|id| id.trim_start_matches("sha256:").to_owned()).collect()
}

/// Nothing of a failed pull may be left: no layer, no staging directory.
#[track_caller]
pub fn nothing_left(sandbox: &Sandbox) {
    let root = sandbox.graph_root();
    let entries = |below: &str| -> Vec<String> {
        let read = std::fs::read_dir(root.join(below)).into_iter().flatten().flatten();
        read.map(|e| e.file_name().into_string().unwrap()).collect()
    };
    let layers: Vec<_> = entries("overlay").into_iter().filter(|name| name.len() == ID).collect();
    assert!(layers.is_empty(), "{layers:?}");
    assert!(
        entries("coracle/staging").iter().all(|n| n.ends_with(".lock")),
        "{:?}",
        entries("coracle/staging")
    );
}

#[test]
fn pull_prints_the_id_and_tells_its_progress_on_stderr() {
    for sandbox in require!(Sandbox::both()) {
        let registry = sandbox.registry();
        registry.provide("lab/busybox");
        let pulled = sandbox.coracle(["pull", "lab/busybox"]).ok();
        assert_eq!(pulled.text().len(), ID, "{pulled}");
        let pulled = pulled
            .stderr_has("latest: Pulling from lab/busybox")
            .stderr_has(": Pull complete")
            .stderr_has("Digest: sha256:")
            .stderr_has("Status: Downloaded newer image for lab/busybox:latest");
        let again = sandbox.coracle(["pull", "lab/busybox"]).ok();
        assert_eq!(again.text(), pulled.text());
        again.stderr_has(": Already exists").stderr_has("Status: Image is up to date for lab/busybox:latest");
        let quiet = sandbox.coracle(["pull", "-q", "lab/busybox:latest"]).ok().stderr_is_empty();
        assert_eq!(quiet.text(), pulled.text());
        assert_eq!(ids(&sandbox), [pulled.text()]);
    }
}

#[test]
fn several_images_and_all_tags_are_pulled_by_one_command() {
    let sandbox = require!(Sandbox::user());
    let registry = sandbox.registry();
    registry.provide("lab/tags");
    registry.provide("lab/busybox");
    let pulled = sandbox.coracle(["pull", "-q", "--all-tags", "lab/tags"]).ok();
    assert_eq!(pulled.lines().len(), 3, "{pulled}");
    let failed = sandbox.coracle(["pull", "-q", "lab/nope", "lab/busybox"]).fails(1);
    assert_eq!(failed.lines().len(), 1, "{failed}");
    failed.stderr_has("manifest for 127.0.0.1").stderr_has("/lab/nope:latest not found: manifest unknown");
    assert_eq!(ids(&sandbox).len(), 4);
}

#[test]
fn an_image_is_pulled_by_digest_and_by_tag_with_digest() {
    let sandbox = require!(Sandbox::user());
    let registry = sandbox.registry();
    registry.provide("lab/tags");
    let digest = registry.digest("lab/tags", "v1").unwrap();
    let by_digest = sandbox.coracle(["pull", "-q", &format!("lab/tags@{digest}")]).ok();
    let both = sandbox.coracle(["pull", "-q", &format!("lab/tags:v2@{digest}")]).ok();
    assert_eq!(by_digest.text(), both.text());
    sandbox.coracle(["image", "exists", &format!("lab/tags@{digest}")]).ok();
    sandbox.coracle(["image", "exists", "lab/tags:v2"]).fails(1);
    let other = format!("lab/tags@sha256:{}", "0".repeat(ID));
    sandbox.coracle(["pull", "-q", &other]).fails(1).stderr_has("not found: manifest unknown");
}

#[test]
fn the_platform_is_chosen_from_an_index() {
    let sandbox = require!(Sandbox::user());
    let registry = sandbox.registry();
    registry.provide("lab/arch");
    let arch = |flags: &[&str]| {
        let pulled = sandbox.coracle(["pull", "-q"]).args(flags.iter().copied()).arg("lab/arch").ok();
        let format = "{{.Architecture}}";
        let shown =
            require_ok(sandbox.coracle(["image", "inspect", "--format", format, pulled.text()]).run());
        (pulled.text().to_owned(), shown)
    };
    fn require_ok(outcome: crate::support::Outcome) -> String {
        if outcome.exit_code() == 0 { outcome.text().to_owned() } else { String::new() }
    }
    let (host, _) = arch(&[]);
    let (arm, _) = arch(&["--platform", "linux/arm64"]);
    let (same, _) = arch(&["--arch", "aarch64", "--variant", "v8"]);
    assert_eq!(arm, same);
    assert_ne!(arm, host);
    let (v7, _) = arch(&["--platform=linux/arm/v8"]);
    let (v6, _) = arch(&["--arch=arm", "--variant=v6"]);
    assert_ne!(v7, v6);
    sandbox
        .coracle(["pull", "-q", "--platform", "linux/s390x", "lab/arch"])
        .fails(1)
        .stderr_has("no matching manifest for linux/s390x")
        .stderr_has("linux/arm/v6, linux/arm/v7, linux/arm64/v8");
    sandbox.coracle(["pull", "-q", "lab/arch:foreign"]).fails(1).stderr_has("linux/s390x, linux/ppc64le");
    sandbox.coracle(["pull", "--platform", "nonsense", "lab/arch"]).fails(1).stderr_has("invalid platform");
}

#[test]
fn a_single_manifest_for_another_platform_is_refused_if_one_was_asked_for() {
    let sandbox = require!(Sandbox::user());
    let registry = sandbox.registry();
    registry.provide("lab/busybox");
    sandbox
        .coracle(["pull", "-q", "--platform", "linux/s390x", "lab/busybox"])
        .fails(1)
        .stderr_has("does not match the specified platform: wanted linux/s390x");
    nothing_left(&sandbox);
}

#[test]
fn every_compression_and_shape_of_layer_is_unpacked() {
    let sandbox = require!(Sandbox::user());
    for name in ["lab/compressions", "lab/multi", "lab/config", "lab/deep"] {
        sandbox.pull(name);
    }
    assert_eq!(ids(&sandbox).len(), 4);
}

/// `docker pull b` means docker.io/library/b, even where some image's ID begins with a b.
#[test]
fn the_beginning_of_an_id_is_a_name_to_the_registry() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/busybox");
    let id = sandbox.coracle(["images", "-q", "--no-trunc"]).ok().text().trim().replace("sha256:", "");
    sandbox.coracle(["pull", &id[..2]]).fails(1).stderr_has("not found").stderr_lacks("by ID");
    sandbox.coracle(["pull", &id]).fails(1).stderr_has("referred to by ID");
    sandbox.coracle(["run", "--rm", "--network", "none", &id[..2], "true"]).ok();
}

#[test]
fn policies_decide_whether_the_registry_is_asked() {
    let sandbox = require!(Sandbox::user());
    let own = require!(Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }));
    sandbox.use_registry(&own);
    let name = format!("{}/lab/own", own.address());
    let pull = |policy: &str| sandbox.coracle(["pull", "-q", "--policy", policy, &name]);
    pull("never").fails(1).stderr_has("No such image");
    own.push("lab/own", "latest", &image("one"));
    let one = pull("missing").ok();
    own.push("lab/own", "latest", &image("two"));
    assert_eq!(pull("missing").ok().text(), one.text());
    assert_eq!(pull("never").ok().text(), one.text());
    let two = pull("newer").ok();
    assert_ne!(two.text(), one.text());
    assert_eq!(pull("newer").ok().text(), two.text());
    own.push("lab/own", "latest", &image("three"));
    let three = pull("always").ok();
    assert_ne!(three.text(), two.text());
    drop(own);
    assert_eq!(pull("newer").ok().text(), three.text());
    pull("always").fails(1).stderr_has("cannot reach registry").stderr_has("connection refused");
    pull("sometimes").fails(1).stderr_has("unsupported pull policy");
}

#[test]
fn spoilt_content_is_refused_and_leaves_nothing() {
    let sandbox = require!(Sandbox::user());
    let own = require!(Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }));
    sandbox.use_registry(&own);
    let pull = |name: &str| {
        sandbox.coracle(["pull", "-q", "--retry-delay=10ms", &format!("{}/{name}", own.address())])
    };
    // A layer that is not what its digest says.
    let one = image("one");
    own.push("lab/one", "latest", &one);
    let blob = own.blob_file(&crate::support::digest(&one.layers[1].blob));
    // The time in gzip's header does not change what is inside.
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[4] ^= 1;
    std::fs::write(&blob, &bytes).unwrap();
    pull("lab/one").fails(1).stderr_has("does not match its digest");
    nothing_left(&sandbox);
    // A layer that is not what the configuration says.
    let mut two = image("two");
    two.layers[1].diff_id = two.layers[0].diff_id.clone();
    own.push("lab/two", "latest", &two);
    pull("lab/two").fails(1).stderr_has("the image's configuration says");
    nothing_left(&sandbox);
    // A layer that is no archive.
    let mut three = image("three");
    three.layers[1].blob = b"nonsense".to_vec();
    own.push("lab/three", "latest", &three);
    pull("lab/three").fails(1);
    nothing_left(&sandbox);
    // A layer that is missing.
    let four = image("four");
    own.push("lab/four", "latest", &four);
    std::fs::remove_file(own.blob_file(&crate::support::digest(&four.layers[1].blob))).unwrap();
    pull("lab/four").fails(1).stderr_has("blob unknown");
    nothing_left(&sandbox);
    assert!(ids(&sandbox).is_empty());
}

#[test]
fn a_full_disk_leaves_nothing() {
    let sandbox = require!(Sandbox::root());
    let registry = sandbox.registry();
    registry.provide("lab/debian");
    let small = sandbox.mkdir("small");
    let mount = require!(program("mount"));
    let unshare = require!(program("unshare"));
    let flags = format!("--root {0}/root --runroot {0}/run", small.display());
    let script = format!(
        "{} -t tmpfs -o size=30m none {2}; {1} {flags} pull -q lab/debian; code=$?; \
         find {2}/root/overlay -mindepth 1 -maxdepth 1 -name '????????????????????*'; {1} {flags} images -q; exit $code",
        mount.display(),
        sandbox.binary().display(),
        small.display()
    );
    let unshare = unshare.to_str().unwrap();
    let pulled = sandbox.command([unshare, "-m", "sh", "-c", &script]).run();
    let pulled = pulled.code(1).stderr_has("no space left on device");
    assert_eq!(pulled.text(), "", "{pulled}");
}

#[test]
fn two_processes_pull_one_image_once() {
    let sandbox = require!(Sandbox::user());
    let own = require!(Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }));
    sandbox.use_registry(&own);
    let big: Vec<u8> = (0..8_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let image = Image::new([Layer::of([Entry::file("big", big)])], json!({}));
    own.push("lab/big", "latest", &image);
    let name = format!("{}/lab/big", own.address());
    let pulls: Vec<_> = (0..4).map(|_| sandbox.coracle(["pull", "-q", &name]).spawn()).collect();
    let texts: Vec<_> = pulls.into_iter().map(|p| p.wait().code(0).text().to_owned()).collect();
    assert!(texts.windows(2).all(|t| t[0] == t[1]), "{texts:?}");
    let layer = crate::support::digest(&image.layers[0].blob);
    let fetched =
        own.log().lines().filter(|l| l.contains("\"GET /v2/lab/big/blobs/") && l.contains(&layer)).count();
    assert_eq!(fetched, 1, "{}", own.log());
}

#[test]
fn layers_that_are_here_are_not_fetched() {
    let sandbox = require!(Sandbox::user());
    let own = require!(Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }));
    sandbox.use_registry(&own);
    let pull = |tag: &str| sandbox.coracle(["pull", &format!("{}/lab/x:{tag}", own.address())]).ok();
    let (one, two) = (image("one"), image("two"));
    own.push("lab/x", "one", &one);
    own.push("lab/x", "two", &two);
    pull("one");
    pull("two").stderr_has(": Already exists");
    // The same layers the other way round: other layers of the store, from the content that is here.
    let turned = Image::new([one.layers[1].clone(), one.layers[0].clone()], json!({"Cmd": ["x"]}));
    own.push("lab/x", "turned", &turned);
    pull("turned");
    for layer in &one.layers {
        let digest = crate::support::digest(&layer.blob);
        let fetched = own.log().lines().filter(|l| l.contains("\"GET ") && l.contains(&digest)).count();
        assert_eq!(fetched, 1, "{}", own.log());
    }
    // What was copied is whole: skopeo gives the blobs of the manifest's digests.
    let reference = sandbox.storage_reference(&format!("{}/lab/x:turned", own.address()));
    let target = format!("dir:{}", sandbox.mkdir("turned").display());
    require!(sandbox.skopeo(["copy", "-q", &reference, &target])).ok();
}

#[test]
fn registries_conf_is_followed() {
    let sandbox = require!(Sandbox::user());
    let registry = registry();
    registry.provide("lab/busybox");
    registry.provide("lab/tags");
    let at = registry.address();
    let conf = |text: &str| {
        sandbox.write("conf/registries.conf", text);
        sandbox.write("home/.config/containers/registries.conf", text);
    };
    let pull = |name: &str| sandbox.coracle(["pull", "-q", "--retry=0", name]);
    // A mirror that is down, then one that has it.
    conf(&format!(
        "[[registry]]\nprefix = \"corp.example/x\"\nlocation = \"127.0.0.1:1\"\n\
         [[registry.mirror]]\nlocation = \"127.0.0.1:2/y\"\n[[registry.mirror]]\nlocation = \"{at}\"\n\
         [[registry]]\nlocation = \"evil.example\"\nblocked = true\n\
         [aliases]\nbb = \"corp.example/x/lab/busybox\"\n"
    ));
    pull("corp.example/x/lab/busybox").ok();
    sandbox.coracle(["images"]).ok().stdout_has("corp.example/x/lab/busybox");
    pull("bb").ok();
    pull("evil.example/x").fails(1).stderr_has("evil.example is blocked");
    pull("corp.example/x/lab/nope").fails(1);
    // Two search registries, the second has it.
    conf(&format!("unqualified-search-registries = [\"127.0.0.1:1\", \"{at}\"]\n"));
    pull("lab/tags:v1").ok();
    sandbox.coracle(["images"]).ok().stdout_has(&format!("{at}/lab/tags"));
    pull("lab/nope").fails(1).stderr_has("2 errors occurred while pulling").stderr_has("127.0.0.1:1");
    conf(&format!(
        "short-name-mode = \"enforcing\"\nunqualified-search-registries = [\"127.0.0.1:1\", \"{at}\"]\n"
    ));
    pull("lab/other").fails(1).stderr_has("short-name resolution enforced");
    conf("[[registry]]\nlocation = 3\n");
    pull("lab/other").fails(1).stderr_has("registries.conf, line 2 (key location)");
}

#[test]
fn policy_json_is_followed() {
    let sandbox = require!(Sandbox::user());
    let registry = sandbox.registry();
    registry.provide("lab/busybox");
    let at = registry.address();
    let policy = |text: &str| sandbox.write("policy.json", text);
    let pull = || {
        let path = sandbox.path("policy.json");
        let name = format!("{at}/lab/busybox");
        sandbox.coracle(["pull", "-q", "--signature-policy", path.to_str().unwrap(), &name])
    };
    policy(r#"{"default":[{"type":"reject"}]}"#);
    pull().fails(1).stderr_has("rejected by policy");
    policy(&format!(
        r#"{{"default":[{{"type":"insecureAcceptAnything"}}],"transports":{{"docker":{{"{at}":[{{"type":"signedBy","keyType":"GPGKeys","keyPath":"/key"}}]}}}}}}"#
    ));
    pull().fails(1).stderr_has("a signature was required, but no signature exists");
    policy(&format!(
        r#"{{"default":[{{"type":"reject"}}],"transports":{{"docker":{{"{at}/lab":[{{"type":"insecureAcceptAnything"}}]}}}}}}"#
    ));
    pull().ok();
}

#[test]
fn artifacts_and_old_manifests_are_refused_clearly() {
    let sandbox = require!(Sandbox::user());
    let own = require!(Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }));
    sandbox.use_registry(&own);
    let one = image("one");
    own.push("lab/x", "image", &one);
    let text = String::from_utf8(one.manifest_bytes()).unwrap();
    let artifact = text.replace("application/vnd.oci.image.config.v1+json", "application/vnd.lab.thing");
    own.push_manifest("lab/x", "artifact", "application/vnd.oci.image.manifest.v1+json", artifact.as_bytes());
    let name = |tag: &str| format!("{}/lab/x:{tag}", own.address());
    let pulled = sandbox.coracle(["pull", "-q", &name("artifact")]).fails(1);
    pulled.stderr_has("OCI artifact of type application/vnd.lab.thing, not a container image");
    nothing_left(&sandbox);
}
