//! Arguments of commands that are built only when the command is meant.
//!
//! There are some fifty commands with hundreds of flags; defining them all takes longer than listing a store, and a
//! command line uses one. So the command enums hold their arguments as [`Later`], which defines nothing but leaves word
//! how to; [`named`] and [`all`] do it.

use clap::builder::CommandExt;
use clap::error::Error;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::ffi::OsString;

/// The arguments of one command, and its help with them.
#[derive(Debug)]
pub struct Later<T>(pub T);

/// How to define what was left out of a command.
#[derive(Clone, Debug)]
struct Left(fn(Command) -> Command);

impl CommandExt for Left {}

impl<T: Args> Args for Later<T> {
    fn augment_args(command: Command) -> Command {
        command.add(Left(T::augment_args))
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }
}

impl<T: FromArgMatches> FromArgMatches for Later<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// `command` with all that was left out of it and its subcommands: for help, man pages, completions.
pub fn all(command: Command) -> Command {
    defined(command).mut_subcommands(all)
}

/// `command` with what was left out of the subcommands that `words` name, for parsing those words. Any word may be the
/// command's name: which are values of flags before it is not known yet.
pub fn named(command: Command, words: &[OsString]) -> Command {
    defined(command).mut_subcommands(|sub| if is_named(&sub, words) { named(sub, words) } else { sub })
}

/// Whether one of `words` is the name of `command`, or another name for it.
pub fn is_named(command: &Command, words: &[OsString]) -> bool {
    let mut words = words.iter().filter_map(|word| word.to_str());
    words.any(|word| command.get_name() == word || command.get_all_aliases().any(|alias| alias == word))
}

fn defined(command: Command) -> Command {
    match command.get::<Left>().cloned() {
        Some(Left(define)) => define(command),
        None => command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::Cli;
    use clap::CommandFactory;

    fn leaves<'a>(command: &'a Command, found: &mut Vec<&'a Command>) {
        match command.has_subcommands() {
            true => command.get_subcommands().for_each(|sub| leaves(sub, found)),
            false => found.push(command),
        }
    }

    #[test]
    fn no_command_is_defined_before_it_is_named() {
        let root = Cli::command();
        let mut found = Vec::new();
        leaves(&root, &mut found);
        let early = found.iter().filter(|c| c.get_arguments().next().is_some());
        let early: Vec<_> = early.map(|c| c.get_name()).collect();
        assert!(found.len() > 40 && early.is_empty(), "put Later<…> around the arguments of {early:?}");
    }

    #[test]
    fn a_named_command_is_defined_and_no_other() {
        let words: Vec<_> = ["coracle", "container", "ps", "-a"].map(OsString::from).into();
        let root = named(Cli::command(), &words);
        let mut found = Vec::new();
        leaves(&root, &mut found);
        let defined = found.iter().filter(|c| c.get_arguments().next().is_some());
        assert_eq!(defined.map(|c| c.get_name()).collect::<Vec<_>>(), ["ls", "ps"]);
    }

    #[test]
    fn all_of_them_have_help() {
        let root = all(Cli::command());
        let mut found = Vec::new();
        leaves(&root, &mut found);
        let silent: Vec<_> = found.iter().filter(|c| c.get_about().is_none()).map(|c| c.get_name()).collect();
        assert!(silent.is_empty(), "{silent:?}");
    }
}
