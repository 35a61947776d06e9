//! Completions and man pages are made from the command line's definitions, and committed. `UPDATE=1`
//! (or `make docs`) writes them anew.

use clap::Command;
use coracle::cmd::{command, completion};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn update() -> bool {
    ["UPDATE", "UPDATE_DOCS"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0"))
}

/// Compares the files of a directory with what they should be, or writes them.
fn keep(directory: &str, expected: &BTreeMap<String, String>) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    if update() {
        fs::create_dir_all(&directory).unwrap();
        for stale in names(&directory).iter().filter(|name| !expected.contains_key(*name)) {
            fs::remove_file(directory.join(stale)).unwrap();
        }
        expected.iter().for_each(|(name, text)| fs::write(directory.join(name), text).unwrap());
        return;
    }
    let stale: Vec<_> = expected
        .iter()
        .filter(|(name, text)| fs::read_to_string(directory.join(name)).ok().as_ref() != Some(text))
        .map(|(name, _)| name.clone())
        .chain(names(&directory).into_iter().filter(|name| !expected.contains_key(name)))
        .collect();
    assert!(stale.is_empty(), "not what the command line says now: {stale:?}; run `make docs` and commit");
}

fn names(directory: &PathBuf) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect()
}

#[test]
fn completions_are_up_to_date() {
    let scripts = completion::SHELLS
        .map(|(shell, file)| (file.to_owned(), completion::script(shell, "coracle").unwrap()));
    keep("completions", &scripts.into());
}

#[test]
fn man_pages_are_up_to_date() {
    let mut pages = BTreeMap::new();
    let mut root = command().disable_help_flag(true).disable_version_flag(true);
    root.build();
    page(&root, "coracle", &mut pages);
    assert!(pages.contains_key("coracle-image-ls.1"), "{:?}", pages.keys());
    keep("docs/man", &pages);
}

/// A page for the command, and those of its subcommands.
fn page(command: &Command, name: &str, pages: &mut BTreeMap<String, String>) {
    let titled = command.clone().name(name.to_owned()).bin_name(name.replace('-', " "));
    let mut bytes = Vec::new();
    let man =
        clap_mangen::Man::new(titled).title(name.to_uppercase()).section("1").date("").manual("Coracle");
    man.render(&mut bytes).unwrap();
    pages.insert(format!("{name}.1"), String::from_utf8(bytes).unwrap());
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        page(sub, &format!("{name}-{}", sub.get_name()), pages);
    }
}
