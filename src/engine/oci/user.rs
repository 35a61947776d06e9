//! Resolving `--user` and `USER` against the container's own /etc/passwd and /etc/group.
//!
//! Pure: the caller reads both files below the root filesystem (regular files only, bounded in size). Numbers are
//! parsed strictly: what does not fit 32 bits is an error and never wraps to root.

use crate::engine::spec::User;
use crate::engine::{Error, Result};
use std::collections::BTreeMap;

/// UIDs and GIDs the kernel takes: `u32::MAX` means "unchanged" to setuid(2), and podman stops at `i32::MAX`.
const MAX_ID: u32 = i32::MAX as u32;

struct PasswdRow<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct GroupRow<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// The identity that `user` (`""`, `name`, `uid`, `user:group` of either sort) and the further `groups` mean.
///
/// A user given without a group gets their supplementary groups from `group`; with a group, only that one. A number
/// need not be in `passwd`. `groups` are names or numbers; `keep-groups` is skipped (the caller's affair).
///
/// # Errors
/// A name that is in neither file, or a number out of range.
pub fn resolve(user: &str, groups: &[String], passwd: &[u8], group: &[u8]) -> Result<User> {
    let passwd = String::from_utf8_lossy(passwd);
    let group = String::from_utf8_lossy(group);
    let (user_part, group_part) = match user.split_once(':') {
        Some((u, g)) => (u, Some(g)),
        None => (user, None),
    };
    if group_part.is_some_and(|g| g.contains(':')) {
        return Err(Error::invalid(format!("invalid user {user:?}: more than one colon")));
    }
    let mut found = find_user(user_part, &passwd)?;
    match group_part {
        Some(name) if !name.is_empty() => found.gid = find_group(name, &group)?,
        _ => found.additional_gids = memberships(&found, &group),
    }
    for name in groups.iter().filter(|g| *g != "keep-groups") {
        let gid = find_group(name, &group)?;
        if !found.additional_gids.contains(&gid) {
            found.additional_gids.push(gid);
        }
    }
    Ok(found)
}

fn find_user(text: &str, passwd: &str) -> Result<User> {
    let from_row = |row: PasswdRow<'_>| User {
        uid: row.uid,
        gid: row.gid,
        additional_gids: Vec::new(),
        home: row.home.to_owned(),
        name: row.name.to_owned(),
    };
    let text = if text.is_empty() { "0" } else { text };
    if let Some(row) = passwd_rows(passwd).find(|row| row.name == text) {
        return Ok(from_row(row));
    }
    if !looks_numeric(text) {
        return Err(Error::not_found(format!(
            "unable to find user {text}: no matching entries in passwd file"
        )));
    }
    let uid = id(text, "user")?;
    Ok(match passwd_rows(passwd).find(|row| row.uid == uid) {
        Some(row) => from_row(row),
        None => User { uid, gid: 0, ..User::default() },
    })
}

fn find_group(text: &str, group: &str) -> Result<u32> {
    if let Some(row) = group_rows(group).find(|row| row.name == text) {
        return Ok(row.gid);
    }
    if !looks_numeric(text) {
        return Err(Error::not_found(format!(
            "unable to find group {text}: no matching entries in group file"
        )));
    }
    id(text, "group")
}

/// Groups whose member list names the user, in file order, without the primary one.
fn memberships(user: &User, group: &str) -> Vec<u32> {
    let mut gids = Vec::new();
    if user.name.is_empty() {
        return gids;
    }
    for row in group_rows(group) {
        let member = row.members.split(',').any(|m| m.trim() == user.name);
        if member && row.gid != user.gid && !gids.contains(&row.gid) {
            gids.push(row.gid);
        }
    }
    gids
}

/// A sign, or digits only: meant as a number, so a failure to parse is about the number.
fn looks_numeric(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// A UID or GID: decimal digits only, at most `i32::MAX`.
pub(crate) fn id(text: &str, what: &str) -> Result<u32> {
    parse_id(text)
        .ok_or_else(|| Error::invalid(format!("invalid {what} {text:?}: IDs are numbers from 0 to {MAX_ID}")))
}

fn parse_id(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|n| *n <= MAX_ID)
}

/// The names of users and of groups by their IDs; of several names the first counts.
pub fn names(passwd: &[u8], group: &[u8]) -> (BTreeMap<u32, String>, BTreeMap<u32, String>) {
    let (passwd, group) = (String::from_utf8_lossy(passwd), String::from_utf8_lossy(group));
    let (mut users, mut groups) = (BTreeMap::new(), BTreeMap::new());
    for row in passwd_rows(&passwd) {
        users.entry(row.uid).or_insert_with(|| row.name.to_owned());
    }
    for row in group_rows(&group) {
        groups.entry(row.gid).or_insert_with(|| row.name.to_owned());
    }
    (users, groups)
}

/// passwd(5); rows that are malformed, or whose numbers overflow, do not exist.
fn passwd_rows(text: &str) -> impl Iterator<Item = PasswdRow<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|n| !n.is_empty() && !n.starts_with('#'))?;
        let uid = parse_id(fields.nth(1)?)?;
        let gid = parse_id(fields.next()?)?;
        let home = fields.nth(1).unwrap_or_default();
        Some(PasswdRow { name, uid, gid, home })
    })
}

/// group(5); see [`passwd_rows`].
fn group_rows(text: &str) -> impl Iterator<Item = GroupRow<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|n| !n.is_empty() && !n.starts_with('#'))?;
        let gid = parse_id(fields.nth(1)?)?;
        Some(GroupRow { name, gid, members: fields.next().unwrap_or_default() })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        # a comment:x:7:7::/:\n\
        broken line\n\
        huge:x:4294967296:0::/huge:/bin/sh\n\
        www:x:33:33::/var/www:/bin/false\n\
        1000:x:42:42::/home/digits:\n\
        short:x:50:51\n";
    const GROUP: &[u8] = b"root:x:0:\nadm:x:4:www, root\nwww:x:33:\naudio:x:29:www,nobody\nvideo:x:44:www\nvideo2:x:44:www\nbig:x:4294967297:www\n";

    fn user(text: &str) -> Result<User> {
        resolve(text, &[], PASSWD, GROUP)
    }

    #[test]
    fn names_numbers_and_groups() {
        let cases: &[(&str, u32, u32, &[u32], &str)] = &[
            ("", 0, 0, &[4], "/root"),
            ("root", 0, 0, &[4], "/root"),
            ("0", 0, 0, &[4], "/root"),
            ("www", 33, 33, &[4, 29, 44], "/var/www"),
            ("33", 33, 33, &[4, 29, 44], "/var/www"),
            ("www:audio", 33, 29, &[], "/var/www"),
            ("www:29", 33, 29, &[], "/var/www"),
            ("www:", 33, 33, &[4, 29, 44], "/var/www"),
            (":audio", 0, 29, &[], "/root"),
            ("12345", 12345, 0, &[], ""),
            ("12345:678", 12345, 678, &[], ""),
            ("1000", 42, 42, &[], "/home/digits"),
            ("short", 50, 51, &[], ""),
        ];
        for (text, uid, gid, groups, home) in cases {
            let got = user(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(
                (got.uid, got.gid, &got.additional_gids[..], got.home.as_str()),
                (*uid, *gid, *groups, *home),
                "{text}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_never_root() {
        for text in [
            "4294967296",
            "4294967295",
            "2147483648",
            "-1",
            "+5",
            "99999999999999999999",
            "0:4294967296",
            "0:-1",
            "huge",
            "1e3",
            "0x10",
            "nobody",
            "www:nogroup",
            "a:b:c",
            "big",
        ] {
            assert!(user(text).is_err(), "{text} must not resolve");
        }
        let e = user("4294967296").unwrap_err().to_string();
        assert!(e.contains("4294967296"), "{e}");
        assert!(user("nobody").unwrap_err().to_string().contains("unable to find user nobody"));
    }

    #[test]
    fn further_groups_by_name_and_number() {
        let groups = ["audio".to_owned(), "1234".to_owned(), "audio".to_owned(), "keep-groups".to_owned()];
        let got = resolve("12345", &groups, PASSWD, GROUP).unwrap();
        assert_eq!(got.additional_gids, [29, 1234]);
        assert!(resolve("0", &["nope".to_owned()], PASSWD, GROUP).is_err());
    }

    #[test]
    fn files_may_be_missing_or_not_text() {
        assert_eq!(resolve("5:6", &[], b"", b"").unwrap().uid, 5);
        assert!(resolve("root", &[], b"", b"").is_err());
        assert_eq!(resolve("r", &[], b"\xff\xfe:x:1:1\nr:x:3:3::/\xff:\n", b"").unwrap().uid, 3);
    }
}
