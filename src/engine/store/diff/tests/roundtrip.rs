//! Any archive: applied and reassembled it is the same again, and what we read of it is what another reader does.

use proptest::prelude::*;
use tar_core::parse::{Limits as CoreLimits, ParseEvent, Parser};

use super::tar::{Kind, RawSink, Reader};
use super::*;

fn item(index: usize) -> impl Strategy<Value = Item> {
    let data = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 1..2000),
        (1usize..400_000, any::<u8>()).prop_map(|(n, b)| vec![b; n]),
    ];
    // Parents may be missing, names long or not UTF-8; each is there once.
    let dir = prop_oneof![
        Just(b"".to_vec()),
        Just(b"./".to_vec()),
        Just(b"/".to_vec()),
        Just(b"d/e/".to_vec()),
        Just("long/".repeat(30).into_bytes()),
        Just(b"\xff\xfe/<&>/".to_vec()),
    ];
    let xattr = prop::option::of(prop::collection::vec(any::<u8>(), 0..300));
    (dir, 0u8..9, data, any::<[u32; 3]>(), xattr).prop_map(
        move |(dir, kind, data, [uid, gid, more], xattr)| {
            let name = [&dir[..], format!("f{index}").as_bytes()].concat();
            let mut item = match kind {
                0..4 => Item::file(&name, data),
                4 => Item::dir([&name[..], b"/"].concat()),
                5 => Item::symlink(&name, "t/".repeat(more as usize % 90 + 1)),
                6 => Item::new(b'6', &name),
                7 => Item::file([&dir[..], format!(".wh.f{index}").as_bytes()].concat(), ""),
                _ => {
                    Item { data: b"11 path=gl\n".to_vec(), ..Item::new(b'g', format!("global{}", more % 2)) }
                }
            };
            item = item.mode(more & 0o7777).mtime(u64::from(uid)).owner(uid & !1, gid & !1);
            if item.flag != b'g' {
                if let Some(value) = xattr.filter(|_| item.flag == b'0') {
                    item = item.xattr("user.x", value);
                }
                if more & 1 == 1 {
                    item = item
                        .pax("mtime", format!("{gid}.{more}"))
                        .pax("comment", "x".repeat(more as usize % 2000));
                }
            }
            item
        },
    )
}

fn archive() -> impl Strategy<Value = Vec<u8>> {
    let items = (0usize..12).prop_flat_map(|n| (0..n).map(item).collect::<Vec<_>>());
    let end = prop_oneof![
        Just(Vec::new()),
        Just(vec![0; 512]),
        Just(vec![0; 1024]),
        Just(vec![0; 10240]),
        (Just(1024), prop::collection::vec(any::<u8>(), 1..3000)).prop_map(|(n, garbage)| [
            vec![0; n],
            garbage
        ]
        .concat()),
    ];
    (items, end).prop_map(|(items, end)| {
        let mut bytes: Vec<u8> = items.iter().flat_map(Item::bytes).collect();
        bytes.extend(end);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_tar_is_reassembled_to_the_byte(blob in archive(), compression in 0u8..3, userns: bool) {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let mut layer = Layer::new();
        let sent = match compression {
            0 => blob.clone(),
            1 => gzip(&blob),
            _ => zstd::encode_all(&blob[..], 1).unwrap(),
        };
        let options = ApplyOptions { in_userns: userns, ..Default::default() };
        let applied = layer.apply(&sent, &options).unwrap();
        prop_assert_eq!(applied.diff_id, Digest::sha256(&blob));
        prop_assert_eq!(applied.blob_digest, Digest::sha256(&sent));
        prop_assert!(layer.reassembled().unwrap() == blob);
    }

    #[test]
    fn tar_core_reads_the_same_entries(blob in archive()) {
        prop_assert_eq!(ours(&blob), theirs(&blob));
    }
}

type Seen = (Vec<u8>, Vec<u8>, u32, i64, i64, i64, u64, Vec<(Vec<u8>, Vec<u8>)>);

struct Nowhere;

impl RawSink for Nowhere {
    fn raw(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

fn ours(blob: &[u8]) -> Vec<Seen> {
    let mut reader = Reader::new(blob, &Limits::default());
    let mut seen = Vec::new();
    while let Some(e) = reader.next(&mut Nowhere).unwrap() {
        if e.kind != Kind::Global {
            seen.push((e.name, e.link, e.mode, e.uid, e.gid, e.mtime.seconds, e.size, e.xattrs));
        }
    }
    seen
}

fn theirs(mut blob: &[u8]) -> Vec<Seen> {
    let mut parser = Parser::new(CoreLimits::default());
    let mut seen = Vec::new();
    loop {
        match parser.parse(blob).unwrap() {
            // It wants to see the blocks of zeros that Go does not ask for.
            ParseEvent::NeedData { .. } | ParseEvent::End { .. } => return seen,
            ParseEvent::GlobalExtensions { consumed, .. } => blob = &blob[consumed..],
            ParseEvent::SparseEntry { .. } => panic!("no sparse files here"),
            ParseEvent::Entry { consumed, entry } => {
                let owned = |(k, v): &(std::borrow::Cow<'_, [u8]>, std::borrow::Cow<'_, [u8]>)| {
                    (k.to_vec(), v.to_vec())
                };
                seen.push((
                    entry.path.to_vec(),
                    entry.link_target.clone().unwrap_or_default().to_vec(),
                    entry.mode,
                    entry.uid.cast_signed(),
                    entry.gid.cast_signed(),
                    entry.mtime.cast_signed(),
                    entry.size,
                    entry.xattrs.iter().map(owned).collect(),
                ));
                let padded = usize::try_from(entry.padded_size()).unwrap();
                blob = &blob[consumed + padded..];
            }
        }
    }
}
