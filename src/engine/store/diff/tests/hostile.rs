//! Archives that want something else than to be unpacked. Whatever they say, nothing beside the layer's directory
//! changes, nothing blocks, and a refusal is an error and not a panic.

use super::*;

pub(super) const SECRET: &str = "secret";

/// A layer beside which lies a file that is not its business.
pub(super) fn lair() -> Layer {
    let layer = Layer::new();
    let secret = layer.base.path().join(SECRET);
    fs::write(&secret, SECRET).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(layer.base.path(), fs::Permissions::from_mode(0o710)).unwrap();
    layer
}

pub(super) fn assert_untouched(layer: &Layer, case: &str) {
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

pub(super) fn refused(case: &str, items: &[Item]) {
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
