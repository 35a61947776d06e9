//! `coracle manifest inspect`.

use super::tls_verify;
use crate::cmd::flags::image::AccessArgs;
use crate::cmd::{Context, Exit};
use crate::engine::image::index;
use crate::engine::image::request::RegistryAccess;
use crate::engine::registry::Descriptor;
use crate::engine::{Engine, Error, Result};
use clap::Args;
use serde_json::{Value, json};

/// Show a manifest list, or the manifest of an image at a registry
#[derive(Args, Clone, Debug, Default)]
pub struct InspectArgs {
    /// Allow a registry without TLS
    #[arg(long)]
    pub insecure: bool,
    /// Show the manifests of the images in it, too
    #[arg(short, long)]
    pub verbose: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub access: AccessArgs,
    /// The image or list; with a second word, an image of the list
    #[arg(value_name = "LIST")]
    pub name: String,
    /// An image of the list
    #[arg(value_name = "IMAGE")]
    pub image: Option<String>,
}

/// Runs `coracle manifest inspect`.
pub fn run(cx: &Context, args: InspectArgs) -> Result<Exit> {
    let access = args.access.access()?;
    let access = RegistryAccess { tls_verify: tls_verify(access.tls_verify, args.insecure)?, ..access };
    let engine = cx.engine()?;
    let name = args.image.as_deref().unwrap_or(&args.name);
    let read = index::read(engine, name, &access, args.verbose)?;
    // Of an empty list there is nothing more to say.
    if !args.verbose || (read.is_index && read.manifests.is_empty()) {
        cx.println(pretty(&read.raw)?)?;
        return Ok(Exit::OK);
    }
    let shown: Vec<Value> = read.manifests.iter().map(detailed).collect::<Result<_>>()?;
    let text = match (read.is_index, &shown[..]) {
        (false, [one]) => serde_json::to_vec(one),
        _ => serde_json::to_vec(&shown),
    };
    cx.println(pretty(&text.map_err(|e| Error::corrupt(e.to_string()))?)?)?;
    Ok(Exit::OK)
}

/// docker's view of one manifest.
fn detailed(instance: &index::Shown) -> Result<Value> {
    use base64::Engine as _;
    let manifest: Value = parsed(&instance.raw)?;
    let descriptor = &instance.descriptor;
    let mut described = json!({
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest.as_str(),
        "size": descriptor.size,
    });
    if let Some(platform) = &descriptor.platform {
        described["platform"] = json!({"architecture": platform.architecture, "os": platform.os});
        if !platform.variant.is_empty() {
            described["platform"]["variant"] = platform.variant.as_str().into();
        }
    }
    let key = if descriptor.media_type.contains("docker") { "SchemaV2Manifest" } else { "OCIManifest" };
    Ok(json!({
        "Ref": instance.name,
        "Descriptor": described,
        "Raw": base64::engine::general_purpose::STANDARD.encode(&instance.raw),
        key: manifest,
    }))
}

fn parsed(raw: &[u8]) -> Result<Value> {
    serde_json::from_slice(raw).map_err(|e| Error::corrupt(format!("manifest: {e}")))
}

fn pretty(raw: &[u8]) -> Result<String> {
    use serde::Serialize;
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    parsed(raw)?.serialize(&mut serializer).map_err(|e| Error::corrupt(e.to_string()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The manifest or index of an image, as something else is about it.
pub fn describe(engine: &Engine, name: &str) -> Result<Descriptor> {
    Ok(index::read(engine, name, &RegistryAccess::default(), false)?.descriptor)
}
