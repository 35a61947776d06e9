//! Which compression a blob has, and its inverse.

use std::io::{self, BufRead, Read, Write};

use crate::engine::{Error, Result};

use super::Compression;

/// The largest Zstandard window we allocate, as a power of two: what `zstd --ultra` makes.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Memory that an xz stream may ask for; `xz -9` asks for 65 MiB.
const XZ_MEMORY: u64 = 128 << 20;

/// Bytes of a blob that [`detect`] wants to see.
pub const MAGIC_LEN: usize = 6;

/// Tells the compression from the first bytes (fewer than [`MAGIC_LEN`] only when the blob is shorter).
pub fn detect(start: &[u8]) -> Compression {
    match start {
        [0x1f, 0x8b, 0x08, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        // A skippable frame may come first (RFC 8878, 3.1.2).
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => Compression::Xz,
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Compression::Bzip2,
        _ => Compression::None,
    }
}

/// A reader of what `blob` compresses. It ends where the last member or frame ends; bytes after that which begin no
/// further one are an error.
pub fn decoder<'a, R: BufRead + 'a>(compression: Compression, blob: R) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(blob),
        Compression::Gzip => Box::new(super::members::Members::new(blob)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(blob)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(blob)),
        Compression::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(blob, stream))
        }
    })
}

/// Writes what `blob` compresses, however it does, to `out`.
///
/// `Corrupt` if it is cut off or damaged.
pub fn inflate(mut blob: impl BufRead, out: &mut dyn Write) -> Result<()> {
    let mut start = Vec::new();
    let read = blob.by_ref().take(MAGIC_LEN as u64).read_to_end(&mut start);
    read.map_err(super::from_io)?;
    let compression = detect(&start);
    let mut inflated = decoder(compression, io::Cursor::new(start).chain(blob)).map_err(super::from_io)?;
    let mut buffer = vec![0; 1 << 17];
    loop {
        match inflated.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => out.write_all(&buffer[..count]).map_err(|e| Error::os("write the archive", e))?,
            Err(e) => return Err(super::from_io(e)),
        }
    }
}
