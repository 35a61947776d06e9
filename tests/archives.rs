//! Archives and directories of images: what save writes podman, skopeo and docker read, and what they and others write
//! load reads. Digests and IDs stay.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{
    Docker, Entry, Image, Layer, Pty, Sandbox, Tarball, digest, gzip, program, require, root,
};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

/// The ID of an image, and what a container of it sees of a file that two layers have.
fn id(sandbox: &Sandbox, name: &str) -> String {
    sandbox.coracle(["image", "inspect", "--format", "{{.Id}}", name]).ok().text().to_owned()
}

fn runs(sandbox: &Sandbox, name: &str) {
    sandbox.coracle(["run", "--rm", "--network=none", name, "cat", "overwritten"]).ok().stdout_is("new");
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A directory or an archive of files of a test's own.
fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    Tarball::of(files.iter().map(|(name, bytes)| Entry::file(name.as_str(), bytes.as_slice()))).finish()
}

fn blob(bytes: &[u8]) -> (String, Vec<u8>) {
    (format!("blobs/sha256/{}", &digest(bytes)["sha256:".len()..]), bytes.to_vec())
}

/// The files of an image layout with these manifests in its index.
fn layout(images: &[&Image], index: Value) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index.to_string().into_bytes()),
    ];
    for image in images {
        files.push(blob(&image.manifest_bytes()));
        files.push(blob(&image.config_bytes()));
        files.extend(image.layers.iter().map(|layer| blob(&layer.blob)));
    }
    files
}

fn described(image: &Image, annotations: Value) -> Value {
    let manifest = image.manifest_bytes();
    let mut descriptor = json!({"mediaType": OCI, "digest": digest(&manifest), "size": manifest.len()});
    if !annotations.is_null() {
        descriptor["annotations"] = annotations;
    }
    descriptor
}

fn small(text: &str) -> Image {
    let mut image = crate::support::busybox();
    image.layers.push(Layer::of([Entry::file("word", text)]));
    image
}

fn image_id(image: &Image) -> String {
    digest(&image.config_bytes())["sha256:".len()..].to_owned()
}

fn word(sandbox: &Sandbox, image: &str) -> String {
    sandbox.coracle(["run", "--rm", "--network=none", image, "cat", "word"]).ok().text().to_owned()
}

#[test]
fn what_is_saved_is_loaded_by_podman_and_by_us() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/multi");
        let original = id(&sandbox, "lab/multi");
        for format in ["docker-archive", "oci-archive", "oci-dir", "docker-dir"] {
            let file = sandbox.path(format!("work/{format}"));
            sandbox.coracle(["save", "-q", "--format", format, "-o"]).arg(&file).arg("lab/multi").ok();
            sandbox.coracle(["rmi", "lab/multi"]).ok();
            // podman makes a name of a directory's path, in which it wants no capital letters.
            require!(sandbox.podman(["load", "-q", "-i", format])).ok();
            let foreign = sandbox.coracle(["images", "-q", "--no-trunc"]).ok();
            assert_eq!(foreign.text(), format!("sha256:{original}"), "{format}");
            sandbox.coracle(["rmi", &original]).ok();
            let loaded = sandbox.coracle(["load", "-i"]).arg(&file).ok();
            let name = match format {
                "docker-dir" => format!("Loaded image ID: sha256:{original}"),
                _ => "Loaded image: lab/multi:latest".to_owned(),
            };
            loaded.stdout_is(&name);
            runs(&sandbox, &original);
            if format == "docker-dir" {
                sandbox.coracle(["tag", &original, "docker.io/lab/multi"]).ok();
            }
        }
        let problems = crate::support::store::problems(&sandbox);
        assert!(problems.is_empty(), "{problems:#?}");
    }
}

#[test]
fn what_podman_and_skopeo_write_is_loaded() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/multi");
        let original = id(&sandbox, "lab/multi");
        let mut files: Vec<PathBuf> = Vec::new();
        for format in ["docker-archive", "oci-archive", "oci-dir", "docker-dir"] {
            let file = sandbox.path(format!("work/podman-{format}"));
            let name = "docker.io/lab/multi:latest";
            require!(sandbox.podman(["save", "-q", "--format", format, "-o"])).arg(&file).arg(name).ok();
            files.push(file);
        }
        let source = format!("docker://{}/lab/multi", sandbox.registry().address());
        for transport in ["dir", "oci", "oci-archive", "docker-archive"] {
            let file = sandbox.path(format!("work/skopeo-{transport}"));
            require!(sandbox.skopeo(["copy", "-q", "--src-tls-verify=false", &source]))
                .arg(format!("{transport}:{}", file.display()))
                .ok();
            files.push(file);
        }
        for file in &files {
            sandbox.coracle(["rmi", "-f", &original]).ok();
            sandbox.coracle(["load", "-q", "-i"]).arg(file).ok().stdout_has("Loaded image");
            runs(&sandbox, &original);
            if file.is_dir() {
                continue;
            }
            // The same through a pipe, and compressed.
            let bytes = fs::read(file).unwrap();
            let compressed = [gzip(&bytes, 1), zstd::encode_all(&bytes[..], 1).unwrap()];
            for bytes in compressed.into_iter().chain([bytes]) {
                sandbox.coracle(["rmi", "-f", &original]).ok();
                sandbox.coracle(["load", "-q"]).stdin(bytes).ok().stdout_has("Loaded image");
                runs(&sandbox, &original);
            }
        }
    }
}

#[test]
fn several_images_and_names_share_an_archive() {
    let sandbox = require!(Sandbox::user());
    for name in ["lab/multi", "lab/busybox", "lab/config"] {
        sandbox.pull(name);
    }
    for (image, name) in [("lab/multi", "one:1"), ("lab/multi", "one:2"), ("lab/busybox", "two:1")] {
        sandbox.coracle(["tag", image, name]).ok();
    }
    let ids = ["one:1", "two:1", "lab/config"].map(|name| id(&sandbox, name));
    let piped = sandbox.coracle(["save", "one", "two:1", &ids[2]]).ok().bytes;
    let file = sandbox.write("work/all.tar", &piped);
    let names = ["localhost/one:1", "localhost/one:2", "localhost/two:1"];
    let listed = sandbox.coracle(["image", "list-tags", &format!("docker-archive:{}", text(&file))]).ok();
    assert_eq!(listed.json()["Tags"], json!(names));
    // A file gets the same bytes as a pipe.
    sandbox.coracle(["save", "-o", "again.tar", "-m", "one", "two:1", &ids[2]]).ok();
    let again = fs::read(sandbox.path("work/again.tar")).unwrap();
    assert_eq!(again.len(), piped.len());
    for image in &ids {
        sandbox.coracle(["rmi", "-f", image]).ok();
    }
    let loaded = sandbox.coracle(["load", "--input"]).arg(&file).ok();
    for name in names {
        assert!(loaded.stdout.contains(&format!("Loaded image: {name}\n")), "{loaded}");
    }
    assert!(loaded.stdout.contains(&format!("Loaded image ID: sha256:{}", ids[2])), "{loaded}");
    runs(&sandbox, "one:2");
    // One of them.
    for image in &ids {
        sandbox.coracle(["rmi", "-f", image]).ok();
    }
    let archive = format!("docker-archive:{}", text(&file));
    sandbox.coracle(["pull", "-q", &format!("{archive}:localhost/two:1")]).ok().stdout_is(&ids[1]);
    sandbox.coracle(["pull", "-q", &format!("{archive}:@2")]).ok().stdout_is(&ids[2]);
    sandbox.coracle(["pull", &format!("{archive}:@3")]).fails(1).stderr_has("has 3 images, none is @3");
    sandbox.coracle(["pull", &format!("{archive}:nope")]).fails(1).stderr_has("it has localhost/one:1");
    sandbox.coracle(["image", "exists", "one:1"]).fails(1);
    // Several in a layout, too; podman's is the judge of one of them.
    sandbox.coracle(["pull", "-q", &archive]).ok();
    sandbox.coracle(["save", "--format=oci-dir", "-o", "layout", "one:1", "two:1"]).ok();
    let layout = sandbox.path("work/layout");
    let inspected = require!(sandbox.skopeo(["inspect", "--config"]))
        .arg(format!("oci:{}:localhost/two:1", text(&layout)))
        .ok();
    assert_eq!(inspected.json()["os"], "linux");
    sandbox.coracle(["rmi", "one:1", "one:2", "two:1"]).ok();
    let loaded = sandbox.coracle(["load", "-i", "layout"]).ok();
    assert_eq!(loaded.lines(), ["Loaded image: localhost/one:1", "Loaded image: localhost/two:1"]);
}

#[test]
fn layouts_and_archives_of_other_tools_are_loaded() {
    let sandbox = require!(Sandbox::user());
    let named =
        |image: &Image, name: &str| described(image, json!({"org.opencontainers.image.ref.name": name}));
    let index = |manifests: &[Value]| json!({"schemaVersion": 2, "manifests": manifests});
    let (a, b) = (small("a"), small("b"));
    let put = |directory: &str, files: &[(String, Vec<u8>)]| {
        for (name, bytes) in files {
            sandbox.write(format!("work/{directory}/{name}"), bytes);
        }
    };
    // kaniko: no name, Docker's or OCI's media type.
    put("kaniko", &layout(&[&a], index(&[described(&a, Value::Null)])));
    sandbox
        .coracle(["load", "-i", "kaniko"])
        .ok()
        .stdout_is(&format!("Loaded image ID: sha256:{}", image_id(&a)));
    assert_eq!(word(&sandbox, &image_id(&a)), "a");
    // umoci: tags in the annotation; several images.
    put("umoci", &layout(&[&a, &b], index(&[named(&a, "first"), named(&b, "second")])));
    sandbox.coracle(["pull", "-q", "oci:./umoci:second"]).ok().stdout_is(&image_id(&b));
    sandbox.coracle(["load", "-i", "umoci"]).ok().stdout_has("Loaded image: localhost/first:latest");
    assert_eq!(word(&sandbox, "second"), "b");
    // bazel's rules_oci: blobs are links into a cache elsewhere.
    put("cache", &layout(&[&b], index(&[described(&b, Value::Null)])));
    sandbox.mkdir("work/bazel");
    for name in ["blobs", "index.json", "oci-layout"] {
        std::os::unix::fs::symlink(format!("../cache/{name}"), sandbox.path(format!("work/bazel/{name}")))
            .unwrap();
    }
    sandbox.coracle(["load", "-i", "bazel"]).ok().stdout_has(&image_id(&b));
    // The same as a tarball: a docker archive whose layers are compressed and named by their digests.
    let mut files: Vec<_> = b.layers.iter().map(|layer| blob(&layer.blob)).collect();
    let config = blob(&b.config_bytes());
    let layers: Vec<_> = files.iter().map(|(name, _)| name.clone()).collect();
    let manifest = json!([{"Config": config.0, "RepoTags": ["bazel/b:1"], "Layers": layers}]);
    files.push(config);
    files.push(("manifest.json".into(), manifest.to_string().into_bytes()));
    sandbox.coracle(["rmi", "-af"]).ok();
    sandbox.coracle(["load"]).stdin(tar(&files)).ok().stdout_is("Loaded image: bazel/b:1");
    assert_eq!(word(&sandbox, "bazel/b:1"), "b");
    // go-containerregistry's, which kaniko (--tar-path), ko and crane write: names are digests, layers have an ending.
    let mut shaped: Vec<_> = b
        .layers
        .iter()
        .map(|layer| (format!("{}.tar.gz", &crate::support::digest(&layer.blob)[7..]), layer.blob.clone()))
        .collect();
    let layers: Vec<_> = shaped.iter().map(|(name, _)| name.clone()).collect();
    let config = (format!("sha256:{}", image_id(&b)), b.config_bytes());
    let manifest = json!([{"Config": config.0, "RepoTags": ["kaniko/b:1"], "Layers": layers}]);
    shaped.push(config);
    shaped.push(("manifest.json".into(), manifest.to_string().into_bytes()));
    sandbox.coracle(["load"]).stdin(tar(&shaped)).ok().stdout_is("Loaded image: kaniko/b:1");
    assert_eq!(word(&sandbox, "kaniko/b:1"), "b");
    sandbox.coracle(["rmi", "-f", "kaniko/b:1", "bazel/b:1"]).ok();
    sandbox.coracle(["load"]).stdin(tar(&files)).ok();
    // bzip2 around it, from the web.
    let mut packed = Vec::new();
    let plain = tar(&files);
    let encoder = &mut bzip2::read::BzEncoder::new(&plain[..], bzip2::Compression::fast());
    std::io::Read::read_to_end(encoder, &mut packed).unwrap();
    sandbox.coracle(["rmi", "bazel/b:1"]).ok();
    sandbox.coracle(["load"]).stdin(packed.clone()).ok().stdout_is("Loaded image: bazel/b:1");
    sandbox.coracle(["rmi", "bazel/b:1"]).ok();
    let web = crate::import::server(packed);
    let loaded = sandbox.coracle(["load", "-i", &format!("http://{web}/again")]).ok();
    loaded.stdout_is("Loaded image: bazel/b:1").stderr_has("Downloading from");
    for (path, words) in [("/none", "404"), ("/cut", "broke off")] {
        sandbox.coracle(["load", "-q", "-i", &format!("http://{web}{path}")]).fails(1).stderr_has(words);
    }
    // nix: layers in directories, some of them links to one another, all of it gzipped.
    let plain = crate::support::busybox_tar();
    let mut image = Image::new([Layer::plain(&plain), Layer::of([Entry::file("word", "n")])], json!({}));
    image.layers.push(Layer::plain(&plain));
    let second = Tarball::of([Entry::file("word", "n")]).finish();
    let config = image.config_bytes();
    let manifest = json!([{"Config": "c.json", "RepoTags": ["nix:x"], "Layers": ["1/layer.tar", "2/layer.tar", "3/layer.tar"]}]);
    let archive = Tarball::of([
        Entry::dir("1"),
        Entry::file("1/layer.tar", plain.as_slice()),
        Entry::file("./2/layer.tar", second.as_slice()),
        Entry::symlink("3/layer.tar", "../1/layer.tar"),
        Entry::file("c.json", config.as_slice()),
        Entry::file("manifest.json", manifest.to_string().into_bytes()),
    ]);
    sandbox.coracle(["load"]).stdin(gzip(&archive.finish(), 1)).ok().stdout_is("Loaded image: nix:x");
    assert_eq!(id(&sandbox, "nix:x"), image_id(&image));
    assert_eq!(word(&sandbox, "nix:x"), "n");
    // Docker before 1.10.
    let v1 = |id: &str, parent: &str, layer: &[u8]| {
        let mut json = json!({"id": id, "created": "2014-01-01T00:00:00Z", "architecture": "amd64", "os": "linux",
            "config": {"Cmd": ["cat", "word"]}, "container_config": {"Cmd": ["/bin/sh", "-c", id]}});
        if !parent.is_empty() {
            json["parent"] = parent.into();
        }
        vec![
            Entry::file(format!("{id}/VERSION"), "1.0"),
            Entry::file(format!("{id}/json"), json.to_string().into_bytes()),
            Entry::file(format!("{id}/layer.tar"), layer),
        ]
    };
    let mut entries = v1("bottom", "", &plain);
    entries.extend(v1("top", "bottom", &second));
    entries.push(Entry::file("repositories", r#"{"old/image":{"1":"top","2":"top"}}"#));
    let loaded = sandbox.coracle(["load"]).stdin(Tarball::of(entries).finish()).ok();
    assert_eq!(loaded.lines(), ["Loaded image: old/image:1", "Loaded image: old/image:2"]);
    sandbox.coracle(["run", "--rm", "--network=none", "old/image:2"]).ok().stdout_is("n");
}

#[test]
fn platforms_of_an_archive_are_chosen_and_kept() {
    let sandbox = require!(Sandbox::user());
    sandbox.registry().provide("lab/arch");
    let source = format!("docker://{}/lab/arch", sandbox.registry().address());
    sandbox.coracle(["image", "copy", "--all", &source, "oci-archive:all.tar:lab/arch:latest"]).ok();
    let original = sandbox.registry().digest("lab/arch", "latest").unwrap();
    let raw = sandbox.coracle(["image", "inspect", "--raw", "oci-archive:all.tar"]).ok();
    assert_eq!(digest(raw.stdout.as_bytes()), original);
    let copied = require!(sandbox.skopeo(["inspect", "--raw", "oci-archive:all.tar"])).ok();
    assert_eq!(copied.stdout, raw.stdout);
    sandbox
        .coracle(["load", "-i", "all.tar", "--platform=linux/arm64"])
        .ok()
        .stdout_has("localhost/lab/arch:latest");
    let architecture = |name: &str| {
        sandbox.coracle(["image", "inspect", "--format={{.Architecture}}", name]).ok().text().to_owned()
    };
    assert_eq!(architecture("localhost/lab/arch"), "arm64");
    sandbox
        .coracle(["load", "-i", "all.tar", "--platform=linux/s390x"])
        .fails(1)
        .stderr_has("no matching manifest");
    // One for another platform is saved only if it is asked for.
    sandbox
        .coracle(["save", "--platform=linux/amd64", "-o", "x", "localhost/lab/arch"])
        .fails(1)
        .stderr_has("is for linux/arm64");
    assert!(!sandbox.path("work/x").exists());
}

#[test]
fn a_real_docker_loads_what_we_save_and_the_other_way_round() {
    require!(root());
    let sandbox = require!(Sandbox::root());
    let docker = require!(Docker::start());
    sandbox.pull("lab/multi");
    let original = id(&sandbox, "lab/multi");
    sandbox.coracle(["save", "-o", "ours.tar", "lab/multi"]).ok();
    docker
        .command(["load", "-i"])
        .arg(sandbox.path("work/ours.tar"))
        .ok()
        .stdout_has("Loaded image: lab/multi:latest");
    let there = docker.command(["image", "inspect", "-f", "{{.Id}}", "lab/multi"]).ok();
    assert_eq!(there.text(), format!("sha256:{original}"));
    let theirs = sandbox.path("work/theirs.tar");
    docker.command(["save", "-o"]).arg(&theirs).arg("lab/multi").ok();
    sandbox.coracle(["rmi", "lab/multi"]).ok();
    sandbox.coracle(["load", "-i", "theirs.tar"]).ok().stdout_is("Loaded image: lab/multi:latest");
    assert_eq!(id(&sandbox, "lab/multi"), original);
    runs(&sandbox, "lab/multi");
    // Straight through its socket.
    let host = format!("unix://{}", docker.socket().display());
    let with = |arguments: &[&str]| sandbox.coracle(arguments.iter().copied()).env("DOCKER_HOST", &host);
    with(&["push", "lab/multi", "docker-daemon:pushed:1"]).ok();
    let there = docker.command(["image", "inspect", "-f", "{{.Id}}", "pushed:1"]).ok();
    assert_eq!(there.text(), format!("sha256:{original}"));
    sandbox.coracle(["rmi", "-f", &original]).ok();
    with(&["pull", "-q", "docker-daemon:pushed:1"]).ok().stdout_is(&original);
    runs(&sandbox, "pushed:1");
    with(&["image", "copy", "docker-daemon:pushed:1", "dir:copied"]).ok();
    assert!(sandbox.path("work/copied/manifest.json").exists());
    with(&["pull", "docker-daemon:nope:1"]).fails(1).stderr_has("No such image");
    with(&["push", "lab/nope", "docker-daemon:x:1"]).fails(1).stderr_has("No such image");
    sandbox
        .coracle(["pull", "docker-daemon:x:1"])
        .env("DOCKER_HOST", "unix:///nowhere")
        .fails(1)
        .stderr_has("DOCKER_HOST");
    sandbox
        .coracle(["pull", "docker-daemon:x:1"])
        .env("DOCKER_HOST", "tcp://1.2.3.4")
        .fails(1)
        .stderr_has("not reached from here");
}

#[test]
fn what_cannot_be_loaded_or_saved_is_said_and_leaves_nothing() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/busybox");
    let load = |bytes: Vec<u8>| sandbox.coracle(["load"]).stdin(bytes).fails(1);
    load(Vec::new()).stderr_has("does not match any of the supported image formats");
    load(b"not a tar at all, but long enough for one\n".repeat(100)).stderr_has("is no image archive");
    load(b"short\n".to_vec()).stderr_has("payload does not match any of the supported image formats");
    load(tar(&[("etc/passwd".into(), b"x".to_vec())])).stderr_has("supported image formats");
    load(tar(&[("manifest.json".into(), b"[{".to_vec())])).stderr_has("manifest.json");
    let missing = json!([{"Config": "c.json", "RepoTags": null, "Layers": []}]).to_string();
    load(tar(&[("manifest.json".into(), missing.into_bytes())])).stderr_has("c.json");
    sandbox.coracle(["load", "-i", "/nowhere"]).fails(1).stderr_has("/nowhere: no such file or directory");
    let image = small("x");
    // Digests that are paths, documents that are two things at once, configurations without end.
    for digest in ["sha256:../../../etc/passwd", "sha256:ABC", "../x", "sha256:"] {
        let mut entry = described(&image, Value::Null);
        entry["digest"] = digest.into();
        load(tar(&layout(&[&image], json!({"schemaVersion": 2, "manifests": [entry]})))).stderr_has("digest");
    }
    let mut both: Value = serde_json::from_slice(&image.manifest_bytes()).unwrap();
    both["manifests"] = json!([described(&image, Value::Null)]);
    load(tar(&layout(&[&image], both))).stderr_has("index.json");
    let huge = [&b"{\"a\":\""[..], &[b'x'; 5 << 20], b"\"}"].concat();
    let manifest = json!([{"Config": "c.json", "RepoTags": null, "Layers": []}]).to_string().into_bytes();
    load(tar(&[("manifest.json".into(), manifest), ("c.json".into(), huge)])).stderr_has("c.json");
    let mut files =
        layout(&[&image], json!({"schemaVersion": 2, "manifests": [described(&image, Value::Null)]}));
    let last = files.len() - 1;
    files[last].1[20] ^= 1;
    load(tar(&files)).stderr_has("load");
    sandbox
        .coracle(["images", "-q", "-a"])
        .ok()
        .lines()
        .iter()
        .for_each(|id| assert!(!image_id(&image).starts_with(id)));

    let save = |arguments: &[&str]| sandbox.coracle(["save"]).args(arguments.iter().copied());
    save(&["-o", "x.tar", "nope"]).fails(1).stderr_has("No such image: nope");
    save(&["-o", "x.tar", "--format=zip", "lab/busybox"]).fails(1).stderr_has("unknown format");
    save(&["-o", "x.tar", "--compress", "lab/busybox"]).fails(1).stderr_has("--format is 'docker-dir'");
    save(&["--format=oci-dir", "lab/busybox"]).fails(1).stderr_has("--output");
    save(&["-o", "work", "--format=docker-archive", "lab/busybox"])
        .cwd(sandbox.path(""))
        .fails(1)
        .stderr_has("is a directory");
    save(&["-o", "/nowhere/x.tar", "lab/busybox"]).fails(1).stderr_has("/nowhere/x.tar");
    sandbox.write("work/full/file", "x");
    save(&["-o", "full", "--format=docker-dir", "lab/busybox"])
        .fails(1)
        .stderr_has("is not empty and no image directory");
    assert_eq!(fs::read_dir(sandbox.path("work")).unwrap().count(), 1);
    let mut terminal = sandbox.terminal(["save", "lab/busybox"]);
    terminal.expect("refusing to save to terminal");
    assert_eq!(terminal.wait().0, 1);
    let mut terminal: Pty = sandbox.terminal(["load"]);
    terminal.expect("cannot read from terminal");
    assert_eq!(terminal.wait().0, 1);
}

#[test]
fn a_full_disk_leaves_no_half_of_an_archive() {
    require!(root());
    let sandbox = require!(Sandbox::root());
    sandbox.pull("lab/multi");
    require!(program("mount"));
    let small = sandbox.mkdir("work/small");
    let script =
        "mount -t tmpfs -o size=1m tmpfs \"$0\"; \"$@\"; code=$?; ls -A \"$0\"; umount \"$0\"; exit $code";
    let within = |command: crate::support::Cmd| {
        command.wrapped(["unshare", "-m", "sh", "-c", script, &text(&small)]).run()
    };
    for format in ["docker-archive", "oci-archive", "oci-dir", "docker-dir"] {
        let target = small.join("out");
        let outcome =
            within(sandbox.coracle(["save", "--format", format, "-o"]).arg(&target).arg("lab/multi"));
        assert!(outcome.stderr.contains("no space left on device"), "{format}: {outcome}");
        assert_eq!((outcome.exit_code(), outcome.text()), (1, ""), "{format}: {outcome}");
    }
}
