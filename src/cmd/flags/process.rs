//! Who runs what: environment, user, working directory, terminal.

use super::Inputs;
use super::values::{boolean, key_value, key_value_lines};
use crate::engine::spec::ContainerSpec;
use crate::engine::{Error, Result};
use clap::Args;
use std::path::Path;

/// Flags of the process, shared by run, create and (in part) exec.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Process")]
pub struct ProcessArgs {
    #[command(flatten)]
    pub env: EnvArgs,
    /// Pass the whole environment of this command on
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    pub env_host: Option<bool>,
    /// Set NAME=VALUE where ${OTHER} in VALUE is the image's value of OTHER (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    pub env_merge: Vec<String>,
    /// Take a variable out of the image's environment (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub unsetenv: Vec<String>,
    /// Take all variables of the image out of the environment
    #[arg(long)]
    pub unsetenv_all: bool,
    /// Pass the proxy variables of this command on [default: true]
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = super::values::boolean)]
    pub http_proxy: Option<bool>,
    /// Replace the image's entrypoint: a program, or a JSON list of words; "" clears it
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub entrypoint: Option<String>,
    /// Further group of the process, by name or number; keep-groups keeps the caller's (may be repeated)
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    pub group_add: Vec<String>,
    /// Run an init process as PID 1 that reaps children and forwards signals
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    pub init: Option<bool>,
    /// Program for --init
    #[arg(long, value_name = "PATH")]
    pub init_path: Option<String>,
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// Allocate a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Time zone: a name of the zone database, or local
    #[arg(long, value_name = "ZONE")]
    pub tz: Option<String>,
    /// umask of the process, octal
    #[arg(long, value_name = "MASK")]
    pub umask: Option<String>,
    /// Run as this user: name or UID, optionally with :GROUP
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Execution domain (personality(2)): LINUX or LINUX32
    #[arg(long, value_name = "NAME")]
    pub personality: Option<String>,
    /// Command line for the group entry of a user the image does not know
    #[arg(long, value_name = "ENTRY")]
    pub group_entry: Option<String>,
    /// Line for /etc/passwd of a user the image does not know
    #[arg(long, value_name = "ENTRY")]
    pub passwd_entry: Option<String>,
    /// Add missing users to the container's /etc/passwd [default: true]
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = super::values::boolean)]
    pub passwd: Option<bool>,
    /// Add this user of the host to the container's /etc/passwd (may be repeated)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub hostuser: Vec<String>,
}

/// `--env` and `--env-file`, which exec has too.
#[derive(Args, Clone, Debug, Default)]
pub struct EnvArgs {
    /// Set a variable; NAME alone takes this command's value (may be repeated)
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Read variables from a file (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<String>,
}

/// The caller's variable of that name; behind a final `*` all whose names begin so (podman-run(1)).
fn named(inputs: &Inputs<'_>, name: &str) -> Vec<String> {
    let vars = &inputs.env.vars;
    match name.strip_suffix('*') {
        Some(start) => {
            let matching = vars.iter().filter(|(name, _)| name.starts_with(start));
            matching.map(|(name, value)| format!("{name}={value}")).collect()
        }
        None => vars.get(name).map(|value| format!("{name}={value}")).into_iter().collect(),
    }
}

impl EnvArgs {
    /// The variables to set, in order, and those to remove: names the caller's environment does not have.
    ///
    /// # Errors
    /// A file cannot be read or is malformed, or a name is empty.
    pub fn resolve(&self, inputs: &Inputs<'_>) -> Result<(Vec<String>, Vec<String>)> {
        let (mut set, mut unset) = (Vec::new(), Vec::new());
        for file in &self.env_file {
            let text = (inputs.read)(&inputs.env.cwd.join(Path::new(file)))?;
            for line in key_value_lines("--env-file", file, &text)? {
                match line.contains('=') {
                    true => set.push(line.to_owned()),
                    false => set.extend(named(inputs, line)),
                }
            }
        }
        for entry in &self.env {
            if entry.is_empty() || entry.starts_with('=') || entry.contains('\0') {
                return Err(
                    Error::invalid(format!("invalid --env {entry:?}")).with_hint("NAME=VALUE, or NAME")
                );
            }
            if entry.contains('=') {
                set.push(entry.clone());
                continue;
            }
            let found = named(inputs, entry);
            if found.is_empty() && !entry.ends_with('*') {
                unset.push(entry.clone());
            }
            set.extend(found);
        }
        Ok((set, unset))
    }
}

impl ProcessArgs {
    pub(super) fn apply(&self, spec: &mut ContainerSpec, inputs: &Inputs<'_>) -> Result<()> {
        let process = &mut spec.process;
        let (env, unset) = self.env.resolve(inputs)?;
        if self.env_host.or(inputs.conf.env_host).unwrap_or(false) {
            process.env.extend(inputs.env.vars.iter().map(|(name, value)| format!("{name}={value}")));
        }
        process.env.extend(env);
        process.unset_env = self.unsetenv.iter().cloned().chain(unset).collect();
        process.unset_env_all = self.unsetenv_all;
        for entry in &self.env_merge {
            key_value("--env-merge", entry)?;
        }
        process.env_merge.clone_from(&self.env_merge);
        process.no_proxy_env = self.http_proxy == Some(false);
        process.entrypoint = self.entrypoint.as_deref().map(entrypoint);
        if self.group_add.len() > 1 && self.group_add.iter().any(|group| group == "keep-groups") {
            return Err(Error::invalid(
                "the '--group-add keep-groups' option is not allowed with any other --group-add options",
            ));
        }
        process.groups.clone_from(&self.group_add);
        process.open_stdin = self.interactive;
        process.terminal = self.tty;
        process.umask = umask(self.umask.as_deref())?;
        process.user = self.user.clone().unwrap_or_default();
        process.workdir = workdir(self.workdir.as_deref())?;
        spec.init = self.init_path.is_some() || self.init.or(inputs.conf.init).unwrap_or(false);
        spec.init_path.clone_from(&self.init_path);
        spec.timezone = self.tz.clone().unwrap_or_default();
        spec.passwd.disabled = self.passwd == Some(false);
        spec.passwd.passwd_entry = self.passwd_entry.clone().unwrap_or_default();
        spec.passwd.group_entry = self.group_entry.clone().unwrap_or_default();
        spec.passwd.host_users.clone_from(&self.hostuser);
        spec.personality = personality(self.personality.as_deref().unwrap_or_default())?;
        Ok(())
    }
}

/// A program as one word, a JSON list as its words, nothing for `""`.
fn entrypoint(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let list = text.starts_with('[').then(|| serde_json::from_str::<Vec<String>>(text).ok()).flatten();
    list.unwrap_or_else(|| vec![text.to_owned()])
}

/// personality(2) spells them with `PER_`, the OCI runtime specification without.
fn personality(text: &str) -> Result<String> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("PER_").unwrap_or(&name);
    match name {
        "" | "LINUX" | "LINUX32" => Ok(name.to_owned()),
        _ => Err(Error::invalid(format!("invalid --personality {text:?}")).with_hint("LINUX or LINUX32")),
    }
}

fn umask(text: Option<&str>) -> Result<String> {
    let Some(text) = text else { return Ok(String::new()) };
    let octal = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    if !octal || u32::from_str_radix(text, 8).is_ok_and(|m| m > 0o777) {
        return Err(
            Error::invalid(format!("invalid --umask {text:?}")).with_hint("an octal number such as 0022")
        );
    }
    Ok(text.to_owned())
}

pub(super) fn workdir(text: Option<&str>) -> Result<String> {
    match text {
        None => Ok(String::new()),
        Some(dir) if dir.starts_with('/') => Ok(dir.to_owned()),
        Some(dir) => Err(Error::invalid(format!("invalid --workdir {dir:?}: it is not an absolute path"))),
    }
}
