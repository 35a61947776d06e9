//! `coracle cp`.

use crate::cmd::format::human;
use crate::cmd::{Context, Exit};
use crate::engine::container::copy::{CopyOptions, Place, copy, copy_in, copy_out};
use crate::engine::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// Copy files into a container or out of it
///
/// Into a directory that is there, the source goes by its own name; where nothing is, by the destination's. SOURCE/. is the
/// contents of a directory. With - for SOURCE a tar is read from standard input and unpacked into a directory; with - for
/// DESTINATION a tar is written to standard output. The container may run or not.
///
/// What is copied belongs to the container's user, or outside to whoever copies; with --archive owners stay as they are.
#[derive(Args, Clone, Debug)]
pub struct CpArgs {
    /// Keep owners and groups
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = crate::cmd::flags::values::boolean)]
    archive: Option<bool>,
    /// Follow a symbolic link that SOURCE is
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Replace a directory by a file, or a file by a directory
    #[arg(long)]
    overwrite: bool,
    /// Do not say what was copied
    #[arg(short, long)]
    quiet: bool,
    /// CONTAINER:PATH, a path of the host, or -
    #[arg(value_name = "SOURCE")]
    source: String,
    /// CONTAINER:PATH, a path of the host, or -
    #[arg(value_name = "DESTINATION")]
    destination: String,
}

/// Copies.
pub fn run(cx: &Context, args: CpArgs) -> Result<Exit> {
    let options = CopyOptions {
        follow: args.follow_link,
        keep_owners: args.archive.is_some(),
        overwrite: args.overwrite,
    };
    let engine = cx.engine()?;
    let (source, destination) = (place(&args.source)?, place(&args.destination)?);
    let host = |place: &Option<Place>| matches!(place, Some(Place::Host(_)));
    let one_end = || {
        Error::invalid("one of source and destination must be in a container")
            .with_hint("cp CONTAINER:PATH PATH, or cp PATH CONTAINER:PATH")
    };
    match (source, destination) {
        (None, None) => Err(one_end()),
        (source, destination)
            if (source.is_none() || host(&source)) && (destination.is_none() || host(&destination)) =>
        {
            Err(one_end())
        }
        (Some(source), Some(destination)) => {
            let bytes = copy(engine, &source, &destination, &options)?;
            if !args.quiet && cx.stdout_is_terminal() {
                cx.note(format!("Successfully copied {} to {}", human::size(bytes), args.destination));
            }
            Ok(Exit::OK)
        }
        (None, Some(destination)) if cx.stdin_is_terminal() => {
            let _ = destination;
            Err(Error::invalid("an archive is not read from a terminal")
                .with_hint("name a file, or use a pipe"))
        }
        (None, Some(destination)) => {
            copy_in(engine, std::io::stdin(), &destination, &options)?;
            Ok(Exit::OK)
        }
        (Some(source), None) => {
            let output = crate::cmd::output::Output::open(cx, None)?;
            copy_out(engine, &source, &options, output)?;
            Ok(Exit::OK)
        }
    }
}

/// `None`: standard input or output. What begins with `/` or `.` is a path of the host, colon or not.
fn place(text: &str) -> Result<Option<Place>> {
    if text == "-" {
        return Ok(None);
    }
    if text.is_empty() {
        return Err(Error::invalid("an empty path cannot be copied"));
    }
    if text.starts_with('/') || text.starts_with('.') {
        return Ok(Some(Place::Host(PathBuf::from(text))));
    }
    Ok(Some(match text.split_once(':') {
        None => Place::Host(PathBuf::from(text)),
        Some((name, path)) if name.is_empty() || path.is_empty() => {
            return Err(Error::invalid(format!("invalid source or destination {text:?}"))
                .with_hint("CONTAINER:PATH, or a path of the host"));
        }
        Some((name, path)) => Place::Container { name: name.to_owned(), path: path.to_owned() },
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_containers_a_hosts_or_a_stream() {
        let inside = |name: &str, path: &str| Some(Place::Container { name: name.into(), path: path.into() });
        for (text, want) in [
            ("-", None),
            ("c:/etc", inside("c", "/etc")),
            ("c:etc:x", inside("c", "etc:x")),
            ("./c:/etc", Some(Place::Host("./c:/etc".into()))),
            ("/a:b", Some(Place::Host("/a:b".into()))),
            ("plain", Some(Place::Host("plain".into()))),
        ] {
            assert_eq!(place(text).unwrap(), want, "{text}");
        }
        assert!(place("c:").is_err() && place(":/x").is_err() && place("").is_err());
    }
}
