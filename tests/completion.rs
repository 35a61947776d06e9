//! Completion as it is typed: each shell, interactive, with the script that `make install` puts where it looks.

use crate::support::{Pty, Sandbox, program, require};

/// Lines as they are typed up to the tab, and what stands there afterwards.
const LINES: [(&str, &str); 9] = [
    ("coracle stop u", "coracle stop up"),
    ("coracle imag", "coracle image"),
    ("coracle network ins", "coracle network inspect"),
    ("coracle ps --filt", "coracle ps --filter"),
    ("coracle rmi docker.io/lab/bu", "coracle rmi docker.io/lab/busybox:latest"),
    ("coracle rmi docker.io/lab/busybox:la", "coracle rmi docker.io/lab/busybox:latest"),
    ("coracle run --rm --network br", "coracle run --rm --network bridge"),
    ("coracle run --rm --network=br", "coracle run --rm --network=bridge"),
    ("coracle exec -it u", "coracle exec -it up"),
];

/// The shell, told to have the script; its command line is edited as in emacs.
fn shell(sandbox: &Sandbox, argv: &[&str], setup: &str) -> Pty {
    let bin = sandbox.binary().parent().unwrap().display().to_string();
    let completions = concat!(env!("CARGO_MANIFEST_DIR"), "/completions");
    let path = format!("{bin}:{}", crate::support::PATH);
    let mut terminal = Pty::spawn(sandbox.command(argv.iter().copied()).env("PATH", path));
    terminal.send(&setup.replace("@", completions));
    // Not as it is typed, but as it is printed.
    terminal.send("echo re''ady\r");
    terminal.expect("ready");
    terminal
}

#[test]
fn shells_complete_what_is_typed() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull("lab/busybox");
    sandbox.coracle(["run", "-d", "--network=none", "--name=up", "lab/busybox", "sleep", "1000"]).ok();
    for (argv, setup) in [
        (&["bash", "--norc", "--noprofile", "-i"][..], ". @/coracle.bash\r"),
        (&["zsh", "-f", "-i"], "fpath=(@ $fpath); autoload -Uz compinit; compinit -D -u\r"),
        (&["fish", "--no-config", "-i"], "source @/coracle.fish\r"),
    ] {
        require!(program(argv[0]));
        for (typed, wanted) in LINES {
            let mut terminal = shell(&sandbox, argv, setup);
            terminal.send(&format!("{typed}\t\x01echo 'it 'is: \r"));
            let before = terminal.expect("it is: ");
            let line = terminal.expect("\n");
            assert!(
                line.trim_end().starts_with(wanted),
                "{}: {typed:?} became {line:?} behind {before:?}",
                argv[0]
            );
            let rest = line.trim_end()[wanted.len()..].to_owned();
            assert!(rest.is_empty() || wanted.ends_with("image"), "{}: {typed:?} became {line:?}", argv[0]);
        }
    }
}
