//! Compiled seccomp filters, kept between starts.
//!
//! crun 1.8 compiles the profile anew for every container (10 ms and more of libseccomp); it leaves the program in its state
//! directory and takes one ready-made by annotation (crun(1), `run.oci.seccomp_bpf_data`). So the first start's program is
//! kept, named by a digest of the profile and of the crun that compiled it. The profile stays in `config.json`: a runtime that does not
//! know the annotation compiles it. The files are in our private run directory.

use crate::engine::conmon::{Runtime, RuntimeKind};
use crate::engine::host::atomic::{self, Durability};
use crate::engine::{Engine, Result};
use base64::Engine as _;
use oci_spec::runtime::Spec;
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const ANNOTATION: &str = "run.oci.seccomp_bpf_data";
/// A filter has at most BPF_MAXINSNS (4096) instructions of 8 bytes.
const LARGEST: u64 = 4096 * 8;

/// Where this profile's program is, or is to be kept; `None`: there is nothing to keep.
pub(super) fn apply(engine: &Engine, runtime: &Runtime, spec: &mut Spec) -> Option<PathBuf> {
    if runtime.kind != RuntimeKind::Crun {
        return None;
    }
    let profile = spec.linux().as_ref()?.seccomp().as_ref()?;
    // Programs with a listener are connected to it by crun itself.
    if profile.listener_path().is_some() {
        return None;
    }
    let path = engine
        .state
        .run_state()
        .join("seccomp")
        .join(key(&runtime.path, &serde_json::to_vec(profile).ok()?)?);
    let mut annotations = spec.annotations().clone().unwrap_or_default();
    if annotations.keys().any(|name| name.starts_with("run.oci.seccomp")) {
        return None;
    }
    if let Some(program) = fs::read(&path).ok().filter(|p| !p.is_empty() && p.len() % 8 == 0) {
        annotations.insert(ANNOTATION.to_owned(), base64::engine::general_purpose::STANDARD.encode(program));
        spec.set_annotations(Some(annotations));
        return None;
    }
    Some(path)
}

/// Changes with the profile, the runtime's version and the kernel.
fn key(runtime: &Path, profile: &[u8]) -> Option<String> {
    let meta = fs::metadata(runtime).ok()?;
    let mut hash = Sha256::new();
    hash.update(profile);
    hash.update(format!("{} {} {}", runtime.display(), meta.size(), meta.mtime()));
    hash.update(rustix::system::uname().release().to_bytes());
    let digest = hash.finalize();
    Some(format!("{}.bpf", hex::encode(&digest[..16])))
}

/// Keeps what crun compiled for the container it just created.
pub(super) fn keep(runtime: &Runtime, id: &str, path: &Path) -> Result<()> {
    let compiled = runtime.root.join(id).join("seccomp.bpf");
    let usable = fs::metadata(&compiled).is_ok_and(|m| m.len() > 0 && m.len() <= LARGEST && m.len() % 8 == 0);
    let Some(program) = usable.then(|| fs::read(&compiled).ok()).flatten() else { return Ok(()) };
    if let Some(parent) = path.parent() {
        let _ = fs::create_dir(parent);
    }
    atomic::write(path, &program, 0o600, Durability::None)
}
