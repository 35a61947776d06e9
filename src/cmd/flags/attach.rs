//! How this terminal and a container are joined: run, attach, start, exec.

use super::values::boolean;
use crate::engine::{Error, Result};
use clap::Args;

/// Detaching and signals.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Terminal")]
pub struct TerminalArgs {
    /// Keys that detach, as ctrl-p,ctrl-q; "" for none
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,
    /// Pass signals on to the container [default: true]
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    pub sig_proxy: Option<bool>,
}

/// What of a container is attached: `-a`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// The streams `-a` names; without any: both outputs, and input if `-i`.
///
/// # Errors
/// A word that is no stream.
pub fn streams(names: &[String], interactive: bool) -> Result<Streams> {
    if names.is_empty() {
        return Ok(Streams { stdin: interactive, stdout: true, stderr: true });
    }
    let mut streams = Streams::default();
    for name in names {
        match name.to_ascii_lowercase().as_str() {
            "stdin" => streams.stdin = true,
            "stdout" => streams.stdout = true,
            "stderr" => streams.stderr = true,
            _ => {
                return Err(
                    Error::invalid(format!("invalid --attach {name:?}")).with_hint("stdin, stdout or stderr")
                );
            }
        }
    }
    Ok(streams)
}

/// The bytes of `ctrl-p,ctrl-q`: each key a letter, or `ctrl-` and one of `a-z @ [ \ ] ^ _`.
///
/// # Errors
/// A key that is none.
pub fn detach_keys(text: &str) -> Result<Vec<u8>> {
    let bad = || {
        Error::invalid(format!("invalid --detach-keys {text:?}"))
            .with_hint("keys separated by commas: a letter, or ctrl- and a letter, as ctrl-p,ctrl-q")
    };
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|key| {
            let bytes = key.as_bytes();
            match bytes.strip_prefix(b"ctrl-").unwrap_or(bytes) {
                [c] if bytes.len() == 1 && c.is_ascii_graphic() => Ok(*c),
                [c] if bytes.len() > 1 && (c.is_ascii_alphabetic() || b"@[\\]^_".contains(c)) => {
                    Ok(c.to_ascii_uppercase() & 0x1f)
                }
                _ => Err(bad()),
            }
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        assert_eq!(detach_keys("ctrl-p,ctrl-q").unwrap(), [16, 17]);
        assert_eq!(detach_keys("a,ctrl-@,ctrl-[,ctrl-_").unwrap(), [b'a', 0, 27, 31]);
        assert!(detach_keys("").unwrap().is_empty());
        for bad in ["ctrl-", "ctrl-1", "ab", "ctrl-p,", "alt-x"] {
            assert!(detach_keys(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn attached_streams() {
        let of = |names: &[&str], i| streams(&names.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(), i);
        assert_eq!(of(&[], false).unwrap(), Streams { stdin: false, stdout: true, stderr: true });
        assert_eq!(of(&["STDERR"], true).unwrap(), Streams { stderr: true, ..Streams::default() });
        assert!(of(&["x"], false).is_err());
    }
}
