//! Manifest lists: made here or by podman and buildah, they are the same; pushed with their images or alone.

use serde_json::{Value, json};

use crate::support::{Registry, RegistryOptions, Sandbox, host_architecture, require};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

fn empty() -> Registry {
    Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }).unwrap()
}

fn digests(index: &Value) -> Vec<String> {
    let entries = index["manifests"].as_array().unwrap();
    entries.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_list_of_ours_is_podmans_and_buildahs_and_the_other_way_round() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        sandbox.registry().provide("lab/arch");
        let at = sandbox.registry().address();
        let busybox = sandbox.registry().digest("lab/busybox", "latest").unwrap();
        let id = sandbox.coracle(["manifest", "create", "mine"]).ok().text().to_owned();
        assert_eq!(id.len(), 64);
        sandbox.coracle(["manifest", "create", "mine"]).fails(1).stderr_has("already in use");
        let added = sandbox.coracle(["manifest", "add", "mine", &format!("docker://{at}/lab/busybox")]).ok();
        added.stdout_is(&format!("{id}: {busybox}"));
        sandbox.coracle(["manifest", "add", "--all", "mine", &format!("{at}/lab/arch")]).ok();
        let ours = sandbox.coracle(["manifest", "inspect", "mine"]).ok().json();
        assert_eq!(digests(&ours).len(), 6, "{ours}");
        let podmans = require!(sandbox.podman(["manifest", "inspect", "mine"])).ok().json();
        let buildahs = require!(sandbox.buildah(["manifest", "inspect", "localhost/mine"])).ok().json();
        assert_eq!(digests(&ours), digests(&podmans));
        assert_eq!(digests(&ours), digests(&buildahs));
        require!(sandbox.podman(["manifest", "remove", "mine", &busybox])).ok();
        let arm = digests(&ours)[1].clone();
        let annotate = ["manifest", "annotate", "--os-version=1.2", "--variant", "v9", "--annotation", "a=b"];
        sandbox.coracle(annotate).args(["mine", &arm]).ok();
        let podmans = require!(sandbox.podman(["manifest", "inspect", "mine"])).ok().json();
        assert_eq!(podmans["manifests"][0]["platform"]["variant"], "v9");
        assert_eq!(digests(&podmans).len(), 5);
        // One of podman's.
        require!(sandbox.podman(["manifest", "create", "theirs"])).ok();
        sandbox.coracle(["manifest", "exists", "theirs"]).ok();
        sandbox.coracle(["manifest", "exists", "lab/busybox"]).fails(1);
        sandbox.coracle(["manifest", "add", "theirs", "containers-storage:lab/busybox"]).ok();
        require!(sandbox.buildah(["manifest", "inspect", "localhost/theirs"])).ok().stdout_has(&busybox);
        sandbox.coracle(["manifest", "remove", "theirs", &busybox]).ok();
        sandbox.coracle(["manifest", "remove", "theirs", &busybox]).fails(1).stderr_has("no instance");
        // Images only: an image is no list, and a list goes without its images.
        sandbox.coracle(["manifest", "rm", "lab/busybox"]).fails(1).stderr_has("not a manifest list");
        sandbox.coracle(["manifest", "rm", "--ignore", "nosuch", "theirs"]).ok().stdout_has("Untagged");
        require!(sandbox.podman(["manifest", "exists", "theirs"])).fails(1);
        require!(sandbox.podman(["manifest", "rm", "mine"])).ok();
        sandbox.coracle(["manifest", "inspect", "lab/busybox"]).ok().stdout_has("layers");
        sandbox.coracle(["images"]).ok().stdout_has("busybox").stdout_lacks("mine");
    }
}

#[test]
fn a_list_is_pushed_with_its_images_or_alone() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/busybox");
    sandbox.registry().provide("lab/arch");
    sandbox.registry().provide("lab/config");
    let at = sandbox.registry().address();
    let registry = empty();
    let to = |tag: &str| format!("{}/some/list:{tag}", registry.address());
    sandbox.coracle(["tag", "lab/busybox", "local"]).ok();
    let arch = format!("{at}/lab/arch");
    sandbox.coracle(["manifest", "create", "list", "local", &arch]).ok();
    let file = sandbox.path("work/digest");
    let push = ["manifest", "push", "-q", "--digestfile"];
    let pushed = sandbox.coracle(push).arg(&file).args(["list", &format!("docker://{}", to("all"))]).ok();
    assert_eq!(pushed.text(), registry.digest("some/list", "all").unwrap());
    assert_eq!(sandbox.read("work/digest"), pushed.text());
    let raw: Value = serde_json::from_slice(&registry.manifest("some/list", "all")).unwrap();
    assert_eq!(raw["mediaType"], INDEX);
    for digest in digests(&raw) {
        assert!(registry.digest("some/list", &digest).is_some());
    }
    require!(sandbox.skopeo(["inspect", "--tls-verify=false", &format!("docker://{}", to("all"))])).ok();
    // As docker's list; podman pulls from it.
    sandbox.coracle(["manifest", "push", "-q", "--format=v2s2", "list", &to("docker")]).ok();
    let raw: Value = serde_json::from_slice(&registry.manifest("some/list", "docker")).unwrap();
    assert_eq!(raw["mediaType"], LIST);
    require!(sandbox.podman(["pull", "-q", "--tls-verify=false", &to("docker")])).ok();
    sandbox.coracle(["rmi", &to("docker")]).ok();
    // Alone, once the images are there; then the list here goes.
    sandbox.coracle(["manifest", "annotate", "--index", "--annotation=x=y", "list"]).ok();
    sandbox.coracle(["manifest", "create", "there", &to("all")]).ok();
    sandbox.coracle(["manifest", "push", "--all=false", "--purge", "there", &to("alone")]).ok();
    assert!(registry.digest("some/list", "alone").is_some());
    sandbox.coracle(["manifest", "exists", "there"]).fails(1);
    // push of images knows lists, too.
    sandbox.coracle(["push", "-q", "list", &to("pushed")]).ok();
    let raw: Value = serde_json::from_slice(&registry.manifest("some/list", "pushed")).unwrap();
    assert_eq!(raw["annotations"], json!({"x": "y"}));
    sandbox.coracle(["manifest", "push", "list"]).fails(1).stderr_has("where is the list to be pushed to?");
    let amended = ["manifest", "create", "--amend", "list", "nosuch.invalid/image"];
    sandbox.coracle(amended).fails(1);
    sandbox.coracle(["manifest", "create", "new", "127.0.0.1:1/image"]).fails(1);
    sandbox.coracle(["manifest", "exists", "new"]).fails(1);
}

#[test]
fn a_list_is_pushed_with_copies_in_other_compressions() {
    const ZSTD: &str = "io.github.containers.compression.zstd";
    let sandbox = require!(Sandbox::user());
    sandbox.registry().provide("lab/arch");
    let registry = empty();
    let to = |tag: &str| format!("{}/some/list:{tag}", registry.address());
    let raw =
        |what: &str| -> Value { serde_json::from_slice(&registry.manifest("some/list", what)).unwrap() };
    let arch = format!("{}/lab/arch", sandbox.registry().address());
    sandbox.coracle(["manifest", "create", "--all", "list", &arch]).ok();
    let before = digests(&sandbox.coracle(["manifest", "inspect", "list"]).ok().json());
    let push = |flag: &str, tag: &str| {
        sandbox.coracle(["manifest", "push", "-q", flag, "list", &to(tag)]).ok().text().to_owned()
    };
    let pushed = push("--add-compression=zstd:chunked", "both");
    let both = raw("both");
    assert_eq!(both["mediaType"], INDEX);
    let entries = both["manifests"].as_array().unwrap();
    // The images as they were, so that those who know no zstd find them first; then the copies.
    assert_eq!(digests(&both)[..before.len()], before);
    assert_eq!(entries.len(), 2 * before.len(), "{both}");
    for (image, copy) in entries.iter().zip(&entries[before.len()..]) {
        assert_eq!(image["platform"], copy["platform"]);
        assert_eq!((&copy["annotations"][ZSTD], &image["annotations"][ZSTD]), (&json!("true"), &Value::Null));
        let manifest = raw(copy["digest"].as_str().unwrap());
        for layer in manifest["layers"].as_array().unwrap() {
            assert!(layer["mediaType"].as_str().unwrap().ends_with("+zstd"), "{layer}");
            let toc = "io.github.containers.zstd-chunked.manifest-checksum";
            assert!(layer["annotations"][toc].is_string(), "{layer}");
        }
    }
    // What a list has is not added again, whatever its blocks are called.
    sandbox.coracle(["manifest", "rm", "list"]).ok();
    sandbox.coracle(["manifest", "create", "--all", "list", &to("both")]).ok();
    assert_eq!(push("--add-compression=gzip,zstd", "again"), pushed);
    // Pulled is the copy; a program that knows nothing of it gets one that works.
    sandbox.coracle(["run", "--rm", "--network=none", &to("both"), "true"]).ok();
    let image = sandbox.coracle(["image", "inspect", "-f", "{{.Digest}}", &to("both")]).ok();
    let host = entries[before.len()..].iter().find(|e| e["platform"]["architecture"] == host_architecture());
    let podmans = sandbox.coracle(["image", "inspect", "-f", "{{json .RepoDigests}}", &to("both")]).ok();
    podmans.stdout_has(host.unwrap()["digest"].as_str().unwrap());
    image.stdout_has("sha256:");
    sandbox.coracle(["rmi", &to("both")]).ok();
    require!(sandbox.podman(["pull", "-q", "--tls-verify=false", &to("both")])).ok();
    require!(sandbox.podman(["rmi", &to("both")])).ok();
    let flags = ["manifest", "push", "-q", "--add-compression=zstd"];
    sandbox.coracle(flags).args(["--all=false", "list", &to("x")]).fails(1).stderr_has("needs the images");
    let wrong = ["manifest", "push", "--add-compression=lzma", "list", &to("x")];
    sandbox.coracle(wrong).fails(1).stderr_has("lzma");
    // Docker's form cannot say it.
    sandbox.coracle(["manifest", "rm", "list"]).ok();
    sandbox.coracle(["manifest", "create", "--all", "list", &arch]).ok();
    sandbox.coracle(flags).args(["--format=v2s2", "list", &to("x")]).fails(1).stderr_has("no zstd");
}

#[test]
fn a_list_is_shown_and_run_like_an_image() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/busybox");
    let id = sandbox.coracle(["manifest", "create", "list", "containers-storage:lab/busybox"]).ok();
    let id = id.text().to_owned();
    sandbox.coracle(["images"]).ok().stdout_has("localhost/list");
    let shown = sandbox.coracle(["images", "--format", "json", "list"]).ok().json();
    assert_eq!(shown[0]["IsManifestList"], true);
    let inspected = sandbox.coracle(["inspect", "list"]).ok().json();
    assert_eq!(inspected[0]["Id"], id.as_str());
    assert_eq!(inspected[0]["RepoTags"][0], "localhost/list:latest");
    sandbox.coracle(["run", "--rm", "--network=none", "list", "echo", "hello"]).ok().stdout_is("hello");
    sandbox.coracle(["image", "exists", "list"]).ok();
    sandbox.coracle(["tag", "list", "other"]).ok();
    sandbox.coracle(["rmi", "other"]).ok();
    let verbose = sandbox.coracle(["manifest", "inspect", "-v", "list"]).ok().json();
    assert_eq!(verbose[0]["Descriptor"]["platform"]["architecture"], host_architecture());
    sandbox.coracle(["image", "prune", "-f"]).ok();
    sandbox.coracle(["rmi", "list"]).ok().stdout_has(&format!("Deleted: {id}"));
    sandbox.coracle(["run", "--rm", "--network=none", "lab/busybox", "true"]).ok();
}

#[test]
fn an_artifact_of_files_is_part_of_a_list() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/busybox");
    let registry = empty();
    let file = sandbox.write("work/bill.json", "{\"bill\": true}");
    sandbox.coracle(["manifest", "create", "empty"]).ok();
    let shown = sandbox.coracle(["manifest", "inspect", "-v", "empty"]).ok().json();
    assert_eq!((&shown["schemaVersion"], &shown["manifests"]), (&2.into(), &serde_json::json!([])));
    sandbox.coracle(["manifest", "create", "list", "containers-storage:lab/busybox"]).ok();
    let add =
        ["manifest", "add", "--artifact", "--artifact-type=application/x-bill", "--annotation=k=v", "list"];
    sandbox.coracle(add).arg(&file).ok();
    let shown = sandbox.coracle(["manifest", "inspect", "list"]).ok().json();
    assert_eq!(shown["mediaType"], INDEX);
    assert_eq!(shown["manifests"][1]["artifactType"], "application/x-bill");
    let to = format!("{}/some/list", registry.address());
    sandbox.coracle(["manifest", "push", "-q", "list", &to]).ok();
    let raw: Value = serde_json::from_slice(&registry.manifest("some/list", "latest")).unwrap();
    let digest = raw["manifests"][1]["digest"].as_str().unwrap();
    let artifact: Value = serde_json::from_slice(&registry.manifest("some/list", digest)).unwrap();
    assert_eq!(artifact["layers"][0]["annotations"]["org.opencontainers.image.title"], "bill.json");
    assert_eq!(artifact["layers"][0]["mediaType"], "text/plain");
    let blob = std::fs::read(registry.blob_file(artifact["layers"][0]["digest"].as_str().unwrap())).unwrap();
    assert_eq!(blob, b"{\"bill\": true}");
}
