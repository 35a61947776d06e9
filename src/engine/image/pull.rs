//! Pulling: from a name to a recorded image.
//!
//! A name is completed to candidates (short names, aliases), each candidate has sources (mirrors, the registry); the
//! first source that has the manifest serves the pull; [`super::receive`] does the rest.

use super::lookup::{Found, find_for, no_such_image};
use super::receive::{Wanted, receive};
use super::request::{Progress, PullPolicy, PullRequest, PulledImage, client, registry_source};
use super::told::tell;
use super::{ImageConfig, config_of, hello, index};
use crate::engine::config::registries::{Registries, ShortNameMode};
use crate::engine::registry::reference::is_identifier;
use crate::engine::registry::{Client, Document, Reference, Repository, ShortName};
use crate::engine::transport::Signing;
use crate::engine::trust::{Policy, Scopes};
use crate::engine::{Context, Engine, Error, ErrorKind, Result};

/// Makes sure the image is here as the policy says, and returns it. A manifest list that is here stands for its instance.
///
/// `NotFound` if nobody has it, or not for the platform; `Unauthorized`, `Network`, `Denied`, `Corrupt`, `DiskFull` as
/// they are; nothing is left behind then.
pub fn pull(engine: &Engine, request: &PullRequest, progress: &dyn Progress) -> Result<PulledImage> {
    let mut pulled = pull_named(engine, request, progress)?;
    if index::is_index(&pulled.image) {
        pulled.image = index::instance(engine, &pulled.image, &request.platform)?;
    }
    Ok(pulled)
}

fn pull_named(engine: &Engine, request: &PullRequest, progress: &dyn Progress) -> Result<PulledImage> {
    let here = match find_for(engine, &request.name, &request.platform) {
        Ok(found) => Some(found),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let by_id = request.name.starts_with("sha256:") || is_identifier(&request.name);
    // What happens to begin an ID here is a name to whoever wants it from a registry.
    let here = here.filter(|found| by_id || found.name.is_some() || request.policy != PullPolicy::Always);
    if let Some(found) = &here
        && (found.name.is_none() || by_id)
    {
        return match request.policy {
            PullPolicy::Always => Err(Error::invalid(format!(
                "pull policy is always but image has been referred to by ID ({})",
                request.name
            ))),
            _ => Ok(present(found)),
        };
    }
    if by_id {
        return Err(no_such_image(&request.name));
    }
    match (request.policy, &here) {
        (PullPolicy::Never, None) => {
            return Err(
                no_such_image(&request.name).with_hint("it may not be pulled: the pull policy is never")
            );
        }
        (PullPolicy::Never | PullPolicy::Missing, Some(found)) => return Ok(present(found)),
        _ => {}
    }
    if let Some(pulled) = hello::load(engine, request, progress)? {
        return Ok(pulled);
    }
    let client = client(engine, &request.access)?;
    // A local `localhost/app` makes `pull app` mean that one, as in podman.
    let local_name = here.as_ref().filter(|_| !request.platform.is_custom()).and_then(|f| f.name.clone());
    let (candidates, note) = match local_name {
        Some(name) => (vec![name], None),
        None => candidates(&request.name, client.registries())?,
    };
    let newer_than = here.as_ref().filter(|_| request.policy == PullPolicy::Newer);
    match (
        pull_first(engine, request, &client, &candidates, note.as_deref(), newer_than, progress),
        newer_than,
    ) {
        (Err(e), Some(found)) if e.kind() != ErrorKind::DiskFull => {
            tracing::debug!("{e}; the local image is used");
            Ok(present(found))
        }
        (pulled, _) => pulled.inspect(|pulled| {
            let name = pulled.image.names.first().map_or(request.name.as_str(), String::as_str);
            tell(engine, "pull", &pulled.image.id, name);
        }),
    }
}

/// Pulls every tag of a repository; images that fail after the first error are not tried.
pub fn pull_all_tags(
    engine: &Engine,
    request: &PullRequest,
    progress: &dyn Progress,
) -> Result<Vec<PulledImage>> {
    let client = client(engine, &request.access)?;
    let (candidates, _) = candidates(&request.name, client.registries())?;
    let mut last = None;
    for candidate in &candidates {
        let name = candidate.clone().without_tag();
        for source in client.sources(&name)? {
            match source.tags() {
                Ok(tags) => {
                    return tags
                        .iter()
                        .map(|tag| {
                            let reference = name.clone().with_tag(tag)?;
                            pull_first(engine, request, &client, &[reference], None, None, progress)
                        })
                        .collect();
                }
                Err(e) => last = Some(e),
            }
        }
    }
    Err(last.unwrap_or_else(|| no_such_image(&request.name)))
}

fn present(found: &Found) -> PulledImage {
    PulledImage { image: found.image.clone(), name: found.name.clone(), digest: None, changed: false }
}

/// The full names to try for a typed one, and how a short name was resolved.
pub(super) fn candidates(name: &str, registries: &Registries) -> Result<(Vec<Reference>, Option<String>)> {
    let finish = |r: Reference| r.digest_over_tag().or_latest();
    let Some(short) = ShortName::parse(name)? else {
        return Ok((vec![finish(Reference::parse(name)?)], None));
    };
    if let Some((value, path)) = registries.alias(&short.name) {
        let note = format!("Resolved {:?} as an alias ({})", short.name, path.display());
        return Ok((vec![finish(short.within(value)?)], Some(note)));
    }
    let search = registries.search();
    let names = search.iter().map(|registry| short.within(&format!("{registry}/{}", short.name)).map(finish));
    let names = names.collect::<Result<Vec<_>>>()?;
    if names.len() > 1 && registries.short_name_mode() == ShortNameMode::Enforcing {
        let list = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(Error::invalid(format!("short-name resolution enforced: {name:?} may be any of {list}"))
            .with_hint("type the full name, or add an alias to registries.conf"));
    }
    let note = registries.search_origin().map(|path| {
        format!("Resolving {:?} using unqualified-search registries ({})", short.name, path.display())
    });
    Ok((names, note))
}

fn pull_first(
    engine: &Engine,
    request: &PullRequest,
    client: &Client,
    candidates: &[Reference],
    note: Option<&str>,
    newer_than: Option<&Found>,
    progress: &dyn Progress,
) -> Result<PulledImage> {
    let policy = Policy::load(&engine.config.env, request.signature_policy.as_deref())?;
    let mut errors: Vec<Error> = Vec::new();
    for candidate in candidates {
        let rules = policy.rules(&Scopes::docker(candidate));
        rules.decide()?;
        let pulled = locate(client, candidate, || progress.started(candidate, note)).and_then(
            |(repository, document)| {
                let digest = document.digest().clone();
                match newer_than {
                    Some(found) if found.image.digests().contains(&digest) => Ok(present(found)),
                    _ => {
                        let wanted = Wanted {
                            names: std::slice::from_ref(candidate),
                            platform: &request.platform,
                            what: candidate.familiar(),
                            rules: &rules,
                            known_as: Some(candidate),
                            signing: &Signing::default(),
                        };
                        let source = registry_source(&engine.config, repository)?;
                        let received = receive(engine, &source, document, &wanted, progress)
                            .with_context(|| format!("pull {}", candidate.familiar()))?;
                        received.note(engine, source.repository.reference());
                        Ok(PulledImage {
                            image: received.image,
                            name: Some(candidate.clone()),
                            digest: Some(digest),
                            changed: received.changed,
                        })
                    }
                }
            },
        );
        match pulled {
            Ok(pulled) => {
                progress.finished(&pulled);
                return Ok(pulled);
            }
            Err(e) => {
                tracing::debug!("{candidate}: {e}");
                errors.push(e);
            }
        }
    }
    let mut errors = errors.into_iter();
    let Some(first) = errors.next() else { return Err(no_such_image(&request.name)) };
    if errors.len() == 0 {
        return Err(first);
    }
    let kind = first.kind();
    let all = std::iter::once(first).chain(errors).map(|e| format!("\n * {e}")).collect::<String>();
    Err(Error::new(kind, format!("{} errors occurred while pulling:{all}", candidates.len())))
}

/// The first source that has the manifest. `started` is called before it is asked.
///
/// `Unsupported` if it is of no image.
pub(super) fn locate(
    client: &Client,
    candidate: &Reference,
    started: impl FnOnce(),
) -> Result<(Repository, Document)> {
    locate_by(client, candidate, started, Repository::manifest)
}

/// [`locate`] of images and artifacts alike.
pub(super) fn locate_any(client: &Client, candidate: &Reference) -> Result<Repository> {
    locate_by(client, candidate, || {}, Repository::any_manifest).map(|(repository, _)| repository)
}

fn locate_by(
    client: &Client,
    candidate: &Reference,
    started: impl FnOnce(),
    ask: impl Fn(&Repository, &str) -> Result<Document>,
) -> Result<(Repository, Document)> {
    let sources = client.sources(candidate)?;
    started();
    let mut last = None;
    for source in sources {
        match ask(&source, candidate.tag_or_digest()) {
            Ok(document) => return Ok((source, document)),
            Err(e) => {
                tracing::debug!("{}: {e}", source.reference());
                last = Some(e);
            }
        }
    }
    Err(last.unwrap_or_else(|| no_such_image(&candidate.to_string())))
}

/// The configuration of an image that is here as the policy says: what `create` starts from.
pub fn ensure(
    engine: &Engine,
    request: &PullRequest,
    progress: &dyn Progress,
) -> Result<(PulledImage, ImageConfig)> {
    let pulled = pull(engine, request, progress)?;
    let config = config_of(engine, &pulled.image)?;
    Ok((pulled, config))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_by_search_registries() {
        let (names, note) = candidates("x", &Registries::default()).unwrap();
        assert_eq!(names[0].to_string(), "docker.io/library/x:latest");
        assert_eq!(note, None);
        let (names, _) = candidates("h:5000/x:1", &Registries::default()).unwrap();
        assert_eq!(names[0].to_string(), "h:5000/x:1");
    }
}
