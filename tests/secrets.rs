//! Secrets: kept, given to containers, and shown to nobody.

use std::fs;
use std::path::Path;

use crate::support::{Sandbox, program, require};

const IMAGE: &str = "lab/busybox";

/// All files below a directory whose content has `needle`.
fn files_with(directory: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut queue = vec![directory.to_path_buf()];
    while let Some(directory) = queue.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                queue.push(entry.path());
            } else if kind.is_file()
                && fs::read(entry.path()).is_ok_and(|text| String::from_utf8_lossy(&text).contains(needle))
            {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

fn create(sandbox: &Sandbox, name: &str, data: &str, flags: &[&str]) -> String {
    let command = sandbox.coracle(["secret", "create"]).args(flags.iter().copied()).args([name, "-"]);
    command.stdin(data).ok().text().to_owned()
}

#[test]
fn a_container_is_given_a_file_or_a_variable_and_keeps_it() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull(IMAGE);
        create(&sandbox, "db", "hunter2", &[]);
        let run = ["run", "-d", "--network=none", "--name", "c", "--secret", "db,uid=7,gid=8,mode=0440"];
        let run = sandbox.coracle(run).args([
            "--secret",
            "db,type=env,target=PASSWORD",
            "--secret",
            "db,target=/etc/own",
        ]);
        run.args([IMAGE, "sleep", "1000"]).ok();
        let say = "stat -c '%u %g %a' /run/secrets/db; cat /run/secrets/db /etc/own; echo; echo $PASSWORD; touch /run/secrets/db || true";
        let said = sandbox.coracle(["exec", "c", "sh", "-c", say]).ok();
        assert_eq!(said.lines(), ["7 8 440", "hunter2hunter2", "hunter2"]);
        said.stderr_has("Read-only file system");
        // It keeps what it was given.
        let id = create(&sandbox, "db", "changed", &["--replace"]);
        sandbox.coracle(["restart", "-t", "0", "c"]).ok();
        sandbox.coracle(["exec", "c", "cat", "/run/secrets/db"]).ok().stdout_is("hunter2");
        sandbox.coracle(["secret", "rm", "db"]).ok().stdout_is(&id);
        sandbox.coracle(["restart", "-t", "0", "c"]).ok();
        sandbox.coracle(["exec", "c", "sh", "-c", "echo $PASSWORD"]).ok().stdout_is("hunter2");
        // Nobody is shown it, an image made of the container does not have it.
        let shown = sandbox.coracle(["inspect", "c"]).ok();
        assert!(!shown.text().contains("hunter2"), "{shown}");
        assert_eq!(shown.json()[0]["Config"]["Secrets"][0]["Name"], "db");
        sandbox.coracle(["commit", "-q", "c", "made"]).ok();
        let run = sandbox.coracle([
            "run",
            "--rm",
            "--network=none",
            "made",
            "sh",
            "-c",
            "echo =$PASSWORD; ls /run/secrets",
        ]);
        run.run().stdout_lacks("hunter2");
        sandbox.coracle(["rmi", "made"]).ok();
        sandbox.coracle(["rm", "-f", "-t", "0", "c"]).ok();
        for directory in [sandbox.graph_root(), sandbox.run_root()] {
            assert_eq!(files_with(&directory.join("coracle"), "hunter2"), [""; 0]);
        }
    }
}

#[test]
fn commands_say_all_but_the_secret() {
    for sandbox in require!(Sandbox::both()) {
        let id = create(&sandbox, "one", "first", &["--label", "a=b"]);
        assert_eq!(id.len(), 25);
        sandbox.coracle(["secret", "create", "-e", "two", "WORD"]).env("WORD", "second").ok();
        let file = sandbox.write("work/three", "third");
        sandbox.coracle(["secret", "create", "three"]).arg(&file).ok();
        let names = ["secret", "ls", "--format", "{{.Name}} {{.Driver}}"];
        assert_eq!(sandbox.coracle(names).ok().lines(), ["one file", "three file", "two file"]);
        sandbox.coracle(["secret", "ls", "-q", "--filter", "name=one"]).ok().stdout_is(&id);
        let seen = sandbox.coracle(["secret", "inspect", &id[..8]]).ok();
        assert!(!seen.text().contains("first"), "{seen}");
        let seen = seen.json();
        assert_eq!((&seen[0]["Spec"]["Name"], &seen[0]["Spec"]["Labels"]["a"]), (&"one".into(), &"b".into()));
        let shown = ["secret", "inspect", "--showsecret", "--format", "{{.SecretData}}", "two"];
        sandbox.coracle(shown).ok().stdout_is("second");
        sandbox.coracle(["secret", "inspect", "--pretty", "one"]).ok().stdout_has("Name:              one");
        sandbox.coracle(["secret", "exists", "one"]).ok();
        sandbox.coracle(["secret", "exists", "four"]).fails(1);
        sandbox
            .coracle(["secret", "create", "one", "-"])
            .stdin("x")
            .fails(1)
            .stderr_has("secret name in use");
        sandbox
            .coracle(["secret", "create", "a/b", "-"])
            .stdin("x")
            .fails(1)
            .stderr_has("invalid secret name");
        sandbox.coracle(["secret", "create", "none", "-"]).stdin("").fails(1).stderr_has("larger than 0");
        sandbox
            .coracle(["secret", "create", "-d", "vault", "x", "-"])
            .stdin("x")
            .fails(1)
            .stderr_has("no such secret driver");
        sandbox.coracle(["secret", "rm", "four"]).fails(1).stderr_has("no such secret");
        sandbox.coracle(["secret", "rm", "--ignore", "four"]).ok();
        assert_eq!(sandbox.coracle(["secret", "rm", "-a"]).ok().lines().len(), 3);
        sandbox.coracle(["secret", "ls", "-q"]).ok().stdout_is("");
        sandbox.pull(IMAGE);
        let run = sandbox.coracle(["run", "--rm", "--network=none", "--secret", "gone", IMAGE, "true"]);
        run.fails(125).stderr_has("no such secret");
    }
}

#[test]
fn other_programs_keep_secrets_too() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull(IMAGE);
    let keep = sandbox.mkdir("work/kept").display().to_string();
    let options = format!(
        "store=cat >{keep}/$SECRET_ID,lookup=cat {keep}/$SECRET_ID,delete=rm {keep}/$SECRET_ID,list=ls {keep}"
    );
    let id = create(&sandbox, "shelled", "by a shell", &["-d", "shell", "--driver-opts", &options]);
    assert_eq!(fs::read_to_string(format!("{keep}/{id}")).unwrap(), "by a shell");
    let run = ["run", "--rm", "--network=none", "--secret", "shelled", IMAGE, "cat", "/run/secrets/shelled"];
    sandbox.coracle(run).ok().stdout_is("by a shell");
    sandbox.coracle(["secret", "rm", "shelled"]).ok();
    assert_eq!(fs::read_dir(&keep).unwrap().count(), 0);

    for name in ["pass", "gpg"] {
        require!(program(name));
    }
    let home = sandbox.mkdir("work/gpg").display().to_string();
    let store = sandbox.mkdir("work/store").display().to_string();
    let key = "%no-protection\nKey-Type: rsa\nKey-Length: 2048\nName-Email: lab@example.com\n%commit\n";
    let gpg = |arguments: &[&str]| {
        sandbox.direct(["gpg", "--homedir", &home, "--batch", "-q"]).args(arguments.iter().copied())
    };
    gpg(&["--gen-key"]).stdin(key).ok();
    let init = sandbox.direct(["pass", "init", "lab@example.com"]).env("PASSWORD_STORE_DIR", &store);
    init.env("GNUPGHOME", &home).ok();
    let options = format!("root=containers,store={store},gpghomedir={home}");
    let id = create(&sandbox, "passed", "by pass", &["-d", "pass", "--driver-opts", &options]);
    assert!(Path::new(&store).join("containers").join(format!("{id}.gpg")).exists());
    let run = ["run", "--rm", "--network=none", "--secret", "passed", IMAGE, "cat", "/run/secrets/passed"];
    sandbox.coracle(run).ok().stdout_is("by pass");
    sandbox.coracle(["secret", "rm", "passed"]).ok();
    assert!(!Path::new(&store).join("containers").join(format!("{id}.gpg")).exists());
    let _ = sandbox.direct(["gpgconf", "--homedir", &home, "--kill", "all"]).run();
}
