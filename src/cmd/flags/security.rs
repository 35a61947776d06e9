//! What the container may do: capabilities, security options, devices, ulimits, sysctls.

use super::values::{boolean, key_value};
use super::{Inputs, gpus};
use crate::engine::oci::cdi::is_qualified;
use crate::engine::oci::complete::clean;
use crate::engine::oci::{caps, rlimits};
use crate::engine::spec::{ContainerSpec, DeviceSpec, Rlimit, SecuritySpec, csv};
use crate::engine::{Error, Result};
use clap::Args;

/// Privileges of the container.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Security")]
pub struct SecurityArgs {
    /// Give the container nearly everything root has on the host (as far as the caller has it)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    pub privileged: Option<bool>,
    /// Add a capability, or ALL (may be repeated)
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    pub cap_add: Vec<String>,
    /// Drop a capability, or ALL (may be repeated)
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    pub cap_drop: Vec<String>,
    /// no-new-privileges, seccomp=FILE, apparmor=PROFILE, label=…, mask=PATHS, unmask=PATHS … (may be repeated)
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
    /// Where the seccomp profile comes from: default, or image
    #[arg(long, value_name = "POLICY")]
    pub seccomp_policy: Option<String>,
    /// Add a device of the host, by its path or by its CDI name, vendor.com/class=name (may be repeated)
    #[arg(long, value_name = "HOST[:CONTAINER][:rwm]")]
    pub device: Vec<String>,
    /// Allow devices by number, as 'c 189:* rmw' (may be repeated)
    #[arg(long, value_name = "RULE")]
    pub device_cgroup_rule: Vec<String>,
    /// Add NVIDIA's GPUs, which CDI has to describe: all, how many, or device=ID,… (may be repeated)
    #[arg(long, value_name = "GPUS")]
    pub gpus: Vec<String>,
    /// Set a resource limit of processes; host keeps the caller's (may be repeated)
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_delimiter = ',')]
    pub ulimit: Vec<String>,
    /// Set a kernel parameter of the container's namespaces (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    pub sysctl: Vec<String>,
    /// Directory bound into the container's chroots (may be repeated)
    #[arg(long, value_name = "DIR", value_delimiter = ',')]
    pub chrootdirs: Vec<String>,
    /// Windows only: anything but "default" is refused
    #[arg(long, value_name = "NAME")]
    pub isolation: Option<String>,
}

impl SecurityArgs {
    pub(super) fn apply(&self, spec: &mut ContainerSpec, inputs: &Inputs<'_>) -> Result<()> {
        let security = &mut spec.security;
        security.privileged = self.privileged.or(inputs.conf.privileged).unwrap_or(false);
        security.cap_add = capabilities(&self.cap_add)?;
        security.cap_drop = capabilities(&self.cap_drop)?;
        for option in &self.security_opt {
            security_option(option, security, inputs)?;
        }
        security.seccomp_from_image = match self.seccomp_policy.as_deref() {
            None | Some("" | "default") => false,
            Some("image") => true,
            Some(policy) => {
                return Err(Error::invalid(format!("invalid --seccomp-policy {policy:?}"))
                    .with_hint("default, or image"));
            }
        };
        for text in &inputs.conf.devices.values {
            let device = device(text);
            spec.devices.push(device.map_err(|e| Error::invalid("containers.conf: devices").with_source(e))?);
        }
        for text in &self.device {
            spec.devices.push(device(text)?);
        }
        for text in &self.gpus {
            spec.devices.extend(gpus::parse(text)?);
        }
        for text in &self.chrootdirs {
            let path = clean(text);
            if !text.starts_with('/') || path == "/" {
                return Err(Error::invalid(format!("invalid --chrootdirs {text:?}"))
                    .with_hint("absolute paths of directories inside the container"));
            }
            spec.chroot_dirs.push(path);
        }
        if let Some(name) = self.isolation.as_deref().filter(|i| !matches!(*i, "" | "default")) {
            return Err(Error::unsupported(format!("--isolation {name} exists for Windows containers only")));
        }
        spec.device_cgroup_rules.clone_from(&self.device_cgroup_rule);
        for text in &self.ulimit {
            let limit = ulimit(text)?;
            spec.rlimits.retain(|l| l.name != limit.name);
            spec.rlimits.push(limit);
        }
        for text in &self.sysctl {
            let (name, value) = key_value("--sysctl", text)?;
            spec.sysctls.insert(sysctl_name(&name)?, value);
        }
        Ok(())
    }
}

fn capabilities(names: &[String]) -> Result<Vec<String>> {
    let names = names.iter().filter(|n| !n.is_empty());
    names.map(|n| caps::normalize(n)).collect()
}

/// Only what has a namespace, or the host would be changed (docker's and podman's list).
fn sysctl_name(name: &str) -> Result<String> {
    const EXACT: [&str; 10] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.domainname",
        "kernel.hostname",
    ];
    let name = name.trim().replace('/', ".");
    if EXACT.contains(&name.as_str()) || name.starts_with("net.") || name.starts_with("fs.mqueue.") {
        return Ok(name);
    }
    Err(Error::invalid(format!("sysctl {name:?} is not allowed: it belongs to the host, not to a container"))
        .with_hint("net.*, fs.mqueue.* and kernel.{msg*,sem,shm*} have a namespace"))
}

/// One `--security-opt`. Both `=` and docker's older `:` separate name and value.
fn security_option(option: &str, security: &mut SecuritySpec, inputs: &Inputs<'_>) -> Result<()> {
    let (name, value) = match option.split_once(['=', ':']) {
        Some((name, value)) => (name, Some(value)),
        None => (option, None),
    };
    let bad = || {
        Error::invalid(format!("invalid --security-opt {option:?}")).with_hint(
            "no-new-privileges, seccomp=FILE|unconfined, apparmor=PROFILE, label=…, mask=PATHS, unmask=PATHS|ALL, \
             systempaths=unconfined, proc-opts=OPTIONS or writable-cgroups",
        )
    };
    let switch = |value: Option<&str>| match value {
        None => Ok(true),
        Some(text) => super::values::boolean(text).map_err(|_| bad()),
    };
    match (name, value) {
        ("no-new-privileges", value) => security.no_new_privileges = switch(value)?,
        ("seccomp", Some("unconfined")) => security.seccomp = "unconfined".to_owned(),
        ("seccomp", Some("builtin" | "default")) => security.seccomp.clear(),
        ("seccomp", Some(file)) if !file.is_empty() => {
            let path = inputs.env.cwd.join(file);
            // Read now, so that a wrong path is an error of this command line.
            (inputs.read)(&path)?;
            security.seccomp = path.to_string_lossy().into_owned();
        }
        ("apparmor", Some(profile)) if !profile.is_empty() => profile.clone_into(&mut security.apparmor),
        ("label", Some(label)) if !label.is_empty() => security.label.push(label.to_owned()),
        ("mask", Some(paths)) if !paths.is_empty() => security.mask.push(paths.to_owned()),
        ("unmask", Some(paths)) if !paths.is_empty() => security.unmask.push(paths.to_owned()),
        ("systempaths", Some("unconfined")) => security.unmask.push("ALL".to_owned()),
        ("writable-cgroups", value) => {
            if switch(value)? {
                security.unmask.push("/sys/fs/cgroup".to_owned());
            }
        }
        ("proc-opts", Some(options)) if !options.is_empty() => {
            security.proc_opts = options.split(',').map(str::to_owned).collect();
        }
        ("credentialspec", _) => {
            return Err(Error::unsupported(
                "--security-opt credentialspec exists for Windows containers only",
            ));
        }
        _ => return Err(bad()),
    }
    Ok(())
}

/// `HOST[:CONTAINER][:rwm]`, or a CDI name.
///
/// # Errors
/// Too many parts, a relative path, or unknown permissions.
pub fn device(text: &str) -> Result<DeviceSpec> {
    if is_qualified(text) {
        return Ok(DeviceSpec { source: text.to_owned(), ..DeviceSpec::default() });
    }
    let bad = || {
        Error::invalid(format!("invalid --device {text:?}"))
            .with_hint("HOST[:CONTAINER][:rwm], for example /dev/fuse or /dev/sdb:/dev/disk:r")
    };
    let parts: Vec<&str> = text.split(':').collect();
    let is_mode = |m: &str| !m.is_empty() && m.bytes().all(|b| matches!(b, b'r' | b'w' | b'm'));
    let (source, target, mode) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, second] if second.starts_with('/') => (source, second, "rwm"),
        [source, mode] if is_mode(mode) => (source, source, mode),
        [source, target, mode] if is_mode(mode) => {
            (source, if target.is_empty() { source } else { target }, mode)
        }
        _ => return Err(bad()),
    };
    if !source.starts_with('/') || !target.starts_with('/') {
        return Err(bad());
    }
    Ok(DeviceSpec { source: source.to_owned(), target: target.to_owned(), permissions: mode.to_owned() })
}

/// `NAME=SOFT[:HARD]`, or `host`.
///
/// # Errors
/// An unknown name, a number that is none, or a soft limit above the hard one.
pub fn ulimit(text: &str) -> Result<Rlimit> {
    let bad = |why: &str| {
        Error::invalid(format!("invalid --ulimit {text:?}: {why}"))
            .with_hint("NAME=SOFT[:HARD] with numbers or unlimited, for example nofile=1024:4096")
    };
    if text == rlimits::HOST {
        return Ok(Rlimit { name: text.to_owned(), soft: 0, hard: 0 });
    }
    let (name, values) = text.split_once('=').ok_or_else(|| bad("no value"))?;
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("rlimit_").unwrap_or(&name);
    if !rlimits::NAMES.contains(&name) {
        return Err(bad(&format!("unknown limit {name:?}")));
    }
    let number = |s: &str| match s {
        "-1" | "unlimited" => Ok(u64::MAX),
        s if s.bytes().all(|b| b.is_ascii_digit()) => s.parse().map_err(|_| bad("not a number")),
        _ => Err(bad("not a number")),
    };
    let (soft, hard) = match values.split_once(':') {
        Some((soft, hard)) => (number(soft)?, number(hard)?),
        None => (number(values)?, number(values)?),
    };
    if soft > hard {
        return Err(bad("the soft limit is above the hard limit"));
    }
    Ok(Rlimit { name: name.to_owned(), soft, hard })
}

/// `--sysctl` and the like in containers.conf may hold several, comma-separated.
///
/// # Errors
/// See [`csv`].
pub fn list(flag: &str, text: &str) -> Result<Vec<String>> {
    csv(flag, text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::tests::{environment, read_nothing};
    use super::*;
    use crate::engine::config::containers::Containers;

    fn security(options: &[&str]) -> Result<SecuritySpec> {
        let env = environment();
        let inputs = Inputs { env: &env, conf: &Containers::default(), read: &read_nothing };
        let mut security = SecuritySpec::default();
        for option in options {
            security_option(option, &mut security, &inputs)?;
        }
        Ok(security)
    }

    #[test]
    fn every_security_option() {
        let got = security(&[
            "no-new-privileges",
            "seccomp=unconfined",
            "apparmor:mine",
            "label=disable",
            "label=type:spc_t",
            "mask=/a:/b",
            "unmask=/proc/*",
            "systempaths=unconfined",
            "proc-opts=hidepid=2,gid=5",
        ])
        .unwrap();
        assert!(got.no_new_privileges);
        assert_eq!((got.seccomp.as_str(), got.apparmor.as_str()), ("unconfined", "mine"));
        assert_eq!(got.label, ["disable", "type:spc_t"]);
        assert_eq!(
            (got.mask, got.unmask),
            (vec!["/a:/b".to_owned()], vec!["/proc/*".to_owned(), "ALL".to_owned()])
        );
        assert_eq!(got.proc_opts, ["hidepid=2", "gid=5"]);
        assert!(!security(&["no-new-privileges:false"]).unwrap().no_new_privileges);
        assert_eq!(security(&["writable-cgroups=true"]).unwrap().unmask, ["/sys/fs/cgroup"]);
        for bad in
            ["", "nope", "seccomp", "seccomp=", "label", "no-new-privileges=maybe", "systempaths=x", "mask="]
        {
            assert!(security(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn devices() {
        let cases = [
            ("/dev/fuse", "/dev/fuse", "/dev/fuse", "rwm"),
            ("/dev/sdb:/dev/x", "/dev/sdb", "/dev/x", "rwm"),
            ("/dev/sdb:r", "/dev/sdb", "/dev/sdb", "r"),
            ("/dev/sdb:/dev/x:rw", "/dev/sdb", "/dev/x", "rw"),
        ];
        for (text, source, target, mode) in cases {
            let got = device(text).unwrap();
            assert_eq!(
                (got.source.as_str(), got.target.as_str(), got.permissions.as_str()),
                (source, target, mode),
                "{text}"
            );
        }
        for bad in ["", "fuse", "/dev/x:y", "/dev/x:/dev/y:rwx", "/a:/b:r:w", "/dev/x:"] {
            assert!(device(bad).is_err(), "{bad}");
        }
        let named = device("vendor.com/gpu=GPU:1").unwrap();
        assert_eq!((named.source.as_str(), named.target.as_str()), ("vendor.com/gpu=GPU:1", ""));
        assert!(device("vendor.com/gpu=").is_err());
    }

    #[test]
    fn ulimits() {
        let of = |t: &str| ulimit(t).map(|l| (l.name, l.soft, l.hard));
        assert_eq!(of("nofile=10:20").unwrap(), ("nofile".into(), 10, 20));
        assert_eq!(of("RLIMIT_NPROC=5").unwrap(), ("nproc".into(), 5, 5));
        assert_eq!(of("core=-1").unwrap(), ("core".into(), u64::MAX, u64::MAX));
        assert_eq!(of("memlock=1:unlimited").unwrap(), ("memlock".into(), 1, u64::MAX));
        assert_eq!(of("host").unwrap().0, "host");
        for bad in ["", "nofile", "nofile=", "nofile=x", "nofile=2:1", "bogus=1", "nofile=1:2:3", "nofile=-2"]
        {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sysctls() {
        assert_eq!(sysctl_name("net/ipv4/ip_forward").unwrap(), "net.ipv4.ip_forward");
        assert!(sysctl_name("kernel.shmmax").is_ok());
        for bad in ["vm.swappiness", "kernel.core_pattern", "network"] {
            assert!(sysctl_name(bad).is_err(), "{bad}");
        }
    }
}
