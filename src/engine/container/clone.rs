//! `clone`: a container like another one.

use super::create::{CreateRequest, create};
use super::defaults;
use super::remove::{self, RemoveOptions, remove};
use crate::engine::oci::files;
use crate::engine::spec::ContainerSpec;
use crate::engine::{Engine, ErrorKind, Result};

/// What the copy differs in.
#[derive(Clone, Debug, Default)]
pub struct CloneRequest {
    /// Its name; empty: the original's with `-clone` behind it, or `-clone` and a number.
    pub name: String,
    /// The original is removed when the copy is there.
    pub destroy: bool,
    /// The original is removed even if it runs.
    pub force: bool,
}

/// Names that are tried for one copy.
const LAST_NUMBER: u32 = 10_000;

/// Makes a container like `id` and returns its ID. `change` is given the copy's spec before it is made, and may give it another
/// image (podman's `container clone`: command and environment stay the original's) and other limits.
///
/// The copy has its own files, begun anew from the image; volumes, secrets and networks are those of the original, the networks
/// as they are now.
///
/// # Errors
/// [`ErrorKind::InUse`] if the original is to go, runs, and is not forced to; otherwise as [`create()`] and [`remove()`].
pub fn clone(
    engine: &Engine,
    id: &str,
    request: &CloneRequest,
    change: impl FnOnce(&mut ContainerSpec) -> Result<()>,
) -> Result<String> {
    let record = engine.state.load(id)?;
    if request.destroy && !request.force && record.state.status.is_live() {
        return Err(remove::running(&record));
    }
    let mut spec = record.spec()?.clone();
    spec.network.attachments.clone_from(&record.state.network.attachments);
    strip(engine, &mut spec, request.destroy)?;
    change(&mut spec)?;
    let made = make(engine, record.name(), &request.name, &spec)?;
    crate::failpoint!("clone.after-create");
    if request.destroy {
        let options = RemoveOptions { force: request.force, ..RemoveOptions::default() };
        match remove(engine, id, &options) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => {
                // Two of them were not asked for.
                if let Err(undo) = remove(engine, &made, &RemoveOptions::default()) {
                    tracing::debug!("remove {made}: {undo}");
                }
                return Err(e);
            }
            Ok(_) => {}
        }
    }
    Ok(made)
}

/// Takes what is the original's alone out of its spec: files that two cannot write, and what followed from its name.
fn strip(engine: &Engine, spec: &mut ContainerSpec, destroy: bool) -> Result<()> {
    if defaults::defaults(&engine.config)?.name_as_hostname && spec.hostname == files::hostname_of(&spec.name)
    {
        spec.hostname.clear();
    }
    spec.name.clear();
    if !destroy {
        (spec.pidfile, spec.conmon_pidfile, spec.log.path) = (None, None, None);
    }
    // Their mounts are in the spec already.
    spec.volumes_from.retain(|word| {
        let name = word.split_once(':').map_or(word.as_str(), |(name, _)| name);
        engine.state.resolve(name).is_ok()
    });
    Ok(())
}

fn make(engine: &Engine, original: &str, name: &str, spec: &ContainerSpec) -> Result<String> {
    let create = |name: String| {
        let spec = ContainerSpec { name, ..spec.clone() };
        create(engine, CreateRequest { spec, ..CreateRequest::default() })
    };
    if !name.is_empty() {
        return create(name.to_owned());
    }
    let base = base(original);
    for number in 0..LAST_NUMBER {
        let name = if number == 0 { base.clone() } else { format!("{base}{number}") };
        if engine.state.name_holder(&name).is_some() {
            continue;
        }
        match create(name) {
            // Somebody was faster.
            Err(e) if e.kind() == ErrorKind::Conflict => {}
            made => return made,
        }
    }
    create(base)
}

/// `web` and `web-clone3` both give `web-clone`.
fn base(original: &str) -> String {
    let stem = original.trim_end_matches(|c: char| c.is_ascii_digit());
    let stem = stem.strip_suffix("-clone").unwrap_or(original);
    format!("{stem}-clone")
}

#[cfg(test)]
mod tests {
    use super::base;

    #[test]
    fn a_clone_of_a_clone_has_a_number_and_no_second_suffix() {
        for (original, want) in [
            ("web", "web-clone"),
            ("web1", "web1-clone"),
            ("web-clone", "web-clone"),
            ("web-clone12", "web-clone"),
            ("my-clone-army", "my-clone-army-clone"),
        ] {
            assert_eq!(base(original), want);
        }
    }
}
