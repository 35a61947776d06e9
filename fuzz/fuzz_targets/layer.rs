//! A layer blob, compressed or not, unpacked in each of the store's ways. Nothing beside the layer may change, and
//! what can be made again has to be the same.
#![no_main]

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::OnceLock;

use coracle::engine::digest::{Algorithm, Hasher};
use coracle::engine::store::diff::{ApplyOptions, Whiteouts, apply, reassemble};
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "secret";

/// A directory in memory, where there is one.
fn base() -> &'static PathBuf {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| {
        let memory = ["/dev/shm", "/tmp"].iter().find(|p| fs::metadata(p).is_ok()).unwrap();
        let base = tempfile::Builder::new().prefix("fuzz-layer.").tempdir_in(memory).unwrap().keep();
        fs::write(base.join(SECRET), SECRET).unwrap();
        base
    })
}

/// Random bytes have no valid checksum; give one to every block that looks like a header.
fn seal(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(512).filter(|b| &b[257..262] == b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else { return };
    let mut blob = data.to_vec();
    seal(&mut blob);
    let whiteouts = [Whiteouts::Native, Whiteouts::UserXattr, Whiteouts::Literal, Whiteouts::Raw];
    let mut options = ApplyOptions {
        whiteouts: whiteouts[usize::from(choice % 4)],
        in_userns: choice & 4 != 0,
        force_mask: (choice & 8 != 0).then_some(0o700),
        ..Default::default()
    };
    options.limits.max_size = Some(1 << 20);

    let base = base();
    let diff = base.join("diff");
    fs::create_dir(&diff).unwrap();
    let dir = File::open(&diff).unwrap();
    let mut split = Vec::new();
    if let Ok(applied) = apply(&blob[..], dir.as_fd(), &mut split, &options) {
        let mut tar = Vec::new();
        // A file that came twice cannot be had again.
        if reassemble(&split[..], dir.as_fd(), &mut tar).is_ok() {
            let mut hasher = Hasher::new(Algorithm::Sha256);
            hasher.update(&tar);
            assert_eq!(hasher.finish(), applied.diff_id);
        }
    }
    fs::remove_dir_all(&diff).unwrap();
    assert_eq!(fs::read_to_string(base.join(SECRET)).unwrap(), SECRET);
    assert_eq!(fs::read_dir(base).unwrap().count(), 1);
});
