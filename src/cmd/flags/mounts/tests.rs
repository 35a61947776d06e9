#![allow(clippy::unwrap_used)]

use super::super::tests::environment;
use super::*;
use crate::engine::spec::{MountKind, Propagation, SelinuxRelabel};

fn v(text: &str) -> MountSpec {
    volume(text, &environment()).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn volumes() {
    let got = v("/a:/b:ro,z,rshared,noexec,U");
    assert_eq!((got.source.as_str(), got.target.as_str(), got.read_only), ("/a", "/b", true));
    assert_eq!(got.options, ["noexec"]);
    assert!(got.bind.chown && got.bind.create_source);
    assert_eq!(got.bind.relabel, Some(SelinuxRelabel::Shared));
    assert_eq!(got.bind.propagation, Some(Propagation::RShared));
    assert_eq!(v("./src:/b").source, "/srv/here/src");
    assert_eq!(v("../x:/b/../c/").source, "/srv/x");
    assert_eq!(v("../x:/b/../c/").target, "/c");
    assert_eq!((v("/data").kind, v("/data:nocopy").kind), (MountKind::Volume, MountKind::Volume));
    assert!(v("/a:/b:O,upperdir=/u,workdir=/w").bind.overlay);
    assert_eq!(v("/a:/b:idmap=uids=0-1-2").bind.idmap.as_deref(), Some("uids=0-1-2"));
    assert!(v("/a:/b:bind").bind.non_recursive);
    for bad in [
        "",
        ":",
        "/a:",
        ":/b",
        "relative",
        "/a:relative",
        "/a:/b:bogus",
        "/a:/b:ro,rw",
        "/a:/b:z,Z",
        "/a:/b:c:d",
        "/a:/",
        "/a:/b:O,ro",
        "/a:/b:upperdir=/u",
        "a/b:/c",
        "/a:/b:shared,private",
    ] {
        assert!(volume(bad, &environment()).is_err(), "{bad}");
    }
    let named = v("name:/x:ro");
    assert_eq!((named.kind, named.source.as_str(), named.read_only), (MountKind::Volume, "name", true));
}

#[test]
fn mounts_with_the_keys_of_both_peers() {
    let m = |text: &str| mount(text, &environment()).unwrap_or_else(|e| panic!("{text}: {e}"));
    let got =
        m("type=bind,source=/a,target=/b,readonly,bind-propagation=rslave,relabel=shared,bind-create-src");
    assert_eq!((got.source.as_str(), got.target.as_str(), got.read_only), ("/a", "/b", true));
    assert!(got.bind.create_source);
    assert_eq!(got.bind.propagation, Some(Propagation::RSlave));
    assert!(!m("type=bind,src=/a,dst=/b").bind.create_source);
    assert!(!m("type=bind,src=/a,dst=/b,ro=false").read_only);
    assert!(m("type=bind,src=/a,dst=/b,rw=false").read_only);
    assert_eq!(m("type=bind,dst=/b").source, "/b");
    assert_eq!(m("type=bind,src=.,dst=/b").source, "/srv/here");
    assert_eq!(m("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777").options, ["size=1048576", "mode=1777"]);
    assert_eq!(m("dst=/anonymous").kind, MountKind::Volume);
    assert_eq!(m("type=devpts,dst=/p,mode=0620").options, ["mode=0620"]);
    assert_eq!(m(r#"type=bind,"src=/a,b",dst=/c"#).source, "/a,b");
    assert!(m("type=bind,src=/a,dst=/b,bind-recursive=disabled").bind.non_recursive);
    for bad in [
        "",
        "type=bind",
        "type=bogus,dst=/x",
        "type=bind,src=,dst=/x",
        "type=bind,src=/a,dst=x",
        "type=bind,src=/a,dst=/b,src=/c",
        "type=tmpfs,src=/a,dst=/x",
        "type=tmpfs,dst=/x,tmpfs-size=x",
        "type=bind,src=/a,dst=/b,tmpfs-size=1",
        "type=bind,src=/a,dst=/b,ro=maybe",
        "type=bind,src=/a,dst=/b,what=ever",
        "type=bind,src=/a,dst=/b,ro,rw",
    ] {
        assert!(mount(bad, &environment()).is_err(), "{bad}");
    }
}

#[test]
fn mounts_of_images_patterns_and_artifacts() {
    let m = |text: &str| mount(text, &environment()).unwrap_or_else(|e| panic!("{text}: {e}"));
    let got = m("type=image,src=lab/tools:1,dst=/tools,subpath=/usr/../bin");
    assert_eq!(
        (got.source.as_str(), got.image.subpath.as_str(), got.read_only),
        ("lab/tools:1", "bin", true)
    );
    assert_eq!(m("type=image,src=i,dst=/x,image-subpath=etc").image.subpath, "etc");
    assert!(!m("type=image,src=i,dst=/x,rw").read_only && m("type=image,src=i,dst=/x,rw=false").read_only);
    assert!(!m("type=image,src=i,dst=/x,readwrite=true").read_only);
    let got = m("type=glob,src=/usr/lib/libx*,ro");
    assert_eq!((got.kind, got.target.as_str(), got.read_only), (MountKind::Glob, "", true));
    assert_eq!(m("type=glob,src=x*,dst=/lib/").source, "/srv/here/x*");
    let got = m("type=artifact,src=lab/model,dst=/models,title=a.bin,name=b");
    assert_eq!((got.artifact.title.as_str(), got.artifact.name.as_str()), ("a.bin", "b"));
    for bad in [
        "type=image,dst=/x",
        "type=image,src=i",
        "type=image,src=i,dst=/x,volume-subpath=a",
        "type=image,src=i,dst=/x,rw,ro",
        "type=volume,src=v,dst=/x,image-subpath=a",
        "type=glob,dst=/x",
        "type=artifact,src=a,dst=/x,name=a/b",
        "type=bind,src=/a,dst=/b,title=x",
    ] {
        assert!(mount(bad, &environment()).is_err(), "{bad}");
    }
    // Two patterns without a target are no conflict.
    let mut list = Vec::new();
    add(&mut list, m("type=glob,src=/a*")).unwrap();
    add(&mut list, m("type=glob,src=/b*")).unwrap();
    assert_eq!(list.len(), 2);
}

#[test]
fn tmpfs_options_are_checked() {
    let got = tmpfs("/t:ro,size=64k,mode=1777,noexec,uid=5").unwrap();
    assert_eq!(got.options, ["size=65536", "mode=1777", "noexec", "uid=5"]);
    assert!(got.read_only);
    assert_eq!(tmpfs("/t:size=50%").unwrap().options, ["size=50%"]);
    for bad in ["t", "/t:bogus", "/t:size=x", "/t:mode=9", "/t:uid=root", "/"] {
        assert!(tmpfs(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_target_is_mounted_once() {
    let mut list = Vec::new();
    add(&mut list, v("/a:/b")).unwrap();
    add(&mut list, v("/a:/b")).unwrap();
    assert_eq!(list.len(), 1);
    assert!(add(&mut list, v("/c:/b")).is_err());
}
