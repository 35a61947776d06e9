//! The media type of a file by its first bytes, as browsers and Go's `http.DetectContentType` tell it (WHATWG "MIME
//! Sniffing", the types that files in artifacts have). Pure, but for [`file()`].

use std::io::Read;
use std::path::Path;

use crate::engine::{Error, Result};

/// Bytes that are looked at.
const MOST: u64 = 512;

/// What a file is.
pub fn file(path: &Path) -> Result<&'static str> {
    let file = std::fs::File::open(path).map_err(|e| Error::io("open", path, e))?;
    let mut head = Vec::new();
    file.take(MOST).read_to_end(&mut head).map_err(|e| Error::io("read", path, e))?;
    Ok(bytes(&head))
}

/// What the beginning of a file says.
pub fn bytes(head: &[u8]) -> &'static str {
    const BEGINNINGS: [(&[u8], &str); 16] = [
        (b"%PDF-", "application/pdf"),
        (b"%!PS-Adobe-", "application/postscript"),
        (b"\x1f\x8b\x08", "application/x-gzip"),
        (b"PK\x03\x04", "application/zip"),
        (b"Rar!\x1a\x07", "application/x-rar-compressed"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"BM", "image/bmp"),
        (b"\0asm", "application/wasm"),
        (b"OggS\0", "application/ogg"),
        (b"ID3", "audio/mpeg"),
        (b"wOFF", "font/woff"),
        (b"wOF2", "font/woff2"),
        (b"\xef\xbb\xbf", "text/plain; charset=utf-8"),
    ];
    if let Some((_, found)) = BEGINNINGS.iter().find(|(beginning, _)| head.starts_with(beginning)) {
        return found;
    }
    let text = head.trim_ascii_start();
    let tag = |name: &str| {
        text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name.as_bytes()))
            && text.get(name.len()).is_some_and(|c| matches!(c, b' ' | b'>'))
    };
    if ["<!doctype html", "<html", "<head", "<script", "<body", "<title", "<div", "<p", "<a", "<!--"]
        .iter()
        .any(|t| tag(t))
    {
        return "text/html; charset=utf-8";
    }
    if text.starts_with(b"<?xml") {
        return "text/xml; charset=utf-8";
    }
    let binary = |b: &u8| matches!(b, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    if head.iter().any(binary) { "application/octet-stream" } else { "text/plain; charset=utf-8" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes() {
        for (head, want) in [
            (&b"hello"[..], "text/plain; charset=utf-8"),
            (b"", "text/plain; charset=utf-8"),
            (b"a\0b", "application/octet-stream"),
            (b"\x1f\x8b\x08\0", "application/x-gzip"),
            (b" \n<HTML>", "text/html; charset=utf-8"),
            (b"<htmlx", "text/plain; charset=utf-8"),
            (b"<?xml version", "text/xml; charset=utf-8"),
            (b"\x7fELF\x02\x01\x01\0", "application/octet-stream"),
        ] {
            assert_eq!(bytes(head), want, "{head:?}");
        }
    }
}
