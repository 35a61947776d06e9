//! Points in time as filters take them.

use crate::engine::{Error, Result};
use jiff::{SignedDuration, Timestamp};

/// Reads RFC 3339, a date with or without a time (UTC), Unix seconds, or a duration before `now` (`10m`, `1h30m`).
///
/// # Errors
/// [`crate::engine::ErrorKind::Invalid`] for anything else.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp> {
    let invalid = || {
        Error::invalid(format!("invalid point in time {text:?}"))
            .with_hint("give a time stamp such as 2026-01-31T12:00:00Z, or a duration such as 24h")
    };
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Some(at) = unix(text) {
        return Ok(at);
    }
    if let Ok(civil) = text.parse::<jiff::civil::DateTime>() {
        return civil.to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp()).map_err(|_| invalid());
    }
    let ago = duration(text).ok_or_else(invalid)?;
    now.checked_sub(ago).map_err(|_| invalid())
}

/// `seconds[.fraction]`.
fn unix(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(seconds.parse().ok()?, nanos).ok()
}

/// Go's durations (`1h30m`, `1.5h`, `300ms`), with days.
pub fn duration(text: &str) -> Option<SignedDuration> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|n| *n > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let scale = match &rest[..unit] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        seconds += number * scale;
        rest = &rest[unit..];
    }
    if text.is_empty() { None } else { SignedDuration::try_from_secs_f64(seconds).ok() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let cases = [
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("2026-01-01", "2026-01-01T00:00:00Z"),
            ("2026-01-01T10:30:00", "2026-01-01T10:30:00Z"),
            ("1700000000", "2023-11-14T22:13:20Z"),
            ("1700000000.5", "2023-11-14T22:13:20.5Z"),
            ("1h30m", "2026-01-31T10:30:00Z"),
            ("1.5h", "2026-01-31T10:30:00Z"),
            ("2d", "2026-01-29T12:00:00Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(moment(text, now).unwrap().to_string(), expected, "{text}");
        }
        for bad in ["", "soon", "5x", "h"] {
            assert!(moment(bad, now).is_err(), "{bad}");
        }
    }
}
