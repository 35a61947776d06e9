//! Searching registries: by the first protocol, as Docker Hub answers it, and by the catalogue of others.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::support::{Sandbox, require};

/// A server that answers `GET path` by the first beginning that fits: status, headers, body.
struct Server {
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

type Page = (&'static str, &'static str, &'static str);

impl Server {
    fn start(pages: &'static [(&'static str, Page)]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let mut reader = BufReader::new(client.try_clone().unwrap());
                let mut first = Vec::new();
                // A TLS greeting is no request: the connection is closed.
                if reader.read_until(b'\n', &mut first).is_err() || !first.starts_with(b"GET ") {
                    continue;
                }
                let path = String::from_utf8_lossy(&first).split(' ').nth(1).unwrap().to_owned();
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
                    line.clear();
                }
                log.lock().unwrap().push(path.clone());
                let page = pages.iter().find(|(beginning, _)| path.starts_with(beginning));
                let (status, headers, body) = page.map_or(("404 Not Found", "", "{}"), |(_, page)| *page);
                let length = body.len();
                let _ = write!(
                    client,
                    "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
            }
        });
        Server { address, seen }
    }
}

const HUB: &str = r#"{"num_pages":1,"num_results":3,"page_size":25,"page":1,"query":"busybox","results":[
    {"name":"busybox","description":"Busybox base image, which is as small as it can be and then some.","star_count":3200,"is_trusted":false,"is_automated":false,"is_official":true},
    {"name":"lab/busybox","description":"A\nlaboratory\u001b[31m","star_count":12,"is_automated":true,"is_official":false},
    {"name":"nobody/busybox","description":null,"star_count":0,"is_official":false}]}"#;

#[test]
fn the_first_protocols_answer_is_shown_as_docker_and_podman_show_it() {
    let sandbox = require!(Sandbox::user());
    let server = Server::start(&[("/v1/search?q=busybox&n=", ("200 OK", "", HUB))]);
    let at = server.address.as_str();
    let search =
        |flags: &[&str]| sandbox.bare(["search"]).args(flags.iter().copied()).arg(format!("{at}/busybox"));
    let all = search(&[]).ok();
    assert_eq!(
        all.lines()[0].split_whitespace().collect::<Vec<_>>(),
        ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    );
    assert_eq!(all.lines().len(), 4, "{all}");
    all.stdout_has(&format!("{at}/lab/busybox"))
        .stdout_has("A laboratory[31m")
        .stdout_has("...")
        .stdout_has("[OK]");
    search(&["--no-trunc"]).ok().stdout_has("and then some.");
    search(&["--filter=stars=10", "--format", "{{.Name}} {{.StarCount}}"])
        .ok()
        .stdout_is(&format!("{at}/busybox 3200\n{at}/lab/busybox 12"));
    search(&["-f", "is-official=false", "-f", "is-automated=true", "--format={{.Name}}"])
        .ok()
        .stdout_is(&format!("{at}/lab/busybox"));
    let json = search(&["--format=json", "--limit=2"]).ok().json();
    assert_eq!((json.as_array().unwrap().len(), &json[0]["Stars"]), (2, &3200.into()));
    search(&["--compatible"]).ok().stdout_has("AUTOMATED");
    for bad in ["--limit=0", "--limit=101", "--filter=colour=red", "--filter=stars=many"] {
        search(&[bad]).fails(1);
    }
    assert!(server.seen.lock().unwrap().iter().any(|path| path.ends_with("n=2")));
}

#[test]
fn a_registry_without_search_is_asked_for_its_catalogue_page_by_page() {
    let sandbox = require!(Sandbox::user());
    let server = Server::start(&[
        ("/v2/_catalog?last=b", ("200 OK", "", r#"{"repositories":["lab/three","other"]}"#)),
        (
            "/v2/_catalog",
            (
                "200 OK",
                "Link: </v2/_catalog?last=b>; rel=\"next\"\r\n",
                r#"{"repositories":["lab/one","b"]}"#,
            ),
        ),
        ("/v2/lab/one/tags/list?last=v1", ("200 OK", "", r#"{"name":"lab/one","tags":["v2","v3"]}"#)),
        (
            "/v2/lab/one/tags/list",
            (
                "200 OK",
                "Link: </v2/lab/one/tags/list?last=v1>; rel=\"next\"\r\n",
                r#"{"name":"lab/one","tags":["latest","v1"]}"#,
            ),
        ),
    ]);
    let at = server.address.as_str();
    sandbox
        .bare(["search", "--format={{.Name}}", &format!("{at}/lab")])
        .ok()
        .stdout_is(&format!("{at}/lab/one\n{at}/lab/three"));
    sandbox
        .bare(["search", "--format={{.Name}}", "--limit=1", &format!("{at}/lab")])
        .ok()
        .stdout_is(&format!("{at}/lab/one"));
    let tags = |flags: &[&str]| {
        sandbox.bare(["search", "--list-tags"]).args(flags.iter().copied()).arg(format!("{at}/lab/one"))
    };
    tags(&["--format={{.Tag}}"]).ok().stdout_is("latest\nv1\nv2\nv3");
    tags(&["--limit=3", "--format={{.Tag}}"]).ok().stdout_is("latest\nv1\nv2");
    let json = tags(&["--format=json"]).ok().json();
    assert_eq!(json[0]["Tags"][3], "v3");
    tags(&["--filter=stars=1"]).fails(1).stderr_has("not applicable");
    sandbox.bare(["search", "127.0.0.1:1/x"]).fails(1).stderr_has("cannot reach registry");
}

#[test]
fn a_real_registry_is_searched() {
    let sandbox = require!(Sandbox::user());
    let registry = sandbox.registry();
    registry.provide("lab/tags");
    let at = registry.address();
    sandbox
        .bare(["search", "--limit=100", "--format={{.Name}}", &format!("{at}/lab/tags")])
        .ok()
        .stdout_is(&format!("{at}/lab/tags"));
    sandbox
        .bare(["search", "--list-tags", "--format={{.Tag}}", &format!("{at}/lab/tags")])
        .ok()
        .stdout_has("v2");
}
