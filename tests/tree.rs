//! The source tree: dependencies point one way, and every module says what it is for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What a part of the engine may use besides itself: the direction of the arrows. `Engine` stands for the opened
/// engine, which only what works on whole containers and images takes.
const ARROWS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("digest", &["error"]),
    ("moment", &["error"]),
    ("filter", &["error", "moment"]),
    ("spec", &["error", "digest"]),
    ("config", &["error", "digest", "spec", "host"]),
    ("host", &["error", "digest", "spec"]),
    ("oci", &["error", "digest", "spec", "config"]),
    ("store", &["error", "digest", "spec", "config", "host"]),
    ("state", &["error", "digest", "spec", "config", "host"]),
    ("registry", &["error", "digest", "spec", "config", "host"]),
    ("events", &["error", "config", "host"]),
    ("secret", &["error", "config", "host", "events"]),
    ("volume", &["error", "moment", "filter", "spec", "config", "host", "events"]),
    ("network", &["error", "moment", "filter", "digest", "spec", "config", "host", "events"]),
    ("conmon", &["error", "digest", "spec", "config", "host"]),
    ("trust", &["error", "digest", "config", "host", "registry"]),
    ("transport", &["error", "digest", "spec", "config", "host", "store", "registry", "trust"]),
    ("account", &["error", "config", "registry"]),
    ("artifact", &["error", "digest", "config", "host", "registry", "transport", "trust", "image", "Engine"]),
    (
        "image",
        &[
            "error",
            "moment",
            "digest",
            "spec",
            "config",
            "host",
            "store",
            "registry",
            "transport",
            "trust",
            "state",
            "events",
            "Engine",
        ],
    ),
    (
        "container",
        &[
            "error", "moment", "filter", "digest", "spec", "config", "host", "store", "registry", "state",
            "oci", "conmon", "network", "secret", "volume", "image", "artifact", "events", "Engine",
        ],
    ),
    ("check", &["error", "config", "store", "state", "network", "volume", "container", "image", "Engine"]),
    (
        "reset",
        &[
            "error",
            "store",
            "state",
            "network",
            "volume",
            "secret",
            "container",
            "image",
            "artifact",
            "Engine",
        ],
    ),
    // The command line's formats know nothing of what they print.
    ("cmd/format", &["error"]),
];

/// Parts that do no input or output: they get values and return values.
const PURE: &[&str] =
    &["src/engine/moment.rs", "src/engine/filter.rs", "src/engine/spec", "src/engine/oci", "src/cmd/format"];

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut queue = vec![root.join("src")];
    while let Some(directory) = queue.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                if entry.file_name() != "tests" {
                    queue.push(entry.path());
                }
            } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
                // Unit tests in a file of their own are not part of the program.
                if entry.file_name() == "tests.rs" {
                    continue;
                }
                let relative = entry.path().strip_prefix(root).unwrap().to_path_buf();
                found.push((relative, fs::read_to_string(entry.path()).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 20);
    found
}

/// Without comments, and without what only tests compile.
fn code(source: &str) -> String {
    let end = source
        .find("#[cfg(test)]\nmod ")
        .or_else(|| source.find("#[cfg(test)]\n#[allow"))
        .unwrap_or(source.len());
    let lines = source[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// `src/engine/store/layers.rs` is the module `engine::store::layers`.
fn module(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> = path
        .with_extension("")
        .components()
        .skip(1)
        .map(|part| part.as_os_str().to_string_lossy().into())
        .collect();
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

/// The paths, from the crate's root, that a module's code names; groups in braces are spread out.
fn named(source: &str, of: &[String]) -> BTreeSet<Vec<String>> {
    let words = regex::Regex::new(r"\b(crate|super)((?:::(?:\w+))*)(::\{)?").unwrap();
    let mut found = BTreeSet::new();
    for capture in words.captures_iter(source) {
        let mut path =
            if &capture[1] == "crate" { Vec::new() } else { of[..of.len().saturating_sub(1)].to_vec() };
        for part in capture[2].split("::").filter(|part| !part.is_empty()) {
            if part == "super" {
                path.pop();
            } else {
                path.push(part.to_owned());
            }
        }
        if capture.get(3).is_none() {
            found.insert(path);
            continue;
        }
        let rest = &source[capture.get(0).unwrap().end()..];
        let mut depth = 0;
        let mut word = String::new();
        for character in rest.chars() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    found.insert(path.iter().cloned().chain([std::mem::take(&mut word)]).collect());
                }
                _ if depth == 0 && !character.is_whitespace() => word.push(character),
                _ => {}
            }
        }
        found.insert(path.iter().cloned().chain([word]).collect());
    }
    // `{host::process, Error}`: each word is a path itself.
    found.into_iter().map(|path| path.join("::").split("::").map(ToOwned::to_owned).collect()).collect()
}

/// The part of the tree that a path is in, in the words of [`ARROWS`].
fn part(path: &[String]) -> Option<String> {
    match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["cmd", "format", ..] => Some("cmd/format".into()),
        ["cmd", ..] => Some("cmd".into()),
        ["engine", "Engine", ..] => Some("Engine".into()),
        ["engine", "Digest", ..] => Some("digest".into()),
        ["engine", name, ..] if name.starts_with(char::is_lowercase) => Some(name.into()),
        ["engine", ..] => Some("error".into()),
        _ => None,
    }
}

#[test]
fn dependencies_point_one_way() {
    let mut wrong = Vec::new();
    for (path, source) in sources() {
        let module = module(&path);
        if module.len() < 2 {
            continue;
        }
        let Some(own) = part(&module) else { continue };
        if own == "cmd" {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == own) else {
            wrong.push(format!("{}: {own} has no place in ARROWS yet", path.display()));
            continue;
        };
        for named in named(&code(&source), &module) {
            if let Some(target) =
                part(&named).filter(|target| *target != own && !allowed.contains(&target.as_str()))
            {
                wrong.push(format!("{}: {own} must not use {target} ({})", path.display(), named.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn pure_parts_touch_nothing() {
    let forbidden = regex::Regex::new(
        r"std::(fs|process|env)\b|(Tcp|Udp)(Stream|Listener|Socket)|ToSocketAddrs|\b(nix|rustix|libc)::(\w+::)*[a-z]\w*\(",
    )
    .unwrap();
    let mut wrong = Vec::new();
    for (path, source) in sources() {
        if PURE.iter().any(|part| path.starts_with(part)) {
            for found in forbidden.find_iter(&code(&source)) {
                wrong.push(format!("{}: {}", path.display(), found.as_str()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "these parts get values and return values, without input and output:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_engine_has_no_terminal() {
    let forbidden = regex::Regex::new(
        r"std::env::(var|args|set_var)|\be?print(ln)?!|std::process::exit|\bclap::|\bindicatif::",
    );
    let forbidden = forbidden.unwrap();
    let mut wrong = Vec::new();
    for (path, source) in sources() {
        // Crash points are for the tests only, and know nothing but the environment.
        if path.starts_with("src/engine") && !path.ends_with("host/failpoint.rs") {
            for found in forbidden.find_iter(&code(&source)) {
                wrong.push(format!("{}: {}", path.display(), found.as_str()));
            }
        }
    }
    assert!(wrong.is_empty(), "the engine is used by more than a command line:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_is_for() {
    let mut wrong = Vec::new();
    for (path, source) in sources() {
        if !source.starts_with("//!") {
            wrong.push(format!("{}: does not begin with //!", path.display()));
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        if ["util", "utils", "common", "core", "helpers", "misc"].contains(&name) {
            wrong.push(format!("{}: named for nothing in particular", path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn arrows_are_read_from_every_form_of_use() {
    let of: Vec<String> = ["engine", "store", "layers"].map(Into::into).into();
    let text =
        "use crate::engine::{Error, host::{lock, mount}, spec};\nuse super::super::state;\nsuper::diff::x()";
    let found: BTreeSet<String> = named(text, &of).iter().filter_map(|path| part(path)).collect();
    assert_eq!(found, ["error", "host", "spec", "state", "store"].map(String::from).into());
}
