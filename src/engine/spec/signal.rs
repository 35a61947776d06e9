//! Signal names and numbers (signal(7)), as `--stop-signal`, `kill -s` and image configurations write them.

use crate::engine::{Error, Result};

/// signal(7), the numbers of x86, ARM, RISC-V, POWER and s390.
const NAMES: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// glibc's SIGRTMIN and the kernel's last signal. musl's SIGRTMIN is 35; names mean glibc's everywhere, as in Go.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The number of `9`, `KILL`, `sigkill`, `RTMIN+3` or `SIGRTMAX-1`.
///
/// # Errors
/// Not a signal of Linux; 0 is none.
pub fn parse(text: &str) -> Result<i32> {
    let bad = || {
        Error::invalid(format!("invalid signal: {text}"))
            .with_hint("use a name such as SIGTERM or RTMIN+3, or a number from 1 to 64")
    };
    let word = text.trim().to_ascii_uppercase();
    if word.bytes().all(|b| b.is_ascii_digit()) && !word.is_empty() {
        return word.parse().ok().filter(|n| (1..=RTMAX).contains(n)).ok_or_else(bad);
    }
    let name = word.strip_prefix("SIG").unwrap_or(&word);
    if let Some((_, number)) = NAMES.iter().find(|(n, _)| *n == name) {
        return Ok(*number);
    }
    let offset = |rest: &str, sign: char| -> Option<i32> {
        match rest.strip_prefix(sign) {
            None if rest.is_empty() => Some(0),
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok()
            }
            _ => None,
        }
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        offset(rest, '+').and_then(|n| RTMIN.checked_add(n))
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        offset(rest, '-').and_then(|n| RTMAX.checked_sub(n))
    } else {
        None
    };
    number.filter(|n| (RTMIN..=RTMAX).contains(n)).ok_or_else(bad)
}

/// `SIGTERM`, `SIGRTMIN+3`; a number that has no name is printed as such.
pub fn name(number: i32) -> String {
    match NAMES.iter().find(|(_, n)| *n == number) {
        Some((name, _)) => format!("SIG{name}"),
        None if number == RTMIN => "SIGRTMIN".to_owned(),
        None if number == RTMAX => "SIGRTMAX".to_owned(),
        None if (RTMIN..RTMAX).contains(&number) => format!("SIGRTMIN+{}", number - RTMIN),
        None => number.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_real_time_offsets() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("sigkill", 9),
            ("SIGTERM", 15),
            ("WINCH", 28),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
            ("64", 64),
            ("CLD", 17),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for text in
            ["", "0", "65", "-1", "SIGNOPE", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMIN+", "99999999999"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(name(15), "SIGTERM");
        assert_eq!(name(17), "SIGCHLD");
        assert_eq!(name(37), "SIGRTMIN+3");
    }
}
