//! eStargz: a gzip layer of many members, with its table of contents in the last file of the tar (stargz-snapshotter
//! `docs/estargz.md`).
//!
//! A member begins where a file's content or a chunk of it does, so what ends a file stands in one member with the headers
//! that follow it. A chunk can be left out only if another one of the same file comes after it.

use std::io::{Read, Write};

use super::toc::{MAX_SIZE, Span, Toc, bad};
use super::{Annotations, toc::Part};
use crate::engine::{Digest, Error, Result};

/// Annotation: digest of the TOC's JSON.
pub const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
/// Bytes of the footer: an empty gzip member that says where the TOC begins.
pub const FOOTER: u64 = 51;
/// The TOC's name in the tar.
const NAME: &[u8] = b"stargz.index.json\0";
/// What stands before and behind the number in the footer.
const BEFORE: [u8; 6] = [26, 0, b'S', b'G', 22, 0];
const BEHIND: &[u8; 6] = b"STARGZ";

/// Whether these are the annotations of an eStargz layer, and nothing better.
pub fn is_estargz(annotations: Option<&Annotations>) -> bool {
    !super::is_chunked(annotations) && annotations.is_some_and(|all| all.contains_key(TOC_DIGEST))
}

/// Where the TOC's member is in a blob of `size` bytes that ends with `footer`.
///
/// # Errors
/// `Corrupt` if that is no footer or leads out of the blob.
pub fn place(footer: &[u8], size: u64) -> Result<Span> {
    let wrong = || bad("there is no footer that says where it is");
    let extra =
        footer.get(10..38).filter(|_| footer.len() as u64 == FOOTER && footer.starts_with(&[0x1f, 0x8b]));
    let extra = extra.and_then(|extra| extra.strip_prefix(&BEFORE)).ok_or_else(wrong)?;
    let number =
        extra.strip_suffix(BEHIND).and_then(|hex| std::str::from_utf8(hex).ok()).ok_or_else(wrong)?;
    let start = u64::from_str_radix(number, 16).map_err(|_| wrong())?;
    let end = size.saturating_sub(FOOTER);
    if start >= end {
        return Err(bad("it is outside of the blob"));
    }
    if end - start > MAX_SIZE {
        return Err(Error::unsupported("the layer's table of contents is too large"));
    }
    Ok(Span { start, end })
}

/// Inflates the TOC's member, which is the end of the tar, and writes the JSON in it to `out`.
///
/// # Errors
/// `Corrupt` if it is not what `digest` says.
pub fn inflate_checked(member: &[u8], digest: &Digest, out: &mut impl Write) -> Result<()> {
    let mut tar = Vec::new();
    let inflated = flate2::bufread::GzDecoder::new(member).take(MAX_SIZE + 1).read_to_end(&mut tar);
    inflated.map_err(|e| bad("it cannot be read").with_source(e))?;
    if tar.len() as u64 > MAX_SIZE {
        return Err(bad("it is too large"));
    }
    let json = tar.get(..512).filter(|header| header.starts_with(NAME)).and_then(|header| {
        let digits = std::str::from_utf8(&header[124..136]).ok()?.trim_matches(['\0', ' ']);
        tar.get(512..)?.get(..usize::from_str_radix(digits, 8).ok()?)
    });
    let json = json.ok_or_else(|| bad("it is not the last file of the layer"))?;
    if !digest.matches(json) {
        return Err(bad(&format!("it does not match its digest {digest}")));
    }
    out.write_all(json).map_err(|e| Error::os("write the layer's table of contents", e))
}

impl Toc {
    /// The chunks that another one of the same file follows, each with its file's number: members that have nothing but
    /// what the table says of them.
    pub fn members_of_their_own(&self) -> impl Iterator<Item = (usize, &Part)> {
        self.files.iter().enumerate().flat_map(|(number, file)| {
            let inner = &file.parts[..file.parts.len() - 1];
            inner.iter().map(move |part| (number, part))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn footer(toc: u64) -> Vec<u8> {
        let mut footer = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff];
        footer.extend(BEFORE);
        footer.extend(format!("{toc:016x}STARGZ").bytes());
        footer.extend([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
        footer
    }

    #[test]
    fn the_footer_says_where_the_table_is() {
        let inflated = std::io::read_to_string(flate2::bufread::GzDecoder::new(&footer(77)[..]));
        assert_eq!(inflated.unwrap(), "");
        assert_eq!(place(&footer(77), 1000).unwrap(), Span { start: 77, end: 949 });
        for (bytes, size) in [
            (footer(949), 1000),
            (footer(u64::MAX), 1000),
            (footer(1), 40),
            (footer(1)[..50].to_vec(), 1000),
            (vec![0; 51], 1000),
            (footer(1), MAX_SIZE * 3),
        ] {
            assert!(place(&bytes, size).is_err(), "{bytes:?}");
        }
    }
}
