//! Questions on the terminal: a line, and a secret that is not shown.

use crate::cmd::Context;
use crate::engine::host::term::RawMode;
use crate::engine::{Error, Result};
use std::io::{BufRead, Read, Write};
use std::os::fd::AsFd;

/// Asks for a line. `None`: the input ended.
pub fn line(question: &str) -> Result<Option<String>> {
    ask(question);
    let mut line = String::new();
    let count = std::io::stdin().lock().read_line(&mut line);
    match count.map_err(|e| Error::os("read from standard input", e))? {
        0 => Ok(None),
        _ => Ok(Some(line.trim().to_owned())),
    }
}

/// Asks for a secret without showing what is typed. `None`: the user gave up with ^C or ^D.
///
/// `Invalid` if standard input is no terminal.
pub fn secret(cx: &Context, question: &str) -> Result<Option<String>> {
    if !cx.stdin_is_terminal() {
        return Err(Error::invalid("Cannot perform an interactive login from a non TTY device")
            .with_hint("pass the password with --password-stdin"));
    }
    let stdin = std::io::stdin();
    // Before the question: whoever types at once is not shown it either.
    let raw = RawMode::enter(stdin.as_fd())?;
    ask(question);
    let typed = typed(&mut stdin.lock());
    drop(raw);
    ask("\n");
    typed
}

fn ask(question: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush());
}

/// What is typed up to Return, with the keys that a terminal edits a line with.
fn typed(keys: &mut impl Read) -> Result<Option<String>> {
    let mut line: Vec<u8> = Vec::new();
    let mut key = [0];
    loop {
        match keys.read(&mut key) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::os("read from the terminal", e)),
        }
        match key[0] {
            b'\r' | b'\n' => break,
            0x03 => return Ok(None),
            0x04 if line.is_empty() => return Ok(None),
            // Backspace takes a character, which may be several bytes.
            0x7f | 0x08 => while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            0x15 => line.clear(),
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).map(Some).map_err(|_| Error::invalid("the password is not valid UTF-8"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_edited_as_on_a_terminal() {
        for (keys, want) in [
            ("secret\r", Some("secret")),
            ("sea\x7fcret\n", Some("secret")),
            ("wrong\x15right\r", Some("right")),
            ("é\x7fe\r", Some("e")),
            ("\x7f\r", Some("")),
            ("half\x03", None),
            ("\x04", None),
            ("half", None),
        ] {
            assert_eq!(typed(&mut keys.as_bytes()).unwrap().as_deref(), want, "{keys:?}");
        }
    }
}
