//! Round trips: pulled, saved, loaded, pushed, copied by skopeo, pulled by podman, through every place an image can be in;
//! digests stay.

use serde_json::{Value, json};

use crate::support::{Registry, RegistryOptions, Sandbox, digest, require};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

fn empty() -> Registry {
    Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }).unwrap()
}

fn inspected(sandbox: &Sandbox, field: &str, image: &str) -> String {
    sandbox
        .coracle(["image", "inspect", "--format", &format!("{{{{.{field}}}}}"), image])
        .ok()
        .text()
        .to_owned()
}

#[test]
fn an_image_comes_back_as_it_was() {
    for sandbox in require!(Sandbox::both()) {
        let shared = sandbox.registry();
        let registry = empty();
        sandbox.use_registry(&registry);
        for name in ["lab/multi", "lab/config"] {
            shared.provide(name);
            let original = shared.digest(name, "latest").unwrap();
            let source = format!("{}/{name}", shared.address());
            sandbox.coracle(["pull", "-q", "--tls-verify=false", &source]).ok();
            let id = inspected(&sandbox, "Id", &source);
            assert_eq!(inspected(&sandbox, "Digest", &source), original);
            let short = name.replace('/', "-");
            for (at, format) in
                ["docker-archive", "oci-archive", "oci-dir", "docker-dir"].into_iter().enumerate()
            {
                let file = format!("{short}-{format}");
                sandbox.coracle(["save", "-q", "--format", format, "-o", &file, &id]).ok();
                sandbox.coracle(["rmi", "-f", &id]).ok();
                sandbox.coracle(["load", "-q", "-i", &file]).ok().stdout_has(&id);
                // Pushed, the layers are compressed anew: as they were, if that is how it is done here.
                let there = format!("{}/{short}:{at}", registry.address());
                sandbox.coracle(["push", "-q", &id, &there]).ok();
                let pushed = registry.digest(&short, &at.to_string()).unwrap();
                let again = format!("docker://{}/{short}-again:{at}", registry.address());
                let from = format!("docker://{there}");
                let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
                require!(sandbox.skopeo(["copy", "-q"])).args(tls).args([&from, &again]).ok();
                assert_eq!(
                    registry.digest(&format!("{short}-again"), &at.to_string()).unwrap(),
                    pushed,
                    "{format}"
                );
                sandbox.coracle(["rmi", "-f", &id]).ok();
                require!(sandbox.podman(["pull", "-q", "--tls-verify=false", &again])).ok().stdout_is(&id);
                assert_eq!(inspected(&sandbox, "Digest", &id), pushed, "{format}");
            }
            sandbox.coracle(["rmi", "-f", &id]).ok();
            // What was compressed here is the very same wherever it is pushed.
            let (pushed, elsewhere) = (registry.digest(&short, "0").unwrap(), empty());
            sandbox.use_registry(&elsewhere);
            let source = format!("{}/{short}:0", registry.address());
            sandbox.coracle(["pull", "-q", "--tls-verify=false", &source]).ok();
            let there = format!("{}/{short}:direct", elsewhere.address());
            sandbox.coracle(["push", "-q", "--tls-verify=false", &source, &there]).ok();
            assert_eq!(elsewhere.digest(&short, "direct").unwrap(), pushed, "{name}");
            sandbox.use_registry(&registry);
            sandbox.coracle(["rmi", "-f", &id]).ok();
        }
        sandbox.coracle(["system", "check"]).ok().stdout_is("");
    }
}

#[test]
fn all_platforms_and_attestations_go_round() {
    let sandbox = require!(Sandbox::user());
    let shared = sandbox.registry();
    let registry = empty();
    // As buildx makes them: what the list has beside its images is about them, and no image.
    shared.provide("lab/arch");
    let mut index: Value = serde_json::from_slice(&shared.manifest("lab/arch", "latest")).unwrap();
    let about = index["manifests"][0]["digest"].clone();
    let statement = br#"{"_type":"https://in-toto.io/Statement/v0.1","subject":[]}"#;
    let config =
        br#"{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let (layer, config_digest) =
        (shared.push_blob("lab/arch", statement), shared.push_blob("lab/arch", config));
    let attestation = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config_digest, "size": config.len()},
        "layers": [{"mediaType": "application/vnd.in-toto+json", "digest": layer, "size": statement.len(),
            "annotations": {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}}],
        "subject": {"mediaType": MANIFEST, "digest": about, "size": index["manifests"][0]["size"]},
    })
    .to_string();
    let attested = digest(attestation.as_bytes());
    shared.push_manifest("lab/arch", &attested, MANIFEST, attestation.as_bytes());
    index["manifests"].as_array_mut().unwrap().push(json!({
        "mediaType": MANIFEST, "digest": attested, "size": attestation.len(),
        "platform": {"architecture": "unknown", "os": "unknown"},
        "annotations": {"vnd.docker.reference.digest": about, "vnd.docker.reference.type": "attestation-manifest"},
    }));
    index["mediaType"] = INDEX.into();
    let index = index.to_string();
    shared.push_manifest("lab/arch", "attested", INDEX, index.as_bytes());
    let original = digest(index.as_bytes());

    let mut stops = vec![format!("docker://{}/lab/arch:attested", shared.address())];
    stops.extend(["oci:layout:x", "oci-archive:archive:x", "dir:directory"].map(str::to_owned));
    stops.push(format!("docker://{}/there:1", registry.address()));
    for pair in stops.windows(2) {
        let copied = sandbox.coracle(["image", "copy", "-q", "--all", &pair[0], &pair[1]]).ok();
        assert_eq!(copied.text(), original, "{pair:?}");
    }
    // skopeo takes it on, and from there it is pulled: the platform's image, not what is about it.
    let (there, on) = (&stops[4], format!("docker://{}/on:1", registry.address()));
    let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    require!(sandbox.skopeo(["copy", "-q", "--all"])).args(tls).args([there, &on]).ok();
    assert_eq!(registry.digest("on", "1").unwrap(), original);
    assert_eq!(registry.manifest("on", &attested), attestation.as_bytes());
    let pulled = sandbox.coracle(["pull", "-q", "--tls-verify=false", &on["docker://".len()..]]).ok();
    require!(sandbox.podman(["pull", "-q", "--tls-verify=false", &on]))
        .ok()
        .stdout_is(pulled.text().trim_start_matches("sha256:"));
    // A list made here of it keeps it, wherever it is pushed.
    sandbox
        .coracle(["manifest", "create", "--all", "--tls-verify=false", "list", &on["docker://".len()..]])
        .ok();
    sandbox.coracle(["manifest", "push", "-q", "list", "oci:pushed:y"]).ok();
    let raw = sandbox.coracle(["image", "inspect", "--raw", "oci:pushed:y"]).ok().json();
    assert!(raw["manifests"].as_array().unwrap().iter().any(|m| m["digest"] == attested.as_str()), "{raw}");
}
