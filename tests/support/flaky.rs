//! A network that breaks off: a proxy on loopback in front of a server.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes connections on, and cuts some of them. Its threads end with the process.
pub struct Flaky {
    address: SocketAddr,
    cut: Arc<AtomicUsize>,
    seen: Arc<Mutex<Seen>>,
}

/// What went through a proxy.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// What the clients sent, a text for each connection.
    pub requests: Vec<Vec<u8>>,
    /// Bytes that the server sent.
    pub answered: usize,
}

impl Flaky {
    /// In front of `server`; of `times` connections what comes from the server is spoilt so, once `bytes` have come.
    pub fn spoiling_downloads(server: SocketAddr, spoil: Spoil, bytes: usize, times: usize) -> Flaky {
        Flaky::start(server, move |client, server, count| {
            let (forth, back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || pass(client, forth));
            spoilt(server, back, spoil, bytes, || claim(count, times));
        })
    }

    /// In front of `server`; `times` connections are cut once `bytes` have come from the client.
    pub fn cutting_uploads(server: SocketAddr, bytes: usize, times: usize) -> Flaky {
        Flaky::start(server, move |client, server, count| {
            let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || pass(back, forth));
            pass_until(client, server, |passed| passed >= bytes && claim(count, times));
        })
    }

    /// In front of `server`, spoiling nothing; what clients send and how much comes back is in [`Flaky::seen`].
    pub fn watching(server: SocketAddr) -> Flaky {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let watch = Arc::clone(&seen);
        let mut flaky = Flaky::start(server, move |client, server, _| {
            let connection = {
                let mut seen = watch.lock().unwrap();
                seen.requests.push(Vec::new());
                seen.requests.len() - 1
            };
            let (forth, back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let requests = Arc::clone(&watch);
            thread::spawn(move || {
                watched(client, forth, |bytes| {
                    let mut seen = requests.lock().unwrap();
                    // A connection that outlives a question begins a new text.
                    if connection >= seen.requests.len() {
                        seen.requests.resize(connection + 1, Vec::new());
                    }
                    seen.requests[connection].extend_from_slice(bytes);
                });
            });
            watched(server, back, |bytes| watch.lock().unwrap().answered += bytes.len());
        });
        flaky.seen = seen;
        flaky
    }

    /// In front of a `server` that knows no ranges, or (`single`) no more than one in a request.
    pub fn without_ranges(server: SocketAddr, single: bool) -> Flaky {
        Flaky::start(server, move |client, mut server, _| {
            let (mut from, back) = (client.try_clone().unwrap(), client);
            let answers = server.try_clone().unwrap();
            thread::spawn(move || pass(answers, back));
            let mut buffer = vec![0; 1 << 16];
            loop {
                let count = from.read(&mut buffer).unwrap_or(0);
                let text = &mut buffer[..count];
                if let Some(at) = text.windows(7).position(|word| word == b"range: ") {
                    let line = &text[at..];
                    let end = line.iter().position(|byte| *byte == b'\r').unwrap_or(line.len());
                    if !single || line[..end].contains(&b',') {
                        text[at] = b'x';
                    }
                }
                if count == 0 || server.write_all(text).is_err() {
                    let _ = server.shutdown(Shutdown::Write);
                    return;
                }
            }
        })
    }

    /// What [`Flaky::watching`] saw since it was asked last.
    pub fn seen(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// Each connection is served by a thread of its own.
    fn start(
        server: SocketAddr,
        serve: impl Fn(TcpStream, TcpStream, &AtomicUsize) + Clone + Send + 'static,
    ) -> Flaky {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let cut = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&cut);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else { continue };
                let (serve, count) = (serve.clone(), Arc::clone(&count));
                thread::spawn(move || serve(client, server, &count));
            }
        });
        Flaky { address, cut, seen: Arc::default() }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// How many connections were cut or spoilt.
    pub fn cuts(&self) -> usize {
        self.cut.load(Ordering::SeqCst)
    }
}

/// Whether there is one more of `times` to be had; several connections may ask at once.
fn claim(count: &AtomicUsize, times: usize) -> bool {
    let more = |count| (count < times).then_some(count + 1);
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
}

/// Copies until the end.
fn pass(from: TcpStream, to: TcpStream) {
    pass_until(from, to, |_| false);
}

/// Copies until the end, or until `cut` says so of the bytes that have passed: then both connections are closed.
fn pass_until(mut from: TcpStream, mut to: TcpStream, cut: impl Fn(usize) -> bool) {
    let mut buffer = vec![0; 1 << 16];
    let mut passed = 0;
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        passed += count;
        if cut(passed) {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// Copies until the end, and shows it.
fn watched(mut from: TcpStream, mut to: TcpStream, show: impl Fn(&[u8])) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        show(&buffer[..count]);
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
    }
}

/// What a bad network does to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoil {
    /// Ends it.
    Cut,
    /// Flips a bit.
    Corrupt,
    /// Delivers two pieces in the wrong order.
    Reorder,
}

/// Copies, and spoils once what comes after `limit` bytes, if it may.
fn spoilt(mut from: TcpStream, mut to: TcpStream, spoil: Spoil, limit: usize, may: impl Fn() -> bool) {
    let mut buffer = vec![0; 1 << 16];
    let (mut passed, mut done) = (0, false);
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        passed += count;
        // Long enough to be in the middle of a body.
        if !done && passed >= limit && count >= 4096 && may() {
            done = true;
            match spoil {
                Spoil::Cut => {
                    let _ = from.shutdown(Shutdown::Both);
                    let _ = to.shutdown(Shutdown::Both);
                    return;
                }
                Spoil::Corrupt => buffer[count - 100] ^= 0x10,
                Spoil::Reorder => buffer[count - 4000..count].rotate_left(2000),
            }
        }
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
    }
}
