//! From names of devices to what they need.

use super::{Document, Edits};
use crate::engine::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A file of one of the directories.
#[derive(Clone, Debug)]
pub struct SpecFile {
    /// Where it is.
    pub path: PathBuf,
    /// The number of its directory: what a higher one says of a device holds.
    pub priority: usize,
    /// JSON or YAML.
    pub text: String,
}

/// What the devices `names` need: of each file that has one of them what it says of all its devices, then what it says of that
/// one. A file that cannot be understood matters only if a device is not found.
///
/// # Errors
/// [`ErrorKind::NotFound`] for a device that is nowhere, [`ErrorKind::Conflict`] for one that two files of a directory have;
/// [`ErrorKind::Unsupported`] for network devices.
pub fn resolve(files: &[SpecFile], names: &[String]) -> Result<Edits> {
    let mut broken = Vec::new();
    let mut documents = Vec::new();
    for file in files {
        match Document::parse(&file.text) {
            Ok(document) => documents.push((file, document)),
            Err(e) => broken.push(format!("{}: {e}", file.path.display())),
        }
    }
    let mut edits = Edits::default();
    let (mut used, mut missing, mut seen) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    for name in names.iter().filter(|name| seen.insert(name.as_str())) {
        let (kind, device) = name.split_once('=').unwrap_or((name, ""));
        let having = documents.iter().enumerate().filter_map(|(number, (file, document))| {
            let found = document.devices.iter().find(|d| document.kind == kind && d.name == device)?;
            Some((number, *file, document, found))
        });
        let having: Vec<_> = having.collect();
        let Some(highest) = having.iter().map(|(_, file, ..)| file.priority).max() else {
            missing.push(name.as_str());
            continue;
        };
        let mut best = having.into_iter().filter(|(_, file, ..)| file.priority == highest);
        let Some((number, file, document, found)) = best.next() else { continue };
        if let Some((_, other, ..)) = best.next() {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "the CDI device {name} is described twice: by {} and {}",
                    file.path.display(),
                    other.path.display()
                ),
            ));
        }
        if used.insert(number) {
            edits.extend(&document.container_edits);
        }
        edits.extend(&found.container_edits);
    }
    if !missing.is_empty() {
        let error = Error::not_found(format!("unresolvable CDI devices {}", missing.join(", ")));
        return Err(match broken.as_slice() {
            [] if missing.iter().any(|name| name.starts_with("nvidia.com/")) => error.with_hint(
                "NVIDIA's devices are described by: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
            ),
            [] => error.with_hint(
                "they are described by files in /etc/cdi, /var/run/cdi or cdi_spec_dirs of containers.conf",
            ),
            files => error.with_hint(format!("not understood: {}", files.join("; "))),
        });
    }
    if !edits.net_devices.is_empty() {
        return Err(Error::unsupported(
            "CDI: network devices (netDevices) cannot be given to a container yet",
        ));
    }
    Ok(edits)
}
