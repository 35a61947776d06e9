//! Completing a [`ContainerSpec`] at creation: what neither flags nor API settled, the image's configuration or
//! containers.conf does, once and for good.

use super::linux::host_sysctl;
use super::mounts::systemd_mode;
use super::{apparmor, caps, resources, selinux};
use crate::engine::spec::{
    ContainerSpec, Defaults, Healthcheck, HostFacts, ImageConfig, ImageVolumes, MountKind, MountSpec,
    NamespaceMode, ProcessSpec, UserNamespace,
};
use crate::engine::{Error, Result};
use std::collections::BTreeMap;

/// Settles in `spec` everything that was left open. `image` is `None` for `--rootfs`.
///
/// # Errors
/// An invalid value in the image's configuration or in containers.conf, or capabilities that contradict each other.
pub fn complete(
    spec: &mut ContainerSpec,
    image: Option<&ImageConfig>,
    defaults: &Defaults,
    host: &HostFacts,
) -> Result<()> {
    let none = ImageConfig::default();
    let image = image.unwrap_or(&none);
    command(&mut spec.process, image);
    spec.process.env = environment(&spec.process, image, defaults);
    identity(spec, image, host);
    from_image(spec, image);
    check_startup(spec)?;
    image_volumes(spec, image)?;
    namespaces(spec, defaults)?;
    super::network::complete(spec, defaults, host)?;
    if spec.cgroups == "disabled" && resources::has_limits(&spec.resources) {
        return Err(Error::invalid("resource limits need a cgroup, and --cgroups=disabled makes none"));
    }
    from_configuration(spec, defaults);
    apparmor::complete(spec, defaults, host);
    selinux::check(spec, host)?;
    spec.security.base_capabilities = Some(base_capabilities(spec, defaults, host)?);
    if spec.stop_signal.is_empty() {
        spec.stop_signal = if systemd_mode(spec) { "SIGRTMIN+3" } else { "SIGTERM" }.to_owned();
    }
    crate::engine::spec::signal::parse(&spec.stop_signal)?;
    Ok(())
}

/// The image's Entrypoint and Cmd; an entrypoint given by the user drops the image's Cmd as well.
fn command(process: &mut ProcessSpec, image: &ImageConfig) {
    if process.entrypoint.is_none() {
        process.entrypoint = Some(image.entrypoint.clone());
        if process.command.is_empty() {
            process.command.clone_from(&image.cmd);
        }
    }
}

/// containers.conf's, the proxy's, the image's, then the user's own; a later one replaces an earlier one in its
/// place. An entry of the image without `=` has no value and is dropped: only the user's own `--env NAME` reads
/// the caller's environment, and that has happened before.
fn environment(process: &ProcessSpec, image: &ImageConfig, defaults: &Defaults) -> Vec<String> {
    let mut env: Vec<(String, String)> = Vec::new();
    let mut set = |entry: &str| {
        let Some((name, value)) = entry.split_once('=') else { return };
        if name.is_empty() || entry.contains('\0') {
            return;
        }
        match env.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => value.clone_into(old),
            None => env.push((name.to_owned(), value.to_owned())),
        }
    };
    if !process.unset_env_all {
        let proxy = if process.no_proxy_env { &[][..] } else { &defaults.proxy_env };
        for entry in defaults.env.iter().chain(proxy).chain(&image.env) {
            set(entry);
        }
        env.retain(|(name, _)| !process.unset_env.contains(name));
    }
    let base = env.clone();
    let mut set = |entry: &str, value: Option<String>| {
        let Some((name, given)) = entry.split_once('=') else { return };
        let value = value.unwrap_or_else(|| given.to_owned());
        match env.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value,
            None => env.push((name.to_owned(), value)),
        }
    };
    for entry in &process.env {
        set(entry, None);
    }
    for entry in &process.env_merge {
        let value = entry.split_once('=').map(|(_, v)| expand(v, &base));
        set(entry, value);
    }
    env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// `$NAME` and `${NAME}` replaced from `env`; an unknown name is empty.
fn expand(text: &str, env: &[(String, String)]) -> String {
    let lookup = |name: &str| env.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some((name, after)) = rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
            out.push_str(lookup(name));
            rest = after;
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            if end == 0 {
                out.push('$');
            } else {
                out.push_str(lookup(&rest[..end]));
            }
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    out
}

/// The image's user; with keep-id, where neither names one, the caller's.
fn identity(spec: &mut ContainerSpec, image: &ImageConfig, host: &HostFacts) {
    if spec.process.user.is_empty() {
        spec.process.user.clone_from(&image.user);
    }
    if let (true, UserNamespace::KeepId { uid, gid, .. }) =
        (spec.process.user.is_empty(), &spec.namespaces.user)
    {
        let uid = uid.unwrap_or(host.caller_uid);
        let gid = gid.unwrap_or(host.caller_gid);
        spec.process.user = format!("{uid}:{gid}");
    }
}

fn from_image(spec: &mut ContainerSpec, image: &ImageConfig) {
    if spec.process.workdir.is_empty() {
        spec.process.workdir.clone_from(&image.working_dir);
    }
    // Images written by hand have relative ones; Docker takes them from the root.
    if !spec.process.workdir.starts_with('/') {
        spec.process.workdir.insert(0, '/');
    }
    if spec.stop_signal.is_empty() {
        spec.stop_signal.clone_from(&image.stop_signal);
    }
    if spec.stop_timeout.is_none() {
        spec.stop_timeout = image.stop_timeout;
    }
    for (name, value) in &image.labels {
        spec.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    for port in image.exposed_ports.keys() {
        let port = if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
        if !spec.exposed_ports.contains(&port) {
            spec.exposed_ports.push(port);
        }
    }
    if let (true, Some(profile)) = (spec.security.seccomp_from_image, image.labels.get(SECCOMP_LABEL)) {
        spec.security.image_seccomp.clone_from(profile);
    }
    if let Some(check) = &image.healthcheck {
        spec.healthcheck.get_or_insert_default().inherit(check);
    }
}

/// An image's label with a seccomp profile (podman-run(1), `--seccomp-policy`).
const SECCOMP_LABEL: &str = "io.containers.seccomp.profile";

/// A start-up check is run before another one, and health that is waited for, or has consequences, is found by one.
///
/// # Errors
/// There is no such check.
pub fn check_startup(spec: &ContainerSpec) -> Result<()> {
    let regular = spec.healthcheck.as_ref().and_then(Healthcheck::command);
    let action = spec.health.on_failure.as_str();
    if !matches!(action, "" | "none") && regular.is_none() {
        return Err(Error::invalid(format!(
            "cannot set on-failure action to {action} without a health check"
        ))
        .with_hint("add --health-cmd"));
    }
    if spec.startup_check.is_some() && regular.is_none() {
        return Err(Error::invalid("cannot set a startup healthcheck when there is no regular healthcheck")
            .with_hint("add --health-cmd"));
    }
    if spec.sdnotify == "healthy" && regular.is_none() {
        return Err(Error::invalid("sdnotify policy \"healthy\" requires a healthcheck to be set")
            .with_hint("add --health-cmd"));
    }
    Ok(())
}

/// The image's VOLUMEs that no mount of the user covers.
fn image_volumes(spec: &mut ContainerSpec, image: &ImageConfig) -> Result<()> {
    for target in image.volumes.keys() {
        let target = clean(target);
        if spec.mounts.iter().any(|m| clean(&m.target) == target) {
            continue;
        }
        let kind = match spec.image_volumes {
            ImageVolumes::Ignore => continue,
            ImageVolumes::Anonymous => MountKind::Volume,
            ImageVolumes::Tmpfs => MountKind::Tmpfs,
        };
        if target == "/" {
            return Err(Error::invalid("the image declares a VOLUME at /, which cannot be mounted")
                .with_hint("use --image-volume=ignore"));
        }
        spec.mounts.push(MountSpec { kind, target, ..MountSpec::default() });
    }
    Ok(())
}

/// An absolute path without empty, `.` and `..` parts. Lexical, as Docker and podman treat mount targets.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn namespaces(spec: &mut ContainerSpec, defaults: &Defaults) -> Result<()> {
    let modes = &mut spec.namespaces;
    for (mode, configured, key) in [
        (&mut modes.pid, &defaults.pidns, "pidns"),
        (&mut modes.ipc, &defaults.ipcns, "ipcns"),
        (&mut modes.uts, &defaults.utsns, "utsns"),
        (&mut modes.cgroup, &defaults.cgroupns, "cgroupns"),
    ] {
        if *mode != NamespaceMode::Default {
            continue;
        }
        *mode = match configured.as_str() {
            // cgroup's default depends on the host at each start.
            "" if key == "cgroupns" => NamespaceMode::Default,
            "host" => NamespaceMode::Host,
            "none" if key == "ipcns" => NamespaceMode::None,
            "shareable" if key == "ipcns" => NamespaceMode::Shareable,
            "" | "private" => NamespaceMode::Private,
            other => {
                return Err(Error::invalid(format!("containers.conf: invalid {key} {other:?}")));
            }
        };
    }
    // The host's names are not a container's to change.
    for (name, given) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
        if modes.uts == NamespaceMode::Host && !given.is_empty() {
            return Err(Error::invalid(format!("conflicting options: {name} and the UTS mode")));
        }
    }
    Ok(())
}

fn from_configuration(spec: &mut ContainerSpec, defaults: &Defaults) {
    if spec.default_rlimits.is_empty() {
        spec.default_rlimits.clone_from(&defaults.rlimits);
    }
    for (name, value) in &defaults.sysctls {
        if host_sysctl(name, &spec.namespaces).is_none() && own_network(spec, name) {
            spec.sysctls.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    if !defaults.annotations.is_empty() {
        let given = defaults.annotations.iter().filter_map(|a| a.split_once('='));
        let mut merged: BTreeMap<String, String> = given.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        merged.append(&mut spec.annotations);
        spec.annotations = merged;
    }
    spec.shm_size.get_or_insert(defaults.shm_size);
    spec.stop_timeout.get_or_insert(defaults.stop_timeout);
    let resources = &mut spec.resources;
    if defaults.pids_limit > 0 {
        resources.pids_limit.get_or_insert(defaults.pids_limit);
    }
    // As docker and podman: as much swap again as memory, unless told otherwise.
    if let (Some(memory), None) = (resources.memory, resources.memory_swap) {
        resources.memory_swap = Some(memory.saturating_mul(2));
    }
    for (field, value) in [
        (&mut spec.process.umask, &defaults.umask),
        (&mut spec.timezone, &defaults.timezone),
        (&mut spec.log.driver, &defaults.log_driver),
        (&mut spec.log.tag, &defaults.log_tag),
        (&mut spec.cgroups, &defaults.cgroups),
    ] {
        if field.is_empty() {
            field.clone_from(value);
        }
    }
    if spec.log.max_size.is_none() {
        spec.log.max_size = defaults.log_size_max;
    }
    for (field, value) in [
        (&mut spec.dns, &defaults.dns),
        (&mut spec.dns_search, &defaults.dns_search),
        (&mut spec.dns_options, &defaults.dns_options),
    ] {
        if field.is_empty() {
            field.clone_from(value);
        }
    }
    spec.resources.oom_score_adj = spec.resources.oom_score_adj.or(defaults.oom_score_adj);
    if defaults.no_labels && spec.security.label.is_empty() {
        spec.security.label.push("disable".to_owned());
    }
    spec.no_hosts.get_or_insert(defaults.no_hosts);
}

/// A joined network namespace keeps the settings of its owner.
fn own_network(spec: &ContainerSpec, sysctl: &str) -> bool {
    !sysctl.starts_with("net.") || super::namespaces::is_own(&spec.namespaces.network)
}

/// containers.conf's set; an image labelled with the capabilities it needs gets no more than those, when it would
/// get them anyway (podman's `io.containers.capabilities`).
fn base_capabilities(spec: &ContainerSpec, defaults: &Defaults, host: &HostFacts) -> Result<Vec<String>> {
    let security = &spec.security;
    let base = security.base_capabilities.clone().unwrap_or_else(|| defaults.capabilities.clone());
    let set = caps::merge(&base, &security.cap_add, &security.cap_drop, host.bounding)?;
    let label =
        ["io.containers.capabilities", "io.buildah.capabilities"].iter().find_map(|l| spec.labels.get(*l));
    let Some(label) = label.filter(|_| !security.privileged && security.cap_add.is_empty()) else {
        return Ok(base);
    };
    let wanted: Vec<String> =
        label.split(',').map(str::trim).filter(|c| !c.is_empty()).map(str::to_owned).collect();
    match caps::merge(&[], &wanted, &[], caps::Set::MAX) {
        Ok(needs) if needs & !set == 0 => Ok(caps::names(needs)),
        _ => {
            tracing::warn!("the image asks for capabilities it does not get by default: {label}");
            Ok(base)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    fn completed(spec: ContainerSpec, image: &ImageConfig) -> ContainerSpec {
        let mut spec = spec;
        let host =
            HostFacts { bounding: u64::MAX, caller_uid: 1000, caller_gid: 100, ..HostFacts::default() };
        complete(&mut spec, Some(image), &Defaults::default(), &host).unwrap();
        spec
    }

    #[test]
    fn entrypoint_and_command() {
        let image = ImageConfig {
            entrypoint: strings(&["/entry"]),
            cmd: strings(&["a", "b"]),
            ..ImageConfig::default()
        };
        type Case<'a> = (Option<&'a [&'a str]>, &'a [&'a str], &'a [&'a str]);
        let cases: &[Case<'_>] = &[
            (None, &[], &["/entry", "a", "b"]),
            (None, &["x"], &["/entry", "x"]),
            (Some(&["/mine"]), &[], &["/mine"]),
            (Some(&["/mine"]), &["x"], &["/mine", "x"]),
            (Some(&[]), &["x"], &["x"]),
            (Some(&[]), &[], &[]),
        ];
        for (entrypoint, command, want) in cases {
            let mut spec = ContainerSpec::default();
            spec.process.entrypoint = entrypoint.map(strings);
            spec.process.command = strings(command);
            let got = completed(spec, &image).process;
            let words: Vec<String> = got.entrypoint.unwrap().into_iter().chain(got.command).collect();
            assert_eq!(words, strings(want), "{entrypoint:?} {command:?}");
        }
    }

    #[test]
    fn the_images_environment_never_reads_the_hosts() {
        let image = ImageConfig {
            env: strings(&["PATH=/image", "A=1", "HOME", "SECRET*", "=x", "*", "B=a=b"]),
            ..ImageConfig::default()
        };
        let mut spec = ContainerSpec::default();
        spec.process.env = strings(&["A=2", "C="]);
        spec.process.env_merge = strings(&["B=${B}:more$A$", "PATH=/x:${PATH}"]);
        let got = completed(spec, &image).process.env;
        assert_eq!(got, strings(&["PATH=/x:/image", "A=2", "B=a=b:more1$", "C="]));
    }

    #[test]
    fn unsetting() {
        let image = ImageConfig { env: strings(&["A=1", "B=2"]), ..ImageConfig::default() };
        let mut spec = ContainerSpec::default();
        spec.process.unset_env = strings(&["A", "PATH"]);
        assert_eq!(completed(spec, &image).process.env, strings(&["B=2"]));
        let mut spec = ContainerSpec::default();
        spec.process.unset_env_all = true;
        spec.process.env = strings(&["X=1"]);
        assert_eq!(completed(spec, &image).process.env, strings(&["X=1"]));
    }

    #[test]
    fn volumes_of_the_image_yield_to_the_users_mounts() {
        let image: ImageConfig = serde_json::from_str(
            r#"{"Volumes":{"/data":{},"/var/lib/db/":{},"/x":null},"Cmd":null,"Env":null}"#,
        )
        .unwrap();
        let mut spec = ContainerSpec::default();
        spec.mounts.push(MountSpec {
            source: "/h".into(),
            target: "/var/lib/db".into(),
            ..MountSpec::default()
        });
        let got = completed(spec.clone(), &image);
        let targets: Vec<&str> = got.mounts.iter().map(|m| m.target.as_str()).collect();
        assert_eq!(targets, ["/var/lib/db", "/data", "/x"]);
        assert_eq!(got.mounts[1].kind, MountKind::Volume);
        spec.image_volumes = ImageVolumes::Ignore;
        assert_eq!(completed(spec, &image).mounts.len(), 1);
    }

    #[test]
    fn users_stop_signals_and_working_directories() {
        let image = ImageConfig {
            user: "www".into(),
            working_dir: "srv".into(),
            stop_signal: "SIGQUIT".into(),
            ..ImageConfig::default()
        };
        let got = completed(ContainerSpec::default(), &image);
        assert_eq!((got.process.user.as_str(), got.process.workdir.as_str()), ("www", "/srv"));
        assert_eq!(got.stop_signal, "SIGQUIT");
        let mut spec = ContainerSpec::default();
        spec.namespaces.user = UserNamespace::KeepId { uid: None, gid: Some(7), size: None };
        assert_eq!(completed(spec, &ImageConfig::default()).process.user, "1000:7");
        let mut spec = ContainerSpec::default();
        spec.process.command = strings(&["/sbin/init"]);
        assert_eq!(completed(spec, &ImageConfig::default()).stop_signal, "SIGRTMIN+3");
        let mut spec = ContainerSpec { stop_signal: "NOPE".into(), ..ContainerSpec::default() };
        let defaults = Defaults::default();
        assert!(complete(&mut spec, None, &defaults, &HostFacts::default()).is_err());
    }

    #[test]
    fn completing_twice_changes_nothing() {
        let image = ImageConfig {
            env: strings(&["A=1"]),
            cmd: strings(&["sh"]),
            labels: [("l".to_owned(), "v".to_owned())].into(),
            ..ImageConfig::default()
        };
        let once = completed(ContainerSpec::default(), &image);
        assert_eq!(completed(once.clone(), &image), once);
    }
}
