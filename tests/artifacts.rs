//! Artifacts: files under a name, in a layout that skopeo reads, and at registries.

use serde_json::Value;

use crate::support::{Registry, RegistryOptions, Sandbox, digest, require};

fn empty() -> Registry {
    Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }).unwrap()
}

#[test]
fn files_go_in_travel_and_come_out_again() {
    for sandbox in require!(Sandbox::both()) {
        let registry = empty();
        let one = sandbox.write("work/one.txt", "one");
        let two = sandbox.write("work/two.bin", b"\0two");
        let name = format!("{}/lab/files:v1", registry.address());
        let add = ["artifact", "add", "--type", "application/x-lab", "--annotation", "k=v", &name];
        let added = sandbox.coracle(add).arg(&one).arg(&two).ok();
        let hash = format!("sha256:{}", added.text());
        sandbox.coracle(["artifact", "add", &name]).arg(&one).fails(1).stderr_has("already exists");
        let shown = sandbox.coracle(["artifact", "inspect", &name]).ok().json();
        assert_eq!(shown["Name"], name.as_str());
        assert_eq!(shown["Digest"], hash.as_str());
        assert_eq!(shown["Manifest"]["artifactType"], "application/x-lab");
        assert_eq!(shown["Manifest"]["layers"][0]["mediaType"], "text/plain; charset=utf-8");
        assert_eq!(shown["Manifest"]["layers"][1]["annotations"]["k"], "v");
        sandbox.coracle(["artifact", "ls"]).ok().stdout_has("lab/files").stdout_has("v1").stdout_has("7B");
        let short = hash.strip_prefix("sha256:").unwrap()[..12].to_owned();
        sandbox.coracle(["artifact", "ls", "-n", "--format", "{{.Digest}}"]).ok().stdout_is(&short);

        let layout = format!("oci:{}/artifacts:{name}", sandbox.graph_root().display());
        let raw = require!(sandbox.skopeo(["inspect", "--raw", &layout])).ok();
        assert_eq!(digest(&raw.bytes), hash);

        let file = sandbox.path("work/digest");
        let push = ["artifact", "push", "-q", "--digestfile"];
        sandbox.coracle(push).arg(&file).arg(&name).ok().stdout_is(&hash[7..]);
        assert_eq!(registry.digest("lab/files", "v1").unwrap(), hash);
        sandbox.coracle(["artifact", "rm", &short]).ok().stdout_is(&hash[7..]);
        let blobs = sandbox.graph_root().join("artifacts/blobs/sha256");
        assert_eq!(std::fs::read_dir(&blobs).unwrap().count(), 0);
        sandbox.coracle(["artifact", "pull", &name]).ok().stdout_is(&hash[7..]);
        sandbox.mkdir("work/out");
        sandbox.coracle(["artifact", "extract", &name, "out"]).ok();
        assert_eq!(sandbox.read("work/out/one.txt"), "one");
        assert_eq!(std::fs::read(sandbox.path("work/out/two.bin")).unwrap(), b"\0two");
        sandbox.coracle(["artifact", "extract", &name, "single"]).fails(1).stderr_has("several blobs");
        sandbox.coracle(["artifact", "extract", "--title=one.txt", &name, "single"]).ok();
        assert_eq!(sandbox.read("work/single"), "one");
        sandbox.coracle(["artifact", "extract", "--title=none", &name, "single"]).fails(1);
        sandbox.coracle(["pull", &name]).fails(1).stderr_has("OCI artifact");
        sandbox.coracle(["artifact", "inspect", "nosuch"]).fails(1).stderr_has("no artifact found");
    }
}

#[test]
fn what_others_put_into_names_and_content_does_no_harm() {
    let sandbox = require!(Sandbox::user());
    let registry = empty();
    let one = sandbox.write("work/one.txt", "one");
    sandbox.coracle(["artifact", "add", "localhost/a"]).arg(&one).ok();
    let blobs = sandbox.graph_root().join("artifacts");
    let index: Value = serde_json::from_slice(&std::fs::read(blobs.join("index.json")).unwrap()).unwrap();
    let hex = |text: &Value| text.as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let manifest = blobs.join("blobs/sha256").join(hex(&index["manifests"][0]["digest"]));
    // A name that leads out of the directory.
    let text = std::fs::read_to_string(&manifest).unwrap();
    let evil = text.replace("one.txt", "../evil");
    let hash = digest(evil.as_bytes());
    std::fs::write(blobs.join("blobs/sha256").join(hash.strip_prefix("sha256:").unwrap()), &evil).unwrap();
    let index = index.to_string().replace(&digest(text.as_bytes()), &hash);
    std::fs::write(blobs.join("index.json"), index).unwrap();
    sandbox.mkdir("work/out");
    sandbox.coracle(["artifact", "extract", "localhost/a", "out"]).fails(1).stderr_has("invalid name");
    assert!(!sandbox.path("work/evil").exists());
    sandbox.coracle(["artifact", "rm", "localhost/a"]).ok();
    // A manifest that is not what its digest says.
    sandbox.coracle(["artifact", "add", "localhost/b"]).arg(&one).ok();
    std::fs::write(&manifest, "{}").unwrap();
    sandbox.coracle(["artifact", "inspect", "localhost/b"]).fails(1).stderr_has("does not match its digest");
    // Nothing there.
    let nowhere = format!("{}/no/such", registry.address());
    sandbox.coracle(["artifact", "pull", &nowhere]).fails(1).stderr_has("no/such");
    sandbox
        .coracle(["artifact", "add", "--annotation=org.opencontainers.image.title=x", "localhost/c"])
        .arg(&one)
        .fails(1);
    sandbox.coracle(["artifact", "add", "localhost/c", "missing"]).fails(1);
}
