//! The functions templates can call: Go's own, and those docker and podman add.

use super::json;
use super::printf::{display, sprint, sprintf, sprintln};
use super::value::{Element, List, Value};
use std::cmp::Ordering;
use std::rc::Rc;

/// What a parameter takes; decides how a wrong argument is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Param {
    /// Anything.
    Any,
    /// A string.
    Str,
    /// An integer.
    Int,
}

/// A function's name, parameters (the last one repeats when variadic) and body.
pub(super) struct Func {
    pub name: &'static str,
    pub params: &'static [Param],
    pub variadic: bool,
    pub call: fn(&[Value]) -> Result<Value, String>,
}

use Param::{Any, Int, Str};

/// Every function but `and` and `or`, which the executor evaluates lazily.
pub(super) const FUNCS: &[Func] = &[
    Func { name: "and", params: &[Any, Any], variadic: true, call: last },
    Func { name: "or", params: &[Any, Any], variadic: true, call: last },
    Func { name: "call", params: &[Any, Any], variadic: true, call },
    Func { name: "html", params: &[Any], variadic: true, call: |a| Ok(html(&text(a)).into()) },
    Func { name: "index", params: &[Any, Any], variadic: true, call: index },
    Func { name: "js", params: &[Any], variadic: true, call: |a| Ok(js(&text(a)).into()) },
    Func { name: "len", params: &[Any], variadic: false, call: len },
    Func { name: "not", params: &[Any], variadic: false, call: |a| Ok((!a[0].truth()).into()) },
    Func { name: "print", params: &[Any], variadic: true, call: |a| Ok(sprint(a).into()) },
    Func {
        name: "printf",
        params: &[Str, Any],
        variadic: true,
        call: |a| Ok(sprintf(string(a, 0), &a[1..]).into()),
    },
    Func { name: "println", params: &[Any], variadic: true, call: |a| Ok(sprintln(a).into()) },
    Func { name: "slice", params: &[Any, Any], variadic: true, call: slice },
    Func { name: "urlquery", params: &[Any], variadic: true, call: |a| Ok(urlquery(&text(a)).into()) },
    Func { name: "eq", params: &[Any, Any], variadic: true, call: eq },
    Func { name: "ne", params: &[Any, Any], variadic: false, call: |a| Ok((!equal(&a[0], &a[1])?).into()) },
    Func {
        name: "lt",
        params: &[Any, Any],
        variadic: false,
        call: |a| Ok(order(a)?.is_some_and(Ordering::is_lt).into()),
    },
    Func {
        name: "le",
        params: &[Any, Any],
        variadic: false,
        call: |a| Ok(order(a)?.is_some_and(Ordering::is_le).into()),
    },
    Func {
        name: "gt",
        params: &[Any, Any],
        variadic: false,
        call: |a| Ok(order(a)?.is_some_and(Ordering::is_gt).into()),
    },
    Func {
        name: "ge",
        params: &[Any, Any],
        variadic: false,
        call: |a| Ok(order(a)?.is_some_and(Ordering::is_ge).into()),
    },
    // docker's and podman's
    Func { name: "json", params: &[Any], variadic: false, call: |a| Ok(json::compact(&a[0]).into()) },
    Func { name: "split", params: &[Str, Str], variadic: false, call: split },
    Func { name: "join", params: &[Any, Str], variadic: false, call: join },
    Func { name: "title", params: &[Str], variadic: false, call: |a| Ok(title(string(a, 0)).into()) },
    Func { name: "lower", params: &[Str], variadic: false, call: |a| Ok(string(a, 0).to_lowercase().into()) },
    Func { name: "upper", params: &[Str], variadic: false, call: |a| Ok(string(a, 0).to_uppercase().into()) },
    Func { name: "pad", params: &[Str, Int, Int], variadic: false, call: pad },
    Func { name: "truncate", params: &[Str, Int], variadic: false, call: truncate },
];

/// Functions that do not change column headings.
pub(super) const LEAVE_HEADERS: [&str; 8] =
    ["json", "split", "join", "title", "lower", "upper", "pad", "truncate"];

/// Looks a function up.
pub(super) fn find(name: &str) -> Option<&'static Func> {
    FUNCS.iter().find(|f| f.name == name)
}

fn last(args: &[Value]) -> Result<Value, String> {
    Ok(args.last().cloned().unwrap_or(Value::Missing))
}

fn string(args: &[Value], at: usize) -> &str {
    args.get(at).and_then(Value::as_str).unwrap_or_default()
}

fn call(args: &[Value]) -> Result<Value, String> {
    match &args[0] {
        Value::Method(method) => (method.0)(&args[1..]),
        v if v.is_nil() => Err("call of nil".to_owned()),
        v => Err(format!("non-function of type {}", v.type_name())),
    }
}

/// What `html`, `js` and `urlquery` escape: one string, or all arguments printed.
fn text(args: &[Value]) -> String {
    match args {
        [Value::Str(s)] => s.to_string(),
        [Value::Missing | Value::Nil] => "<no value>".to_owned(),
        args => sprint(args),
    }
}

fn html(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        match c {
            '\0' => out.push('\u{FFFD}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

fn js(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' => out.push_str("\\u003C"),
            '>' => out.push_str("\\u003E"),
            '&' => out.push_str("\\u0026"),
            '=' => out.push_str("\\u003D"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

fn urlquery(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for b in s.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(b)),
            b' ' => out.push('+'),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

fn len(args: &[Value]) -> Result<Value, String> {
    Ok(Value::Int(match &args[0] {
        Value::Str(s) => s.len(),
        Value::List(l) => l.items.len(),
        Value::Map(m) => m.entries.len(),
        Value::Missing => {
            return Err("reflect: call of reflect.Value.Type on zero Value".to_owned());
        }
        Value::Nil | Value::NilPointer => return Err("len of nil pointer".to_owned()),
        v => return Err(format!("len of type {}", v.type_name())),
    } as i64))
}

/// An index of a sequence, checked against `cap` as Go does it.
fn sequence_index(index: &Value, cap: usize) -> Result<usize, String> {
    match index {
        Value::Int(i) => match usize::try_from(*i) {
            Ok(at) if at <= cap => Ok(at),
            _ => Err(format!("index out of range: {i}")),
        },
        Value::Uint(u) => Err(format!("index out of range: {u}")),
        v if v.is_nil() => Err("cannot index slice/array with nil".to_owned()),
        v => Err(format!("cannot index slice/array with type {}", v.type_name())),
    }
}

fn index(args: &[Value]) -> Result<Value, String> {
    let mut item = args[0].clone();
    if matches!(item, Value::Missing | Value::Nil) {
        return Err("index of untyped nil".to_owned());
    }
    for key in &args[1..] {
        let out_of_range = || "reflect: slice index out of range".to_owned();
        item = match &item {
            Value::List(list) => {
                list.items.get(sequence_index(key, list.items.len())?).cloned().ok_or_else(out_of_range)?
            }
            Value::Str(s) => {
                let byte = s.as_bytes().get(sequence_index(key, s.len())?);
                Value::Int(i64::from(*byte.ok_or("reflect: string index out of range")?))
            }
            Value::Map(map) => match key {
                Value::Str(key) => match map.entries.get(key) {
                    Some(value) => value.clone(),
                    None if map.element == Element::Str => Value::from(""),
                    None if map.element == Element::Any => Value::Nil,
                    None => Value::NilPointer,
                },
                v if v.is_nil() => return Err("value is nil; should be of type string".to_owned()),
                v => return Err(format!("value has type {}; should be string", v.type_name())),
            },
            v if v.is_nil() => return Err("index of nil pointer".to_owned()),
            v => return Err(format!("can't index item of type {}", v.type_name())),
        };
    }
    Ok(item)
}

fn slice(args: &[Value]) -> Result<Value, String> {
    let item = &args[0];
    if item.is_nil() {
        return Err("slice of untyped nil".to_owned());
    }
    if args.len() > 4 {
        return Err(format!("too many slice indexes: {}", args.len() - 1));
    }
    let cap = match item {
        Value::Str(_) if args.len() == 4 => return Err("cannot 3-index slice a string".to_owned()),
        Value::Str(s) => s.len(),
        Value::List(l) => l.items.len(),
        v => return Err(format!("can't slice item of type {}", v.type_name())),
    };
    let mut bounds = [0, cap, cap];
    for (bound, arg) in bounds.iter_mut().zip(&args[1..]) {
        *bound = sequence_index(arg, cap)?;
    }
    for pair in bounds.windows(2) {
        if pair[0] > pair[1] {
            return Err(format!("invalid slice index: {} > {}", pair[0], pair[1]));
        }
    }
    let range = bounds[0]..bounds[1];
    Ok(match item {
        Value::Str(s) => String::from_utf8_lossy(&s.as_bytes()[range]).into_owned().into(),
        Value::List(l) => {
            Value::List(Rc::new(List { any: l.any, items: l.items[range].to_vec(), nil: false }))
        }
        _ => Value::Missing,
    })
}

/// What can be compared with what.
fn kind(value: &Value) -> Option<u8> {
    match value {
        Value::Bool(_) => Some(0),
        Value::Complex(..) => Some(1),
        Value::Int(_) | Value::Uint(_) | Value::Duration(_) => Some(2),
        Value::Float(_) => Some(3),
        Value::Str(_) => Some(4),
        _ => None,
    }
}

const INCOMPATIBLE: &str = "incompatible types for comparison";

fn comparable(value: &Value) -> Result<(), String> {
    match value {
        Value::List(_) | Value::Map(_) | Value::Method(_) => {
            Err(format!("non-comparable type {}: {}", display(value), value.type_name()))
        }
        _ => Ok(()),
    }
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    // A nil slice or map may be compared with nil.
    if b.is_nil() || a.is_nil() {
        return Ok(a.is_nil() && b.is_nil());
    }
    comparable(a)?;
    if kind(a) != kind(b) {
        return Err(INCOMPATIBLE.to_owned());
    }
    comparable(b)?;
    Ok(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Uint(a), Value::Uint(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Complex(a, b), Value::Complex(c, d)) => a == c && b == d,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Time(a), Value::Time(b)) => a == b,
        (Value::Duration(a), Value::Duration(b) | Value::Uint(b)) => a == b,
        (Value::Duration(a), Value::Int(b)) => i64::try_from(*a) == Ok(*b),
        (Value::Struct(a), Value::Struct(b)) => Rc::ptr_eq(a, b),
        _ => false,
    })
}

fn eq(args: &[Value]) -> Result<Value, String> {
    if args.len() < 2 {
        return Err("missing argument for comparison".to_owned());
    }
    for other in &args[1..] {
        if equal(&args[0], other)? {
            return Ok(true.into());
        }
    }
    Ok(false.into())
}

fn order(args: &[Value]) -> Result<Option<Ordering>, String> {
    let (a, b) = (&args[0], &args[1]);
    let bad = || "invalid type for comparison".to_owned();
    let (ka, kb) = (kind(a).ok_or_else(bad)?, kind(b).ok_or_else(bad)?);
    if ka != kb {
        return Err(INCOMPATIBLE.to_owned());
    }
    Ok(match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Uint(_), Value::Int(_)) => Some(Ordering::Greater),
        (Value::Int(_), Value::Uint(_)) => Some(Ordering::Less),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Str(a), Value::Str(b)) => Some(a.cmp(b)),
        _ => return Err(bad()),
    })
}

fn split(args: &[Value]) -> Result<Value, String> {
    let (s, separator) = (string(args, 0), string(args, 1));
    Ok(match separator.is_empty() {
        true => Value::strings(s.chars().map(String::from)),
        false => Value::strings(s.split(separator)),
    })
}

fn join(args: &[Value]) -> Result<Value, String> {
    match &args[0] {
        Value::List(list) => {
            Ok(list.items.iter().map(display).collect::<Vec<_>>().join(string(args, 1)).into())
        }
        v if v.is_nil() => Ok("".into()),
        v => Err(format!("wrong type for value; expected []string; got {}", v.type_name())),
    }
}

fn title(s: &str) -> String {
    let mut start = true;
    s.chars()
        .map(|c| {
            let first = std::mem::replace(&mut start, !(c.is_alphanumeric() || c == '_'));
            match first {
                true => c.to_uppercase().next().unwrap_or(c),
                false => c,
            }
        })
        .collect()
}

fn pad(args: &[Value]) -> Result<Value, String> {
    let count = |at: usize| match args.get(at) {
        Some(Value::Int(n)) => usize::try_from(*n).unwrap_or(0).min(10_000),
        _ => 0,
    };
    let s = string(args, 0);
    Ok(if s.is_empty() {
        s.into()
    } else {
        format!("{}{s}{}", " ".repeat(count(1)), " ".repeat(count(2))).into()
    })
}

fn truncate(args: &[Value]) -> Result<Value, String> {
    let s = string(args, 0);
    let limit = match args[1] {
        Value::Int(n) => usize::try_from(n).unwrap_or(0),
        _ => 0,
    };
    let mut end = s.len().min(limit);
    while !s.is_char_boundary(end) {
        end -= 1;
    }
    Ok(s[..end].into())
}
