//! JSON objects read as strictly as containers/image reads them where trust is at stake: a key that is unknown, missing
//! or there twice is an error (its `signature/internal/json.go`). Pure.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::engine::{Error, Result};

/// An object whose keys are taken out one after the other.
#[derive(Debug)]
pub struct Object<'a> {
    /// What it is, for messages.
    what: String,
    entries: Vec<(String, &'a RawValue)>,
}

struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries: Vec<(String, &'de RawValue)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if entries.iter().any(|(other, _)| *other == key) {
                        return Err(serde::de::Error::custom(format_args!("duplicate key {key:?}")));
                    }
                    entries.push((key, value));
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Collect).map(Entries)
    }
}

impl<'a> Object<'a> {
    /// Reads an object. `what` it is begins every message: a file, and the way to the object in it.
    pub fn parse(text: &'a str, what: impl Into<String>) -> Result<Self> {
        let what = what.into();
        let Entries(entries) = value(text, &what)?;
        Ok(Self { what, entries })
    }

    /// What a key of it is called in messages.
    pub fn name(&self, key: &str) -> String {
        let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if plain { format!("{}.{key}", self.what) } else { format!("{}[{key:?}]", self.what) }
    }

    /// Takes a value as it stands there.
    pub fn raw(&mut self, key: &str) -> Option<&'a str> {
        let at = self.entries.iter().position(|(other, _)| other == key)?;
        Some(self.entries.remove(at).1.get())
    }

    /// Takes a value; `None`: there is no such key.
    pub fn optional<T: Deserialize<'a>>(&mut self, key: &str) -> Result<Option<T>> {
        self.raw(key).map(|text| value(text, &self.name(key))).transpose()
    }

    /// Takes a value that has to be there.
    pub fn required<T: Deserialize<'a>>(&mut self, key: &str) -> Result<T> {
        match self.raw(key) {
            Some(text) => value(text, &self.name(key)),
            None => Err(Error::invalid(format!("{}: the key {key:?} is missing", self.what))),
        }
    }

    /// [`Object::required`] of an object.
    pub fn object(&mut self, key: &str) -> Result<Object<'a>> {
        match self.raw(key) {
            Some(text) => Object::parse(text, self.name(key)),
            None => Err(Error::invalid(format!("{}: the key {key:?} is missing", self.what))),
        }
    }

    /// Every key that is left, with its value.
    pub fn rest(self) -> impl Iterator<Item = (String, &'a str)> {
        self.entries.into_iter().map(|(key, value)| (key, value.get()))
    }

    /// Fails if there are keys that nobody took.
    pub fn end(self) -> Result<()> {
        match self.entries.first() {
            None => Ok(()),
            Some((key, _)) => Err(Error::invalid(format!("{}: unknown key {key:?}", self.what))),
        }
    }
}

/// Parses a value that is `what`.
pub fn value<'a, T: Deserialize<'a>>(text: &'a str, what: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| {
        let text = e.to_string();
        // Lines are counted from the beginning of the value, which nobody sees.
        let text = text.split(" at line ").next().unwrap_or_default();
        Error::invalid(format!("{what}: {text}"))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_present_and_there_once() {
        let mut object = Object::parse(r#" {"a": 1, "b": {"c": []}} "#, "f").unwrap();
        assert_eq!(object.required::<u8>("a").unwrap(), 1);
        assert_eq!(object.optional::<u8>("a").unwrap(), None);
        object.object("b").unwrap().required::<Vec<u8>>("c").unwrap();
        object.end().unwrap();
        for (text, want) in [
            (r#"{"a": 1, "a": 1}"#, "f: duplicate key \"a\""),
            (r#"{"a": "x"}"#, "f.a: invalid type: string \"x\", expected u8"),
            ("{}", "f: the key \"a\" is missing"),
            (r#"{"a": 1, "x/y": 2}"#, "f: unknown key \"x/y\""),
            ("[]", "f: invalid type: sequence, expected a JSON object"),
            ("{} {}", "f: trailing characters"),
        ] {
            let read = || -> Result<()> {
                let mut object = Object::parse(text, "f")?;
                object.required::<u8>("a")?;
                object.end()
            };
            assert_eq!(read().unwrap_err().to_string(), want, "{text}");
        }
    }
}
