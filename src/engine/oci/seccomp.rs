//! seccomp: from a profile as containers-common and docker write them (`archMap`, `includes`, `excludes`) to the
//! filter of config.json for one architecture, kernel and set of capabilities.

use super::built;
use super::caps::{self, Set};
use super::seccomp_default as built_in;
use crate::engine::{Error, Result};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};
use serde::Deserialize;

/// Where distributions and administrators put the default profile, the first one wins.
pub const PATHS: [&str; 2] = ["/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json"];

const EPERM: u32 = 1;
const EINVAL: u32 = 22;
const ENOSYS: u32 = 38;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    #[serde(default)]
    default_action: Option<LinuxSeccompAction>,
    default_errno_ret: Option<u32>,
    default_errno: Option<String>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Option<Vec<ArchMap>>,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
    #[serde(default)]
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    name: Option<String>,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: LinuxSeccompAction,
    #[serde(default)]
    args: Option<Vec<Arg>>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
    errno_ret: Option<u32>,
    errno: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arg {
    index: usize,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: LinuxSeccompOperator,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// The filter for a container with the `bounding` capabilities on `arch` (Rust's name) and `kernel`. `text` is a
/// profile's JSON; `None`: the built-in one. The result is `None` for a profile that does nothing.
///
/// # Errors
/// The profile is not valid JSON of that form.
pub fn profile(
    text: Option<&str>,
    bounding: Set,
    arch: &str,
    kernel: (u32, u32),
) -> Result<Option<LinuxSeccomp>> {
    let Some(text) = text else { return default_profile(bounding, arch).map(Some) };
    let profile: Profile = serde_json::from_str(text)
        .map_err(|e| Error::invalid("decode the seccomp profile").with_source(e))?;
    let rules = profile.syscalls.unwrap_or_default();
    let Some(action) = profile.default_action else {
        if rules.is_empty() {
            return Ok(None);
        }
        return Err(Error::invalid("the seccomp profile has no defaultAction"));
    };
    if profile.architectures.as_ref().is_some_and(|a| !a.is_empty())
        && profile.arch_map.as_ref().is_some_and(|a| !a.is_empty())
    {
        return Err(Error::invalid("the seccomp profile has both architectures and archMap"));
    }
    let mut out = LinuxSeccomp::default();
    let architectures = architectures(profile.architectures, profile.arch_map, arch);
    let mut syscalls = Vec::new();
    for rule in rules {
        if applies(&rule, bounding, go_arch(arch), kernel) {
            syscalls.push(syscall(rule)?);
        }
    }
    out.set_default_action(action)
        .set_default_errno_ret(errno(profile.default_errno.as_deref(), profile.default_errno_ret)?)
        .set_architectures(Some(architectures).filter(|a| !a.is_empty()))
        .set_flags(profile.flags.filter(|f| !f.is_empty()))
        .set_listener_path(profile.listener_path.filter(|p| !p.is_empty()).map(Into::into))
        .set_listener_metadata(profile.listener_metadata.filter(|m| !m.is_empty()))
        .set_syscalls(Some(syscalls));
    Ok(Some(out))
}

/// The architecture's name in `includes.arches`.
fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

fn scmp_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "SCMP_ARCH_X86_64",
        "x86" => "SCMP_ARCH_X86",
        "aarch64" => "SCMP_ARCH_AARCH64",
        "arm" => "SCMP_ARCH_ARM",
        "s390x" => "SCMP_ARCH_S390X",
        "powerpc64" => "SCMP_ARCH_PPC64LE",
        "riscv64" => "SCMP_ARCH_RISCV64",
        "loongarch64" => "SCMP_ARCH_LOONGARCH64",
        _ => "",
    }
}

/// Names oci-spec does not know are left out: the runtime could not use them either.
fn architectures(list: Option<Vec<String>>, map: Option<Vec<ArchMap>>, arch: &str) -> Vec<Arch> {
    let mut names = list.unwrap_or_default();
    if let Some(entry) = map.into_iter().flatten().find(|m| m.architecture == scmp_arch(arch)) {
        names.push(entry.architecture);
        names.extend(entry.sub_architectures.into_iter().flatten());
    }
    names.iter().filter_map(|name| arch_of(name)).collect()
}

fn arch_of(name: &str) -> Option<Arch> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

fn applies(rule: &Rule, bounding: Set, arch: &str, kernel: (u32, u32)) -> bool {
    let has_cap =
        |name: &String| caps::merge(&[], std::slice::from_ref(name), &[], bounding).is_ok_and(|s| s != 0);
    let (none, include, exclude) = (Filter::default(), &rule.includes, &rule.excludes);
    let (include, exclude) = (include.as_ref().unwrap_or(&none), exclude.as_ref().unwrap_or(&none));
    let names_arch = |filter: &Filter| filter.arches.iter().flatten().any(|a| a == arch);
    let old =
        |filter: &Filter| filter.min_kernel.as_deref().and_then(version).is_some_and(|min| kernel < min);
    if names_arch(exclude) || exclude.caps.iter().flatten().any(has_cap) {
        return false;
    }
    if exclude.min_kernel.is_some() && !old(exclude) {
        return false;
    }
    let arch_fits = include.arches.as_ref().is_none_or(Vec::is_empty) || names_arch(include);
    arch_fits && include.caps.iter().flatten().all(has_cap) && !old(include)
}

fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn syscall(rule: Rule) -> Result<LinuxSyscall> {
    let names = match (rule.name.filter(|n| !n.is_empty()), rule.names.unwrap_or_default()) {
        (Some(_), names) if !names.is_empty() => {
            return Err(Error::invalid("a rule of the seccomp profile has both name and names"));
        }
        (Some(name), _) => vec![name],
        (None, names) => names,
    };
    let args = rule.args.unwrap_or_default().into_iter().map(|a| arg(a.index, a.value, a.value_two, a.op));
    let args: Vec<LinuxSeccompArg> = args.collect::<Result<_>>()?;
    let mut out = LinuxSyscall::default();
    out.set_names(names)
        .set_action(rule.action)
        .set_errno_ret(errno(rule.errno.as_deref(), rule.errno_ret)?)
        .set_args(Some(args).filter(|a| !a.is_empty()));
    Ok(out)
}

fn arg(index: usize, value: u64, value_two: u64, op: LinuxSeccompOperator) -> Result<LinuxSeccompArg> {
    let mut arg = LinuxSeccompArgBuilder::default().index(index).value(value).op(op);
    if value_two != 0 {
        arg = arg.value_two(value_two);
    }
    arg.build().map_err(built)
}

/// `errno` is a name or a number and wins over the older `errnoRet`.
fn errno(name: Option<&str>, number: Option<u32>) -> Result<Option<u32>> {
    match name {
        None | Some("") => Ok(number),
        Some(text) => match text.parse() {
            Ok(n) => Ok(Some(n)),
            Err(_) => errno_number(text).map(Some).ok_or_else(|| {
                Error::invalid(format!("the seccomp profile names an unknown errno {text:?}"))
            }),
        },
    }
}

/// errno(3) in order, from 1 on; a hyphen where Linux has none.
const ERRNO_NAMES: &str = "\
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK \
    EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE \
    EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP - ENOMSG EIDRM \
    ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT \
    - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP \
    EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ \
    ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT \
    ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH \
    ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT \
    ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM \
    EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED \
    EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON";

/// The number of `EPERM` and its kin.
fn errno_number(name: &str) -> Option<u32> {
    let name = match name {
        "EWOULDBLOCK" => "EAGAIN",
        "ENOTSUP" => "EOPNOTSUPP",
        "-" => return None,
        name => name,
    };
    let at = ERRNO_NAMES.split_whitespace().position(|n| n == name)?;
    u32::try_from(at + 1).ok()
}

fn default_profile(bounding: Set, arch: &str) -> Result<LinuxSeccomp> {
    use LinuxSeccompOperator::{ScmpCmpEq, ScmpCmpNe};
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let rule = |names: Vec<String>, action, errno, args: Vec<LinuxSeccompArg>| {
        let mut out = LinuxSyscall::default();
        out.set_names(names)
            .set_action(action)
            .set_errno_ret(errno)
            .set_args(Some(args).filter(|a| !a.is_empty()));
        out
    };
    let allow = |names| rule(names, LinuxSeccompAction::ScmpActAllow, None, vec![]);
    let refuse = |names| rule(names, LinuxSeccompAction::ScmpActErrno, Some(EPERM), vec![]);
    let has_cap = |name: &&str| caps::merge(&[], &[(*name).to_owned()], &[], bounding).is_ok_and(|s| s != 0);
    let mut rules = vec![allow(words(built_in::ALLOWED)), refuse(words(built_in::REFUSED))];
    for (any_of, names) in built_in::GATED {
        let granted = any_of.iter().any(has_cap);
        rules.push(if granted { allow(words(names)) } else { refuse(words(names)) });
    }
    for value in built_in::PERSONALITIES {
        let args = vec![arg(0, value, 0, ScmpCmpEq)?];
        rules.push(rule(words("personality"), LinuxSeccompAction::ScmpActAllow, None, args));
    }
    // Netlink audit sockets (AF_NETLINK 16, NETLINK_AUDIT 9) only for who may write audit records: PAM gives up on
    // EPERM from them but copes with EINVAL.
    if has_cap(&"CAP_AUDIT_WRITE") {
        rules.push(allow(words("socket")));
    } else {
        let audit = vec![arg(0, 16, 0, ScmpCmpEq)?, arg(2, 9, 0, ScmpCmpEq)?];
        rules.push(rule(words("socket"), LinuxSeccompAction::ScmpActErrno, Some(EINVAL), audit));
        for args in [vec![arg(0, 16, 0, ScmpCmpNe)?], vec![arg(2, 9, 0, ScmpCmpNe)?]] {
            rules.push(rule(words("socket"), LinuxSeccompAction::ScmpActAllow, None, args));
        }
    }
    let native: &[&str] = match arch {
        "x86_64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "s390x" => &["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
        _ => &[],
    };
    let architectures: Vec<Arch> = native.iter().filter_map(|n| arch_of(n)).collect();
    let mut out = LinuxSeccomp::default();
    out.set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_default_errno_ret(Some(ENOSYS))
        .set_architectures(Some(architectures).filter(|a| !a.is_empty()))
        .set_syscalls(Some(rules));
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    const SYS_ADMIN: Set = 1 << 21;

    fn names(profile: &LinuxSeccomp, action: LinuxSeccompAction) -> Vec<String> {
        let rules = profile.syscalls().as_ref().unwrap().iter();
        rules.filter(|r| r.action() == action).flat_map(|r| r.names().clone()).collect()
    }

    #[test]
    fn the_built_in_profile_follows_capabilities() {
        use LinuxSeccompAction::{ScmpActAllow, ScmpActErrno};
        let plain = profile(None, 0, "x86_64", (6, 1)).unwrap().unwrap();
        let admin = profile(None, SYS_ADMIN, "x86_64", (6, 1)).unwrap().unwrap();
        for call in ["bpf", "setns", "perf_event_open"] {
            assert!(names(&plain, ScmpActErrno).contains(&call.to_owned()), "{call}");
            assert!(names(&admin, ScmpActAllow).contains(&call.to_owned()), "{call}");
        }
        for call in ["kexec_load", "userfaultfd", "add_key"] {
            assert!(!names(&admin, ScmpActAllow).contains(&call.to_owned()), "{call}");
        }
        for call in ["read", "execve", "clone3", "mount", "openat2"] {
            assert!(names(&plain, ScmpActAllow).contains(&call.to_owned()), "{call}");
        }
        assert_eq!(plain.default_errno_ret(), Some(38));
        assert_eq!(plain.architectures().as_ref().unwrap().len(), 3);
    }

    #[test]
    fn nothing_is_both_allowed_and_gated() {
        let allowed: Vec<&str> = built_in::ALLOWED.split_whitespace().collect();
        let gated = built_in::GATED.iter().map(|g| g.1).chain([built_in::REFUSED]);
        for call in gated.flat_map(str::split_whitespace) {
            assert!(!allowed.contains(&call), "{call}");
        }
    }

    #[test]
    fn filters_by_architecture_capability_and_kernel() {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrno":"ENOSYS",
            "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
            "syscalls":[
              {"names":["a"],"action":"SCMP_ACT_ALLOW","args":null,"includes":{"caps":["CAP_SYS_ADMIN"]}},
              {"names":["b"],"action":"SCMP_ACT_ERRNO","errno":"EPERM","errnoRet":5,"excludes":{"caps":["CAP_SYS_ADMIN"]}},
              {"names":["c"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["arm64"]}},
              {"names":["d"],"action":"SCMP_ACT_ALLOW","excludes":{"arches":["amd64"]}},
              {"name":"e","action":"SCMP_ACT_ALLOW","includes":{"minKernel":"5.10"}},
              {"names":["f"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":8,"valueTwo":0,"op":"SCMP_CMP_EQ"}]}
            ]}"#;
        let of = |caps, arch: &str, kernel| -> Vec<String> {
            let got = profile(Some(text), caps, arch, kernel).unwrap().unwrap();
            got.syscalls().iter().flatten().flat_map(|s| s.names().clone()).collect()
        };
        assert_eq!(of(0, "x86_64", (6, 1)), ["b", "e", "f"]);
        assert_eq!(of(SYS_ADMIN, "x86_64", (5, 4)), ["a", "f"]);
        assert_eq!(of(0, "aarch64", (6, 1)), ["b", "c", "d", "e", "f"]);
        let got = profile(Some(text), 0, "x86_64", (6, 1)).unwrap().unwrap();
        assert_eq!(got.default_errno_ret(), Some(38));
        assert_eq!(got.syscalls().as_ref().unwrap()[0].errno_ret(), Some(1));
        assert_eq!(got.architectures().as_ref().unwrap().len(), 2);
    }

    #[test]
    fn errno_names() {
        for (name, number) in
            [("EPERM", 1), ("EINVAL", 22), ("ENOSYS", 38), ("ENOTSUP", 95), ("EHWPOISON", 133)]
        {
            assert_eq!(errno_number(name), Some(number), "{name}");
        }
        assert_eq!(errno_number("-"), None);
        assert_eq!(errno_number("ENOPE"), None);
    }

    #[test]
    fn broken_profiles_are_refused_and_empty_ones_mean_none() {
        for bad in [
            "",
            "{",
            "[]",
            r#"{"syscalls":[{"names":["x"],"action":"SCMP_ACT_ALLOW"}]}"#,
            r#"{"defaultAction":"NOPE"}"#,
        ] {
            assert!(profile(Some(bad), 0, "x86_64", (6, 1)).is_err(), "{bad}");
        }
        assert!(profile(Some("{}"), 0, "x86_64", (6, 1)).unwrap().is_none());
    }
}
