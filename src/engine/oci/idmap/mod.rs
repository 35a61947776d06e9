//! User namespace maps: from `--userns` and `--uidmap` to rows relative to the engine's own user namespace
//! (user_namespaces(7)).
//!
//! A rootless engine runs in a namespace where 0 is the caller and 1, 2, 3 … are the subordinate IDs; a container's
//! namespace is nested in it, so its maps speak of those numbers.

mod asked;

pub use asked::{NamedRanges, asked};

use crate::engine::spec::{HostFacts, IdMapping, UserNamespace};
use crate::engine::{Error, Result};

/// Both maps of a user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// User IDs.
    pub uids: Vec<IdMapping>,
    /// Group IDs.
    pub gids: Vec<IdMapping>,
}

impl IdMaps {
    /// Whether `gid` exists inside.
    pub fn maps_gid(&self, gid: u32) -> bool {
        outside(&self.gids, gid).is_some()
    }

    /// The engine's UID and GID of the container's root, to whom its files belong.
    pub fn root(&self) -> (u32, u32) {
        (outside(&self.uids, 0).unwrap_or(0), outside(&self.gids, 0).unwrap_or(0))
    }
}

/// The ID outside that `inside` is; `None`: it is not mapped.
pub fn outside(map: &[IdMapping], inside: u32) -> Option<u32> {
    map.iter().find_map(|row| {
        let offset = inside.checked_sub(row.container_id)?;
        (offset < row.size).then(|| row.host_id + offset)
    })
}

/// What `--userns=auto` may take: ranges in the engine's namespace, and those other containers hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AutoPool {
    /// First ID and count of every range that may be given away: rootless, all but the caller's; root, those of the
    /// user `containers` in /etc/subuid.
    pub available: Vec<(u32, u32)>,
    /// First ID and count of every range in use.
    pub used: Vec<(u32, u32)>,
    /// IDs the image needs at least (the highest owner in its layers, plus one).
    pub image_size: u32,
}

/// podman's least size of an automatic range, and its largest.
const AUTO_MIN: u32 = 1024;
const AUTO_MAX: u32 = 65536;

/// The maps `mode` asks for; `None`: no user namespace of its own (the engine's, or one that is joined).
///
/// # Errors
/// keep-id or nomap as root, overlapping or empty rows, IDs the caller does not have, or no free automatic range.
pub fn maps(mode: &UserNamespace, host: &HostFacts, pool: &AutoPool) -> Result<Option<IdMaps>> {
    let maps = match mode {
        UserNamespace::Host | UserNamespace::Container(_) | UserNamespace::Path(_) => return Ok(None),
        UserNamespace::KeepId { uid, gid, size } => {
            rootless_only("keep-id", host)?;
            let uid = uid.unwrap_or(host.caller_uid);
            let gid = gid.unwrap_or(host.caller_gid);
            IdMaps {
                uids: keep_id(uid, available(&host.uid_map), *size)?,
                gids: keep_id(gid, available(&host.gid_map), *size)?,
            }
        }
        UserNamespace::NoMap => {
            rootless_only("nomap", host)?;
            IdMaps { uids: no_map(&host.uid_map)?, gids: no_map(&host.gid_map)? }
        }
        UserNamespace::Auto { size, uid_maps, gid_maps } => auto(*size, uid_maps, gid_maps, pool)?,
        UserNamespace::Mapped { uid_maps, gid_maps } => mapped(uid_maps, gid_maps, host)?,
        // Before names have been looked up.
        UserNamespace::Asked { uids, gids, .. } => asked(uids, gids, &NamedRanges::default(), host)?,
    };
    check(&maps.uids, &host.uid_map, "UID")?;
    check(&maps.gids, &host.gid_map, "GID")?;
    Ok(Some(maps))
}

fn rootless_only(mode: &str, host: &HostFacts) -> Result<()> {
    if host.rootless {
        return Ok(());
    }
    Err(Error::invalid(format!("--userns={mode} is for rootless use: root has no IDs of its own to keep"))
        .with_hint("use --userns=auto or --uidmap"))
}

/// How many IDs the engine's namespace has, counted from 0 without a gap.
fn available(map: &[IdMapping]) -> u32 {
    let mut end = 0;
    let mut rows: Vec<&IdMapping> = map.iter().collect();
    rows.sort_by_key(|row| row.container_id);
    for row in rows {
        if row.container_id != end {
            break;
        }
        end = end.saturating_add(row.size);
    }
    end
}

fn row(container_id: u32, host_id: u32, size: u32) -> IdMapping {
    IdMapping { container_id, host_id, size }
}

/// `id` inside is the caller (0 of the engine's namespace); the subordinate IDs fill the places around it.
fn keep_id(id: u32, available: u32, size: Option<u32>) -> Result<Vec<IdMapping>> {
    let subordinate = available.saturating_sub(1).min(size.unwrap_or(u32::MAX));
    let below = subordinate.min(id);
    let rows = [row(0, 1, below), row(id, 0, 1), row(id.saturating_add(1), below + 1, subordinate - below)];
    Ok(rows.into_iter().filter(|r| r.size > 0).collect())
}

fn no_map(map: &[IdMapping]) -> Result<Vec<IdMapping>> {
    match available(map).checked_sub(1) {
        Some(n) if n > 0 => Ok(vec![row(0, 1, n)]),
        _ => Err(Error::unsupported("--userns=nomap needs subordinate IDs, and this user has none")
            .with_hint("add a range to /etc/subuid and /etc/subgid (usermod --add-subuids)")),
    }
}

fn mapped(uids: &[IdMapping], gids: &[IdMapping], host: &HostFacts) -> Result<IdMaps> {
    let (uids, gids) = match (uids.is_empty(), gids.is_empty()) {
        (false, false) => (uids.to_vec(), gids.to_vec()),
        (false, true) => (uids.to_vec(), uids.to_vec()),
        (true, false) => (gids.to_vec(), gids.to_vec()),
        (true, true) if host.rootless => {
            (vec![row(0, 0, available(&host.uid_map))], vec![row(0, 0, available(&host.gid_map))])
        }
        (true, true) => {
            return Err(Error::invalid("--userns=private needs to know which IDs to use")
                .with_hint("add --uidmap (and --gidmap), or use --userns=auto"));
        }
    };
    Ok(IdMaps { uids, gids })
}

/// A free range for the whole of it; fixed mappings stand beside it.
fn auto(size: Option<u32>, uids: &[IdMapping], gids: &[IdMapping], pool: &AutoPool) -> Result<IdMaps> {
    let size = size.unwrap_or_else(|| pool.image_size.max(AUTO_MIN)).min(AUTO_MAX);
    if size == 0 {
        return Err(Error::invalid("invalid --userns=auto: the size is zero"));
    }
    let start = free_range(size, pool).ok_or_else(|| {
        Error::unsupported(format!("--userns=auto: no range of {size} IDs is free"))
            .with_hint("remove containers that use one, or add a range for the user \"containers\" (root) or for yourself to /etc/subuid and /etc/subgid")
    })?;
    Ok(IdMaps { uids: around(uids, start, size), gids: around(gids, start, size) })
}

fn free_range(size: u32, pool: &AutoPool) -> Option<u32> {
    let mut used = pool.used.clone();
    used.sort_unstable();
    for (first, count) in &pool.available {
        let end = u64::from(*first) + u64::from(*count);
        let mut at = u64::from(*first);
        for (u, n) in &used {
            let (from, to) = (u64::from(*u), u64::from(*u) + u64::from(*n));
            if to <= at {
                continue;
            }
            if at + u64::from(size) <= from {
                break;
            }
            at = to;
        }
        if at + u64::from(size) <= end {
            return u32::try_from(at).ok();
        }
    }
    None
}

/// The fixed rows, and the IDs from 0 to `size` they leave free taken from `start` on.
fn around(fixed: &[IdMapping], start: u32, size: u32) -> Vec<IdMapping> {
    let mut fixed = fixed.to_vec();
    fixed.sort_by_key(|r| r.container_id);
    let mut rows = Vec::new();
    let (mut inside, mut host) = (0u32, start);
    for f in &fixed {
        let gap = f.container_id.min(size).saturating_sub(inside);
        if gap > 0 {
            rows.push(row(inside, host, gap));
            host += gap;
        }
        rows.push(*f);
        inside = inside.max(f.container_id.saturating_add(f.size));
    }
    if inside < size {
        rows.push(row(inside, host, size - inside));
    }
    rows
}

/// What the kernel would refuse later with a bare EINVAL or EPERM.
fn check(rows: &[IdMapping], engine: &[IdMapping], what: &str) -> Result<()> {
    if rows.is_empty() || rows.iter().any(|r| r.size == 0) {
        return Err(Error::invalid(format!("invalid {what} mapping: a range is empty")));
    }
    for (i, a) in rows.iter().enumerate() {
        let overlaps = |x: u32, n: u32, y: u32, m: u32| {
            u64::from(x) < u64::from(y) + u64::from(m) && u64::from(y) < u64::from(x) + u64::from(n)
        };
        let end = u64::from(a.container_id.max(a.host_id)) + u64::from(a.size);
        if end > u64::from(u32::MAX) {
            return Err(Error::invalid(format!("invalid {what} mapping: IDs end at {}", u32::MAX - 1)));
        }
        for b in &rows[i + 1..] {
            if overlaps(a.container_id, a.size, b.container_id, b.size)
                || overlaps(a.host_id, a.size, b.host_id, b.size)
            {
                return Err(Error::invalid(format!(
                    "invalid {what} mappings: {}:{}:{} and {}:{}:{} overlap",
                    a.container_id, a.host_id, a.size, b.container_id, b.host_id, b.size
                )));
            }
        }
        let have = available(engine);
        if !engine.is_empty() && u64::from(a.host_id) + u64::from(a.size) > u64::from(have) {
            return Err(Error::invalid(format!(
                "invalid {what} mapping {}:{}:{}: this user has the {have} IDs from 0 to {} only",
                a.container_id,
                a.host_id,
                a.size,
                have.saturating_sub(1)
            ))
            .with_hint("add a range to /etc/subuid and /etc/subgid (usermod --add-subuids)"));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn rootless() -> HostFacts {
        let map = vec![row(0, 1000, 1), row(1, 100_000, 65536)];
        HostFacts {
            rootless: true,
            caller_uid: 1000,
            caller_gid: 100,
            uid_map: map.clone(),
            gid_map: map,
            ..HostFacts::default()
        }
    }

    fn no_pool() -> AutoPool {
        AutoPool::default()
    }

    #[test]
    fn keep_id_puts_the_caller_in_its_place() {
        let mode = UserNamespace::KeepId { uid: None, gid: None, size: None };
        let got = maps(&mode, &rootless(), &no_pool()).unwrap().unwrap();
        assert_eq!(got.uids, [row(0, 1, 1000), row(1000, 0, 1), row(1001, 1001, 64536)]);
        assert_eq!(got.gids, [row(0, 1, 100), row(100, 0, 1), row(101, 101, 65436)]);
        assert_eq!(outside(&got.uids, 1000), Some(0));
        assert_eq!(outside(&got.uids, 65536), Some(65536));
        assert_eq!(outside(&got.uids, 65537), None);

        let mode = UserNamespace::KeepId { uid: Some(200_000), gid: Some(0), size: Some(10) };
        let got = maps(&mode, &rootless(), &no_pool()).unwrap().unwrap();
        assert_eq!(got.uids, [row(0, 1, 10), row(200_000, 0, 1)]);
        assert_eq!(got.gids, [row(0, 0, 1), row(1, 1, 10)]);
        let root = HostFacts::default();
        assert!(maps(&mode, &root, &no_pool()).is_err());
    }

    #[test]
    fn without_subordinate_ids_the_caller_is_alone() {
        let mut host = rootless();
        host.uid_map = vec![row(0, 1000, 1)];
        host.gid_map = vec![row(0, 100, 1)];
        let mode = UserNamespace::KeepId { uid: None, gid: None, size: None };
        assert_eq!(maps(&mode, &host, &no_pool()).unwrap().unwrap().uids, [row(1000, 0, 1)]);
        assert!(maps(&UserNamespace::NoMap, &host, &no_pool()).is_err());
    }

    #[test]
    fn nomap_leaves_the_caller_out() {
        let got = maps(&UserNamespace::NoMap, &rootless(), &no_pool()).unwrap().unwrap();
        assert_eq!(got.uids, [row(0, 1, 65536)]);
        assert_eq!(got.root(), (1, 1));
    }

    #[test]
    fn given_maps_stand_for_each_other_and_are_checked() {
        let mode = |uids: &[IdMapping], gids: &[IdMapping]| UserNamespace::Mapped {
            uid_maps: uids.to_vec(),
            gid_maps: gids.to_vec(),
        };
        let root = HostFacts::default();
        let got = maps(&mode(&[row(0, 100_000, 5)], &[]), &root, &no_pool()).unwrap().unwrap();
        assert_eq!(got.uids, got.gids);
        assert!(maps(&mode(&[], &[]), &root, &no_pool()).is_err());
        assert_eq!(maps(&mode(&[], &[]), &rootless(), &no_pool()).unwrap().unwrap().uids, [row(0, 0, 65537)]);
        for bad in [
            vec![row(0, 0, 0)],
            vec![row(0, 10, 5), row(4, 100, 5)],
            vec![row(0, 10, 5), row(10, 14, 5)],
            vec![row(0, u32::MAX - 1, 5)],
        ] {
            assert!(maps(&mode(&bad, &[]), &root, &no_pool()).is_err(), "{bad:?}");
        }
        let e = maps(&mode(&[row(0, 0, 70_000)], &[]), &rootless(), &no_pool()).unwrap_err();
        assert!(e.to_string().contains("65537 IDs"), "{e}");
    }

    #[test]
    fn auto_takes_the_first_free_range() {
        let pool = |used: &[(u32, u32)]| AutoPool {
            available: vec![(1, 500), (10_000, 5000)],
            used: used.to_vec(),
            image_size: 0,
        };
        let auto = |size, used: &[(u32, u32)]| {
            let mode = UserNamespace::Auto { size, uid_maps: vec![], gid_maps: vec![] };
            maps(&mode, &HostFacts::default(), &pool(used)).map(|m| m.unwrap().uids)
        };
        assert_eq!(auto(Some(100), &[]).unwrap(), [row(0, 1, 100)]);
        assert_eq!(auto(None, &[]).unwrap(), [row(0, 10_000, 1024)]);
        assert_eq!(auto(None, &[(10_000, 1024), (11_500, 10)]).unwrap(), [row(0, 11_510, 1024)]);
        assert!(auto(Some(6000), &[]).is_err());
        let mode =
            UserNamespace::Auto { size: Some(10), uid_maps: vec![row(5, 77_777, 1)], gid_maps: vec![] };
        let got = maps(&mode, &HostFacts::default(), &pool(&[])).unwrap().unwrap();
        assert_eq!(got.uids, [row(0, 1, 5), row(5, 77_777, 1), row(6, 6, 4)]);
        assert_eq!(got.gids, [row(0, 1, 10)]);
    }
}
