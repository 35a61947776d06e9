//! Streams that are broken, endless or say two things at once: an error, or what they mean to Go, in bounded memory.

use super::archive::{pad, record, seal};
use super::hostile::{assert_untouched, lair, refused};
use super::*;

#[test]
fn sizes_are_bounded() {
    let long = "n/".repeat(2100);
    refused("path", &[Item::file(&long, "")]);
    refused("pax path", &[Item::file("f", "").pax("path", &long)]);
    refused("link", &[Item::symlink("f", &long)]);
    refused("name", &[Item::file("n".repeat(300), "")]);
    refused("header", &[Item::file("f", "").pax("comment", vec![b'x'; (1 << 20) + 1])]);
    refused("header size", &[Item { size: Some(1 << 32), ..Item::new(b'x', "x") }]);
    refused("long name size", &[Item { size: Some(1 << 32), ..Item::new(b'L', "x") }]);
    refused("claimed size", &[Item { size: Some(0o77777777777), ..Item::file("f", "x") }]);
    refused("pax size", &[Item::file("f", "x").pax("size", "9223372036854775807")]);
    refused("negative size", &[Item::file("f", "x").pax("size", "-1")]);
    refused("unknown type", &[Item::new(b'Q', "f")]);

    let mut layer = lair();
    let mut options = ApplyOptions::default();
    options.limits.max_size = Some(1 << 20);
    let bomb = gzip(&tar(&[Item::file("zeros", vec![0; 4 << 20])]));
    assert!(bomb.len() < 1 << 16);
    let e = layer.apply(&bomb, &options).unwrap_err();
    assert!(e.to_string().contains("larger than allowed"), "{e}");
}

#[test]
fn sparse_maps_are_checked() {
    let pax = |pairs: &[(&str, &str)], data: &str| {
        let item = Item::file("f", data).pax("GNU.sparse.major", "0").pax("GNU.sparse.minor", "1");
        pairs.iter().fold(item, |item, (key, value)| item.pax(format!("GNU.sparse.{key}"), value))
    };
    let sized = |size| [("size", size), ("numblocks", "1"), ("map", "0,4")];
    for (case, item) in [
        ("beyond the end", pax(&sized("3"), "data")),
        ("overlap", pax(&[("size", "9"), ("numblocks", "2"), ("map", "0,2,1,2")], "data")),
        ("more data", pax(&sized("9"), "longer data")),
        ("less data", pax(&sized("9"), "x")),
        ("count", pax(&[("size", "9"), ("numblocks", "999999999999"), ("map", "0,4")], "data")),
        ("odd", pax(&[("size", "9"), ("numblocks", "1"), ("map", "0,4,5")], "data")),
        ("negative", pax(&[("size", "9"), ("numblocks", "1"), ("map", "-1,4")], "data")),
        ("overflow", pax(&[("size", "9"), ("numblocks", "1"), ("map", "9223372036854775807,4")], "data")),
        ("too large for a file", pax(&sized("9223372036854775807"), "data")),
        ("no file", Item { flag: b'5', ..pax(&sized("9"), "") }),
    ] {
        refused(case, &[item]);
    }
    let v1 = |data: &str| {
        Item::file("f", data)
            .pax("GNU.sparse.major", "1")
            .pax("GNU.sparse.minor", "0")
            .pax("GNU.sparse.realsize", "100")
    };
    for data in ["", "1", &"1".repeat(600), &"\n".repeat(512), &format!("{:0512}", 1), "99999999\n"] {
        refused("1.0", &[v1(data)]);
    }
    let mut block = Item::new(b'S', "f").header();
    block[386..398].copy_from_slice(b"00000000000\0");
    block[398..410].copy_from_slice(b"00000000000\0");
    block[482] = 1;
    seal(&mut block);
    let endless = [&block[..], &[b'0'; 512 * 4000]].concat();
    assert!(lair().apply(&endless, &ApplyOptions::default()).is_err());
}

#[test]
fn broken_streams_are_errors() {
    let good = tar(&[Item::file("f", vec![7; 5000])]);
    let zstd = zstd::encode_all(&good[..], 3).unwrap();
    let mut layer = lair();
    let options = ApplyOptions::default();
    for (case, blob) in [
        ("cut header", good[..300].to_vec()),
        ("cut contents", good[..3000].to_vec()),
        ("one block of zeros", [&[0; 512][..], &good].concat()),
        ("noise", (0..4096u32).map(|i| ((i * 31) >> 3) as u8 | 1).collect()),
        ("cut gzip", gzip(&good)[..60].to_vec()),
        ("gzip and noise", [&gzip(&good)[..], b"noise"].concat()),
        ("gzip checksum", {
            let mut blob = gzip(&good);
            let at = blob.len() - 8;
            blob[at] ^= 1;
            blob
        }),
        ("cut zstd", zstd[..zstd.len() - 3].to_vec()),
        ("zstd and noise", [&zstd[..], b"noise"].concat()),
        // A frame that asks for a window of 2 GiB.
        ("zstd window", vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0, 0, 0]),
        ("bzip2", b"BZh91AY".to_vec()),
        ("xz", [&b"\xfd7zXZ\0"[..], &[9; 50]].concat()),
    ] {
        assert!(layer.apply(&blob, &options).is_err(), "{case}");
        assert_untouched(&layer, case);
    }
}

#[test]
fn sound_streams_of_every_compression_are_read() {
    if !root() {
        return;
    }
    let good = tar(&[Item::file("f", (0..700_000u32).map(|i| (i % 251) as u8).collect::<Vec<_>>())]);
    let (a, b) = good.split_at(300_000);
    let zstd = |data: &[u8]| zstd::encode_all(data, 3).unwrap();
    let mut xz = Vec::new();
    std::io::Read::read_to_end(&mut liblzma::read::XzEncoder::new(a, 1), &mut xz).unwrap();
    std::io::Read::read_to_end(&mut liblzma::read::XzEncoder::new(b, 1), &mut xz).unwrap();
    let bzip2 = |data: &[u8]| {
        let mut out = Vec::new();
        let encoder = &mut bzip2::read::BzEncoder::new(data, bzip2::Compression::fast());
        std::io::Read::read_to_end(encoder, &mut out).unwrap();
        out
    };
    let skippable = |n: u8| [&[0x50 + n, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"12345"].concat();
    for (blob, compression) in [
        (good.clone(), Compression::None),
        ([gzip(a), gzip(b), gzip(b"")].concat(), Compression::Gzip),
        ([zstd(a), skippable(3), zstd(b), skippable(14)].concat(), Compression::Zstd),
        ([skippable(0), zstd(&good)].concat(), Compression::Zstd),
        (xz, Compression::Xz),
        ([bzip2(a), bzip2(b)].concat(), Compression::Bzip2),
    ] {
        let mut layer = lair();
        let applied = layer.apply(&blob, &ApplyOptions::default()).unwrap();
        assert_eq!((applied.compression, applied.blob_size), (compression, blob.len() as u64));
        assert_eq!(applied.blob_digest, Digest::sha256(&blob), "{compression}");
        assert_eq!(applied.diff_id, Digest::sha256(&good), "{compression}");
        assert_eq!(layer.reassembled().unwrap(), good, "{compression}");
    }
    // Nothing at all is an archive of nothing, as it is to Go.
    let mut layer = lair();
    assert_eq!(layer.apply(b"", &ApplyOptions::default()).unwrap().diff_id, Digest::sha256(b""));
}

#[test]
fn headers_that_contradict_each_other_mean_what_they_mean_to_go() {
    if !root() {
        return;
    }
    let mut blob = Vec::new();
    // A GNU long name wins over a PAX path, and the last of repeated headers counts.
    blob.extend(Item { data: record(b"path", b"pax"), ..Item::new(b'x', "h") }.bytes());
    blob.extend(Item { data: b"first\0".to_vec(), ..Item::new(b'L', "h") }.bytes());
    blob.extend(Item { data: b"gnu\0ignored".to_vec(), ..Item::new(b'L', "h") }.bytes());
    blob.extend(Item::file("plain", "1").bytes());
    // The second extended header is all there is: the name is the plain one again.
    blob.extend(Item { data: record(b"path", b"lost"), ..Item::new(b'x', "h") }.bytes());
    blob.extend(Item { data: record(b"mtime", b"-1.5"), ..Item::new(b'x', "h") }.bytes());
    blob.extend(Item::file("kept", "2").bytes());
    // Global records apply to nothing; a directory has no contents whatever it says.
    blob.extend(Item { data: record(b"path", b"global"), ..Item::new(b'g', "pax_global_header") }.bytes());
    blob.extend(Item { data: record(b"path", b"global"), ..Item::new(b'g', "pax_global_header") }.bytes());
    blob.extend(Item { size: Some(1 << 30), ..Item::dir("dir") }.header());
    // The extended header's size is the one that counts.
    blob.extend(Item { data: record(b"size", b"3"), ..Item::new(b'x', "h") }.bytes());
    blob.extend(Item { size: Some(0), ..Item::file("sized", "") }.header());
    blob.extend(b"abc");
    pad(&mut blob);
    // A trailing slash makes a directory of an old header only.
    blob.extend(Item { flag: 0, ..Item::new(0, "old/") }.bytes());
    blob.extend(Item::file("posix/", "file").bytes());
    let mut layer = Layer::new();
    layer.apply(&blob, &ApplyOptions::default()).unwrap();
    assert_eq!(layer.read("gnu"), "1");
    assert_eq!(layer.read("kept"), "2");
    assert_eq!((layer.meta("kept").mtime(), layer.meta("kept").mtime_nsec()), (-2, 500_000_000));
    assert_eq!(layer.read("sized"), "abc");
    assert!(layer.meta("dir").is_dir() && layer.meta("old").is_dir() && layer.meta("posix").is_file());
    for absent in ["pax", "first", "plain", "lost", "global", "pax_global_header"] {
        assert!(!layer.exists(absent), "{absent}");
    }
    assert_eq!(layer.reassembled().unwrap(), blob);
}

/// The tar-split is a file in the store, and the directory may have changed.
#[test]
fn a_changed_layer_is_not_reassembled() {
    if !root() {
        return;
    }
    let build = || {
        let mut layer = lair();
        layer.apply(&tar(&[Item::file("d/f", "secret")]), &ApplyOptions::default()).unwrap();
        layer
    };
    let layer = build();
    fs::write(layer.path("d/f"), "SECRET").unwrap();
    assert_eq!(layer.reassembled().unwrap_err().kind(), ErrorKind::Corrupt);
    fs::write(layer.path("d/f"), "secret and more").unwrap();
    assert!(layer.reassembled().is_err());
    for target in ["../../secret", "/secret"] {
        fs::remove_file(layer.path("d/f")).unwrap();
        std::os::unix::fs::symlink(target, layer.path("d/f")).unwrap();
        assert!(layer.reassembled().is_err(), "{target}");
    }
    fs::remove_file(layer.path("d/f")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, layer.path("d/f"), fifo, Mode::from(0o644), 0).unwrap();
    assert!(layer.reassembled().is_err());
    fs::remove_dir_all(layer.path("d")).unwrap();
    std::os::unix::fs::symlink("../..", layer.path("d")).unwrap();
    assert!(layer.reassembled().is_err());

    let sum = "\"payload\":\"AAAAAAAAAAA=\",\"position\":0}\n";
    for line in [
        format!("{{\"type\":1,\"name\":\"../secret\",\"size\":6,{sum}"),
        format!("{{\"type\":1,\"name\":\".\",\"size\":6,{sum}"),
        format!("{{\"type\":1,\"name\":\"\",\"size\":6,{sum}"),
        format!("{{\"type\":1,\"name\":\"f\",\"size\":-6,{sum}"),
        format!("{{\"type\":3,{sum}"),
        "{\"type\":2,\"payload\":\"no base64\",\"position\":0}\n".into(),
        "{\"type\":2".into(),
        "[]".into(),
    ] {
        let layer = Layer { split: gzip(line.as_bytes()), ..build() };
        assert!(layer.reassembled().is_err(), "{line}");
    }
    let mut layer = build();
    let half = layer.split.len() / 2;
    layer.split.truncate(half);
    assert!(layer.reassembled().is_err());
}

#[test]
fn what_the_stream_says_comes_back_as_it_was() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other(Error::new(ErrorKind::Unauthorized, "denied").with_hint("log in")))
        }
    }
    let layer = lair();
    for start in [&b""[..], &gzip(&tar(&[Item::file("f", vec![1; 100_000])]))[..80]] {
        let e =
            apply(start.chain(Broken), layer.fd.as_fd(), io::sink(), &ApplyOptions::default()).unwrap_err();
        assert_eq!((e.kind(), e.hint()), (ErrorKind::Unauthorized, Some("log in")));
    }
}
