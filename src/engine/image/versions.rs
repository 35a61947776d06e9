//! Ranges of semantic versions, in the words of `images-by-semver` (github.com/Masterminds/semver: comparisons joined by
//! commas or spaces, alternatives by `||`). Pure.

use crate::engine::{Error, Result};

/// Alternatives of comparisons that must all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions(Vec<Vec<Comparison>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Comparison {
    operator: Operator,
    /// As many numbers as were given: `1.2` has two, `1.x` one.
    given: usize,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    Unequal,
    Above,
    AtLeast,
    Below,
    AtMost,
    /// `~1.2.3`: the same minor version, at least.
    Tilde,
    /// `^1.2.3`: nothing before the first number that is not 0 changes.
    Caret,
}

/// Numbers, and what follows `-`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Version {
    numbers: [u64; 3],
    pre: String,
}

impl Versions {
    /// Reads a range such as `>= 3.12.0, < 4 || ~2.1`.
    ///
    /// # Errors
    /// `Invalid` for any other text.
    pub fn parse(text: &str) -> Result<Self> {
        text.split("||").map(all_of).collect::<Result<_>>().map(Self)
    }

    /// Whether a tag is a version in the range. One before a release is only if the range names such a one.
    pub fn include(&self, tag: &str) -> bool {
        let Some((version, _)) = version(tag) else { return false };
        self.0.iter().any(|all| all.iter().all(|comparison| comparison.holds(&version)))
    }
}

fn all_of(text: &str) -> Result<Vec<Comparison>> {
    let mut found = Vec::new();
    let mut rest = text.trim_matches([' ', ',']);
    let bad = || {
        Error::invalid(format!("{text:?} is no range of versions"))
            .with_hint("for example \">= 3.12.0, < 4\"")
    };
    while !rest.is_empty() {
        let after = rest.trim_start_matches(['=', '!', '<', '>', '~', '^']);
        let operator = operator(&rest[..rest.len() - after.len()]).ok_or_else(bad)?;
        let after = after.trim_start();
        let end = after.find([' ', ',']).unwrap_or(after.len());
        let (version, given) = version(&after[..end]).ok_or_else(bad)?;
        found.push(Comparison { operator, given, version });
        rest = after[end..].trim_matches([' ', ',']);
    }
    if found.is_empty() { Err(bad()) } else { Ok(found) }
}

fn operator(text: &str) -> Option<Operator> {
    Some(match text {
        "" | "=" | "==" => Operator::Equal,
        "!=" => Operator::Unequal,
        ">" => Operator::Above,
        ">=" | "=>" => Operator::AtLeast,
        "<" => Operator::Below,
        "<=" | "=<" => Operator::AtMost,
        "~" | "~>" => Operator::Tilde,
        "^" => Operator::Caret,
        _ => return None,
    })
}

/// A version and how many numbers it has: `v` before it, fewer than three and `x` are allowed.
fn version(text: &str) -> Option<(Version, usize)> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let text = text.split_once('+').map_or(text, |(version, _)| version);
    let (numbers, pre) = text.split_once('-').unwrap_or((text, ""));
    let mut version = Version { pre: pre.to_owned(), ..Version::default() };
    let mut given = 0;
    for (at, part) in numbers.split('.').enumerate() {
        if matches!(part, "x" | "X" | "*") {
            break;
        }
        *version.numbers.get_mut(at)? =
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())??;
        given = at + 1;
    }
    Some((version, given))
}

impl Version {
    fn before(&self, other: &Self) -> bool {
        if self.numbers != other.numbers {
            return self.numbers < other.numbers;
        }
        match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, _) => false,
            (false, true) => true,
            (false, false) => pre_order(&self.pre) < pre_order(&other.pre),
        }
    }
}

/// Identifiers of a pre-release: numbers come before words and among themselves by value (semver.org, 11.4).
fn pre_order(pre: &str) -> Vec<(bool, u64, &str)> {
    let order = |part: &'_ str| part.parse::<u64>().ok();
    pre.split('.').map(|part| order(part).map_or((true, 0, part), |number| (false, number, ""))).collect()
}

impl Comparison {
    fn holds(&self, tag: &Version) -> bool {
        if !tag.pre.is_empty() && self.version.pre.is_empty() {
            return false;
        }
        let same = |count: usize| tag.numbers[..count] == self.version.numbers[..count];
        let at_least = !tag.before(&self.version);
        match self.operator {
            Operator::Equal => same(self.given) && (self.given < 3 || tag.pre == self.version.pre),
            Operator::Unequal => !same(self.given) || (self.given == 3 && tag.pre != self.version.pre),
            Operator::Above => at_least && !same(self.given) || self.given == 3 && self.version.before(tag),
            Operator::AtLeast => at_least,
            Operator::Below => tag.before(&self.version),
            Operator::AtMost => same(self.given) && self.given < 3 || !self.version.before(tag),
            Operator::Tilde => at_least && same(self.given.min(2)),
            Operator::Caret => {
                let fixed = self.version.numbers.iter().position(|n| *n != 0).unwrap_or(2) + 1;
                at_least && same(fixed.min(self.given.max(1)))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ranges_include_what_they_include_to_skopeo() {
        for (range, inside, outside) in [
            (">= 3.12.0", &["3.12.0", "v3.13", "4"][..], &["3.11.9", "3.12.0-rc1", "latest", "3.12.0.1"][..]),
            ("3.12", &["3.12.0", "3.12.7"], &["3.13.0", "3.1.2"]),
            ("1.x", &["1.0.0", "1.9.9"], &["2.0.0"]),
            ("~1.2.3", &["1.2.3", "1.2.9"], &["1.2.2", "1.3.0"]),
            ("^1.2.3", &["1.2.3", "1.9.0"], &["1.2.2", "2.0.0"]),
            ("^0.2.3", &["0.2.3", "0.2.9"], &["0.3.0"]),
            (">1, <3 || 7", &["2.0.0", "7.1.0"], &["1.0.0", "1.5.0", "3.0.0", "6.0.0"]),
            ("<= 2.1", &["2.1.5", "2.0.0", "1.0.0"], &["2.2.0"]),
            ("!=1.0.0", &["1.0.1"], &["1.0.0"]),
            (">=1.0.0-rc.2", &["1.0.0-rc.10", "1.0.0"], &["1.0.0-rc.1"]),
        ] {
            let versions = Versions::parse(range).unwrap();
            for tag in inside {
                assert!(versions.include(tag), "{range} has {tag}");
            }
            for tag in outside {
                assert!(!versions.include(tag), "{range} has not {tag}");
            }
        }
        for bad in ["", ">", "one", ">> 1", "1.2.3.4", "1,,x y"] {
            assert!(Versions::parse(bad).is_err(), "{bad}");
        }
    }
}
