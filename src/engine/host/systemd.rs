//! Asks systemd for a scope: a cgroup of its own for a process that is to outlive the session or service it was started in.
//!
//! One method call of the bus interface (org.freedesktop.systemd1(5)) does not justify a D-Bus library: what is written
//! is known beforehand, and of what is read only three header fields count. Source: D-Bus specification 0.43.

use crate::engine::{Error, ErrorKind, Result};
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

/// Where root finds systemd.
pub const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";

/// systemd answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// A message of the bus is bounded by 128 MiB, those we wait for by a few hundred bytes.
const LONGEST: usize = 1 << 20;

const METHOD_CALL: u8 = 1;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// The last message sent.
const SERIAL_OF_START: u32 = 4;

/// A scope that has been asked for.
#[derive(Debug)]
pub struct Scope {
    stream: UnixStream,
    name: String,
}

impl Scope {
    /// Has `pid` moved to the new scope `name` below `slice`. `address`: the bus, [`SYSTEM_BUS`] or a user's; `uid`: the
    /// caller's outside of any user namespace. Does not wait, see [`Scope::wait`].
    pub fn request(address: &str, uid: u32, name: &str, slice: &str, pid: u32) -> Result<Self> {
        let failed = |e| Error::os(format!("connect to {address}"), e);
        let mut stream = connect(address).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let mut out = b"\0AUTH EXTERNAL ".to_vec();
        out.extend(hex::encode(uid.to_string()).into_bytes());
        // Everything at once: the bus need not be waited for between one line and the next.
        out.extend(b"\r\nBEGIN\r\n");
        let bus = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus");
        let systemd =
            ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
        out.extend(call(1, bus, "Hello", "", Body::default()));
        let mut rule = Body::default();
        rule.string(&format!("type='signal',interface='{}',member='JobRemoved',arg2='{name}'", systemd.2));
        out.extend(call(2, bus, "AddMatch", "s", rule));
        out.extend(call(3, systemd, "Subscribe", "", Body::default()));
        out.extend(call(
            SERIAL_OF_START,
            systemd,
            "StartTransientUnit",
            "ssa(sv)a(sa(sv))",
            start(name, slice, pid),
        ));
        stream.write_all(&out).map_err(failed)?;
        Ok(Self { stream, name: name.to_owned() })
    }

    /// Waits until systemd has done it, or has said why not.
    pub fn wait(mut self) -> Result<()> {
        let name = self.name.clone();
        let failed = |e| Error::os(format!("ask systemd for {name}"), e);
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") && line.len() < 512 {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).map_err(failed)?;
            line.push(byte[0]);
        }
        if !line.starts_with(b"OK ") {
            return Err(refused(&name, "the bus does not accept us"));
        }
        loop {
            let message = self.read().map_err(failed)?;
            match message.kind {
                ERROR if message.reply_to == Some(SERIAL_OF_START) => {
                    return Err(refused(&name, &message.strings.join(": ")));
                }
                // The job's number and path, the unit, the result.
                SIGNAL if message.member == "JobRemoved" && message.strings.get(1) == Some(&name) => {
                    let result = message.strings.get(2).map_or("", String::as_str);
                    return if result == "done" { Ok(()) } else { Err(refused(&name, result)) };
                }
                _ => {}
            }
        }
    }

    fn read(&mut self) -> std::io::Result<Message> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (fields, body) = (number(12) as usize, number(4) as usize);
        let broken = || std::io::Error::from(std::io::ErrorKind::InvalidData);
        // Who answers a little-endian message does so in the same order.
        if head[0] != b'l' || fields > LONGEST || body > LONGEST {
            return Err(broken());
        }
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        self.stream.read_exact(&mut rest)?;
        let (fields, body) = rest.split_at(fields.next_multiple_of(8));
        Message::parse(head[1], fields, body).ok_or_else(broken)
    }
}

fn refused(name: &str, why: &str) -> Error {
    Error::new(ErrorKind::Runtime, format!("systemd does not make {name}: {why}"))
}

fn connect(address: &str) -> std::io::Result<UnixStream> {
    let first = address.split(';').next().unwrap_or_default();
    let value = |key: &str| first.strip_prefix("unix:")?.split(',').find_map(|pair| pair.strip_prefix(key));
    match (value("path="), value("abstract=")) {
        (Some(path), _) => UnixStream::connect(path),
        (None, Some(name)) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?),
        (None, None) => Err(std::io::ErrorKind::Unsupported.into()),
    }
}

/// Destination, object path, interface.
type Target<'a> = (&'a str, &'a str, &'a str);

fn call(serial: u32, target: Target<'_>, member: &str, signature: &str, body: Body) -> Vec<u8> {
    let mut message = Body::default();
    message.0.extend([b'l', METHOD_CALL, 0, 1]);
    message.number(u32::try_from(body.0.len()).unwrap_or(u32::MAX));
    message.number(serial);
    message.array(8, |fields| {
        let mut field = |code: u8, kind: u8, text: &str| {
            fields.align(8);
            fields.0.extend([code, 1, kind, 0]);
            if kind == b'g' { fields.signature(text) } else { fields.string(text) }
        };
        field(1, b'o', target.1);
        field(2, b's', target.2);
        field(3, b's', member);
        field(6, b's', target.0);
        if !signature.is_empty() {
            field(8, b'g', signature);
        }
    });
    message.align(8);
    message.0.extend(body.0);
    message.0
}

/// The arguments of StartTransientUnit: name, mode, properties, no further units.
fn start(name: &str, slice: &str, pid: u32) -> Body {
    let mut body = Body::default();
    body.string(name);
    body.string("fail");
    body.array(8, |properties| {
        for (key, value) in [("Slice", slice), ("CollectMode", "inactive-or-failed")] {
            properties.align(8);
            properties.string(key);
            properties.signature("s");
            properties.string(value);
        }
        properties.align(8);
        properties.string("PIDs");
        properties.signature("au");
        properties.array(4, |pids| pids.number(pid));
    });
    body.array(8, |_| {});
    body
}

/// Values in D-Bus's form, each aligned to its size from the beginning.
#[derive(Debug, Default)]
struct Body(Vec<u8>);

impl Body {
    fn align(&mut self, size: usize) {
        self.0.resize(self.0.len().next_multiple_of(size), 0);
    }

    fn number(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// An array whose elements are aligned to `size`, which its length does not count.
    fn array(&mut self, size: usize, fill: impl FnOnce(&mut Self)) {
        self.number(0);
        let length_at = self.0.len() - 4;
        self.align(size);
        let start = self.0.len();
        fill(self);
        let length = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// What counts of a message that came in.
#[derive(Debug, Default)]
struct Message {
    kind: u8,
    member: String,
    /// The message this one answers.
    reply_to: Option<u32>,
    /// The name of an error, then the body's strings and object paths.
    strings: Vec<String>,
}

impl Message {
    fn parse(kind: u8, fields: &[u8], body: &[u8]) -> Option<Self> {
        let mut message = Self { kind, ..Self::default() };
        let mut signature = String::new();
        let mut at = Reader(fields, 0);
        while at.1 < fields.len() {
            at.align(8);
            // Padding behind the last field.
            let Some(code) = at.byte() else { break };
            match (code, at.signature()?.as_str()) {
                (_, "u") => {
                    let number = at.number()?;
                    message.reply_to = message.reply_to.or((code == 5).then_some(number));
                }
                (_, "g") => signature = at.signature()?,
                (3, "s") => message.member = at.string()?,
                (4, "s") => message.strings.push(at.string()?),
                (0, _) => break,
                (_, "s" | "o") => drop(at.string()?),
                _ => return None,
            }
        }
        let mut at = Reader(body, 0);
        for kind in signature.chars() {
            match kind {
                's' | 'o' => message.strings.push(at.string()?),
                'u' => drop(at.number()?),
                // Nothing we wait for.
                _ => break,
            }
        }
        Some(message)
    }
}

/// Bytes and where the next value begins.
struct Reader<'a>(&'a [u8], usize);

impl Reader<'_> {
    fn align(&mut self, size: usize) {
        self.1 = self.1.next_multiple_of(size);
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let taken = self.0.get(self.1..self.1.checked_add(length)?)?;
        self.1 += length;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4);
        self.take(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.byte().map(|_| text)
    }

    fn string(&mut self) -> Option<String> {
        let length = self.number()?;
        self.text(length as usize)
    }

    fn signature(&mut self) -> Option<String> {
        let length = self.byte()?;
        self.text(usize::from(length))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_call_as_the_specification_has_it() {
        let bus = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus");
        let hello = call(1, bus, "Hello", "", Body::default());
        // As busctl(1) sends it: 128 bytes, of which 109 are fields.
        assert_eq!((hello.len(), hello[12]), (128, 109));
        assert_eq!(&hello[..8], [b'l', 1, 0, 1, 0, 0, 0, 0]);
        let message = Message::parse(1, &hello[16..], &[]).unwrap();
        assert_eq!(message.member, "Hello");
        let start = call(4, bus, "StartTransientUnit", "ssa(sv)a(sa(sv))", start("x.scope", "a.slice", 7));
        assert_eq!(start.len() % 4, 0);
        assert!(start.windows(8).any(|w| w == [4, 0, 0, 0, 7, 0, 0, 0]), "one PID");
    }

    /// A bus that gives `answers` to whatever it is asked.
    fn bus(answers: Vec<u8>) -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bus");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&answers).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut said = Vec::new();
            stream.read_to_end(&mut said).unwrap();
            said
        });
        let address = format!("unix:path={},guid=00", path.display());
        let scope = Scope::request(&address, 1000, "x.scope", "a.slice", 7).unwrap();
        let result = scope.wait();
        let said = server.join().unwrap();
        assert!(said.starts_with(b"\0AUTH EXTERNAL 31303030\r\nBEGIN\r\nl"));
        result
    }

    fn answer(kind: u8, header: impl Fn(&mut Body), signature: &str, body: Body) -> Vec<u8> {
        let mut message = Body::default();
        message.0.extend([b'l', kind, 0, 1]);
        message.number(u32::try_from(body.0.len()).unwrap());
        message.number(9);
        message.array(8, |fields| {
            header(fields);
            fields.align(8);
            fields.0.extend([8, 1, b'g', 0]);
            fields.signature(signature);
        });
        message.align(8);
        message.0.extend(body.0);
        message.0
    }

    fn removed(unit: &str, result: &str) -> Vec<u8> {
        let mut body = Body::default();
        body.number(12);
        body.string("/org/freedesktop/systemd1/job/12");
        body.string(unit);
        body.string(result);
        let member = |fields: &mut Body| {
            fields.0.extend([3, 1, b's', 0]);
            fields.string("JobRemoved");
        };
        answer(SIGNAL, member, "uoss", body)
    }

    #[test]
    fn the_job_is_waited_for() {
        let ok = b"OK 0123\r\n".to_vec();
        let other = removed("y.scope", "failed");
        let result = bus([ok.clone(), other.clone(), removed("x.scope", "done")].concat());
        result.unwrap();
        let result = bus([ok.clone(), removed("x.scope", "failed")].concat());
        assert_eq!(result.unwrap_err().to_string(), "systemd does not make x.scope: failed");
        let mut why = Body::default();
        why.string("it exists");
        let header = |fields: &mut Body| {
            fields.0.extend([5, 1, b'u', 0]);
            fields.number(SERIAL_OF_START);
            fields.align(8);
            fields.0.extend([4, 1, b's', 0]);
            fields.string("org.x.UnitExists");
        };
        let result = bus([ok.clone(), answer(ERROR, header, "s", why)].concat());
        let want = "systemd does not make x.scope: org.x.UnitExists: it exists";
        assert_eq!(result.unwrap_err().to_string(), want);
        bus(b"REJECTED EXTERNAL\r\n".to_vec()).unwrap_err();
        bus([ok, other].concat()).unwrap_err();
    }
}
