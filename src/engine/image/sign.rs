//! Signing an image where it is: the signature goes to the lookaside, the image stays as it is.

use std::path::PathBuf;

use super::find;
use super::places::{name_there, source};
use super::request::RegistryAccess;
use crate::engine::registry::{Document, Reference};
use crate::engine::transport::Location;
use crate::engine::trust::{Lookaside, RegistriesD, Signer};
use crate::engine::{Context, Digest, Engine, Error, Result};

/// What to sign, and where the signature goes.
#[derive(Clone, Debug)]
pub struct SignImage {
    /// The image.
    pub location: Location,
    /// How its registry is reached.
    pub access: RegistryAccess,
    /// Instead of the registry's lookaside.
    pub directory: Option<PathBuf>,
    /// All instances of an index instead of the index.
    pub all: bool,
}

/// Signs an image; returns the files of the signatures.
///
/// `Invalid` if it has no name that could be signed, or is no index and all of its images are to be.
pub fn sign(engine: &Engine, request: &SignImage, signers: &[Signer]) -> Result<Vec<PathBuf>> {
    let image = source(engine, &request.location, &request.access)?;
    let nameless = || {
        Error::invalid(format!("cannot determine canonical Docker reference for {}", request.location))
            .with_hint("only what has a name can be signed: docker://NAME")
    };
    let name = name(engine, &request.location)?.ok_or_else(nameless)?;
    let lookaside = match &request.directory {
        Some(directory) => {
            let directory = std::fs::canonicalize(directory).map_err(|e| Error::io("open", directory, e))?;
            Lookaside::in_directory(&directory, &name)?
        }
        None => RegistriesD::load(&engine.config.env, None)?.of(&name)?.write,
    };
    let digests: Vec<Digest> = match image.document()? {
        Document::Index(index) if request.all => {
            let children = index.manifests.iter().map(|instance| image.child(instance));
            children.map(|child| Ok(child?.digest().clone())).collect::<Result<_>>()?
        }
        document if request.all => {
            let kind = document.media_type();
            return Err(Error::invalid(format!(
                "{} is not a multi-architecture image (manifest type {kind})",
                request.location
            )));
        }
        document => vec![document.digest().clone()],
    };
    let now = jiff::Timestamp::now().as_second();
    let mut written = Vec::new();
    for digest in &digests {
        for signer in signers {
            let signature = signer.sign(digest, &name, now);
            let signature = signature.with_context(|| format!("sign {name}, {digest}"))?;
            written.push(lookaside.add(digest, &signature).context("store the signature")?);
            crate::failpoint!("sign.stored");
        }
    }
    Ok(written)
}

fn name(engine: &Engine, location: &Location) -> Result<Option<Reference>> {
    match location {
        Location::Name(name) | Location::Storage(name) => Ok(find(engine, name)?.name),
        other => Ok(name_there(other)),
    }
}
