//! An object of a record's JSON that is kept as its text until somebody looks into it.
//!
//! An image's record is for the most part the sizes and digests of its big data, which listings add up or do not need:
//! reading them into maps takes as long as all the rest of images.json.

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// A map with string keys, as JSON text. What is no such map reads as an empty one.
#[derive(Clone, Debug)]
pub struct Table<T> {
    /// `None`: empty.
    text: Option<Box<RawValue>>,
    values: PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.text.is_none()
    }

    /// The map.
    pub fn entries(&self) -> BTreeMap<String, T> {
        self.read().unwrap_or_default()
    }

    /// Adds or replaces an entry.
    pub fn insert(&mut self, key: &str, value: T) {
        let mut entries = self.entries();
        entries.insert(key.to_owned(), value);
        self.text = serde_json::value::to_raw_value(&entries).ok();
    }

    fn read<M: DeserializeOwned>(&self) -> Option<M> {
        self.text.as_ref().and_then(|text| serde_json::from_str(text.get()).ok())
    }
}

impl Table<i64> {
    /// The sum of its values; a negative one (upstream's "unknown") counts nothing.
    pub fn total(&self) -> u64 {
        self.read().map_or(0, |Total(sum)| sum)
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { text: None, values: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned + PartialEq> PartialEq for Table<T> {
    fn eq(&self, other: &Self) -> bool {
        self.entries() == other.entries()
    }
}

impl<T: Serialize + DeserializeOwned> Serialize for Table<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries().serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let empty = matches!(text.get(), "null" | "{}");
        Ok(Self { text: (!empty).then_some(text), values: PhantomData })
    }
}

struct Total(u64);

impl<'de> Deserialize<'de> for Total {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Adder;
        impl<'de> Visitor<'de> for Adder {
            type Value = Total;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of numbers")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Total, A::Error> {
                let mut sum = 0u64;
                while let Some((_, value)) = map.next_entry::<IgnoredAny, i64>()? {
                    sum = sum.saturating_add(u64::try_from(value).unwrap_or(0));
                }
                Ok(Total(sum))
            }
        }
        deserializer.deserialize_map(Adder)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_the_map_it_was_read_from() {
        let cases = [
            ("{\"b\":2,\"a\":1}", vec![("a", 1), ("b", 2)], 3),
            ("{\"a\":-1,\"\\u0062\":5}", vec![("a", -1), ("b", 5)], 5),
            ("{}", vec![], 0),
            ("null", vec![], 0),
            ("[1]", vec![], 0),
            ("{\"a\":\"x\"}", vec![], 0),
        ];
        for (text, entries, total) in cases {
            let table: Table<i64> = serde_json::from_str(text).unwrap();
            let entries: BTreeMap<_, _> = entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
            assert_eq!((table.entries(), table.total()), (entries, total), "{text}");
            assert_eq!(table.is_empty(), matches!(text, "{}" | "null"), "{text}");
        }
    }

    #[test]
    fn entries_are_added_and_written_in_order() {
        let mut table = Table::default();
        table.insert("b", 1);
        table.insert("a", 2);
        table.insert("b", 3);
        assert_eq!(serde_json::to_string(&table).unwrap(), "{\"a\":2,\"b\":3}");
    }
}
