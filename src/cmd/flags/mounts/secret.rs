//! `--secret NAME[,type=mount|env][,target=…][,uid=…][,gid=…][,mode=…]` (podman-run(1)).

use crate::engine::spec::{SecretPlace, SecretUse};
use crate::engine::{Error, Result};

/// One `--secret`.
pub(super) fn parse(text: &str) -> Result<SecretUse> {
    let bad = |what: String| {
        Error::invalid(format!("invalid --secret {text:?}: {what}"))
            .with_hint("NAME[,type=mount|env][,target=TARGET][,uid=UID][,gid=GID][,mode=OCTAL]")
    };
    let mut name = String::new();
    let (mut env, mut target, mut uid, mut gid, mut mode) = (false, String::new(), None, None, None);
    for (index, part) in text.split(',').enumerate() {
        let Some((key, value)) = part.split_once('=') else {
            if index > 0 || part.is_empty() {
                return Err(bad(format!("{part:?} has no value")));
            }
            name = part.to_owned();
            continue;
        };
        let number = |radix| u32::from_str_radix(value, radix).map_err(|_| bad(format!("{key}: {value:?}")));
        match key {
            "source" | "src" => value.clone_into(&mut name),
            "type" if value == "env" => env = true,
            "type" if value == "mount" => env = false,
            "target" | "dst" | "destination" => value.clone_into(&mut target),
            "uid" => uid = Some(number(10)?),
            "gid" => gid = Some(number(10)?),
            "mode" => mode = Some(number(8)?),
            _ => return Err(bad(format!("option {part:?}"))),
        }
    }
    if name.is_empty() {
        return Err(bad("no secret is named".to_owned()));
    }
    let place = if env {
        if uid.is_some() || gid.is_some() || mode.is_some() {
            return Err(bad("UID, GID, Mode options cannot be set with secret type env".to_owned()));
        }
        SecretPlace::Environment(target)
    } else {
        let mode = mode.unwrap_or(0o444);
        SecretPlace::File { target, uid: uid.unwrap_or(0), gid: gid.unwrap_or(0), mode }
    };
    Ok(SecretUse { name, place, ..SecretUse::default() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let file = |text: &str| match parse(text).unwrap().place {
            SecretPlace::File { target, uid, gid, mode } => (target, uid, gid, mode),
            SecretPlace::Environment(_) => panic!("{text}"),
        };
        assert_eq!(file("db"), (String::new(), 0, 0, 0o444));
        assert_eq!(file("source=db,target=/x/y,uid=7,gid=8,mode=0400"), ("/x/y".into(), 7, 8, 0o400));
        assert_eq!(parse("db,type=env,target=PASS").unwrap().place, SecretPlace::Environment("PASS".into()));
        assert_eq!(parse("db").unwrap().path().unwrap(), "/run/secrets/db");
        assert_eq!(parse("db,target=x").unwrap().path().unwrap(), "/run/secrets/x");
        for bad in [
            "",
            ",",
            "db,x",
            "db,type=x",
            "db,uid=-1",
            "db,mode=9",
            "type=env",
            "db,type=env,mode=0400",
            "db,x=y",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
