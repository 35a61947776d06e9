//! Parsing, precedence, and what is refused.

use super::*;
use crate::engine::registry::Reference;

fn parse(text: &str) -> Result<Policy> {
    Policy::parse(text, Path::new("/p.json"), Gpg::default())
}

fn docker(name: &str) -> Scopes {
    Scopes::docker(&Reference::parse(name).unwrap())
}

#[test]
fn rules_are_those_of_the_closest_scope() {
    let policy = parse(
        r#"{"default":[{"type":"reject"}],"transports":{
            "docker":{
                "good.io":[{"type":"insecureAcceptAnything"}], "good.io/bad":[{"type":"reject"}],
                "good.io/signed":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}],
                "*.corp":[{"type":"insecureAcceptAnything"}], "other.io/x:1":[{"type":"insecureAcceptAnything"}]},
            "dir":{"":[{"type":"reject"}], "/srv":[{"type":"insecureAcceptAnything"}]},
            "docker-daemon":{"":[{"type":"insecureAcceptAnything"}]}}}"#,
    )
    .unwrap();
    for (image, refusal) in [
        (docker("good.io/x:1"), None),
        (docker("a.b.corp/x:1"), None),
        (docker("other.io/x:1"), None),
        (docker("good.io/bad:1"), Some("is rejected by policy (docker scope \"good.io/bad\" in /p.json)")),
        (docker("other.io/x:2"), Some("rejected by policy (default in /p.json)")),
        (Scopes::daemon(None), None),
        (Scopes::path("dir", Path::new("/srv/images/x")), None),
        (Scopes::path("dir", Path::new("/srv2/x")), Some("rejected by policy (dir in /p.json)")),
        (Scopes::path("oci", Path::new("/srv/x")), Some("rejected by policy (default in /p.json)")),
    ] {
        let rules = policy.rules(&image);
        match (rules.decide(), refusal) {
            (Ok(()), None) => {}
            (Err(e), Some(want)) => {
                assert_eq!(e.kind(), ErrorKind::Denied);
                assert!(e.to_string().contains(want), "{image:?}: {e}");
            }
            (decided, _) => panic!("{image:?}: {decided:?}"),
        }
        assert!(!rules.need_signatures());
    }
    let signed = policy.rules(&docker("good.io/signed:1"));
    signed.decide().unwrap();
    assert!(signed.need_signatures());
}

/// The rows of containers/image's `policy_config_test.go`, as far as its texts are ours.
#[test]
fn whatever_is_not_understood_is_refused_by_name() {
    let default = r#""default":[{"type":"insecureAcceptAnything"}]"#;
    let one = |requirement: &str| format!("{{\"default\":[{requirement}]}}");
    for (text, want) in [
        ("{\n\"default\": ,}".to_owned(), "/p.json, line 2"),
        ("{}".into(), "/p.json: default policy is missing"),
        (r#"{"default":1}"#.into(), "/p.json.default: invalid type: integer `1`, expected a sequence"),
        (
            r#"{"default":[]}"#.into(),
            "/p.json.default: list of verification policy requirements must not be empty",
        ),
        (format!("{{{default},\"nope\":1}}"), "/p.json: unknown key \"nope\""),
        (format!("{{{default},{default}}}"), "/p.json: duplicate key \"default\""),
        (one(r#"{"type":"sometimes"}"#), "/p.json.default[0]: unknown policy requirement type \"sometimes\""),
        (one(r#"{"type":"reject","why":1}"#), "/p.json.default[0]: unknown key \"why\""),
        (one("{}"), "/p.json.default[0]: the key \"type\" is missing"),
        (one(r#"{"type":"signedBy","keyPath":"/k"}"#), "the key \"keyType\" is missing"),
        (one(r#"{"type":"signedBy","keyType":"x","keyPath":"/k"}"#), "unrecognized keyType value \"x\""),
        (one(r#"{"type":"signedBy","keyType":"GPGKeys"}"#), "none of them present"),
        (
            one(r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k","keyPaths":["/l"]}"#),
            "more than one present",
        ),
        (one(r#"{"type":"signedBy","keyType":"GPGKeys","keyPaths":[]}"#), "keyPaths contains no entries"),
        (one(r#"{"type":"signedBy","keyType":"GPGKeys","keyData":"§"}"#), "default[0].keyData is not base64"),
        (
            one(r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k","signedIdentity":{"type":"x"}}"#),
            "/p.json.default[0].signedIdentity: unknown policy reference match type \"x\"",
        ),
        (one(r#"{"type":"signedBaseLayer"}"#), "the key \"baseLayerIdentity\" is missing"),
        (
            one(r#"{"type":"sigstoreSigned"}"#),
            "exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio, and pki",
        ),
        (one(r#"{"type":"sigstoreSigned","keyPath":"/k","keyData":""}"#), "exactly one of keyPath"),
        (
            one(
                r#"{"type":"sigstoreSigned","keyPath":"/k","rekorPublicKeyPath":"/r","rekorPublicKeyData":""}"#,
            ),
            "at most one of rekorPublicKeyPath",
        ),
        (
            one(r#"{"type":"sigstoreSigned","fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"}}"#),
            "must be specified if fulcio is used",
        ),
        (
            one(
                r#"{"type":"sigstoreSigned","fulcio":{"caPath":"/c","oidcIssuer":"i"},"rekorPublicKeyPath":"/r"}"#,
            ),
            "default[0].fulcio: subjectEmail not specified",
        ),
        (one(r#"{"type":"sigstoreSigned","pki":{"caRootsPath":"/c"}}"#), "subjectEmail and subjectHostname"),
        (
            one(
                r#"{"type":"sigstoreSigned","pki":{"caRootsPath":"/c","caRootsData":"","subjectEmail":"e"}}"#,
            ),
            "caRootsPath and caRootsData cannot be used simultaneously",
        ),
        (
            one(
                r#"{"type":"sigstoreSigned","pki":{"caRootsPath":"/c","subjectEmail":"e"},"rekorPublicKeyPath":"/r"}"#,
            ),
            "not supported for pki",
        ),
        (
            format!(r#"{{{default},"transports":{{"dir":{{"a":[{{"type":"reject"}}]}}}}}}"#),
            "/p.json.transports.dir: invalid scope \"a\": must be an absolute path",
        ),
        (
            format!(r#"{{{default},"transports":{{"docker":{{"h.io/x":[{{"type":"r"}}]}}}}}}"#),
            "/p.json.transports.docker[\"h.io/x\"][0]: unknown policy requirement type",
        ),
    ] {
        let e = parse(&text).expect_err(&text);
        assert_eq!(e.kind(), ErrorKind::Invalid);
        assert!(e.to_string().contains(want), "{text}: {e}");
    }
}

#[test]
fn every_form_of_a_requirement_is_read() {
    let identity = r#""signedIdentity":{"type":"matchRepository"}"#;
    let keys = |text: &str| {
        let text = format!(r#"{{"default":[{{"type":"signedBy","keyType":"GPGKeys",{text}}}]}}"#);
        let Requirement::SignedBy(signed) = parse(&text).unwrap().default.remove(0) else { panic!() };
        signed
    };
    let file = |path: &str| Bytes::File(path.into());
    assert_eq!(keys(r#""keyPath":"/k""#).keys, [file("/k")]);
    assert_eq!(keys(r#""keyPaths":["/k","/l"]"#).keys, [file("/k"), file("/l")]);
    let inline = keys(&format!(r#""keyData":"a2V5",{identity}"#));
    assert_eq!(
        (inline.keys, inline.identity),
        (vec![Bytes::Inline(b"key".into())], Identity::MatchRepository)
    );
    let sigstore = |text: &str| {
        let text = format!(r#"{{"default":[{{"type":"sigstoreSigned",{text}}}]}}"#);
        let Requirement::SigstoreSigned(signed) = parse(&text).unwrap().default.remove(0) else { panic!() };
        *signed
    };
    let two = vec![Bytes::Inline(b"a".into()), Bytes::Inline(b"b".into())];
    assert_eq!(sigstore(r#""keyDatas":["YQ==","Yg=="]"#).by, SigstoreBy::Keys(two.clone()));
    let fulcio = r#""fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"}"#;
    let signed = sigstore(&format!(r#"{fulcio},"rekorPublicKeyDatas":["YQ==","Yg=="]"#));
    assert_eq!(signed.rekor, two);
    let (issuer, email) = ("i".to_owned(), "e".to_owned());
    assert_eq!(signed.by, SigstoreBy::Fulcio { authorities: file("/c"), issuer, email });
    let pki = r#""pki":{"caRootsPath":"/c","caIntermediatesData":"YQ==","subjectHostname":"h"}"#;
    let SigstoreBy::Pki { roots, intermediates, email: None, hostname: Some(_) } = sigstore(pki).by else {
        panic!()
    };
    assert_eq!((roots, intermediates), (file("/c"), Some(Bytes::Inline(b"a".into()))));
    let accepted = r#"{"default":[{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchExact"}}]}"#;
    let e = parse(accepted).unwrap().rules(&docker("x.io/y:1")).decide().unwrap_err();
    assert!(e.to_string().contains("signedBaseLayer is not implemented"), "{e}");
}
