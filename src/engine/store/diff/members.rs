//! gzip of many small members, each inflated at once by libdeflate, which takes about half as long as a stream does.
//!
//! So are layers that we push ([`crate::engine::transport::compress`]), and those of bgzip and its like. A member does not say
//! where it ends, but another header, or the end of the blob, follows, and right before that stands how many bytes come out.
//! What looks so and is not, and members that are large, are inflated as a stream. Memory is bounded by the two constants.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use libdeflater::Decompressor;

/// Compressed bytes of a member, at most. We make members of 1 MiB; what cannot be compressed becomes a little longer.
const LONGEST: usize = (1 << 20) + (64 << 10);

/// Bytes that come out of it, at most.
const LARGEST: usize = 2 << 20;

/// How often something may only look like the end of a member.
const ATTEMPTS: usize = 4;

/// Header and trailer of a member without content.
const SHORTEST: usize = 20;

/// A reader of what is compressed.
pub struct Members<R: BufRead> {
    state: State<R>,
    decompressor: Decompressor,
    /// What came out of a member, up to `length`; it is not read before `at`.
    out: Vec<u8>,
    length: usize,
    at: usize,
}

enum State<R: BufRead> {
    /// A member may begin.
    Between(Ahead<R>),
    /// In the middle of one that is inflated as a stream.
    Within(Box<GzDecoder<Ahead<R>>>),
    Broken,
}

impl<R: BufRead> Members<R> {
    /// Of a blob that begins with a member.
    pub fn new(blob: R) -> Self {
        let ahead = Ahead { blob, window: Vec::new(), start: 0, ended: false };
        let (state, decompressor) = (State::Between(ahead), Decompressor::new());
        Self { state, decompressor, out: Vec::new(), length: 0, at: 0 }
    }

    /// Makes more bytes of a whole member, or begins to read one as a stream. `false`: there is no more.
    fn advance(&mut self) -> io::Result<bool> {
        let mut ahead = match std::mem::replace(&mut self.state, State::Broken) {
            State::Between(ahead) => ahead,
            State::Within(decoder) => decoder.into_inner(),
            State::Broken => return Ok(false),
        };
        if ahead.fill_buf()?.is_empty() {
            return Ok(false);
        }
        (self.at, self.length) = (0, 0);
        self.state = match self.whole(&mut ahead)? {
            true => State::Between(ahead),
            false => State::Within(Box::new(GzDecoder::new(ahead))),
        };
        Ok(true)
    }

    /// Inflates the next member at once, if it is small.
    fn whole(&mut self, ahead: &mut Ahead<R>) -> io::Result<bool> {
        let ended = ahead.look(LONGEST)?;
        let bytes = ahead.seen();
        let headers = memchr::memmem::find_iter(bytes, b"\x1f\x8b\x08");
        let ends = headers.chain(ended.then_some(bytes.len())).filter(|end| *end >= SHORTEST);
        let mut attempts = 0;
        for end in ends {
            let size = u32::from_le_bytes([bytes[end - 4], bytes[end - 3], bytes[end - 2], bytes[end - 1]]);
            let Some(size) = usize::try_from(size).ok().filter(|size| *size <= LARGEST) else { continue };
            if self.out.len() < size {
                self.out.resize(size, 0);
            }
            if self.decompressor.gzip_decompress(&bytes[..end], &mut self.out[..size]) == Ok(size) {
                self.length = size;
                ahead.consume(end);
                return Ok(true);
            }
            attempts += 1;
            if attempts == ATTEMPTS {
                break;
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.at < self.length {
                let n = out.len().min(self.length - self.at);
                out[..n].copy_from_slice(&self.out[self.at..self.at + n]);
                self.at += n;
                return Ok(n);
            }
            if let State::Within(decoder) = &mut self.state {
                match decoder.read(out)? {
                    0 => {}
                    n => return Ok(n),
                }
            }
            if !self.advance()? {
                return Ok(0);
            }
        }
    }
}

/// A blob that can be looked into before it is read.
struct Ahead<R> {
    blob: R,
    window: Vec<u8>,
    /// What is before this in the window was read.
    start: usize,
    ended: bool,
}

impl<R: BufRead> Ahead<R> {
    /// Looks at `length` bytes; `true`: there are not so many.
    fn look(&mut self, length: usize) -> io::Result<bool> {
        if self.start > 0 {
            self.window.drain(..self.start);
            self.start = 0;
        }
        while !self.ended && self.window.len() < length {
            let bytes = match self.blob.fill_buf() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                bytes => bytes?,
            };
            let n = bytes.len().min(length - self.window.len());
            self.window.extend_from_slice(&bytes[..n]);
            self.ended = n == 0;
            self.blob.consume(n);
        }
        Ok(self.ended)
    }

    /// What was looked at and not read.
    fn seen(&self) -> &[u8] {
        &self.window[self.start..]
    }
}

impl<R: BufRead> Read for Ahead<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let n = out.len().min(bytes.len());
        out[..n].copy_from_slice(&bytes[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Ahead<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.start < self.window.len() {
            true => Ok(&self.window[self.start..]),
            false => self.blob.fill_buf(),
        }
    }

    fn consume(&mut self, n: usize) {
        match self.start < self.window.len() {
            true => self.start = (self.start + n).min(self.window.len()),
            false => self.blob.consume(n),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn member(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn noise(seed: u32, length: usize) -> Vec<u8> {
        let next = |state: &mut u32| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((*state >> 24) as u8)
        };
        std::iter::repeat_n((), length).scan(seed, |state, ()| next(state)).collect()
    }

    fn inflated(blob: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // Little at a time, as a network gives it.
        let blob = io::BufReader::with_capacity(7001, blob);
        Members::new(blob).read_to_end(&mut bytes).map(|_| bytes)
    }

    #[test]
    fn members_of_all_sizes_become_one_stream() {
        let text = |n: usize| format!("line {n} of a text that repeats itself\n").repeat(n).into_bytes();
        let contents: Vec<Vec<u8>> = vec![
            text(30),
            Vec::new(),
            noise(1, 1 << 20),
            // Larger than what is inflated at once; more than what is looked at.
            vec![0; 5 << 20],
            noise(2, 3 << 20),
            text(20_000),
            // What looks like a header.
            member(&text(3), 6).repeat(9),
            noise(3, 10),
        ];
        let mut blob = Vec::new();
        for (number, content) in contents.iter().enumerate() {
            blob.extend(member(content, number as u32 % 2 * 6));
        }
        assert!(inflated(&blob).unwrap() == contents.concat());
        for content in &contents {
            assert!(inflated(&member(content, 0)).unwrap() == *content);
        }
    }

    #[test]
    fn a_small_member_is_inflated_at_once() {
        let content = noise(7, 1 << 20);
        let blob = [member(&content, 1), member(b"more", 1)].concat();
        let mut members = Members::new(&blob[..]);
        let mut first = [0];
        members.read_exact(&mut first).unwrap();
        assert!(matches!(members.state, State::Between(_)));
        assert_eq!(members.length, content.len());
    }

    #[test]
    fn what_is_damaged_is_an_error() {
        let good = [member(b"one", 6), member(&noise(1, 9000), 6)].concat();
        for cut in [good.len() - 1, good.len() - 9, 40] {
            let e = inflated(&good[..cut]).unwrap_err();
            assert_eq!(e.kind(), io::ErrorKind::UnexpectedEof, "{cut}: {e}");
        }
        // A wrong checksum, in a member that is whole and in one behind which there is rubbish.
        let mut damaged = good.clone();
        let at = good.len() - 6;
        damaged[at] ^= 1;
        assert!(inflated(&damaged).is_err());
        for rubbish in [&b"rubbish that is no header"[..], &[0; 512]] {
            assert!(inflated(&[&good[..], rubbish].concat()).is_err());
        }
    }
}
