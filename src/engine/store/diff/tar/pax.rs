//! PAX extended headers: `LENGTH KEY=VALUE\n` records, values binary.

use crate::engine::{Error, Result};

use super::Time;

/// What the records of one extended header say. Of repeated keys the last one counts; an empty value leaves the
/// header's own, as in Go's archive/tar.
#[derive(Debug, Default)]
pub struct Pax {
    /// `path`.
    pub path: Vec<u8>,
    /// `linkpath`.
    pub link: Vec<u8>,
    /// `size`.
    pub size: Option<i64>,
    /// `uid`.
    pub uid: Option<i64>,
    /// `gid`.
    pub gid: Option<i64>,
    /// `mtime`.
    pub mtime: Option<Time>,
    /// `atime`.
    pub atime: Option<Time>,
    /// `ctime`.
    pub ctime: Option<Time>,
    /// `SCHILY.xattr.KEY`, in order; a repeated key is there twice, and setting it twice leaves the last value.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// `GNU.sparse.*`.
    pub sparse: SparseKeys,
}

/// `GNU.sparse.*` as text.
#[derive(Debug, Default)]
pub struct SparseKeys {
    /// `major`.
    pub major: Vec<u8>,
    /// `minor`.
    pub minor: Vec<u8>,
    /// `name`.
    pub name: Vec<u8>,
    /// `size` (0.0, 0.1).
    pub size: Vec<u8>,
    /// `realsize` (1.0).
    pub real_size: Vec<u8>,
    /// `numblocks`.
    pub count: Vec<u8>,
    /// `map` (0.1), and the `offset`, `numbytes` pairs of 0.0 made one.
    pub map: Vec<u8>,
}

fn bad(what: &str) -> Error {
    Error::corrupt(format!("invalid PAX header: {what}"))
}

/// Parses all records.
pub fn parse(mut data: &[u8]) -> Result<Pax> {
    let mut pax = Pax::default();
    let mut pairs: Vec<&[u8]> = Vec::new();
    while !data.is_empty() {
        let (key, value, rest) = record(data)?;
        data = rest;
        match key {
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let offset = key == b"GNU.sparse.offset";
                if offset != pairs.len().is_multiple_of(2) || value.contains(&b',') {
                    return Err(bad("the sparse map is out of order"));
                }
                pairs.push(value);
            }
            _ => set(&mut pax, key, value)?,
        }
    }
    if !pairs.is_empty() {
        pax.sparse.map = pairs.join(&b',');
    }
    Ok(pax)
}

fn set(pax: &mut Pax, key: &[u8], value: &[u8]) -> Result<()> {
    match key {
        b"path" => pax.path = text(value)?,
        b"linkpath" => pax.link = text(value)?,
        b"size" => pax.size = optional(value, decimal)?,
        b"uid" => pax.uid = optional(value, decimal)?,
        b"gid" => pax.gid = optional(value, decimal)?,
        b"mtime" => pax.mtime = optional(value, time)?,
        b"atime" => pax.atime = optional(value, time)?,
        b"ctime" => pax.ctime = optional(value, time)?,
        b"GNU.sparse.major" => pax.sparse.major = value.to_vec(),
        b"GNU.sparse.minor" => pax.sparse.minor = value.to_vec(),
        b"GNU.sparse.name" => pax.sparse.name = value.to_vec(),
        b"GNU.sparse.size" => pax.sparse.size = value.to_vec(),
        b"GNU.sparse.realsize" => pax.sparse.real_size = value.to_vec(),
        b"GNU.sparse.numblocks" => pax.sparse.count = value.to_vec(),
        b"GNU.sparse.map" => pax.sparse.map = value.to_vec(),
        _ => {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                pax.xattrs.push((name.to_vec(), value.to_vec()));
            }
        }
    }
    Ok(())
}

/// Splits the first record off: key, value, what follows.
fn record(data: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(20).position(|&b| b == b' ').ok_or_else(|| bad("a record has no length"))?;
    let length =
        usize::try_from(decimal(&data[..space])?).map_err(|_| bad("a record's length is negative"))?;
    if length < 5 || length > data.len() || length < space + 2 {
        return Err(bad("a record's length is wrong"));
    }
    let (record, rest) = data.split_at(length);
    let Some(pair) = record[space + 1..].strip_suffix(b"\n") else {
        return Err(bad("a record does not end with a newline"));
    };
    let equals = pair.iter().position(|&b| b == b'=').ok_or_else(|| bad("a record has no value"))?;
    let (key, value) = (&pair[..equals], &pair[equals + 1..]);
    if key.is_empty() || key.contains(&0) {
        return Err(bad("a record's key is empty or has a NUL byte"));
    }
    Ok((key, value, rest))
}

fn text(value: &[u8]) -> Result<Vec<u8>> {
    if value.contains(&0) {
        return Err(bad("a name has a NUL byte"));
    }
    Ok(value.to_vec())
}

fn optional<T>(value: &[u8], parse: fn(&[u8]) -> Result<T>) -> Result<Option<T>> {
    if value.is_empty() { Ok(None) } else { parse(value).map(Some) }
}

/// A decimal number with an optional sign.
pub fn decimal(value: &[u8]) -> Result<i64> {
    std::str::from_utf8(value).ok().and_then(|s| s.parse().ok()).ok_or_else(|| bad("a number is malformed"))
}

/// Seconds with a fraction of any length; nanoseconds are kept. Before 1970 the fraction counts backwards.
fn time(value: &[u8]) -> Result<Time> {
    let (seconds, fraction) = match value.iter().position(|&b| b == b'.') {
        Some(dot) => (&value[..dot], &value[dot + 1..]),
        None => (value, &[][..]),
    };
    let negative = seconds.first() == Some(&b'-');
    let seconds = decimal(seconds)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(bad("a time is malformed"));
    }
    let digit = |i| fraction.get(i).map_or(0, |d: &u8| i64::from(d - b'0'));
    let nanoseconds = (0..9).fold(0, |sum, i| sum * 10 + digit(i));
    if negative && nanoseconds > 0 {
        let seconds = seconds.checked_sub(1).ok_or_else(|| bad("a time is malformed"))?;
        return Ok(Time { seconds, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Ok(Time { seconds, nanoseconds })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_are_binary_and_the_last_one_counts() {
        let pax = parse(b"20 path=one/two/thr\n11 path=ab\n29 SCHILY.xattr.user.x=a\n=\0b\n").unwrap();
        assert_eq!(pax.path, b"ab");
        assert_eq!(pax.xattrs, [(b"user.x".to_vec(), b"a\n=\0b".to_vec())]);
    }

    #[test]
    fn times_have_nanoseconds_on_both_sides_of_1970() {
        for (text, seconds, nanoseconds) in [
            ("5", 5, 0),
            ("5.5", 5, 500_000_000),
            ("5.0123456789", 5, 12_345_678),
            ("-1.25", -2, 750_000_000),
        ] {
            assert_eq!(time(text.as_bytes()).unwrap(), Time { seconds, nanoseconds }, "{text}");
        }
        for bad in ["", "a", "1.x", "1.-5", ".5"] {
            assert!(time(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"no length"[..],
            b"99 path=x\n",
            b"9 path=xy\n",
            b"4 a=\n",
            b"-9 path=x\n",
            b"10 path=\0x\n",
            b"7 =abc\n",
            b"8 abcde\n",
            b"99999999999999999999 a=b\n",
            b"11 uid=12a4\n",
        ] {
            assert!(parse(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
