//! What is about an image (`subject`) goes along with it: bills of materials, signatures, attestations.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Gate, Registry, RegistryOptions, Sandbox, Verdict, busybox, digest, require};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

fn empty() -> Registry {
    Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }).unwrap()
}

/// An artifact of some kind about a manifest, with one blob; its raw manifest.
fn about(registry: &Registry, name: &str, subject: &[u8], kind: &str, text: &str) -> Vec<u8> {
    let blob = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": registry.push_blob(name, bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": blob(EMPTY, b"{}"),
        "layers": [blob("text/plain", text.as_bytes())],
        "subject": {"mediaType": MANIFEST, "digest": digest(subject), "size": subject.len()},
        "annotations": {"made-by": "a test"},
    });
    let raw = manifest.to_string().into_bytes();
    registry.push_manifest(name, &digest(&raw), MANIFEST, &raw);
    raw
}

fn tag(of: &str) -> String {
    of.replace(':', "-")
}

/// Lists artifacts about something as a client does for a registry that cannot.
fn list(registry: &Registry, name: &str, subject: &[u8], artifacts: &[&[u8]]) {
    let entry = |raw: &&[u8]| json!({"mediaType": MANIFEST, "digest": digest(raw), "size": raw.len()});
    let entries: Vec<Value> = artifacts.iter().map(entry).collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
    registry.push_manifest(name, &tag(&digest(subject)), INDEX, index.as_bytes());
}

/// A repository `some/image:1` with a bill of materials, a signature of the image, and one of the bill.
fn filled(registry: &Registry) -> Filled {
    let name = "some/image";
    registry.push(name, "1", &busybox());
    let image = registry.manifest(name, "1");
    let bill = about(registry, name, &image, "application/x-bill", "a list of what is in it");
    let signature = about(registry, name, &image, "application/vnd.cncf.notary.signature", "signed");
    let second = about(registry, name, &bill, "application/vnd.cncf.notary.signature", "signed as well");
    list(registry, name, &image, &[&bill, &signature]);
    list(registry, name, &bill, &[&second]);
    Filled { image, bill, signature, second }
}

struct Filled {
    image: Vec<u8>,
    bill: Vec<u8>,
    signature: Vec<u8>,
    second: Vec<u8>,
}

impl Filled {
    /// That all of it is in a repository, listed by tags.
    fn is_in(&self, registry: &Registry, name: &str) {
        for raw in [&self.bill, &self.signature, &self.second] {
            assert_eq!(registry.manifest(name, &digest(raw)), *raw);
        }
        let listed = listed(registry, name, &self.image);
        let mut want = [digest(&self.bill), digest(&self.signature)];
        want.sort();
        assert_eq!(listed, want);
        assert_eq!(self::listed(registry, name, &self.bill), [digest(&self.second)]);
    }
}

fn listed(registry: &Registry, name: &str, subject: &[u8]) -> Vec<String> {
    let index: Value = serde_json::from_slice(&registry.manifest(name, &tag(&digest(subject)))).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    let mut digests: Vec<String> = entries
        .iter()
        .map(|entry| {
            assert!(
                entry["artifactType"].is_string() && entry["annotations"]["made-by"] == "a test",
                "{entry}"
            );
            entry["digest"].as_str().unwrap().to_owned()
        })
        .collect();
    digests.sort();
    digests
}

#[test]
fn they_go_from_registry_to_registry_by_tags() {
    let sandbox = require!(Sandbox::user());
    let (from, to) = (empty(), empty());
    let filled = filled(&from);
    let source = format!("docker://{}/some/image:1", from.address());
    let target = |name: &str| format!("docker://{}/{name}:2", to.address());
    let copied = sandbox.coracle(["image", "copy", "-q", &source, &target("new/image")]).ok();
    assert_eq!(copied.text(), digest(&filled.image));
    filled.is_in(&to, "new/image");
    // Once more changes nothing.
    sandbox.coracle(["image", "copy", "-q", &source, &target("new/image")]).ok();
    filled.is_in(&to, "new/image");
    require!(sandbox.skopeo(["inspect", "--tls-verify=false", &target("new/image")])).ok();
    // Not if nobody wants them; signatures alone are left out like others.
    sandbox.coracle(["image", "copy", "-q", "--referrers=false", &source, &target("bare/image")]).ok();
    assert_eq!(to.digest("bare/image", &tag(&digest(&filled.image))), None);
    sandbox.coracle(["image", "copy", "-q", "--remove-signatures", &source, &target("unsigned/image")]).ok();
    assert_eq!(listed(&to, "unsigned/image", &filled.image), [digest(&filled.bill)]);
    assert_eq!(to.digest("unsigned/image", &tag(&digest(&filled.bill))), None);
    // They are about the image as it was.
    let zstd = ["image", "copy", "-q", "--dest-compress-format=zstd", &source, &target("other/image")];
    let told = sandbox.coracle(zstd).ok().stderr_has("2 artifacts are about").stderr_has("are not copied");
    assert_eq!(to.digest("other/image", &tag(told.text())), None);
}

#[test]
fn they_go_through_layouts_and_are_no_images_of_them() {
    for sandbox in require!(Sandbox::both()) {
        let (from, to) = (empty(), empty());
        let filled = filled(&from);
        let source = format!("docker://{}/some/image:1", from.address());
        let directory = sandbox.path("work/layout").display().to_string();
        sandbox.coracle(["image", "copy", "-q", &source, &format!("oci:{directory}")]).ok();
        // Twice, so that lists that are there are read.
        sandbox.coracle(["image", "copy", "-q", &source, &format!("oci:{directory}")]).ok();
        let archive = sandbox.path("work/layout.tar").display().to_string();
        sandbox.coracle(["image", "copy", "-q", &source, &format!("oci-archive:{archive}:named")]).ok();
        for (place, name) in
            [(format!("oci:{directory}"), "of/directory"), (format!("oci-archive:{archive}"), "of/archive")]
        {
            let target = format!("docker://{}/{name}:1", to.address());
            let copied = sandbox.coracle(["image", "copy", "-q", &place, &target]).ok();
            assert_eq!(copied.text(), digest(&filled.image));
            filled.is_in(&to, name);
        }
        let loaded = sandbox.coracle(["load", "-q", "-i", &archive]).ok().stderr_is_empty();
        assert_eq!(loaded.text().lines().count(), 1, "{}", loaded.text());
        require!(sandbox.skopeo(["inspect", &format!("oci-archive:{archive}:named")])).ok();
        // As oras keeps them: in the index of the layout itself.
        let index = sandbox.path("work/layout/index.json");
        let raw = |raw: &[u8]| json!({"mediaType": MANIFEST, "digest": digest(raw), "size": raw.len()});
        let flat = [&filled.image, &filled.bill, &filled.signature, &filled.second].map(|each| raw(each));
        let flat = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": flat});
        sandbox.write("work/index.json", flat.to_string());
        std::fs::copy(sandbox.path("work/index.json"), index).unwrap();
        let target = format!("docker://{}/of/oras:1", to.address());
        sandbox.coracle(["image", "copy", "-q", &format!("oci:{directory}"), &target]).ok();
        filled.is_in(&to, "of/oras");
        sandbox.coracle(["rmi", "-a", "-f"]).ok();
        let loaded = sandbox.coracle(["load", "-q", "-i", &directory]).ok();
        assert_eq!(loaded.text().lines().count(), 1, "{}", loaded.text());
    }
}

/// A registry that lists referrers itself, in front of one that cannot.
fn knowing(registry: &Registry) -> Gate {
    let known: Arc<Mutex<HashMap<String, Vec<Value>>>> = Arc::default();
    Gate::start(&registry.address(), move |asked| {
        let mut known = known.lock().unwrap();
        let manifest: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        if let Some((_, subject)) = asked.path.split_once("/referrers/") {
            // A page has one.
            let (subject, page) = subject.split_once("?page=").unwrap_or((subject, "0"));
            let page: usize = page.parse().unwrap();
            let all = known.get(subject).cloned().unwrap_or_default();
            let entries: Vec<&Value> = all.iter().skip(page).take(1).collect();
            let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
            let mut headers = vec![format!("Content-Type: {INDEX}")];
            if all.len() > page + 1 {
                let path = asked.path.split('?').next().unwrap();
                headers.push(format!("Link: <{path}?page={}>; rel=\"next\"", page + 1));
            }
            return Verdict::Answer("200 OK", headers, index.into_bytes());
        }
        match manifest["subject"]["digest"].as_str() {
            Some(subject) if asked.method == "PUT" => {
                let raw = &asked.body;
                let entry = json!({"mediaType": MANIFEST, "digest": digest(raw), "size": raw.len()});
                let all = known.entry(subject.to_owned()).or_default();
                all.retain(|other| other != &entry);
                all.push(entry);
                Verdict::PassWith(format!("OCI-Subject: {subject}"))
            }
            _ => Verdict::Pass,
        }
    })
}

#[test]
fn they_are_found_and_kept_by_registries_that_know_them() {
    let sandbox = require!(Sandbox::user());
    let (old, first, second, last) = (empty(), empty(), empty(), empty());
    let filled = filled(&old);
    let (one, two) = (knowing(&first), knowing(&second));
    let place = |at: &str| format!("docker://{at}/some/image:1");
    sandbox.coracle(["image", "copy", "-q", &place(&old.address()), &place(&one.address())]).ok();
    sandbox.coracle(["image", "copy", "-q", &place(&one.address()), &place(&two.address())]).ok();
    for registry in [&first, &second] {
        for raw in [&filled.bill, &filled.signature, &filled.second] {
            assert_eq!(registry.manifest("some/image", &digest(raw)), *raw);
        }
        // The registry knows: nothing has to be written under a tag.
        assert_eq!(registry.digest("some/image", &tag(&digest(&filled.image))), None);
    }
    sandbox.coracle(["image", "copy", "-q", &place(&two.address()), &place(&last.address())]).ok();
    filled.is_in(&last, "some/image");
    // sync is a copy as well.
    let synced = empty();
    let at = synced.address();
    let from = format!("{}/some/image:1", two.address());
    sandbox.coracle(["image", "sync", "--src=docker", "--dest=docker", &from, &format!("{at}/all")]).ok();
    filled.is_in(&synced, "all/image");
}

#[test]
fn an_artifact_pushed_by_its_digest_is_listed() {
    let sandbox = require!(Sandbox::user());
    let (from, to) = (empty(), empty());
    let filled = filled(&from);
    // The artifact itself is what is copied.
    let source = format!("docker://{}/some/image@{}", from.address(), digest(&filled.second));
    sandbox.coracle(["image", "copy", "-q", &source, &format!("docker://{}/some/bill:x", to.address())]).ok();
    assert_eq!(listed(&to, "some/bill", &filled.bill), [digest(&filled.second)]);
}

#[test]
fn attestations_of_buildkit_stay_with_their_images() {
    let sandbox = require!(Sandbox::user());
    let (from, to) = (empty(), empty());
    let name = "some/image";
    from.push(name, "part", &busybox());
    let image = from.manifest(name, "part");
    let statement = br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#;
    let diff_id = digest(statement);
    let config = json!({"architecture": "unknown", "os": "unknown", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]}});
    let config = config.to_string().into_bytes();
    let blob = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": from.push_blob(name, bytes), "size": bytes.len()});
    let attestation = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob("application/vnd.oci.image.config.v1+json", &config),
        "layers": [blob("application/vnd.in-toto+json", statement)],
    });
    let attestation = attestation.to_string().into_bytes();
    from.push_manifest(name, &digest(&attestation), MANIFEST, &attestation);
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {"mediaType": MANIFEST, "digest": digest(&image), "size": image.len(),
                "platform": {"os": "linux", "architecture": busybox().architecture}},
            {"mediaType": MANIFEST, "digest": digest(&attestation), "size": attestation.len(),
                "platform": {"os": "unknown", "architecture": "unknown"},
                "annotations": {"vnd.docker.reference.type": "attestation-manifest",
                    "vnd.docker.reference.digest": digest(&image)}},
        ],
    });
    from.push_manifest(name, "1", INDEX, index.to_string().as_bytes());
    let source = format!("docker://{}/{name}:1", from.address());
    let target = |tag: &str| format!("docker://{}/{name}:{tag}", to.address());
    let copied = sandbox.coracle(["image", "copy", "-q", "--all", &source, &target("same")]).ok();
    assert_eq!(Some(copied.text().to_owned()), from.digest(name, "1"));
    assert_eq!(to.manifest(name, &digest(&attestation)), attestation);
    // What is changed is named anew.
    let zstd = ["image", "copy", "-q", "--all", "--dest-compress-format=zstd", &source, &target("zstd")];
    sandbox.coracle(zstd).ok();
    let changed: Value = serde_json::from_slice(&to.manifest(name, "zstd")).unwrap();
    let entries = &changed["manifests"];
    assert_ne!(entries[0]["digest"], digest(&image).as_str());
    assert_eq!(entries[1]["digest"], digest(&attestation).as_str());
    assert_eq!(entries[1]["annotations"]["vnd.docker.reference.digest"], entries[0]["digest"]);
    sandbox.coracle(["run", "--rm", "--network=none", &target("zstd")[9..], "true"]).ok();
}
