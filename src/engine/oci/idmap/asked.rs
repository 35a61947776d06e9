//! Maps with podman's marks (podman-run(1), `--uidmap`): `@` means an ID of the host, `+` that a row takes its place among
//! those before it; and the ranges that a name has in subuid(5).

use super::{IdMaps, available, mapped, row};
use crate::engine::spec::{HostFacts, IdMapping, MapRow};
use crate::engine::{Error, Result};
use std::ops::Range;

/// First ID and count of each range that a name has: users, groups.
#[derive(Clone, Debug, Default)]
pub struct NamedRanges {
    /// In /etc/subuid.
    pub uids: Vec<(u32, u32)>,
    /// In /etc/subgid.
    pub gids: Vec<(u32, u32)>,
}

/// The maps that are asked for, named ranges first.
///
/// # Errors
/// An ID of the host that the caller does not have.
pub fn asked(uids: &[MapRow], gids: &[MapRow], named: &NamedRanges, host: &HostFacts) -> Result<IdMaps> {
    let uids = one(uids, &named.uids, &host.uid_map, host.rootless, "UID")?;
    let gids = one(gids, &named.gids, &host.gid_map, host.rootless, "GID")?;
    if host.rootless && (uids.is_empty() != gids.is_empty()) {
        let all = |map: Vec<IdMapping>, engine: &[IdMapping]| {
            if map.is_empty() { filled(map, available(engine)) } else { map }
        };
        return Ok(IdMaps { uids: all(uids, &host.uid_map), gids: all(gids, &host.gid_map) });
    }
    mapped(&uids, &gids, host)
}

fn one(
    asked: &[MapRow],
    named: &[(u32, u32)],
    engine: &[IdMapping],
    rootless: bool,
    what: &str,
) -> Result<Vec<IdMapping>> {
    let mut map = Vec::new();
    let mut next = 0;
    for (first, count) in named {
        map.extend(of_host(row(next, *first, *count), engine, what)?);
        next += count;
    }
    let mut fill = false;
    for MapRow { row, of_host: is_of_host, extends } in asked {
        let pieces = if *is_of_host { of_host(*row, engine, what)? } else { vec![*row] };
        for piece in pieces {
            if *extends {
                // To extend nothing means to extend what there is.
                fill |= rootless && map.is_empty();
                map = without(&map, piece);
            }
            map.push(piece);
        }
    }
    if fill {
        map = filled(map, available(engine));
    }
    map.sort_by_key(|r| r.container_id);
    Ok(joined(map))
}

/// The same row with IDs of the engine's own namespace, in as many pieces as that takes.
fn of_host(asked: IdMapping, engine: &[IdMapping], what: &str) -> Result<Vec<IdMapping>> {
    if engine.is_empty() {
        return Ok(vec![asked]);
    }
    let (mut pieces, mut done) = (Vec::new(), 0);
    while done < asked.size {
        let id = asked.host_id.saturating_add(done);
        let found = engine.iter().find(|r| (r.host_id..r.host_id.saturating_add(r.size)).contains(&id));
        let Some(found) = found else {
            return Err(Error::invalid(format!("{what} {id} of the host is not one this user may map"))
                .with_hint("your own ID and those that /etc/subuid and /etc/subgid give you can be mapped"));
        };
        let offset = id - found.host_id;
        let size = (found.size - offset).min(asked.size - done);
        pieces.push(row(asked.container_id + done, found.container_id + offset, size));
        done += size;
    }
    Ok(pieces)
}

/// The rows without what `new` says otherwise, of an ID inside or of one outside.
fn without(map: &[IdMapping], new: IdMapping) -> Vec<IdMapping> {
    let mut left = Vec::new();
    for old in map {
        let inside = overlap(old.container_id, new.container_id, old.size, new.size);
        let outside = overlap(old.host_id, new.host_id, old.size, new.size);
        let whole = 0..old.size;
        let mut parts = vec![whole];
        for hole in [inside, outside] {
            parts = parts.into_iter().flat_map(|part| cut(&part, &hole)).collect();
        }
        left.extend(
            parts.into_iter().map(|part| {
                row(old.container_id + part.start, old.host_id + part.start, part.end - part.start)
            }),
        );
    }
    left
}

/// Where in the range of `size` from `start` the other one lies, as offsets.
fn overlap(start: u32, other: u32, size: u32, other_size: u32) -> Range<u32> {
    let from = other.saturating_sub(start).min(size);
    let to = other.saturating_add(other_size).saturating_sub(start).min(size);
    from..to
}

fn cut(part: &Range<u32>, hole: &Range<u32>) -> Vec<Range<u32>> {
    if hole.is_empty() {
        return vec![part.clone()];
    }
    let before = part.start..part.end.min(hole.start);
    let after = part.start.max(hole.end)..part.end;
    [before, after].into_iter().filter(|r| r.start < r.end).collect()
}

/// The IDs of the engine that no row uses are mapped to the lowest IDs inside that are free.
fn filled(mut map: Vec<IdMapping>, available: u32) -> Vec<IdMapping> {
    map.sort_by_key(|r| r.container_id);
    let all = 0..available;
    let mut free = vec![all];
    for used in &map {
        let hole = used.host_id..used.host_id.saturating_add(used.size);
        free = free.into_iter().flat_map(|part| cut(&part, &hole)).collect();
    }
    let mut gaps = Vec::new();
    let mut next = 0;
    for used in &map {
        gaps.push(next..used.container_id);
        next = next.max(used.container_id.saturating_add(used.size));
    }
    gaps.push(next..u32::MAX);
    let mut free = free.into_iter();
    let mut part = free.next();
    for mut gap in gaps {
        while let Some(left) = part.as_mut().filter(|_| gap.start < gap.end) {
            let size = (left.end - left.start).min(gap.end - gap.start);
            map.push(row(gap.start, left.start, size));
            gap.start += size;
            left.start += size;
            if left.start == left.end {
                part = free.next();
            }
        }
    }
    map
}

/// Rows that go on where the one before ends are one.
fn joined(map: Vec<IdMapping>) -> Vec<IdMapping> {
    let mut rows: Vec<IdMapping> = Vec::new();
    for next in map {
        match rows.last_mut() {
            Some(last)
                if last.container_id + last.size == next.container_id
                    && last.host_id + last.size == next.host_id =>
            {
                last.size += next.size;
            }
            _ => rows.push(next),
        }
    }
    rows
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Rows as the command line has them.
    fn rows(texts: &[&str]) -> Vec<MapRow> {
        let one = |text: &&str| {
            let bare = text.trim_start_matches('+');
            let numbers: Vec<u32> =
                bare.split(':').map(|n| n.trim_start_matches('@').parse().unwrap()).collect();
            MapRow {
                row: row(numbers[0], numbers[1], numbers[2]),
                of_host: bare.contains('@'),
                extends: text.starts_with('+'),
            }
        };
        texts.iter().map(one).collect()
    }

    /// User 1000 with the IDs from 100000 on: 0 is 1000, 1 is 100000.
    fn user() -> HostFacts {
        let map = vec![row(0, 1000, 1), row(1, 100_000, 65536)];
        HostFacts { rootless: true, uid_map: map.clone(), gid_map: map, ..HostFacts::default() }
    }

    fn uids(texts: &[&str], host: &HostFacts) -> Result<Vec<(u32, u32, u32)>> {
        let maps = asked(&rows(texts), &rows(texts), &NamedRanges::default(), host)?;
        assert_eq!(maps.uids, maps.gids);
        Ok(maps.uids.iter().map(|r| (r.container_id, r.host_id, r.size)).collect())
    }

    #[test]
    fn ids_of_the_host() {
        assert_eq!(uids(&["0:@1000:1"], &user()).unwrap(), [(0, 0, 1)]);
        assert_eq!(uids(&["0:@100005:10"], &user()).unwrap(), [(0, 6, 10)]);
        assert!(uids(&["0:@1001:1"], &user()).is_err());
        assert!(uids(&["0:@165530:10"], &user()).is_err());
        assert_eq!(uids(&["0:@1001:2"], &HostFacts::default()).unwrap(), [(0, 1001, 2)]);
    }

    #[test]
    fn a_row_takes_its_place_among_others() {
        let root = HostFacts::default();
        assert_eq!(
            uids(&["0:100:1000", "+5:500:1"], &root).unwrap(),
            [(0, 100, 5), (5, 500, 1), (6, 106, 394), (401, 501, 599)]
        );
        assert_eq!(uids(&["0:100:10", "+0:100:10"], &root).unwrap(), [(0, 100, 10)]);
        assert_eq!(uids(&["0:100:10", "+20:200:1"], &root).unwrap(), [(0, 100, 10), (20, 200, 1)]);
        assert_eq!(uids(&["0:100:10", "+8:50:10"], &root).unwrap(), [(0, 100, 8), (8, 50, 10)]);
    }

    /// The example of podman-run(1): everything stays, and one ID of the host is added.
    #[test]
    fn a_user_extends_what_there_is() {
        assert_eq!(
            uids(&["+2000:@1000:1"], &user()).unwrap(),
            [(0, 1, 2000), (2000, 0, 1), (2001, 2001, 63536)]
        );
        assert_eq!(
            uids(&["+0:@1000:1"], &user()).unwrap(),
            [(0, 0, 65537)],
            "what comes out is the map there is"
        );
        let maps = asked(&rows(&["0:@1000:1"]), &[], &NamedRanges::default(), &user()).unwrap();
        assert_eq!((maps.uids, maps.gids), (vec![row(0, 0, 1)], vec![row(0, 0, 65537)]));
    }

    #[test]
    fn ranges_by_name() {
        let named = NamedRanges { uids: vec![(300, 10), (500, 5)], gids: vec![(300, 10)] };
        let maps = asked(&[], &[], &named, &HostFacts::default()).unwrap();
        assert_eq!(maps.uids, [row(0, 300, 10), row(10, 500, 5)]);
        assert_eq!(maps.gids, [row(0, 300, 10)]);
        let mine = NamedRanges { uids: vec![(100_000, 65536)], gids: vec![(100_000, 65536)] };
        assert_eq!(asked(&[], &[], &mine, &user()).unwrap().uids, [row(0, 1, 65536)]);
        assert!(asked(&[], &[], &named, &user()).is_err());
    }
}
