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

use crate::engine::{Error, Result};

/// How layers can be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// gzip, which everybody reads.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Algorithm {
    /// Parses `gzip` and `zstd`. `zstd:chunked` is written as plain zstd would be: its table of contents is optional for
    /// readers.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "gzip" => Ok(Self::Gzip),
            "zstd" | "zstd:chunked" => Ok(Self::Zstd),
            _ => Err(Error::invalid(format!("unknown compression format {text:?}"))
                .with_hint("use gzip, zstd or zstd:chunked")),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Bytes of a block. zstd gains more from looking far back.
    fn block(self) -> usize {
        match self {
            Self::Gzip => 1 << 20,
            Self::Zstd => 2 << 20,
        }
    }

    /// Checks a level: 1 to 9 for gzip, 1 to 20 for zstd.
    pub fn check_level(self, level: i32) -> Result<()> {
        let highest = match self {
            Self::Gzip => 9,
            Self::Zstd => 20,
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
    fn block(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self.algorithm {
            Algorithm::Gzip => {
                let level = libdeflater::CompressionLvl::new(self.level.unwrap_or(1)).unwrap_or_default();
                let mut compressor = libdeflater::Compressor::new(level);
                let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
                let size = compressor
                    .gzip_compress(bytes, &mut out)
                    .map_err(|e| io::Error::other(format!("gzip: {e}")))?;
                out.truncate(size);
                Ok(out)
            }
            Algorithm::Zstd => zstd::bulk::compress(bytes, self.level.unwrap_or(3)),
        }
    }
}

type Done = io::Result<Vec<u8>>;

/// Compresses what is written to it on several threads and writes the result to `out`. [`Compressor::finish`] must be
/// called.
pub struct Compressor<W: Write> {
    out: W,
    size: usize,
    block: Vec<u8>,
    /// Blocks at work, in their order.
    pending: VecDeque<Receiver<Done>>,
    jobs: Option<SyncSender<(Vec<u8>, Sender<Done>)>>,
    workers: Vec<JoinHandle<()>>,
    /// Nothing was written: an empty input is a stream, too.
    empty: bool,
}

impl<W: Write> Compressor<W> {
    /// With as many threads as there are cores.
    pub fn new(out: W, method: Method) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(16);
        let (jobs, queue) = sync_channel::<(Vec<u8>, Sender<Done>)>(threads);
        let queue = Arc::new(Mutex::new(queue));
        let worker = |_| {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((block, done)) = job else { return };
                    // Nobody waits for it: the output has failed.
                    let _ = done.send(method.block(&block));
                }
            })
        };
        let workers = (0..threads).map(worker).collect();
        let size = method.algorithm.block();
        let block = Vec::with_capacity(size);
        Self { out, size, block, pending: VecDeque::new(), jobs: Some(jobs), workers, empty: true }
    }

    fn dispatch(&mut self) -> io::Result<()> {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(self.size));
        let (done, result) = channel();
        let gone = || io::Error::other("the compressing threads are gone");
        self.jobs.as_ref().ok_or_else(gone)?.send((block, done)).map_err(|_| gone())?;
        self.pending.push_back(result);
        self.empty = false;
        while self.pending.len() > 2 * self.workers.len() {
            self.collect()?;
        }
        Ok(())
    }

    /// Writes the next result.
    fn collect(&mut self) -> io::Result<()> {
        let Some(next) = self.pending.pop_front() else { return Ok(()) };
        let compressed = next.recv().map_err(|_| io::Error::other("a compressing thread is gone"))??;
        self.out.write_all(&compressed)
    }

    /// Writes what is left, and returns the output.
    pub fn finish(mut self) -> io::Result<W> {
        if !self.block.is_empty() || self.empty {
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

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.size - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == self.size {
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
        let mut compressor = Compressor::new(Vec::new(), Method { algorithm, level: None });
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

    #[test]
    fn levels_have_bounds() {
        Algorithm::Gzip.check_level(9).unwrap();
        assert!(Algorithm::Gzip.check_level(10).is_err());
        assert!(Algorithm::Zstd.check_level(0).is_err());
        assert!(Algorithm::parse("bzip2").is_err());
    }
}
