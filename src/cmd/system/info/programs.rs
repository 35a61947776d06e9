//! The programs that do part of the work: where they are, and what they say of themselves.

use crate::engine::config::Config;
use crate::engine::conmon;
use crate::engine::host::process::find_program;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// One of them; empty when it is not installed.
#[derive(Clone, Debug, Default, Serialize)]
pub(in crate::cmd::system) struct Program {
    pub name: String,
    /// podman asks the package manager, which takes longer than everything else here.
    pub package: String,
    pub path: String,
    pub version: String,
}

impl Program {
    fn new(name: &str, path: Option<PathBuf>) -> Program {
        let Some(path) = path else { return Program::default() };
        Program {
            name: name.to_owned(),
            package: "Unknown".to_owned(),
            path: path.to_string_lossy().into_owned(),
            version: String::new(),
        }
    }

    /// The number in what it says: `1.8.1` of `crun version 1.8.1`.
    pub fn number(&self) -> &str {
        let words = self.version.split(|c: char| c.is_whitespace() || c == ',');
        let mut numbers = words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        numbers.next().unwrap_or_default()
    }

    /// What follows `commit:`.
    pub fn commit(&self) -> &str {
        let after = self.version.split_once("commit:").map(|(_, rest)| rest.trim_start());
        after.and_then(|rest| rest.split_whitespace().next()).unwrap_or_default()
    }
}

pub(super) fn conmon(config: &Config) -> Program {
    Program::new("conmon", conmon::find(config).ok())
}

/// The OCI runtime that is used unless another one is asked for.
pub(super) fn runtime(config: &Config) -> Program {
    match conmon::Runtime::find(config, "") {
        Ok(runtime) => Program::new(&runtime.name, Some(runtime.path)),
        Err(_) => Program::default(),
    }
}

/// Every OCI runtime there is: names and paths.
pub(super) fn runtimes(config: &Config) -> Vec<(String, PathBuf)> {
    let mut names: Vec<&str> = vec!["crun", "runc", "youki", "runsc"];
    names.extend(config.containers.engine.runtimes.keys().map(String::as_str));
    names.sort_unstable();
    names.dedup();
    let found = names.into_iter().filter_map(|name| conmon::Runtime::find(config, name).ok());
    found.map(|runtime| (runtime.name, runtime.path)).collect()
}

pub(super) fn init(config: &Config) -> Program {
    helper(config, "catatonit")
}

/// A program of containers.conf's `helper_binaries_dir` or of the usual places.
pub(super) fn helper(config: &Config, name: &str) -> Program {
    Program::new(name, find_program(name, &config.helper_directories()))
}

/// Fills in the versions. They run at the same time.
pub(super) fn versions(mut programs: Vec<Program>) -> Vec<Program> {
    let children: Vec<Option<Child>> = programs.iter().map(|program| ask(Path::new(&program.path))).collect();
    for (program, child) in programs.iter_mut().zip(children) {
        let said = child.and_then(|child| child.wait_with_output().ok()).unwrap_or_else(|| {
            std::process::Output { status: Default::default(), stdout: Vec::new(), stderr: Vec::new() }
        });
        program.version = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    }
    programs
}

fn ask(path: &Path) -> Option<Child> {
    if path.as_os_str().is_empty() {
        return None;
    }
    let mut command = Command::new(path);
    command.arg("--version").env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().ok()
}

#[cfg(test)]
mod tests {
    use super::Program;

    #[test]
    fn what_programs_say_of_themselves() {
        for (said, number, commit) in [
            ("conmon version 2.1.6\ncommit: unknown", "2.1.6", "unknown"),
            ("crun version 1.21\ncommit: 10269840aa\nrundir: /run/crun", "1.21", "10269840aa"),
            ("netavark 1.4.0", "1.4.0", ""),
            ("tini version 0.19.0", "0.19.0", ""),
            ("", "", ""),
        ] {
            let program = Program { version: said.to_owned(), ..Program::default() };
            assert_eq!((program.number(), program.commit()), (number, commit), "{said}");
        }
    }
}
