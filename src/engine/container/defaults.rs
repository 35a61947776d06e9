//! What the configuration contributes to a new container.

use crate::engine::config::Config;
use crate::engine::spec::{Defaults, Rlimit, bytes};
use crate::engine::{Error, Result};
use std::collections::BTreeMap;

/// Variables passed on to containers unless `http_proxy = false` (containers.conf(5)).
const PROXY_VARIABLES: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
];

/// containers.conf over what holds without it.
pub fn defaults(config: &Config) -> Result<Defaults> {
    let conf = &config.containers.containers;
    let mut out = Defaults::default();
    let set_list = |to: &mut Vec<String>, from: &Vec<String>| {
        if !from.is_empty() {
            to.clone_from(from);
        }
    };
    if !conf.default_capabilities.values.is_empty() {
        let upper = conf.default_capabilities.values.iter().map(|c| c.to_uppercase());
        out.capabilities =
            upper.map(|c| if c.starts_with("CAP_") { c } else { format!("CAP_{c}") }).collect();
    }
    if !conf.default_sysctls.values.is_empty() {
        out.sysctls = pairs(&conf.default_sysctls.values, "default_sysctls")?;
    }
    if !conf.default_ulimits.values.is_empty() {
        out.rlimits = conf.default_ulimits.values.iter().map(|u| ulimit(u)).collect::<Result<_>>()?;
    }
    // Beside the PATH every container has, not in its place.
    out.env.extend(conf.env.values.iter().cloned());
    if conf.http_proxy != Some(false) {
        let proxies = PROXY_VARIABLES.iter().filter_map(|n| Some(format!("{n}={}", config.env.var(n)?)));
        out.proxy_env = proxies.collect();
    }
    if let Some(size) = &conf.shm_size {
        out.shm_size = size_of(size)?;
    }
    let set = |to: &mut String, from: &Option<String>| {
        if let Some(from) = from {
            to.clone_from(from);
        }
    };
    set(&mut out.umask, &conf.umask);
    set(&mut out.timezone, &conf.tz);
    set(&mut out.log_driver, &conf.log_driver);
    if matches!(out.log_driver.as_str(), "json-file" | "local" | "") {
        out.log_driver = "k8s-file".to_owned();
    }
    set(&mut out.log_tag, &conf.log_tag);
    set(&mut out.cgroupns, &conf.cgroupns);
    set(&mut out.ipcns, &conf.ipcns);
    set(&mut out.pidns, &conf.pidns);
    set(&mut out.utsns, &conf.utsns);
    set(&mut out.netns, &conf.netns);
    set(&mut out.rootless_network, &conf.rootless_networking);
    set(&mut out.rootless_network, &config.containers.network.default_rootless_network_cmd);
    set(&mut out.cgroups, &conf.cgroups);
    set(&mut out.apparmor_profile, &conf.apparmor_profile);
    out.pids_limit = conf.pids_limit.unwrap_or(out.pids_limit);
    out.log_size_max = conf.log_size_max.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    out.stop_timeout = config.containers.engine.stop_timeout.unwrap_or(out.stop_timeout);
    out.oom_score_adj = conf.oom_score_adj;
    out.no_labels = conf.label == Some(false);
    out.name_as_hostname = conf.container_name_as_hostname.unwrap_or_default();
    out.no_hosts = conf.no_hosts.unwrap_or(out.no_hosts);
    set_list(&mut out.annotations, &conf.annotations.values);
    set_list(&mut out.dns, &conf.dns_servers.values);
    set_list(&mut out.dns_search, &conf.dns_searches.values);
    set_list(&mut out.dns_options, &conf.dns_options.values);
    if conf.prepare_volume_on_create == Some(true) {
        tracing::warn!(
            "containers.conf: prepare_volume_on_create has no effect: a volume is filled by its first start"
        );
    }
    Ok(out)
}

fn pairs(list: &[String], key: &str) -> Result<BTreeMap<String, String>> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').ok_or_else(|| invalid(key, text))?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    list.iter().map(pair).collect()
}

/// `name=soft[:hard]`, -1 for unlimited.
fn ulimit(text: &str) -> Result<Rlimit> {
    let bad = || invalid("default_ulimits", text);
    let (name, value) = text.split_once('=').ok_or_else(bad)?;
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    let number = |n: &str| match n.trim() {
        "-1" | "unlimited" => Ok(u64::MAX),
        n => n.parse::<u64>().map_err(|_| bad()),
    };
    Ok(Rlimit { name: name.trim().to_lowercase(), soft: number(soft)?, hard: number(hard)? })
}

/// `65536k`, `64m` …: powers of 1024.
fn size_of(text: &str) -> Result<u64> {
    bytes(text.trim()).ok_or_else(|| invalid("shm_size", text))
}

fn invalid(key: &str, text: &str) -> Error {
    Error::invalid(format!("containers.conf: invalid {key} {text:?}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_limits_are_parsed() {
        assert_eq!(size_of("65536k").unwrap(), 64 << 20);
        assert_eq!(size_of("64M").unwrap(), 64 << 20);
        assert_eq!(size_of("5").unwrap(), 5);
        assert!(size_of("x").is_err() && size_of("99999999999t").is_err());
        let limit = ulimit("nofile=1024:-1").unwrap();
        assert_eq!((limit.name.as_str(), limit.soft, limit.hard), ("nofile", 1024, u64::MAX));
        assert!(ulimit("nofile").is_err());
    }

    #[test]
    fn an_empty_configuration_changes_nothing() {
        assert_eq!(defaults(&Config::default()).unwrap(), Defaults::default());
    }
}
