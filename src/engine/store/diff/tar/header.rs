//! The 512-byte header block: formats, checksum, numbers and strings, as Go's archive/tar reads them.

use crate::engine::{Error, Result};

/// A header block.
pub type Block = [u8; 512];

/// Which of the historical layouts a block has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    V7,
    /// POSIX 1988 and 2001.
    Ustar,
    /// Jörg Schilling's, told by its trailer.
    Star,
    Gnu,
}

/// A header's fields, its strings still bytes.
#[derive(Debug)]
pub struct Header {
    /// The type flag.
    pub flag: u8,
    /// The name, with the prefix of formats that have one.
    pub name: Vec<u8>,
    /// The target of a link.
    pub link: Vec<u8>,
    /// Mode, as stored.
    pub mode: i64,
    /// Owner.
    pub uid: i64,
    /// Group.
    pub gid: i64,
    /// Bytes that follow.
    pub size: i64,
    /// Seconds.
    pub mtime: i64,
    /// Device numbers.
    pub device: (i64, i64),
    /// GNU: this is a sparse header's layout.
    pub gnu: bool,
    /// GNU: it has times of access or change.
    pub gnu_times: bool,
}

fn bad(what: &str) -> Error {
    Error::corrupt(format!("invalid tar header: {what}"))
}

/// Parses a block that is not all zeros.
pub fn parse(block: &Block) -> Result<Header> {
    let format = format(block)?;
    let mut header = Header {
        flag: block[156],
        name: string(&block[..100]).to_vec(),
        link: string(&block[157..257]).to_vec(),
        mode: numeric(&block[100..108])?,
        uid: numeric(&block[108..116])?,
        gid: numeric(&block[116..124])?,
        size: numeric(&block[124..136])?,
        mtime: numeric(&block[136..148])?,
        device: (0, 0),
        gnu: format == Format::Gnu,
        gnu_times: format == Format::Gnu && (block[345] != 0 || block[357] != 0),
    };
    if format != Format::V7 {
        header.device = (numeric(&block[329..337])?, numeric(&block[337..345])?);
    }
    let prefix = match format {
        Format::V7 => &[][..],
        Format::Ustar => string(&block[345..500]),
        Format::Star => string(&block[345..476]),
        Format::Gnu => stray_prefix(block),
    };
    if !prefix.is_empty() {
        header.name = [prefix, b"/", &header.name].concat();
    }
    Ok(header)
}

/// Go before 1.8 wrote a ustar prefix into GNU headers, where the access and change times are. Like Go's reader,
/// take it for one when those are no numbers and it is text.
fn stray_prefix(block: &Block) -> &[u8] {
    let is_time = |field: &[u8]| field[0] == 0 || numeric(field).is_ok();
    let prefix = string(&block[345..500]);
    if is_time(&block[345..357]) && is_time(&block[357..369]) || !prefix.is_ascii() {
        return &[];
    }
    prefix
}

fn format(block: &Block) -> Result<Format> {
    let stored = octal(&block[148..156])?;
    // Some old tars summed signed bytes.
    let (mut unsigned, mut signed) = (0i64, 0i64);
    for (i, &byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&i) { b' ' } else { byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    if stored != unsigned && stored != signed {
        return Err(bad("checksum"));
    }
    Ok(match (&block[257..263], &block[263..265], &block[508..512]) {
        (b"ustar\0", _, b"tar\0") => Format::Star,
        (b"ustar\0", _, _) => Format::Ustar,
        (b"ustar ", b" \0", _) => Format::Gnu,
        _ => Format::V7,
    })
}

/// Bytes up to the first NUL, or all.
pub fn string(field: &[u8]) -> &[u8] {
    field.split(|&b| b == 0).next().unwrap_or_default()
}

/// A number in octal, or in GNU's base-256: big-endian two's complement behind a set top bit.
pub fn numeric(field: &[u8]) -> Result<i64> {
    if field[0] & 0x80 == 0 {
        return octal(field);
    }
    let flip = if field[0] & 0x40 != 0 { 0xff } else { 0x00 };
    let mut value: u64 = 0;
    for (i, &byte) in field.iter().enumerate() {
        let byte = if i == 0 { (byte ^ flip) & 0x7f } else { byte ^ flip };
        if value >> 56 != 0 {
            return Err(bad("a number is too large"));
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).map_err(|_| bad("a number is too large"))?;
    Ok(if flip == 0 { value } else { !value })
}

/// Octal digits between blanks and NULs; nothing is zero.
fn octal(field: &[u8]) -> Result<i64> {
    let blank = |b: &u8| *b == b' ' || *b == 0;
    let Some(start) = field.iter().position(|b| !blank(b)) else { return Ok(0) };
    let end = field.iter().rposition(|b| !blank(b)).map_or(field.len(), |i| i + 1);
    let mut value: i64 = 0;
    for &digit in string(&field[start..end]) {
        if !(b'0'..=b'7').contains(&digit) {
            return Err(bad("a number has no octal digits"));
        }
        value = value.checked_mul(8).ok_or_else(|| bad("a number is too large"))? + i64::from(digit - b'0');
    }
    Ok(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_gos_table() {
        for (field, expected) in [
            (&b"0000000\0"[..], Some(0)),
            (b" \0 0000644\0 ", Some(0o644)),
            (b"        ", Some(0)),
            (b"\x80\0\0\0\0\0\0\0\0\0\0\x01", Some(1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\0\x7f\xff\xff\xff\xff\xff\xff", Some(0x7f_ffff_ffff_ffff)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xc0\0\0\0\0\0\0\0\0\0\0\0", None),
            (b"0000008\0", None),
            (b"-000001\0", None),
            (b"12\x0034567\0", Some(0o12)),
        ] {
            assert_eq!(numeric(field).ok(), expected, "{field:?}");
        }
    }
}
