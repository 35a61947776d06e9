//! Whether aardvark-dns knows a container yet.
//!
//! netavark tells it of a new container by SIGHUP and does not wait; versions before 1.6 close their sockets meanwhile. A
//! container that is let go at once would find nobody to ask, or one who does not know its neighbours.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long its answer is waited for; then the container starts without.
const LIMIT: Duration = Duration::from_millis(500);
/// How long one question may take.
const PATIENCE: Duration = Duration::from_millis(5);

/// Asks `server` for an address of `name` until there is one. `false`: there was none in time. `v6`: for an AAAA record.
pub(super) fn wait_for(server: IpAddr, port: u16, name: &str, v6: bool) -> bool {
    let end = Instant::now() + LIMIT;
    let question = question(name, v6);
    loop {
        if ask(SocketAddr::new(server, port), &question).is_some_and(|reply| answers(&reply)) {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn ask(server: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    socket.connect(server).ok()?;
    socket.send(question).ok()?;
    let mut buffer = [0; 512];
    let size = socket.recv(&mut buffer).ok()?;
    Some(buffer[..size].to_vec())
}

/// A query with one question (RFC 1035, section 4.1).
fn question(name: &str, v6: bool) -> Vec<u8> {
    // An ID, "recursion desired", one question and nothing else.
    let mut out = vec![0xc0, 0x7a, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty() && label.len() < 64) {
        out.push(u8::try_from(label.len()).unwrap_or(63));
        out.extend_from_slice(label.as_bytes());
    }
    // The root, then type A (1) or AAAA (28), class IN (1).
    out.extend_from_slice(&[0, 0, if v6 { 28 } else { 1 }, 0, 1]);
    out
}

/// A reply without an error and with an answer.
fn answers(reply: &[u8]) -> bool {
    reply.len() > 12 && reply[2] & 0x80 != 0 && reply[3] & 0x0f == 0 && (reply[6], reply[7]) != (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_and_its_answers() {
        let asked = question("db.dns", false);
        assert_eq!(&asked[12..], b"\x02db\x03dns\x00\x00\x01\x00\x01");
        let reply = |flags: u8, count: u8| {
            let mut reply = asked.clone();
            (reply[2], reply[3], reply[7]) = (0x81, 0x80 | flags, count);
            reply
        };
        assert!(answers(&reply(0, 1)));
        assert!(!answers(&reply(3, 0)), "no such name");
        assert!(!answers(&reply(0, 0)), "no address");
        assert!(!answers(&asked), "a query is no answer");
        assert!(!answers(b""));
    }
}
