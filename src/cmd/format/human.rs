//! Sizes, durations and names as docker and podman show them (github.com/docker/go-units).

use super::template::go_string;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Decimal units with three significant digits: `74.8MB`.
pub fn size(bytes: u64) -> String {
    size_with(bytes, 3)
}

/// Decimal units with so many significant digits.
pub fn size_with(bytes: u64, digits: usize) -> String {
    let (number, unit) = size_parts(bytes, digits);
    format!("{number}{unit}")
}

/// [`size`] with a space before the unit, as `images` shows it.
pub fn spaced_size(bytes: u64) -> String {
    let (number, unit) = size_parts(bytes, 3);
    format!("{number} {unit}")
}

fn size_parts(bytes: u64, digits: usize) -> (String, &'static str) {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    // With three digits 999.5 would be rounded to four, with more there is room for all below 1000.
    let full = if digits <= 3 { 999.5 } else { 1000.0 };
    while value >= full && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let whole = [10.0, 100.0].iter().filter(|limit| value >= **limit).count() + 1;
    let decimals = digits.saturating_sub(whole);
    let text = format!("{value:.decimals$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    };
    (text, UNITS[unit])
}

/// Binary units, as `info` shows memory: `7.755GiB`.
pub fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = 3usize.saturating_sub(value.max(1.0).log10() as usize);
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// `2 hours`, `About a minute`, `3 weeks`.
pub fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// The time from `then` to `now`: `2 hours ago`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    format!("{} ago", duration(now.as_second() - then.as_second()))
}

/// A time without what is less than a second: where docker has only seconds.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// `2006-01-02 15:04:05.999999999 +0000 UTC`.
pub fn timestamp(time: Timestamp) -> String {
    go_string(&time)
}

/// `a=b,c=d`, as docker's listings have labels and options.
pub fn pairs(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// The first twelve characters of an ID.
pub fn short_id(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.get(..12).unwrap_or(id)
}

/// Cuts to `limit` characters and says so.
pub fn ellipsis(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// `80/tcp` entries with neighbours joined: `80-82/tcp, 53/udp`.
pub fn exposed_ports<S: AsRef<str>>(ports: &[S]) -> String {
    let mut parsed: Vec<(&str, u16)> = Vec::new();
    let mut odd: Vec<&str> = Vec::new();
    for port in ports {
        let port = port.as_ref();
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        match number.parse() {
            Ok(number) => parsed.push((protocol, number)),
            Err(_) => odd.push(port),
        }
    }
    parsed.sort_unstable();
    parsed.dedup();
    let mut ranges: Vec<(&str, u16, u16)> = Vec::new();
    for (protocol, number) in parsed {
        match ranges.last_mut() {
            Some((p, _, last)) if *p == protocol && last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((protocol, number, number)),
        }
    }
    let texts = ranges.iter().map(|(protocol, first, last)| match first == last {
        true => format!("{first}/{protocol}"),
        false => format!("{first}-{last}/{protocol}"),
    });
    texts.chain(odd.iter().map(|s| (*s).to_owned())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1536, "1.54kB"),
            (74_800_000, "74.8MB"),
            (999_900, "1MB"),
            (123_456_789, "123MB"),
            (12_345_678_901, "12.3GB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
        let finer = [(0, "0B"), (4_264_123, "4.264MB"), (74_812_345, "74.81MB"), (123_456_789, "123.5MB")];
        for (bytes, text) in finer {
            assert_eq!(size_with(bytes, 4), text);
        }
        assert_eq!(spaced_size(4_260_000), "4.26 MB");
        assert_eq!(binary_size(8_326_742_016), "7.755GiB");
    }

    #[test]
    fn durations() {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (3599, "59 minutes"),
            (HOUR, "About an hour"),
            (2 * HOUR, "2 hours"),
            (47 * HOUR, "47 hours"),
            (2 * DAY, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (729 * DAY, "24 months"),
            (730 * DAY, "2 years"),
            (-5, "Less than a second"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn names_and_ports() {
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(ellipsis("sleep infinity and more", 17), "sleep infinity an...");
        assert_eq!(ellipsis("sleep", 17), "sleep");
        assert_eq!(exposed_ports(&["82/tcp", "80/tcp", "81/tcp", "53/udp"]), "80-82/tcp, 53/udp");
    }
}
