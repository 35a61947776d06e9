//! One line of a log as conmon writes it, from its file or from the journal.
//!
//! The file is in the Kubernetes CRI log format: `TIME STREAM TAG TEXT`, where TIME is RFC 3339 with nanoseconds, STREAM `stdout` or `stderr`, and TAG `F`
//! for a whole line or `P` for a piece of one that goes on in the next record of its stream. The journal's fields are in
//! conmon's `src/ctr_logging.c`, `write_journald`.

use super::Stream;
use jiff::Timestamp;

/// A line, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When conmon read it.
    pub time: Timestamp,
    /// Where the container wrote it.
    pub stream: Stream,
    /// More of this line follows; no newline was written yet.
    pub partial: bool,
    /// Any bytes but newlines.
    pub text: Vec<u8>,
}

/// The tag of a record, of which the beginning is enough: whether it is a piece that goes on.
pub(crate) fn is_partial(record: &[u8]) -> bool {
    record.splitn(4, |b| *b == b' ').nth(2) == Some(b"P")
}

impl LogLine {
    /// From a record of a log file, without its newline. `None`: it is none (a torn write, somebody else's file).
    pub fn from_record(record: &[u8]) -> Option<Self> {
        let mut fields = record.splitn(4, |b| *b == b' ');
        let time = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let stream = match fields.next()? {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        let partial = fields.next()? == b"P";
        Some(Self { time, stream, partial, text: fields.next()?.to_vec() })
    }

    /// From an entry of `journalctl --output=json`, with its cursor. `None`: it has no message.
    pub fn from_journal(entry: &str) -> Option<(Self, String)> {
        let entry: serde_json::Value = serde_json::from_str(entry).ok()?;
        let field = |name: &str| entry.get(name).and_then(|v| v.as_str());
        let text = match entry.get("MESSAGE")? {
            serde_json::Value::String(text) => text.clone().into_bytes(),
            // What is not UTF-8 comes as a list of bytes.
            serde_json::Value::Array(bytes) => {
                bytes.iter().filter_map(|b| u8::try_from(b.as_u64()?).ok()).collect()
            }
            _ => return None,
        };
        let micros = field("__REALTIME_TIMESTAMP")?.parse().ok()?;
        let partial = field("CONTAINER_PARTIAL_MESSAGE") == Some("true");
        // conmon 2.1.12 keeps the end of a line, 2.1.6 does not.
        let text = match text.strip_suffix(b"\n") {
            Some(line) if !partial => line.to_vec(),
            _ => text,
        };
        let line = Self {
            time: Timestamp::from_microsecond(micros).ok()?,
            stream: if field("PRIORITY") == Some("3") { Stream::Stderr } else { Stream::Stdout },
            partial,
            text,
        };
        Some((line, field("__CURSOR").unwrap_or_default().to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn records_of_the_file() {
        let line = LogLine::from_record(b"2026-11-23T01:22:46.811068123+01:00 stderr F a b  c").unwrap();
        assert_eq!(line.time.to_string(), "2026-11-23T00:22:46.811068123Z");
        assert_eq!((line.stream, line.partial, &line.text[..]), (Stream::Stderr, false, &b"a b  c"[..]));
        let line = LogLine::from_record(b"2026-11-23T01:22:46.811068123+00:00 stdout P \xff\0x").unwrap();
        assert_eq!((line.stream, line.partial, &line.text[..]), (Stream::Stdout, true, &b"\xff\0x"[..]));
        let empty = LogLine::from_record(b"2026-11-23T01:22:46.811068123+00:00 stdout F ").unwrap();
        assert!(empty.text.is_empty());
        for bad in [
            &b""[..],
            b"x",
            b"2026 stdout F a",
            b"2026-11-23T01:22:46Z stdin F a",
            b"2026-11-23T01:22:46Z stdout F",
        ] {
            assert_eq!(LogLine::from_record(bad), None);
        }
    }

    #[test]
    fn entries_of_the_journal() {
        let entry =
            r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1700000000000001","PRIORITY":"3","MESSAGE":"oops"}"#;
        let (line, cursor) = LogLine::from_journal(entry).unwrap();
        assert_eq!((line.stream, &line.text[..], cursor.as_str()), (Stream::Stderr, &b"oops"[..], "s=1"));
        assert_eq!(line.time.as_microsecond(), 1_700_000_000_000_001);
        let bytes = r#"{"__REALTIME_TIMESTAMP":"1","MESSAGE":[104,255],"CONTAINER_PARTIAL_MESSAGE":"true"}"#;
        let (line, _) = LogLine::from_journal(bytes).unwrap();
        assert_eq!((line.partial, &line.text[..]), (true, &b"h\xff"[..]));
        for (message, partial, want) in [
            ("a\\n", "false", "a"),
            ("a\\n\\n", "false", "a\n"),
            ("\\n", "false", ""),
            ("a\\n", "true", "a\n"),
        ] {
            let entry = format!(
                r#"{{"__REALTIME_TIMESTAMP":"1","MESSAGE":"{message}","CONTAINER_PARTIAL_MESSAGE":"{partial}"}}"#
            );
            let (line, _) = LogLine::from_journal(&entry).unwrap();
            assert_eq!(String::from_utf8_lossy(&line.text), want, "{entry}");
        }
        assert!(LogLine::from_journal("{}").is_none());
    }
}
