//! Adding rules to policy.json, as `podman image trust set` does (podman's `pkg/trust/policy.go`). Pure.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::engine::{Error, Result};

/// What is to hold for a scope.
#[derive(Clone, Debug)]
pub struct Entry {
    /// A scope of `docker`, or `default`.
    pub scope: String,
    /// `accept`, `insecureAcceptAnything`, `reject`, `signedBy` or `sigstoreSigned`.
    pub kind: String,
    /// Key files; of each, a key has to have signed.
    pub keys: Vec<PathBuf>,
}

/// The text of policy.json with the entry in it; `text` is what it was, empty if there was no file.
///
/// `Invalid` if the type and the keys do not go together, or if there is no default rule.
pub fn change(text: &str, entry: &Entry) -> Result<String> {
    let requirements = requirements(entry)?;
    let mut policy: Map<String, Value> = match text.trim() {
        "" => Map::new(),
        text => serde_json::from_str(text)
            .map_err(|e| Error::invalid(format!("could not read trust policies: {e}")))?,
    };
    if entry.scope == "default" {
        policy.insert("default".to_owned(), requirements);
    } else {
        if policy.get("default").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            return Err(Error::invalid("default trust policy must be set")
                .with_hint("image trust set --type accept default"));
        }
        let transports = object(&mut policy, "transports")?;
        let has = |scopes: &Value| scopes.get(&entry.scope).is_some();
        let known = transports.iter().find(|(_, scopes)| has(scopes)).map(|(name, _)| name.clone());
        let transport = known.unwrap_or_else(|| "docker".to_owned());
        object(transports, &transport)?.insert(entry.scope.clone(), requirements);
    }
    let mut out = Vec::new();
    let indented = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, indented);
    serde::Serialize::serialize(&policy, &mut serializer).map_err(|e| Error::corrupt(e.to_string()))?;
    String::from_utf8(out).map_err(|e| Error::corrupt(e.to_string()))
}

fn requirements(entry: &Entry) -> Result<Value> {
    let kind = if entry.kind == "accept" { "insecureAcceptAnything" } else { &entry.kind };
    match kind {
        "insecureAcceptAnything" | "reject" if entry.keys.is_empty() => Ok(json!([{"type": kind}])),
        "insecureAcceptAnything" | "reject" => Err(Error::invalid(format!(
            "{} public keys unexpectedly provided for trust type {}",
            entry.keys.len(),
            entry.kind
        ))),
        "signedBy" | "sigstoreSigned" if entry.keys.is_empty() => {
            Err(Error::invalid(format!("at least one public key must be defined for type '{kind}'"))
                .with_hint("give it with --pubkeysfile"))
        }
        "signedBy" => {
            Ok(entry.keys.iter().map(|k| json!({"type": kind, "keyType": "GPGKeys", "keyPath": k})).collect())
        }
        "sigstoreSigned" => Ok(entry.keys.iter().map(|k| json!({"type": kind, "keyPath": k})).collect()),
        _ => Err(Error::invalid(format!(
            "invalid choice: {kind} (choose from 'accept', 'reject', 'signedBy', 'sigstoreSigned')"
        ))),
    }
}

fn object<'a>(parent: &'a mut Map<String, Value>, key: &str) -> Result<&'a mut Map<String, Value>> {
    let value = parent.entry(key).or_insert_with(|| Value::Object(Map::new()));
    let wrong = || Error::invalid(format!("could not read trust policies: {key:?} is no object"));
    value.as_object_mut().ok_or_else(wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry(scope: &str, kind: &str, keys: &[&str]) -> Entry {
        let keys = keys.iter().map(PathBuf::from).collect();
        Entry { scope: scope.into(), kind: kind.into(), keys }
    }

    #[test]
    fn a_scope_is_replaced_where_it_is_and_else_is_dockers() {
        let text = change("", &entry("default", "accept", &[])).unwrap();
        assert_eq!(
            text,
            "{\n    \"default\": [\n        {\n            \"type\": \"insecureAcceptAnything\"\n        }\n    ]\n}"
        );
        let old =
            r#"{"default":[{"type":"reject"}],"transports":{"atomic":{"h/x":[{"type":"reject"}]}},"more":1}"#;
        let value = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        let changed = value(change(old, &entry("h/x", "signedBy", &["/a", "/b"])).unwrap());
        assert_eq!(
            changed["transports"]["atomic"]["h/x"][1],
            json!({"type":"signedBy","keyType":"GPGKeys","keyPath":"/b"})
        );
        assert_eq!(changed["more"], 1);
        let changed = value(change(old, &entry("h/y", "sigstoreSigned", &["/a"])).unwrap());
        assert_eq!(changed["transports"]["docker"]["h/y"], json!([{"type":"sigstoreSigned","keyPath":"/a"}]));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (old, entry, want) in [
            ("", entry("h", "accept", &[]), "default trust policy must be set"),
            (
                "",
                entry("default", "accept", &["/k"]),
                "1 public keys unexpectedly provided for trust type accept",
            ),
            (
                "",
                entry("default", "signedBy", &[]),
                "at least one public key must be defined for type 'signedBy'",
            ),
            ("", entry("default", "maybe", &[]), "invalid choice: maybe"),
            ("[", entry("default", "accept", &[]), "could not read trust policies"),
        ] {
            let e = change(old, &entry).unwrap_err().to_string();
            assert!(e.contains(want), "{e}");
        }
    }
}
