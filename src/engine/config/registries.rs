//! registries.conf, version 2 (containers-registries.conf(5)): where images come from.
//!
//! Read when a command first needs it; nothing is written. Search order and merging follow containers/image's `sysregistriesv2`: one
//! main file (`CONTAINERS_REGISTRIES_CONF`, else the user's, else /etc's), then drop-ins in name order, each of which
//! replaces registries by prefix, aliases by name, and lists as a whole; the aliases that podman recorded come last. Without any search registry, `docker.io` is
//! searched. Names are plain strings here; the registry module parses them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Environment;
use super::containers::{drop_ins, parse_toml};
use crate::engine::{Error, Result};

/// What pulls may use a mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PullFromMirror {
    /// Every pull.
    #[default]
    All,
    /// Only pulls by digest.
    DigestOnly,
    /// Only pulls by tag.
    TagOnly,
}

/// A place to pull from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Endpoint {
    /// `host[:port][/path]`; empty keeps the name (only below a `*.` prefix).
    pub location: String,
    /// Whether plain HTTP and unverified TLS are allowed.
    pub insecure: bool,
    /// Which pulls; mirrors only.
    pub pull_from_mirror: Option<PullFromMirror>,
}

/// One `[[registry]]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Registry {
    /// The names it applies to; `*.example.com` matches subdomains.
    pub prefix: String,
    /// Where they really are.
    pub location: String,
    /// Whether plain HTTP and unverified TLS are allowed.
    pub insecure: bool,
    /// Whether pulls are refused.
    pub blocked: bool,
    /// Tried in order before `location`.
    #[serde(rename = "mirror")]
    pub mirrors: Vec<Endpoint>,
    /// Whether mirrors serve pulls by digest only.
    pub mirror_by_digest_only: bool,
    /// Refused: belongs to mirrors.
    pull_from_mirror: Option<PullFromMirror>,
}

/// What to do with a name that has no registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShortNameMode {
    /// Ask on a terminal, else try every search registry.
    #[default]
    Permissive,
    /// Ask on a terminal, else fail if there are several.
    Enforcing,
    /// Try every search registry.
    Disabled,
}

/// One endpoint with the name an image has there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The full name at this endpoint.
    pub name: String,
    /// Whether plain HTTP and unverified TLS are allowed.
    pub insecure: bool,
    /// Whether this is a mirror, not the registry itself.
    pub mirror: bool,
}

/// The merged configuration.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    registries: Vec<Registry>,
    search: Option<Vec<String>>,
    search_origin: Option<PathBuf>,
    mode: Option<ShortNameMode>,
    helpers: Option<Vec<String>>,
    /// Name as typed -> (full name, or empty to unset; file).
    aliases: BTreeMap<String, (String, PathBuf)>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct File {
    #[serde(rename = "registry")]
    registries: Vec<Registry>,
    unqualified_search_registries: Option<Vec<String>>,
    credential_helpers: Option<Vec<String>>,
    short_name_mode: Option<ShortNameMode>,
    aliases: BTreeMap<String, String>,
}

const KEYS: [&str; 6] = [
    "registry",
    "unqualified-search-registries",
    "credential-helpers",
    "short-name-mode",
    "aliases",
    "additional-layer-store-auth-helper",
];
const REGISTRY_KEYS: [&str; 6] =
    ["prefix", "location", "insecure", "blocked", "mirror", "mirror-by-digest-only"];

impl Registries {
    /// Reads the files that concern this caller. A missing file is skipped unless a variable names it; a syntax error
    /// names file, line and key.
    pub fn load(env: &Environment) -> Result<Self> {
        Self::load_from(env, Path::new("/etc/containers"))
    }

    fn load_from(env: &Environment, system: &Path) -> Result<Self> {
        let user = env.home.join(".config/containers");
        let user_file = user.join("registries.conf");
        let (file, required) = match env.var("CONTAINERS_REGISTRIES_CONF") {
            Some(path) => (env.cwd.join(path), true),
            None if user_file.exists() => (user_file.clone(), true),
            None => (system.join("registries.conf"), false),
        };
        let directories = match env.var("CONTAINERS_REGISTRIES_CONF_DIR") {
            Some(path) => vec![env.cwd.join(path)],
            // The user's own file hides the system's drop-ins.
            None if file == user_file => vec![user.join("registries.conf.d")],
            None => vec![system.join("registries.conf.d"), user.join("registries.conf.d")],
        };
        let mut out = Self::default();
        out.read(&file, required)?;
        for directory in directories {
            for path in drop_ins(&directory)? {
                out.read(&path, false)?;
            }
        }
        if let Err(e) = out.read(&alias_cache(env), false) {
            tracing::warn!("{e}");
        }
        Ok(out)
    }

    fn read(&mut self, path: &Path, required: bool) -> Result<()> {
        match std::fs::read_to_string(path) {
            Ok(text) => self.merge(&text, path),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !required => Ok(()),
            Err(e) => Err(Error::io("read", path, e)),
        }
    }

    fn merge(&mut self, text: &str, path: &Path) -> Result<()> {
        let bad = |why: String| Error::invalid(format!("{}: {why}", path.display()));
        if is_version_1(text) {
            return Err(bad("version 1 of registries.conf is not supported".into()).with_hint(
                "write unqualified-search-registries and [[registry]] tables instead of [registries.…]",
            ));
        }
        let file: File = parse_toml(text, path)?;
        tell_unknown_keys(text, path);
        for registry in file.registries {
            let registry = checked(registry).map_err(&bad)?;
            match self.registries.iter_mut().find(|r| r.prefix == registry.prefix) {
                Some(old) => *old = registry,
                None => self.registries.push(registry),
            }
        }
        if let Some(search) = file.unqualified_search_registries {
            let search = search.iter().map(|r| location(r)).collect::<Result<Vec<_>, _>>().map_err(&bad)?;
            self.search = Some(search);
            self.search_origin = Some(path.to_owned());
        }
        self.helpers = file.credential_helpers.or(self.helpers.take());
        self.mode = file.short_name_mode.or(self.mode);
        for (name, value) in file.aliases {
            check_alias(&name, &value).map_err(&bad)?;
            self.aliases.insert(name, (value, path.to_owned()));
        }
        Ok(())
    }

    /// Every registry that a file configures.
    pub fn all(&self) -> &[Registry] {
        &self.registries
    }

    /// The registries that names without one are looked for in: never empty.
    pub fn search(&self) -> Vec<String> {
        match &self.search {
            Some(search) if !search.is_empty() => search.clone(),
            _ => vec!["docker.io".to_owned()],
        }
    }

    /// Which file set [`Registries::search`], if one did.
    pub fn search_origin(&self) -> Option<&Path> {
        self.search_origin.as_deref()
    }

    /// How names without a registry are treated.
    pub fn short_name_mode(&self) -> ShortNameMode {
        self.mode.unwrap_or_default()
    }

    /// Credential helpers in the order they are asked; `containers-auth.json` stands for the credential files.
    pub fn credential_helpers(&self) -> Vec<String> {
        match &self.helpers {
            Some(helpers) if !helpers.is_empty() => helpers.clone(),
            _ => vec!["containers-auth.json".to_owned()],
        }
    }

    /// The full name that stands for `name` (no tag, no digest), and the file that says so.
    pub fn alias(&self, name: &str) -> Option<(&str, &Path)> {
        self.aliases.get(name).filter(|(value, _)| !value.is_empty()).map(|(v, p)| (v.as_str(), p.as_path()))
    }

    /// The registry with the longest prefix of `name` (a full name, with or without tag or digest).
    pub fn find(&self, name: &str) -> Option<&Registry> {
        self.registries.iter().filter(|r| matched(name, &r.prefix).is_some()).max_by_key(|r| r.prefix.len())
    }

    /// Where to pull `name` from, in order. `by_digest`: the name has a digest.
    ///
    /// Fails if the registry is blocked.
    pub fn sources(&self, name: &str, by_digest: bool) -> Result<Vec<Source>> {
        let Some(registry) = self.find(name) else {
            return Ok(vec![Source { name: name.to_owned(), insecure: false, mirror: false }]);
        };
        if registry.blocked {
            return Err(Error::new(
                crate::engine::ErrorKind::Denied,
                format!("registry {} is blocked in registries.conf", registry.prefix),
            ));
        }
        let rewrite = |location: &str| match matched(name, &registry.prefix) {
            Some(length) if !location.is_empty() => format!("{location}{}", &name[length..]),
            _ => name.to_owned(),
        };
        let usable = |mirror: &&Endpoint| match mirror.pull_from_mirror.unwrap_or_default() {
            _ if registry.mirror_by_digest_only => by_digest,
            PullFromMirror::All => true,
            PullFromMirror::DigestOnly => by_digest,
            PullFromMirror::TagOnly => !by_digest,
        };
        let mirrors = registry.mirrors.iter().filter(usable);
        let mut sources: Vec<Source> = mirrors
            .map(|m| Source { name: rewrite(&m.location), insecure: m.insecure, mirror: true })
            .collect();
        sources.push(Source {
            name: rewrite(&registry.location),
            insecure: registry.insecure,
            mirror: false,
        });
        Ok(sources)
    }
}

fn alias_cache(env: &Environment) -> PathBuf {
    let root = if env.rootless() { env.cache_home() } else { PathBuf::from("/var/cache") };
    root.join("containers/short-name-aliases.conf")
}

fn is_version_1(text: &str) -> bool {
    text.lines().any(|l| {
        matches!(
            l.trim(),
            "[registries.search]" | "[registries.insecure]" | "[registries.block]" | "[registries]"
        )
    })
}

fn tell_unknown_keys(text: &str, path: &Path) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let Ok(table) = text.parse::<toml::Table>() else { return };
    for (key, value) in &table {
        if !KEYS.contains(&key.as_str()) {
            tracing::debug!("{}: key {key} is not used by this program", path.display());
        }
        for registry in value.as_array().filter(|_| key == "registry").into_iter().flatten() {
            for key in registry.as_table().into_iter().flat_map(toml::Table::keys) {
                if !REGISTRY_KEYS.contains(&key.as_str()) {
                    tracing::debug!("{}: key registry.{key} is not used by this program", path.display());
                }
            }
        }
    }
}

/// Trims slashes; a URL is an error.
fn location(text: &str) -> Result<String, String> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Err(format!("invalid location '{text}': URI schemes are not supported"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn checked(mut registry: Registry) -> Result<Registry, String> {
    registry.location = location(&registry.location)?;
    registry.prefix = location(&registry.prefix)?;
    let wildcard = registry.prefix.starts_with("*.");
    if registry.location.is_empty() && !wildcard {
        return Err(if registry.prefix.is_empty() {
            "a [[registry]] has neither location nor prefix".into()
        } else {
            format!("the [[registry]] with prefix {:?} has no location", registry.prefix)
        });
    }
    if registry.prefix.is_empty() {
        registry.prefix.clone_from(&registry.location);
    }
    if wildcard && registry.prefix.contains(['/', '@', ':']) {
        return Err(format!("prefix {:?}: a wildcard prefix has the form *.example.com", registry.prefix));
    }
    if registry.pull_from_mirror.is_some() {
        return Err(format!(
            "pull-from-mirror must not be set for a non-mirror registry {:?}",
            registry.prefix
        ));
    }
    for mirror in &mut registry.mirrors {
        mirror.location = location(&mirror.location)?;
        if mirror.location.is_empty() {
            return Err(format!("a mirror of {:?} has no location", registry.prefix));
        }
        if registry.mirror_by_digest_only && mirror.pull_from_mirror.is_some() {
            return Err(format!(
                "{:?} sets mirror-by-digest-only and its mirror {:?} pull-from-mirror: use one",
                registry.prefix, mirror.location
            ));
        }
    }
    Ok(registry)
}

fn check_alias(name: &str, value: &str) -> Result<(), String> {
    let first = |text: &str| text.split('/').next().unwrap_or_default().to_owned();
    let is_domain = |text: &str| text.contains(['.', ':']) || text == "localhost";
    if name.is_empty()
        || name.contains('@')
        || (name.contains('/') && is_domain(&first(name)))
        || name.contains(':')
    {
        return Err(format!("alias {name:?}: the name must be short, without registry, tag and digest"));
    }
    let tagged = value.contains('@') || value.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if !value.is_empty() && (!value.contains('/') || !is_domain(&first(value)) || tagged) {
        return Err(format!(
            "alias {name:?}: {value:?} must contain registry and repository, and no tag or digest"
        ));
    }
    Ok(())
}

/// How many bytes of `name` the prefix covers.
fn matched(name: &str, prefix: &str) -> Option<usize> {
    let end = match prefix.strip_prefix('*') {
        Some(suffix) => {
            let at = name.find(suffix)?;
            if at == 0 || name[..at].contains('/') {
                return None;
            }
            at + suffix.len()
        }
        None => name.starts_with(prefix).then_some(prefix.len())?,
    };
    matches!(name.as_bytes().get(end), None | Some(b':' | b'/' | b'@')).then_some(end)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Registries> {
        let mut out = Registries::default();
        out.merge(text, Path::new("r.conf")).map(|()| out)
    }

    fn names(sources: &[Source]) -> Vec<&str> {
        sources.iter().map(|s| s.name.as_str()).collect()
    }

    #[test]
    fn docker_io_is_searched_when_nothing_is_configured() {
        assert_eq!(Registries::default().search(), ["docker.io"]);
        assert_eq!(
            parsed("unqualified-search-registries = [\"quay.io\", \"x:5000\"]").unwrap().search().len(),
            2
        );
    }

    #[test]
    fn the_longest_prefix_rewrites_the_name_and_mirrors_come_first() {
        let conf = parsed(
            r#"
            [[registry]]
            prefix = "docker.io"
            location = "127.0.0.1:5000/hub"
            insecure = true
            [[registry]]
            location = "docker.io/lab"
            [[registry.mirror]]
            location = "m1:5000"
            insecure = true
            [[registry.mirror]]
            location = "m2/x"
            pull-from-mirror = "digest-only"
            [[registry.mirror]]
            location = "m3"
            pull-from-mirror = "tag-only"
            [[registry]]
            prefix = "*.corp.example"
            "#,
        )
        .unwrap();
        let sources = conf.sources("docker.io/library/x:1", false).unwrap();
        assert_eq!(names(&sources), ["127.0.0.1:5000/hub/library/x:1"]);
        assert!(sources[0].insecure && !sources[0].mirror);
        let sources = conf.sources("docker.io/lab/x:1", false).unwrap();
        assert_eq!(names(&sources), ["m1:5000/x:1", "m3/x:1", "docker.io/lab/x:1"]);
        assert!(sources[0].mirror && sources[0].insecure && !sources[1].insecure);
        let sources = conf.sources("docker.io/lab/x@sha256:0", true).unwrap();
        assert_eq!(names(&sources), ["m1:5000/x@sha256:0", "m2/x/x@sha256:0", "docker.io/lab/x@sha256:0"]);
        assert_eq!(names(&conf.sources("a.b.corp.example:1/y", false).unwrap()), ["a.b.corp.example:1/y"]);
        assert!(conf.find("docker.iox/y").is_none());
        assert!(conf.find("corp.example/y").is_none());
        assert!(conf.find("evil/a.corp.example/y").is_none());
    }

    #[test]
    fn a_blocked_registry_is_denied() {
        let conf = parsed("[[registry]]\nlocation = \"bad.example\"\nblocked = true\n").unwrap();
        let e = conf.sources("bad.example/x", false).unwrap_err();
        assert_eq!(e.kind(), crate::engine::ErrorKind::Denied);
        assert!(e.to_string().contains("bad.example is blocked"), "{e}");
    }

    #[test]
    fn mistakes_name_file_line_and_key() {
        for (text, want) in [
            ("[[registry]]\nlocation = \"x\"\ninsecure = 1\n", "r.conf, line 3 (key insecure)"),
            ("short-name-mode = \"ask\"", "r.conf, line 1 (key short-name-mode)"),
            ("[[registry]]\nlocation = ", "r.conf, line 2"),
            ("[[registry]]\nlocation = \"https://x\"", "URI schemes are not supported"),
            ("[[registry]]\nprefix = \"x\"", "has no location"),
            ("[[registry]]\nprefix = \"*.x/y\"", "wildcard prefix"),
            ("[[registry]]\nlocation=\"x\"\npull-from-mirror=\"all\"", "non-mirror"),
            ("[aliases]\n\"a.b/c\" = \"x.y/z\"", "must be short"),
            ("[aliases]\nc = \"z\"", "must contain registry"),
            ("[registries.search]\nregistries = []", "version 1"),
        ] {
            let e = parsed(text).expect_err(text).to_string();
            assert!(e.contains(want), "{text}: {e}");
        }
    }

    #[test]
    fn drop_ins_replace_by_prefix_and_reset_aliases() {
        let tmp = tempfile::tempdir().unwrap();
        let etc = tmp.path().join("etc");
        std::fs::create_dir_all(etc.join("registries.conf.d")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(etc.join(name), text).unwrap();
        write("registries.conf", "[[registry]]\nlocation='a'\n[aliases]\nx='q.io/x'\ny='q.io/y'\n");
        write("registries.conf.d/1.conf", "[[registry]]\nlocation='a'\ninsecure=true\n[aliases]\nx=''\n");
        write("registries.conf.d/2.txt", "nonsense");
        let env = Environment { uid: 1000, home: tmp.path().join("home"), ..Environment::default() };
        let conf = Registries::load_from(&env, &etc).unwrap();
        assert!(conf.find("a/x").unwrap().insecure);
        assert_eq!(conf.alias("x"), None);
        assert_eq!(conf.alias("y").unwrap().0, "q.io/y");
        // The user's own file hides the system's.
        let user = tmp.path().join("home/.config/containers");
        std::fs::create_dir_all(&user).unwrap();
        std::fs::write(user.join("registries.conf"), "unqualified-search-registries=['u.io']").unwrap();
        let conf = Registries::load_from(&env, &etc).unwrap();
        assert_eq!(conf.search(), ["u.io"]);
        assert!(conf.find("a/x").is_none());
    }
}
