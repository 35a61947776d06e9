//! Comma-separated values, as docker's flags have them.

use crate::engine::{Error, Result};

/// The fields of one line of comma-separated values; a field may be quoted, `""` inside it is a quote (RFC 4180).
///
/// # Errors
/// A quote is not closed.
pub fn csv(flag: &str, text: &str) -> Result<Vec<String>> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    if quoted {
        return Err(Error::invalid(format!("invalid {flag} {text:?}: a quote is not closed")));
    }
    fields.push(field);
    Ok(fields)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn comma_separated_fields() {
        assert_eq!(csv("--x", "a,b=c").unwrap(), ["a", "b=c"]);
        assert_eq!(csv("--x", r#""a,b",c"#).unwrap(), ["a,b", "c"]);
        assert_eq!(csv("--x", r#""a""b""#).unwrap(), ["a\"b"]);
        assert!(csv("--x", "\"a").is_err());
    }
}
