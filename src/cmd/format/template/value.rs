//! What templates compute with: values that behave as Go's do under reflection.

use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

/// A value a template sees.
#[derive(Clone, Debug)]
pub enum Value {
    /// No value at all: a missing key of a map. Prints `<no value>`.
    Missing,
    /// JSON null: an empty interface.
    Nil,
    /// A pointer that is nil, or an optional field that was left out.
    NilPointer,
    /// A boolean.
    Bool(bool),
    /// Any signed integer.
    Int(i64),
    /// An integer beyond `i64`.
    Uint(u64),
    /// A floating-point number.
    Float(f64),
    /// A complex number; only literals are.
    Complex(f64, f64),
    /// A string.
    Str(Rc<str>),
    /// A slice.
    List(Rc<List>),
    /// A map with string keys.
    Map(Rc<Map>),
    /// A struct: fields in order; an unknown one is an error.
    Struct(Rc<Struct>),
    /// An instant: prints as docker does (RFC 3339), has podman's methods.
    Time(Timestamp),
    /// Nanoseconds that print as Go's `time.Duration` (`1m30s`) and are a number in JSON.
    Duration(u64),
    /// A method: called with what follows its name.
    Method(Method),
}

/// A slice and whether its elements are interfaces (as decoded JSON is).
#[derive(Debug, Default)]
pub struct List {
    /// Elements are of type `interface {}`.
    pub any: bool,
    /// The elements.
    pub items: Vec<Value>,
    /// Go's nil: empty everywhere, and `null` in JSON.
    pub nil: bool,
}

/// A map with string keys; iterated in the keys' order.
#[derive(Debug, Default)]
pub struct Map {
    /// What its values are.
    pub element: Element,
    /// The entries.
    pub entries: BTreeMap<Rc<str>, Value>,
    /// Go's nil: empty everywhere, and `null` in JSON.
    pub nil: bool,
}

/// What a map's values are: decides what `index` gives for a key that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Element {
    /// `interface {}`: no value.
    Any,
    /// Strings: the empty one.
    #[default]
    Str,
    /// Anything else: nil.
    Other,
}

/// A struct's type name, its fields in declaration order, its methods.
#[derive(Debug, Default)]
pub struct Struct {
    /// Type name for messages: `can't evaluate field X in type *Name`.
    pub name: &'static str,
    /// Fields in order.
    pub fields: Vec<Field>,
}

/// A field, or a method when its value is [`Value::Method`].
#[derive(Clone, Debug)]
pub struct Field {
    /// As templates and JSON write it.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
    /// Kept out of `json` and of the printed struct (omitempty, methods).
    pub hidden: bool,
}

/// What a method does: arguments in, value or Go's error text out.
pub type MethodFn = dyn Fn(&[Value]) -> Result<Value, String>;

/// A callable field.
#[derive(Clone)]
pub struct Method(pub Rc<MethodFn>);

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Method")
    }
}

impl Value {
    /// A list of strings.
    pub fn strings<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> Value {
        let items = items.into_iter().map(|s| Value::from(s.as_ref())).collect();
        Value::List(Rc::new(List { any: false, items, nil: false }))
    }

    /// A map from strings to strings.
    pub fn string_map<'a>(entries: impl IntoIterator<Item = (&'a String, &'a String)>) -> Value {
        let entries =
            entries.into_iter().map(|(k, v)| (Rc::from(k.as_str()), Value::from(v.as_str()))).collect();
        Value::Map(Rc::new(Map { element: Element::Str, entries, nil: false }))
    }

    /// One struct with the fields of several, in their order.
    pub fn joined(name: &'static str, parts: impl IntoIterator<Item = Value>) -> Value {
        let mut fields = Vec::new();
        for part in parts {
            if let Value::Struct(part) = part {
                fields.extend(part.fields.iter().cloned());
            }
        }
        Value::Struct(Rc::new(Struct { name, fields }))
    }

    /// A method.
    pub fn method(f: impl Fn(&[Value]) -> Result<Value, String> + 'static) -> Value {
        Value::Method(Method(Rc::new(f)))
    }

    /// Neither a value nor something a pointer points at.
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Missing | Value::Nil | Value::NilPointer)
    }

    /// Go's truth: not the zero value, not empty.
    pub fn truth(&self) -> bool {
        match self {
            Value::Missing | Value::Nil | Value::NilPointer => false,
            Value::Bool(b) => *b,
            Value::Int(i) => *i != 0,
            Value::Uint(u) => *u != 0,
            Value::Float(f) => *f != 0.0,
            Value::Complex(re, im) => *re != 0.0 || *im != 0.0,
            Value::Str(s) => !s.is_empty(),
            Value::List(l) => !l.items.is_empty(),
            Value::Map(m) => !m.entries.is_empty(),
            Value::Duration(nanos) => *nanos != 0,
            Value::Struct(_) | Value::Time(_) | Value::Method(_) => true,
        }
    }

    /// The name of its Go type.
    pub fn type_name(&self) -> String {
        match self {
            Value::Missing | Value::Nil => "<nil>".to_owned(),
            Value::NilPointer => "pointer".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Int(_) => "int".to_owned(),
            Value::Uint(_) => "uint64".to_owned(),
            Value::Float(_) => "float64".to_owned(),
            Value::Complex(..) => "complex128".to_owned(),
            Value::Str(_) => "string".to_owned(),
            Value::List(l) if l.any => "[]interface {}".to_owned(),
            Value::List(l) => format!("[]{}", l.items.first().map_or("string".to_owned(), Value::type_name)),
            Value::Map(m) => match m.element {
                Element::Any => "map[string]interface {}".to_owned(),
                Element::Str => "map[string]string".to_owned(),
                Element::Other => {
                    let element =
                        m.entries.values().next().map_or("interface {}".to_owned(), Value::type_name);
                    format!("map[string]{element}")
                }
            },
            Value::Struct(s) => s.name.to_owned(),
            Value::Time(_) => "time.Time".to_owned(),
            Value::Duration(_) => "time.Duration".to_owned(),
            Value::Method(_) => "func".to_owned(),
        }
    }

    /// A field of a struct that nobody else has yet, or an entry of such a map.
    pub fn field_mut(&mut self, name: &str) -> Option<&mut Value> {
        match self {
            Value::Struct(of) => {
                Rc::get_mut(of)?.fields.iter_mut().find(|f| f.name == name).map(|f| &mut f.value)
            }
            Value::Map(of) => Rc::get_mut(of)?.entries.get_mut(name),
            _ => None,
        }
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }
}

/// Fields of podman's whose names in Go are others than in JSON (libpod/define/info.go, container_inspect.go).
const GO_NAMES: [(&str, &str); 5] = [
    ("CgroupsVersion", "cgroupVersion"),
    ("DefaultCapabilities", "capabilities"),
    ("HealthMaxLogCount", "HealthcheckMaxLogCount"),
    ("HealthMaxLogSize", "HealthcheckMaxLogSize"),
    ("Healthcheck", "Health"),
];

impl Struct {
    /// A field by name. Go's field names and the JSON ones differ in case now and then (`.ID` and `Id`, `.Host` and
    /// `host`): either is found.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let exact = |name: &str| self.fields.iter().find(|f| f.name == name);
        let of_go = || exact(GO_NAMES.iter().find(|(go, _)| *go == name)?.1);
        let found = exact(name).or_else(of_go);
        found.or_else(|| self.fields.iter().find(|f| f.name.eq_ignore_ascii_case(name))).map(|f| &f.value)
    }
}

/// Nanoseconds as Go's `Duration.String` writes them: `1h1m0.5s`, `300ms`, `0s`.
pub fn go_duration(nanos: u64) -> String {
    let small = |unit: u64, name: &str| format!("{}{name}", nanos as f64 / unit as f64);
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => small(1_000, "µs"),
        1_000_000..1_000_000_000 => small(1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = format!("{}.{:09}", rest / 1_000_000_000, rest % 1_000_000_000);
            let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// RFC 3339 with as many fractional digits as there are (Go's RFC3339Nano).
pub fn rfc3339(time: &Timestamp) -> String {
    if time.as_nanosecond() == GO_ZERO_NANOSECONDS {
        return "0001-01-01T00:00:00Z".to_owned();
    }
    time.to_string()
}

/// Go's zero time, 0001-01-01T00:00:00Z, in nanoseconds from the epoch.
pub const GO_ZERO_NANOSECONDS: i128 = -62_135_596_800 * 1_000_000_000;

/// A method of `time.Time`, as podman's templates use them (`.Created.Unix`, `.Created.Format "…"`).
pub(super) fn time_method(time: Timestamp, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let utc = || time.to_zoned(jiff::tz::TimeZone::UTC);
    Some(Ok(match name {
        "Unix" => Value::Int(time.as_second()),
        "UnixMilli" => Value::Int(time.as_millisecond()),
        "UnixMicro" => Value::Int(time.as_microsecond()),
        "UnixNano" => Value::Int(i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)),
        "Nanosecond" => Value::Int(i64::from(time.subsec_nanosecond())),
        "Year" => Value::Int(i64::from(utc().year())),
        "Month" => Value::from(MONTHS[usize::from(utc().month() as u8 - 1)]),
        "Day" => Value::Int(i64::from(utc().day())),
        "Hour" => Value::Int(i64::from(utc().hour())),
        "Minute" => Value::Int(i64::from(utc().minute())),
        "Second" => Value::Int(i64::from(utc().second())),
        "YearDay" => Value::Int(i64::from(utc().day_of_year())),
        "IsZero" => Value::Bool(time.as_nanosecond() == GO_ZERO_NANOSECONDS),
        "UTC" | "Local" => Value::Time(time),
        "String" => Value::from(go_string(&time)),
        "Format" => match args {
            [Value::Str(layout)] => Value::from(go_format(&time, layout)),
            _ => return Some(Err(format!("wrong number of args for Format: want 1 got {}", args.len()))),
        },
        _ => return None,
    }))
}

/// Go's `Time.String` in UTC: `2006-01-02 15:04:05.999999999 +0000 UTC`.
pub fn go_string(time: &Timestamp) -> String {
    let text = rfc3339(time);
    let text = text.trim_end_matches('Z').replacen('T', " ", 1);
    format!("{text} +0000 UTC")
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Go's reference-time layouts, in UTC.
fn go_format(time: &Timestamp, layout: &str) -> String {
    const ELEMENTS: [(&str, &str); 22] = [
        ("2006", "%Y"),
        ("January", "%B"),
        ("Jan", "%b"),
        ("Monday", "%A"),
        ("Mon", "%a"),
        ("MST", "UTC"),
        ("Z07:00", "Z"),
        ("Z0700", "Z"),
        ("-07:00", "+00:00"),
        ("-0700", "+0000"),
        ("002", "%j"),
        ("01", "%m"),
        ("02", "%d"),
        ("03", "%I"),
        ("04", "%M"),
        ("05", "%S"),
        ("06", "%y"),
        ("15", "%H"),
        ("PM", "%p"),
        ("_2", "%e"),
        ("1", "%-m"),
        ("2", "%-d"),
    ];
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC);
    let mut out = String::new();
    let mut rest = layout;
    'next: while let Some(c) = rest.chars().next() {
        if c == '.' && rest[1..].starts_with(['0', '9']) {
            let digit = if rest[1..].starts_with('0') { '0' } else { '9' };
            let width = rest[1..].chars().take_while(|c| *c == digit).count();
            let nanos = format!("{:09}", zoned.subsec_nanosecond());
            let kept = &nanos[..width.min(9)];
            let kept = if digit == '9' { kept.trim_end_matches('0') } else { kept };
            if !kept.is_empty() {
                out.push('.');
                out.push_str(kept);
            }
            rest = &rest[1 + width..];
            continue;
        }
        for (element, directive) in ELEMENTS {
            if let Some(after) = rest.strip_prefix(element) {
                match jiff::fmt::strtime::format(directive, &zoned) {
                    Ok(text) => out.push_str(&text),
                    Err(_) => out.push_str(element),
                }
                rest = after;
                continue 'next;
            }
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Value::Str(Rc::from(s))
    }
}

impl From<String> for Value {
    fn from(s: String) -> Self {
        Value::Str(Rc::from(s))
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Value::Bool(b)
    }
}

impl From<i64> for Value {
    fn from(i: i64) -> Self {
        Value::Int(i)
    }
}

impl From<u64> for Value {
    fn from(u: u64) -> Self {
        i64::try_from(u).map_or(Value::Uint(u), Value::Int)
    }
}

impl From<Vec<String>> for Value {
    fn from(items: Vec<String>) -> Self {
        Value::strings(items)
    }
}

/// Decoded JSON: objects are maps, every element an interface.
impl From<&serde_json::Value> for Value {
    fn from(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Value::Nil,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(i), _) => Value::Int(i),
                (None, Some(u)) => Value::Uint(u),
                _ => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(s) => Value::from(s.as_str()),
            Json::Array(items) => Value::List(Rc::new(List {
                any: true,
                items: items.iter().map(Value::from).collect(),
                nil: false,
            })),
            Json::Object(entries) => Value::Map(Rc::new(Map {
                nil: false,
                element: Element::Any,
                entries: entries.iter().map(|(k, v)| (Rc::from(k.as_str()), Value::from(v))).collect(),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_in_go() {
        for (nanos, text) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (300_000_000, "300ms"),
            (30_000_000_000, "30s"),
            (90_000_000_000, "1m30s"),
            (60_000_000_000, "1m0s"),
            (3_660_500_000_000, "1h1m0.5s"),
        ] {
            assert_eq!(go_duration(nanos), text);
        }
    }
}
