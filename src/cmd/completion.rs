//! Completion in the shell: the scripts ask this program, which knows its flags and the names that exist.
//!
//! A script calls `_CORACLE_COMPLETE=<shell> coracle -- <words>`; [`answer`] sees the variable and prints candidates.
//! Arguments get their completer by the name their value has in the help, in one place, here.

use super::context::Context;
use super::globals::Globals;
use super::{command, command_for};
use crate::engine::network::Networks;
use crate::engine::state::Status;
use crate::engine::{Engine, Error, Result};
use clap::{Arg, FromArgMatches, ValueHint};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use clap_complete::env::{EnvCompleter, Shells};
use std::ffi::{OsStr, OsString};

/// The variable by which the scripts call back.
const VARIABLE: &str = "_CORACLE_COMPLETE";

/// The shells there are scripts for, by name, with the file names under which `completions/` keeps them.
pub const SHELLS: [(&str, &str); 4] =
    [("bash", "coracle.bash"), ("zsh", "_coracle"), ("fish", "coracle.fish"), ("powershell", "coracle.ps1")];

/// The script that makes `shell` complete `program`'s command lines.
///
/// # Errors
/// [`crate::engine::ErrorKind::Invalid`] for a shell that is not one of [`SHELLS`].
pub fn script(shell: &str, program: &str) -> Result<String> {
    let unknown = || Error::invalid(format!("there is no completion for {shell:?}"));
    let shells = Shells::builtins();
    let completer: &dyn EnvCompleter = shells.completer(shell).ok_or_else(unknown)?;
    let own = |text: &str| text.replace("PROGRAM", program).replace("VARIABLE", VARIABLE);
    if shell == "bash" {
        return Ok(own(include_str!("completion.bash")));
    }
    let mut bytes = Vec::new();
    completer
        .write_registration(VARIABLE, program, program, program, &mut bytes)
        .map_err(|e| Error::os("write completion script", e))?;
    let mut script = String::from_utf8_lossy(&bytes).into_owned();
    if shell == "zsh" {
        script.push_str(&own(include_str!("completion.zsh")));
    }
    Ok(script)
}

/// Answers a completion script; false when this is an ordinary command line.
pub fn answer() -> bool {
    if std::env::var_os(VARIABLE).is_none() {
        return false;
    }
    let directory = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(completed).var(VARIABLE);
    // What cannot be completed is not complained about in the middle of a line.
    asked.try_complete(std::env::args_os(), directory.as_deref()).unwrap_or(true)
}

/// The command line with a completer on every argument that wants one.
fn completed() -> clap::Command {
    with_completers(command())
}

fn with_completers(command: clap::Command) -> clap::Command {
    let of = command.get_name().to_owned();
    command.mut_args(|arg| with_completer(&of, arg)).mut_subcommands(with_completers)
}

fn with_completer(command: &str, arg: Arg) -> Arg {
    let named = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let name = named.unwrap_or_else(|| arg.get_id().as_str().to_uppercase());
    let name = name.trim_start_matches('[').trim_end_matches('S');
    let is = |prefix: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '|', ' ', ':']))
    };
    let positional = arg.is_positional();
    let completer = match () {
        () if is("CONTAINER") => ArgValueCompleter::new(Names(Kind::Containers)),
        () if is("NETWORK") => ArgValueCompleter::new(Names(Kind::Networks)),
        // A new network's name is nobody's yet.
        () if positional && is("NAME") && command == "create" => return arg,
        () if is("ARGV") && command == "exec" => ArgValueCompleter::new(Names(Kind::Containers)),
        () if positional && (is("IMAGE") || is("REPOSITORY") || is("ARGV")) => {
            ArgValueCompleter::new(Names(Kind::Images))
        }
        () if positional && is("NAME") && command == "inspect" => ArgValueCompleter::new(Names(Kind::Both)),
        () if positional && is("NAME") => ArgValueCompleter::new(Names(Kind::Images)),
        () if is("FILE") || is("PATH") => return arg.value_hint(ValueHint::AnyPath),
        () if is("DIR") => return arg.value_hint(ValueHint::DirPath),
        () => return arg,
    };
    arg.add(completer)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Containers,
    Images,
    Networks,
    Both,
}

struct Names(Kind);

impl ValueCompleter for Names {
    fn complete(&self, current: &OsStr) -> Vec<CompletionCandidate> {
        names(self.0, current)
    }

    /// Behind the image of `run` and `create`, and the container of `exec`, there are words of the container's own.
    fn complete_at(&self, index: usize, current: &OsStr) -> Vec<CompletionCandidate> {
        match index > 0 && runs_a_command() {
            true => PathCompleter::any().complete(current),
            false => names(self.0, current),
        }
    }
}

/// The words being completed: what follows `--`.
fn words() -> Vec<OsString> {
    std::env::args_os().skip_while(|word| word != "--").skip(1).collect()
}

fn runs_a_command() -> bool {
    words().iter().any(|word| word == "run" || word == "create" || word == "exec")
}

/// The engine that the global flags among the words choose.
fn context() -> Option<Context> {
    let words = words();
    let matches = command_for(&words).ignore_errors(true).try_get_matches_from(words).ok()?;
    let globals = Globals::from_arg_matches(&matches).ok()?;
    Some(Context::new(globals, Vec::new()))
}

fn names(kind: Kind, current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(prefix) = current.to_str() else { return Vec::new() };
    let Some(cx) = context() else { return Vec::new() };
    let Ok(engine) = cx.engine() else { return Vec::new() };
    let mut found = Vec::new();
    if matches!(kind, Kind::Containers | Kind::Both) {
        found.extend(containers(engine, prefix));
    }
    if matches!(kind, Kind::Images | Kind::Both) {
        found.extend(images(engine, prefix));
    }
    if matches!(kind, Kind::Networks | Kind::Both) {
        found.extend(networks(engine, prefix));
    }
    found
}

fn containers(engine: &Engine, prefix: &str) -> Vec<CompletionCandidate> {
    let mut found = Vec::new();
    for record in engine.state.list().unwrap_or_default() {
        let status =
            if record.state.status == Status::Starting { Status::Created } else { record.state.status };
        let help = format!("{} ({})", record.state.head.image, status.as_str());
        let name = record.state.head.name;
        // IDs only once one is begun: names say more.
        let id = record.id.get(..12).unwrap_or_default();
        let shown = if name.starts_with(prefix) { Some(name) } else { None };
        let shown =
            shown.or_else(|| (!prefix.is_empty() && record.id.starts_with(prefix)).then(|| id.to_owned()));
        found.extend(shown.map(|text| CompletionCandidate::new(text).help(Some(help.into()))));
    }
    found
}

fn networks(engine: &Engine, prefix: &str) -> Vec<CompletionCandidate> {
    let all = Networks::open(&engine.config).list().unwrap_or_default();
    let matching = all.into_iter().filter(|n| n.name.starts_with(prefix));
    matching.map(|n| CompletionCandidate::new(n.name).help(Some(n.driver.into()))).collect()
}

/// Full names, their tails (`debian` of `docker.io/library/debian`) and, once begun, IDs.
fn images(engine: &Engine, prefix: &str) -> Vec<CompletionCandidate> {
    let mut found = Vec::new();
    for image in engine.store.images().unwrap_or_default() {
        for name in &image.names {
            let tails = name.match_indices('/').map(|(i, _)| &name[i + 1..]);
            let matching = std::iter::once(name.as_str()).chain(tails).find(|text| text.starts_with(prefix));
            found.extend(matching.map(CompletionCandidate::new));
        }
        if !prefix.is_empty() && image.id.starts_with(prefix) {
            found.extend(image.id.get(..12).map(CompletionCandidate::new));
        }
    }
    found
}
