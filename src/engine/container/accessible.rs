//! Ways to a container's files for a root that is not ours: in a user namespace without our own ID, the runtime reaches
//! the root filesystem as one of the others, whom private directories keep out.

use crate::engine::oci::{IdMaps, Resolved};
use crate::engine::spec::{ContainerSpec, IdMapping, MountKind};
use crate::engine::{Error, Result};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Lets everybody pass through (not read) the directories above the root filesystem, the bundle and the container's
/// volumes and mounted images, as podman does for such containers.
///
/// # Errors
/// A directory above that is closed is somebody else's.
pub(super) fn open_ways(spec: &ContainerSpec, bundle: &Path, resolved: &Resolved) -> Result<()> {
    let Some(maps) = resolved.id_maps.as_ref().filter(|maps| !contains_us(maps)) else { return Ok(()) };
    let volumes = spec.mounts.iter().filter(|m| matches!(m.kind, MountKind::Volume | MountKind::Image));
    let volumes = volumes.filter_map(|m| resolved.sources.get(&m.target));
    let overlays = resolved.overlays.values().map(|(upper, _)| upper);
    let ours = [resolved.rootfs.as_path(), bundle];
    for path in ours.into_iter().chain(volumes.map(AsRef::as_ref)).chain(overlays.map(AsRef::as_ref)) {
        open_way(path, maps.root().0)?;
    }
    Ok(())
}

/// With our own IDs inside, the container's root has power over our directories.
fn contains_us(maps: &IdMaps) -> bool {
    // The engine is root in its own namespace.
    let holds_root = |map: &[IdMapping]| map.iter().any(|row| row.host_id == 0 && row.size > 0);
    holds_root(&maps.uids) && holds_root(&maps.gids)
}

fn open_way(path: &Path, root: u32) -> Result<()> {
    for directory in path.ancestors().skip(1) {
        let meta = fs::metadata(directory).map_err(|e| Error::io("stat", directory, e))?;
        let mode = meta.mode() & 0o7777;
        if mode & 0o001 != 0 || meta.uid() == root {
            continue;
        }
        fs::set_permissions(directory, fs::Permissions::from_mode(mode | 0o011)).map_err(|e| {
            Error::io("open the way through", directory, e).with_hint(
                "a container with other user IDs must pass through it: chmod o+x, or use another --root",
            )
        })?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_closed_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        for (path, mode) in [("a", 0o700), ("a/b", 0o700)] {
            fs::set_permissions(dir.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        open_way(&inner, 12345).unwrap();
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().mode() & 0o777;
        assert_eq!((mode("a"), mode("a/b")), (0o711, 0o700));
    }

    #[test]
    fn our_own_ids_need_no_way() {
        let map = |host_id| vec![IdMapping { container_id: 0, host_id, size: 10 }];
        assert!(contains_us(&IdMaps { uids: map(0), gids: map(0) }));
        assert!(!contains_us(&IdMaps { uids: map(1), gids: map(0) }));
    }
}
