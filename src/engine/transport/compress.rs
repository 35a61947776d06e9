//! Compressing on all cores.
//!
//! What is written is cut into blocks of a fixed size; each becomes a gzip member or a zstd frame of its own, which any
//! decompressor takes for one stream. Where the cuts are depends on nothing but the content, so the result is the same
//! each time, whatever the number of threads: an upload that broke off can be made again.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::engine::store::diff::chunked::Frames;
use crate::engine::{Error, Result};

/// How layers can be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// gzip, which everybody reads.
    Gzip,
    /// Zstandard.
    Zstd,
    /// Zstandard in pieces, with a table of contents ([`crate::engine::store::diff::chunked`]).
    ZstdChunked,
}

impl Algorithm {
    /// Parses `gzip`, `zstd` and `zstd:chunked`.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            "zstd:chunked" => Ok(Self::ZstdChunked),
            _ => Err(Error::invalid(format!("unknown compression format {text:?}"))
                .with_hint("use gzip, zstd or zstd:chunked")),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::ZstdChunked => "zstd:chunked",
        }
    }

    /// Whether it is a form of Zstandard.
    pub fn is_zstd(self) -> bool {
        self != Self::Gzip
    }

    /// The end of a media type.
    pub fn suffix(self) -> &'static str {
        if self == Self::Gzip { "gzip" } else { "zstd" }
    }

    /// Bytes of a block. zstd gains more from looking far back.
    fn block(self) -> usize {
        match self {
            Self::Gzip => 1 << 20,
            Self::Zstd | Self::ZstdChunked => 2 << 20,
        }
    }

    /// Checks a level: 1 to 9 for gzip, 1 to 20 for zstd.
    pub fn check_level(self, level: i32) -> Result<()> {
        let highest = match self {
            Self::Gzip => 9,
            Self::Zstd | Self::ZstdChunked => 20,
        };
        if (1..=highest).contains(&level) {
            return Ok(());
        }
        Err(Error::invalid(format!("invalid compression level {level}"))
            .with_hint(format!("{} has the levels 1 to {highest}", self.name())))
    }
}

/// An algorithm with a level; `None`: the default, which favours speed (libdeflate's first level is as small as gzip's
/// own fourth, several times faster).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// How.
    pub algorithm: Algorithm,
    /// How hard.
    pub level: Option<i32>,
}

impl Method {
    /// The level of zstd.
    pub fn zstd_level(self) -> i32 {
        self.level.unwrap_or(3)
    }
}

/// One thread's compressor: what it needs for a block is used again for the next.
enum Worker {
    Gzip(libdeflater::Compressor, Vec<u8>),
    Zstd(zstd::bulk::Compressor<'static>, Vec<u8>),
}

impl Worker {
    fn new(method: Method) -> io::Result<Self> {
        Ok(match method.algorithm {
            Algorithm::Gzip => {
                let level = libdeflater::CompressionLvl::new(method.level.unwrap_or(1)).unwrap_or_default();
                Self::Gzip(libdeflater::Compressor::new(level), Vec::new())
            }
            Algorithm::Zstd | Algorithm::ZstdChunked => {
                Self::Zstd(zstd::bulk::Compressor::new(method.zstd_level())?, Vec::new())
            }
        })
    }

    /// Compresses the block; `out` holds the result and nothing else afterwards.
    fn block(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let (bound, scratch) = match self {
            Self::Gzip(compressor, scratch) => (compressor.gzip_compress_bound(bytes.len()), scratch),
            Self::Zstd(_, scratch) => (zstd::zstd_safe::compress_bound(bytes.len()), scratch),
        };
        if scratch.len() < bound {
            scratch.resize(bound, 0);
        }
        out.clear();
        match self {
            Self::Gzip(compressor, scratch) => {
                let size = compressor.gzip_compress(bytes, scratch);
                let size = size.map_err(|e| io::Error::other(format!("gzip: {e}")))?;
                out.extend_from_slice(&scratch[..size]);
            }
            Self::Zstd(compressor, scratch) => {
                let size = compressor.compress_to_buffer(bytes, &mut scratch[..])?;
                out.extend_from_slice(&scratch[..size]);
            }
        }
        Ok(())
    }
}

/// A block on its way to a thread, with the place for what becomes of it; both come back. Fresh memory costs more than
/// filling it.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    out: Vec<u8>,
}

impl Block {
    fn compress(mut self, worker: &mut Worker) -> io::Result<Self> {
        worker.block(&self.bytes, &mut self.out)?;
        Ok(self)
    }
}

type Done = io::Result<Block>;

enum Pending {
    At(Receiver<Done>),
    Done(Block),
}

/// Bytes that are compressed sooner than handed over.
const SMALL: usize = 4 << 10;

/// Compresses what is written to it on several threads and writes the result to `out`. [`Compressor::finish`] must be
/// called.
pub struct Compressor<W: Write> {
    out: W,
    size: usize,
    block: Block,
    /// Blocks that have been written, to be filled again.
    spare: Vec<Block>,
    /// Blocks at work, in their order.
    pending: VecDeque<Pending>,
    /// For blocks too small to be handed over.
    own: Worker,
    /// Where each block ended in the output; kept for who cuts.
    ends: Vec<u64>,
    written: u64,
    dispatched: usize,
    keeps_ends: bool,
    jobs: Option<SyncSender<(Block, Sender<Done>)>>,
    workers: Vec<JoinHandle<()>>,
    /// Nothing was written: an empty input is a stream, too.
    empty: bool,
}

impl<W: Write> Compressor<W> {
    /// With as many threads as there are cores.
    ///
    /// # Errors
    /// The compressor cannot be set up.
    pub fn new(out: W, method: Method) -> io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(16);
        let (jobs, queue) = sync_channel::<(Block, Sender<Done>)>(threads);
        let queue = Arc::new(Mutex::new(queue));
        let worker = |_| {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || {
                let mut worker = Worker::new(method);
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((block, done)) = job else { return };
                    // Nobody waits for it: the output has failed.
                    let _ = done.send(match &mut worker {
                        Ok(worker) => block.compress(worker),
                        Err(e) => Err(io::Error::other(e.to_string())),
                    });
                }
            })
        };
        let workers = (0..threads).map(worker).collect();
        Ok(Self {
            out,
            size: method.algorithm.block(),
            block: Block::default(),
            spare: Vec::new(),
            pending: VecDeque::new(),
            own: Worker::new(method)?,
            ends: Vec::new(),
            written: 0,
            dispatched: 0,
            keeps_ends: method.algorithm == Algorithm::ZstdChunked,
            jobs: Some(jobs),
            workers,
            empty: true,
        })
    }

    fn dispatch(&mut self) -> io::Result<()> {
        let next = self.spare.pop().unwrap_or_default();
        let block = std::mem::replace(&mut self.block, next);
        if block.bytes.len() <= SMALL {
            self.pending.push_back(Pending::Done(block.compress(&mut self.own)?));
        } else {
            let (done, result) = channel();
            let gone = || io::Error::other("the compressing threads are gone");
            self.jobs.as_ref().ok_or_else(gone)?.send((block, done)).map_err(|_| gone())?;
            self.pending.push_back(Pending::At(result));
        }
        self.empty = false;
        self.dispatched += 1;
        while self.pending.len() > 2 * self.workers.len() {
            self.collect()?;
        }
        Ok(())
    }

    /// Writes the next result.
    fn collect(&mut self) -> io::Result<()> {
        let mut block = match self.pending.pop_front() {
            None => return Ok(()),
            Some(Pending::Done(block)) => block,
            Some(Pending::At(next)) => {
                next.recv().map_err(|_| io::Error::other("a compressing thread is gone"))??
            }
        };
        self.written += block.out.len() as u64;
        if self.keeps_ends {
            self.ends.push(self.written);
        }
        self.out.write_all(&block.out)?;
        block.bytes.clear();
        self.spare.push(block);
        Ok(())
    }

    /// Writes what is left, and returns the output.
    pub fn finish(mut self) -> io::Result<W> {
        if !self.block.bytes.is_empty() || self.empty {
            self.dispatch()?;
        }
        while !self.pending.is_empty() {
            self.collect()?;
        }
        self.jobs = None;
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        Ok(self.out)
    }
}

impl<W: Write> Frames for Compressor<W> {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn cut(&mut self) -> io::Result<usize> {
        if !self.block.bytes.is_empty() {
            self.dispatch()?;
        }
        Ok(self.dispatched)
    }

    fn offset(&self, place: usize) -> Option<u64> {
        if place == 0 { Some(0) } else { self.ends.get(place - 1).copied() }
    }

    fn drain(&mut self) -> io::Result<u64> {
        self.cut()?;
        while !self.pending.is_empty() {
            self.collect()?;
        }
        Ok(self.written)
    }

    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.size - self.block.bytes.len());
        self.block.bytes.extend_from_slice(&bytes[..count]);
        if self.block.bytes.len() == self.size {
            self.dispatch()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Read;

    fn compressed(data: &[u8], algorithm: Algorithm) -> Vec<u8> {
        let mut compressor = Compressor::new(Vec::new(), Method { algorithm, level: None }).unwrap();
        for piece in data.chunks(77_777) {
            compressor.write_all(piece).unwrap();
        }
        compressor.finish().unwrap()
    }

    #[test]
    fn other_decompressors_read_one_stream() {
        let data: Vec<u8> = (0..5_000_000_u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        for data in [&data[..], &data[..100], &[]] {
            let mut out = Vec::new();
            let gzip = compressed(data, Algorithm::Gzip);
            flate2::read::MultiGzDecoder::new(&gzip[..]).read_to_end(&mut out).unwrap();
            assert!(out == data);
            let zstd = compressed(data, Algorithm::Zstd);
            assert!(zstd::decode_all(&zstd[..]).unwrap() == data);
            assert_eq!(gzip, compressed(data, Algorithm::Gzip));
        }
    }

    /// A tar of these files.
    fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, content) in files {
            let mut header = [0_u8; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[100..108].copy_from_slice(b"0100644\0");
            header[108..116].copy_from_slice(b"0000001\0");
            header[116..124].copy_from_slice(b"0000002\0");
            header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
            header[136..148].copy_from_slice(b"14000000000\0");
            header[156] = b'0';
            header[257..265].copy_from_slice(b"ustar\x0000");
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            out.extend_from_slice(&header);
            out.extend_from_slice(content);
            out.resize(out.len().next_multiple_of(512), 0);
        }
        out.resize(out.len() + 1024, 0);
        out
    }

    #[test]
    fn a_table_of_contents_says_where_everything_is() {
        use crate::engine::Digest;
        use crate::engine::store::diff::chunked::{self, TocEntry, TocKind};
        let mut state = 1_u64;
        let mut noise = |count: usize| -> Vec<u8> {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as u8
            };
            (0..count).map(|_| next()).collect()
        };
        let holes =
            [noise(5000), vec![0; 300_000], noise(10), vec![0; 1000], noise(7), vec![0; 1024]].concat();
        let files = [("a", noise(700_000)), ("empty", Vec::new()), ("holes", holes), ("tiny", vec![7])];
        let archive = tar(&files);
        let method = Method { algorithm: Algorithm::ZstdChunked, level: None };
        let mut compressor = Compressor::new(Vec::new(), method).unwrap();
        let annotations = chunked::write(&archive[..], &mut compressor, 3).unwrap().unwrap();
        let blob = compressor.finish().unwrap();
        assert!(zstd::decode_all(&blob[..]).unwrap() == archive, "readers that know nothing of it");
        let numbers = |key| -> Vec<usize> {
            annotations[key].split(':').map(|number| number.parse().unwrap()).collect()
        };
        let at = numbers(chunked::POSITION);
        let toc = &blob[at[0]..at[0] + at[1]];
        assert_eq!(Digest::sha256(toc).to_string(), annotations[chunked::CHECKSUM]);
        let toc = zstd::decode_all(toc).unwrap();
        assert_eq!((toc.len(), at[3]), (at[2], 1));
        let toc: serde_json::Value = serde_json::from_slice(&toc).unwrap();
        assert_eq!(toc["version"], 1);
        let split = numbers(chunked::TAR_SPLIT);
        let bytes = &blob[split[0]..split[0] + split[1]];
        assert_eq!(Digest::sha256(bytes).to_string(), toc["tarSplitDigest"].as_str().unwrap());
        assert_eq!(zstd::decode_all(bytes).unwrap().len(), split[2]);
        assert_eq!(blob[blob.len() - 64..blob.len() - 56], (at[0] as u64).to_le_bytes());
        let entries: Vec<TocEntry> = serde_json::from_value(toc["entries"].clone()).unwrap();
        for (name, content) in &files {
            let own: Vec<&TocEntry> = entries.iter().filter(|entry| entry.name == *name).collect();
            let first = own[0];
            assert_eq!(
                (first.size as usize, first.mode, first.uid, first.gid),
                (content.len(), 0o100_644, 1, 2)
            );
            assert_eq!(first.modtime.as_deref(), Some("2021-01-14T08:25:36Z"), "{name}");
            if content.is_empty() {
                assert_eq!((first.digest.as_str(), first.offset), ("", 0));
                continue;
            }
            assert_eq!(first.digest, Digest::sha256(content).to_string());
            let whole = &blob[first.offset as usize..first.end_offset as usize];
            assert!(zstd::decode_all(whole).unwrap() == *content);
            for (number, chunk) in own.iter().enumerate().filter(|_| own.len() > 1) {
                let start = chunk.chunk_offset as usize;
                let part = &content[start..start + chunk.chunk_size as usize];
                assert_eq!(chunk.chunk_digest, Digest::sha256(part).to_string());
                assert_eq!(chunk.kind == TocKind::Chunk, number > 0);
                assert_eq!(chunk.chunk_type == "zeros", part.iter().all(|b| *b == 0));
                let end = own.get(number + 1).map_or(first.end_offset, |next| next.offset) as usize;
                assert!(zstd::decode_all(&blob[chunk.offset as usize..end]).unwrap() == part);
            }
        }
        assert!(
            entries.iter().filter(|entry| entry.name == "a").count() > 3,
            "cut where the content says so"
        );
        assert_eq!(entries.iter().filter(|entry| entry.chunk_type == "zeros").count(), 2);
    }

    #[test]
    fn what_a_table_of_contents_cannot_tell_is_plain_zstd() {
        let method = Method { algorithm: Algorithm::ZstdChunked, level: None };
        let archive = tar(&[("a", vec![1; 10_000]), ("a", vec![2; 10_000])]);
        let mut compressor = Compressor::new(Vec::new(), method).unwrap();
        let none = crate::engine::store::diff::chunked::write(&archive[..], &mut compressor, 3).unwrap();
        assert_eq!(none, None);
        assert!(zstd::decode_all(&compressor.finish().unwrap()[..]).unwrap() == archive);
    }

    #[test]
    fn levels_have_bounds() {
        Algorithm::Gzip.check_level(9).unwrap();
        assert!(Algorithm::Gzip.check_level(10).is_err());
        assert!(Algorithm::Zstd.check_level(0).is_err());
        assert!(Algorithm::parse("bzip2").is_err());
    }
}
