//! Which namespaces are the container's own, and its cgroup.

use super::Inputs;
use crate::engine::spec::{ContainerSpec, IdMapping, MapRow, NamespaceMode, UserNamespace};
use crate::engine::{Error, Result};
use clap::Args;

/// Namespaces and cgroup of the container.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Namespaces")]
pub struct NamespaceArgs {
    /// PID namespace: private, host, container:NAME or ns:PATH
    #[arg(long, value_name = "MODE")]
    pub pid: Option<String>,
    /// IPC namespace: shareable, private, none, host, container:NAME or ns:PATH
    #[arg(long, value_name = "MODE")]
    pub ipc: Option<String>,
    /// UTS namespace: private, host, container:NAME or ns:PATH
    #[arg(long, value_name = "MODE")]
    pub uts: Option<String>,
    /// Cgroup namespace: private, host, container:NAME or ns:PATH
    #[arg(long, value_name = "MODE")]
    pub cgroupns: Option<String>,
    /// User namespace: host, keep-id[:uid=…,gid=…,size=…], nomap, auto[:size=…], container:NAME, ns:PATH or private
    #[arg(long, value_name = "MODE")]
    pub userns: Option<String>,
    /// Map of user IDs (may be repeated)
    #[arg(long, value_name = "INSIDE:OUTSIDE[:COUNT]", value_delimiter = ',')]
    pub uidmap: Vec<String>,
    /// Map of group IDs (may be repeated)
    #[arg(long, value_name = "INSIDE:OUTSIDE[:COUNT]", value_delimiter = ',')]
    pub gidmap: Vec<String>,
    /// Take the user IDs of this name in /etc/subuid
    #[arg(long, value_name = "NAME")]
    pub subuidname: Option<String>,
    /// Take the group IDs of this name in /etc/subgid
    #[arg(long, value_name = "NAME")]
    pub subgidname: Option<String>,
    /// Cgroup below which the container's is made
    #[arg(long, value_name = "PATH")]
    pub cgroup_parent: Option<String>,
    /// enabled, disabled, no-conmon or split
    #[arg(long, value_name = "MODE", value_parser = ["enabled", "disabled", "no-conmon", "split"])]
    pub cgroups: Option<String>,
}

impl NamespaceArgs {
    pub(super) fn apply(&self, spec: &mut ContainerSpec, inputs: &Inputs<'_>) -> Result<()> {
        let modes = &mut spec.namespaces;
        modes.pid = mode("--pid", self.pid.as_deref(), &[])?;
        modes.ipc = mode("--ipc", self.ipc.as_deref(), &["none", "shareable"])?;
        modes.uts = mode("--uts", self.uts.as_deref(), &[])?;
        modes.cgroup = mode("--cgroupns", self.cgroupns.as_deref(), &[])?;
        // Where nothing is said, the caller's environment says it, then containers.conf (podman-run(1), `--userns`).
        let told = inputs.env.vars.get("PODMAN_USERNS").or(inputs.conf.userns.as_ref());
        modes.user = self.user(told.map(String::as_str))?;
        spec.cgroup_parent = self.cgroup_parent.clone().unwrap_or_default();
        spec.cgroups = self.cgroups.clone().unwrap_or_default();
        Ok(())
    }

    fn user(&self, default: Option<&str>) -> Result<UserNamespace> {
        let asked =
            id_maps(&self.uidmap, &self.gidmap, self.subuidname.as_deref(), self.subgidname.as_deref())?;
        match (self.userns.as_deref(), asked) {
            (None | Some("" | "private"), Some(asked)) => Ok(asked),
            (Some(mode), Some(_)) => Err(Error::invalid(format!(
                "--userns {mode} cannot be given together with --uidmap, --gidmap, --subuidname or --subgidname"
            ))),
            (mode, None) => user(mode.or(default).unwrap_or_default()),
        }
    }
}

/// One `--pid`, `--ipc` …; `extra` are the words only some of them know.
pub(super) fn mode(flag: &str, text: Option<&str>, extra: &[&str]) -> Result<NamespaceMode> {
    let text = text.unwrap_or_default();
    let (word, argument) = match text.split_once(':') {
        Some((word, argument)) => (word, Some(argument)),
        None => (text, None),
    };
    Ok(match (word, argument) {
        ("", None) => NamespaceMode::Default,
        ("private", None) => NamespaceMode::Private,
        ("host", None) => NamespaceMode::Host,
        ("none", None) if extra.contains(&"none") => NamespaceMode::None,
        ("shareable", None) if extra.contains(&"shareable") => NamespaceMode::Shareable,
        ("container", Some(name)) if !name.is_empty() => NamespaceMode::Container(name.to_owned()),
        ("ns", Some(path)) if path.starts_with('/') => NamespaceMode::Path(path.to_owned()),
        ("pod", _) => return Err(super::later(&format!("{flag} {text}"), "pods")),
        _ => {
            let words: String = extra.iter().map(|w| format!("{w}, ")).collect();
            return Err(Error::invalid(format!("invalid {flag} {text:?}"))
                .with_hint(format!("private, host, {words}container:NAME or ns:PATH")));
        }
    })
}

fn user(text: &str) -> Result<UserNamespace> {
    let bad = || {
        Error::invalid(format!("invalid --userns {text:?}")).with_hint(
            "host, keep-id[:uid=N,gid=N,size=N], nomap, auto[:size=N,uidmapping=…,gidmapping=…], container:NAME, \
             ns:PATH or private",
        )
    };
    let (word, argument) = match text.split_once(':') {
        Some((word, argument)) => (word, Some(argument)),
        None => (text, None),
    };
    let fields =
        || argument.into_iter().flat_map(|a| a.split(',')).map(|f| f.split_once('=').ok_or_else(bad));
    Ok(match (word, argument) {
        ("" | "host", None) => UserNamespace::Host,
        ("private", None) => UserNamespace::Mapped { uid_maps: Vec::new(), gid_maps: Vec::new() },
        ("nomap", None) => UserNamespace::NoMap,
        ("container", Some(name)) if !name.is_empty() => UserNamespace::Container(name.to_owned()),
        ("ns", Some(path)) if path.starts_with('/') => UserNamespace::Path(path.to_owned()),
        ("keep-id", _) => {
            let (mut uid, mut gid, mut size) = (None, None, None);
            for field in fields() {
                let (name, value) = field?;
                let slot = match name {
                    "uid" => &mut uid,
                    "gid" => &mut gid,
                    "size" => &mut size,
                    _ => return Err(bad()),
                };
                *slot = Some(value.parse().ok().filter(|n: &u32| i32::try_from(*n).is_ok()).ok_or_else(bad)?);
            }
            UserNamespace::KeepId { uid, gid, size }
        }
        ("auto", _) => {
            let (mut size, mut uid_maps, mut gid_maps) = (None, Vec::new(), Vec::new());
            for field in fields() {
                let (name, value) = field?;
                match name {
                    "size" => size = Some(value.parse().map_err(|_| bad())?),
                    "uidmapping" => uid_maps.push(id_map("--userns", value)?),
                    "gidmapping" => gid_maps.push(id_map("--userns", value)?),
                    _ => return Err(bad()),
                }
            }
            UserNamespace::Auto { size, uid_maps, gid_maps }
        }
        ("pod", _) => return Err(super::later(&format!("--userns {text}"), "pods")),
        _ => return Err(bad()),
    })
}

/// What `--uidmap` and its kin ask for; `None`: nothing. A list that is not given is the other one; podman's leading `u` or `g`
/// limits a row to one of them.
fn id_maps(
    uids: &[String],
    gids: &[String],
    subuid: Option<&str>,
    subgid: Option<&str>,
) -> Result<Option<UserNamespace>> {
    let rows = |flag: &str, texts: &[String], own: char, other: char| {
        let marked = texts.iter().map(|text| marked(flag, text));
        let rows = marked.filter(|row| match row {
            Ok((marks, _)) => marks.contains(own) || !marks.contains(other),
            Err(_) => true,
        });
        rows.map(|row| row.map(|(_, row)| row)).collect::<Result<Vec<MapRow>>>()
    };
    let (uids, gids) = match (uids.is_empty(), gids.is_empty()) {
        (false, true) => (rows("--uidmap", uids, 'u', 'g')?, rows("--uidmap", uids, 'g', 'u')?),
        (true, false) => (rows("--gidmap", gids, 'u', 'g')?, rows("--gidmap", gids, 'g', 'u')?),
        _ => (rows("--uidmap", uids, 'u', 'g')?, rows("--gidmap", gids, 'g', 'u')?),
    };
    let given = |name: Option<&str>| name.unwrap_or_default().to_owned();
    let (mut subuid, mut subgid) = (given(subuid), given(subgid));
    if subuid.is_empty() {
        subuid.clone_from(&subgid);
    } else if subgid.is_empty() {
        subgid.clone_from(&subuid);
    }
    let plain = |rows: &[MapRow]| rows.iter().all(|row| !row.of_host && !row.extends);
    Ok(match (uids.is_empty() && gids.is_empty(), subuid.is_empty()) {
        (true, true) => None,
        (false, true) if plain(&uids) && plain(&gids) => {
            let bare = |rows: Vec<MapRow>| rows.into_iter().map(|row| row.row).collect();
            Some(UserNamespace::Mapped { uid_maps: bare(uids), gid_maps: bare(gids) })
        }
        _ => Some(UserNamespace::Asked { uids, gids, subuid, subgid }),
    })
}

/// `[+ug]INSIDE:[@]OUTSIDE[:COUNT]`: the marks before it, and the row.
fn marked<'a>(flag: &str, text: &'a str) -> Result<(&'a str, MapRow)> {
    let rest = text.trim_start_matches(['u', 'g', '+']);
    let marks = &text[..text.len() - rest.len()];
    let of_host = rest.contains(":@");
    let row = id_map(flag, &rest.replacen(":@", ":", 1))?;
    Ok((marks, MapRow { row, of_host, extends: marks.contains('+') }))
}

fn id_map(flag: &str, text: &str) -> Result<IdMapping> {
    let numbers: Option<Vec<u32>> = text.split(':').map(|n| n.parse().ok()).collect();
    match numbers.as_deref() {
        Some([container_id, host_id, size]) if *size > 0 => {
            Ok(IdMapping { container_id: *container_id, host_id: *host_id, size: *size })
        }
        Some([container_id, host_id]) => {
            Ok(IdMapping { container_id: *container_id, host_id: *host_id, size: 1 })
        }
        _ => Err(Error::invalid(format!("invalid {flag} {text:?}"))
            .with_hint("INSIDE:OUTSIDE[:COUNT], for example 0:100000:65536")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        use NamespaceMode as M;
        let of = |t: &str| mode("--ipc", Some(t), &["none", "shareable"]);
        for (text, want) in [
            ("", M::Default),
            ("private", M::Private),
            ("host", M::Host),
            ("none", M::None),
            ("shareable", M::Shareable),
            ("container:web", M::Container("web".into())),
            ("ns:/run/x", M::Path("/run/x".into())),
        ] {
            assert_eq!(of(text).unwrap(), want, "{text}");
        }
        for bad in ["nope", "host:", "container:", "container", "ns:relative", "none:x"] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert!(mode("--pid", Some("none"), &[]).is_err());
    }

    #[test]
    fn user_namespaces() {
        use UserNamespace as U;
        let keep = |uid, gid, size| U::KeepId { uid, gid, size };
        assert_eq!(user("").unwrap(), U::Host);
        assert_eq!(user("keep-id").unwrap(), keep(None, None, None));
        assert_eq!(user("keep-id:uid=5,gid=6,size=7").unwrap(), keep(Some(5), Some(6), Some(7)));
        assert_eq!(user("nomap").unwrap(), U::NoMap);
        let row = IdMapping { container_id: 0, host_id: 5, size: 2 };
        assert_eq!(
            user("auto:size=9,uidmapping=0:5:2").unwrap(),
            U::Auto { size: Some(9), uid_maps: vec![row], gid_maps: vec![] }
        );
        for bad in [
            "keep-id:",
            "keep-id:uid=4294967296",
            "keep-id:uid=-1",
            "keep-id:x=1",
            "auto:size=x",
            "bogus",
            "ns:x",
        ] {
            assert!(user(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn maps() {
        let args = |uidmap: &[&str], gidmap: &[&str], userns: Option<&str>| {
            let strings = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect();
            NamespaceArgs {
                uidmap: strings(uidmap),
                gidmap: strings(gidmap),
                userns: userns.map(str::to_owned),
                ..NamespaceArgs::default()
            }
            .user(None)
        };
        let row = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        let mapped = |uid_maps: &[IdMapping], gid_maps: &[IdMapping]| UserNamespace::Mapped {
            uid_maps: uid_maps.to_vec(),
            gid_maps: gid_maps.to_vec(),
        };
        let both = [row(0, 1, 2), row(5, 6, 1)];
        assert_eq!(args(&["0:1:2", "5:6"], &[], None).unwrap(), mapped(&both, &both));
        assert_eq!(args(&["0:1:2"], &["0:9:1"], None).unwrap(), mapped(&[row(0, 1, 2)], &[row(0, 9, 1)]));
        assert_eq!(args(&["ug0:1:2"], &[], None).unwrap(), mapped(&[row(0, 1, 2)], &[row(0, 1, 2)]));
        assert_eq!(args(&["g0:1:2"], &[], None).unwrap(), mapped(&[], &[row(0, 1, 2)]));
        assert!(args(&["0:1:2"], &[], Some("host")).is_err());
        let marked = |row, of_host, extends| MapRow { row, of_host, extends };
        let got = args(&["+u5:@1000:1"], &["0:1:2"], Some("private")).unwrap();
        let UserNamespace::Asked { uids, gids, subuid, .. } = got else { panic!("{got:?}") };
        assert_eq!(uids, [marked(row(5, 1000, 1), true, true)]);
        assert_eq!((gids, subuid), (vec![marked(row(0, 1, 2), false, false)], String::new()));
        let named =
            NamespaceArgs { subgidname: Some("me".to_owned()), ..NamespaceArgs::default() }.user(None);
        let UserNamespace::Asked { subuid, subgid, .. } = named.unwrap() else { panic!() };
        assert_eq!((subuid.as_str(), subgid.as_str()), ("me", "me"));
        for bad in ["", "0", "0:x", "0:1:0", "0:1:2:3", "0:-1:2", "0:4294967296:1", "0:@x", "+:1:1"] {
            assert!(args(&[bad], &[], None).is_err(), "{bad}");
        }
    }
}
