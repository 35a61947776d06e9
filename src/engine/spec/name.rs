//! Names of objects.

/// Docker's and podman's rule for names of containers, volumes and networks (podman's `define.NameRegex`):
/// `[a-zA-Z0-9][a-zA-Z0-9_.-]*`. Such a name is a file's name, too. How long it may be is each object's own affair.
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn a_name_begins_with_a_letter_or_digit() {
        for good in ["a", "0", "A.b_c-d"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "-x", "_x", "a/b", "a b", "é", "a\0"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
