//! From a container's own process to an exec session's: pure.

use crate::engine::oci::caps;
use crate::engine::spec::User;
use crate::engine::{Error, Result};
use serde_json::{Map, Value, json};

/// What a session asks for, resolved.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted<'a> {
    /// Program and arguments.
    pub command: &'a [String],
    /// `NAME=VALUE`, over the container's.
    pub env: &'a [String],
    /// Names to take out of it.
    pub unset: &'a [String],
    /// Empty: the container's.
    pub workdir: &'a str,
    /// Another identity than the container's process has.
    pub user: Option<&'a User>,
    /// The user or the image chose HOME, so another user's home does not replace it.
    pub keep_home: bool,
    /// It gets a terminal, of this size (rows, columns) if it is known.
    pub terminal: bool,
    /// See `terminal`.
    pub size: Option<(u16, u16)>,
    /// With `--privileged`: every capability there is.
    pub privileged: Option<caps::Set>,
    /// The container's `--cap-add`, which users other than root have, too.
    pub cap_add: &'a [String],
}

/// The session's process, derived from the container's (`process` of its `config.json`), so that rlimits, labels, no_new_privs
/// and the bounding set are the container's.
pub(super) fn derive(container: &Map<String, Value>, wanted: &Wanted<'_>) -> Result<Map<String, Value>> {
    if wanted.command.is_empty() {
        return Err(Error::invalid("exec needs a command"));
    }
    let mut process = container.clone();
    process.insert("args".into(), json!(wanted.command));
    process.insert("terminal".into(), json!(wanted.terminal));
    process.remove("consoleSize");
    if let Some((rows, columns)) = wanted.size.filter(|_| wanted.terminal) {
        process.insert("consoleSize".into(), json!({"height": rows, "width": columns}));
    }
    if !wanted.workdir.is_empty() {
        if !wanted.workdir.starts_with('/') || wanted.workdir.contains('\0') {
            let text = format!("the working directory {:?} is not an absolute path", wanted.workdir);
            return Err(Error::invalid(text));
        }
        process.insert("cwd".into(), json!(wanted.workdir));
    }
    process.insert("env".into(), json!(env(container, wanted)?));
    if let Some(user) = wanted.user {
        let umask = container.get("user").and_then(|u| u.get("umask")).cloned();
        process.insert("user".into(), identity(user, umask));
    }
    capabilities(&mut process, wanted)?;
    Ok(process)
}

fn identity(user: &User, umask: Option<Value>) -> Value {
    let mut gids = user.additional_gids.clone();
    if (user.uid != 0 || user.gid != 0) && !gids.contains(&user.gid) {
        gids.insert(0, user.gid);
    }
    let mut identity = json!({"uid": user.uid, "gid": user.gid, "additionalGids": gids});
    if let Some(umask) = umask {
        identity["umask"] = umask;
    }
    identity
}

fn env(container: &Map<String, Value>, wanted: &Wanted<'_>) -> Result<Vec<String>> {
    let own = container.get("env").and_then(Value::as_array).into_iter().flatten();
    let mut env: Vec<String> = own.filter_map(|v| v.as_str().map(str::to_owned)).collect();
    if let Some(user) = wanted.user.filter(|_| !wanted.keep_home) {
        let home = match user.home.as_str() {
            "" if user.uid == 0 => "/root",
            "" => "/",
            home => home,
        };
        set(&mut env, "HOME", home);
    }
    if wanted.terminal && !env.iter().any(|e| e.starts_with("TERM=")) {
        env.push("TERM=xterm".into());
    }
    for given in wanted.env {
        let (name, value) = given.split_once('=').unwrap_or((given, ""));
        if name.is_empty() || given.contains('\0') {
            return Err(Error::invalid(format!("invalid environment variable {given:?}")));
        }
        set(&mut env, name, value);
    }
    env.retain(|entry| !wanted.unset.iter().any(|name| entry.split('=').next() == Some(name)));
    Ok(env)
}

fn set(env: &mut Vec<String>, name: &str, value: &str) {
    let prefix = format!("{name}=");
    let place = env.iter().position(|e| e.starts_with(&prefix));
    env.retain(|e| !e.starts_with(&prefix));
    env.insert(place.unwrap_or(env.len()).min(env.len()), format!("{prefix}{value}"));
}

/// Root has the bounding set; another user what `--cap-add` names, and so has one with `--privileged`, whose bounding set alone is full (as
/// docker). Nothing is inheritable but what has to be for being ambient.
fn capabilities(process: &mut Map<String, Value>, wanted: &Wanted<'_>) -> Result<()> {
    if wanted.user.is_none() && wanted.privileged.is_none() {
        return Ok(());
    }
    let uid = process.get("user").and_then(|u| u.get("uid")).and_then(Value::as_u64).unwrap_or_default();
    let bounding: Vec<String> = match wanted.privileged {
        Some(all) => caps::names(all),
        None => {
            let sets = process.get("capabilities").and_then(|c| c.get("bounding")).and_then(Value::as_array);
            sets.into_iter().flatten().filter_map(|c| c.as_str().map(str::to_owned)).collect()
        }
    };
    let mut added = Vec::new();
    for name in wanted.cap_add {
        added.push(caps::normalize(name)?);
    }
    let given = |cap: &&String| added.iter().any(|a| a == "ALL" || a == *cap);
    let own: Vec<&String> =
        if uid == 0 { bounding.iter().collect() } else { bounding.iter().filter(given).collect() };
    let ambient: &[&String] = if uid == 0 { &[] } else { &own };
    let sets = json!({
        "bounding": bounding, "effective": own, "permitted": own, "inheritable": ambient, "ambient": ambient,
    });
    process.insert("capabilities".into(), sets);
    if wanted.privileged.is_some() && process.contains_key("apparmorProfile") {
        process.insert("apparmorProfile".into(), json!("unconfined"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn container() -> Map<String, Value> {
        let process = json!({
            "terminal": true, "consoleSize": {"height": 1, "width": 2}, "args": ["init"], "cwd": "/srv",
            "env": ["PATH=/bin", "HOME=/root", "A=1"], "user": {"uid": 0, "gid": 0, "umask": 18},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1, "soft": 1}], "noNewPrivileges": true,
            "capabilities": {"bounding": ["CAP_CHOWN", "CAP_NET_RAW"], "effective": ["CAP_CHOWN", "CAP_NET_RAW"],
                             "permitted": ["CAP_CHOWN", "CAP_NET_RAW"]},
        });
        process.as_object().unwrap().clone()
    }

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn what_is_not_asked_for_is_the_containers() {
        let command = words(&["ls", "-l"]);
        let process = derive(&container(), &Wanted { command: &command, ..Wanted::default() }).unwrap();
        let mut expected = container();
        expected.insert("args".into(), json!(["ls", "-l"]));
        expected.insert("terminal".into(), json!(false));
        expected.remove("consoleSize");
        assert_eq!(process, expected);
    }

    #[test]
    fn environment_and_home_follow_the_user() {
        let command = words(&["env"]);
        let user = User { uid: 1000, gid: 1000, home: "/home/u".into(), ..User::default() };
        let env = words(&["A=2", "B=x=y", "PATH=/sbin"]);
        let wanted =
            Wanted { command: &command, env: &env, user: Some(&user), terminal: true, ..Wanted::default() };
        let process = derive(&container(), &wanted).unwrap();
        assert_eq!(process["env"], json!(["PATH=/sbin", "HOME=/home/u", "A=2", "TERM=xterm", "B=x=y"]));
        assert_eq!(process["user"], json!({"uid": 1000, "gid": 1000, "additionalGids": [1000], "umask": 18}));
        let unset = words(&["A"]);
        let less = derive(&container(), &Wanted { env: &[], unset: &unset, ..wanted.clone() }).unwrap();
        assert_eq!(less["env"], json!(["PATH=/bin", "HOME=/home/u", "TERM=xterm"]));
        let kept = derive(&container(), &Wanted { keep_home: true, ..wanted }).unwrap();
        assert_eq!(kept["env"][1], "HOME=/root");
    }

    #[test]
    fn another_user_has_only_what_was_added_and_nothing_is_inheritable() {
        let command = words(&["id"]);
        let user = User { uid: 1000, gid: 1000, ..User::default() };
        let cap_add = words(&["net_raw"]);
        let wanted = Wanted { command: &command, user: Some(&user), ..Wanted::default() };
        let sets = derive(&container(), &wanted).unwrap()["capabilities"].clone();
        assert_eq!(sets["effective"], json!([]));
        assert_eq!(sets["inheritable"], json!([]));
        assert_eq!(sets["bounding"], json!(["CAP_CHOWN", "CAP_NET_RAW"]));
        let sets =
            derive(&container(), &Wanted { cap_add: &cap_add, ..wanted }).unwrap()["capabilities"].clone();
        assert_eq!(sets["ambient"], json!(["CAP_NET_RAW"]));
    }

    #[test]
    fn privileged_root_has_everything_there_is() {
        let command = words(&["id"]);
        let wanted = Wanted { command: &command, privileged: Some(0b111), ..Wanted::default() };
        let process = derive(&container(), &wanted).unwrap();
        assert_eq!(process["capabilities"]["effective"].as_array().unwrap().len(), 3);
        assert_eq!(process["capabilities"]["inheritable"], json!([]));
    }

    #[test]
    fn a_relative_directory_and_a_nameless_variable_are_refused() {
        let command = words(&["id"]);
        let wanted = Wanted { command: &command, ..Wanted::default() };
        assert!(derive(&container(), &Wanted { workdir: "tmp", ..wanted.clone() }).is_err());
        let env = words(&["=x"]);
        assert!(derive(&container(), &Wanted { env: &env, ..wanted.clone() }).is_err());
        assert!(derive(&container(), &Wanted { command: &[], ..wanted }).is_err());
    }
}
