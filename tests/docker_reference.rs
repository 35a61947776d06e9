//! The examples of docker's own reference (docker/cli, docs/reference/commandline), typed as they stand there by somebody
//! whose `docker` is Coracle, and what is shown compared. What it takes a network for is in `networks.rs`, a terminal in
//! `streams.rs`. Where Coracle differs on purpose stands in docs/differences.md, and the difference is here.

mod containers;
mod images;
mod networks;
mod run;
mod system;
mod volumes;

use std::os::unix::fs::symlink;

use crate::support::{Missing, Outcome, Sandbox};

/// A line of the shell, the exit code of its last command, and what it shows. Runs of white space are one space; `*` is any text,
/// `ID` and `id` are a container's or an image's, long and short.
struct Example(&'static str, i32, &'static str);

/// Where `docker` is Coracle, with the images that the examples use.
fn alias(sandbox: &Sandbox) {
    sandbox.pull("lab/busybox");
    for name in ["busybox", "alpine", "alpine:3.3", "ubuntu", "ubuntu:24.04", "redis", "nginx"] {
        sandbox.coracle(["tag", "lab/busybox", &format!("docker.io/library/{name}")]).ok();
    }
    sandbox.coracle(["rmi", "lab/busybox"]).ok();
    symlink("coracle", sandbox.path("bin/docker")).unwrap();
}

fn type_in(sandbox: &Sandbox, line: &str) -> Outcome {
    let path = format!("{}:{}", sandbox.path("bin").display(), crate::support::PATH);
    sandbox.command(["sh", "-c", &format!("exec 2>&1; {line}")]).env("PATH", path).run()
}

/// White space squeezed, IDs by their names.
fn plain(text: &str) -> String {
    let hex = |word: &str| word.len() > 11 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let named = |piece: &str| match piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()) {
        id if id.len() == 64 && hex(id) => piece.replace(id, "ID"),
        id if id.len() == 12 && hex(id) => piece.replace(id, "id"),
        _ => piece.to_owned(),
    };
    let word = |word: &str| {
        word.split_inclusive(|c: char| !c.is_ascii_alphanumeric()).map(named).collect::<String>()
    };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    text.trim().lines().map(line).collect::<Vec<_>>().join("\n")
}

fn is_shown(wanted: &str, shown: &str) -> bool {
    let pattern = regex::escape(&plain(wanted)).replace(r"\*", "[^\n]*");
    regex::Regex::new(&format!("^{pattern}$")).unwrap().is_match(&plain(shown))
}

fn follow(sandbox: &Sandbox, examples: &[Example]) {
    let mut wrong = Vec::new();
    for Example(line, code, wanted) in examples {
        let outcome = type_in(sandbox, line);
        if outcome.exit_code() != *code || !is_shown(wanted, &outcome.stdout) {
            wrong.push(format!("{outcome}\n--- wanted, with exit code {code}\n{}", plain(wanted)));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), examples.len(), wrong.join("\n"));
}

fn both(examples: &[Example]) -> Result<(), Missing> {
    for sandbox in Sandbox::both()? {
        alias(&sandbox);
        follow(&sandbox, examples);
    }
    Ok(())
}

#[test]
fn patterns_mean_what_they_say() {
    let id = "0123456789abcdef".repeat(4);
    assert!(is_shown("ID  busybox Up * seconds", &format!("{id} busybox   Up 3 seconds\n")));
    assert!(is_shown(
        "container create ID (image=*, name=c)",
        &format!("container create {id} (image=x, name=c)")
    ));
    assert!(!is_shown("id", &id));
    assert!(!is_shown("one\ntwo", "one\nthree\ntwo"));
    assert!(!is_shown("o*e", "one\ntwo\nthree"));
}
