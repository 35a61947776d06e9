//! Looking for repositories: the first protocol's search, which Docker Hub and others have, else the catalogue.

use serde::Deserialize;

use super::client::{Client, next_page};
use super::host::{Host, Request};
use super::http::bounded_body;
use crate::engine::config::registries::Registries;
use crate::engine::registry::reference::DEFAULT_DOMAIN;
use crate::engine::{Error, Result};

/// Largest answer read.
const MAX_ANSWER: usize = 16 << 20;
/// Most pages of a catalogue that are looked through.
const MAX_PAGES: usize = 1000;
/// Where Docker Hub answers searches.
const HUB: &str = "index.docker.io";

/// What was found.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Found {
    /// The registry; not part of the answer.
    #[serde(skip)]
    pub index: String,
    /// The repository's path, as the registry writes it.
    pub name: String,
    /// What its owner says of it.
    pub description: Option<String>,
    /// How many like it.
    pub star_count: i64,
    /// Whether the registry itself vouches for it.
    pub is_official: bool,
    /// Whether it is built by the registry.
    pub is_automated: bool,
    /// The same, as older registries call it.
    is_trusted: bool,
}

impl Found {
    /// Whether it is built by the registry.
    pub fn automated(&self) -> bool {
        self.is_automated || self.is_trusted
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    results: Option<Vec<Found>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Catalogue {
    repositories: Option<Vec<String>>,
}

impl Client {
    /// Repositories of a registry whose names or descriptions fit `term`, at most `limit`.
    pub fn search(&self, registry: &str, term: &str, limit: usize) -> Result<Vec<Found>> {
        let hub = registry == DEFAULT_DOMAIN;
        // As docker does: the library's images are not found with the library in front.
        let term = if hub { term.strip_prefix("library/").unwrap_or(term) } else { term };
        let credentials = self.keychain().get(registry)?;
        let given = self.credentials().cloned().or(credentials);
        let host = self.host(if hub { HUB } else { registry }, given)?;
        let runtime = self.runtime()?;
        let found = runtime.block_on(async {
            match by_search(&host, term, limit).await? {
                Some(found) => Ok(found),
                None => by_catalogue(&host, term, limit).await,
            }
        });
        let named = |mut found: Found| {
            found.index = registry.to_owned();
            found
        };
        found.map(|all: Vec<Found>| all.into_iter().take(limit).map(named).collect())
    }
}

/// `None`: the registry has no such search.
async fn by_search(host: &Host, term: &str, limit: usize) -> Result<Option<Vec<Found>>> {
    let query = super::http::form_encoded(&[("q", term), ("n", &limit.to_string())]);
    let answer = host.send(&Request::get(&format!("/v1/search?{query}"), "")).await?;
    if !answer.status().is_success() {
        tracing::debug!("{} has no search: {}", host.name(), answer.status());
        return Ok(None);
    }
    let body = bounded_body(answer, MAX_ANSWER).await?;
    // Some answer every path with a page for people.
    Ok(serde_json::from_slice::<Answer>(&body).ok().map(|a| a.results.unwrap_or_default()))
}

async fn by_catalogue(host: &Host, term: &str, limit: usize) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut next = Some("_catalog".to_owned());
    for _ in 0..MAX_PAGES {
        let Some(path) = next.take().filter(|_| found.len() < limit) else { break };
        let answer = host.send(&Request::get(&path, "registry:catalog:*")).await?;
        if !answer.status().is_success() {
            return Err(host.failure(answer).await.wrap(format!("search {}", host.name())));
        }
        next = answer.headers().get("link").and_then(|l| l.to_str().ok()).and_then(next_page);
        let body = bounded_body(answer, MAX_ANSWER).await?;
        let page: Catalogue = serde_json::from_slice(&body)
            .map_err(|e| Error::corrupt(format!("catalogue of {}: {e}", host.name())))?;
        let matching = page.repositories.unwrap_or_default().into_iter().filter(|name| name.contains(term));
        found.extend(matching.map(|name| Found { name, ..Found::default() }));
    }
    Ok(found)
}

/// The registries a typed term is looked for in, and the term there: `quay.io/x` is for one registry.
pub fn places(term: &str, registries: &Registries) -> Vec<(String, String)> {
    let term = term.strip_prefix("docker://").unwrap_or(term);
    if let Some((first, rest)) = term.split_once('/')
        && (first.contains(['.', ':']) || first == "localhost")
    {
        return vec![(first.to_owned(), rest.to_owned())];
    }
    registries.search().into_iter().map(|registry| (registry, term.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_names_its_registry_or_is_for_all() {
        let registries = Registries::default();
        let place = |term: &str| places(term, &registries).swap_remove(0);
        assert_eq!(place("busybox"), ("docker.io".to_owned(), "busybox".to_owned()));
        assert_eq!(place("lab/busy"), ("docker.io".to_owned(), "lab/busy".to_owned()));
        assert_eq!(place("quay.io/lab/busy"), ("quay.io".to_owned(), "lab/busy".to_owned()));
        assert_eq!(place("h:5000/"), ("h:5000".to_owned(), String::new()));
    }
}
