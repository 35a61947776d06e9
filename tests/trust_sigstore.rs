//! sigstore signatures: attached to images, by keys and by certificates, in Rekor's log.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    Image, Layer, Registry, RegistryOptions, Sandbox, SigstoreKey, base64, busybox_tar, digest, openssl,
    require, sealed,
};

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// A registry with one image, and where signatures are attached.
struct Lab {
    sandbox: Sandbox,
    registry: Registry,
    /// `HOST:PORT/lab/x:latest`.
    name: String,
    manifest: String,
}

impl Lab {
    fn new(sandbox: Sandbox) -> Lab {
        let registry =
            Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }).unwrap();
        let image = Image::new([Layer::plain(&busybox_tar())], json!({"Cmd": ["sh"]}));
        let manifest = registry.push("lab/x", "latest", &image);
        let name = format!("{}/lab/x:latest", registry.address());
        sandbox.use_registry(&registry);
        sandbox.lookaside(true);
        Lab { sandbox, registry, name, manifest }
    }

    /// What cosign signs.
    fn payload(&self, name: &str) -> Vec<u8> {
        json!({
            "critical": {
                "identity": {"docker-reference": name},
                "image": {"docker-manifest-digest": self.manifest},
                "type": "cosign container image signature",
            },
            "optional": null,
        })
        .to_string()
        .into_bytes()
    }

    /// Attaches what is to be found as cosign attaches it.
    fn attach(&self, layers: &[(&str, &[u8], Value)]) {
        let config = self.registry.push_blob("lab/x", b"{}");
        let layers: Vec<Value> = layers
            .iter()
            .map(|(media_type, payload, annotations)| {
                let hash = self.registry.push_blob("lab/x", payload);
                json!({"mediaType": media_type, "digest": hash, "size": payload.len(), "annotations": annotations})
            })
            .collect();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let image = json!({
            "schemaVersion": 2, "mediaType": media_type, "layers": layers,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        });
        let tag = format!("{}.sig", self.manifest.replace(':', "-"));
        self.registry.push_manifest("lab/x", &tag, media_type, image.to_string().as_bytes());
    }

    #[track_caller]
    fn refused(&self, why: &str) {
        self.sandbox.coracle(["pull", "-q", &self.name]).fails(1).stderr_has(why);
        self.sandbox.coracle(["images", "-q"]).ok().stdout_is("");
    }

    #[track_caller]
    fn pulled(&self) {
        self.sandbox.coracle(["pull", "-q", &self.name]).ok();
        self.sandbox.coracle(["rmi", "-f", &self.name]).ok();
    }

    fn policy(&self, rule: &str) {
        self.sandbox.policy("docker", &format!("[{{\"type\":\"sigstoreSigned\",{rule}}}]"));
    }
}

#[test]
fn a_key_signs_as_cosign_does() {
    let lab = Lab::new(require!(Sandbox::user()));
    let (key, other) = (SigstoreKey::new(&lab.sandbox, "good"), SigstoreKey::new(&lab.sandbox, "other"));
    let by = |key: &SigstoreKey, more: &str| {
        lab.policy(&format!("\"keyPath\":\"{}\"{more}", key.public.display()))
    };
    by(&key, "");
    lab.refused("a signature was required, but no signature exists (docker in");
    let payload = lab.payload(&lab.name);
    let signature = key.sign(&lab.sandbox, &payload);
    lab.attach(&[("application/vnd.dsse.envelope.v1+json", b"{}", json!({}))]);
    lab.refused("(0 non-sigstore signatures, 1 sigstore non-signature attachments)");
    lab.attach(&[(TYPE, &payload, json!({}))]);
    lab.refused(&format!("missing {SIGNATURE} annotation"));
    lab.attach(&[(TYPE, &payload, json!({SIGNATURE: "§"}))]);
    lab.refused("the signature is not base64");
    lab.attach(&[(TYPE, &payload, json!({SIGNATURE: signature}))]);
    lab.pulled();
    by(&other, "");
    lab.refused("cryptographic signature verification failed");
    let both = format!(r#""keyPaths":["{}","{}"]"#, other.public.display(), key.public.display());
    lab.policy(&both);
    lab.pulled();
    let data = base64(&fs::read(&key.public).unwrap());
    lab.policy(&format!(r#""keyData":"{data}""#));
    lab.pulled();
    lab.policy(&format!(
        r#""keyDatas":["{data}"],"signedIdentity":{{"type":"exactRepository","dockerRepository":"q.io/x"}}"#
    ));
    lab.refused("is not accepted");
    lab.policy(&format!("\"keyPath\":\"{}\"", lab.sandbox.path("conf/storage.conf").display()));
    lab.refused("the public key is not in PEM format");
    // One that is good is enough, and what is not a signature is passed over.
    by(&key, "");
    let foreign = b"{}".as_slice();
    lab.attach(&[
        ("text/plain", b"x", json!({})),
        (TYPE, foreign, json!({SIGNATURE: key.sign(&lab.sandbox, foreign)})),
        (TYPE, &payload, json!({SIGNATURE: signature})),
    ]);
    lab.pulled();
    // Another payload with that signature; the payload of another image; a name without a tag, as cosign itself writes it.
    let mut spoilt = payload.clone();
    spoilt.push(b' ');
    lab.attach(&[(TYPE, &spoilt, json!({SIGNATURE: signature}))]);
    lab.refused("cryptographic signature verification failed");
    let text = String::from_utf8(payload.clone()).unwrap().replace(&lab.manifest, &digest(b"another"));
    lab.attach(&[(TYPE, text.as_bytes(), json!({SIGNATURE: key.sign(&lab.sandbox, text.as_bytes())}))]);
    lab.refused("does not match");
    let bare = lab.payload(lab.name.trim_end_matches(":latest"));
    lab.attach(&[(TYPE, &bare, json!({SIGNATURE: key.sign(&lab.sandbox, &bare)}))]);
    lab.refused("is not accepted");
    by(&key, r#","signedIdentity":{"type":"matchRepository"}"#);
    lab.pulled();
    // Not looked for unless registries.d says so; too large; not what the digest says.
    lab.sandbox.lookaside(false);
    lab.refused("a signature was required");
    lab.sandbox.lookaside(true);
    let large = vec![b' '; (4 << 20) + 1];
    lab.attach(&[(TYPE, &large, json!({SIGNATURE: signature}))]);
    lab.refused("more than 4194304");
}

#[test]
fn our_sigstore_signatures_are_cosigns() {
    let lab = Lab::new(require!(Sandbox::user()));
    let sandbox = &lab.sandbox;
    let key = SigstoreKey::new(sandbox, "good");
    let private = sealed(sandbox, &key, "secret");
    let (good, bad) = (sandbox.write("phrase", "secret\n"), sandbox.write("wrong", "secrets\n"));
    sandbox.coracle(["pull", "-q", &lab.name]).ok();
    let signed = format!("{}/lab/signed:1", lab.registry.address());
    let push = |phrase: &std::path::Path| {
        let command = sandbox.coracle(["push", "-q", "--sign-passphrase-file"]).arg(phrase);
        command.arg("--sign-by-sigstore-private-key").arg(&private).args([&lab.name, &signed])
    };
    push(&bad).fails(1).stderr_has("the passphrase is wrong");
    sandbox
        .coracle(["push", "-q", "--sign-by-sigstore-private-key"])
        .arg(&key.private)
        .args([&lab.name, &signed])
        .fails(1)
        .stderr_has("unsupported pem type: EC PRIVATE KEY");
    push(&good).ok();
    // Debian's skopeo copies sigstore signatures but does not verify them; openssl does.
    let at = format!("docker://{signed}");
    require!(sandbox.skopeo(["copy", "--src-tls-verify=false", &at, "dir:theirs"])).ok();
    sandbox.coracle(["image", "copy", "-q", &at, "dir:ours"]).ok();
    let kept = sandbox.read("work/ours/signature-1");
    assert_eq!(kept, sandbox.read("work/theirs/signature-1"));
    let kept: Value = serde_json::from_str(kept.split_once('\n').unwrap().1).unwrap();
    sandbox.write("keys/payload", unbase64(&kept["payload"]));
    sandbox.write("keys/signature", unbase64(&kept["annotations"][SIGNATURE]));
    openssl(sandbox, &format!("dgst -sha256 -verify {} -signature signature payload", key.public.display()));
    lab.policy(&format!("\"keyPath\":\"{}\"", key.public.display()));
    sandbox.coracle(["rmi", "-af"]).ok();
    lab.refused("a signature was required");
    sandbox.coracle(["pull", "-q", &signed]).ok();
    // Signed a second time there are two; copied on, both go along, and none of them twice.
    let attached = |repository: &str| {
        let tag = format!("{}.sig", lab.registry.digest(repository, "1").unwrap().replace(':', "-"));
        let image: Value = serde_json::from_slice(&lab.registry.manifest(repository, &tag)).unwrap();
        image["layers"].as_array().unwrap().len()
    };
    assert_eq!(attached("lab/signed"), 1);
    let parameters =
        format!("privateKeyFile: {}\nprivateKeyPassphraseFile: {}\n", private.display(), good.display());
    let file = sandbox.write("sign.yaml", &parameters);
    let again = || sandbox.coracle(["push", "-q", "--sign-by-sigstore"]).arg(&file).args([&signed, &signed]);
    crate::support::eventually("a second passes", std::time::Duration::from_secs(20), || {
        again().ok();
        (attached("lab/signed") == 2).then_some(())
    });
    sandbox.accept_everything();
    let moved = format!("docker://{}/lab/moved:1", lab.registry.address());
    for _ in 0..2 {
        sandbox.coracle(["image", "copy", "-q", &at, &moved]).ok();
        assert_eq!(attached("lab/moved"), 2);
    }
    // skopeo attaches what we kept.
    let theirs = format!("{}/lab/theirs:1", lab.registry.address());
    require!(sandbox.skopeo(["copy", "--dest-tls-verify=false", "dir:ours", &format!("docker://{theirs}")]))
        .ok();
    let rule = r#""signedIdentity":{"type":"exactReference","dockerReference":"#;
    lab.policy(&format!("\"keyPath\":\"{}\",{rule}\"{signed}\"}}", key.public.display()));
    sandbox.coracle(["pull", "-q", &theirs]).ok();
    // What asks others is refused.
    for (more, why) in [
        ("rekorURL: https://rekor.test\n", "uploading signatures to Rekor is not supported"),
        (
            "fulcio:\n  fulcioURL: https://fulcio.test\n",
            "signing with a certificate of Fulcio is not supported",
        ),
        ("surprise: 1\n", "parsing"),
    ] {
        sandbox.write("sign.yaml", parameters.clone() + more);
        again().fails(1).stderr_has(why);
    }
    // Attachments that are not allowed are not written.
    sandbox.lookaside(false);
    sandbox.accept_everything();
    sandbox.coracle(["pull", "-q", &lab.name]).ok();
    let command = sandbox.coracle(["push", "-q", "--sign-passphrase-file"]).arg(&good);
    let never = format!("{}/lab/never:1", lab.registry.address());
    let command = command.arg("--sign-by-sigstore-private-key").arg(&private).args([&lab.name, &never]);
    command.fails(1).stderr_has("writing sigstore attachments is disabled by configuration");
    assert!(lab.registry.digest("lab/never", "1").is_none());
}

/// Rekor's log, whose key openssl has.
fn entry(
    lab: &Lab,
    rekor: &SigstoreKey,
    signer: &[u8],
    signature: &str,
    payload: &[u8],
    when: i64,
) -> String {
    let body = json!({
        "apiVersion": "0.0.1", "kind": "hashedrekord",
        "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": digest(payload).trim_start_matches("sha256:")}},
            "signature": {"content": signature, "publicKey": {"content": base64(signer)}},
        },
    });
    let body = base64(body.to_string().as_bytes());
    let canonical = format!(r#"{{"body":"{body}","integratedTime":{when},"logID":"c0d2","logIndex":7}}"#);
    let proof = rekor.sign(&lab.sandbox, canonical.as_bytes());
    let payload = json!({"logIndex": 7, "body": body, "logID": "c0d2", "integratedTime": when});
    json!({"SignedEntryTimestamp": proof, "Payload": payload}).to_string()
}

fn unbase64(text: &Value) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap()
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[test]
fn keys_have_to_be_in_the_log_if_the_policy_says_so() {
    let lab = Lab::new(require!(Sandbox::user()));
    let [key, rekor, other] = ["good", "rekor", "other"].map(|name| SigstoreKey::new(&lab.sandbox, name));
    let payload = lab.payload(&lab.name);
    let signature = key.sign(&lab.sandbox, &payload);
    let public = fs::read(&key.public).unwrap();
    let logged = |set: &str| {
        lab.attach(&[(TYPE, &payload, json!({SIGNATURE: signature, "dev.sigstore.cosign/bundle": set}))])
    };
    lab.policy(&format!(
        r#""keyPaths":["{}","{}"],"rekorPublicKeyPath":"{}""#,
        other.public.display(),
        key.public.display(),
        rekor.public.display()
    ));
    lab.attach(&[(TYPE, &payload, json!({SIGNATURE: signature}))]);
    lab.refused("missing dev.sigstore.cosign/bundle annotation");
    let good = entry(&lab, &rekor, &public, &signature, &payload, now());
    logged(&good);
    lab.pulled();
    let foreign = fs::read(&other.public).unwrap();
    for (set, why) in [
        (entry(&lab, &other, &public, &signature, &payload, now()), "verification of its timestamp failed"),
        (good.replace("\"logIndex\":7", "\"logIndex\":8"), "verification of its timestamp failed"),
        (good.replace("\"logIndex\":7", "\"logIndex\":7,\"more\":1"), "unknown key \"more\""),
        (
            entry(&lab, &rekor, &foreign, &signature, &payload, now()),
            "cryptographic signature verification failed",
        ),
        (entry(&lab, &rekor, &public, &base64(b"x"), &payload, now()), "its signature does not match"),
        (entry(&lab, &rekor, &public, &signature, b"x", now()), "its payload does not match"),
        ("{}".to_owned(), "the key \"SignedEntryTimestamp\" is missing"),
    ] {
        logged(&set);
        lab.refused(why);
    }
}

/// An authority, and a signer's certificate of it with this address and issuer.
fn certificate(lab: &Lab, name: &str, names: &str, issuer: &str) -> String {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    let run = |line: &str| openssl(&lab.sandbox, line);
    if !lab.sandbox.path("keys/ca.crt").exists() {
        run(&format!("req -x509 {key} -keyout ca.key -out ca.crt -days 300 -subj /CN=authority"));
        run(&format!("req {key} -keyout between.key -out between.csr -subj /CN=between"));
        lab.sandbox.write("keys/between.ext", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nextendedKeyUsage=codeSigning\n");
        run(
            "x509 -req -in between.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out between.crt -days 200 -extfile between.ext",
        );
    }
    let hex: Vec<String> = issuer.bytes().map(|b| format!("{b:02x}")).collect();
    lab.sandbox.write(
        "keys/leaf.ext",
        format!(
            "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n\
             subjectAltName=critical,{names}\n1.3.6.1.4.1.57264.1.1=DER:{}\n1.3.6.1.4.1.57264.1.8=ASN1:UTF8String:{issuer}\n",
            hex.join(":")
        ),
    );
    run(&format!("req {key} -keyout {name}.key -out leaf.csr -subj /CN=leaf"));
    run(&format!(
        "x509 -req -in leaf.csr -CA between.crt -CAkey between.key -CAcreateserial -out {name}.crt -days 10 -extfile leaf.ext"
    ));
    lab.sandbox.read(format!("keys/{name}.crt"))
}

#[test]
fn certificates_have_to_be_of_the_right_owner_and_time() {
    let lab = Lab::new(require!(Sandbox::user()));
    let rekor = SigstoreKey::new(&lab.sandbox, "rekor");
    let leaf = certificate(&lab, "leaf", "email:signer@lab.test,DNS:build.lab.test", "https://issuer.test");
    let chain = lab.sandbox.read("keys/between.crt") + &lab.sandbox.read("keys/ca.crt");
    let path = |name: &str| lab.sandbox.path(format!("keys/{name}"));
    let payload = lab.payload(&lab.name);
    let signature =
        SigstoreKey { public: path("leaf.crt"), private: path("leaf.key") }.sign(&lab.sandbox, &payload);
    let fulcio = |email: &str, issuer: &str| {
        lab.policy(&format!(
            r#""fulcio":{{"caPath":"{}","oidcIssuer":"{issuer}","subjectEmail":"{email}"}},"rekorPublicKeyPath":"{}""#,
            path("ca.crt").display(),
            rekor.public.display()
        ));
    };
    let attach = |certificate: &str, chain: &str, when: i64| {
        let set = entry(&lab, &rekor, certificate.as_bytes(), &signature, &payload, when);
        let annotations = json!({
            SIGNATURE: signature, "dev.sigstore.cosign/bundle": set,
            "dev.sigstore.cosign/certificate": certificate, "dev.sigstore.cosign/chain": chain,
        });
        lab.attach(&[(TYPE, &payload, annotations)]);
    };
    fulcio("signer@lab.test", "https://issuer.test");
    attach(&leaf, &chain, now());
    lab.pulled();
    // Its time is the log's, not ours.
    attach(&leaf, &chain, now() + 11 * 24 * 3600);
    lab.refused("verifying leaf certificate failed");
    attach(&leaf, &chain, now() - 24 * 3600);
    lab.refused("verifying leaf certificate failed");
    attach(&leaf, "", now());
    lab.refused("verifying leaf certificate failed");
    attach(&(leaf.clone() + &leaf), &chain, now());
    lab.refused("2 certificates instead of the signer's");
    attach(&leaf, &chain, now());
    fulcio("somebody@lab.test", "https://issuer.test");
    lab.refused("required email \"somebody@lab.test\" not found (got [\"signer@lab.test\"])");
    fulcio("signer@lab.test", "https://other.test");
    lab.refused("unexpected Fulcio OIDC issuer \"https://issuer.test\"");
    // Somebody else's certificate, from the same authority, does not make the signature theirs.
    let other = certificate(&lab, "other", "email:other@lab.test", "https://issuer.test");
    attach(&other, &chain, now());
    fulcio("other@lab.test", "https://issuer.test");
    lab.refused("cryptographic signature verification failed");
    // An authority of the user's own, without a log.
    let pki =
        |more: &str| lab.policy(&format!(r#""pki":{{"caRootsPath":"{}",{more}}}"#, path("ca.crt").display()));
    attach(&leaf, &chain, now());
    pki(r#""subjectEmail":"signer@lab.test","subjectHostname":"build.lab.test""#);
    lab.pulled();
    pki(r#""subjectHostname":"evil.lab.test""#);
    lab.refused("unexpected subject hostname");
    pki(r#""subjectEmail":"evil@lab.test""#);
    lab.refused("required email \"evil@lab.test\" not found");
    attach(&leaf, "", now());
    pki(r#""subjectEmail":"signer@lab.test""#);
    lab.refused("verifying leaf certificate failed");
    pki(&format!(
        r#""subjectEmail":"signer@lab.test","caIntermediatesPath":"{}""#,
        path("between.crt").display()
    ));
    lab.pulled();
    lab.policy(&format!(r#""pki":{{"caRootsPath":"{}","subjectEmail":"x"}}"#, rekor.public.display()));
    lab.refused("is no certificate");
}
