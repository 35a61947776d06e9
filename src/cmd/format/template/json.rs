//! JSON as Go's encoder writes it: struct fields in their order, map keys sorted, no HTML escapes.

use super::value::{Value, rfc3339};

/// Without any white space (docker's and podman's `json` function).
pub fn compact(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, None, 0);
    out
}

/// With `indent` spaces a level.
pub fn pretty(value: &Value, indent: usize) -> String {
    let mut out = String::new();
    write(&mut out, value, Some(indent), 0);
    out
}

fn write(out: &mut String, value: &Value, indent: Option<usize>, depth: usize) {
    match value {
        Value::Missing | Value::Nil | Value::NilPointer | Value::Method(_) | Value::Complex(..) => {
            out.push_str("null")
        }
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(i) => out.push_str(&i.to_string()),
        Value::Uint(u) => out.push_str(&u.to_string()),
        Value::Float(f) => out.push_str(&float(*f)),
        Value::Str(s) => string(out, s),
        Value::Time(t) => string(out, &rfc3339(t)),
        Value::Duration(nanos) => out.push_str(&nanos.to_string()),
        Value::List(list) if list.nil => out.push_str("null"),
        Value::Map(map) if map.nil => out.push_str("null"),
        Value::List(list) => {
            sequence(out, '[', ']', indent, depth, list.items.iter(), |out, item| {
                write(out, item, indent, depth + 1)
            });
        }
        Value::Map(map) => {
            sequence(out, '{', '}', indent, depth, map.entries.iter(), |out, (key, item)| {
                member(out, key, item, indent, depth);
            });
        }
        Value::Struct(record) => {
            let fields = record.fields.iter().filter(|f| !f.hidden);
            sequence(out, '{', '}', indent, depth, fields, |out, field| {
                member(out, field.name, &field.value, indent, depth);
            });
        }
    }
}

fn member(out: &mut String, key: &str, value: &Value, indent: Option<usize>, depth: usize) {
    string(out, key);
    out.push_str(if indent.is_some() { ": " } else { ":" });
    write(out, value, indent, depth + 1);
}

fn sequence<T>(
    out: &mut String,
    open: char,
    close: char,
    indent: Option<usize>,
    depth: usize,
    items: impl Iterator<Item = T>,
    mut each: impl FnMut(&mut String, T),
) {
    out.push(open);
    let mut empty = true;
    for item in items {
        if !empty {
            out.push(',');
        }
        empty = false;
        new_line(out, indent, depth + 1);
        each(out, item);
    }
    if !empty {
        new_line(out, indent, depth);
    }
    out.push(close);
}

fn new_line(out: &mut String, indent: Option<usize>, depth: usize) {
    if let Some(indent) = indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent * depth));
    }
}

fn string(out: &mut String, s: &str) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || matches!(c, '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Like ECMAScript: plain between 1e-6 and 1e21.
fn float(f: f64) -> String {
    if !f.is_finite() {
        return "null".to_owned();
    }
    let size = f.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{f:e}");
        return match text.split_once("e-") {
            Some(_) => text,
            None => text.replace('e', "e+"),
        };
    }
    format!("{f}")
}
