//! A registry on loopback: Debian's docker-registry, over a store of images that survives between test runs.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde_json::json;

use super::images::{Offer, digest, lock, offers, version};
use super::{Image, Missing, PATH, Response, cache_dir, eventually, program, request};

/// How a registry differs from the shared one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A user and a password that every request needs.
    pub auth: Option<(String, String)>,
    /// The realm of a token service, and the certificate its tokens are signed for.
    pub tokens: Option<(String, PathBuf)>,
    /// HTTPS, with a certificate of an authority of its own ([`Registry::ca`]).
    pub tls: bool,
    /// With [`Options::tls`]: the certificate is its own authority, as `openssl req -x509` makes it, for these names
    /// (subjectAltName).
    pub self_signed: Option<&'static str>,
    /// With [`Options::tls`]: clients have to show a certificate of that authority ([`Registry::client`]).
    pub client: bool,
    /// Blobs of its own instead of the shared images.
    pub empty: bool,
}

/// A running registry, stopped when dropped.
pub struct Registry {
    address: SocketAddr,
    options: Options,
    /// Configuration, log, certificates.
    directory: tempfile::TempDir,
    storage: PathBuf,
    child: Mutex<Child>,
    provided: Mutex<BTreeSet<String>>,
}

/// The one that tests share: plain HTTP, anybody may pull and push. Runs until the process ends.
pub fn registry() -> &'static Registry {
    static SHARED: OnceLock<Registry> = OnceLock::new();
    SHARED.get_or_init(|| {
        Registry::start(Options::default()).unwrap_or_else(|missing| panic!("needs {}", missing.0))
    })
}

impl Registry {
    pub fn start(options: Options) -> Result<Registry, Missing> {
        let server = program("docker-registry")?;
        let setpriv = program("setpriv")?;
        let directory = run_directory();
        let storage =
            if options.empty { directory.path().join("storage") } else { cache_dir().join("registry") };
        fs::create_dir_all(&storage).unwrap();
        // Between closing this socket and the server's opening of its own somebody else may take the port.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let configuration = configuration(address, &options, directory.path(), &storage)?;
            let path = directory.path().join("config.yml");
            fs::write(&path, serde_json::to_vec(&configuration).unwrap()).unwrap();
            let log = fs::File::create(directory.path().join("log")).unwrap();
            let mut command = Command::new(&setpriv);
            command.args(["--pdeathsig", "KILL"]).arg(&server).arg("serve").arg(&path);
            command.env_clear().env("PATH", PATH).stdin(Stdio::null());
            command.stdout(log.try_clone().unwrap()).stderr(log);
            let mut child = spawn_for_good(command);
            let up = eventually("the registry listens", Duration::from_secs(20), || {
                if child.try_wait().unwrap().is_some() {
                    return Some(false);
                }
                TcpStream::connect(address).is_ok().then_some(true)
            });
            if up {
                let (child, provided) = (Mutex::new(child), Mutex::default());
                return Ok(Registry { address, options, directory, storage, child, provided });
            }
        }
        panic!("the registry does not start: {}", fs::read_to_string(directory.path().join("log")).unwrap());
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Whether clients have to be told `insecure = true`.
    pub fn is_insecure(&self) -> bool {
        !self.options.tls
    }

    /// The authority's certificate, with [`Options::tls`].
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.crt")
    }

    /// A client's certificate and its key, of the same authority.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        (self.directory.path().join("client.crt"), self.directory.path().join("client.key"))
    }

    /// Makes sure that the images `lab/…` are served. The first use makes them, which for `lab/debian` and `lab/big`
    /// takes a minute; later ones find them in the cache.
    ///
    /// | name | |
    /// |---|---|
    /// | lab/busybox | one layer: busybox, /etc/passwd with lab (1000), /etc/group with wheel (10) and audio (29) |
    /// | lab/multi | five layers: whiteouts, opaque directories, hard links, xattrs, capabilities, odd names |
    /// | lab/config | Docker media types, every field of the configuration set |
    /// | lab/debian | minbase of the running release, with bash and procps |
    /// | lab/arch | an index: arm/v6, arm/v7, arm64/v8, amd64, riscv64; tag `foreign`: s390x, ppc64le |
    /// | lab/tags | tags latest, v1, v2; /etc/tag says which |
    /// | lab/compressions | gzip, zstd and uncompressed layers |
    /// | lab/deep | 120 layers |
    /// | lab/big | five layers of 120 MB, for benchmarks |
    #[track_caller]
    pub fn provide(&self, name: &str) {
        let name = name.split(['@', ':']).next().unwrap_or(name);
        if !self.provided.lock().unwrap().contains(name) {
            // Not under the mutex: another test that wants another image need not wait for this one.
            let _lock = lock(&cache_dir().join(format!("{}.lock", name.replace('/', "-"))));
            self.fill(name);
            self.provided.lock().unwrap().insert(name.to_owned());
        }
    }

    fn fill(&self, name: &str) {
        let stamp = version(name)
            .map(|version| self.storage.join(format!("{}-{version}.stamp", name.replace('/', "-"))));
        if stamp.as_ref().is_some_and(|stamp| stamp.exists()) {
            return;
        }
        for offer in offers(name) {
            match offer {
                Offer::Image(tag, image) => drop(self.push(name, tag, &image)),
                Offer::Index(tag, images) => drop(self.push_index(name, tag, &images)),
            }
        }
        if let Some(stamp) = stamp {
            fs::write(stamp, "").unwrap();
        }
    }

    /// Pushes an image under a tag or its digest; returns the manifest's digest.
    pub fn push(&self, name: &str, reference: &str, image: &Image) -> String {
        let manifest = image.manifest_bytes();
        let hash = digest(&manifest);
        if self.digest(name, reference).as_ref() == Some(&hash) {
            return hash;
        }
        for layer in &image.layers {
            self.push_blob(name, &layer.blob);
        }
        self.push_blob(name, &image.config_bytes());
        self.push_manifest(name, reference, image.media_type(), &manifest);
        hash
    }

    /// Pushes images for several platforms and an index over them; returns the index's digest.
    pub fn push_index(&self, name: &str, tag: &str, images: &[Image]) -> String {
        let manifests: Vec<_> = images
            .iter()
            .map(|image| {
                let bytes = image.manifest_bytes();
                let hash = digest(&bytes);
                self.push(name, &hash, image);
                let mut platform = json!({"architecture": image.architecture, "os": "linux"});
                if let Some(variant) = &image.variant {
                    platform["variant"] = json!(variant);
                }
                json!({"mediaType": image.media_type(), "size": bytes.len(), "digest": hash, "platform": platform})
            })
            .collect();
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
        let bytes = serde_json::to_vec(&index).unwrap();
        self.push_manifest(name, tag, media_type, &bytes);
        digest(&bytes)
    }

    pub fn push_blob(&self, name: &str, blob: &[u8]) -> String {
        let hash = digest(blob);
        if self.http("HEAD", &format!("/v2/{name}/blobs/{hash}"), &[], b"").status == 200 {
            return hash;
        }
        let started = self.http("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"");
        let location = started.header("Location").expect("an upload location");
        let path = location.strip_prefix(&format!("http://{}", self.address)).unwrap_or(location);
        let separator = if path.contains('?') { '&' } else { '?' };
        let headers = [("Content-Type", "application/octet-stream")];
        let done = self.http("PUT", &format!("{path}{separator}digest={hash}"), &headers, blob);
        assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
        hash
    }

    /// Puts any bytes as a manifest. The registry refuses what it does not understand.
    pub fn push_manifest(&self, name: &str, reference: &str, media_type: &str, manifest: &[u8]) {
        let path = format!("/v2/{name}/manifests/{reference}");
        let done = self.http("PUT", &path, &[("Content-Type", media_type)], manifest);
        assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
    }

    /// The digest of the manifest or index behind a tag.
    pub fn digest(&self, name: &str, reference: &str) -> Option<String> {
        self.manifest_answer("HEAD", name, reference).header("Docker-Content-Digest").map(ToOwned::to_owned)
    }

    /// The manifest or index behind a tag, as it is served.
    pub fn manifest(&self, name: &str, reference: &str) -> Vec<u8> {
        let answer = self.manifest_answer("GET", name, reference);
        assert_eq!(answer.status, 200);
        answer.body
    }

    fn manifest_answer(&self, method: &str, name: &str, reference: &str) -> Response {
        let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.v2+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json";
        self.http(method, &format!("/v2/{name}/manifests/{reference}"), &[("Accept", accept)], b"")
    }

    fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], mut body: &[u8]) -> Response {
        assert!(self.options.auth.is_none() && !self.options.tls, "push through the shared registry");
        let length = body.len() as u64;
        request(self.address, method, path, headers, length, &mut body).unwrap()
    }

    /// What the registry logged, a line for each request.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// A file of the registry's storage that holds a blob, for tests that spoil it (only of an `empty` registry).
    pub fn blob_file(&self, digest: &str) -> PathBuf {
        assert!(self.options.empty, "the shared images are not to be spoilt");
        let hash = digest.strip_prefix("sha256:").unwrap();
        self.storage.join(format!("docker/registry/v2/blobs/sha256/{}/{hash}/data", &hash[..2]))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A directory for a server's files. Nobody drops the shared registry's, so the ones of ended processes go now.
fn run_directory() -> tempfile::TempDir {
    let parent = cache_dir().join("servers");
    fs::create_dir_all(&parent).unwrap();
    for entry in fs::read_dir(&parent).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let pid = name.split('.').next().unwrap_or_default();
        if !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    tempfile::Builder::new().prefix(&format!("{}.", std::process::id())).tempdir_in(parent).unwrap()
}

/// YAML is a superset of JSON.
fn configuration(
    address: SocketAddr,
    options: &Options,
    directory: &Path,
    storage: &Path,
) -> Result<serde_json::Value, Missing> {
    let mut configuration = json!({
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": false}},
        "storage": {
            "filesystem": {"rootdirectory": storage},
            "delete": {"enabled": true},
            "maintenance": {"uploadpurging": {"enabled": false}},
        },
        "http": {"addr": address.to_string()},
    });
    if let Some((user, password)) = &options.auth {
        let output = Command::new(program("htpasswd")?).args(["-Bbn", user, password]).output().unwrap();
        fs::write(directory.join("htpasswd"), output.stdout).unwrap();
        configuration["auth"] = json!({"htpasswd": {"realm": "lab", "path": directory.join("htpasswd")}});
    }
    if let Some((realm, certificate)) = &options.tokens {
        configuration["auth"] = json!({"token": {
            "realm": realm, "service": "lab", "issuer": "tokens", "rootcertbundle": certificate,
        }});
    }
    if options.tls {
        match options.self_signed {
            Some(names) => self_signed(directory, names)?,
            None => certificates(directory)?,
        }
        configuration["http"]["tls"] =
            json!({"certificate": directory.join("server.crt"), "key": directory.join("server.key")});
        if options.client {
            configuration["http"]["tls"]["clientcas"] = json!([directory.join("ca.crt")]);
        }
    }
    Ok(configuration)
}

fn openssl(directory: &Path, line: &str) -> Result<(), Missing> {
    let openssl = program("openssl")?;
    let output = Command::new(&openssl).args(line.split(' ')).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// A certificate for these names that is an authority's, its own (`server.crt`, `ca.crt`).
fn self_signed(directory: &Path, names: &str) -> Result<(), Missing> {
    let ends = format!("-days 30 -subj /CN=Lab -addext subjectAltName={names}");
    openssl(directory, &format!("req -x509 {NEW_KEY} -keyout server.key -out server.crt {ends}"))?;
    fs::copy(directory.join("server.crt"), directory.join("ca.crt")).unwrap();
    Ok(())
}

/// An authority (`ca.crt`), and a certificate of it for 127.0.0.1 and localhost.
fn certificates(directory: &Path) -> Result<(), Missing> {
    let run = |line: &str| openssl(directory, line);
    let key = NEW_KEY;
    run(&format!("req -x509 {key} -keyout ca.key -out ca.crt -days 30 -subj /CN=Lab"))?;
    run(&format!("req {key} -keyout server.key -out server.csr -subj /CN=127.0.0.1"))?;
    fs::write(
        directory.join("names"),
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    run(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 30 -extfile names",
    )?;
    run(&format!("req {key} -keyout client.key -out client.csr -subj /CN=client"))?;
    run(
        "x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out client.crt -days 30 -extfile names",
    )?;
    Ok(())
}

/// Starts a child that is to die with this process. The kernel's signal for that comes when the *thread* that
/// started it ends, so one thread starts all of them and never ends.
fn spawn_for_good(command: Command) -> Child {
    use std::sync::mpsc::{Sender, channel};
    type Request = (Command, Sender<Child>);
    static STARTER: OnceLock<Mutex<Sender<Request>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, requests) = channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in requests {
                let _ = answer.send(command.spawn().expect("docker-registry starts"));
            }
        });
        Mutex::new(sender)
    });
    let (sender, child) = channel();
    starter.lock().unwrap().send((command, sender)).unwrap();
    child.recv().unwrap()
}
