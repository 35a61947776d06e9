//! import: archives from files, pipes and the web become images that others understand.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::{Entry, Sandbox, Tarball, busybox_entries, digest, host_architecture, require};

fn inspect(sandbox: &Sandbox, name: &str) -> Value {
    sandbox.coracle(["image", "inspect", name]).ok().json()[0].clone()
}

fn archive() -> Vec<u8> {
    let mut entries = busybox_entries();
    entries.extend([
        Entry::dir("srv"),
        Entry::file("srv/capable", "x").mode(0o4755).owner(7, 8).xattr("user.lab", "a\n\0b"),
        Entry::hardlink("srv/again", "srv/capable").mode(0o4755).owner(7, 8),
        Entry::symlink("srv/link", "/nowhere"),
    ]);
    Tarball::of(entries).finish()
}

#[test]
fn archives_of_every_compression() {
    for sandbox in require!(Sandbox::both()) {
        let tar = archive();
        sandbox.write("work/a.tar", &tar);
        for command in ["gzip -k a.tar", "xz -k a.tar", "zstd -q -k a.tar"] {
            sandbox.command(["sh", "-c", command]).ok();
        }
        let mut layers = Vec::new();
        for name in ["a.tar", "a.tar.gz", "a.tar.xz", "a.tar.zst"] {
            let id =
                sandbox.coracle(["import", "-q", name, "imported"]).ok().stderr_is_empty().text().to_owned();
            let image = inspect(&sandbox, "imported");
            assert_eq!(id, format!("sha256:{}", image["Id"].as_str().unwrap()));
            assert_eq!(image["History"][0]["comment"], format!("Imported from {name}"));
            assert_eq!(
                (&image["Os"], &image["Architecture"]),
                (&json!("linux"), &json!(host_architecture()))
            );
            layers.push(image["RootFS"]["Layers"].clone());
        }
        assert!(layers.iter().all(|layer| *layer == json!([digest(&tar)])), "{layers:?}");
        let look = "stat -c '%a %u %g %h' /srv/capable; readlink /srv/link";
        sandbox.coracle(["run", "--rm", "imported", "sh", "-c", look]).ok().stdout_is("4755 7 8 2\n/nowhere");
        // What others take out of the store has the digests that we wrote.
        let source = sandbox.storage_reference("localhost/imported:latest");
        let target = sandbox.path("work/out");
        let copy = ["copy", "-q", "--preserve-digests", &source];
        require!(sandbox.skopeo(copy)).arg(format!("dir:{}", target.display())).ok();
        let manifest = fs::read(target.join("manifest.json")).unwrap();
        assert_eq!(digest(&manifest), inspect(&sandbox, "imported")["Digest"].as_str().unwrap());
        let theirs =
            require!(sandbox.podman(["image", "inspect", "localhost/imported"])).ok().json()[0].clone();
        assert_eq!(theirs["Digest"], inspect(&sandbox, "imported")["Digest"]);
        // Images of the same layer share it.
        sandbox.coracle(["rmi", "-a", "-f"]).ok();
        assert!(sandbox.leaks().is_empty(), "{:?}", sandbox.leaks());
    }
}

#[test]
fn from_a_pipe_with_changes() {
    let sandbox = require!(Sandbox::root());
    let flags = ["-c", "CMD [\"echo\", \"hi\"]", "--change=ENV A=b", "-c", "WORKDIR /srv", "-m", "a message"];
    let platform = ["--arch", "arm64", "--variant", "v8", "--os", "linux"];
    sandbox.coracle(["image", "import"]).args(flags).args(["-", "lab/piped:1"]).stdin(archive()).ok();
    let image = inspect(&sandbox, "localhost/lab/piped:1");
    assert_eq!(
        (&image["Config"]["Cmd"], &image["Config"]["WorkingDir"]),
        (&json!(["echo", "hi"]), &json!("/srv"))
    );
    assert_eq!(image["History"][0]["comment"], "a message");
    sandbox.coracle(["run", "--rm", "lab/piped:1"]).ok().stdout_is("hi");
    sandbox.coracle(["import"]).args(platform).args(["-", "other"]).stdin(archive()).ok();
    let image = inspect(&sandbox, "other");
    assert_eq!((&image["Architecture"], &image["Variant"]), (&json!("arm64"), &json!("v8")));
    sandbox.coracle(["import", "--platform", "linux/s390x", "-", "third"]).stdin(archive()).ok();
    assert_eq!(inspect(&sandbox, "third")["Architecture"], "s390x");
    // A name that was another image's goes to the new one; without a name there is none.
    let id = sandbox.coracle(["import", "-"]).stdin(archive()).ok().text().to_owned();
    assert_eq!(inspect(&sandbox, id.trim_start_matches("sha256:"))["RepoTags"], json!([]));
}

#[test]
fn what_is_no_archive_is_refused_and_leaves_nothing() {
    for sandbox in require!(Sandbox::both()) {
        let tar = archive();
        let cut = tar[..tar.len() / 2].to_vec();
        sandbox.write("work/good.tar", &tar);
        sandbox.write("work/cut.tar", &cut);
        sandbox.write("work/text", "no archive at all\n".repeat(100));
        sandbox.write("work/empty", "");
        sandbox.write("work/bz", b"BZh91AY&SY");
        for (argv, what) in [
            (&["import", "cut.tar"][..], "unexpected end"),
            (&["import", "text"], "invalid tar header"),
            (&["import", "empty"], "empty"),
            (&["import", "bz"], "unpack the archive"),
            (&["import", "nowhere.tar"], "nowhere.tar"),
            (&["import", "/"], "directory"),
            (&["import", "-c", "RUN x", "good.tar"], "not a valid change command"),
            (&["import", "good.tar", "UPPER"], "invalid reference"),
            (&["import", "--platform", "a/b/c/d", "good.tar"], "platform"),
        ] {
            sandbox.coracle(argv.iter().copied()).fails(1).stderr_has(what);
        }
        sandbox.coracle(["import"]).fails(125);
        sandbox.coracle(["images", "-aq"]).ok().stdout_is("");
        assert!(sandbox.leaks().is_empty(), "{:?}", sandbox.leaks());
    }
}

/// Answers requests one after the other: `/x.tar` is the archive, `/again` leads there, `/loop` to itself, `/cut` breaks
/// off, and anything else is not there.
pub fn server(tar: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                request.push(byte[0]);
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let answer = |status: &str, headers: &str, body: &[u8]| {
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
                );
                [head.as_bytes(), body].concat()
            };
            let bytes = match path {
                "/x.tar" => answer("200 OK", "", &tar),
                "/again" => answer("302 Found", "Location: x.tar\r\n", b""),
                "/loop" => answer("302 Found", "Location: /loop\r\n", b""),
                "/file" => answer("302 Found", "Location: file:///etc/passwd\r\n", b""),
                "/cut" => {
                    let whole = answer("200 OK", "", &tar);
                    whole[..whole.len() / 2].to_vec()
                }
                _ => answer("404 Not Found", "", b"no"),
            };
            let _ = stream.write_all(&bytes);
        }
    });
    address
}

#[test]
fn from_the_web() {
    let sandbox = require!(Sandbox::user());
    let at = server(archive());
    let url = |path: &str| format!("http://{at}{path}");
    sandbox
        .coracle(["import", &url("/x.tar"), "web"])
        .ok()
        .stderr_has(&format!("Downloading from {}", url("/x.tar")));
    assert_eq!(inspect(&sandbox, "web")["History"][0]["comment"], format!("Imported from {}", url("/x.tar")));
    sandbox.coracle(["import", "-q", &url("/again"), "again"]).ok().stderr_is_empty();
    assert_eq!(inspect(&sandbox, "web")["RootFS"], inspect(&sandbox, "again")["RootFS"]);
    let secret = format!("http://me:hunter2@{at}/x.tar");
    sandbox.coracle(["import", &secret, "secret"]).ok().stderr_lacks("hunter2");
    assert!(!inspect(&sandbox, "secret").to_string().contains("hunter2"));
    for (path, what) in
        [("/nothing", "404"), ("/loop", "redirects"), ("/file", "redirect to nowhere"), ("/cut", "broke off")]
    {
        sandbox.coracle(["import", &url(path)]).fails(1).stderr_has(what);
    }
    sandbox.coracle(["import", "http://127.0.0.1:1/x.tar"]).fails(1).stderr_has("connection refused");
    assert_eq!(sandbox.coracle(["images", "-q"]).ok().lines().len(), 3);
}

#[test]
fn a_full_disk() {
    let sandbox = require!(Sandbox::root());
    let target = sandbox.graph_root().display().to_string();
    let mount = |words: &[&str]| {
        crate::support::Cmd::new(words.iter().copied().chain([target.as_str()]), "/".into())
            .env("PATH", crate::support::PATH)
            .ok();
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs"]);
    let large = Tarball::of([Entry::file("large", vec![1; 20_000_000])]).finish();
    sandbox.coracle(["import", "-", "large"]).stdin(large).fails(1).stderr_has("no space left on device");
    sandbox.coracle(["import", "-", "small"]).stdin(archive()).ok();
    let fill = "dd if=/dev/zero of=/fill bs=1M count=5 2>/dev/null";
    sandbox.coracle(["run", "--name", "c", "small", "sh", "-c", fill]).ok();
    sandbox.coracle(["commit", "c", "more"]).fails(1).stderr_has("no space left on device");
    sandbox
        .coracle(["export", "-o", &format!("{target}/out.tar"), "c"])
        .fails(1)
        .stderr_has("no space left on device");
    assert!(!sandbox.graph_root().join("out.tar").exists());
    // Nothing of it is in the way of what fits.
    sandbox.coracle(["run", "--rm", "small", "true"]).ok();
    sandbox.coracle(["rm", "c"]).ok();
    sandbox.coracle(["run", "--name", "c", "small", "sh", "-c", "echo x > /x"]).ok();
    sandbox.coracle(["commit", "c", "more"]).ok();
    sandbox.coracle(["run", "--rm", "more", "cat", "/x"]).ok().stdout_is("x");
    sandbox.coracle(["rm", "c"]).ok();
    sandbox.coracle(["rmi", "-a"]).ok();
    let left: Vec<_> = sandbox.leaks().into_iter().filter(|leak| !leak.starts_with("mount: ")).collect();
    assert!(left.is_empty(), "{left:#?}");
    mount(&["umount", "-R"]);
}
