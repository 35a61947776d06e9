//! The client against a small server that misbehaves on demand.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::host::Retry;
use super::{Client, ClientOptions, Descriptor, Document, Reference, Repository};
use crate::engine::config::Environment;
use crate::engine::config::auth::Credentials;
use crate::engine::config::registries::Registries;
use crate::engine::{Digest, ErrorKind};

/// What a request looked like.
#[derive(Clone, Debug)]
struct Request {
    path: String,
    authorization: Option<String>,
    range: Option<String>,
    body: String,
}

/// One answer; the connection is closed after it.
#[derive(Clone)]
enum Answer {
    /// Status line, headers, body.
    Full(&'static str, Vec<String>, Vec<u8>),
    /// A body that ends after so many bytes, though more are promised.
    Cut(Vec<u8>, usize),
    /// Headers and so many bytes, then silence.
    Stall(Vec<u8>, usize),
}

type Script = Arc<Mutex<VecDeque<Answer>>>;

struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers requests in order with what the script says, then by 404.
    fn start(script: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let script: Script = Arc::new(Mutex::new(script.into()));
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, log) = (Arc::clone(&script), Arc::clone(&log));
                std::thread::spawn(move || serve(stream, &script, &log));
            }
        });
        Self { address, seen }
    }

    fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, script: &Script, log: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = Vec::new();
    // A TLS greeting is no request: the connection is closed.
    if reader.read_until(b'\n', &mut first).is_err()
        || !(first.starts_with(b"GET ") || first.starts_with(b"POST "))
    {
        return;
    }
    let path = String::from_utf8_lossy(&first).split(' ').nth(1).unwrap().to_owned();
    let mut request = Request { path, authorization: None, range: None, body: String::new() };
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.authorization = Some(value.to_owned()),
            "range" => request.range = Some(value.to_owned()),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    request.body = String::from_utf8(body).unwrap();
    log.lock().unwrap().push(request);
    let answer = script.lock().unwrap().pop_front();
    let head = |stream: &mut TcpStream, status: &str, headers: &[String], length: usize| {
        let lines: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
        let text =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{lines}\r\n");
        let _ = stream.write_all(text.as_bytes());
    };
    match answer {
        None => head(&mut stream, "404 Not Found", &[], 0),
        Some(Answer::Full(status, headers, body)) => {
            head(&mut stream, status, &headers, body.len());
            let _ = stream.write_all(&body);
        }
        Some(Answer::Cut(body, after)) => {
            head(&mut stream, "200 OK", &[], body.len());
            let _ = stream.write_all(&body[..after]);
        }
        Some(Answer::Stall(body, after)) => {
            head(&mut stream, "200 OK", &[], body.len());
            let _ = stream.write_all(&body[..after]);
            std::thread::sleep(Duration::from_secs(5));
        }
    }
}

fn ok(body: impl Into<Vec<u8>>) -> Answer {
    Answer::Full("200 OK", Vec::new(), body.into())
}

fn partial(body: &[u8], from: usize) -> Answer {
    let range = format!("Content-Range: bytes {from}-{}/{}", body.len() - 1, body.len());
    Answer::Full("206 Partial Content", vec![range], body[from..].to_vec())
}

fn repository(server: &Server, credentials: Option<Credentials>) -> Repository {
    let retry = Retry {
        attempts: 2,
        delay: Duration::from_millis(5),
        stall: Duration::from_millis(300),
        ..Retry::default()
    };
    // No files of this machine: a test must not depend on them.
    let options = ClientOptions { credentials, retry, ..ClientOptions::default() };
    let env = Environment { home: "/nonexistent".into(), cwd: "/".into(), ..Environment::default() };
    let client = Client::new(&env, Registries::default(), options);
    let reference = Reference::parse(&format!("{}/a/b:t", server.address)).unwrap();
    client.sources(&reference).unwrap().remove(0)
}

fn user() -> Option<Credentials> {
    Some(Credentials::parse("u:secret").unwrap())
}

fn blob(bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: String::new(),
        digest: Digest::sha256(bytes),
        size: bytes.len() as u64,
        urls: Vec::new(),
        platform: None,
        annotations: None,
    }
}

fn content() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

const LIMIT: u64 = 1 << 20;

fn manifest_text() -> String {
    let digest = Digest::sha256(b"");
    format!(r#"{{"schemaVersion":2,"config":{{"digest":"{digest}","size":0}},"layers":[]}}"#)
}

#[test]
fn a_broken_blob_is_resumed_where_it_broke() {
    let bytes = content();
    let server = Server::start(vec![Answer::Cut(bytes.clone(), 300_001), partial(&bytes, 300_001)]);
    assert_eq!(repository(&server, None).small_blob(&blob(&bytes), LIMIT).unwrap(), bytes);
    assert_eq!(server.requests()[1].range.as_deref(), Some("bytes=300001-"));
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let bytes = content();
    let server = Server::start(vec![Answer::Cut(bytes.clone(), 300_001), ok(bytes.clone())]);
    assert_eq!(repository(&server, None).small_blob(&blob(&bytes), LIMIT).unwrap(), bytes);
}

#[test]
fn silence_counts_as_a_broken_connection() {
    let bytes = content();
    let server = Server::start(vec![Answer::Stall(bytes.clone(), 10), partial(&bytes, 10)]);
    let started = Instant::now();
    assert_eq!(repository(&server, None).small_blob(&blob(&bytes), LIMIT).unwrap(), bytes);
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_server_that_always_breaks_is_given_up() {
    let bytes = content();
    let server = Server::start(vec![Answer::Cut(bytes.clone(), 10); 9]);
    let e = repository(&server, None).small_blob(&blob(&bytes), LIMIT).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Network);
    assert!(e.to_string().contains("broke off at byte 10 of 800000"), "{e}");
}

#[test]
fn content_is_verified_and_bounded() {
    let bytes = content();
    let mut other = bytes.clone();
    other[5] ^= 1;
    let mut longer = bytes.clone();
    longer.push(0);
    let server = Server::start(vec![ok(other), ok(longer)]);
    let repository = repository(&server, None);
    let wrong = repository.small_blob(&blob(&bytes), LIMIT).unwrap_err();
    assert!(wrong.to_string().contains("does not match its digest"), "{wrong}");
    let long = repository.small_blob(&blob(&bytes), LIMIT).unwrap_err();
    assert!(long.to_string().contains("more than the 800000 bytes"), "{long}");
    let big = repository.small_blob(&blob(&bytes), 1000).unwrap_err();
    for e in [wrong, long, big] {
        assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}");
    }
}

#[test]
fn a_huge_manifest_is_not_read() {
    let server = Server::start(vec![ok(vec![b' '; (4 << 20) + 1])]);
    let e = repository(&server, None).manifest("t").unwrap_err();
    assert!(e.to_string().contains("larger than"), "{e}");
}

#[test]
fn a_manifest_is_what_its_digest_says() {
    let text = manifest_text();
    let digest = Digest::sha256(text.as_bytes());
    let other = Digest::sha256(b"other");
    let header = format!("Docker-Content-Digest: {other}");
    let server = Server::start(vec![
        ok(text.clone()),
        ok(text.clone()),
        Answer::Full("200 OK", vec![header], text.clone().into()),
    ]);
    let repository = repository(&server, None);
    let Document::Manifest(manifest) = repository.manifest(digest.as_str()).unwrap() else { panic!() };
    assert_eq!(manifest.digest, digest);
    for asked in [other.as_str(), "t"] {
        let e = repository.manifest(asked).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}");
    }
}

#[test]
fn overload_is_waited_for() {
    let busy = Answer::Full("429 Too Many Requests", vec!["Retry-After: 0".into()], Vec::new());
    let down = Answer::Full("503 Service Unavailable", Vec::new(), Vec::new());
    let server = Server::start(vec![busy, down.clone(), ok(manifest_text())]);
    repository(&server, None).manifest("t").unwrap();
    let server = Server::start(vec![down.clone(), down.clone(), down]);
    let e = repository(&server, None).manifest("t").unwrap_err();
    assert!(e.to_string().contains("503: service unavailable"), "{e}");
}

#[test]
fn basic_credentials_are_sent_when_asked_for() {
    let ask =
        Answer::Full("401 Unauthorized", vec!["WWW-Authenticate: Basic realm=\"x\"".into()], Vec::new());
    let server = Server::start(vec![ask.clone(), ok(manifest_text()), ok(manifest_text())]);
    let asked = repository(&server, user());
    asked.manifest("t").unwrap();
    asked.manifest("t").unwrap();
    let sent: Vec<_> = server.requests().into_iter().map(|r| r.authorization).collect();
    assert_eq!(sent[0], None);
    assert_eq!(sent[1].as_deref(), Some("Basic dTpzZWNyZXQ="));
    assert_eq!(sent[2], sent[1], "the second request must not ask again");
    // Wrong ones, and none at all.
    let server = Server::start(vec![ask.clone(), ask.clone(), ask]);
    let e = repository(&server, user()).manifest("t").unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unauthorized);
    assert!(e.to_string().contains("pull access denied") && e.to_string().contains("to user \"u\""), "{e}");
    assert!(!e.to_string().contains("secret"), "{e}");
    let e = repository(&server, None).manifest("t").unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unauthorized);
}

#[test]
fn tokens_are_fetched_once_and_again_when_refused() {
    let service =
        Server::start(vec![ok(r#"{"token":"one"}"#), ok(r#"{"access_token":"two","expires_in":300}"#)]);
    let challenge =
        format!("WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"s p\"", service.address);
    let ask = Answer::Full("401 Unauthorized", vec![challenge], Vec::new());
    let text = || ok(manifest_text());
    let server = Server::start(vec![ask.clone(), text(), text(), ask, text()]);
    let repository = repository(&server, user());
    for _ in 0..3 {
        repository.manifest("t").unwrap();
    }
    let sent: Vec<_> = server.requests().into_iter().map(|r| r.authorization.unwrap_or_default()).collect();
    assert_eq!(sent, ["", "Bearer one", "Bearer one", "Bearer one", "Bearer two"]);
    let asked = service.requests();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].path, "/token?service=s+p&scope=repository%3Aa%2Fb%3Apull&account=u");
    assert_eq!(asked[0].authorization.as_deref(), Some("Basic dTpzZWNyZXQ="));
}

#[test]
fn identity_tokens_are_exchanged_by_form() {
    let service = Server::start(vec![ok(r#"{"access_token":"t"}"#)]);
    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\"", service.address);
    let ask = Answer::Full("401 Unauthorized", vec![challenge], Vec::new());
    let server = Server::start(vec![ask, ok(manifest_text())]);
    repository(&server, Some(Credentials::IdentityToken("id&t".into()))).manifest("t").unwrap();
    let asked = service.requests();
    assert_eq!(asked[0].authorization, None);
    assert!(asked[0].body.starts_with("grant_type=refresh_token&"), "{}", asked[0].body);
    assert!(asked[0].body.ends_with("refresh_token=id%26t"), "{}", asked[0].body);
}

#[test]
fn redirects_are_followed_without_credentials() {
    let bytes = b"layer".to_vec();
    let store = Server::start(vec![ok(bytes.clone())]);
    let ask =
        Answer::Full("401 Unauthorized", vec!["WWW-Authenticate: Basic realm=\"x\"".into()], Vec::new());
    let there = vec![format!("Location: http://{}/there?sig=1", store.address)];
    let server = Server::start(vec![ask, Answer::Full("307 Temporary Redirect", there, Vec::new())]);
    assert_eq!(repository(&server, user()).small_blob(&blob(&bytes), LIMIT).unwrap(), bytes);
    assert_eq!(store.requests()[0].path, "/there?sig=1");
    assert_eq!(store.requests()[0].authorization, None);
    let here = Answer::Full("302 Found", vec!["Location: /v2/a/b/manifests/t".into()], Vec::new());
    let server = Server::start(vec![here; 20]);
    let e = repository(&server, None).manifest("t").unwrap_err();
    assert!(e.to_string().contains("redirects for ever"), "{e}");
}

#[test]
fn foreign_layers_are_fetched_without_credentials() {
    let bytes = b"foreign".to_vec();
    let elsewhere = Server::start(vec![ok(bytes.clone())]);
    let ask =
        Answer::Full("401 Unauthorized", vec!["WWW-Authenticate: Basic realm=\"x\"".into()], Vec::new());
    let server = Server::start(vec![ask]);
    let mut descriptor = blob(&bytes);
    descriptor.urls = vec!["file:///etc/passwd".into(), format!("http://{}/layer", elsewhere.address)];
    assert_eq!(repository(&server, user()).small_blob(&descriptor, LIMIT).unwrap(), bytes);
    assert_eq!(elsewhere.requests()[0].authorization, None);
}

#[test]
fn what_is_not_there_is_said_in_dockers_words() {
    let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
    let server = Server::start(vec![Answer::Full("404 Not Found", Vec::new(), unknown.into())]);
    let e = repository(&server, None).manifest("t").unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound);
    assert!(e.to_string().ends_with("/a/b:t not found: manifest unknown"), "{e}");
}

#[test]
fn a_registry_that_is_down_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server { address: listener.local_addr().unwrap().to_string(), seen: Arc::default() };
    drop(listener);
    let e = repository(&server, None).manifest("t").unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Network);
    assert_eq!(e.to_string(), format!("cannot reach registry {}: connection refused", server.address));
}

#[test]
fn tags_are_read_page_by_page() {
    let next = vec!["Link: </v2/a/b/tags/list?last=y&n=2>; rel=\"next\"".to_owned()];
    let first = Answer::Full("200 OK", next, br#"{"tags":["x","y"]}"#.to_vec());
    let server = Server::start(vec![first, ok(r#"{"name":"a/b","tags":["z"]}"#)]);
    assert_eq!(repository(&server, None).tags().unwrap(), ["x", "y", "z"]);
    assert_eq!(server.requests()[1].path, "/v2/a/b/tags/list?last=y&n=2");
}

#[test]
fn proxies_of_the_environment_are_used_but_not_for_loopback() {
    let proxy = Server::start(vec![ok(manifest_text())]);
    let direct = Server::start(vec![ok(manifest_text())]);
    let vars = [("http_proxy", format!("http://{}", proxy.address)), ("NO_PROXY", "other.test".to_owned())];
    let env = Environment {
        home: "/nonexistent".into(),
        cwd: "/".into(),
        vars: vars.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        ..Environment::default()
    };
    let retry =
        Retry { attempts: 0, delay: Duration::ZERO, stall: Duration::from_secs(5), ..Retry::default() };
    let options = ClientOptions { tls_verify: Some(false), retry, ..ClientOptions::default() };
    let client = Client::new(&env, Registries::default(), options);
    let manifest =
        |name: &str| client.sources(&Reference::parse(name).unwrap()).unwrap().remove(0).manifest("t");
    manifest("registry.test/a/b").unwrap();
    assert_eq!(proxy.requests()[0].path, "http://registry.test/v2/a/b/manifests/t");
    manifest(&format!("{}/a/b", direct.address)).unwrap();
    assert_eq!(proxy.requests().len(), 1);
    assert!(manifest("other.test/a/b").is_err());
}
