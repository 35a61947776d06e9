//! Words of Dockerfile instructions: quotes, escapes and variables, as docker's builder reads them
//! (BuildKit `frontend/dockerfile/shell`). Pure.

use crate::engine::{Error, Result};

/// Splits at white space outside of quotes; the words keep their quotes and escapes.
pub fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', q) if q != Some('\'') => {
                word.push(c);
                word.extend(chars.next());
            }
            ('\'' | '"', None) => {
                quote = Some(c);
                word.push(c);
            }
            (c, Some(q)) if c == q => {
                quote = None;
                word.push(c);
            }
            (c, None) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            (c, _) => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// The word without its quotes and escapes, `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME-word}`, `${NAME:+word}` and
/// `${NAME+word}` replaced; `lookup` tells a variable's value. A quote without an end is an error, and so is any other
/// `${…}`.
pub fn expand(word: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let mut input = Input { chars: word.chars().collect(), at: 0, whole: word, lookup };
    input.until(None)
}

struct Input<'a> {
    chars: Vec<char>,
    at: usize,
    whole: &'a str,
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Input<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += 1;
        c
    }

    fn bad(&self, what: &str) -> Error {
        Error::invalid(format!("{what} in {:?}", self.whole))
    }

    /// Up to `end`, which is taken, or to the end of the word.
    fn until(&mut self, end: Option<char>) -> Result<String> {
        let mut out = String::new();
        while let Some(c) = self.next() {
            match c {
                c if Some(c) == end => return Ok(out),
                '\'' => self.single(&mut out)?,
                '"' => self.double(&mut out)?,
                '$' => self.dollar(&mut out)?,
                '\\' => match self.next() {
                    Some(c) => out.push(c),
                    None => out.push('\\'),
                },
                c => out.push(c),
            }
        }
        if end.is_some() { Err(self.bad("a variable without its closing brace")) } else { Ok(out) }
    }

    fn single(&mut self, out: &mut String) -> Result<()> {
        loop {
            match self.next() {
                Some('\'') => return Ok(()),
                Some(c) => out.push(c),
                None => return Err(self.bad("a quote without its end")),
            }
        }
    }

    fn double(&mut self, out: &mut String) -> Result<()> {
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('$') => self.dollar(out)?,
                Some('\\') => match self.next() {
                    Some(c @ ('"' | '$' | '\\')) => out.push(c),
                    Some(c) => out.extend(['\\', c]),
                    None => return Err(self.bad("a quote without its end")),
                },
                Some(c) => out.push(c),
                None => return Err(self.bad("a quote without its end")),
            }
        }
    }

    fn dollar(&mut self, out: &mut String) -> Result<()> {
        if self.peek() != Some('{') {
            let name = self.name();
            // A lone dollar is one.
            if name.is_empty() {
                out.push('$');
            }
            out.push_str(&self.value(&name).unwrap_or_default());
            return Ok(());
        }
        self.next();
        let name = self.name();
        if name.is_empty() {
            return Err(self.bad("a variable without a name"));
        }
        let value = self.value(&name);
        let (value, modifier) = match self.next() {
            Some('}') => {
                out.push_str(&value.unwrap_or_default());
                return Ok(());
            }
            // With a colon an empty variable counts as none.
            Some(':') => (value.filter(|value| !value.is_empty()), self.next()),
            other => (value, other),
        };
        let word = match modifier {
            Some('-' | '+') => self.until(Some('}'))?,
            _ => return Err(self.bad("an unsupported modifier")),
        };
        match (modifier, value) {
            (Some('-'), None) | (Some('+'), Some(_)) => out.push_str(&word),
            (Some('-'), Some(value)) => out.push_str(&value),
            _ => {}
        }
        Ok(())
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            let first = name.is_empty() && c.is_ascii_digit();
            if !c.is_ascii_alphanumeric() && c != '_' || first {
                break;
            }
            name.push(c);
            self.at += 1;
        }
        name
    }

    fn value(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_quotes() {
        for (text, words) in [
            ("a b", &["a", "b"][..]),
            ("  a\tb  ", &["a", "b"]),
            (r#"a="x y" b='c d'"#, &[r#"a="x y""#, "b='c d'"]),
            (r"a=x\ y b", &[r"a=x\ y", "b"]),
            (r#""a\" b" c"#, &[r#""a\" b""#, "c"]),
            ("", &[]),
        ] {
            assert_eq!(split(text), words, "{text}");
        }
    }

    #[test]
    fn variables_are_replaced_as_dockers_builder_does() {
        let lookup = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "E" => Some(String::new()),
            _ => None,
        };
        for (word, expected) in [
            ("$A", "one"),
            ("x${A}y", "xoney"),
            ("$N-", "-"),
            ("'$A'", "$A"),
            (r"\$A", "$A"),
            (r#""$A b\"c\n""#, r#"one b"c\n"#),
            ("${A:-d}${N:-d}${E:-d}${E-d}", "oneddd".strip_suffix('d').unwrap()),
            ("${A:+set}${N:+set}${E:+set}${E+set}", "setset"),
            ("${N:-${A}s}", "ones"),
            ("a$", "a$"),
            ("$1", "$1"),
        ] {
            assert_eq!(expand(word, &lookup).unwrap(), expected, "{word}");
        }
        for bad in ["'a", "\"a", "${A", "${}", "${A?x}", "${N:-x"] {
            assert!(expand(bad, &lookup).is_err(), "{bad}");
        }
    }
}
