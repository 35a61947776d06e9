//! The tar-split file of a layer that others may have written, and what it says to read from the layer.
#![no_main]

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::OnceLock;

use coracle::engine::store::diff::reassemble;
use libfuzzer_sys::fuzz_target;

const SECRET: &[u8] = b"not of this layer";

fn layer() -> &'static PathBuf {
    static LAYER: OnceLock<PathBuf> = OnceLock::new();
    LAYER.get_or_init(|| {
        let base = tempfile::Builder::new().prefix("fuzz-split.").tempdir().unwrap().keep();
        let layer = base.join("diff");
        fs::create_dir_all(layer.join("d")).unwrap();
        fs::write(base.join("secret"), SECRET).unwrap();
        fs::write(layer.join("foo"), "foo").unwrap();
        fs::write(layer.join("d/bar"), "bar").unwrap();
        symlink("../secret", layer.join("link")).unwrap();
        symlink("..", layer.join("up")).unwrap();
        layer
    })
}

fuzz_target!(|data: &[u8]| {
    // Plain lines are compressed here; what is compressed already is taken as it is.
    let split = if data.starts_with(&[0x1f, 0x8b]) {
        data.to_vec()
    } else {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    };
    let dir = File::open(layer()).unwrap();
    let mut tar = Vec::new();
    let _ = reassemble(&split[..], dir.as_fd(), &mut tar);
    assert!(!tar.windows(SECRET.len()).any(|w| w == SECRET));
});
