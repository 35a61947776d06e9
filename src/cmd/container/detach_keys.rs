//! The keys that detach from a container: parsing `ctrl-p,ctrl-q`, and finding them in what is typed.

use crate::engine::{Error, Result};

/// What docker and podman detach by.
pub const DEFAULT: &str = "ctrl-p,ctrl-q";

/// The bytes of a comma-separated list of keys, each a single character or `ctrl-` and one of `a`-`z`, `@`, `[`, `\`, `]`,
/// `^`, `_` (docker attach(1), `--detach-keys`). An empty text disables detaching.
pub fn parse(text: &str) -> Result<Vec<u8>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(|key| byte(key).ok_or_else(|| unknown(text, key))).collect()
}

fn byte(key: &str) -> Option<u8> {
    if let [character] = key.as_bytes() {
        return Some(*character);
    }
    let control = key.strip_prefix("ctrl-").or_else(|| key.strip_prefix("CTRL-"))?;
    match control.as_bytes() {
        [c @ (b'a'..=b'z' | b'A'..=b'Z')] => Some(c.to_ascii_lowercase() - b'a' + 1),
        b"@" => Some(0),
        b"[" => Some(27),
        b"\\" => Some(28),
        b"]" => Some(29),
        b"^" => Some(30),
        b"_" => Some(31),
        _ => None,
    }
}

fn unknown(text: &str, key: &str) -> Error {
    Error::invalid(format!("invalid detach keys {text:?}: unknown key {key:?}")).with_hint(
        "a comma-separated list of single characters and ctrl-VALUE, VALUE one of a-z @ [ \\ ] ^ _",
    )
}

/// Looks for the keys in a stream. Keys that may be the beginning of the sequence are held back until it is clear.
#[derive(Debug)]
pub struct Detector {
    keys: Vec<u8>,
    matched: usize,
}

impl Detector {
    /// For `keys`; none: never detaches.
    pub fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// Appends to `out` what of `typed` is for the container. `true`: the sequence is complete; what followed it is dropped.
    pub fn feed(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        if self.keys.is_empty() {
            out.extend_from_slice(typed);
            return false;
        }
        for byte in typed {
            if self.keys.get(self.matched) != Some(byte) {
                out.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if self.keys.get(self.matched) == Some(byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return true;
                }
            } else {
                out.push(*byte);
            }
        }
        false
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_in_docker() {
        assert_eq!(parse(DEFAULT).unwrap(), [16, 17]);
        assert_eq!(parse("ctrl-x,a").unwrap(), [24, b'a']);
        assert_eq!(parse("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_").unwrap(), [0, 27, 28, 29, 30, 31]);
        assert!(parse("").unwrap().is_empty());
        for bad in ["ctrl-", "ctrl-pq", "xy", "a,,b", "ctrl-1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_sequence_is_found_across_reads_and_the_rest_goes_through() {
        let feed = |chunks: &[&[u8]]| {
            let mut detector = Detector::new(vec![16, 17]);
            let mut out = Vec::new();
            let done = chunks.iter().any(|chunk| detector.feed(chunk, &mut out));
            (out, done)
        };
        assert_eq!(feed(&[b"ab\x10", b"\x11cd"]), (b"ab".to_vec(), true));
        assert_eq!(feed(&[b"a\x10b\x11"]), (b"a\x10b\x11".to_vec(), false));
        assert_eq!(feed(&[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
        assert_eq!(feed(&[b"x\x10"]), (b"x".to_vec(), false));
        let mut none = Detector::new(Vec::new());
        let mut out = Vec::new();
        assert!(!none.feed(b"\x10\x11", &mut out));
        assert_eq!(out, b"\x10\x11");
    }
}
