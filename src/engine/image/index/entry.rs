//! What a list says of an instance.

use serde_json::{Map, Value, json};

use super::{List, local};
use crate::engine::image::lookup::find;
use crate::engine::registry::{Descriptor, Reference};
use crate::engine::{Digest, Engine, Error, Result};

/// What is set; the rest stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// `--annotation`.
    pub annotations: Vec<(String, String)>,
    /// `--arch`.
    pub architecture: Option<String>,
    /// `--os`.
    pub os: Option<String>,
    /// `--os-version`.
    pub os_version: Option<String>,
    /// `--os-features`.
    pub os_features: Vec<String>,
    /// `--features`: of the processor; only Docker's form has them.
    pub features: Vec<String>,
    /// `--variant`.
    pub variant: Option<String>,
}

impl Annotations {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.annotations.is_empty()
            && self.os_features.is_empty()
            && self.features.is_empty()
            && [&self.architecture, &self.os, &self.os_version, &self.variant].iter().all(|o| o.is_none())
    }

    pub(super) fn apply(&self, entry: &mut Value) {
        for (key, value) in &self.annotations {
            member(entry, "annotations").insert(key.clone(), value.as_str().into());
        }
        let words = [
            ("architecture", &self.architecture),
            ("os", &self.os),
            ("os.version", &self.os_version),
            ("variant", &self.variant),
        ];
        for (key, value) in words {
            if let Some(value) = value {
                member(entry, "platform").insert(key.to_owned(), value.as_str().into());
            }
        }
        for (key, values) in [("os.features", &self.os_features), ("features", &self.features)] {
            if !values.is_empty() {
                member(entry, "platform").insert(key.to_owned(), json!(values));
            }
        }
    }
}

/// A member that is an object, made if need be.
fn member<'a>(entry: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !entry[key].is_object() {
        entry[key] = json!({});
    }
    match &mut entry[key] {
        Value::Object(map) => map,
        // It was made one.
        _ => unreachable!("an object"),
    }
}

/// An index's entry for a manifest.
pub(super) fn entry(descriptor: &Descriptor) -> Value {
    let mut entry = json!({
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest.as_str(),
        "size": descriptor.size,
    });
    if let Some(platform) = &descriptor.platform {
        let mut value = json!({"architecture": platform.architecture, "os": platform.os});
        if !platform.variant.is_empty() {
            value["variant"] = platform.variant.as_str().into();
        }
        entry["platform"] = value;
    }
    entry
}

/// Sets what a list says of the instance that `instance` means: a digest, or the name of an image in it. Without an
/// instance the annotations are the list's own. `subject`: what the list is about. Returns ID and digest.
///
/// `NotFound` if there is none, `Conflict` if the name means several.
pub fn annotate(
    engine: &Engine,
    name: &str,
    instance: Option<&str>,
    annotations: &Annotations,
    subject: Option<Descriptor>,
) -> Result<(String, Option<Digest>)> {
    let mut list = List::named(engine, name)?;
    if let Some(subject) = subject {
        list.document.insert("subject".to_owned(), entry(&Descriptor { platform: None, ..subject }));
    }
    let digest = match instance {
        None => {
            list.annotate(&annotations.annotations);
            None
        }
        Some(instance) => {
            let digest = list.resolve(engine, instance)?;
            let entries = list.entries_mut()?;
            let entry = entries.iter_mut().find(|e| e["digest"].as_str() == Some(digest.as_str()));
            let missing = || Error::not_found(format!("no instance {digest} found in {name}"));
            annotations.apply(entry.ok_or_else(missing)?);
            Some(digest)
        }
    };
    list.save(engine)?;
    Ok((list.id, digest))
}

impl List {
    /// The digest of the instance that a digest, a file of an artifact, or an image's name means.
    pub(super) fn resolve(&self, engine: &Engine, instance: &str) -> Result<Digest> {
        if let Ok(digest) = Digest::parse(instance) {
            return Ok(digest);
        }
        let path = engine.config.env.cwd.join(instance).to_string_lossy().into_owned();
        let of_file = self.artifacts.files.iter().find(|(_, files)| files.contains(&path));
        if let Some((digest, _)) = of_file {
            return Digest::parse(digest);
        }
        let named: Vec<String> = Reference::parse(instance)
            .map(|r| vec![r.clone().or_latest().to_string(), r.to_string()])
            .unwrap_or_default();
        let is_named = |place: &str| {
            let place = place.strip_prefix("docker://").unwrap_or(place);
            let place = Reference::parse(place).map(|r| r.or_latest().to_string()).unwrap_or_default();
            named.contains(&place)
        };
        let here: Vec<&str> = self.entries().filter_map(|e| e["digest"].as_str()).collect();
        let places = self
            .instances
            .iter()
            .filter(|(digest, place)| here.contains(&digest.as_str()) && is_named(place));
        let mut found: Vec<&str> = places.map(|(digest, _)| digest.as_str()).collect();
        if found.is_empty()
            && let Ok(image) = find(engine, instance)
        {
            let digests = image.image.digests();
            found = here.into_iter().filter(|d| digests.iter().any(|other| other.as_str() == *d)).collect();
        }
        match found[..] {
            [one] => Digest::parse(one),
            [] => Err(Error::not_found(format!("no instance {instance} found in the manifest list"))
                .with_hint("name it by its digest: see manifest inspect")),
            _ => Err(Error::invalid(format!("{instance} is {} instances of the manifest list", found.len()))
                .with_hint("name one by its digest: see manifest inspect")),
        }
    }

    /// The image of an instance, if it is here.
    pub(super) fn local(
        &self,
        engine: &Engine,
        digest: &Digest,
    ) -> Result<Option<crate::engine::store::ImageRecord>> {
        local(engine, digest)
    }
}
