//! Archives that want something else than to be unpacked. Whatever they say, nothing beside the layer's directory
//! changes, nothing blocks, and a refusal is an error and not a panic.

use super::archive::{pad, record, seal};
use super::*;

const SECRET: &str = "secret";

/// A layer beside which lies a file that is not its business.
fn lair() -> Layer {
    let layer = Layer::new();
    let secret = layer.base.path().join(SECRET);
    fs::write(&secret, SECRET).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(layer.base.path(), fs::Permissions::from_mode(0o710)).unwrap();
    layer
}

fn assert_untouched(layer: &Layer, case: &str) {
    let base = layer.base.path();
    let mut names: Vec<_> = fs::read_dir(base).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["diff", SECRET], "{case}");
    let meta = fs::symlink_metadata(base.join(SECRET)).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.nlink(), meta.len()), (0o640, 1, 6), "{case}");
    assert_eq!(fs::read_to_string(base.join(SECRET)).unwrap(), SECRET, "{case}");
    assert_eq!(fs::metadata(base).unwrap().mode() & 0o7777, 0o710, "{case}");
}

/// Applies with every kind of whiteout; `check` sees the native result.
fn attempt(case: &str, items: &[Item], check: impl Fn(&Layer, Result<Applied>)) {
    for whiteouts in [Whiteouts::Native, Whiteouts::UserXattr, Whiteouts::Literal, Whiteouts::Raw] {
        for in_userns in [false, true] {
            let mut layer = lair();
            let options = ApplyOptions { whiteouts, in_userns, ..Default::default() };
            let result = layer.apply(&tar(items), &options);
            assert_untouched(&layer, case);
            if let Ok(applied) = &result {
                assert_eq!(applied.diff_id, Digest::sha256(&tar(items)));
            }
            if whiteouts == Whiteouts::Native && !in_userns {
                check(&layer, result);
            }
        }
    }
}

fn refused(case: &str, items: &[Item]) {
    attempt(case, items, |_, result| assert!(result.is_err(), "{case}: {result:?}"));
}

#[test]
fn no_name_leads_out() {
    if !root() {
        return;
    }
    for name in
        ["../escape", "a/../../escape", "./../escape", "..", "a/../..", "../secret", "../diff/../secret"]
    {
        refused(name, &[Item::file(name, "x")]);
        refused(name, &[Item::dir(name)]);
        refused(name, &[Item::symlink(name, "x")]);
        refused(name, &[Item::file("x", ""), Item::hard_link(name, "x")]);
    }
    for name in ["/escape", "/../../escape", "//escape", "/a/../../escape"] {
        attempt(name, &[Item::file(name, "x")], |layer, result| {
            result.unwrap();
            assert_eq!(layer.read("escape"), "x", "{name}");
        });
    }
    for name in [".", "/", "./", "a/.."] {
        refused(name, &[Item::file(name, "x")]);
        refused(name, &[Item::symlink(name, "/etc")]);
    }
}

#[test]
fn links_on_the_way_stay_inside() {
    if !root() {
        return;
    }
    for target in ["..", "../../../../../..", "/", "/..", "a/../.."] {
        let items = [
            Item::dir("a"),
            Item::symlink("link", target),
            Item::file("link/new", "x"),
            Item::dir("link/dir"),
            Item::symlink("link/sym", "y"),
            Item::file("link/.wh.gone", ""),
            Item::file("link/.wh.secret", ""),
            Item::file("link/.wh..wh..opq", ""),
            Item::hard_link("link/hard", "link/new"),
        ];
        attempt(target, &items, |layer, result| {
            result.unwrap();
            assert_eq!(layer.read("new"), "x");
            assert_eq!(layer.meta("hard").ino(), layer.meta("new").ino());
            assert!(layer.is_whiteout("secret") && layer.is_whiteout("gone"));
        });
    }
    // No such thing inside, whatever is outside.
    for target in ["/proc/self/root", "/etc", "../secret", "nowhere", "loop", "/proc/self/cwd"] {
        let items = [Item::symlink("loop", "loop"), Item::symlink("link", target)];
        refused(target, &[&items[..], &[Item::file("link/x", "x")]].concat());
        refused(target, &[&items[..], &[Item::hard_link("x", "link/x")]].concat());
    }
}

#[test]
fn a_link_in_an_entrys_place_is_replaced_and_not_followed() {
    if !root() {
        return;
    }
    for target in ["../secret", "/secret", "../../etc/passwd", "/etc/passwd"] {
        let link = Item::symlink("f", target);
        attempt("file", &[link.clone(), Item::file("f", "new").mode(0o777).owner(1, 1)], |layer, result| {
            result.unwrap();
            assert_eq!(layer.read("f"), "new");
        });
        attempt("dir", &[link.clone(), Item::dir("f").mode(0o777)], |layer, result| {
            result.unwrap();
            assert!(layer.meta("f").is_dir());
        });
        let fifo = Item::new(b'6', "f").mode(0o777);
        attempt("fifo", &[link.clone(), fifo], |_, result| drop(result.unwrap()));
        attempt("whiteout", &[link.clone(), Item::file(".wh.f", "")], |_, result| drop(result.unwrap()));
        // A hard link to a link is the link; what is then written under its name replaces it.
        let hard =
            [link, Item::hard_link("h", "f").mode(0o777).owner(9, 9), Item::file("h", "mine").mode(0o666)];
        attempt("hard", &hard, |layer, result| {
            result.unwrap();
            assert_eq!(layer.read("h"), "mine");
            assert!(layer.meta("f").is_symlink());
        });
    }
}

#[test]
fn hard_links_lead_only_to_files_of_the_layer() {
    if !root() {
        return;
    }
    for target in ["../secret", "/../secret", "/etc/passwd", "missing", "", ".", "dir", "..", "x"] {
        refused(target, &[Item::dir("dir"), Item::hard_link("x", target)]);
    }
    attempt("itself", &[Item::file("x", "x"), Item::hard_link("x", "./x")], |layer, result| {
        result.unwrap();
        assert_eq!(layer.read("x"), "x");
    });
}

#[test]
fn whiteouts_name_something() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh...", "a/b/.wh."] {
        let mut layer = lair();
        assert!(layer.apply(&tar(&[Item::file(name, "")]), &ApplyOptions::default()).is_err(), "{name}");
        let raw = ApplyOptions { whiteouts: Whiteouts::Raw, ..Default::default() };
        fs::create_dir_all(layer.path("a/b")).unwrap();
        assert!(layer.apply(&tar(&[Item::file(name, "")]), &raw).is_err(), "{name}");
        assert!(layer.exists("a/b"));
        assert_untouched(&layer, name);
    }
}

#[test]
fn vfs_deletes_below_the_layer_only() {
    let raw = ApplyOptions { whiteouts: Whiteouts::Raw, ..Default::default() };
    for items in [
        [Item::symlink("up", ".."), Item::file("up/.wh.secret", "")],
        [Item::symlink("up", ".."), Item::file("up/.wh..wh..opq", "")],
        [Item::symlink("up", "../secret"), Item::file(".wh.up", "")],
        [Item::symlink("up", ".."), Item::file("up/.wh.diff", "")],
        [Item::file(".wh.d", ""), Item::dir("d")],
    ] {
        let mut layer = lair();
        fs::create_dir(layer.path("d")).unwrap();
        std::os::unix::fs::symlink("../..", layer.path("d/out")).unwrap();
        let _ = layer.apply(&tar(&items), &raw);
        assert_untouched(&layer, &format!("{items:?}"));
    }
}

#[test]
fn devices_are_made_by_root_only() {
    if !root() {
        return;
    }
    let items = [Item::device("sda", 8, 0), Item::hard_link("again", "sda")];
    attempt("device", &items, |layer, result| {
        result.unwrap();
        assert_eq!(layer.meta("sda").rdev(), rustix::fs::makedev(8, 0));
    });
    let mut layer = lair();
    let options = ApplyOptions { in_userns: true, ..Default::default() };
    layer.apply(&tar(&items[..1]), &options).unwrap();
    assert!(!layer.exists("sda"));
}

#[test]
fn owners_do_not_wrap_round_to_somebody_else() {
    for id in ["4294967295", "4294967296", "-1", "9223372036854775807", "99999999999999999999", "0x10", "1e3"]
    {
        refused(id, &[Item::file("f", "").pax("uid", id)]);
        refused(id, &[Item::file("f", "").pax("gid", id)]);
    }
    let map = |container_id, host_id, size| crate::engine::spec::IdMapping { container_id, host_id, size };
    let ids = vec![map(0, 100_000, 1000)];
    let options =
        ApplyOptions { id_maps: Some(IdMaps { uids: ids.clone(), gids: ids }), ..Default::default() };
    if root() {
        let mut layer = lair();
        layer.apply(&tar(&[Item::file("d/f", "").owner(5, 999)]), &options).unwrap();
        assert_eq!((layer.meta("d/f").uid(), layer.meta("d/f").gid()), (100_005, 100_999));
        assert_eq!(layer.meta("d").uid(), 100_000);
    }
    assert!(lair().apply(&tar(&[Item::file("f", "").owner(0, 1000)]), &options).is_err());
}

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
    let skippable = |n: u8| [&[0x50 + n, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"12345"].concat();
    for (blob, compression) in [
        (good.clone(), Compression::None),
        ([gzip(a), gzip(b), gzip(b"")].concat(), Compression::Gzip),
        ([zstd(a), skippable(3), zstd(b), skippable(14)].concat(), Compression::Zstd),
        ([skippable(0), zstd(&good)].concat(), Compression::Zstd),
        (xz, Compression::Xz),
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

#[test]
fn overlays_own_attributes_are_not_the_archives_to_set() {
    if !root() {
        return;
    }
    let item = Item::dir("d")
        .xattr("trusted.overlay.redirect", "/etc")
        .xattr("trusted.overlay.opaque", "y")
        .xattr("user.overlay.metacopy", "")
        .xattr("security.selinux", "label")
        .xattr("user.kept", "1");
    for (whiteouts, user) in [(Whiteouts::Native, true), (Whiteouts::UserXattr, false)] {
        let mut layer = lair();
        let options = ApplyOptions { whiteouts, ..Default::default() };
        layer.apply(&tar(std::slice::from_ref(&item)), &options).unwrap();
        for key in ["trusted.overlay.redirect", "trusted.overlay.opaque", "security.selinux"] {
            assert_eq!(layer.xattr("d", key), None, "{key}");
        }
        assert_eq!(layer.xattr("d", "user.overlay.metacopy").is_some(), user);
        assert_eq!(layer.xattr("d", "user.kept").as_deref(), Some(&b"1"[..]));
    }
}

#[test]
fn an_entry_replaces_an_earlier_one_of_its_name() {
    if !root() {
        return;
    }
    let items = [
        Item::dir("a").mode(0o700).mtime(5),
        Item::file("a/old", "old"),
        Item::file("a", "now a file"),
        Item::file("b", ""),
        Item::dir("b"),
        Item::file("b/in", "in"),
        Item::dir("c").mode(0o700).mtime(5),
        Item::file("c/kept", "kept"),
        Item::dir("c").mode(0o750).mtime(6),
        Item::symlink("s", "c"),
        Item::file("s/through", "1"),
        Item::dir("s"),
        Item::file("s/direct", "2"),
    ];
    attempt("replace", &items, |layer, result| {
        result.unwrap();
        assert_eq!(layer.read("a"), "now a file");
        assert_eq!(layer.read("b/in"), "in");
        assert_eq!(layer.read("c/kept"), "kept");
        assert_eq!((layer.meta("c").mode() & 0o777, layer.meta("c").mtime()), (0o750, 6));
        assert_eq!((layer.read("c/through"), layer.read("s/direct")), ("1".into(), "2".into()));
    });
}

#[test]
fn force_mask_hides_owner_and_mode_in_an_attribute() {
    if !root() {
        return;
    }
    let options = ApplyOptions { force_mask: Some(0o700), ..Default::default() };
    let items = [
        Item::dir("./").owner(1, 2).mode(0o751),
        Item::dir("d").owner(3, 4).mode(0o2755),
        Item::file("d/f", "x").owner(5, 6).mode(0o4755),
        Item::device("null", 1, 3).mode(0o666),
        Item::symlink("l", "d"),
        Item::hard_link("h", "d/f"),
    ];
    let mut layer = lair();
    layer.apply(&tar(&items), &options).unwrap();
    for (name, value) in
        [("", "1:2:0751:dir"), ("d", "3:4:2755:dir"), ("d/f", "5:6:4755:file"), ("null", "0:0:0666:char-1-3")]
    {
        let key = "user.containers.override_stat";
        assert_eq!(layer.xattr(name, key).map(|v| String::from_utf8(v).unwrap()).as_deref(), Some(value));
        assert_eq!(layer.meta(name).uid(), 0);
    }
    assert!(layer.meta("null").is_file());
    assert_eq!(layer.meta("d/f").mode() & 0o7777, 0o700);
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
