//! `info` without a format: YAML as podman prints it.

use crate::cmd::format::template::{Value, display};

/// Block-style YAML, keys sorted as podman prints them.
pub(super) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    write_yaml(&mut out, value, 0);
    out
}

fn write_yaml(out: &mut String, value: &Value, depth: usize) {
    let entries: Vec<(String, &Value)> = match value {
        Value::Struct(record) => {
            let mut fields: Vec<_> =
                record.fields.iter().filter(|f| !f.hidden).map(|f| (f.name.to_owned(), &f.value)).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            fields
        }
        Value::Map(map) => map.entries.iter().map(|(k, v)| (k.to_string(), v)).collect(),
        _ => return,
    };
    for (key, value) in entries {
        out.push_str(&"  ".repeat(depth));
        out.push_str(&key);
        out.push(':');
        match value {
            Value::Struct(record) if !record.fields.is_empty() => {
                out.push('\n');
                write_yaml(out, value, depth + 1);
            }
            Value::Map(map) if !map.entries.is_empty() => {
                out.push('\n');
                write_yaml(out, value, depth + 1);
            }
            Value::List(list) if !list.items.is_empty() => {
                out.push('\n');
                for item in &list.items {
                    let mut text = String::new();
                    write_yaml(&mut text, item, depth + 1);
                    let text = if text.is_empty() {
                        scalar(item, depth) + "\n"
                    } else {
                        text.trim_start().to_owned()
                    };
                    out.push_str(&format!("{}- {text}", "  ".repeat(depth)));
                }
            }
            value => out.push_str(&format!(" {}\n", scalar(value, depth))),
        }
    }
}

fn scalar(value: &Value, depth: usize) -> String {
    match value {
        Value::Struct(_) | Value::Map(_) => "{}".to_owned(),
        Value::List(_) => "[]".to_owned(),
        Value::Str(s) if s.contains('\n') => {
            let indent = "  ".repeat(depth + 1);
            format!("|-\n{indent}{}", s.trim_end().replace('\n', &format!("\n{indent}")))
        }
        Value::Str(s) if needs_quotes(s) => format!("'{}'", s.replace('\'', "''")),
        Value::NilPointer | Value::Nil | Value::Missing => "null".to_owned(),
        other => display(other),
    }
}

fn needs_quotes(s: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "/._-+@%, ()=".contains(c);
    s.is_empty()
        || s.parse::<f64>().is_ok()
        || matches!(s, "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "~")
        || !s.chars().all(plain)
        || s.starts_with(|c: char| " -,@%=.".contains(c))
        || s.ends_with(' ')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::yaml;
    use crate::cmd::format::template::to_value;
    use serde::Serialize;
    use std::collections::BTreeMap;

    #[derive(Serialize)]
    struct Mapping {
        container_id: u32,
        host_id: u32,
        size: u32,
    }

    #[test]
    fn yaml_looks_like_podmans() {
        #[derive(Serialize)]
        struct Inner {
            version: &'static str,
            lines: &'static str,
        }
        #[derive(Serialize)]
        struct Outer {
            name: &'static str,
            inner: Inner,
            list: Vec<&'static str>,
            maps: Vec<Mapping>,
            empty: Vec<String>,
            none: Option<u8>,
            map: BTreeMap<String, String>,
        }
        let value = to_value(&Outer {
            name: "conmon version 2, commit: x",
            inner: Inner { version: "12", lines: "a\nb" },
            list: vec!["x", "y"],
            maps: vec![Mapping { container_id: 0, host_id: 1, size: 2 }],
            empty: Vec::new(),
            none: None,
            map: BTreeMap::new(),
        });
        let expected = "empty: []\ninner:\n  lines: |-\n    a\n    b\n  version: '12'\nlist:\n- x\n- y\nmap: {}\nmaps:\n- container_id: 0\n  host_id: 1\n  size: 2\nname: 'conmon version 2, commit: x'\nnone: null\n";
        assert_eq!(yaml(&value), expected);
    }
}
