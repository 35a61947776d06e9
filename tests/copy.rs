//! Images from one place to another, whatever the places are: digests stay, and podman and skopeo agree.

use std::fs;

use crate::support::{Flaky, Registry, RegistryOptions, Sandbox, digest, require, root};

fn empty() -> Registry {
    Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }).unwrap()
}

#[test]
fn a_round_of_all_transports_keeps_the_digest() {
    let sandbox = require!(Sandbox::user());
    let registry = empty();
    let shared = sandbox.registry();
    let copy = |arguments: &[&str]| sandbox.coracle(["image", "copy", "-q"]).args(arguments.iter().copied());
    for (name, flags) in
        [("lab/multi", &[][..]), ("lab/config", &["--preserve-digests"]), ("lab/arch", &["--all"])]
    {
        shared.provide(name);
        let source = format!("docker://{}/{name}", shared.address());
        let original = shared.digest(name, "latest").unwrap();
        let short = name.replace('/', "-");
        let mut stops = vec![source];
        for transport in ["oci", "dir", "oci-archive"] {
            stops.push(format!("{transport}:{transport}-{short}"));
        }
        stops.push(format!("docker://{}/{name}:copied", registry.address()));
        for pair in stops.windows(2) {
            let copied = copy(flags).args([&pair[0], &pair[1]]).ok();
            assert_eq!(copied.text(), original, "{pair:?}");
            let raw = sandbox.coracle(["image", "inspect", "--raw", &pair[1]]).ok();
            assert_eq!(digest(raw.stdout.as_bytes()), original, "{pair:?}");
            let foreign = require!(sandbox.skopeo(["inspect", "--raw", "--tls-verify=false", &pair[1]])).ok();
            assert_eq!(foreign.stdout, raw.stdout, "{pair:?}");
        }
        assert_eq!(registry.digest(name, "copied").unwrap(), original);
    }
    // Into the store and on; the ID is that of podman's own pull.
    let copied = copy(&["oci:oci-lab-multi", "containers-storage:here:1"]).ok();
    let id = sandbox.coracle(["image", "inspect", "--format={{.Id}}", "docker.io/library/here:1"]).ok();
    assert_eq!(copied.text(), id.text());
    copy(&["here:1", "docker-archive:a.tar:x/y:z"]).ok();
    copy(&["docker-archive:a.tar", "containers-storage:there"]).ok().stdout_is(id.text());
    copy(&["containers-storage:there", "again"]).ok().stdout_is(id.text());
    sandbox
        .coracle(["run", "--rm", "--network=none", "localhost/again", "cat", "overwritten"])
        .ok()
        .stdout_is("new");
}

#[test]
fn what_cannot_be_copied_is_said() {
    let sandbox = require!(Sandbox::user());
    sandbox.registry().provide("lab/arch");
    sandbox.pull("lab/busybox");
    let arch = format!("docker://{}/lab/arch", sandbox.registry().address());
    let copy =
        |arguments: &[&str]| sandbox.coracle(["image", "copy"]).args(arguments.iter().copied()).fails(1);
    copy(&["--all", &arch, "docker-archive:x"]).stderr_has("can hold one platform of an image");
    copy(&["--all", &arch, "containers-storage:x"]).stderr_has("keeps one platform");
    copy(&["--preserve-digests", "lab/busybox", "docker-archive:x"])
        .stderr_has("leave out --preserve-digests");
    copy(&["--encryption-key=jwe:k", "lab/busybox", "dir:x"])
        .stderr_has("encrypted images are not supported");
    copy(&["lab/busybox", "sif:x"]).stderr_has("the transport sif: is not supported");
    copy(&["oci:nowhere", "dir:x"]).stderr_has("no such file");
    copy(&["lab/nope", "dir:x"]).stderr_has("No such image");
    copy(&["--multi-arch=index-only", "lab/busybox", "dir:x"]).stderr_has("has no index");
    assert!(fs::read_dir(sandbox.path("work")).unwrap().next().is_none());
    sandbox.coracle(["push", "lab/busybox", "oci:./layout:tag"]).ok();
    sandbox.coracle(["image", "inspect", "oci:layout:nope"]).fails(1).stderr_has("it has tag");
    // Into a layout that has images these stay.
    sandbox.coracle(["push", "lab/busybox", "oci:./layout:other"]).ok();
    let index: serde_json::Value = serde_json::from_str(&sandbox.read("work/layout/index.json")).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    sandbox
        .coracle(["image", "copy", "oci:layout", "dir:x"])
        .fails(1)
        .stderr_has("append one of: tag, other");
    fs::write(
        sandbox.path("conf/policy.json"),
        r#"{"default":[{"type":"insecureAcceptAnything"}],"transports":{"oci":{"":[{"type":"reject"}]}}}"#,
    )
    .unwrap();
    let policy = format!("--signature-policy={}", sandbox.path("conf/policy.json").display());
    copy(&[&policy, "oci:layout:tag", "dir:x"]).stderr_has("is rejected by policy (oci");
}

/// Neither by TLS in vain nor twice, and what tells nothing new is not asked for.
#[test]
fn an_image_at_a_plain_registry_on_this_host_is_inspected_by_few_requests() {
    let sandbox = require!(Sandbox::user());
    sandbox.registry().provide("lab/busybox");
    let proxy = Flaky::watching(sandbox.registry().address().parse().unwrap());
    let place = format!("docker://{}/lab/busybox", proxy.address());
    let requests = |flags: &[&str]| {
        proxy.seen();
        sandbox.coracle(["image", "inspect"]).args(flags).arg(&place).ok();
        let seen = proxy.seen().requests.concat();
        let text = String::from_utf8(seen).expect("plain HTTP");
        text.lines().filter(|line| line.starts_with("GET ")).count()
    };
    assert_eq!(requests(&[]), 3, "manifest, configuration and tags");
    assert_eq!(requests(&["--no-tags"]), 2);
    assert_eq!(requests(&["--raw"]), 1);
}

/// One without an authority of its own is asked by plain HTTP first; that it wants TLS is understood.
#[test]
fn a_tls_registry_on_this_host_is_found_without_being_told() {
    let sandbox = require!(Sandbox::user());
    let auth = Some(("lab".to_owned(), "secret".to_owned()));
    let options = RegistryOptions { empty: true, tls: true, auth, ..RegistryOptions::default() };
    let registry = require!(Registry::start(options));
    sandbox.pull("lab/busybox");
    let place = format!("{}/lab/busybox", registry.address());
    let flags = ["--tls-verify=false", "--creds=lab:secret"];
    sandbox.coracle(["push", "-q"]).args(flags).args(["lab/busybox", &place]).ok();
    let there = format!("docker://{place}");
    sandbox.coracle(["image", "inspect"]).args(flags).arg(&there).ok().stdout_has("\"Layers\"");
}

#[test]
fn images_elsewhere_are_shown_listed_and_deleted() {
    let sandbox = require!(Sandbox::user());
    let shared = sandbox.registry();
    shared.provide("lab/multi");
    let there = format!("docker://{}/lab/multi", shared.address());
    let own = sandbox.coracle(["image", "inspect", &there]).ok().json();
    let foreign = require!(sandbox.skopeo(["inspect", "--tls-verify=false", &there])).ok().json();
    for key in ["Name", "Digest", "Created", "Labels", "Architecture", "Os", "Layers", "Env"] {
        assert_eq!(own[key], foreign[key], "{key}");
    }
    assert!(own["RepoTags"].as_array().unwrap().iter().any(|tag| tag == "latest"));
    let config =
        require!(sandbox.skopeo(["inspect", "--config", "--raw", "--tls-verify=false", &there])).ok();
    sandbox.coracle(["image", "inspect", "--config", "--raw", &there]).ok().stdout_is(config.stdout.trim());
    sandbox
        .coracle(["image", "inspect", "--format={{.Os}} {{len .Layers}}", &there])
        .ok()
        .stdout_is("linux 5");
    sandbox.coracle(["image", "inspect", "--config", "--format={{.os}}", &there]).run();
    sandbox.coracle(["images", "-q"]).ok().stdout_is("");
    let tags = sandbox.coracle(["image", "list-tags", &there]).ok().json();
    assert_eq!(tags["Repository"].as_str().unwrap(), &there["docker://".len()..]);
    assert!(tags["Tags"].as_array().unwrap().iter().any(|tag| tag == "latest"));
    sandbox.coracle(["image", "list-tags", &format!("{there}:latest")]).fails(1).stderr_has("no tag");
    let registry = empty();
    let copy = format!("docker://{}/lab/multi:here", registry.address());
    sandbox.coracle(["image", "copy", &there, &copy]).ok();
    assert!(registry.digest("lab/multi", "here").is_some());
    sandbox.coracle(["image", "delete", &copy]).ok();
    assert!(registry.digest("lab/multi", "here").is_none());
    sandbox.coracle(["image", "delete", &copy]).fails(1).stderr_has("not found");
    sandbox.coracle(["image", "delete", "lab/multi"]).fails(1).stderr_has("where is it to be deleted?");
    sandbox.pull("lab/busybox");
    sandbox.coracle(["image", "delete", "containers-storage:lab/busybox"]).ok();
    sandbox.coracle(["images", "-q"]).ok().stdout_is("");
}

#[test]
fn repositories_and_directories_are_synced() {
    let sandbox = require!(Sandbox::user());
    let shared = sandbox.registry();
    shared.provide("lab/tags");
    shared.provide("lab/arch");
    let registry = empty();
    let sync = |arguments: &[&str]| sandbox.coracle(["image", "sync"]).args(arguments.iter().copied());
    let repository = format!("{}/lab/tags", shared.address());
    let tags = sandbox.coracle(["image", "list-tags", &repository]).ok().json();
    let tags: Vec<_> = tags["Tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
    let planned = sync(&["--src=docker", "--dest=dir", "--dry-run", &repository, "usb"]).ok();
    assert_eq!(planned.lines().len(), tags.len());
    assert!(!sandbox.path("work/usb").exists());
    sync(&["--src=docker", "--dest=dir", "--digestfile=digests", &repository, "usb"]).ok();
    sync(&[
        "-s",
        "docker",
        "-d",
        "dir",
        "--all",
        "--scoped",
        &format!("{}/lab/arch:latest", shared.address()),
        "usb",
    ])
    .ok();
    for tag in &tags {
        let there = sandbox.path(format!("work/usb/tags:{tag}/manifest.json"));
        assert_eq!(digest(&fs::read(there).unwrap()), shared.digest("lab/tags", tag).unwrap());
    }
    assert_eq!(sandbox.read("work/digests").lines().count(), tags.len());
    let scoped = format!("work/usb/{}/lab/arch:latest/manifest.json", shared.address());
    assert_eq!(
        digest(&fs::read(sandbox.path(scoped)).unwrap()),
        shared.digest("lab/arch", "latest").unwrap()
    );
    // Back, and as skopeo reads it.
    let base = format!("{}/copies", registry.address());
    sync(&["--src=dir", "--dest=docker", "--all", "--append-suffix=-x", "usb", &base]).ok();
    for tag in &tags {
        assert_eq!(
            registry.digest("copies/tags", &format!("{tag}-x")),
            shared.digest("lab/tags", tag),
            "{tag}"
        );
    }
    assert_eq!(registry.digest("copies/arch", "latest-x"), shared.digest("lab/arch", "latest"));
    let foreign = format!("docker://{base}/tags:{}-x", tags[0]);
    require!(sandbox.skopeo(["inspect", "--tls-verify=false", &foreign])).ok();
    let list = format!(
        "{}:\n  tls-verify: false\n  images:\n    lab/arch: [latest]\n  images-by-tag-regex:\n    lab/tags: ^{}$\n",
        shared.address(),
        tags[0]
    );
    sandbox.write("work/list.yaml", list);
    sync(&["--src=yaml", "--dest=dir", "list.yaml", "listed"]).ok();
    for (name, repository, tag) in
        [("arch:latest", "lab/arch", "latest"), (&format!("tags:{}", tags[0]), "lab/tags", tags[0])]
    {
        let manifest = fs::read(sandbox.path(format!("work/listed/{name}/manifest.json"))).unwrap();
        if repository == "lab/tags" {
            assert_eq!(Some(digest(&manifest)), shared.digest(repository, tag));
        }
    }
    assert_eq!(fs::read_dir(sandbox.path("work/listed")).unwrap().count(), 2);
    sandbox.write("work/bad.yaml", "quay.io: {images: {}}");
    sync(&["--src=yaml", "--dest=dir", "bad.yaml", "y"]).fails(1).stderr_has("no images are named");
    sync(&["--src=yaml", "--dest=dir", "none.yaml", "y"]).fails(1).stderr_has("none.yaml");
    sync(&["--src=docker", "--dest=yaml", "x", "y"]).fails(1).stderr_has("neither docker nor dir");
    sync(&["--src=dir", "--dest=docker", "conf", &base])
        .cwd(sandbox.path(""))
        .fails(1)
        .stderr_has("no images");
}

#[test]
fn an_image_goes_to_another_user_and_comes_back() {
    require!(root());
    let sandbox = require!(Sandbox::root());
    let other = require!(Sandbox::user());
    sandbox.pull("lab/multi");
    // As if the other had it in their path: their store is that of another sandbox.
    let program = format!(
        "#!/bin/sh\nexport CONTAINERS_STORAGE_CONF={} XDG_RUNTIME_DIR={} HOME={} TMPDIR=/var/tmp\nexec {} \"$@\"\n",
        other.path("conf/storage.conf").display(),
        other.path("xdg").display(),
        other.path("home").display(),
        other.binary().display()
    );
    let there = other.write("bin/there/coracle", program);
    fs::set_permissions(&there, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let ssh = format!(
        "#!/bin/sh\n[ \"$1\" = -- ] || exit 9\n[ \"$2\" = elsewhere ] || exit 8\nPATH={}:$PATH\nexport PATH\n\
         exec setpriv --reuid {} --regid {} --init-groups sh -c \"$3\"\n",
        there.parent().unwrap().display(),
        other.uid(),
        other.gid()
    );
    let ssh = sandbox.write("work/bin/ssh", ssh);
    fs::set_permissions(&ssh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", ssh.parent().unwrap().display(), crate::support::PATH);
    let scp = |arguments: &[&str]| {
        sandbox.coracle(["image", "scp"]).args(arguments.iter().copied()).env("PATH", &path).cwd("/")
    };
    scp(&["lab/multi", "elsewhere::"]).ok().stdout_has("Loaded image: lab/multi:latest");
    let id = |sandbox: &Sandbox| {
        sandbox.coracle(["image", "inspect", "--format={{.Id}}", "lab/multi"]).ok().stdout
    };
    assert_eq!(id(&sandbox), id(&other));
    let before = id(&sandbox);
    sandbox.coracle(["rmi", "lab/multi"]).ok();
    scp(&["elsewhere::lab/multi"]).ok().stdout_is("Loaded image: lab/multi:latest");
    assert_eq!(id(&sandbox), before);
    // With a further name, there and here.
    scp(&["lab/multi", "elsewhere::other/name:1"]).ok().stdout_has("Loaded image: lab/multi:latest");
    scp(&["elsewhere::other/name:1", "here:2"]).ok();
    let ids = ["lab/multi", "other/name:1", "here:2"]
        .map(|name| sandbox.coracle(["image", "inspect", "--format={{.Id}}", name]).ok().text().to_owned());
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    scp(&["lab/multi", "elsewhere::Not/A name"]).fails(1);
    scp(&["elsewhere::lab/nope"]).fails(1).stderr_has("No such image: lab/nope");
    scp(&["lab/nope", "elsewhere::"]).fails(1).stderr_has("No such image: lab/nope");
    scp(&["lab/multi", "nowhere::"]).fails(1).stderr_has("the other side failed");
    scp(&["lab/multi", "x@-oProxyCommand=y::"]).fails(1).stderr_has("is not of the form");
    scp(&["lab/multi"]).fails(1).stderr_has("both sides are here");
}
