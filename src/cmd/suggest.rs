//! "Did you mean …": the command that a mistyped one was most likely meant to be.
//!
//! clap compares by similarity, which finds nothing for short words; here two letters that changed places, one too many,
//! one too few or a wrong one count as one mistake. Called by [`super::failure`].

use clap::Command;

/// The name that is fewest mistakes away from `word`, if that is one in three letters at most; the first among equals.
pub fn closest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    let ranked = names.into_iter().map(|name| (mistakes(word, name), name));
    ranked.filter(|(count, _)| *count <= allowed).min_by_key(|(count, _)| *count).map(|(_, name)| name)
}

/// Why there is no such command, and what helps: for those of docker and podman that Coracle does not have.
pub fn not_here(word: &str) -> Option<(&'static str, &'static str)> {
    Some(match word {
        "build" | "builder" | "buildx" => {
            ("images cannot be built yet", "buildah build -t NAME . builds into the same store")
        }
        "compose" => {
            ("compose files are not supported yet", "start the containers with run, on a network of theirs")
        }
        "pod" | "kube" | "play" | "generate" | "quadlet" => (
            "pods are not supported yet",
            "containers share namespaces with --network container:NAME, --ipc and --pid",
        ),
        "swarm" | "service" | "stack" | "node" | "config" => {
            ("there is no swarm: Coracle works on this host only", "see --help for what there is")
        }
        "plugin" => ("plugins of Docker's daemon need that daemon", "see --help for what there is"),
        "machine" | "farm" | "connection" => (
            "Coracle works on this host only, without virtual machines",
            "run it on the other one, for instance through ssh",
        ),
        _ => return None,
    })
}

/// The commands among which the first word of `arguments` that is none of them was looked for.
pub fn candidates<'a>(root: &'a Command, arguments: &[String]) -> Vec<&'a str> {
    let mut level = root;
    for word in arguments.iter().filter(|word| !word.starts_with('-')) {
        if let Some(next) = level.find_subcommand(word) {
            level = next;
        }
    }
    let visible = level.get_subcommands().filter(|command| !command.is_hide_set());
    visible
        .flat_map(|command| std::iter::once(command.get_name()).chain(command.get_visible_aliases()))
        .collect()
}

/// Insertions, deletions, substitutions and swaps of neighbours that make one word of the other (the optimal string
/// alignment distance).
fn mistakes(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut table = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = table[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
                let best = changed.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                let swapped = i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
                if swapped { best.min(table[i - 2][j - 2] + 1) } else { best }
            };
        }
    }
    table[one.len()][other.len()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_words_find_theirs() {
        let names = ["attach", "exec", "images", "logs", "ps", "rm", "rmi", "run", "start", "stop"];
        for (word, expected) in [
            ("rnu", Some("run")),
            ("runn", Some("run")),
            ("exce", Some("exec")),
            ("strat", Some("start")),
            ("image", Some("images")),
            ("sp", Some("ps")),
            ("imgaes", Some("images")),
            ("compose", None),
            ("", None),
        ] {
            assert_eq!(closest(word, names), expected, "{word}");
        }
    }

    #[test]
    fn what_is_said_not_to_be_here_is_not() {
        let root = crate::cmd::command();
        for word in ["build", "buildx", "compose", "pod", "kube", "swarm", "plugin", "machine"] {
            assert!(not_here(word).is_some(), "{word}");
            assert!(root.find_subcommand(word).is_none(), "{word} is a command now");
        }
        assert_eq!(not_here("run"), None);
    }

    #[test]
    fn only_the_commands_of_the_same_noun_are_meant() {
        let root = Command::new("coracle").subcommand(Command::new("run")).subcommand(
            Command::new("image").subcommand(Command::new("ls")).subcommand(Command::new("x").hide(true)),
        );
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(candidates(&root, &words("--debug image sl")), ["ls"]);
        assert_eq!(candidates(&root, &words("rnu")), ["run", "image"]);
    }
}
