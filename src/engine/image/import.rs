//! `import`: a file system in a tar becomes an image of one layer.

use super::changes;
use super::config::{History, RunConfig};
use super::draft::{self, Draft, Format};
use super::tag::new_name;
use super::told::tell;
use crate::engine::registry::Platform;
use crate::engine::store::ImageRecord;
use crate::engine::store::diff::apply;
use crate::engine::{Context, Engine, Error, ErrorKind, Result};
use serde_json::Map;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read};

/// What becomes of the archive.
#[derive(Clone, Debug, Default)]
pub struct ImportRequest {
    /// The image's name; `None`: none.
    pub name: Option<String>,
    /// A comment on the layer.
    pub message: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// What it is for.
    pub platform: Platform,
    /// Of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// Unpacks `archive`, compressed or not, and records the image.
///
/// # Errors
/// [`ErrorKind::Corrupt`] for what is no archive, or one that reaches outside of itself; [`ErrorKind::Invalid`] for a bad
/// name or instruction.
pub fn import(engine: &Engine, archive: impl Read + Send, request: &ImportRequest) -> Result<ImageRecord> {
    let name = request.name.as_deref().map(new_name).transpose()?.map(|name| name.to_string());
    let mut run = RunConfig::default();
    changes::apply(&mut run, &request.changes)?;
    let mut config = Map::new();
    draft::put_run_config(&mut config, &run);

    let staged = engine.store.stage_layer()?;
    let path = staged.tar_split_path();
    let split = File::create(&path).map_err(|e| Error::io("create", &path, e))?;
    let options = engine.store.apply_options()?;
    let applied = apply(archive, staged.dir(), BufWriter::new(split), &options)
        .map_err(explained)
        .context("unpack the archive")?;
    crate::failpoint!("import.layer-unpacked");
    if applied.diff_size == 0 {
        return Err(Error::corrupt("the archive is empty").with_hint("give it a tar of a file system"));
    }
    let created = jiff::Timestamp::now().to_string();
    let step = History { created: created.clone(), comment: request.message.clone(), ..History::default() };
    let Platform { os, architecture, variant } = &request.platform;
    let document =
        draft::document(&created, "", [os, architecture, variant], config, vec![draft::step(&step)]);
    let layer = Some((staged, applied));
    let annotations = request.annotations.clone();
    let draft = Draft { document, layer, name, format: Format::Oci, annotations, ..Draft::default() };
    let image = draft::commit(engine, draft)?;
    tell(engine, "import", &image.id, image.names.first().map_or("", String::as_str));
    Ok(image)
}

fn explained(e: Error) -> Error {
    match e.kind() {
        ErrorKind::Corrupt if e.hint().is_none() => {
            e.with_hint("import takes a tar of a file system, plain or compressed with gzip, bzip2, zstd or xz; images that were saved are loaded")
        }
        _ => e,
    }
}
