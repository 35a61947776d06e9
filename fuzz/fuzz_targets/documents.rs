//! Manifests, indexes, image configurations and tables of contents as a registry sends them.
#![no_main]

use coracle::engine::Digest;
use coracle::engine::image::ImageConfig;
use coracle::engine::registry::Document;
use coracle::engine::store::diff::chunked::toc::Toc;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let header = "application/vnd.oci.image.manifest.v1+json";
    for content_type in [None, Some(header)] {
        let _ = Document::parse(data.to_vec(), Digest::sha256(data), content_type);
    }
    let _ = Toc::read(data);
    if let Ok(config) = ImageConfig::parse(data) {
        let _ = (config.created(), config.platform());
    }
});
