//! PEM blocks (RFC 7468), as cosign writes and containers/image reads them. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::engine::{Error, Result};

/// What stands between a pair of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// `PUBLIC KEY` and the like.
    pub label: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Every block of a text, in order.
///
/// `Invalid` if one has no end or is not base64.
pub fn blocks(text: &[u8]) -> Result<Vec<Block>> {
    let bad = |why: &str| Error::invalid(format!("invalid PEM: {why}"));
    let text = std::str::from_utf8(text).map_err(|_| bad("it is no text"))?;
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(label) = delimited(line, "-----BEGIN ") else { continue };
        let mut body = String::new();
        loop {
            let line = lines.next().ok_or_else(|| bad("a block has no end"))?;
            if delimited(line, "-----END ") == Some(label) {
                break;
            }
            body.push_str(line.trim());
        }
        let bytes = STANDARD.decode(&body).map_err(|_| bad("a block is not base64"))?;
        found.push(Block { label: label.to_owned(), bytes });
    }
    Ok(found)
}

/// The only block of a text with nothing after it.
///
/// `Invalid` if it has none, or more.
pub fn only(text: &[u8]) -> Result<Block> {
    let ends = text.trim_ascii_end().ends_with(b"-----");
    let [one] = <[Block; 1]>::try_from(blocks(text)?)
        .map_err(|blocks| Error::invalid(format!("{} PEM blocks instead of one", blocks.len())))?;
    if !ends {
        return Err(Error::invalid("trailing data after a PEM block"));
    }
    Ok(one)
}

fn delimited<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    line.trim_end().strip_prefix(begin)?.strip_suffix("-----")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_between_other_text() {
        let text = "# key\n-----BEGIN A B-----\nYQ\n==\n-----END A B-----\n-----BEGIN C-----\r\nYg==\r\n-----END C-----\r\n";
        let found = blocks(text.as_bytes()).unwrap();
        assert_eq!((found[0].label.as_str(), found[0].bytes.as_slice()), ("A B", &b"a"[..]));
        assert_eq!(found[1].bytes, b"b");
        assert!(only(text.as_bytes()).is_err());
        for (text, want) in [
            ("-----BEGIN A-----\nYQ==\n", "no end"),
            ("-----BEGIN A-----\nYQ==\n-----END B-----\n", "no end"),
            ("-----BEGIN A-----\n?\n-----END A-----", "not base64"),
        ] {
            assert!(blocks(text.as_bytes()).unwrap_err().to_string().contains(want), "{text}");
        }
        only(b"-----BEGIN A-----\nYQ==\n-----END A-----\n").unwrap();
        assert!(only(b"-----BEGIN A-----\nYQ==\n-----END A-----\nx").is_err());
    }
}
