//! attach, exec, logs; terminals and pipes; exit codes.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Sandbox, eventually, noise, require};

const IMAGE: &str = "lab/busybox";
const SOON: Duration = Duration::from_secs(30);

/// A sandbox of each kind that has busybox.
fn both() -> Result<Vec<Sandbox>, crate::support::Missing> {
    let sandboxes = Sandbox::both()?;
    sandboxes.iter().for_each(|sandbox| sandbox.pull(IMAGE));
    Ok(sandboxes)
}

fn user() -> Result<Sandbox, crate::support::Missing> {
    let sandbox = Sandbox::user()?;
    sandbox.pull(IMAGE);
    Ok(sandbox)
}

fn state(sandbox: &Sandbox, name: &str) -> String {
    sandbox.coracle(["inspect", "--format", "{{.State.Status}}", name]).ok().text().to_owned()
}

#[test]
fn exit_codes_of_run_and_exec() {
    for sandbox in require!(both()) {
        let run = |words: &[&str]| sandbox.coracle(["run", "--rm", IMAGE]).args(words.iter().copied());
        run(&["sh", "-c", "exit 7"]).fails(7);
        run(&["sh", "-c", "sh -c 'kill -9 $$'; exit $?"]).fails(137);
        run(&["no-such-command"]).fails(127).stderr_has("not found");
        run(&["/etc"]).fails(126).stderr_has("OCI");
        sandbox.coracle(["run", "-d", "--name", "c", IMAGE, "sleep", "1000"]).ok();
        let exec = |words: &[&str]| sandbox.coracle(["exec", "c"]).args(words.iter().copied());
        exec(&["true"]).ok().stderr_is_empty();
        exec(&["sh", "-c", "exit 7"]).fails(7).stderr_is_empty();
        exec(&["sh", "-c", "kill -9 $$"]).fails(137);
        exec(&["no-such-command"]).fails(127).stderr_has("not found");
        exec(&["/etc"]).fails(126).stderr_has("OCI permission denied");
        sandbox.coracle(["exec", "no-such-container", "true"]).fails(125).stderr_has("no such container");
        sandbox.coracle(["exec", "c"]).fails(125).stderr_has("command");
        sandbox.coracle(["kill", "c"]).ok();
        sandbox.coracle(["wait", "c"]).ok().stdout_is("137");
        exec(&["true"]).fails(125).stderr_has("running");
    }
}

#[test]
fn ten_megabytes_through_run_and_exec() {
    for sandbox in require!(both()) {
        let input = noise(1, 10_000_000);
        let through = |words: &[&str]| {
            let outcome = sandbox.coracle(words.iter().copied()).stdin(input.clone()).ok().stderr_is_empty();
            assert!(outcome.bytes == input, "{} bytes came back", outcome.bytes.len());
        };
        through(&["run", "--rm", "-i", IMAGE, "cat"]);
        sandbox.coracle(["run", "-d", "--name", "c", IMAGE, "sleep", "1000"]).ok();
        through(&["exec", "-i", "c", "cat"]);
        // Without -i there is nothing to read.
        sandbox.coracle(["run", "--rm", IMAGE, "cat"]).stdin("x").ok().stdout_is("");
        sandbox.coracle(["exec", "c", "cat"]).stdin("x").ok().stdout_is("");
    }
}

#[test]
fn streams_stay_apart_and_a_early_end_of_stdin_is_seen() {
    for sandbox in require!(both()) {
        sandbox.coracle(["run", "-d", "--name", "c", IMAGE, "sleep", "1000"]).ok();
        let script = "echo out; echo err >&2; cat; echo end";
        for words in [&["run", "--rm", "-i", IMAGE][..], &["exec", "-i", "c"]] {
            let outcome =
                sandbox.coracle(words.iter().copied()).args(["sh", "-c", script]).stdin("in\n").ok();
            assert_eq!(
                (outcome.stdout.as_str(), outcome.stderr.as_str()),
                ("out\nin\nend\n", "err\n"),
                "{outcome}"
            );
        }
        // A command that does not read its stdin.
        for words in [&["run", "--rm", "-i", IMAGE, "true"][..], &["exec", "-i", "c", "true"]] {
            sandbox.coracle(words.iter().copied()).stdin(noise(1, 1_000_000)).ok();
            sandbox.coracle(words.iter().copied()).stdin_open().ok();
        }
    }
}

#[test]
fn a_shell_on_a_terminal_from_start_to_end() {
    for sandbox in require!(both()) {
        let mut pty = sandbox.terminal(["run", "-it", "--name", "c", IMAGE, "sh"]);
        pty.expect("#");
        assert!(!pty.is_cooked());
        pty.send("stty size; echo $TERM; tty\n");
        pty.expect("24 80");
        pty.expect("xterm");
        pty.expect("/dev/pts/0");
        pty.resize(50, 132);
        eventually("the size arrives", SOON, || {
            // What is typed is echoed, perhaps in pieces, as the shell's editor draws its line anew: no answer ends so.
            pty.send("echo $(stty size)=\n");
            pty.expect("=\r\n").contains("50 132").then_some(())
        });
        // Job control: stop, list, continue, interrupt.
        pty.send("sleep 1000\n");
        pty.expect("sleep 1000");
        std::thread::sleep(Duration::from_millis(300));
        pty.send("\x1a");
        pty.expect("Stopped");
        pty.send("jobs\n");
        pty.expect("Stopped");
        pty.send("fg\n");
        pty.expect("sleep 1000");
        std::thread::sleep(Duration::from_millis(300));
        pty.send("\x03");
        pty.expect("#");
        // Detach; the container and its shell live on.
        pty.send("echo before; X=kept\n");
        pty.expect("before\r\n");
        pty.send("\x10\x11");
        pty.expect("read escape sequence");
        let (code, _) = pty.wait();
        assert_eq!(code, 0);
        assert_eq!(state(&sandbox, "c"), "running");
        // And back, twice at the same time.
        let mut one = sandbox.terminal(["attach", "c"]);
        // The prompt is drawn again, without a key.
        one.expect("#");
        let mut two = sandbox.terminal(["attach", "--detach-keys", "ctrl-x,z", "c"]);
        std::thread::sleep(Duration::from_millis(500));
        one.send("echo $X-$X\n");
        one.expect("kept-kept");
        two.expect("kept-kept");
        two.send("\x18z");
        two.expect("read escape sequence");
        assert_eq!(two.wait().0, 0);
        one.send("exit 42\n");
        let (code, _) = one.wait();
        assert_eq!(code, 42);
        sandbox.coracle(["rm", "c"]).ok();
    }
}

#[test]
fn the_terminal_is_put_back() {
    let sandbox = require!(user());
    let mut pty = sandbox.terminal(["run", "-it", "--rm", "--name", "c", IMAGE, "sh"]);
    pty.expect("#");
    assert!(!pty.is_cooked());
    pty.send("exit\n");
    eventually("the terminal is cooked", SOON, || pty.is_cooked().then_some(()));
    assert_eq!(pty.wait().0, 0);
    // By a signal, after which the container lives on.
    let mut pty = sandbox.terminal(["run", "-it", "--name", "c", IMAGE, "sh"]);
    pty.expect("#");
    pty.signal(Signal::TERM);
    eventually("the terminal is cooked", SOON, || pty.is_cooked().then_some(()));
    assert_eq!(pty.wait().0, 143);
    assert_eq!(state(&sandbox, "c"), "running");
    // After a failure.
    let pty = sandbox.terminal(["exec", "-it", "c", "no-such-command"]);
    let (code, text) = pty.wait();
    assert_eq!(code, 127, "{text}");
}

#[test]
fn exec_on_a_terminal() {
    for sandbox in require!(both()) {
        sandbox.coracle(["run", "-d", "--name", "c", IMAGE, "sleep", "1000"]).ok();
        let mut pty = sandbox.terminal(["exec", "-it", "c", "sh"]);
        pty.expect("#");
        pty.send("stty size\n");
        pty.expect("24 80");
        pty.resize(33, 111);
        eventually("the size arrives", SOON, || {
            // The shell's line editor draws its line again when the size changes, in the middle of an echo, too.
            pty.send("stty size\n");
            pty.expect("#").contains("33 111").then_some(())
        });
        pty.send("exit 9\n");
        assert_eq!(pty.wait().0, 9);
        // Detached, the session goes on.
        let mut pty = sandbox.terminal(["exec", "-it", "c", "sh"]);
        pty.expect("#");
        pty.send("sleep 4711 &\n");
        pty.expect("#");
        pty.send("\x10\x11");
        pty.expect("read escape sequence");
        assert_eq!(pty.wait().0, 0);
        std::thread::sleep(Duration::from_millis(300));
        sandbox.coracle(["exec", "c", "ps"]).ok().stdout_has("sleep 4711");
    }
}

#[test]
fn exec_has_the_environment_user_and_directory_it_asks_for() {
    for sandbox in require!(both()) {
        sandbox.coracle(["run", "-d", "--name", "c", IMAGE, "sleep", "1000"]).ok();
        let exec = |words: &[&str]| sandbox.coracle(["exec"]).args(words.iter().copied());
        exec(&["-e", "A=b c", "-e", "D", "c", "sh", "-c", "echo $A-$D"])
            .env("D", "host")
            .ok()
            .stdout_is("b c-host");
        exec(&["-w", "/tmp", "c", "pwd"]).ok().stdout_is("/tmp");
        exec(&["-u", "1234:56", "c", "id"]).ok().stdout_has("uid=1234").stdout_has("gid=56");
        exec(&["-u", "no-such-user", "c", "id"]).fails(125).stderr_has("no matching entries in passwd");
        exec(&["-u", "4294967296", "c", "id"]).fails(125);
        exec(&["-w", "relative", "c", "pwd"]).fails(125);
        let capabilities = |words: &[&str], line: &str| {
            let status = exec(words).arg("cat").arg("/proc/self/status").ok();
            let value = status.lines().iter().find_map(|l| l.strip_prefix(line).map(|v| v.trim().to_owned()));
            u64::from_str_radix(&value.unwrap(), 16).unwrap()
        };
        for words in [&["c"][..], &["-u", "1234", "c"], &["--privileged", "c"]] {
            assert_eq!(capabilities(words, "CapInh:"), 0, "{words:?}");
        }
        assert_eq!(capabilities(&["-u", "1234", "c"], "CapEff:"), 0);
        assert!(capabilities(&["--privileged", "c"], "CapEff:") > capabilities(&["c"], "CapEff:"));
        exec(&["c", "sh", "-c", "ls /proc/self/fd | wc -l"]).ok().stdout_is("4");
    }
}

#[test]
fn exec_passes_descriptors() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull(IMAGE);
    sandbox.coracle(["run", "-d", "--name", "c", IMAGE, "sleep", "1000"]).ok();
    let file = sandbox.write("work/file", "through three\n");
    let script = format!("exec 3<{} 4</dev/null; exec \"$@\"", file.display());
    let wrapped =
        |words: &[&str]| sandbox.coracle(words.iter().copied()).wrapped(["/bin/sh", "-c", &script, "sh"]);
    wrapped(&["exec", "--preserve-fds", "1", "c", "sh", "-c", "cat <&3"]).ok().stdout_is("through three");
    wrapped(&["exec", "--preserve-fd", "3", "c", "sh", "-c", "cat <&3"]).ok().stdout_is("through three");
    wrapped(&["exec", "c", "sh", "-c", "cat <&3"]).fails(1).stderr_has("bad file descriptor");
    sandbox.coracle(["exec", "--preserve-fds", "9", "c", "true"]).fails(125).stderr_has("not open");
}

#[test]
fn exec_in_the_background_and_what_a_killed_client_leaves() {
    for sandbox in require!(both()) {
        sandbox.coracle(["run", "-d", "--name", "c", IMAGE, "sleep", "1000"]).ok();
        sandbox
            .coracle(["exec", "-d", "c", "sh", "-c", "echo done >/tmp/file; sleep 4711"])
            .ok()
            .stdout_is("");
        eventually("the session runs", SOON, || {
            (sandbox.coracle(["exec", "c", "cat", "/tmp/file"]).run().stdout == "done\n").then_some(())
        });
        sandbox.coracle(["exec", "-d", "c", "no-such-command"]).fails(127);
        let running = sandbox.coracle(["exec", "c", "sleep", "1001"]).spawn();
        eventually("the session runs", SOON, || {
            let ps = sandbox.coracle(["exec", "c", "ps"]).ok();
            ps.stdout.contains("sleep 1001").then_some(())
        });
        running.signal(Signal::KILL);
        drop(running);
        sandbox
            .coracle(["exec", "c", "sh", "-c", "kill -9 $(ps | awk '/sleep 1001/ && !/awk/ {print $1}')"])
            .run();
        sandbox.coracle(["exec", "c", "true"]).ok();
        sandbox.coracle(["rm", "-f", "-t", "0", "c"]).ok();
    }
}

#[test]
fn a_command_outlives_the_killed_client_of_its_exec() {
    for sandbox in require!(both()) {
        sandbox.coracle(["run", "-d", "--name", "c", IMAGE, "sleep", "1000"]).ok();
        let script = "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; sleep 0.1; done; echo over >/tmp/over";
        let mut running = sandbox.coracle(["exec", "c", "sh", "-c", script]).spawn();
        running.until("out 2", SOON);
        running.signal(Signal::KILL);
        drop(running.wait());
        eventually("the command gets to its end", SOON, || {
            (sandbox.coracle(["exec", "c", "cat", "/tmp/over"]).run().stdout == "over\n").then_some(())
        });
        sandbox.coracle(["rm", "-f", "-t", "0", "c"]).ok();
    }
}

#[test]
fn sessions_that_begin_together_leave_each_other_alone() {
    for sandbox in require!(both()) {
        sandbox.coracle(["run", "-d", "--name", "c", IMAGE, "sleep", "1000"]).ok();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10).for_each(|_| drop(sandbox.coracle(["exec", "c", "true"]).ok())));
            }
        });
        sandbox.coracle(["rm", "-f", "-t", "0", "c"]).ok();
    }
}

#[test]
fn signals_go_to_the_container() {
    for sandbox in require!(both()) {
        let script = "trap 'echo got usr1' USR1; trap 'echo got int; exit 5' INT; echo ready; while :; do sleep 0.1; done";
        let mut running = sandbox.coracle(["run", "--rm", IMAGE, "sh", "-c", script]).spawn();
        running.until("ready", SOON);
        running.signal(Signal::USR1);
        running.until("got usr1", SOON);
        running.signal(Signal::INT);
        running.wait().code(5).stdout_has("got int");
        // Not when the user says so: the client goes, the container stays.
        let mut running =
            sandbox.coracle(["run", "--sig-proxy=false", "--name", "c", IMAGE, "sh", "-c", script]).spawn();
        running.until("ready", SOON);
        running.signal(Signal::TERM);
        running.wait().code(143);
        assert_eq!(state(&sandbox, "c"), "running");
        // An attached client passes them on, too.
        let running = sandbox.coracle(["attach", "c"]).spawn();
        std::thread::sleep(Duration::from_millis(500));
        running.signal(Signal::INT);
        running.wait().code(5).stdout_has("got int");
        sandbox.coracle(["rm", "c"]).ok();
    }
}

/// As of docker's, whose daemon starts containers: nohup or a script's `&` is the caller's affair.
#[test]
fn signals_that_the_caller_ignores_are_not_ignored_inside() {
    for sandbox in require!(both()) {
        let ignoring = ["sh", "-c", "trap '' HUP INT QUIT TERM USR1; exec \"$@\"", "--"];
        // Not by a shell, which ignores the quit itself.
        let look = ["grep", "SigIgn", "/proc/self/status"];
        let run = sandbox.coracle(["run", "--name", "c", "-d", IMAGE, "sleep", "100"]);
        run.wrapped(ignoring).ok();
        let pid = sandbox.coracle(["inspect", "--format", "{{.State.Pid}}", "c"]).ok();
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.text())).unwrap();
        let exec = sandbox.coracle(["exec", "c"]).args(look).wrapped(ignoring).ok();
        for text in [&status, &exec.stdout] {
            let ignored = text.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
            let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
            // The C library keeps 32 to itself.
            assert_eq!(ignored & 0x7fff_ffff, 0, "{text}");
        }
        sandbox.coracle(["rm", "-ft0", "c"]).ok();
    }
}

#[test]
fn only_the_streams_that_are_asked_for() {
    let sandbox = require!(user());
    let script = "echo out; echo err >&2";
    let run = |flags: &[&str]| {
        let command = sandbox.coracle(["run", "--rm"]).args(flags.iter().copied());
        command.args([IMAGE, "sh", "-c", script]).ok()
    };
    let outcome = run(&["-a", "stderr"]);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", "err\n"), "{outcome}");
    let outcome = run(&["-a", "stdout"]);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n", ""), "{outcome}");
}

#[test]
fn an_open_stdin_outlives_its_clients() {
    let sandbox = require!(user());
    sandbox.coracle(["run", "-di", "--name", "c", IMAGE, "cat"]).ok();
    for text in ["one\n", "two\n"] {
        let mut running = sandbox.coracle(["attach", "c"]).stdin_open().spawn();
        running.write(text.as_bytes());
        running.until(text, SOON);
        running.signal(Signal::KILL);
    }
    assert_eq!(state(&sandbox, "c"), "running");
}

#[test]
fn logs_show_what_was_said() {
    for sandbox in require!(both()) {
        // The two pipes are read in any order.
        let script = "for i in 1 2 3 4 5; do echo out $i; done; sleep 0.5; echo err >&2; sleep 0.5; printf 'no newline'";
        sandbox.coracle(["run", "--name", "c", IMAGE, "sh", "-c", script]).ok();
        let logs = |flags: &[&str]| sandbox.coracle(["logs"]).args(flags.iter().copied()).arg("c").ok();
        let all = logs(&[]);
        assert_eq!(all.stdout, "out 1\nout 2\nout 3\nout 4\nout 5\nno newline", "{all}");
        assert_eq!(all.stderr, "err\n");
        assert_eq!(logs(&["--tail", "3"]).stdout, "out 5\nno newline", "and err between them");
        assert_eq!(logs(&["-n", "1"]).stdout, "no newline");
        assert_eq!(logs(&["--tail=0"]).stdout, "");
        assert_eq!(logs(&["--tail", "all"]).stdout, all.stdout);
        assert_eq!(logs(&["-f"]).stdout, all.stdout);
        assert_eq!(logs(&["--since", "1h"]).stdout, all.stdout);
        assert_eq!(logs(&["--until", "1h"]).stdout, "");
        assert_eq!(logs(&["--since", "2100-01-01T00:00:00Z"]).stdout, "");
        assert!(logs(&["--names"]).stdout.starts_with("c out 1\nc out 2"));
        let stamped = logs(&["-t", "--tail", "3"]).stdout;
        let (time, text) = stamped.lines().next().unwrap().split_once(' ').unwrap();
        assert_eq!((time.len(), text), ("2026-11-23T01:22:46.811068000Z".len(), "out 5"), "{stamped}");
        assert!(time.ends_with('Z'));
        // From that moment on, that line is among them (and others that conmon read with it).
        assert!(logs(&["--since", time]).stdout.ends_with("out 5\nno newline"));
        assert!(logs(&["--until", time]).stdout.ends_with("out 5\n"));
        sandbox.coracle(["logs", "no-such"]).fails(1).stderr_has("no such container");
        sandbox.coracle(["logs", "--since", "yesterday", "c"]).fails(1).stderr_has("--since");
    }
}

#[test]
fn followed_logs_lose_nothing_and_end_with_the_container() {
    for sandbox in require!(both()) {
        let script = "sleep 0.5; i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done";
        sandbox.coracle(["run", "-d", "--name", "c", IMAGE, "sh", "-c", script]).ok();
        let started = Instant::now();
        let outcome = sandbox.coracle(["logs", "-f", "c"]).ok();
        let lines: Vec<String> = outcome.lines().iter().map(|l| (*l).to_owned()).collect();
        assert_eq!(lines.len(), 5000, "{:?}", lines.last());
        assert_eq!(lines[4999], "line 4999");
        assert!(started.elapsed() < SOON);
        // Until a time in the future.
        sandbox
            .coracle(["run", "-d", "--name", "d", IMAGE, "sh", "-c", "while :; do echo x; sleep 0.1; done"])
            .ok();
        sandbox.coracle(["logs", "-f", "--until=-1s", "d"]).ok().stdout_has("x");
        assert_eq!(state(&sandbox, "d"), "running");
    }
}

#[test]
fn logs_of_several_containers_are_one_story() {
    let sandbox = require!(user());
    for name in ["a", "b"] {
        let script = format!("for i in 1 2; do echo {name}$i; sleep 0.3; done");
        sandbox.coracle(["run", "-d", "--name", name, IMAGE, "sh", "-c", &script]).ok();
    }
    let outcome = sandbox.coracle(["logs", "-f", "--names", "a", "b"]).ok();
    let mut lines = outcome.lines().iter().map(|l| (*l).to_owned()).collect::<Vec<_>>();
    lines.sort();
    assert_eq!(lines, ["a a1", "a a2", "b b1", "b b2"]);
}

#[test]
fn log_drivers() {
    for sandbox in require!(both()) {
        sandbox
            .coracle(["run", "--log-driver", "none", "--name", "n", IMAGE, "echo", "x"])
            .ok()
            .stdout_is("x");
        sandbox.coracle(["logs", "n"]).fails(1).stderr_has("does not support reading");
        let passed = sandbox
            .coracle(["run", "--rm", "-i", "--log-driver", "passthrough", IMAGE, "cat"])
            .stdin("through");
        passed.ok().stdout_is("through");
        // json-file is docker's name for what we keep in files.
        sandbox.coracle(["run", "--log-driver", "json-file", "--name", "j", IMAGE, "echo", "x"]).ok();
        sandbox.coracle(["logs", "j"]).ok().stdout_is("x");
        // A small file is emptied again and again, and holds the end.
        let script = "i=0; while [ $i -lt 3000 ]; do echo some line $i; i=$((i+1)); done";
        let limit = ["--log-opt", "max-size=4k"];
        sandbox.coracle(["run", "--name", "s"]).args(limit).args([IMAGE, "sh", "-c", script]).ok();
        let logs = sandbox.coracle(["logs", "s"]).ok();
        assert!(
            logs.stdout.ends_with("some line 2999\n") && logs.stdout.len() < 8192,
            "{}",
            logs.stdout.len()
        );
    }
}

#[test]
fn several_clients_see_the_same_and_none_disturbs() {
    let sandbox = require!(user());
    let script = "while [ ! -e /tmp/go ]; do sleep 0.1; done; for i in 1 2 3; do echo $i; done; exit 3";
    sandbox.coracle(["run", "-d", "--name", "c", IMAGE, "sh", "-c", script]).ok();
    let clients: Vec<_> = (0..4).map(|_| sandbox.coracle(["attach", "--no-stdin", "c"]).spawn()).collect();
    std::thread::sleep(Duration::from_secs(1));
    sandbox.coracle(["exec", "c", "touch", "/tmp/go"]).ok();
    for client in clients {
        client.wait().code(3).stdout_is("1\n2\n3");
    }
}
