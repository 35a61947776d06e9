//! Flags without a value also take one, as docker's and podman's do: `--all`, `--all=true`, `--all=false`.
//!
//! The commands declare plain `bool` flags; parsing uses them transformed, help and man pages show them plain.

use super::later::is_named;
use clap::{Arg, ArgAction, Command};
use std::ffi::OsString;

/// Lets every flag of `command` and its subcommands take `=true` and `=false`.
pub fn with_values(command: Command) -> Command {
    command.mut_args(with_value).mut_subcommands(with_values)
}

/// [`with_values`] for the subcommands that `words` name. The others cannot be meant.
pub fn with_values_for(command: Command, words: &[OsString]) -> Command {
    command.mut_args(with_value).mut_subcommands(|sub| match is_named(&sub, words) {
        true => with_values_for(sub, words),
        false => sub,
    })
}

fn with_value(arg: Arg) -> Arg {
    match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false")
            .value_parser(boolean),
        // Go's flag packages take whatever word comes next.
        action if action.takes_values() && !arg.is_positional() => arg.allow_hyphen_values(true),
        _ => arg,
    }
}

/// What Go's strconv.ParseBool takes.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn flags_take_a_value_only_behind_an_equals_sign() {
        let command = || {
            let flag = Arg::new("all").short('a').long("all").action(ArgAction::SetTrue);
            with_values(
                Command::new("x").args_override_self(true).arg(flag).arg(Arg::new("word").num_args(0..)),
            )
        };
        let cases = [
            (vec!["x"], Some(false)),
            (vec!["x", "--all"], Some(true)),
            (vec!["x", "-a"], Some(true)),
            (vec!["x", "--all=false"], Some(false)),
            (vec!["x", "--all=F"], Some(false)),
            (vec!["x", "--all", "false"], Some(true)),
            (vec!["x", "--all", "--all=0"], Some(false)),
            (vec!["x", "--all=maybe"], None),
        ];
        for (argv, expected) in cases {
            let parsed = command().try_get_matches_from(&argv).ok();
            assert_eq!(parsed.map(|matches| matches.get_flag("all")), expected, "{argv:?}");
        }
    }
}
