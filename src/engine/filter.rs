//! What all `--filter KEY=VALUE` options have in common. Values of one key are alternatives (labels all have to match),
//! different keys all have to hold (docker/cli `opts/filter.go`: keys are trimmed and of lower case). Pure: no I/O.

use super::{Error, Result, moment};
use jiff::Timestamp;
use regex::Regex;
use std::collections::BTreeMap;

/// Filters as given, by key; every key exists.
#[derive(Clone, Debug, Default)]
pub struct Given(BTreeMap<String, Vec<String>>);

impl Given {
    /// Sorts `KEY=VALUE` words by key. `label!=x` has the key `label!`. `check` sees each key and value, and gives a
    /// hint if the key cannot have the value.
    ///
    /// # Errors
    /// A word without `=`, a key that is not in `keys`, a time (`until`) that cannot be read, and what `check` has a
    /// hint for.
    pub fn parse(
        words: &[String],
        keys: &[&str],
        check: impl Fn(&str, &str) -> Option<String>,
    ) -> Result<Self> {
        let mut given = Self::default();
        for word in words {
            let invalid = || Error::invalid(format!("invalid filter {word:?}"));
            let (key, value) =
                word.split_once('=').ok_or_else(|| invalid().with_hint("filters are KEY=VALUE"))?;
            let key = key.trim().to_ascii_lowercase();
            known(&key, keys)?;
            if let Some(hint) = check(&key, value) {
                return Err(invalid().with_hint(hint));
            }
            if key == "until" {
                moment::until(value)?;
            }
            given.push(&key, value);
        }
        Ok(given)
    }

    /// One more value.
    pub fn push(&mut self, key: &str, value: &str) {
        self.0.entry(key.to_owned()).or_default().push(value.to_owned());
    }

    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a filter of this key.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The values of one key.
    pub fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Each key with its values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(key, values)| (key.as_str(), values.as_slice()))
    }

    /// Whether no key but these is given.
    ///
    /// # Errors
    /// Names one that is.
    pub fn only(&self, keys: &[&str]) -> Result<()> {
        self.0.keys().try_for_each(|key| known(key, keys))
    }

    /// The values of `name` as patterns.
    ///
    /// # Errors
    /// One is no regular expression.
    pub fn names(&self) -> Result<Vec<Regex>> {
        self.values("name").iter().map(|value| pattern("name", value, value)).collect()
    }

    /// The earliest `until`: what passes is older than all of them.
    ///
    /// # Errors
    /// None after [`Given::parse`].
    pub fn until(&self) -> Result<Option<Timestamp>> {
        let times = self.values("until").iter().map(|value| moment::until(value));
        Ok(times.collect::<Result<Vec<_>>>()?.into_iter().min())
    }
}

fn known(key: &str, keys: &[&str]) -> Result<()> {
    if keys.contains(&key) {
        return Ok(());
    }
    Err(Error::invalid(format!("invalid filter {key:?}")).with_hint(format!("one of {}", keys.join(", "))))
}

/// The pattern that a filter's value stands for.
///
/// # Errors
/// It is no regular expression.
pub fn pattern(key: &str, value: &str, pattern: &str) -> Result<Regex> {
    let invalid = |e| Error::invalid(format!("invalid filter \"{key}={value}\"")).with_source(e);
    Regex::new(pattern).map_err(invalid)
}

/// `true`, `t`, `1`, `false`, `f` or `0`, in any case.
pub fn truth(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Some(true),
        "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// For a check of [`Given::parse`]: a hint, if the value is not one of these.
pub fn one_of(value: &str, allowed: &[&str]) -> Option<String> {
    (!allowed.contains(&value)).then(|| format!("one of {}", allowed.join(", ")))
}

/// For a check of [`Given::parse`]: a hint, if the value is neither true nor false.
pub fn is_truth(value: &str) -> Option<String> {
    truth(value).is_none().then(|| "one of true, false, 1, 0".to_owned())
}

/// Whether there is a label (or option) `KEY`, or `KEY=VALUE`.
pub fn has(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|v| v == value),
        None => labels.contains_key(wanted),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Given> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Given::parse(&words, &["label", "label!", "name", "until", "dangling"], |key, value| match key {
            "dangling" => is_truth(value),
            _ => None,
        })
    }

    #[test]
    fn words_are_sorted_by_key() {
        let given = parse(&["label=a=b", "Label =c", "label!=d", "name=^x", "name=y"]).unwrap();
        assert_eq!(given.values("label"), ["a=b", "c"]);
        assert_eq!(given.values("label!"), ["d"]);
        assert_eq!(given.names().unwrap().len(), 2);
        assert!(given.has("name") && !given.has("until") && !given.is_empty());
        given.only(&["label", "label!", "name"]).unwrap();
        assert!(given.only(&["label"]).is_err());
    }

    #[test]
    fn of_several_times_the_earliest_counts() {
        let given = parse(&["until=2021-01-01T00:00:00Z", "until=2020-01-01T00:00:00Z"]).unwrap();
        assert_eq!(given.until().unwrap(), Some("2020-01-01T00:00:00Z".parse().unwrap()));
        assert_eq!(parse(&[]).unwrap().until().unwrap(), None);
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for bad in ["name", "colour=red", "until=soon", "dangling=maybe"] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
        assert!(parse(&["name=["]).unwrap().names().is_err());
        assert_eq!((truth("T"), truth("0"), truth("x")), (Some(true), Some(false), None));
    }

    #[test]
    fn labels_match_by_key_or_by_both() {
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        assert!(has(&labels, "a") && has(&labels, "a=b"));
        assert!(!has(&labels, "a=c") && !has(&labels, "b"));
    }
}
