//! Values that several flags share: sizes, durations, key=value files, comma-separated fields.

use crate::engine::spec::{bytes, decimal_bytes};
use crate::engine::{Error, Result};

/// A size in bytes as docker reads it: `64m`, `1.5GiB`, `512`; units are powers of 1024 and not case-sensitive.
///
/// # Errors
/// Not a number with such a unit, negative, or above 2^63.
pub fn size(flag: &str, text: &str) -> Result<u64> {
    bytes(text).ok_or_else(|| no_size(flag, text))
}

/// The same in powers of 1000, as docker and podman read the sizes of log files (go-units, `FromHumanSize`).
///
/// # Errors
/// See [`size`].
pub fn decimal_size(flag: &str, text: &str) -> Result<u64> {
    decimal_bytes(text).ok_or_else(|| no_size(flag, text))
}

fn no_size(flag: &str, text: &str) -> Error {
    Error::invalid(format!("invalid {flag} {text:?}"))
        .with_hint("a number with an optional unit: b, k, m, g, t or p (512m, 1.5g)")
}

/// [`size`] for fields that are signed.
///
/// # Errors
/// See [`size`].
pub fn signed_size(flag: &str, text: &str) -> Result<i64> {
    size(flag, text).map(|n| i64::try_from(n).unwrap_or(i64::MAX))
}

/// The lines of an `--env-file` or `--label-file`: `NAME=VALUE` or `NAME`, comments and blank lines dropped. Quotes
/// are part of the value and nothing is expanded (docker's format).
///
/// # Errors
/// A line without a name, or with white space in it.
pub fn key_value_lines<'a>(flag: &str, file: &str, text: &'a str) -> Result<Vec<&'a str>> {
    let mut lines = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() || name.contains(char::is_whitespace) || name.contains('\0') {
            return Err(Error::invalid(format!(
                "invalid {flag} {file}: line {}: {} in {line:?}",
                number + 1,
                if name.is_empty() { "no variable name" } else { "white space in the name" }
            )));
        }
        lines.push(line);
    }
    Ok(lines)
}

/// `NAME=VALUE` into both.
///
/// # Errors
/// There is no `=`, or no name before it.
pub fn key_value(flag: &str, text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Error::invalid(format!("invalid {flag} {text:?}")).with_hint("NAME=VALUE")),
    }
}

/// Go's `strconv.ParseBool`, as docker and podman read switches.
///
/// # Errors
/// Any other word.
pub fn boolean(text: &str) -> std::result::Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("true or false is expected".to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_dockers() {
        for (text, want) in [
            ("0", 0),
            ("512", 512),
            ("32b", 32),
            ("1k", 1024),
            ("32KB", 32 << 10),
            ("64m", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("32 mb", 32 << 20),
            ("2T", 2 << 40),
            ("1p", 1 << 50),
            ("9223372036854775807", i64::MAX as u64),
        ] {
            assert_eq!(size("--x", text).unwrap(), want, "{text}");
        }
        for text in [
            "",
            "m",
            "-1",
            "1x",
            "1.2.3m",
            "hello",
            "1e3",
            "0x10",
            "9223372036854775808",
            "9999999p",
            "1 m b",
            "٣m",
        ] {
            assert!(size("--x", text).is_err(), "{text}");
        }
        let e = size("--memory", "lots").unwrap_err();
        assert_eq!(e.to_string(), "invalid --memory \"lots\"");
        assert!(e.hint().is_some());
    }

    #[test]
    fn key_value_files() {
        let text = "\u{feff}A=1\n  # no\n\n  B = x\n";
        assert!(key_value_lines("--env-file", "f", text).is_err());
        let text = "\u{feff}A=1 # kept \n\n#c\n  B=\"q\"\nC\nD==\n";
        assert_eq!(key_value_lines("--env-file", "f", text).unwrap(), ["A=1 # kept ", "B=\"q\"", "C", "D=="]);
        let e = key_value_lines("--env-file", "f", "A=1\n=x").unwrap_err();
        assert!(e.to_string().contains("line 2"), "{e}");
    }
}
