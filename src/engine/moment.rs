//! Points in time and lengths of time as docker's and podman's flags, filters and configuration files write them. Pure.

use super::{Error, Result};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// A length of time without a sign, as Go's `time.ParseDuration` reads it: `300ms`, `1.5h`, `1h30m`; `0` needs no unit.
/// `None`: not of that form, or above 2^64 ns.
pub fn duration(text: &str) -> Option<Duration> {
    length(text, go_unit)
}

fn length(text: &str, unit: fn(&str) -> Option<f64>) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = (!text.is_empty()).then_some(text)?;
    let mut nanos = 0f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        nanos += value * unit(&rest[..end])?;
        rest = &rest[end..];
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (nanos < 1.8e19).then(|| Duration::from_nanos(nanos.round() as u64))
}

/// A unit in nanoseconds.
fn go_unit(name: &str) -> Option<f64> {
    Some(match name {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 6e10,
        "h" => 3.6e12,
        _ => return None,
    })
}

/// Points in time may be days away, too.
fn unit_or_day(name: &str) -> Option<f64> {
    if name == "d" { Some(8.64e13) } else { go_unit(name) }
}

/// A point in time: `2026-01-02`, `2026-01-02T03:04`, `…:05.678`, with `Z` or an offset, else in `zone` (docker-logs(1):
/// the local one); seconds since 1970 (`1700000000.5`); or how long before `now` (`42m`, `1h30m`; negative: after).
/// `what` is what was given, for the error.
///
/// # Errors
/// [`crate::engine::ErrorKind::Invalid`] for anything else.
pub fn parse(what: &str, text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp> {
    let parsed = seconds(text)
        .or_else(|| before(text, now))
        .or_else(|| text.parse().ok())
        .or_else(|| civil(text, zone));
    parsed.ok_or_else(|| {
        Error::invalid(format!("invalid {what} {text:?}"))
            .with_hint("a time such as 2026-01-02T03:04:05Z, seconds since 1970, or a duration such as 10m")
    })
}

/// The value of a filter `until`: without an offset in the local time zone.
///
/// # Errors
/// As [`parse`].
pub fn until(value: &str) -> Result<Timestamp> {
    parse("filter until", value, Timestamp::now(), &TimeZone::system())
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

fn before(text: &str, now: Timestamp) -> Option<Timestamp> {
    let (negative, length) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let length = SignedDuration::try_from(self::length(length, unit_or_day)?).ok()?;
    if negative { now.checked_add(length) } else { now.checked_sub(length) }.ok()
}

/// Without an offset; a date alone is its midnight.
fn civil(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Some(date) = text.strip_suffix('Z') {
        return Some(date.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    }
    Some(text.parse::<DateTime>().ok()?.to_zoned(zone.clone()).ok()?.timestamp())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, milliseconds) in [
            ("0", 0),
            ("1s", 1000),
            ("1.5s", 1500),
            ("1m30s", 90_000),
            ("250ms", 250),
            ("2ms", 2),
            ("1.5h", 5_400_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "s", "1x", "-1s", "1s2", "2", "1", "h", "1d", ".s", "1e400h", "999999999999h"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn all_the_ways_to_say_a_time() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let cases = [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05.123456789+02:00", "2026-01-02T01:04:05.123456789Z"),
            ("2026-01-02Z", "2026-01-02T00:00:00Z"),
            ("2026-01-02", "2026-01-02T00:00:00Z"),
            ("2026-01-02T03:04", "2026-01-02T03:04:00Z"),
            ("2026-01-02T10:30:00.5", "2026-01-02T10:30:00.5Z"),
            ("1700000000", "2023-11-14T22:13:20Z"),
            ("1700000000.5", "2023-11-14T22:13:20.5Z"),
            ("10m", "2026-11-23T11:50:00Z"),
            ("1.5h", "2026-11-23T10:30:00Z"),
            ("2d", "2026-11-21T12:00:00Z"),
            ("1h30m10.5s", "2026-11-23T10:29:49.5Z"),
            ("-10m", "2026-11-23T12:10:00Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse("--since", text, now, &TimeZone::UTC).unwrap().to_string(), expected, "{text}");
        }
        for bad in ["", "yesterday", "soon", "10x", "5x", "m", "h", "1.2.3", "2026-13-01"] {
            let error = parse("--since", bad, now, &TimeZone::UTC).unwrap_err().to_string();
            assert_eq!(error, format!("invalid --since {bad:?}"));
        }
    }

    #[test]
    fn a_time_without_an_offset_is_in_the_zone() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(parse("--since", "2026-01-02", now, &east).unwrap().to_string(), "2026-01-01T22:00:00Z");
    }
}
