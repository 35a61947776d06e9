//! Running a program with a deadline and looking at what it did.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A command that is being put together. The environment is exactly what is given.
pub struct Cmd {
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    directory: PathBuf,
    stdin: Stdin,
    timeout: Duration,
}

enum Stdin {
    Null,
    Bytes(Vec<u8>),
    Open,
}

impl Cmd {
    pub fn new<S: Into<OsString>>(argv: impl IntoIterator<Item = S>, directory: PathBuf) -> Cmd {
        Cmd {
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            directory,
            stdin: Stdin::Null,
            timeout: Duration::from_secs(120),
        }
    }

    pub fn arg(mut self, argument: impl Into<OsString>) -> Cmd {
        self.argv.push(argument.into());
        self
    }

    pub fn args<S: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = S>) -> Cmd {
        self.argv.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Puts words in front: a program that executes the rest of its arguments.
    pub fn wrapped<S: Into<OsString>>(mut self, words: impl IntoIterator<Item = S>) -> Cmd {
        let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
        self.argv.splice(0..0, words);
        self
    }

    /// Sets a variable, replacing an earlier value.
    pub fn env(mut self, name: impl Into<OsString>, value: impl AsRef<OsStr>) -> Cmd {
        let name = name.into();
        self.env.retain(|(other, _)| *other != name);
        self.env.push((name, value.as_ref().to_owned()));
        self
    }

    pub fn env_remove(mut self, name: &str) -> Cmd {
        self.env.retain(|(other, _)| other != name);
        self
    }

    pub fn cwd(mut self, directory: impl Into<PathBuf>) -> Cmd {
        self.directory = directory.into();
        self
    }

    /// Feeds these bytes to stdin and closes it. Without this stdin is `/dev/null`.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Cmd {
        self.stdin = Stdin::Bytes(bytes.into());
        self
    }

    /// Leaves stdin open, for [`Running::write`].
    pub fn stdin_open(mut self) -> Cmd {
        self.stdin = Stdin::Open;
        self
    }

    /// Two minutes when not set.
    pub fn timeout(mut self, timeout: Duration) -> Cmd {
        self.timeout = timeout;
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Outcome {
        self.spawn().wait()
    }

    /// Runs it and expects exit code 0.
    #[track_caller]
    pub fn ok(self) -> Outcome {
        self.run().code(0)
    }

    /// Runs it and expects this exit code (128 + n for signal n).
    #[track_caller]
    pub fn fails(self, code: i32) -> Outcome {
        assert_ne!(code, 0);
        self.run().code(code)
    }

    /// The bare `std` command, for what this type does not offer.
    pub fn into_std(self) -> Command {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).env_clear().envs(self.env).current_dir(self.directory);
        command
    }

    #[track_caller]
    pub fn spawn(self) -> Running {
        let line = self.argv.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let timeout = self.timeout;
        let (feed, pipe) = match &self.stdin {
            Stdin::Null => (None, Stdio::null()),
            Stdin::Bytes(bytes) => (Some(bytes.clone()), Stdio::piped()),
            Stdin::Open => (None, Stdio::piped()),
        };
        let started = Instant::now();
        let mut command = self.into_std();
        let mut child = command
            .stdin(pipe)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
        if let Some(bytes) = feed {
            let mut stdin = child.stdin.take().unwrap();
            // The child may end without reading, which is no fault of the test.
            thread::spawn(move || drop(stdin.write_all(&bytes)));
        }
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Running { line, child, stdout, stderr, timeout, started }
    }
}

/// Reads to the end on a thread; the receiver gets each piece as it comes and is closed at the end.
fn collect(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A command that runs.
pub struct Running {
    line: String,
    child: Child,
    stdout: mpsc::Receiver<Vec<u8>>,
    stderr: mpsc::Receiver<Vec<u8>>,
    timeout: Duration,
    started: Instant,
}

impl Running {
    /// The process id, also behind setpriv, which executes the program in its place.
    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().expect("stdin_open() was not called");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).unwrap();
    }

    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Reads stdout until it contains `text`, and returns what was read; what is read is not part of the outcome.
    #[track_caller]
    pub fn until(&mut self, text: &str, limit: Duration) -> String {
        let end = Instant::now() + limit;
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(text) {
            match self.stdout.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => seen.extend(bytes),
                Err(error) => {
                    let seen = String::from_utf8_lossy(&seen).into_owned();
                    panic!("{}: no {text:?} on stdout ({error}); it had {seen:?}", self.line);
                }
            }
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Waits for the end. Panics, with what was printed so far, when the time is up or when something else keeps
    /// the output open for more than five seconds after the end.
    #[track_caller]
    pub fn wait(mut self) -> Outcome {
        drop(self.child.stdin.take());
        let end = self.started + self.timeout;
        let mut pause = Duration::from_micros(200);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break Some(status);
            }
            if Instant::now() >= end {
                break None;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        };
        let took = self.started.elapsed();
        if status.is_none() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
        let patience = Instant::now() + Duration::from_secs(5);
        let (stdout, closed) = drain(&self.stdout, patience);
        let (stderr, closed_too) = drain(&self.stderr, patience);
        let outcome = Outcome {
            line: self.line.clone(),
            code: status
                .map_or(-1, |status| status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            bytes: stdout,
            took,
        };
        assert!(status.is_some(), "still running after {:?}, killed: {outcome}", self.timeout);
        assert!(closed && closed_too, "ended, but something keeps its stdout or stderr open: {outcome}");
        outcome
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// All that comes until the sender is gone (true) or the time is up (false).
fn drain(receiver: &mpsc::Receiver<Vec<u8>>, end: Instant) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    loop {
        match receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(bytes) => all.extend(bytes),
            Err(mpsc::RecvTimeoutError::Disconnected) => return (all, true),
            Err(mpsc::RecvTimeoutError::Timeout) => return (all, false),
        }
    }
}

/// How a command ended.
pub struct Outcome {
    line: String,
    code: i32,
    /// stdout, with what is not UTF-8 replaced.
    pub stdout: String,
    pub stderr: String,
    /// stdout as it came.
    pub bytes: Vec<u8>,
    pub took: Duration,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Outcome { line, code, stdout, stderr, took, .. } = self;
        write!(f, "\n$ {line}\nexit code {code} after {took:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

impl Outcome {
    pub fn exit_code(&self) -> i32 {
        self.code
    }

    #[track_caller]
    pub fn code(self, code: i32) -> Outcome {
        assert_eq!(self.code, code, "exit code {} instead of {code}: {self}", self.code);
        self
    }

    /// stdout, but for white space around it, is this.
    #[track_caller]
    pub fn stdout_is(self, text: &str) -> Outcome {
        assert_eq!(self.stdout.trim(), text, "{self}");
        self
    }

    #[track_caller]
    pub fn stdout_has(self, text: &str) -> Outcome {
        assert!(self.stdout.contains(text), "no {text:?} in stdout: {self}");
        self
    }

    #[track_caller]
    pub fn stdout_lacks(self, text: &str) -> Outcome {
        assert!(!self.stdout.contains(text), "{text:?} is in stdout: {self}");
        self
    }

    /// Errors are compared without regard to case, as scripts do that match docker's and podman's words.
    #[track_caller]
    pub fn stderr_has(self, text: &str) -> Outcome {
        let found = self.stderr.to_lowercase().contains(&text.to_lowercase());
        assert!(found, "no {text:?} in stderr: {self}");
        self
    }

    #[track_caller]
    pub fn stderr_lacks(self, text: &str) -> Outcome {
        assert!(!self.stderr.contains(text), "{text:?} is in stderr: {self}");
        self
    }

    #[track_caller]
    pub fn stderr_is_empty(self) -> Outcome {
        assert!(self.stderr.is_empty(), "{self}");
        self
    }

    /// stdout without the white space around it.
    pub fn text(&self) -> &str {
        self.stdout.trim()
    }

    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }
}
