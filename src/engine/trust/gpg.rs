//! GPG: signatures verified and made by the user's `gpg`, a child process.
//!
//! What verifies knows the keys that policy.json names and no others: they are imported into a home directory that is
//! made for it and removed afterwards. What signs uses the user's own keys; a passphrase goes through a pipe. What gpg
//! found out is read from its status file (GnuPG's `doc/DETAILS`), never from its messages.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::signature::MAX_SIGNATURE;
use crate::engine::config::Environment;
use crate::engine::host::process::{find_program, require_program};
use crate::engine::host::random;
use crate::engine::{Error, ErrorKind, Result};

/// What gpg needs to find the user's keys, agent and session; nothing else of the caller's is passed on.
const PASSED_ON: [&str; 9] = [
    "HOME",
    "PATH",
    "USER",
    "GNUPGHOME",
    "GPG_TTY",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
];

/// What keeps gpg from everything but the home directory it is given.
const APART: [&str; 7] = [
    "--no-options",
    "--no-autostart",
    "--no-auto-key-retrieve",
    "--trust-model",
    "always",
    "--max-output",
    // [`MAX_SIGNATURE`]
    "4194304",
];

/// How gpg is run.
#[derive(Clone, Debug, Default)]
pub struct Gpg {
    program_path: Vec<PathBuf>,
    environment: Vec<(String, String)>,
    temporary: PathBuf,
    /// Who calls, if not root.
    user: Option<(u32, u32)>,
}

/// Keys that are trusted, and no others.
#[derive(Debug)]
pub(super) struct Ring<'a> {
    gpg: &'a Gpg,
    home: Private,
    /// Fingerprints of the primary keys.
    keys: Vec<String>,
}

/// A directory that goes when this does.
#[derive(Debug)]
struct Private(PathBuf);

impl Drop for Private {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.0) {
            tracing::debug!("remove {}: {e}", self.0.display());
        }
    }
}

/// What a run of gpg came to.
struct Run {
    output: Vec<u8>,
    /// The status lines, without what begins them all.
    status: Vec<String>,
    /// Its last message, for people.
    message: String,
    ok: bool,
}

impl Gpg {
    /// As the caller would run it.
    pub fn new(env: &Environment) -> Self {
        let keep = |name: &&str| env.var(name).map(|value| ((*name).to_owned(), value.to_owned()));
        Self {
            program_path: env.path(),
            environment: PASSED_ON.iter().filter_map(keep).collect(),
            temporary: env.var("TMPDIR").unwrap_or("/tmp").into(),
            user: env.rootless().then_some((env.uid, env.gid)),
        }
    }

    /// The keys of some key rings, binary or in ASCII armor.
    ///
    /// `Denied` if there is none in them, `MissingProgram` without gpg.
    pub(super) fn ring(&self, rings: &[Vec<u8>]) -> Result<Ring<'_>> {
        let home = self.private()?;
        let mut keys = Vec::new();
        for ring in rings {
            let run = self.run(&home, true, &["--import"], ring)?;
            let imported = run.status.iter().filter_map(|line| line.strip_prefix("IMPORT_OK "));
            keys.extend(imported.filter_map(|rest| rest.split(' ').nth(1)).map(str::to_owned));
        }
        if keys.is_empty() {
            return Err(Error::new(ErrorKind::Denied, "no public keys imported"));
        }
        Ok(Ring { gpg: self, home, keys })
    }

    /// Who the keys of a ring belong to: e-mail addresses, or whole user IDs.
    pub(super) fn owners(&self, ring: &[u8]) -> Result<Vec<String>> {
        let home = self.private()?;
        let run =
            self.run(&home, true, &["--with-colons", "--import-options", "show-only", "--import"], ring)?;
        let text = String::from_utf8_lossy(&run.output).into_owned();
        let ids = text.lines().filter(|line| line.starts_with("uid:") || line.starts_with("pub:"));
        let ids = ids.filter_map(|line| line.split(':').nth(9)).filter(|id| !id.is_empty());
        let address = |id: &str| match id.split_once('<').and_then(|(_, rest)| rest.split_once('>')) {
            Some((address, _)) => address.to_owned(),
            None => id.to_owned(),
        };
        Ok(ids.map(address).collect())
    }

    /// Makes sure that there is a secret key of the user's by that name, before anything is done that needs it.
    ///
    /// `NotFound` if there is none, `Conflict` if there are several.
    pub fn check_secret_key(&self, key: &str) -> Result<()> {
        let home = self.private()?;
        let run = self.run(&home, false, &["--with-colons", "--list-secret-keys", "--", key], b"")?;
        let listed = String::from_utf8_lossy(&run.output);
        match listed.lines().filter(|line| line.starts_with("sec:")).count() {
            1 => Ok(()),
            0 => Err(Error::not_found(format!("gpg has no secret key {key}"))
                .with_hint("gpg --list-secret-keys shows your keys")),
            _ => Err(Error::new(ErrorKind::Conflict, format!("several secret keys of gpg match {key}"))
                .with_hint("name one by its fingerprint")),
        }
    }

    /// Signs with a key of the user's, named by fingerprint, ID or user ID. The message has the data in it.
    ///
    /// `NotFound` if there is no such secret key, `Unauthorized` if the passphrase is wrong.
    pub fn sign(&self, key: &str, passphrase: Option<&str>, data: &[u8]) -> Result<Vec<u8>> {
        let home = self.private()?;
        let file = home.0.join("claim");
        fs::write(&file, data).map_err(|e| Error::io("write", &file, e))?;
        let mut arguments = vec!["--local-user", key, "--output", "-"];
        let input = passphrase.map(|text| format!("{text}\n")).unwrap_or_default();
        if passphrase.is_some() {
            arguments.extend(["--pinentry-mode", "loopback", "--passphrase-fd", "0"]);
        }
        let path = file.to_string_lossy();
        arguments.extend(["--sign", "--", &path]);
        let run = self.run(&home, false, &arguments, input.as_bytes())?;
        let has = |word: &str| run.status.iter().any(|line| line.split(' ').next() == Some(word));
        if run.ok && has("SIG_CREATED") && !run.output.is_empty() {
            return Ok(run.output);
        }
        let (kind, hint) = match () {
            () if has("INV_SGNR") => (ErrorKind::NotFound, Some("gpg --list-secret-keys shows your keys")),
            () if has("BAD_PASSPHRASE") || run.message.to_lowercase().contains("passphrase") => {
                (ErrorKind::Unauthorized, Some("give the passphrase with --sign-passphrase-file"))
            }
            () => (ErrorKind::Io, None),
        };
        let error = Error::new(kind, format!("gpg does not sign with {key}: {}", run.message));
        Err(match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        })
    }

    fn private(&self) -> Result<Private> {
        let name = format!("coracle-gpg-{}", hex::encode(random::bytes::<8>()?));
        let path = self.temporary.join(name);
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(|e| Error::io("mkdir", &path, e))?;
        Ok(Private(path))
    }

    /// Runs gpg. `apart`: with `directory` as its home; else that only takes the status file.
    fn run(&self, directory: &Private, apart: bool, arguments: &[&str], input: &[u8]) -> Result<Run> {
        let program =
            require_program("gpg", &self.program_path, "gnupg (Debian, Ubuntu) or gnupg2 (Fedora)")?;
        let status = directory.0.join("status");
        // Lines of an earlier run are none of this one's.
        let _ = fs::remove_file(&status);
        let with = |mut command: Command| {
            command.args(["--batch", "--no-tty", "--status-file"]).arg(&status);
            command.env_clear().envs(self.environment.iter().map(|(k, v)| (k, v))).env("LC_ALL", "C");
            if apart {
                command.arg("--homedir").arg(&directory.0).env_remove("GNUPGHOME").args(APART);
            }
            command.args(arguments);
            command
        };
        if !apart && let Some(command) = self.as_the_user(&program) {
            let run = exchange(with(command), &status, input)?;
            if status.exists() {
                return Ok(run);
            }
            tracing::debug!("gpg is not run as the user: {}", run.message);
        }
        exchange(with(Command::new(&program)), &status, input)
    }

    /// In the user namespace of an ordinary user they look like root, and gpg would look for root's agent and start one
    /// of its own: so the program gets a further namespace, in which the user is who they are.
    fn as_the_user(&self, program: &Path) -> Option<Command> {
        let (uid, gid) = self.user?;
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let mut command = Command::new(find_program("unshare", &self.program_path)?);
        command
            .args(["--user", &format!("--map-user={uid}"), &format!("--map-group={gid}"), "--"])
            .arg(program);
        Some(command)
    }
}

/// Feeds a run of gpg and takes what comes of it.
fn exchange(mut command: Command, status: &Path, input: &[u8]) -> Result<Run> {
    let program = PathBuf::from(command.get_program());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| Error::io("run", &program, e))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (output, messages) = std::thread::scope(|scope| {
        // gpg may say no before it has read everything.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        let messages = scope.spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.map(|stderr| stderr.take(1 << 16).read_to_end(&mut text));
            text
        });
        let mut output = Vec::new();
        let read = stdout.map(|out| out.take(MAX_SIGNATURE as u64 + 1).read_to_end(&mut output));
        (read.transpose().map(|_| output), messages.join().unwrap_or_default())
    });
    let ended = child.wait().map_err(|e| Error::io("wait for", &program, e))?;
    let output = output.map_err(|e| Error::os("read what gpg writes", e))?;
    let text = String::from_utf8_lossy(&messages);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it failed");
    let message = last.trim().trim_start_matches("gpg: ").to_owned();
    Ok(Run { output, status: lines(status).unwrap_or_default(), message, ok: ended.success() })
}

fn lines(path: &Path) -> Option<Vec<String>> {
    let text = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&text);
    Some(text.lines().filter_map(|line| line.strip_prefix("[GNUPG:] ")).map(str::to_owned).collect())
}

impl Ring<'_> {
    /// What a message says that one of the keys has signed.
    ///
    /// `Denied` if it is not signed, not by one of them, or not as it is.
    pub(super) fn verify(&self, message: &[u8]) -> Result<Vec<u8>> {
        let run = self.gpg.run(&self.home, true, &["--output", "-", "--verify", "--", "-"], message)?;
        let denied = |why: String| Err(Error::new(ErrorKind::Denied, why));
        match verdict(&run.status) {
            Verdict::Good(key) if run.ok && self.keys.contains(&key) => Ok(run.output),
            Verdict::Good(key) => denied(format!("signature by key {key} is not accepted")),
            Verdict::Unknown(key) => denied(format!("signature by key {key} is not accepted")),
            Verdict::Bad(why) => denied(format!("invalid GPG signature: {why}")),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Signed by the primary key with this fingerprint or by a key of its.
    Good(String),
    /// Signed by a key with this ID that is not there.
    Unknown(String),
    Bad(&'static str),
}

/// One signature, good, by a key that is neither expired nor revoked, over one piece of data.
fn verdict(status: &[String]) -> Verdict {
    let count = |words: &[&str]| {
        status.iter().filter(|line| line.split(' ').next().is_some_and(|word| words.contains(&word))).count()
    };
    let field = |word: &str, at: usize| {
        let line = status.iter().find(|line| line.split(' ').next() == Some(word))?;
        line.split(' ').nth(at).map(str::to_owned)
    };
    let all = ["GOODSIG", "BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG"];
    match (count(&all), count(&["GOODSIG"]), count(&["VALIDSIG"]), count(&["PLAINTEXT"])) {
        (0, ..) => Verdict::Bad("the message is not signed"),
        (2.., ..) => Verdict::Bad("the message has more than one signature"),
        (1, 1, 1, 1) => match field("VALIDSIG", 10) {
            Some(key) => Verdict::Good(key),
            None => Verdict::Bad("gpg does not say whose it is"),
        },
        (1, 1, ..) => Verdict::Bad("it is not over the one message it comes with"),
        _ if count(&["EXPSIG"]) > 0 => Verdict::Bad("it has expired"),
        _ if count(&["EXPKEYSIG"]) > 0 => Verdict::Bad("its key has expired"),
        _ if count(&["REVKEYSIG"]) > 0 => Verdict::Bad("its key was revoked"),
        _ if count(&["NO_PUBKEY"]) > 0 => match field("ERRSIG", 1) {
            Some(key) => Verdict::Unknown(key),
            None => Verdict::Bad("its key is not known"),
        },
        _ => Verdict::Bad("it is not of what it comes with"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_one_good_signature_of_one_message_is_good() {
        let valid = "VALIDSIG SUB 2026-11-28 1 0 4 0 22 10 00 PRIMARY";
        let good = ["NEWSIG", "GOODSIG ID name", valid, "PLAINTEXT 62 0 ", "TRUST_UNDEFINED 0 pgp"];
        let with = |more: &[&str]| {
            let lines: Vec<String> = good.iter().chain(more).map(ToString::to_string).collect();
            verdict(&lines)
        };
        let only = |lines: &[&str]| verdict(&lines.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(with(&[]), Verdict::Good("PRIMARY".into()));
        assert!(matches!(with(&["BADSIG ID x"]), Verdict::Bad("the message has more than one signature")));
        assert!(matches!(with(&["PLAINTEXT 62 0 "]), Verdict::Bad(_)));
        assert_eq!(only(&["PLAINTEXT 62 0 "]), Verdict::Bad("the message is not signed"));
        assert_eq!(only(&["EXPKEYSIG ID x", valid, "PLAINTEXT 1"]), Verdict::Bad("its key has expired"));
        assert_eq!(only(&["REVKEYSIG ID x", valid, "PLAINTEXT 1"]), Verdict::Bad("its key was revoked"));
        assert_eq!(only(&["EXPSIG ID x", valid, "PLAINTEXT 1"]), Verdict::Bad("it has expired"));
        assert_eq!(only(&["ERRSIG ID 22 10 00 1 9 -", "NO_PUBKEY ID"]), Verdict::Unknown("ID".into()));
        assert_eq!(only(&["BADSIG ID x"]), Verdict::Bad("it is not of what it comes with"));
        assert_eq!(
            only(&["GOODSIG ID x", "PLAINTEXT 1"]),
            Verdict::Bad("it is not over the one message it comes with")
        );
    }
}
