//! A token service for docker-registry's `auth: token`: it knows one user, signs with a key of its own, and gives identity
//! tokens to who asks for them ("Token Authentication Specification" of distribution, and its OAuth2 form).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Missing, program};

/// What the service gives in the password's place.
pub const IDENTITY: &str = "an-identity-token";

/// The service; its threads end with the process.
pub struct Tokens {
    address: SocketAddr,
    /// Its own alone: the threads never end, and what they hold is never removed.
    directory: tempfile::TempDir,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Tokens {
    /// One that knows `user` and `password`; `identity`: it gives identity tokens, too.
    pub fn start(user: &str, password: &str, identity: bool) -> Result<Tokens, Missing> {
        let directory = tempfile::tempdir().unwrap();
        let openssl = program("openssl")?;
        let made = Command::new(&openssl)
            .args(
                "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=tokens"
                    .split(' '),
            )
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let service = Arc::new(Service {
            basic: format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
            user: user.to_owned(),
            identity,
            directory: directory.path().to_owned(),
            openssl,
        });
        let log = Arc::clone(&seen);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (service, log) = (Arc::clone(&service), Arc::clone(&log));
                thread::spawn(move || service.serve(client, &log));
            }
        });
        Ok(Tokens { address, directory, seen })
    }

    /// Where clients are sent.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// The certificate that registries trust.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    /// Every request: method, path, and body if it had one.
    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

struct Service {
    basic: String,
    user: String,
    identity: bool,
    directory: PathBuf,
    openssl: PathBuf,
}

impl Service {
    fn serve(&self, mut client: TcpStream, log: &Mutex<Vec<String>>) {
        let mut reader = BufReader::new(client.try_clone().unwrap());
        let mut first = String::new();
        let _ = reader.read_line(&mut first);
        let (mut authorization, mut length, mut chunked) = (String::new(), 0, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                break;
            }
            let (name, value) = line.trim().split_once(": ").unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "authorization" => value.clone_into(&mut authorization),
                "content-length" => length = value.parse().unwrap(),
                "transfer-encoding" => chunked = value == "chunked",
                _ => {}
            }
        }
        // podman sends its form in chunks.
        let body = match chunked {
            true => unchunked(&mut reader),
            false => {
                let mut body = vec![0; length];
                let _ = reader.read_exact(&mut body);
                body
            }
        };
        let body = String::from_utf8(body).unwrap();
        let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
        log.lock().unwrap().push(format!("{} {target} {body}", first.split(' ').next().unwrap_or_default()));
        let by_token = first.starts_with("POST") && body.contains(&format!("refresh_token={IDENTITY}"));
        let query = if by_token { body.as_str() } else { target.split_once('?').unwrap_or_default().1 };
        let answer = match by_token || authorization == self.basic {
            true => {
                let token = self.token(query);
                let mut answer = json!({"token": token, "access_token": token, "expires_in": 300});
                if self.identity && query.contains("offline_token=true") {
                    answer["refresh_token"] = IDENTITY.into();
                }
                ("200 OK", answer)
            }
            false => ("401 Unauthorized", json!({"details": "incorrect username or password"})),
        };
        let text = answer.1.to_string();
        let _ = write!(
            client,
            "HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
            answer.0,
            text.len()
        );
    }

    /// A token for every scope that was asked for.
    fn token(&self, query: &str) -> String {
        let field = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| decoded(value)).collect::<Vec<_>>()
        };
        let scopes = field("scope");
        let access: Vec<Value> =
            scopes.iter().flat_map(|s| s.split(' ')).filter(|s| !s.is_empty()).map(access).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({
            "iss": "tokens", "sub": self.user, "aud": field("service").first().cloned().unwrap_or_default(),
            "exp": now + 300, "nbf": now - 10, "iat": now - 10, "jti": format!("{now}"), "access": access,
        });
        let certificate = std::fs::read_to_string(self.directory.join("cert.pem")).unwrap();
        let der: String = certificate.lines().filter(|line| !line.starts_with("-----")).collect();
        let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [der]});
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.signature(signed.as_bytes())))
    }

    fn signature(&self, text: &[u8]) -> Vec<u8> {
        let mut child = Command::new(&self.openssl)
            .args(["dgst", "-sha256", "-sign", "key.pem"])
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text).unwrap();
        child.wait_with_output().unwrap().stdout
    }
}

/// `repository:lab/x:pull,push`.
fn access(scope: &str) -> Value {
    let (kind, rest) = scope.split_once(':').unwrap_or((scope, ""));
    let (name, actions) = rest.rsplit_once(':').unwrap_or((rest, ""));
    json!({"type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>()})
}

fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            }
            b'+' => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn unchunked(reader: &mut impl BufRead) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        let _ = reader.read_line(&mut line);
        let size = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
        let mut chunk = vec![0; size + 2];
        let _ = reader.read_exact(&mut chunk);
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&chunk[..size]);
    }
}
