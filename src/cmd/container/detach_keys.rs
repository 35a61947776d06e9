//! The keys that detach from a container, found in what is typed. [`crate::cmd::flags::attach::detach_keys`] reads them.

/// What docker and podman detach by.
pub const DEFAULT: &str = "ctrl-p,ctrl-q";

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
mod tests {
    use super::*;

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
