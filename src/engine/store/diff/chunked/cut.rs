//! Where a file is cut: at places that its content decides, so that what two files have in common is cut alike, and around
//! runs of zeros. The places are containers/storage's (`pkg/chunked/compressor`: `rollingChecksumReader`).

use crate::engine::Result;

/// Bytes the rolling sum looks back.
const WINDOW: usize = 64;
/// Added to each byte.
const OFFSET: u32 = 31;
/// A cut where these bits of the sum are set: every 64 KiB, on average.
const MASK: u32 = (1 << 16) - 1;
/// Zeros that are a chunk of their own.
const HOLE: u64 = 1 << 10;
/// Data handed over at a time, at most.
const BUFFER: usize = 64 << 10;

/// A piece of a file.
pub enum Piece<'a> {
    /// Data of the current chunk.
    Data(&'a [u8]),
    /// The chunk ends here.
    Cut,
    /// A chunk of so many zeros.
    Zeros(u64),
}

/// Cuts one file.
pub struct Cutter {
    low: u32,
    high: u32,
    window: [u8; WINDOW],
    at: usize,
    /// Zeros met that are neither data nor a hole yet.
    zeros: u64,
    buffer: Vec<u8>,
}

impl Cutter {
    pub fn new() -> Self {
        let window = WINDOW as u32;
        Self {
            low: window * OFFSET,
            high: window * (window - 1) * OFFSET,
            window: [0; WINDOW],
            at: 0,
            zeros: 0,
            buffer: Vec::with_capacity(BUFFER),
        }
    }

    /// Whether there is a cut behind this byte.
    #[inline(always)]
    fn roll(&mut self, byte: u8) -> bool {
        let slot = &mut self.window[self.at];
        let dropped = u32::from(std::mem::replace(slot, byte));
        self.at = (self.at + 1) % WINDOW;
        self.low = self.low.wrapping_add(u32::from(byte)).wrapping_sub(dropped);
        self.high =
            self.high.wrapping_add(self.low).wrapping_sub((WINDOW as u32).wrapping_mul(dropped + OFFSET));
        self.high & MASK == MASK
    }

    /// The next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8], take: &mut impl FnMut(Piece<'_>) -> Result<()>) -> Result<()> {
        for byte in bytes {
            if *byte == 0 {
                self.zeros += 1;
                if self.zeros == HOLE {
                    self.cut(take)?;
                }
                continue;
            }
            if self.zeros > 0 {
                self.end_zeros(take)?;
            }
            self.data(*byte, take)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn data(&mut self, byte: u8, take: &mut impl FnMut(Piece<'_>) -> Result<()>) -> Result<()> {
        self.buffer.push(byte);
        if self.roll(byte) {
            return self.cut(take);
        }
        if self.buffer.len() == BUFFER {
            take(Piece::Data(&self.buffer))?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn cut(&mut self, take: &mut impl FnMut(Piece<'_>) -> Result<()>) -> Result<()> {
        if !self.buffer.is_empty() {
            take(Piece::Data(&self.buffer))?;
            self.buffer.clear();
        }
        take(Piece::Cut)
    }

    fn end_zeros(&mut self, take: &mut impl FnMut(Piece<'_>) -> Result<()>) -> Result<()> {
        let zeros = std::mem::take(&mut self.zeros);
        if zeros >= HOLE {
            // Once there is nothing else in the window the sum stays what it is.
            for _ in 0..WINDOW {
                self.roll(0);
            }
            return take(Piece::Zeros(zeros));
        }
        for _ in 0..zeros {
            self.data(0, take)?;
        }
        Ok(())
    }

    /// The end of the file.
    pub fn finish(&mut self, take: &mut impl FnMut(Piece<'_>) -> Result<()>) -> Result<()> {
        self.end_zeros(take)?;
        self.cut(take)
    }
}
