//! A moment as docker's and podman's `--since` and `--until` take it.

use crate::cmd::flags::values::go_duration;
use crate::engine::{Error, Result};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A date or time (`2026-01-02`, `2026-01-02T03:04`, `…:05.678`, with `Z` or an offset, else in the local time zone), seconds since
/// 1970 (`1700000000.5`), or how long before `now` (`42m`, `1h30m`; negative: after). `flag` is for the error.
pub fn parse(flag: &str, text: &str, now: Timestamp) -> Result<Timestamp> {
    let parsed =
        seconds(text).or_else(|| ago(text, now)).or_else(|| text.parse().ok()).or_else(|| local(text));
    parsed.ok_or_else(|| {
        Error::invalid(format!("invalid {flag} {text:?}"))
            .with_hint("a time such as 2026-01-02T03:04:05Z, seconds since 1970, or a duration such as 10m")
    })
}

fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty()
        || !digits(whole.strip_prefix('-').unwrap_or(whole))
        || !digits(fraction)
        || fraction.len() > 9
    {
        return None;
    }
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(whole.parse().ok()?, if whole.starts_with('-') { -nanos } else { nanos }).ok()
}

/// A Go duration (`time.ParseDuration`) before now.
fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let (negative, length) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let duration = SignedDuration::from_nanos(i64::try_from(go_duration(length)?).ok()?);
    if negative { now.checked_add(duration) } else { now.checked_sub(duration) }.ok()
}

/// Without an offset: in our time zone. A date alone is its midnight.
fn local(text: &str) -> Option<Timestamp> {
    let zone = TimeZone::system();
    if let Some(date) = text.strip_suffix('Z') {
        let date: jiff::civil::Date = date.parse().ok()?;
        return Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp());
    }
    let time: DateTime = text.parse().ok()?;
    Some(time.to_zoned(zone).ok()?.timestamp())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn all_the_ways_to_say_a_time() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let cases = [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05.123456789+02:00", "2026-01-02T01:04:05.123456789Z"),
            ("2026-01-02Z", "2026-01-02T00:00:00Z"),
            ("1700000000", "2023-11-14T22:13:20Z"),
            ("1700000000.5", "2023-11-14T22:13:20.5Z"),
            ("10m", "2026-11-23T11:50:00Z"),
            ("1h30m10.5s", "2026-11-23T10:29:49.5Z"),
            ("-10m", "2026-11-23T12:10:00Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse("--since", text, now).unwrap().to_string(), expected, "{text}");
        }
        for text in ["2026-01-02", "2026-01-02T03:04", "2026-01-02T03:04:05", "2026-01-02T03:04:05.5"] {
            assert!(parse("--since", text, now).is_ok(), "{text}");
        }
        for text in ["", "yesterday", "10", "10x", "m", "1.2.3", "2026-13-01"] {
            assert_eq!(parse("--since", text, now).is_ok(), text == "10", "{text}");
        }
    }
}
