//! Signatures: which are believed and which are not, where they come from, where they go, and what skopeo and podman make
//! of ours.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{
    GpgKey, Image, Layer, Outcome, Registry, RegistryOptions, Sandbox, Web, busybox_tar, digest, require,
};

fn empty() -> Registry {
    Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }).unwrap()
}

/// A registry with `lab/busybox`, copied there by us, and the image's name.
fn image(sandbox: &Sandbox) -> (Registry, String) {
    let registry = empty();
    let shared = sandbox.registry();
    shared.provide("lab/busybox");
    let name = format!("{}/lab/busybox:latest", registry.address());
    let from = format!("docker://{}/lab/busybox", shared.address());
    sandbox.coracle(["image", "copy", "-q", &from, &format!("docker://{name}")]).ok();
    sandbox.use_registry(&registry);
    (registry, name)
}

fn signed_by(key: &Path) -> String {
    format!(r#"[{{"type":"signedBy","keyType":"GPGKeys","keyPath":"{}"}}]"#, key.display())
}

#[track_caller]
fn refused(sandbox: &Sandbox, name: &str, why: &str) {
    sandbox.coracle(["pull", "-q", name]).fails(1).stderr_has("source image rejected").stderr_has(why);
    sandbox.coracle(["images", "-q"]).ok().stdout_is("");
    let layers = fs::read_to_string(sandbox.path("root/overlay-layers/layers.json")).unwrap_or_default();
    assert!(matches!(layers.trim(), "" | "[]" | "null"), "{layers}");
}

/// skopeo signs while it copies an image onto itself.
fn skopeo_signs(sandbox: &Sandbox, key: &GpgKey, name: &str) -> Outcome {
    let at = format!("docker://{name}");
    sandbox
        .skopeo([
            "copy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            "--sign-by",
            &key.fingerprint,
            &at,
            &at,
        ])
        .unwrap()
        .env("GNUPGHOME", key.home())
        .ok()
}

fn signatures(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut queue = vec![directory.to_owned()];
    while let Some(directory) = queue.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => queue.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn skopeos_gpg_signature_is_believed_and_no_other() {
    let sandbox = require!(Sandbox::user());
    let key = require!(GpgKey::new(&sandbox, "good@lab.test", "", "never"));
    let other = require!(GpgKey::new(&sandbox, "somebody.else@lab.test", "", "never"));
    let (registry, name) = image(&sandbox);
    let directory = sandbox.lookaside(false);
    sandbox.policy("docker", &signed_by(&key.public));
    refused(&sandbox, &name, "a signature was required, but no signature exists (docker in");
    sandbox.accept_everything();
    skopeo_signs(&sandbox, &key, &name);
    let [file] = &signatures(&directory)[..] else { panic!() };
    sandbox.policy("docker", &signed_by(&other.public));
    refused(&sandbox, &name, "signature by key");
    let by = |requirement: &str| sandbox.policy("docker", requirement);
    by(&format!(
        "[{{\"type\":\"signedBy\",\"keyType\":\"GPGKeys\",\"keyPath\":\"{}\"}},{{\"type\":\"reject\"}}]",
        key.public.display()
    ));
    refused(&sandbox, &name, "is rejected by policy");
    by(&format!(
        "[{},{}]",
        signed_by(&key.public).trim_matches(['[', ']']),
        signed_by(&other.public).trim_matches(['[', ']'])
    ));
    refused(&sandbox, &name, "signature by key");
    by(r#"[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/nowhere"}]"#);
    sandbox.coracle(["pull", "-q", &name]).fails(1).stderr_has("read /nowhere: no such file");
    by(&format!(
        r#"[{{"type":"signedBy","keyType":"GPGKeys","keyPath":"{}"}}]"#,
        sandbox.path("conf/storage.conf").display()
    ));
    refused(&sandbox, &name, "no public keys imported");
    by(&format!(
        r#"[{{"type":"signedBy","keyType":"X509Certificates","keyPath":"{}"}}]"#,
        key.public.display()
    ));
    refused(&sandbox, &name, "unimplemented \"keyType\" value \"X509Certificates\"");
    let exact = r#""signedIdentity":{"type":"exactRepository","dockerRepository":"q.io/other"}"#;
    by(&format!(
        r#"[{{"type":"signedBy","keyType":"GPGKeys","keyPath":"{}",{exact}}}]"#,
        key.public.display()
    ));
    refused(&sandbox, &name, &format!("signature for identity \"{name}\" is not accepted"));
    // Either key will do, and data as well as files.
    let paths = format!(r#"["{}","{}"]"#, other.public.display(), key.public.display());
    by(&format!(r#"[{{"type":"signedBy","keyType":"GPGKeys","keyPaths":{paths}}}]"#));
    sandbox.coracle(["pull", "-q", &name]).ok();
    sandbox.coracle(["rmi", "-f", &name]).ok();
    let data = crate::support::base64(&fs::read(&key.public).unwrap());
    by(&format!(r#"[{{"type":"signedBy","keyType":"GPGKeys","keyData":"{data}"}}]"#));
    sandbox.coracle(["run", "--rm", &name, "echo", "signed"]).ok().stdout_is("signed");
    sandbox.coracle(["rmi", "-f", &name]).ok();
    // By digest the tag is not asked for.
    let by_digest =
        format!("{}/lab/busybox@{}", registry.address(), registry.digest("lab/busybox", "latest").unwrap());
    sandbox.coracle(["pull", "-q", &by_digest]).ok();
    sandbox.coracle(["rmi", "-af"]).ok();
    // The same image by another name is signed for the first one.
    let copy = format!("docker://{}/lab/busybox:other", registry.address());
    sandbox.accept_everything();
    sandbox.coracle(["image", "copy", "-q", "--remove-signatures", &format!("docker://{name}"), &copy]).ok();
    by(&signed_by(&key.public));
    refused(&sandbox, &copy["docker://".len()..], "is not accepted");
    // A spoilt signature, one that is none, one that is too large.
    let good = fs::read(file).unwrap();
    let mut spoilt = good.clone();
    let middle = spoilt.len() / 2;
    spoilt[middle] ^= 1;
    for (bytes, why) in [
        (spoilt, "source image rejected"),
        (b"<html>not here</html>".to_vec(), "unrecognized signature format, starting with binary 0x3c"),
        (Vec::new(), "it is empty"),
        (vec![0x90; (4 << 20) + 1], "is larger than a signature may be"),
    ] {
        fs::write(file, bytes).unwrap();
        sandbox.coracle(["pull", "-q", &name]).fails(1).stderr_has(why);
        sandbox.coracle(["images", "-q"]).ok().stdout_is("");
    }
    // What blocks, what leads elsewhere, what never ends.
    fs::remove_file(file).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        file,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o666),
        0,
    )
    .unwrap();
    sandbox.coracle(["pull", "-q", &name]).fails(1).stderr_has("is no file");
    fs::remove_file(file).unwrap();
    for number in 1..=129 {
        fs::write(file.with_file_name(format!("signature-{number}")), &good).unwrap();
    }
    sandbox.coracle(["pull", "-q", &name]).fails(1).stderr_has("more than 128 signatures");
    assert!(
        fs::read_dir(sandbox.path("tmp")).unwrap().all(|entry| !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("gpg"))
    );
}

#[test]
fn expired_and_revoked_keys_sign_nothing() {
    let sandbox = require!(Sandbox::user());
    let key = require!(GpgKey::new(&sandbox, "short@lab.test", "", "seconds=2"));
    let (_registry, name) = image(&sandbox);
    sandbox.lookaside(false);
    skopeo_signs(&sandbox, &key, &name);
    sandbox.policy("docker", &signed_by(&key.public));
    // As long as the key is good the image is pulled.
    crate::support::eventually("the key expires", std::time::Duration::from_secs(20), || {
        let pulled = sandbox.coracle(["pull", "-q", &name]).run();
        sandbox.coracle(["rmi", "-af"]).run();
        (pulled.exit_code() == 1).then_some(())
    });
    refused(&sandbox, &name, "its key has expired");
}

/// An image whose layer is not compressed, so that it can be made again to the byte.
fn plain_image(registry: &Registry, name: &str) -> String {
    let image = Image::new([Layer::plain(&busybox_tar())], json!({"Cmd": ["sh"]}));
    registry.push(name, "latest", &image)
}

#[test]
fn signatures_stay_with_the_image() {
    let sandbox = require!(Sandbox::user());
    let key = require!(GpgKey::new(&sandbox, "good@lab.test", "", "never"));
    let registry = empty();
    let manifest = plain_image(&registry, "lab/plain");
    sandbox.use_registry(&registry);
    let name = format!("{}/lab/plain:latest", registry.address());
    let directory = sandbox.lookaside(false);
    skopeo_signs(&sandbox, &key, &name);
    let original = fs::read(&signatures(&directory)[0]).unwrap();
    let copy = |from: &str, to: &str| sandbox.coracle(["image", "copy", "-q", from, to]);
    // Registry, store, directory, another registry: the same manifest, the same signature.
    sandbox.policy("docker", &signed_by(&key.public));
    sandbox.coracle(["pull", "-q", &name]).ok();
    sandbox.coracle(["push", "-q", &name, "dir:pushed"]).ok();
    let there = format!("docker://{}/lab/moved:1", registry.address());
    sandbox.policy("dir", &format!(r#"[{{"type":"signedBy","keyType":"GPGKeys","keyPath":"{}","signedIdentity":{{"type":"exactReference","dockerReference":"{name}"}}}}]"#, key.public.display()));
    copy("dir:pushed", &there).ok().stdout_is(&manifest);
    copy("dir:pushed", "dir:again").ok().stdout_is(&manifest);
    for path in ["work/pushed/signature-1", "work/again/signature-1"] {
        assert_eq!(fs::read(sandbox.path(path)).unwrap(), original);
    }
    let moved =
        signatures(&directory).into_iter().find(|path| path.to_string_lossy().contains("lab/moved")).unwrap();
    assert_eq!(fs::read(moved).unwrap(), original);
    require!(sandbox.skopeo(["copy", "dir:again", "dir:judged"])).ok();
    // A spoilt manifest is not the one that was signed.
    let text = sandbox.read("work/again/manifest.json");
    sandbox.write("work/again/manifest.json", text.replacen('{', "{ ", 1));
    copy("dir:again", "dir:never").fails(1).stderr_has("signature for digest").stderr_has("does not match");
    assert!(!sandbox.path("work/never").exists());
    sandbox.accept_everything();
    // podman finds it in the store, and we find podman's.
    require!(sandbox.podman(["push", "-q", &name, "dir:podmans"])).ok();
    assert_eq!(fs::read(sandbox.path("work/podmans/signature-1")).unwrap(), original);
    sandbox.coracle(["rmi", "-af"]).ok();
    require!(sandbox.podman(["pull", "-q", "--tls-verify=false", &name])).ok();
    sandbox.coracle(["push", "-q", &name, "dir:again"]).ok();
    assert_eq!(fs::read(sandbox.path("work/again/signature-1")).unwrap(), original);
    // Where they cannot be kept it is said, unless they are not wanted.
    for (place, why) in [
        ("oci:./layout:x", "can not copy signatures to"),
        ("docker-archive:./a.tar", "storing signatures for docker tar files is not supported"),
    ] {
        sandbox
            .coracle(["push", "-q", &name, place])
            .fails(1)
            .stderr_has(why)
            .stderr_has("--remove-signatures");
        sandbox.coracle(["push", "-q", "--remove-signatures", &name, place]).ok();
    }
    sandbox
        .coracle(["push", "-q", "--format=v2s2", &name, "dir:other"])
        .fails(1)
        .stderr_has("would invalidate signatures");
    sandbox.coracle(["push", "-q", "--remove-signatures", &name, "dir:again"]).ok();
    assert!(!sandbox.path("work/again/signature-1").exists());
    sandbox.coracle(["save", "-q", "-o", "saved.tar", &name]).ok();
    // Pulled once more without, the image has none.
    signatures(&directory).iter().for_each(|file| fs::remove_file(file).unwrap());
    sandbox.coracle(["pull", "-q", &name]).ok();
    sandbox.coracle(["push", "-q", &name, "dir:unsigned"]).ok();
    assert!(!sandbox.path("work/unsigned/signature-1").exists());
}

#[test]
fn our_gpg_signatures_are_good_for_skopeo_and_podman() {
    let sandbox = require!(Sandbox::user());
    let key = require!(GpgKey::new(&sandbox, "locked@lab.test", "open sesame", "never"));
    let (registry, name) = image(&sandbox);
    let directory = sandbox.lookaside(false);
    sandbox.coracle(["pull", "-q", &name]).ok();
    let good = sandbox.write("phrase", "open sesame\nmore\n");
    let bad = sandbox.write("wrong", "open barley\n");
    let push = |phrase: &Path, key_id: &str, to: &str| {
        sandbox
            .coracle(["push", "-q", "--sign-by", key_id, "--sign-passphrase-file"])
            .arg(phrase)
            .args([&name, to])
            .env("GNUPGHOME", key.home())
    };
    let signed = format!("{}/lab/signed:1", registry.address());
    push(&bad, &key.fingerprint, &signed)
        .fails(1)
        .stderr_has("gpg does not sign with")
        .stderr_has("passphrase");
    push(&good, "nobody@lab.test", &signed).fails(1).stderr_has("gpg has no secret key nobody@lab.test");
    assert!(signatures(&directory).is_empty());
    push(&good, "locked@lab.test", "dir:nameless")
        .fails(1)
        .stderr_has("cannot determine canonical Docker reference");
    push(&good, "locked@lab.test", "oci:./x:y").fails(1).stderr_has("signatures cannot be written to");
    push(&good, &key.fingerprint, &signed).ok();
    // What they think of it.
    sandbox.policy("docker", &signed_by(&key.public));
    require!(sandbox.skopeo(["copy", "--src-tls-verify=false", &format!("docker://{signed}"), "dir:judged"]))
        .ok();
    require!(sandbox.podman(["pull", "-q", "--tls-verify=false", &signed])).ok();
    require!(sandbox.skopeo(["copy", "--src-tls-verify=false", &format!("docker://{name}"), "dir:no"]))
        .fails(1);
    let manifest = sandbox.write("manifest", registry.manifest("lab/signed", "1"));
    let file = &signatures(&directory)[0];
    sandbox
        .command([crate::support::program("skopeo").unwrap()])
        .arg("standalone-verify")
        .args([&manifest])
        .args([&signed, &key.fingerprint])
        .arg(file)
        .env("GNUPGHOME", key.home())
        .ok();
    // And the other way: skopeo's standalone signature of that manifest by another name.
    let again = sandbox.path("work/again");
    sandbox
        .command([crate::support::program("skopeo").unwrap()])
        .arg("standalone-sign")
        .args([&manifest])
        .args([&name, &key.fingerprint, "--passphrase-file", good.to_str().unwrap(), "-o"])
        .arg(&again)
        .env("GNUPGHOME", key.home())
        .ok();
    let hash = digest(&registry.manifest("lab/signed", "1"));
    let place = directory.join(format!("lab/busybox@{}", hash.replace(':', "=")));
    fs::create_dir_all(&place).unwrap();
    fs::copy(&again, place.join("signature-1")).unwrap();
    let copy = sandbox.coracle(["image", "copy", "-q", &format!("docker://{name}"), "dir:ours"]);
    // Only if the copy kept the digest is it the one that was signed.
    match registry.digest("lab/busybox", "latest").unwrap() == hash {
        true => copy.ok().stdout_is(&hash),
        false => copy.fails(1).stderr_has("a signature was required"),
    };
    // A copy is signed by the name that is asked for.
    sandbox.accept_everything();
    sandbox
        .coracle([
            "image",
            "copy",
            "-q",
            "--remove-signatures",
            "--sign-by",
            "locked@lab.test",
            "--sign-identity",
            "q.io/lab/x:1",
            "--sign-passphrase-file",
        ])
        .arg(&good)
        .args([&format!("docker://{name}"), "dir:named"])
        .env("GNUPGHOME", key.home())
        .ok();
    let rule = |reference: &str| {
        format!(
            r#"[{{"type":"signedBy","keyType":"GPGKeys","keyPath":"{}","signedIdentity":{{"type":"exactReference","dockerReference":"{reference}"}}}}]"#,
            key.public.display()
        )
    };
    sandbox.policy("dir", &rule("q.io/lab/x:2"));
    require!(sandbox.skopeo(["copy", "dir:named", "dir:no"])).fails(1);
    sandbox
        .coracle(["load", "-q", "-i", "named"])
        .fails(1)
        .stderr_has("signature for identity \"q.io/lab/x:1\" is not accepted");
    sandbox.policy("dir", &rule("q.io/lab/x:1"));
    require!(sandbox.skopeo(["copy", "dir:named", "dir:yes"])).ok();
    sandbox.coracle(["load", "-q", "-i", "named"]).ok();
}

#[test]
fn lists_are_signed_with_their_images() {
    let sandbox = require!(Sandbox::user());
    let key = require!(GpgKey::new(&sandbox, "good@lab.test", "", "never"));
    let registry = empty();
    let shared = sandbox.registry();
    shared.provide("lab/arch");
    let directory = sandbox.lookaside(false);
    let name = format!("{}/lab/arch:latest", registry.address());
    let (from, to) = (format!("docker://{}/lab/arch", shared.address()), format!("docker://{name}"));
    sandbox
        .coracle(["image", "copy", "-q", "--all", "--sign-by", "good@lab.test", &from, &to])
        .env("GNUPGHOME", key.home())
        .ok();
    let index: serde_json::Value = serde_json::from_slice(&registry.manifest("lab/arch", "latest")).unwrap();
    assert_eq!(signatures(&directory).len(), index["manifests"].as_array().unwrap().len() + 1);
    sandbox.use_registry(&registry);
    sandbox.policy("docker", &signed_by(&key.public));
    sandbox.coracle(["pull", "-q", &name]).ok();
    require!(sandbox.skopeo(["copy", "--all", "--src-tls-verify=false", &to, "dir:all"])).ok();
    // A directory keeps each instance's signature by its digest.
    sandbox.coracle(["image", "copy", "-q", "--all", &to, "dir:ours"]).ok();
    let names = |directory: &str| {
        let entries = fs::read_dir(sandbox.path("work").join(directory)).unwrap().flatten();
        let mut names: Vec<_> = entries
            .map(|e| e.file_name().into_string().unwrap())
            .filter(|n| n.contains("signature"))
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("ours"), names("all"));
    // `image sign` signs what is there already.
    signatures(&directory).iter().for_each(|file| fs::remove_file(file).unwrap());
    let sign = |arguments: &[&str]| {
        sandbox.coracle(["image", "sign"]).args(arguments.iter().copied()).env("GNUPGHOME", key.home())
    };
    sign(&[&to]).fails(1).stderr_has("no identity provided");
    sign(&["--sign-by=good@lab.test", "--directory=nowhere", &to]).fails(1).stderr_has("no such file");
    sign(&["--sign-by=good@lab.test", "--all", "lab/none"]).fails(1).stderr_has("No such image");
    // Killed after the first of them: what is there is whole, and the rest is made by doing it again.
    let half = sandbox.mkdir("work/half");
    let all = ["--sign-by=good@lab.test", "--all", "-d", "half", &to];
    sign(&all).env("CORACLE_FAILPOINT", "sign.stored").fails(137);
    assert_eq!(signatures(&half).len(), 1);
    sign(&all).ok();
    let instances = index["manifests"].as_array().unwrap().len();
    assert!((instances..=instances + 1).contains(&signatures(&half).len()));
    let files = sign(&["--sign-by=good@lab.test", "--all", &to]).ok();
    assert_eq!(files.lines().len(), index["manifests"].as_array().unwrap().len());
    sandbox.coracle(["rmi", "-af"]).ok();
    sandbox.coracle(["pull", "-q", &name]).ok();
    require!(sandbox.skopeo(["copy", "--src-tls-verify=false", &to, "dir:one"])).ok();
    let elsewhere = sandbox.mkdir("work/elsewhere");
    sign(&["--sign-by=good@lab.test", "-d", "elsewhere", &to]).ok();
    sign(&["--sign-by=good@lab.test", "-d", "elsewhere", &to]).ok();
    let written = signatures(&elsewhere);
    assert!(
        written[1].ends_with("signature-2") && written[0].starts_with(elsewhere.join("lab")),
        "{written:?}"
    );
    // A list made here.
    let made = format!("{}/lab/made:1", registry.address());
    sandbox.coracle(["manifest", "create", "made"]).ok();
    sandbox.coracle(["manifest", "add", "made", &to]).ok();
    sandbox
        .coracle(["manifest", "push", "-q", "--all", "--sign-by=good@lab.test", "made", &made])
        .env("GNUPGHOME", key.home())
        .ok();
    sandbox.coracle(["pull", "-q", &made]).ok();
}

#[test]
fn a_lookaside_may_be_a_web_server() {
    let sandbox = require!(Sandbox::user());
    let key = require!(GpgKey::new(&sandbox, "good@lab.test", "", "never"));
    let (_registry, name) = image(&sandbox);
    let directory = sandbox.lookaside(false);
    skopeo_signs(&sandbox, &key, &name);
    sandbox.policy("docker", &signed_by(&key.public));
    let conf = |address: &str, more: &str| {
        let text = format!("default-docker:\n  lookaside: {address}\n{more}");
        sandbox.write("home/.config/containers/registries.d/default.yaml", text);
    };
    let root = directory.clone();
    let web = Web::serve(move |path| {
        let file = |path: &str| fs::read(root.join(path.trim_start_matches('/')));
        match path.strip_prefix("/sig") {
            Some(path) => match file(path) {
                Ok(bytes) => (200, bytes, None),
                Err(_) => (404, Vec::new(), None),
            },
            None if path.starts_with("/moved") => (302, Vec::new(), Some(path.replacen("/moved", "/sig", 1))),
            None if path.starts_with("/away") => (302, Vec::new(), Some("file:///etc/passwd".to_owned())),
            None if path.starts_with("/large") => (200, vec![0x90; (4 << 20) + 1], None),
            None if path.starts_with("/broken") => (500, Vec::new(), None),
            None => (302, Vec::new(), Some(path.to_owned())),
        }
    });
    let at = |path: &str| format!("http://{}/{path}", web.0);
    for (path, why) in [
        ("none", "redirects for ever"),
        ("away", "redirects to an invalid address"),
        ("large", "is larger than 4194304 bytes"),
        ("broken", "the answer is 500"),
    ] {
        conf(&at(path), "");
        sandbox.coracle(["pull", "-q", &name]).fails(1).stderr_has(why);
    }
    conf("ftp://nowhere/", "");
    sandbox.coracle(["pull", "-q", &name]).fails(1).stderr_has("unsupported scheme when reading signature");
    sandbox.coracle(["images", "-q"]).ok().stdout_is("");
    conf(&at("moved"), "");
    sandbox.coracle(["pull", "-q", &name]).ok();
    conf(&at("sig"), "");
    sandbox.coracle(["pull", "-q", &name]).ok();
    // It is not written to; a staging directory is.
    let push = || {
        sandbox
            .coracle(["push", "-q", "--remove-signatures", "--sign-by=good@lab.test", &name])
            .env("GNUPGHOME", key.home())
    };
    push().fails(1).stderr_has("writing directly to a http lookaside").stderr_has("lookaside-staging");
    let staging = sandbox.mkdir("staging");
    conf(&at("sig"), &format!("  lookaside-staging: file://{}\n", staging.display()));
    push().ok();
    assert_eq!(signatures(&staging).len(), 1);
}
