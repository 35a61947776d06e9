//! Keys and signatures made by Debian's gpg and openssl, and the files that say where they are.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Cmd, Missing, Sandbox, program};

/// A GPG key in a home of its own below the sandbox. Its agent ends with it.
pub struct GpgKey {
    pub fingerprint: String,
    /// The public key, in ASCII armor.
    pub public: PathBuf,
    home: PathBuf,
    /// Ends the agent.
    end: Command,
}

impl GpgKey {
    /// Makes one for `address`, with a passphrase unless it is empty. `expires` as gpg writes it.
    pub fn new(sandbox: &Sandbox, address: &str, passphrase: &str, expires: &str) -> Result<GpgKey, Missing> {
        let gpg = program("gpg")?;
        // The agent's sockets are in there, and their paths are to be short.
        let home = sandbox.mkdir(format!("g{}", address.len()));
        std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let run = |arguments: &[&str]| -> Cmd {
            sandbox
                .command([&gpg])
                .env("GNUPGHOME", &home)
                .args(["--batch", "--pinentry-mode", "loopback"])
                .args(arguments.iter().copied())
        };
        run(&["--passphrase", passphrase, "--quick-generate-key", address, "ed25519", "sign", expires]).ok();
        let keys = run(&["--with-colons", "--list-secret-keys", address]).ok();
        let fingerprint = keys
            .lines()
            .iter()
            .find_map(|line| line.strip_prefix("fpr:::::::::"))
            .unwrap()
            .trim_end_matches(':')
            .to_owned();
        let armored = run(&["--armor", "--export", address]).ok();
        let public = sandbox.write(format!("keys/{address}.asc"), armored.stdout);
        let end = sandbox.command([program("gpgconf")?]).arg("--homedir").arg(&home).args(["--kill", "all"]);
        Ok(GpgKey { fingerprint, public, home, end: end.into_std() })
    }

    pub fn home(&self) -> &Path {
        &self.home
    }
}

impl Drop for GpgKey {
    fn drop(&mut self) {
        let _ = self.end.status();
    }
}

/// A sigstore key pair: the public half, and the private one that openssl signs with.
pub struct SigstoreKey {
    pub public: PathBuf,
    pub private: PathBuf,
}

/// `openssl LINE` in the sandbox's `keys` directory.
#[track_caller]
pub fn openssl(sandbox: &Sandbox, line: &str) -> Vec<u8> {
    let directory = sandbox.mkdir("keys");
    let program = program("openssl").unwrap_or_else(|missing| panic!("{}", missing.0));
    sandbox.command([program]).args(line.split(' ')).cwd(directory).ok().bytes
}

impl SigstoreKey {
    pub fn new(sandbox: &Sandbox, name: &str) -> SigstoreKey {
        openssl(sandbox, &format!("ecparam -name prime256v1 -genkey -noout -out {name}.key"));
        openssl(sandbox, &format!("ec -in {name}.key -pubout -out {name}.pub"));
        let path = |extension: &str| sandbox.path(format!("keys/{name}.{extension}"));
        SigstoreKey { public: path("pub"), private: path("key") }
    }

    /// The signature of a payload, in base64.
    pub fn sign(&self, sandbox: &Sandbox, payload: &[u8]) -> String {
        sandbox.write("keys/payload", payload);
        base64(&openssl(sandbox, &format!("dgst -sha256 -sign {} payload", self.private.display())))
    }
}

pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

impl Sandbox {
    /// Makes `requirements` (JSON) the policy for all images of `transport`, everything else being refused, for Coracle,
    /// podman and skopeo.
    pub fn policy(&self, transport: &str, requirements: &str) {
        let text = format!(
            r#"{{"default":[{{"type":"reject"}}],"transports":{{"{transport}":{{"":{requirements}}},"containers-storage":{{"":[{{"type":"insecureAcceptAnything"}}]}}}}}}"#
        );
        self.write("conf/policy.json", &text);
        self.write("home/.config/containers/policy.json", text);
    }

    /// Everything is accepted again.
    pub fn accept_everything(&self) {
        let text = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
        self.write("conf/policy.json", text);
        self.write("home/.config/containers/policy.json", text);
    }

    /// Says in the user's registries.d where signatures are. Returns the lookaside's directory.
    pub fn lookaside(&self, attachments: bool) -> PathBuf {
        let directory = self.mkdir("sigs");
        let text = format!(
            "default-docker:\n  lookaside: file://{0}\n  sigstore: file://{0}\n  use-sigstore-attachments: {attachments}\n",
            directory.display()
        );
        self.write("home/.config/containers/registries.d/default.yaml", text);
        directory
    }
}

/// A private key as cosign writes it: PKCS #8 in a secretbox, the key of which scrypt makes of the passphrase.
pub fn sealed(sandbox: &Sandbox, key: &SigstoreKey, passphrase: &str) -> PathBuf {
    use crypto_secretbox::aead::{Aead, KeyInit};
    use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
    let plain =
        openssl(sandbox, &format!("pkcs8 -topk8 -nocrypt -outform DER -in {}", key.private.display()));
    let (salt, nonce) = ([7; 32], [9; 24]);
    let mut secret = [0; 32];
    let params = scrypt::Params::new(15, 8, 1).unwrap();
    scrypt::scrypt(passphrase.as_bytes(), &salt, &params, &mut secret).unwrap();
    let cipher = XSalsa20Poly1305::new(Key::from_slice(&secret));
    let ciphertext = cipher.encrypt(Nonce::from_slice(&nonce), plain.as_slice()).unwrap();
    let json = serde_json::json!({
        "kdf": {"name": "scrypt", "params": {"N": 32768, "r": 8, "p": 1}, "salt": base64(&salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": base64(&nonce)},
        "ciphertext": base64(&ciphertext),
    });
    let body = base64(json.to_string().as_bytes());
    let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let label = "ENCRYPTED COSIGN PRIVATE KEY";
    let text = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"));
    sandbox.write("keys/sealed.key", text)
}

/// A web server on loopback with an answer for each path: status, body, where it sends one instead. Its thread ends with
/// the process.
pub struct Web(pub std::net::SocketAddr);

impl Web {
    pub fn serve(answer: impl Fn(&str) -> (u16, Vec<u8>, Option<String>) + Send + 'static) -> Web {
        use std::io::{BufRead, BufReader, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let first = lines.next().unwrap_or_default();
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let (status, body, location) = answer(first.split(' ').nth(1).unwrap_or_default());
                let location = location.map(|to| format!("Location: {to}\r\n")).unwrap_or_default();
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\nConnection: close\r\n{location}Content-Length: {length}\r\n\r\n"
                );
                // A client that has read enough hangs up.
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            }
        });
        Web(address)
    }
}
