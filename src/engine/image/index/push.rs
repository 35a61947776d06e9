//! A list to a registry or another place, with the images it names from wherever they are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{INSTANCES, List, lookup};
use crate::engine::image::places;
use crate::engine::image::push::Pushed;
use crate::engine::image::request::{RegistryAccess, client, parallel, registry_source, registry_target};
use crate::engine::registry::manifest::{DOCKER_LIST, OCI_INDEX};
use crate::engine::registry::{Client, Content, Descriptor, Document, Index, Reference};
use crate::engine::transport::rewrite::{self, Replaced};
use crate::engine::transport::storage::StorageSource;
use crate::engine::transport::{
    BlobStream, CopyOptions, Format, Held, KnownBlobs, Location, Progress, Source, Target, copy,
};
use crate::engine::trust::Signature;
use crate::engine::{Context, Digest, Engine, Error, Result};
use crate::failpoint;

/// Which list, where to, how.
#[derive(Clone, Debug, Default)]
pub struct IndexPush {
    /// The list.
    pub list: String,
    /// Where to; `None`: its own name.
    pub destination: Option<String>,
    /// The images it names, too; else they must be there.
    pub all: bool,
    /// Remove the list here afterwards.
    pub remove: bool,
    /// How registries are reached.
    pub access: RegistryAccess,
    /// The form of manifests and layers.
    pub options: CopyOptions,
}

/// Pushes a list. `started` hears the name it will have, before anything is sent.
///
/// `NotFound` if there is no such list, or an instance is nowhere.
pub fn push(
    engine: &Engine,
    request: &IndexPush,
    started: &dyn Fn(&Reference),
    progress: &dyn Progress,
) -> Result<Pushed> {
    let found = lookup(engine, &request.list)?;
    let place = match (&request.destination, &found.name) {
        (Some(given), _) => Location::parse(given)?,
        (None, Some(name)) if name.domain() != "localhost" => Location::Registry(name.to_string()),
        _ => {
            return Err(Error::invalid(format!("{}: where is the list to be pushed to?", request.list))
                .with_hint(format!("manifest push {} REGISTRY/NAME", request.list)));
        }
    };
    let client = client(engine, &request.access)?;
    let (target, destination): (Box<dyn Target>, _) = match &place {
        Location::Name(name) | Location::Registry(name) => {
            let name = Reference::parse(name)?.or_latest();
            (Box::new(registry_target(engine, &client, &name)?), Some(name))
        }
        other => (places::target(engine, other, &request.access, found.name.as_ref())?, None),
    };
    let list = List::open(engine, &found.image.id)?;
    let index = super::parse(super::super::raw_manifest(engine, &found.image)?)?;
    if let Some(name) = &destination {
        started(name);
    }
    let what = match &destination {
        Some(name) => format!("push {}", name.familiar()),
        None => format!("push to {place}"),
    };
    let document = match request.all {
        true => {
            let children = children(engine, &client, &list, &index)?;
            drop(list);
            let source = Instances { name: request.list.clone(), index, children };
            let known = KnownBlobs::new(engine.store.graph_root());
            let parallel = parallel(engine, request.options.parallel);
            let options = CopyOptions { all: true, parallel, ..request.options.clone() };
            let copied = copy(&source, &*target, &known, &options, progress);
            copied.and_then(|copied| target.finish().map(|()| copied)).context(what)?.document
        }
        false => {
            request.options.signing.check(&*target)?;
            let written = Document::Index(converted(&index, request.options.format)?);
            target.put_document(&written, false).with_context(|| what.clone())?;
            let signatures = request.options.signing.sign(&written, &*target)?;
            if !signatures.is_empty() {
                target.put_signatures(&written, false, &signatures).with_context(|| what.clone())?;
            }
            target.finish().context(what)?;
            written
        }
    };
    failpoint!("manifest.pushed");
    if request.remove {
        engine.store.delete_image(&found.image.id)?;
    }
    let (digest, size) = match &document {
        Document::Manifest(manifest) => (&manifest.digest, manifest.raw.len()),
        Document::Index(index) => (&index.digest, index.raw.len()),
    };
    let name = match destination.or(found.name) {
        Some(name) => name,
        None => Reference::parse(&request.list)?,
    };
    Ok(Pushed { name, digest: digest.clone(), size })
}

/// The index in another form, its instances as they are.
fn converted(index: &Index, format: Option<Format>) -> Result<Index> {
    let media_type = match format {
        Some(Format::Oci) => OCI_INDEX,
        Some(Format::Docker) => DOCKER_LIST,
        None => &index.media_type,
    };
    let same = |d: &Descriptor| Replaced {
        before: d.digest.clone(),
        digest: d.digest.clone(),
        size: d.size,
        media_type: d.media_type.clone(),
    };
    rewrite::index(index, media_type, &index.manifests.iter().map(same).collect::<Vec<_>>())
}

/// An instance with its source.
struct Child<'a> {
    digest: Digest,
    document: Document,
    source: Box<dyn Source + 'a>,
}

fn children<'a>(engine: &'a Engine, client: &Client, list: &List, index: &Index) -> Result<Vec<Child<'a>>> {
    let one = |descriptor: &Descriptor| {
        let digest = &descriptor.digest;
        let source: Box<dyn Source + 'a> = match list.artifacts.manifests.get(digest.as_str()) {
            Some(text) => Box::new(Artifact::new(list, text, digest)?),
            None => match list.local(engine, digest)? {
                Some(image) => Box::new(StorageSource::new(&engine.store, image)?),
                None => return remote(engine, client, list, digest),
            },
        };
        Ok(Child { digest: digest.clone(), document: source.document()?, source })
    };
    index.manifests.iter().map(|d| one(d).with_context(|| format!("instance {}", d.digest))).collect()
}

fn remote<'a>(engine: &Engine, client: &Client, list: &List, digest: &Digest) -> Result<Child<'a>> {
    let place = list.instances.get(digest.as_str()).map(String::as_str).unwrap_or_default();
    let Some(name) = place.strip_prefix("docker://") else {
        return Err(Error::not_found(match place {
            "" => format!("{INSTANCES} does not say where it is"),
            place => format!("it is not in {place} any more"),
        }));
    };
    let name = Reference::parse(name)?.with_digest(digest.clone()).digest_over_tag();
    let mut failed = None;
    for repository in client.sources(&name)? {
        match repository.any_manifest(digest.as_str()) {
            Ok(document) => {
                let source: Box<dyn Source + 'a> = Box::new(registry_source(&engine.config, repository)?);
                return Ok(Child { digest: digest.clone(), document, source });
            }
            Err(e) => failed = failed.or(Some(e)),
        }
    }
    Err(failed.unwrap_or_else(|| Error::not_found(format!("{name}: no such image"))))
}

/// The index as a source: each blob comes from the instance that has it.
struct Instances<'a> {
    name: String,
    index: Index,
    children: Vec<Child<'a>>,
}

impl Instances<'_> {
    fn of(&self, blob: &Descriptor) -> Result<&dyn Source> {
        let has = |child: &&Child<'_>| match &child.document {
            Document::Manifest(m) => {
                m.config.digest == blob.digest || m.layers.iter().any(|l| l.digest == blob.digest)
            }
            Document::Index(_) => false,
        };
        let found = self.children.iter().find(has).map(|child| child.source.as_ref());
        found.ok_or_else(|| Error::not_found(format!("{} has no blob {}", self.name, blob.digest)))
    }
}

impl Source for Instances<'_> {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn document(&self) -> Result<Document> {
        Ok(Document::Index(self.index.clone()))
    }

    fn child(&self, descriptor: &Descriptor) -> Result<Document> {
        let found = self.children.iter().find(|child| child.digest == descriptor.digest);
        let missing = || Error::not_found(format!("{} has no instance {}", self.name, descriptor.digest));
        found.map(|child| child.document.clone()).ok_or_else(missing)
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.of(descriptor)?.config(descriptor)
    }

    fn held(&self, layer: &Descriptor) -> Result<Held> {
        self.of(layer)?.held(layer)
    }

    fn layer<'a>(&'a self, layer: &'a Descriptor) -> Result<Box<dyn Content + 'a>> {
        self.of(layer)?.layer(layer)
    }

    fn reader<'a>(
        &'a self,
        layer: &'a Descriptor,
        cancel: &Arc<AtomicBool>,
    ) -> Result<Box<dyn BlobStream + 'a>> {
        self.of(layer)?.reader(layer, cancel)
    }

    fn signatures(&self, manifest: &Digest) -> Result<Vec<Signature>> {
        let found = self.children.iter().find(|child| child.digest == *manifest);
        found.map_or_else(|| Ok(Vec::new()), |child| child.source.signatures(manifest))
    }
}

/// An artifact that only the list has.
struct Artifact {
    document: Document,
    blobs: BTreeMap<String, Blob>,
}

enum Blob {
    Inline(Vec<u8>),
    File(PathBuf),
}

impl Artifact {
    fn new(list: &List, text: &str, digest: &Digest) -> Result<Self> {
        use base64::Engine as _;
        let mut blobs = BTreeMap::new();
        for (digest, path) in &list.artifacts.detached {
            blobs.insert(digest.clone(), Blob::File(PathBuf::from(path)));
        }
        for (digest, text) in &list.artifacts.blobs {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text);
            let bytes =
                bytes.map_err(|_| Error::corrupt(format!("blob {digest} of the list is not base64")))?;
            blobs.insert(digest.clone(), Blob::Inline(bytes));
        }
        let document = Document::parse_any(text.as_bytes().to_vec(), digest.clone(), None)?;
        Ok(Self { document, blobs })
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<&Blob> {
        let missing = || Error::not_found(format!("the list does not have blob {}", descriptor.digest));
        self.blobs.get(descriptor.digest.as_str()).ok_or_else(missing)
    }
}

impl Content for Blob {
    fn write_to(&self, out: &mut dyn std::io::Write) -> Result<()> {
        match self {
            Self::Inline(bytes) => bytes.write_to(out),
            Self::File(path) => {
                let mut file = std::fs::File::open(path).map_err(|e| Error::io("open", path, e))?;
                std::io::copy(&mut file, out).map(drop).map_err(|e| Error::io("read", path, e))
            }
        }
    }
}

struct Borrowed<'a>(&'a Blob);

impl Content for Borrowed<'_> {
    fn write_to(&self, out: &mut dyn std::io::Write) -> Result<()> {
        self.0.write_to(out)
    }
}

impl Source for Artifact {
    fn describe(&self) -> String {
        "an artifact".to_owned()
    }

    fn document(&self) -> Result<Document> {
        Ok(self.document.clone())
    }

    fn child(&self, descriptor: &Descriptor) -> Result<Document> {
        Err(Error::not_found(format!("an artifact has no instance {}", descriptor.digest)))
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.blob(descriptor)?.write_to(&mut bytes)?;
        crate::engine::registry::client::verify(&descriptor.digest, &bytes)?;
        Ok(bytes)
    }

    fn layer<'a>(&'a self, layer: &'a Descriptor) -> Result<Box<dyn Content + 'a>> {
        Ok(Box::new(Borrowed(self.blob(layer)?)))
    }

    fn reader<'a>(&'a self, layer: &'a Descriptor, _: &Arc<AtomicBool>) -> Result<Box<dyn BlobStream + 'a>> {
        match self.blob(layer)? {
            Blob::Inline(bytes) => Ok(Box::new(bytes.as_slice())),
            Blob::File(path) => {
                Ok(Box::new(std::fs::File::open(path).map_err(|e| Error::io("open", path, e))?))
            }
        }
    }
}
