//! Go's strconv: strings and characters as literals, and literals as strings.

/// A Go string literal (`strconv.Quote`).
pub fn quote(s: &str) -> String {
    quote_with(s, '"', false)
}

pub(super) fn quote_ascii(s: &str) -> String {
    quote_with(s, '"', true)
}

pub(super) fn quote_char(c: char) -> String {
    quote_with(&c.to_string(), '\'', false)
}

fn quote_with(s: &str, mark: char, ascii: bool) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push(mark);
    for c in s.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            c if c == mark => {
                out.push('\\');
                out.push(c);
            }
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\x7f' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_ascii() || (!ascii && !c.is_control()) => out.push(c),
            c if (c as u32) < 0x10000 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    out.push(mark);
    out
}

/// Reads a Go string, raw string or character literal (`strconv.Unquote`).
pub fn unquote(text: &str) -> Option<String> {
    let mark = text.chars().next()?;
    let inner = text.get(1..text.len().checked_sub(1)?)?;
    if mark == '`' {
        return Some(inner.replace('\r', ""));
    }
    let mut bytes = Vec::new();
    let mut chars = inner.chars();
    let hex = |chars: &mut std::str::Chars<'_>, digits: usize| {
        let text: String = chars.take(digits).collect();
        (text.len() == digits).then(|| u32::from_str_radix(&text, 16).ok())?
    };
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let wide = match chars.next()? {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            '\\' => 92,
            c @ ('"' | '\'') if c == mark => c as u32,
            'x' => {
                bytes.push(u8::try_from(hex(&mut chars, 2)?).ok()?);
                continue;
            }
            'u' => hex(&mut chars, 4)?,
            'U' => hex(&mut chars, 8)?,
            first @ '0'..='7' => {
                let mut octal = first.to_string();
                octal.extend(chars.by_ref().take(2));
                if octal.len() != 3 {
                    return None;
                }
                bytes.push(u8::try_from(u32::from_str_radix(&octal, 8).ok()?).ok()?);
                continue;
            }
            _ => return None,
        };
        bytes.extend_from_slice(char::from_u32(wide)?.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
