//! A server's front door: an HTTP proxy on loopback that answers some requests itself, as a test wants it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub body: Vec<u8>,
}

/// What becomes of a request.
pub enum Verdict {
    /// The server answers.
    Pass,
    /// It does, and this header is added.
    PassWith(String),
    /// This is the answer: status, further headers, body.
    Answer(&'static str, Vec<String>, Vec<u8>),
}

/// The proxy; its threads end with the process.
pub struct Gate {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Asked>>>,
}

impl Gate {
    /// In front of `server`; each request is shown to `rule` when it is complete.
    pub fn start(server: &str, rule: impl Fn(&Asked) -> Verdict + Send + Sync + 'static) -> Gate {
        let server: SocketAddr = server.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, rule) = (Arc::clone(&seen), Arc::new(rule));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (log, rule) = (Arc::clone(&log), Arc::clone(&rule));
                thread::spawn(move || serve(client, server, &log, &*rule));
            }
        });
        Gate { address, seen }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The requests since it was asked last.
    pub fn seen(&self) -> Vec<Asked> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// One request; the connection ends with the answer.
fn serve(
    mut client: TcpStream,
    server: SocketAddr,
    log: &Mutex<Vec<Asked>>,
    rule: &dyn Fn(&Asked) -> Verdict,
) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let (mut head, mut length, mut chunked) = (Vec::new(), 0, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line.trim().is_empty() {
            break;
        }
        let (name, value) = line.trim().split_once(": ").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "transfer-encoding" => chunked = value == "chunked",
            "connection" => continue,
            "expect" => client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap(),
            _ => {}
        }
        head.push(line);
    }
    let mut body = vec![0; length];
    if chunked {
        loop {
            let mut line = String::new();
            let _ = reader.read_line(&mut line);
            let Ok(size) = usize::from_str_radix(line.trim(), 16) else { return };
            let start = body.len();
            body.resize(start + size + 2, 0);
            if reader.read_exact(&mut body[start..]).is_err() {
                return;
            }
            body.truncate(start + size);
            if size == 0 {
                break;
            }
        }
    } else if reader.read_exact(&mut body).is_err() {
        return;
    }
    let mut words = head[0].split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let asked = Asked { method, path, body };
    log.lock().unwrap().push(asked.clone());
    let header = match rule(&asked) {
        Verdict::Answer(status, headers, body) => {
            let headers = headers.iter().map(|header| format!("{header}\r\n")).collect::<String>();
            let length = body.len();
            let _ = write!(
                client,
                "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            if asked.method != "HEAD" {
                let _ = client.write_all(&body);
            }
            return;
        }
        Verdict::PassWith(header) => Some(header),
        Verdict::Pass => None,
    };
    let Ok(mut server) = TcpStream::connect(server) else { return };
    let plain = |line: &&String| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        name != "content-length" && name != "transfer-encoding"
    };
    let mut request: Vec<u8> = head.iter().filter(plain).flat_map(|line| line.bytes()).collect();
    request.extend(format!("Content-Length: {}\r\nConnection: close\r\n\r\n", asked.body.len()).bytes());
    request.extend(&asked.body);
    if server.write_all(&request).is_err() {
        return;
    }
    let mut answer = BufReader::new(server);
    let mut status = String::new();
    let _ = answer.read_line(&mut status);
    let _ = client.write_all(status.as_bytes());
    if let Some(header) = header {
        let _ = write!(client, "{header}\r\n");
    }
    let _ = std::io::copy(&mut answer, &mut client);
}
