//! Artifacts: files under a name, kept here and at registries as OCI artifacts.
//!
//! They are in `<graph root>/artifacts`, an OCI image layout that is podman's as well (`pkg/libartifact/store`): the
//! name stands in index.json, changes are made under `index.lock`.

mod layout;

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::engine::image::request::{RegistryAccess, client, registry_source, registry_target};
use crate::engine::registry::manifest::OCI_MANIFEST;
use crate::engine::registry::{Content, Descriptor, Document, Manifest, Reference};
use crate::engine::transport::{CopyOptions, KnownBlobs, LayerForm, Progress, Signing, copy, sniff};
use crate::engine::trust::{Policy, Scopes};
use crate::engine::{Context, Digest, Engine, Error, ErrorKind, Result};
use crate::failpoint;
use layout::{FileContent, Layout, Named};

/// The annotation with a file's name.
pub const TITLE: &str = "org.opencontainers.image.title";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const EMPTY: &[u8] = b"{}";

/// An artifact that is here.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Its name.
    pub name: String,
    /// Its manifest.
    pub manifest: Manifest,
}

impl Artifact {
    /// Bytes of its files.
    pub fn size(&self) -> u64 {
        self.manifest.layers.iter().map(|l| l.size).sum()
    }
}

/// Every artifact.
pub fn list(engine: &Engine) -> Result<Vec<Artifact>> {
    let layout = Layout::new(engine.store.graph_root());
    let _lock = layout.lock_shared()?;
    layout.named()?.iter().map(|named| artifact(&layout, named)).collect()
}

fn artifact(layout: &Layout, named: &Named) -> Result<Artifact> {
    match layout.document(&named.digest).with_context(|| format!("artifact {}", named.name))? {
        Document::Manifest(manifest) => Ok(Artifact { name: named.name.clone(), manifest }),
        Document::Index(_) => Err(Error::unsupported(format!("artifact {} is an index", named.name))),
    }
}

/// The artifact that a name, a digest or the beginning of one means.
///
/// `NotFound` if there is none; `Conflict` if there are several.
pub fn find(engine: &Engine, name: &str) -> Result<Artifact> {
    let layout = Layout::new(engine.store.graph_root());
    let _lock = layout.lock_shared()?;
    artifact(&layout, &lookup(&layout, name)?)
}

fn lookup(layout: &Layout, name: &str) -> Result<Named> {
    if name.is_empty() {
        return Err(Error::invalid("artifact name cannot be empty"));
    }
    let all = layout.named()?;
    let full = with_tag(name);
    if let Some(found) = all.iter().find(|n| n.name == name).or_else(|| all.iter().find(|n| n.name == full)) {
        return Ok(found.clone());
    }
    let prefix = name.strip_prefix("sha256:").unwrap_or(name);
    let hex = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_hexdigit());
    let mut matching = all.into_iter().filter(|n| hex && n.digest.hex().starts_with(prefix));
    match (matching.next(), matching.next()) {
        (Some(found), None) => Ok(found),
        (Some(a), Some(b)) if a.digest == b.digest => Ok(a),
        (Some(_), Some(_)) => Err(Error::new(
            ErrorKind::Conflict,
            format!("several artifacts have a digest that begins with {prefix}"),
        )),
        (None, _) => Err(Error::not_found(format!("no artifact found with name or digest of {name}"))),
    }
}

/// The name with `:latest` if it has neither tag nor digest.
fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains(':') || name.contains('@') { name.to_owned() } else { format!("{name}:latest") }
}

/// What to make an artifact of.
#[derive(Clone, Debug, Default)]
pub struct AddRequest {
    /// Its name.
    pub name: String,
    /// Its files.
    pub files: Vec<PathBuf>,
    /// `--annotation`: of each file.
    pub annotations: Vec<(String, String)>,
    /// `--type`.
    pub artifact_type: Option<String>,
}

/// Makes an artifact of files; returns its digest.
///
/// `Conflict` if there is one of that name, or two files have the same.
pub fn add(engine: &Engine, request: &AddRequest) -> Result<Digest> {
    let name = with_tag(&request.name);
    Reference::parse(&name)?;
    if request.annotations.iter().any(|(key, _)| key == TITLE) {
        return Err(Error::invalid(format!("cannot override filename with {TITLE} annotation")));
    }
    let layout = Layout::new(engine.store.graph_root());
    layout.make()?;
    let taken = |layout: &Layout| match layout.named()?.iter().any(|n| n.name == name) {
        true => Err(Error::new(ErrorKind::Conflict, format!("{name}: artifact already exists"))),
        false => Ok(()),
    };
    taken(&layout)?;
    let mut titles: Vec<String> = Vec::new();
    let mut layers = Vec::new();
    for file in &request.files {
        let path = engine.config.env.cwd.join(file);
        let title = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if titles.contains(&title) {
            return Err(Error::new(ErrorKind::Conflict, format!("{title}: file already exists in artifact")));
        }
        if !path.is_file() {
            return Err(Error::invalid(format!("{} is no file", path.display())));
        }
        let media_type = sniff::file(&path)?;
        let put = layout.put(&FileContent(path), None, None, &|_| {})?;
        let mut annotations = json!({});
        for (key, value) in &request.annotations {
            annotations[key.as_str()] = value.as_str().into();
        }
        annotations[TITLE] = title.as_str().into();
        layers.push(json!({"mediaType": media_type, "digest": put.digest.as_str(), "size": put.size, "annotations": annotations}));
        titles.push(title);
    }
    let empty = layout.put(&FileBytes(EMPTY), None, None, &|_| {})?;
    let mut manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST});
    if let Some(artifact_type) = &request.artifact_type {
        manifest["artifactType"] = artifact_type.as_str().into();
    }
    manifest["config"] =
        json!({"mediaType": EMPTY_TYPE, "digest": empty.digest.as_str(), "size": 2, "data": "e30="});
    manifest["layers"] = Value::Array(layers);
    let raw = serde_json::to_vec(&manifest).map_err(|e| Error::corrupt(e.to_string()))?;
    let digest = Digest::sha256(&raw);
    let document = Document::parse_any(raw, digest.clone(), None)?;
    failpoint!("artifact.files-added");
    layout.record(&name, &document, taken)?;
    failpoint!("artifact.recorded");
    Ok(digest)
}

struct FileBytes<'a>(&'a [u8]);

impl Content for FileBytes<'_> {
    fn write_to(&self, out: &mut dyn Write) -> Result<()> {
        self.0.write_to(out)
    }
}

/// Which of an artifact's files.
#[derive(Clone, Debug, Default)]
pub struct Which {
    /// By digest.
    pub digest: Option<String>,
    /// By name.
    pub title: Option<String>,
}

/// A file of an artifact.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its name: its title, else its digest.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// The files of an artifact that `which` selects.
///
/// `NotFound` if there are none; `Invalid` if a title is no file's name.
pub fn blobs(engine: &Engine, name: &str, which: &Which) -> Result<Vec<Blob>> {
    let layout = Layout::new(engine.store.graph_root());
    let _lock = layout.lock_shared()?;
    let artifact = artifact(&layout, &lookup(&layout, name)?)?;
    let blob = |l: &&Descriptor| {
        Ok(Blob { name: file_name(title(l), &l.digest)?, path: layout.blob_path(&l.digest)? })
    };
    select(&artifact, which)?.iter().map(blob).collect()
}

fn title(file: &Descriptor) -> Option<String> {
    file.annotations.as_ref().and_then(|a| a.get(TITLE)).cloned()
}

fn select<'a>(artifact: &'a Artifact, which: &Which) -> Result<Vec<&'a Descriptor>> {
    if which.digest.is_some() && which.title.is_some() {
        return Err(Error::invalid("cannot specify both digest and title"));
    }
    let wanted = |l: &&Descriptor| match (&which.digest, &which.title) {
        (Some(digest), _) => l.digest.as_str() == digest,
        (_, Some(wanted)) => title(l).as_ref() == Some(wanted),
        _ => true,
    };
    let files: Vec<_> = artifact.manifest.layers.iter().filter(wanted).collect();
    if files.is_empty() {
        return Err(match (&which.digest, &which.title) {
            (Some(digest), _) => Error::not_found(format!("no blob with the digest {digest:?}")),
            (_, Some(title)) => Error::not_found(format!("no blob with the title {title:?}")),
            _ => Error::not_found("the artifact has no blobs, nothing to extract"),
        });
    }
    Ok(files)
}

/// Copies files of an artifact to `target`: a file, or a directory.
///
/// `Invalid` if there are several files and `target` is no directory, or a name is no file's name.
pub fn extract(engine: &Engine, name: &str, target: &Path, which: &Which) -> Result<()> {
    let layout = Layout::new(engine.store.graph_root());
    let _lock = layout.lock_shared()?;
    let artifact = artifact(&layout, &lookup(&layout, name)?)?;
    let files = select(&artifact, which)?;
    let target = engine.config.env.cwd.join(target);
    if !target.is_dir() {
        let [only] = files[..] else {
            return Err(Error::invalid(format!(
                "the artifact consists of several blobs and the target {} is not a directory and neither digest or title was specified to only copy a single blob",
                target.display()
            )));
        };
        return layout.copy_out(only, &target, 0);
    }
    // All names before the first byte is written.
    let names = files.iter().map(|l| file_name(title(l), &l.digest)).collect::<Result<Vec<_>>>()?;
    for (file, name) in files.iter().zip(names) {
        layout.copy_out(file, &target.join(name), libc::O_NOFOLLOW)?;
    }
    Ok(())
}

/// A name from an artifact is a file's in the target directory, and no path.
fn file_name(title: Option<String>, digest: &Digest) -> Result<String> {
    let name = title.filter(|t| !t.is_empty()).unwrap_or_else(|| digest.as_str().replace(':', "-"));
    if name.contains(['/', '\0']) || name == "." || name == ".." {
        return Err(Error::invalid(format!("invalid name: {name:?} is no name of a file")));
    }
    Ok(name)
}

impl Layout {
    fn copy_out(&self, blob: &Descriptor, target: &Path, flags: i32) -> Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o644).custom_flags(flags);
        let mut file = options.open(target).map_err(|e| Error::io("create", target, e))?;
        self.layer(blob)?.write_to(&mut file)
    }
}

/// How an artifact is moved: as it is.
fn as_is() -> CopyOptions {
    CopyOptions { layers: Some(LayerForm::AsIs), preserve_digests: true, ..CopyOptions::default() }
}

/// Pulls an artifact; returns its digest.
pub fn pull(engine: &Engine, name: &str, access: &RegistryAccess, progress: &dyn Progress) -> Result<Digest> {
    let name = name.strip_prefix("docker://").unwrap_or(name);
    let reference = Reference::parse(name)?.or_latest();
    let rules = Policy::load(&engine.config.env, None)?.rules(&Scopes::docker(&reference));
    rules.decide()?;
    let layout = Layout::new(engine.store.graph_root());
    layout.make()?;
    let target = layout.named_target(&reference.to_string());
    let client = client(engine, access)?;
    let known = KnownBlobs::new(engine.store.graph_root());
    // Nothing keeps signatures of artifacts.
    let signing = Signing { remove: true, ..Signing::default() };
    let options = CopyOptions { rules: Some(rules), name: Some(reference.clone()), signing, ..as_is() };
    let mut failed = None;
    for repository in client.sources(&reference)? {
        let source = registry_source(&engine.config, repository)?;
        match copy(&source, &target, &known, &options, progress) {
            Ok(copied) => return Ok(copied.digest().clone()),
            Err(e) => failed = failed.or(Some(e)),
        }
    }
    let missing = || Error::not_found(format!("{reference}: no such artifact"));
    Err(failed.unwrap_or_else(missing).wrap(format!("pull {}", reference.familiar())))
}

/// What to push, and how.
#[derive(Clone, Debug, Default)]
pub struct PushRequest {
    /// The artifact: its name or digest.
    pub name: String,
    /// Where to; `None`: its own name.
    pub destination: Option<String>,
    /// How the registry is reached.
    pub access: RegistryAccess,
    /// What becomes of signatures.
    pub signing: Signing,
}

/// Pushes an artifact to `destination`, or to where its name says; returns name and digest.
pub fn push(engine: &Engine, request: &PushRequest, progress: &dyn Progress) -> Result<(Reference, Digest)> {
    let PushRequest { name, destination, access, signing } = request;
    let layout = Layout::new(engine.store.graph_root());
    let named = {
        let _lock = layout.lock_shared()?;
        lookup(&layout, name)?
    };
    let destination =
        destination.as_deref().map_or(named.name.as_str(), |d| d.strip_prefix("docker://").unwrap_or(d));
    let destination = Reference::parse(destination)?.or_latest();
    let target = registry_target(engine, &client(engine, access)?, &destination)?;
    let source = layout.source(&named);
    let known = KnownBlobs::new(engine.store.graph_root());
    let options = CopyOptions { signing: signing.clone(), ..as_is() };
    let copied = copy(&source, &target, &known, &options, progress)
        .with_context(|| format!("push {}", destination.familiar()))?;
    Ok((destination, copied.digest().clone()))
}

/// Removes an artifact, and the files that no other one has; returns its digest.
pub fn remove(engine: &Engine, name: &str) -> Result<Digest> {
    let layout = Layout::new(engine.store.graph_root());
    let _lock = layout.lock()?;
    let named = lookup(&layout, name)?;
    layout.forget(&named)?;
    Ok(named.digest)
}
