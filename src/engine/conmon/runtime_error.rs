//! What an OCI runtime's complaint means.
//!
//! Runtimes have no error codes. Their texts are judged as podman (`getOCIRuntimeError`) and docker
//! (`translateContainerdStartErr`) judge them, except that a missing *file* only counts as a missing *command* when the text is about the command.

use crate::engine::{Error, ErrorKind};

/// Turns `text`, what the runtime called `name` wrote, into an error.
pub(super) fn classify(name: &str, text: &str) -> Error {
    let said = clean(text);
    let (kind, meaning) = meaning(&said);
    let said = if said.is_empty() { "failed without a word" } else { said.as_str() };
    let e = Error::new(kind, format!("{name}: {said}: {meaning}"));
    match hint(&said.to_lowercase()) {
        Some(hint) => e.with_hint(hint),
        None => e,
    }
}

fn meaning(said: &str) -> (ErrorKind, &'static str) {
    let said = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let about_command =
        has(&["executable", "exec:", "exec container process", "exec /", "execve", "is not a regular file"]);
    if about_command && has(&["permission denied", "operation not permitted"]) {
        return (ErrorKind::CommandNotExecutable, "OCI permission denied");
    }
    if about_command && has(&["is a directory", "not a directory", "exec format error", "text file busy"]) {
        return (ErrorKind::CommandNotExecutable, "OCI runtime cannot execute the command");
    }
    if about_command && has(&["not found", "no such file or directory"]) {
        return (ErrorKind::CommandNotFound, "OCI runtime attempted to invoke a command that was not found");
    }
    if has(&["permission denied", "operation not permitted"]) {
        return (ErrorKind::Runtime, "OCI permission denied");
    }
    (ErrorKind::Runtime, "OCI runtime error")
}

fn hint(said: &str) -> Option<&'static str> {
    if said.contains("hybrid mode") {
        return Some(
            "this host mounts cgroups v1 and v2 side by side, which crun refuses: install runc, or use --runtime runc",
        );
    }
    if said.contains("exec format error") {
        return Some(
            "the program is for another architecture, or a script without a first line such as #!/bin/sh",
        );
    }
    if said.contains("cpuset.") && (said.contains("out of range") || said.contains("invalid argument")) {
        return Some("requested CPUs or memory nodes are not available: `lscpu` shows those of the host");
    }
    None
}

/// The message of the last line that is an error, without the runtime's clock and level: crun writes `TIME: text`, runc
/// `time="…" level=error msg="…"`, all of them `{"msg": …, "level": …}` when asked for JSON.
fn clean(text: &str) -> String {
    let lines: Vec<(Level, String)> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(message).collect();
    let error = lines.iter().rfind(|(level, _)| *level == Level::Error).or(lines.last());
    error.map(|(_, message)| message.trim_end_matches('\n').to_owned()).unwrap_or_default()
}

#[derive(PartialEq)]
enum Level {
    Error,
    Lower,
}

fn message(line: &str) -> (Level, String) {
    if let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(line) {
        let field = |name| fields.get(name).and_then(|v| v.as_str()).unwrap_or_default();
        return (level(field("level")), field("msg").to_owned());
    }
    if let Some((head, quoted)) = line.split_once(" msg=")
        && head.contains("level=")
    {
        let (_, word) = head.split_once("level=").unwrap_or_default();
        return (level(word.split(' ').next().unwrap_or_default()), unquote(quoted));
    }
    // 2026-11-23T01:22:46.811068Z: text
    let rest = line.split_once(": ").filter(|(time, _)| {
        time.len() >= 19
            && time.as_bytes().get(10) == Some(&b'T')
            && time.starts_with(|c: char| c.is_ascii_digit())
    });
    (Level::Error, rest.map_or(line, |(_, text)| text).to_owned())
}

fn level(word: &str) -> Level {
    if matches!(word, "error" | "fatal" | "panic" | "") { Level::Error } else { Level::Lower }
}

/// A Go-quoted string, or a bare word.
fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"') else { return text.to_owned() };
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(c) => out.push(c),
                None => {}
            },
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_crun_and_runc() {
        let not_found = ErrorKind::CommandNotFound;
        let not_executable = ErrorKind::CommandNotExecutable;
        let cases = [
            ("executable file `nope` not found in $PATH: No such file or directory", not_found),
            ("2026-11-23T01:22:46.8Z: open executable: No such file or directory", not_found),
            ("open executable: Permission denied", not_executable),
            // crun 1.21
            ("the path `/x` exists but it is not executable: Operation not permitted", not_executable),
            ("the path `/bin` is not a regular file: Operation not permitted", not_executable),
            ("executable file `/x` not found: No such file or directory", not_found),
            ("exec container process `/x`: Exec format error", not_executable),
            ("exec container process `/x`: No such file or directory", not_found),
            (
                r#"time="2026-11-23T01:22:48Z" level=error msg="runc create failed: unable to start container process: exec: \"nope\": executable file not found in $PATH""#,
                not_found,
            ),
            (r#"runc create failed: exec: "/etc/passwd": permission denied"#, not_executable),
            (r#"exec: "/etc": is a directory"#, not_executable),
            (r#"exec: "/nope": stat /nope: no such file or directory"#, not_found),
            ("mount `/nope` to `x`: No such file or directory", ErrorKind::Runtime),
            ("write to /proc/sys/x: Permission denied", ErrorKind::Runtime),
            ("", ErrorKind::Runtime),
        ];
        for (text, kind) in cases {
            assert_eq!(classify("crun", text).kind(), kind, "{text}");
        }
    }

    #[test]
    fn the_message_is_one_clean_sentence() {
        let text = "time=\"x\" level=warning msg=\"slow\"\ntime=\"x\" level=error msg=\"exec: \\\"a\\\": not found\"\n\
                    time=\"x\" level=warning msg=\"cleanup\"";
        assert_eq!(
            classify("runc", text).to_string(),
            "runc: exec: \"a\": not found: OCI runtime attempted to invoke a command that was not found"
        );
        assert_eq!(
            classify("crun", r#"{"msg": "cgroups in hybrid mode not supported", "level": "error"}"#)
                .to_string(),
            "crun: cgroups in hybrid mode not supported: OCI runtime error"
        );
        assert!(classify("crun", "cgroups in hybrid mode not supported").hint().unwrap().contains("runc"));
    }
}
