//! What CRIU counted: `stats-dump` and `stats-restore`, one protobuf message each behind a header.
//!
//! The format is CRIU's (`criu/include/magic.h`, `images/stats.proto`): two magic numbers, the message's size, the message,
//! all little-endian.

use serde::Serialize;
use std::path::Path;

/// Files of CRIU's with statistics.
pub(in super::super) const DUMP: &str = "stats-dump";
pub(in super::super) const RESTORE: &str = "stats-restore";

/// `IMG_SERVICE_MAGIC` and `STATS_MAGIC`.
const MAGIC: [u32; 2] = [0x5510_5940, 0x5709_3306];

/// Of a checkpoint, in podman's words (`CRIUCheckpointRestoreStatistics`); times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Statistics {
    #[serde(skip_serializing_if = "is_zero")]
    pub freezing_time: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub frozen_time: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub memdump_time: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub memwrite_time: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub pages_scanned: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub pages_written: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub pages_compared: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub pages_skipped_cow: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub forking_time: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub restore_time: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub pages_restored: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Reads a file of statistics; `None`: there is none, or it is no such file.
pub(in super::super) fn read(path: &Path) -> Option<Statistics> {
    parse(&std::fs::read(path).ok()?)
}

/// Of such a file's bytes.
pub(in super::super) fn parse(file: &[u8]) -> Option<Statistics> {
    let word = |at: usize| Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?));
    if [word(0)?, word(4)?] != MAGIC {
        return None;
    }
    let size = usize::try_from(word(8)?).ok()?;
    let message = file.get(12..12usize.checked_add(size)?)?;
    let mut statistics = Statistics::default();
    // `message stats_entry { optional dump_stats_entry dump = 1; optional restore_stats_entry restore = 2; }`
    for (field, value) in fields(message)? {
        let Value::Bytes(inner) = value else { continue };
        for (inner_field, value) in fields(inner)? {
            let Value::Number(number) = value else { continue };
            let place = match (field, inner_field) {
                (1, 1) => &mut statistics.freezing_time,
                (1, 2) => &mut statistics.frozen_time,
                (1, 3) => &mut statistics.memdump_time,
                (1, 4) => &mut statistics.memwrite_time,
                (1, 5) => &mut statistics.pages_scanned,
                (1, 7) => &mut statistics.pages_written,
                (2, 1) => &mut statistics.pages_compared,
                (2, 2) => &mut statistics.pages_skipped_cow,
                (2, 3) => &mut statistics.forking_time,
                (2, 4) => &mut statistics.restore_time,
                (2, 5) => &mut statistics.pages_restored,
                _ => continue,
            };
            *place = number;
        }
    }
    Some(statistics)
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message of numbers and messages; `None`: it is none.
fn fields(mut message: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut message)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                message = rest;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(message: &[u8]) -> Vec<u8> {
        let size = u32::try_from(message.len()).unwrap();
        [MAGIC[0].to_le_bytes(), MAGIC[1].to_le_bytes(), size.to_le_bytes()]
            .concat()
            .into_iter()
            .chain(message.to_vec())
            .collect()
    }

    #[test]
    fn criu_s_numbers_are_read() {
        // dump { freezing_time: 300, frozen_time: 7, pages_written: 1 }
        let dump = file(&[0x0a, 7, 0x08, 0xac, 0x02, 0x10, 7, 0x38, 1]);
        let want =
            Statistics { freezing_time: 300, frozen_time: 7, pages_written: 1, ..Statistics::default() };
        assert_eq!(parse(&dump), Some(want));
        let restore = file(&[0x12, 4, 0x18, 5, 0x20, 6]);
        let want = Statistics { forking_time: 5, restore_time: 6, ..Statistics::default() };
        assert_eq!(parse(&restore), Some(want));
        for bad in [&b""[..], b"x", &dump[..dump.len() - 1], &file(&[0x0a, 200]), &file(&[0xff; 11])] {
            assert_eq!(parse(bad), None);
        }
    }
}
