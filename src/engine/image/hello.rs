//! The image inside the program: `coracle/hello`.
//!
//! Its one layer, configuration and manifest are made in memory from the static program that the build script wrote,
//! and take the same way into the store as a pulled image. It answers to `coracle/hello` and to
//! `localhost/coracle/hello`, needs no network, and an image of that name that is already here wins.

use super::ImageConfig;
use super::receive::{ImageToStore, store};
use super::request::{Progress, PullPolicy, PullRequest, PulledImage};
use crate::engine::registry::manifest::{OCI_CONFIG, OCI_MANIFEST};
use crate::engine::registry::platform::host_architecture;
use crate::engine::registry::{Document, Reference};
use crate::engine::transport::memory::MemoryImage;
use crate::engine::{Digest, Engine, Error, Result};

static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));

const NAME: &str = "docker.io/coracle/hello";
const LOCAL_NAME: &str = "localhost/coracle/hello";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
/// The image is the same wherever and whenever it is made.
const CREATED: &str = "2026-01-01T00:00:00Z";
const BLOCK: usize = 512;

/// Stores the image if `request` names it. `None`: it names another.
pub(super) fn load(
    engine: &Engine,
    request: &PullRequest,
    progress: &dyn Progress,
) -> Result<Option<PulledImage>> {
    let Ok(reference) = Reference::parse(&request.name) else { return Ok(None) };
    let reference = reference.or_latest();
    let ours = matches!(reference.name().as_str(), NAME | LOCAL_NAME);
    if !ours || reference.digest().is_some() || reference.tag() != Some("latest") {
        return Ok(None);
    }
    if PROGRAM.is_empty() {
        return Err(Error::unsupported(format!("there is no hello program for {}", host_architecture())));
    }
    let layer = tar();
    let (image, digest) = image(&reference, &layer)?;
    if request.policy != PullPolicy::Always
        && let Ok(here) = engine.store.image(image.manifest.config.digest.hex())
    {
        // It is here by its other name.
        engine.store.add_image_names(&here.id, &[reference.to_string()])?;
        let image = engine.store.image(&here.id)?;
        return Ok(Some(PulledImage { image, name: Some(reference), digest: Some(digest), changed: false }));
    }
    progress.started(&reference, Some("The image is part of this program"));
    let source = MemoryImage {
        manifest: image.manifest.clone(),
        config: image.raw_config.clone(),
        layers: vec![layer],
    };
    let received = store(engine, image, &source, progress)?;
    let pulled = PulledImage {
        image: received.image,
        name: Some(reference),
        digest: Some(digest),
        changed: received.changed,
    };
    progress.finished(&pulled);
    Ok(Some(pulled))
}

fn image(name: &Reference, layer: &[u8]) -> Result<(ImageToStore, Digest)> {
    let diff_id = Digest::sha256(layer);
    let config = serde_json::json!({
        "created": CREATED,
        "architecture": host_architecture(),
        "os": "linux",
        "config": {"Env": ["PATH=/"], "Cmd": ["/hello"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": CREATED, "created_by": "coracle"}],
    });
    let raw_config = config.to_string().into_bytes();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": Digest::sha256(&raw_config), "size": raw_config.len()},
        "layers": [{"mediaType": LAYER_TYPE, "digest": diff_id, "size": layer.len()}],
    });
    let raw = manifest.to_string().into_bytes();
    let digest = Digest::sha256(&raw);
    let Document::Manifest(manifest) = Document::parse(raw, digest.clone(), None)? else {
        return Err(Error::corrupt("the built-in image is not an image"));
    };
    let config = ImageConfig::parse(&raw_config)?;
    Ok((
        ImageToStore {
            names: vec![name.clone()],
            manifest,
            index: None,
            raw_config,
            config,
            signatures: Vec::new(),
        },
        digest,
    ))
}

/// A ustar archive (POSIX.1-1988) of one executable, `hello`.
fn tar() -> Vec<u8> {
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, "hello");
    put(100, "0000755\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", PROGRAM.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(PROGRAM);
    tar.resize(tar.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    tar
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_consistent() {
        let layer = tar();
        let (image, _) = image(&Reference::parse("coracle/hello").unwrap(), &layer).unwrap();
        assert_eq!(image.manifest.layers[0].digest, Digest::sha256(&layer));
        assert_eq!(image.config.rootfs.diff_ids, [Digest::sha256(&layer)]);
        assert_eq!(image.config.config.cmd.unwrap(), ["/hello"]);
        assert_eq!(layer.len() % BLOCK, 0);
        let mut child = std::process::Command::new("tar")
            .arg("tvf")
            .arg("-")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &layer).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("-rwxr-xr-x 0/0") && text.trim_end().ends_with(" hello"), "{text}");
    }
}
