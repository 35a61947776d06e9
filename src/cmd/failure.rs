//! From errors to what the user reads and the exit code a script tests.

use crate::engine::{Error, ErrorKind};
use clap::error::{ContextKind, ContextValue, ErrorKind as ClapKind};
use std::io::Write;
use std::process::ExitCode;

/// Exit code of docker and podman for a malformed command line, and for a container that could not be run.
pub const USAGE: u8 = 125;

/// Prints an error once: `Error: context: cause`, then `hint: …`. A broken pipe is not worth a word.
pub fn print(error: &Error) {
    if is_broken_pipe(error) {
        return;
    }
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "Error: {error}");
    if let Some(hint) = error.hint() {
        let _ = writeln!(stderr, "hint: {hint}");
    }
}

/// The exit code of a failed command. `before_start`: the command runs or creates a container, so that codes below
/// 125 could be the container's own (docker run(1), "EXIT STATUS").
pub fn exit_code(error: &Error, before_start: bool) -> u8 {
    match error.kind() {
        ErrorKind::CommandNotFound => 127,
        ErrorKind::CommandNotExecutable => 126,
        _ if before_start => USAGE,
        _ => 1,
    }
}

fn is_broken_pipe(error: &Error) -> bool {
    error.raw_os_error() == Some(libc::EPIPE)
}

/// Help and version on standard output; anything else as an error with the closest name that exists.
pub fn clap_error(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ClapKind::DisplayHelp => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        // As docker and podman word it.
        ClapKind::DisplayVersion => {
            let _ = writeln!(std::io::stdout(), "coracle version {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        ClapKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(USAGE)
        }
        _ => {
            print(&usage_error(error));
            ExitCode::from(USAGE)
        }
    }
}

/// Our wording of clap's complaint, with "did you mean".
fn usage_error(error: &clap::Error) -> Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let (message, suggestion) = match error.kind() {
        ClapKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            let message = format!("unknown command {word:?}");
            if let Some((reason, hint)) = super::suggest::not_here(&word) {
                return Error::invalid(format!("{message}: {reason}")).with_hint(hint);
            }
            (message, mistyped_command(&word).or_else(|| text(ContextKind::SuggestedSubcommand)))
        }
        ClapKind::MissingSubcommand => {
            let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
            return Error::invalid("a command is missing").with_hint(format!(
                "{}; see --help for all commands",
                usage.trim().trim_start_matches("Usage: ")
            ));
        }
        ClapKind::UnknownArgument => {
            let word = text(ContextKind::InvalidArg).unwrap_or_default();
            let what = if word.starts_with('-') { "unknown flag" } else { "unexpected argument" };
            (format!("{what}: {word}"), text(ContextKind::SuggestedArg))
        }
        ClapKind::MissingRequiredArgument => {
            let name = text(ContextKind::InvalidArg).unwrap_or_default();
            let name = name.split(' ').next().unwrap_or_default();
            let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
            let usage = usage.trim().trim_start_matches("Usage: ").to_owned();
            return Error::invalid(format!("an argument is missing: {}", name.replace(['<', '>'], "")))
                .with_hint(usage);
        }
        _ => (first_sentence(&error.to_string()), text(ContextKind::SuggestedValue)),
    };
    let hint = match suggestion {
        Some(name) => format!("did you mean {name:?}? See --help for all there is"),
        None => "see --help for what there is".to_owned(),
    };
    Error::invalid(message).with_hint(hint)
}

/// The command of the same noun that the word on this process's command line was meant to be.
fn mistyped_command(word: &str) -> Option<String> {
    let root = super::command();
    let arguments: Vec<String> = std::env::args().skip(1).take_while(|argument| argument != word).collect();
    super::suggest::closest(word, super::suggest::candidates(&root, &arguments)).map(str::to_owned)
}

/// clap's message without its prefix and its usage text, on one line.
fn first_sentence(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let end = text.find("\n\n").unwrap_or(text.len());
    text[..end].split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_map_to_the_exit_codes_scripts_know() {
        let error = |kind| Error::new(kind, "x");
        assert_eq!(exit_code(&error(ErrorKind::CommandNotFound), true), 127);
        assert_eq!(exit_code(&error(ErrorKind::CommandNotExecutable), false), 126);
        assert_eq!(exit_code(&error(ErrorKind::NotFound), true), 125);
        assert_eq!(exit_code(&error(ErrorKind::NotFound), false), 1);
    }
}
