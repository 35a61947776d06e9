//! Go's fmt: `Sprint`, `Sprintf` and their kin, for template values.

use super::quote::{quote, quote_ascii, quote_char};
use super::value::{Value, go_duration, rfc3339};

/// The default form (`%v`).
pub fn display(value: &Value) -> String {
    let mut printer = Printer::default();
    printer.value(value, 'v', 0);
    printer.out
}

/// `fmt.Sprint`: spaces between operands when neither is a string.
pub fn sprint(args: &[Value]) -> String {
    let mut out = String::new();
    for (i, arg) in args.iter().enumerate() {
        let strings = |v: &Value| matches!(v, Value::Str(_));
        if i > 0 && !strings(arg) && !strings(&args[i - 1]) {
            out.push(' ');
        }
        out.push_str(&display(arg));
    }
    out
}

/// `fmt.Sprintln`.
pub fn sprintln(args: &[Value]) -> String {
    args.iter().map(display).collect::<Vec<_>>().join(" ") + "\n"
}

/// `fmt.Sprintf`.
pub fn sprintf(format: &str, args: &[Value]) -> String {
    let mut printer = Printer::default();
    let mut rest = format;
    let mut state = Args { args, next: 0, reordered: false, good_index: true };
    while let Some(percent) = rest.find('%') {
        printer.out.push_str(&rest[..percent]);
        rest = printer.directive(&rest[percent + 1..], &mut state);
    }
    printer.out.push_str(rest);
    if !state.reordered && state.next < args.len() {
        printer.flags = Flags::default();
        printer.out.push_str("%!(EXTRA ");
        for (i, arg) in args[state.next..].iter().enumerate() {
            if i > 0 {
                printer.out.push_str(", ");
            }
            match arg.is_nil() {
                true => printer.out.push_str("<nil>"),
                false => {
                    printer.out.push_str(&arg.type_name());
                    printer.out.push('=');
                    printer.value(arg, 'v', 0);
                }
            }
        }
        printer.out.push(')');
    }
    printer.out
}

/// Widths and precisions beyond this are refused, as Go does.
const TOO_LARGE: i64 = 1_000_000;

struct Args<'a> {
    args: &'a [Value],
    next: usize,
    reordered: bool,
    good_index: bool,
}

impl Args<'_> {
    /// `[n]` in a directive.
    fn index<'f>(&mut self, rest: &'f str) -> &'f str {
        let Some(inner) = rest.strip_prefix('[') else { return rest };
        self.reordered = true;
        let Some(close) = inner.find(']') else {
            self.good_index = false;
            return inner;
        };
        match inner[..close].parse::<usize>() {
            Ok(n) if n >= 1 && n <= self.args.len() => self.next = n - 1,
            _ => self.good_index = false,
        }
        &inner[close + 1..]
    }

    /// The integer `*` stands for.
    fn star(&mut self) -> Option<i64> {
        let arg = self.args.get(self.next)?;
        self.next += 1;
        match arg {
            Value::Int(n) if n.abs() <= TOO_LARGE => Some(*n),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Flags {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%+v` and `%#v` move their flag here.
    plus_v: bool,
    sharp_v: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

#[derive(Default)]
struct Printer {
    out: String,
    flags: Flags,
}

fn leading_number(s: &str) -> (Option<usize>, &str) {
    let len = s.bytes().take_while(u8::is_ascii_digit).count();
    (s[..len].parse().ok().filter(|n| *n <= TOO_LARGE as usize), &s[len..])
}

impl Printer {
    /// One directive, from after its `%`; returns what follows it.
    fn directive<'f>(&mut self, mut rest: &'f str, state: &mut Args<'_>) -> &'f str {
        let mut flags = Flags::default();
        state.good_index = true;
        while let Some(c) = rest.chars().next() {
            match c {
                '#' => flags.sharp = true,
                '0' => flags.zero = !flags.minus,
                '+' => flags.plus = true,
                '-' => {
                    flags.minus = true;
                    flags.zero = false;
                }
                ' ' => flags.space = true,
                _ => break,
            }
            rest = &rest[1..];
        }
        rest = state.index(rest);
        if let Some(after) = rest.strip_prefix('*') {
            rest = after;
            match state.star() {
                Some(n) => {
                    flags.minus |= n < 0;
                    flags.zero &= n >= 0;
                    flags.width = usize::try_from(n.abs()).ok();
                }
                None => self.out.push_str("%!(BADWIDTH)"),
            }
        } else {
            (flags.width, rest) = leading_number(rest);
        }
        if let Some(after) = rest.strip_prefix('.') {
            rest = state.index(after);
            if let Some(after) = rest.strip_prefix('*') {
                rest = after;
                match state.star() {
                    Some(n) => flags.precision = usize::try_from(n).ok(),
                    None => self.out.push_str("%!(BADPREC)"),
                }
            } else {
                (flags.precision, rest) = leading_number(rest);
                flags.precision = flags.precision.or(Some(0));
            }
        }
        rest = state.index(rest);
        let Some(verb) = rest.chars().next() else {
            self.out.push_str("%!(NOVERB)");
            return rest;
        };
        rest = &rest[verb.len_utf8()..];
        match (verb, state.args.get(state.next)) {
            ('%', _) => self.out.push('%'),
            _ if !state.good_index => self.out.push_str(&format!("%!{verb}(BADINDEX)")),
            (_, None) => self.out.push_str(&format!("%!{verb}(MISSING)")),
            (_, Some(arg)) => {
                state.next += 1;
                if verb == 'v' {
                    flags.sharp_v = std::mem::take(&mut flags.sharp);
                    flags.plus_v = std::mem::take(&mut flags.plus);
                }
                self.flags = flags;
                match verb {
                    'T' => self.text(&arg.type_name(), 's'),
                    _ => self.value(arg, verb, 0),
                }
            }
        }
        rest
    }

    /// Any value under any verb.
    fn value(&mut self, value: &Value, verb: char, depth: usize) {
        match value {
            Value::Missing | Value::Nil | Value::NilPointer if verb == 'v' => self.pad("<nil>"),
            Value::Missing | Value::Nil | Value::NilPointer => self.out.push_str(&format!("%!{verb}(<nil>)")),
            Value::Bool(b) if matches!(verb, 'v' | 't') => self.pad(if *b { "true" } else { "false" }),
            Value::Int(i) => self.integer(i.unsigned_abs(), *i < 0, verb, value),
            Value::Uint(u) => self.integer(*u, false, verb, value),
            Value::Float(f) => self.float(*f, verb, value),
            Value::Complex(re, im) => {
                self.out.push('(');
                self.float(*re, if verb == 'v' { 'g' } else { verb }, value);
                let plus = std::mem::replace(&mut self.flags.plus, true);
                self.float(*im, if verb == 'v' { 'g' } else { verb }, value);
                self.flags.plus = plus;
                self.out.push_str("i)");
            }
            Value::Str(s) => match verb {
                'v' if self.flags.sharp_v => self.pad(&quote(s)),
                'v' | 's' | 'q' | 'x' | 'X' => self.text(s, if verb == 'v' { 's' } else { verb }),
                _ => self.bad(value, verb),
            },
            Value::Duration(nanos) => match verb {
                'v' | 's' | 'q' => self.text(&go_duration(*nanos), if verb == 'v' { 's' } else { verb }),
                _ => self.value(&Value::Uint(*nanos), verb, depth),
            },
            Value::Time(time) => self.text(&rfc3339(time), if verb == 'v' { 's' } else { verb }),
            Value::List(_) | Value::Map(_) | Value::Struct(_) => self.composite(value, verb, depth),
            Value::Bool(_) | Value::Method(_) => self.bad(value, verb),
        }
    }

    fn composite(&mut self, value: &Value, verb: char, depth: usize) {
        let go_syntax = self.flags.sharp_v;
        let separator = if go_syntax { ", " } else { " " };
        if go_syntax {
            self.out.push_str(&value.type_name());
        }
        match value {
            Value::List(list) => {
                self.out.push(if go_syntax { '{' } else { '[' });
                for (i, item) in list.items.iter().enumerate() {
                    if i > 0 {
                        self.out.push_str(separator);
                    }
                    self.value(item, verb, depth + 1);
                }
                self.out.push(if go_syntax { '}' } else { ']' });
            }
            Value::Map(map) => {
                self.out.push_str(if go_syntax { "{" } else { "map[" });
                for (i, (key, item)) in map.entries.iter().enumerate() {
                    if i > 0 {
                        self.out.push_str(separator);
                    }
                    self.value(&Value::Str(key.clone()), verb, depth + 1);
                    self.out.push(':');
                    self.value(item, verb, depth + 1);
                }
                self.out.push(if go_syntax { '}' } else { ']' });
            }
            Value::Struct(record) => {
                self.out.push('{');
                for (i, field) in record.fields.iter().filter(|f| !f.hidden).enumerate() {
                    if i > 0 {
                        self.out.push_str(separator);
                    }
                    if self.flags.plus_v || go_syntax {
                        self.out.push_str(field.name);
                        self.out.push(':');
                    }
                    self.value(&field.value, verb, depth + 1);
                }
                self.out.push('}');
            }
            _ => {}
        }
    }

    /// `%!d(string=x)`.
    fn bad(&mut self, value: &Value, verb: char) {
        let text = display(value);
        self.out.push_str(&format!("%!{verb}({}={text})", value.type_name()));
    }

    /// Pads to the width.
    fn pad(&mut self, text: &str) {
        let missing = self.flags.width.unwrap_or(0).saturating_sub(text.chars().count());
        if self.flags.minus {
            self.out.push_str(text);
            self.out.extend(std::iter::repeat_n(' ', missing));
        } else {
            let fill = if self.flags.zero { '0' } else { ' ' };
            self.out.extend(std::iter::repeat_n(fill, missing));
            self.out.push_str(text);
        }
    }

    fn text(&mut self, s: &str, verb: char) {
        match verb {
            'x' | 'X' => {
                let bytes = &s.as_bytes()[..self.flags.precision.unwrap_or(s.len()).min(s.len())];
                let mut hex = String::new();
                for (i, byte) in bytes.iter().enumerate() {
                    if self.flags.space && i > 0 {
                        hex.push(' ');
                    }
                    if self.flags.sharp && (i == 0 || self.flags.space) {
                        hex.push_str("0x");
                    }
                    hex.push_str(&format!("{byte:02x}"));
                }
                self.pad(&if verb == 'X' { hex.to_uppercase() } else { hex });
            }
            _ => {
                let cut: String = match self.flags.precision {
                    Some(n) => s.chars().take(n).collect(),
                    None => s.to_owned(),
                };
                if verb != 'q' {
                    return self.pad(&cut);
                }
                if self.flags.sharp
                    && !cut.contains('`')
                    && !cut.contains(|c: char| c.is_control() && c != '\t')
                {
                    return self.pad(&format!("`{cut}`"));
                }
                self.pad(&if self.flags.plus { quote_ascii(&cut) } else { quote(&cut) });
            }
        }
    }

    fn integer(&mut self, magnitude: u64, negative: bool, verb: char, value: &Value) {
        let (digits, prefix) = match verb {
            'v' | 'd' => (magnitude.to_string(), ""),
            'b' => (format!("{magnitude:b}"), if self.flags.sharp { "0b" } else { "" }),
            'o' => (format!("{magnitude:o}"), if self.flags.sharp { "0" } else { "" }),
            'O' => (format!("{magnitude:o}"), "0o"),
            'x' => (format!("{magnitude:x}"), if self.flags.sharp { "0x" } else { "" }),
            'X' => (format!("{magnitude:X}"), if self.flags.sharp { "0X" } else { "" }),
            'c' | 'q' | 'U' => {
                let c = u32::try_from(magnitude).ok().and_then(char::from_u32).unwrap_or('\u{FFFD}');
                return match verb {
                    'c' => self.pad(&c.to_string()),
                    'q' => self.pad(&quote_char(c)),
                    _ if self.flags.sharp => self.pad(&format!("U+{magnitude:04X} '{c}'")),
                    _ => self.pad(&format!("U+{magnitude:04X}")),
                };
            }
            _ => return self.bad(value, verb),
        };
        let sign = match (negative, self.flags.plus, self.flags.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        let mut wanted = self.flags.precision.unwrap_or(0);
        if self.flags.precision.is_none() && self.flags.zero {
            wanted = self.flags.width.unwrap_or(0).saturating_sub(sign.len());
        }
        if self.flags.precision == Some(0) && magnitude == 0 {
            return self.padded(String::new());
        }
        let zeros = "0".repeat(wanted.saturating_sub(digits.len()));
        self.padded(format!("{sign}{prefix}{zeros}{digits}"));
    }

    /// [`Self::pad`] with spaces, whatever the zero flag says.
    fn padded(&mut self, text: String) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(&text);
        self.flags.zero = zero;
    }

    fn float(&mut self, f: f64, verb: char, value: &Value) {
        let precision = self.flags.precision;
        let mut text = match verb {
            'v' | 'g' | 'G' => general(f, precision),
            'e' | 'E' => exponent(f, precision.unwrap_or(6)),
            'f' | 'F' => format!("{f:.*}", precision.unwrap_or(6)),
            _ => return self.bad(value, verb),
        };
        if f.is_infinite() {
            text = if f > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
        } else if f.is_nan() {
            text = "NaN".to_owned();
        } else if !text.starts_with('-') {
            if self.flags.plus {
                text.insert(0, '+');
            } else if self.flags.space {
                text.insert(0, ' ');
            }
        }
        if verb.is_ascii_uppercase() {
            text = text.to_uppercase();
        }
        let signed = text.starts_with(['+', '-', ' ']);
        if self.flags.zero && f.is_finite() && signed {
            let width = self.flags.width.unwrap_or(0);
            let zeros = "0".repeat(width.saturating_sub(text.len()));
            text.insert_str(1, &zeros);
        }
        if f.is_finite() { self.pad(&text) } else { self.padded(text) }
    }
}

/// `%e`: mantissa with `digits` digits after the point, exponent of at least two digits.
fn exponent(f: f64, digits: usize) -> String {
    let text = format!("{f:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// `%g`: the shortest form that reads back, in exponent form from 10^6 on, or `precision` significant digits.
pub(super) fn general(f: f64, precision: Option<usize>) -> String {
    if !f.is_finite() {
        return String::new();
    }
    let text = match precision {
        None => format!("{f:e}"),
        Some(digits) => format!("{f:.*e}", digits.max(1) - 1),
    };
    let (mantissa, exp) = text.split_once('e').unwrap_or((&text, "0"));
    let exp: i32 = exp.parse().unwrap_or(0);
    let negative = mantissa.starts_with('-');
    let mut digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if precision.is_some() {
        digits = digits.trim_end_matches('0').to_owned();
        if digits.is_empty() {
            digits.push('0');
        }
    }
    let significant = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let limit = precision.map_or(6, |digits| i32::try_from(digits.max(1)).unwrap_or(i32::MAX));
    let body = if exp < -4 || exp >= limit {
        let fraction = if digits.len() > 1 { format!(".{}", &digits[1..]) } else { String::new() };
        format!("{}{fraction}e{}{:02}", &digits[..1], if exp < 0 { '-' } else { '+' }, exp.abs())
    } else if exp < 0 {
        format!("0.{}{digits}", "0".repeat(usize::try_from(-exp - 1).unwrap_or(0)))
    } else if significant <= exp + 1 {
        format!("{digits}{}", "0".repeat(usize::try_from(exp + 1 - significant).unwrap_or(0)))
    } else {
        let point = usize::try_from(exp + 1).unwrap_or(1);
        format!("{}.{}", &digits[..point], &digits[point..])
    };
    if negative { format!("-{body}") } else { body }
}
