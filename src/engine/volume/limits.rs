//! Volumes with a limit: `size` and `inodes`, as options of their own or in `o`, as podman's local driver has them.

use super::{DATA, Volumes, names_in};
use crate::engine::host::lock::DirLock;
use crate::engine::host::quota::{self, Limits};
use crate::engine::spec::bytes;
use crate::engine::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Held while a project ID is chosen. No volume can have this name.
const CHOOSING: &str = ".projects";

/// What anybody can limit.
const MEMORY: &str = "--opt type=tmpfs --opt device=tmpfs --opt o=size=100m";

/// Where our project IDs begin ("CR"): podman's and docker's are small numbers.
const FIRST: u32 = 0x4352_0000;

/// The limits that options ask for; `None`: none.
///
/// # Errors
/// `Invalid` for what is no number.
pub(super) fn limits(options: &BTreeMap<String, String>) -> Result<Option<Limits>> {
    if super::mounting::is_mount(options) {
        return Ok(None);
    }
    let word = |key: &str| super::mounting::given(options, key);
    let size = word("size").map(|text| {
        bytes(text).ok_or_else(|| {
            Error::invalid(format!("volume option size={text}: not a size")).with_hint("for example size=10g")
        })
    });
    let inodes = word("inodes").map(|text| {
        text.parse().map_err(|_| Error::invalid(format!("volume option inodes={text}: not a number")))
    });
    let limits = Limits {
        bytes: size.transpose()?.unwrap_or_default(),
        inodes: inodes.transpose()?.unwrap_or_default(),
    };
    Ok((limits != Limits::default()).then_some(limits))
}

impl Volumes {
    /// Limits the empty directory `data` of a volume that is being made.
    ///
    /// # Errors
    /// `Unsupported` for an ordinary user, and where the file system has no project quotas.
    pub(super) fn limit(&self, options: &BTreeMap<String, String>, data: &Path) -> Result<()> {
        let Some(limits) = limits(options)? else { return Ok(()) };
        if self.rootless {
            return Err(Error::unsupported("volume options size and inodes: only root can set quotas")
                .with_hint(format!("for memory: {MEMORY}")));
        }
        let choosing = self.root.join(CHOOSING);
        fs::create_dir_all(&choosing).map_err(|e| Error::io("mkdir", &choosing, e))?;
        let _lock = DirLock::exclusive(&choosing)?;
        // Those that are being made and removed count, too.
        let beside = names_in(&self.root).into_iter().map(|name| self.root.join(name).join(DATA));
        quota::limit_by_itself(data, beside, FIRST, limits).map_err(|e| match e.kind() {
            ErrorKind::Unsupported => {
                let hint = format!("{}; for memory: {MEMORY}", e.hint().unwrap_or_default());
                let text = format!("the file system of {} has no project quotas", self.root.display());
                Error::unsupported(format!("volume options size and inodes: {text}")).with_hint(hint)
            }
            _ => e.wrap("volume options size and inodes"),
        })
    }

    /// Takes back the limits of a volume's directory, which is about to be removed.
    pub(super) fn unlimit(data: &Path) {
        if let Err(e) = quota::unlimit(data, FIRST) {
            tracing::debug!("{e}");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_asked_for_in_several_ways() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        for (options, want) in [
            (&[][..], None),
            (&[("o", "uid=5")], None),
            (&[("size", "1g")], Some((1 << 30, 0))),
            (&[("SIZE", "1g"), ("INODES", "7")], Some((1 << 30, 7))),
            (&[("o", "size=2m,inodes=100,uid=5")], Some((2 << 20, 100))),
            // mount(8)'s affair.
            (&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")], None),
        ] {
            let got = limits(&map(options)).unwrap().map(|limits| (limits.bytes, limits.inodes));
            assert_eq!(got, want, "{options:?}");
        }
        for bad in [&[("size", "much")][..], &[("o", "inodes=x")]] {
            assert!(limits(&map(bad)).is_err(), "{bad:?}");
        }
    }
}
