//! Which namespaces are the container's own, and its cgroup.

use crate::engine::spec::{ContainerSpec, IdMapping, NamespaceMode, UserNamespace};
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
    pub(super) fn apply(&self, spec: &mut ContainerSpec) -> Result<()> {
        let modes = &mut spec.namespaces;
        modes.pid = mode("--pid", self.pid.as_deref(), &[])?;
        modes.ipc = mode("--ipc", self.ipc.as_deref(), &["none", "shareable"])?;
        modes.uts = mode("--uts", self.uts.as_deref(), &[])?;
        modes.cgroup = mode("--cgroupns", self.cgroupns.as_deref(), &[])?;
        modes.user = self.user()?;
        spec.cgroup_parent = self.cgroup_parent.clone().unwrap_or_default();
        spec.cgroups = self.cgroups.clone().unwrap_or_default();
        Ok(())
    }

    fn user(&self) -> Result<UserNamespace> {
        if self.subuidname.is_some() || self.subgidname.is_some() {
            return Err(super::later("--subuidname and --subgidname", "maps from /etc/subuid by name"));
        }
        let (uid_maps, gid_maps) = id_maps(&self.uidmap, &self.gidmap)?;
        let mapped = !uid_maps.is_empty() || !gid_maps.is_empty();
        match self.userns.as_deref() {
            None | Some("" | "private") if mapped => Ok(UserNamespace::Mapped { uid_maps, gid_maps }),
            Some(mode) if mapped => Err(Error::invalid(format!(
                "--userns {mode} and --uidmap or --gidmap cannot be given together"
            ))),
            mode => user(mode.unwrap_or_default()),
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

/// Both lists of rows; podman's leading `u` or `g` limits a row to one of them.
fn id_maps(uids: &[String], gids: &[String]) -> Result<(Vec<IdMapping>, Vec<IdMapping>)> {
    let (mut uid_maps, mut gid_maps) = (Vec::new(), Vec::new());
    for (flag, texts, own) in [("--uidmap", uids, 'u'), ("--gidmap", gids, 'g')] {
        for text in texts {
            let rest = text.trim_start_matches(['u', 'g', '+']);
            let marks = &text[..text.len() - rest.len()];
            if marks.contains('+') || rest.contains('@') {
                return Err(super::later(&format!("{flag} {text}"), "maps relative to others (+ and @)"));
            }
            let row = id_map(flag, rest)?;
            if (marks.is_empty() && own == 'u') || marks.contains('u') {
                uid_maps.push(row);
            }
            if (marks.is_empty() && own == 'g') || marks.contains('g') {
                gid_maps.push(row);
            }
        }
    }
    Ok((uid_maps, gid_maps))
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
            .user()
        };
        let row = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        let mapped = |uid_maps: &[IdMapping], gid_maps: &[IdMapping]| UserNamespace::Mapped {
            uid_maps: uid_maps.to_vec(),
            gid_maps: gid_maps.to_vec(),
        };
        assert_eq!(args(&["0:1:2", "5:6"], &[], None).unwrap(), mapped(&[row(0, 1, 2), row(5, 6, 1)], &[]));
        assert_eq!(args(&["0:1:2"], &["0:9:1"], None).unwrap(), mapped(&[row(0, 1, 2)], &[row(0, 9, 1)]));
        assert_eq!(args(&["ug0:1:2"], &[], None).unwrap(), mapped(&[row(0, 1, 2)], &[row(0, 1, 2)]));
        assert_eq!(args(&["g0:1:2"], &[], None).unwrap(), mapped(&[], &[row(0, 1, 2)]));
        assert!(args(&["0:1:2"], &[], Some("host")).is_err());
        for bad in ["", "0", "0:x", "0:1:0", "0:1:2:3", "0:-1:2", "0:4294967296:1"] {
            assert!(args(&[bad], &[], None).is_err(), "{bad}");
        }
    }
}
