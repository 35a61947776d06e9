//! `coracle container runlabel`.

use crate::cmd::context::namespace_variables;
use crate::cmd::flags::image::AccessArgs;
use crate::cmd::image::progress::Pulling;
use crate::cmd::{Context, Exit};
use crate::engine::container::{RemoveOptions, remove, resolve};
use crate::engine::image::{PullRequest, config_of, pull};
use crate::engine::{Error, ErrorKind, Result};
use clap::Args;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Run the command that an image has in a label
///
/// A label such as RUN="podman run --name NAME IMAGE" says how the image is meant to be used. The first word must be coracle,
/// docker or podman, and coracle is run in its place: nothing else that an image says is executed on the host. IMAGE and NAME
/// are replaced, as $IMAGE, ${NAME}, $PWD, $OPT1, $OPT2 and $OPT3 are; further arguments are put behind.
#[derive(Args, Clone, Debug)]
pub struct RunlabelArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Show the command and do not run it
    #[arg(long)]
    display: bool,
    /// What NAME stands for [default: the last part of the image's name]
    #[arg(long, short = 'n', value_name = "NAME")]
    name: Option<String>,
    /// Show nothing, neither of the pull nor of the command
    #[arg(long, short = 'q')]
    quiet: bool,
    /// Remove a container of the name that the command gives with --name first
    #[arg(long)]
    replace: bool,
    /// The label; case does not matter
    #[arg(value_name = "LABEL")]
    label: String,
    /// The image, then arguments for the command
    #[arg(value_name = "IMAGE [ARG…]", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// What the label's words are made from.
struct Names<'a> {
    image: &'a str,
    name: &'a str,
    variable: &'a dyn Fn(&str) -> String,
}

/// Becomes the command.
pub fn run(cx: &Context, args: RunlabelArgs) -> Result<Exit> {
    let Some((image, more)) = args.words.split_first() else {
        return Err(Error::invalid("an image is missing"));
    };
    let engine = cx.engine()?;
    let request =
        PullRequest { name: image.clone(), access: args.access.access()?, ..PullRequest::default() };
    let found = pull(engine, &request, &Pulling::new(args.quiet))?;
    let labels = config_of(engine, &found.image)?.config.labels;
    let line = labels.iter().find(|(name, _)| name.eq_ignore_ascii_case(&args.label)).map(|(_, line)| line);
    let line = line.filter(|line| !line.trim().is_empty()).ok_or_else(|| {
        Error::not_found(format!("cannot find the value of label: {} in image: {image}", args.label))
    })?;
    let full = found.name.map_or_else(|| found.image.id.clone(), |name| name.to_string());
    let env = &engine.config.env;
    let variable = |name: &str| match name {
        "OPT1" | "OPT2" | "OPT3" => env.var(name).unwrap_or_default().to_owned(),
        "PWD" => env.cwd.to_string_lossy().into_owned(),
        _ => String::new(),
    };
    let named = args.name.clone().unwrap_or_else(|| short_name(image).to_owned());
    let names = Names { image: &full, name: &named, variable: &variable };
    let mut words = expand(line, &names)?;
    words.extend(more.iter().cloned());
    if args.display {
        cx.println(format!("command: coracle {}", words.join(" ")))?;
        return Ok(Exit::OK);
    }
    if args.replace
        && let Some(name) = container_name(&words)
    {
        replace(cx, name)?;
    }
    execute(cx, &words, args.quiet)
}

/// The words behind the program, which must be one that we stand in for.
fn expand(line: &str, names: &Names<'_>) -> Result<Vec<String>> {
    let bad = |e| Error::invalid(format!("the label {line:?} is not a command")).with_source(e);
    let mut words = shell_words::split(line).map_err(bad)?.into_iter();
    let program = words.next().unwrap_or_default();
    let base = Path::new(&program).file_name().unwrap_or_default();
    if !["coracle", "docker", "podman"].iter().any(|known| base == *known) {
        return Err(Error::unsupported(format!(
            "the label wants {program} to be executed on this host, which is not done for an image"
        ))
        .with_hint("look at it with --display or `image inspect`, and run it yourself if you trust it"));
    }
    Ok(words.map(|word| expand_word(&word, names)).collect())
}

fn expand_word(word: &str, names: &Names<'_>) -> String {
    match word {
        "IMAGE" => return names.image.to_owned(),
        "NAME" => return names.name.to_owned(),
        "IMAGE=IMAGE" => return format!("IMAGE={}", names.image),
        "NAME=NAME" => return format!("NAME={}", names.name),
        _ => {}
    }
    let mut out = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, after) = match rest.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            Some(braced) => braced,
            None => rest
                .split_at(rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())),
        };
        match name {
            "" => out.push('$'),
            "IMAGE" => out.push_str(names.image),
            "NAME" => out.push_str(names.name),
            name => out.push_str(&(names.variable)(name)),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// `registry/team/app:1@sha256:…` is for `app`.
fn short_name(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split([':', '@']).next().unwrap_or(last)
}

fn container_name(words: &[String]) -> Option<&str> {
    words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix("--name") {
        Some("") => words.get(at + 1).map(String::as_str),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    })
}

fn replace(cx: &Context, name: &str) -> Result<()> {
    let engine = cx.engine()?;
    let options = RemoveOptions { force: true, ..RemoveOptions::default() };
    match resolve(engine, name).and_then(|id| remove(engine, &id, &options)) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// This program again, with the flags that stood before the command.
fn execute(cx: &Context, words: &[String], quiet: bool) -> Result<Exit> {
    let engine = cx.engine()?;
    let here = cx.argv.windows(2).position(|pair| pair == ["container", "runlabel"]).unwrap_or(1);
    let env = &engine.config.env;
    let mut command = Command::new(&env.program);
    command.args(cx.argv.get(1..here).unwrap_or_default()).args(words);
    if engine.rootless() {
        command.envs(namespace_variables(engine));
    }
    if quiet {
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    }
    Err(Error::os(format!("execute {}", env.program.display()), command.exec()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_labels_words() {
        let variable = |name: &str| if name == "OPT1" { "--rm".to_owned() } else { String::new() };
        let names = Names { image: "localhost/app:1", name: "app", variable: &variable };
        let words = |line: &str| expand(line, &names).map(|words| words.join("|"));
        for (line, want) in [
            ("podman run --name NAME IMAGE sh -c 'a b'", "run|--name|app|localhost/app:1|sh|-c|a b"),
            (
                "/usr/bin/docker run ${OPT1} -e NAME=NAME -e I=$IMAGE $IMAGE",
                "run|--rm|-e|NAME=app|-e|I=localhost/app:1|localhost/app:1",
            ),
            ("coracle ps $UNKNOWN. a$", "ps|.|a$"),
        ] {
            assert_eq!(words(line).unwrap(), want);
        }
        assert_eq!(words("rm -rf /").unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(words("podman 'x").unwrap_err().kind(), ErrorKind::Invalid);
        assert!(words("").is_err());
    }

    #[test]
    fn names() {
        for (image, want) in [("app", "app"), ("r:5000/team/app:1", "app"), ("x/app@sha256:abc", "app")] {
            assert_eq!(short_name(image), want);
        }
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(container_name(&words("run --name x y")), Some("x"));
        assert_eq!(container_name(&words("run --name=x y")), Some("x"));
        assert_eq!(container_name(&words("run y")), None);
    }
}
