//! `coracle image scp`.
//!
//! The other side is another program: `load` or `save` of whatever engine is there, over ssh(1), or as another user of this
//! host through su(1) or sudo(8). It is started before the engine is opened, so that it runs as the user, not in the
//! engine's namespaces, and finds its keys and its agent.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use clap::Args;

use super::load::text;
use super::progress::{Board, Copying, Receiving};
use crate::cmd::{Context, Exit};
use crate::engine::image::load::{LoadRequest, load};
use crate::engine::image::places;
use crate::engine::image::save::{SaveRequest, SaveTo, save};
use crate::engine::image::tag::{new_name, tag};
use crate::engine::{Error, ErrorKind, Result};

/// Copy an image to or from another host, or another user of this one
///
/// A side is IMAGE here, or HOST::IMAGE there, where HOST may be USER@HOST:PORT; USER@localhost:: is another user of this host.
/// A name at the destination is one more for the image. There must be coracle, podman or docker on the other side.
#[derive(Args, Clone, Debug, Default)]
pub struct ScpArgs {
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// From where: an image here, or HOST::IMAGE
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// To where, and under which further name [default: here, as it is called there]
    #[arg(value_name = "DESTINATION")]
    pub destination: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Side {
    Here(String),
    There { host: String, port: Option<u16>, image: String },
}

impl Side {
    fn parse(text: &str) -> Result<Self> {
        let Some((host, image)) = text.split_once("::") else { return Ok(Self::Here(text.to_owned())) };
        let bad = || Error::invalid(format!("{text:?} is not of the form [USER@]HOST[:PORT]::[IMAGE]"));
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') && !host.contains(':') => {
                (host, Some(port.parse().map_err(|_| bad())?))
            }
            _ => (host, None),
        };
        // To ssh and su such a word would be an option.
        if host.is_empty() || host.split('@').any(|part| part.is_empty() || part.starts_with('-')) {
            return Err(bad());
        }
        Ok(Self::There { host: host.to_owned(), port, image: image.to_owned() })
    }
}

/// The command line that runs `script` on the other side.
fn remote(host: &str, port: Option<u16>, script: &str, root: bool) -> Vec<String> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    match host.split_once('@') {
        Some((user, "localhost")) if port.is_none() && root => {
            words(&["su", "-l", user, "-s", "/bin/sh", "-c", script])
        }
        Some((user, "localhost")) if port.is_none() => words(&["sudo", "-i", "-u", user, "sh", "-c", script]),
        _ => {
            let mut line = words(&["ssh"]);
            if let Some(port) = port {
                line.extend(["-p".to_owned(), port.to_string()]);
            }
            line.extend(words(&["--", host, script]));
            line
        }
    }
}

/// What is run there, by the first engine that is found.
fn script(commands: &[&[&str]]) -> String {
    let found = "p=$(command -v coracle || command -v podman || command -v docker) || \
                 { echo 'neither coracle, podman nor docker is installed here' >&2; exit 127; }; ";
    let line = |words: &&[&str]| format!("\"$p\" {}", shell_words::join(words.iter()));
    found.to_owned() + &commands.iter().map(line).collect::<Vec<_>>().join(" && ")
}

/// Reads `image` there, and gives it the name `new` as well unless that is empty.
fn loading(image: &str, new: &str) -> String {
    match new {
        "" => script(&[&["load"]]),
        new => script(&[&["load"], &["tag", image, new]]),
    }
}

fn start(line: &[String], stdin: Stdio, stdout: Stdio) -> Result<Child> {
    let child = Command::new(&line[0]).args(&line[1..]).stdin(stdin).stdout(stdout).spawn();
    child.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(ErrorKind::MissingProgram, format!("image scp needs the program {}", line[0]))
        }
        _ => Error::io("run", &line[0], e),
    })
}

fn end(mut child: Child, host: &str) -> Result<()> {
    let status = child.wait().map_err(|e| Error::os("wait for the other side", e))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Io, format!("{host}: the other side failed ({status})")))
}

/// Runs `coracle image scp`.
pub fn run(cx: &Context, args: ScpArgs) -> Result<Exit> {
    let root = nix::unistd::geteuid().is_root();
    let source = Side::parse(&args.source)?;
    let destination = args.destination.as_deref().map(Side::parse).transpose()?;
    // Told before anything is copied.
    match &destination {
        Some(Side::Here(new)) => drop(new_name(new)?),
        Some(Side::There { image: new, .. }) if !new.is_empty() => drop(new_name(new)?),
        _ => {}
    }
    let saving = |image: &str| script(&[&["save", image]]);
    match (source, destination) {
        (Side::There { image, .. }, _) if image.is_empty() => {
            return Err(Error::invalid(format!("{}: which image?", args.source)));
        }
        (Side::Here(image), Some(Side::There { host, port, image: new })) => {
            let line = remote(&host, port, &loading(&image, &new), root);
            let mut child = start(&line, Stdio::piped(), Stdio::inherit())?;
            let pipe = child.stdin.take().map(OwnedFd::from).map(File::from);
            let pipe = pipe.ok_or_else(|| Error::invalid("there is no pipe"))?;
            let request = SaveRequest { images: vec![image], ..SaveRequest::default() };
            let progress = Copying::unless_piped(Board::new(args.quiet));
            let saved = save(cx.engine()?, &request, SaveTo::Open(pipe), &progress);
            // Whoever closed the pipe says why.
            let ended = end(child, &host);
            match saved {
                Err(e) if e.raw_os_error() != Some(libc::EPIPE) => return Err(e),
                _ => ended?,
            }
        }
        (Side::There { host, port, image }, here @ (None | Some(Side::Here(_)))) => {
            let line = remote(&host, port, &saving(&image), root);
            let mut child = start(&line, Stdio::null(), Stdio::piped())?;
            let pipe = child.stdout.take().map(OwnedFd::from).map(File::from);
            let pipe = pipe.ok_or_else(|| Error::invalid("there is no pipe"))?;
            let engine = cx.engine()?;
            let files = places::archive(engine, pipe, &args.source);
            end(child, &host)?;
            let progress = Receiving::new(args.quiet);
            for loaded in load(engine, files?, &args.source, &LoadRequest::default(), &progress)? {
                cx.print(text(&loaded))?;
                if let Some(Side::Here(new)) = &here {
                    tag(engine, &loaded.image.id, std::slice::from_ref(new))?;
                }
            }
        }
        (
            Side::There { host, port, image },
            Some(Side::There { host: other, port: other_port, image: new }),
        ) => {
            let mut from = start(&remote(&host, port, &saving(&image), root), Stdio::null(), Stdio::piped())?;
            let pipe = from.stdout.take().map_or_else(Stdio::null, Stdio::from);
            let line = remote(&other, other_port, &loading(&image, &new), root);
            let to = start(&line, pipe, Stdio::inherit())?;
            let ended = end(to, &other);
            end(from, &host)?;
            ended?;
        }
        (Side::Here(_), _) => {
            return Err(Error::invalid("both sides are here")
                .with_hint("write HOST::, or USER@localhost::, for the other side"));
        }
    }
    Ok(Exit::OK)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_an_image_or_a_host() {
        let there =
            |host: &str, port, image: &str| Side::There { host: host.into(), port, image: image.into() };
        for (text, want) in [
            ("x:1", Side::Here("x:1".into())),
            ("h::", there("h", None, "")),
            ("u@h:22::q.io/x:1", there("u@h", Some(22), "q.io/x:1")),
        ] {
            assert_eq!(Side::parse(text).unwrap(), want, "{text}");
        }
        for text in ["-oProxyCommand=x::", "u@-x::", "::x", "h:x::", "@h::"] {
            assert!(Side::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_other_side_is_reached_by_ssh_or_as_another_user() {
        assert_eq!(remote("h", Some(22), "s", true), ["ssh", "-p", "22", "--", "h", "s"]);
        assert_eq!(remote("u@localhost", None, "s", false)[..4], ["sudo", "-i", "-u", "u"]);
        assert_eq!(remote("u@localhost", None, "s", true)[..3], ["su", "-l", "u"]);
        assert_eq!(remote("u@localhost", Some(1), "s", true)[0], "ssh");
    }
}
