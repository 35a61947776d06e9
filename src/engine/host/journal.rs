//! Questions to `journalctl`.

/// Arguments with which journalctl shows, as JSON, the entries that `uid` wrote and whose `field` is `value`.
///
/// Every user may write entries with any field into the journal, those of our logs and events as well. Who wrote one is added
/// by the journal itself, in fields that begin with an underscore, which nobody else can set (systemd.journal-fields(7), "Trusted
/// Journal Fields").
pub fn written_by(uid: u32, field: &str, value: &str) -> Vec<String> {
    let mut words = ["--quiet", "--no-pager", "--output=json", "--all"].map(str::to_owned).to_vec();
    words.extend([format!("_UID={uid}"), format!("{field}={value}")]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_different_fields_must_both_match() {
        // journalctl(1): matches of one field are alternatives, those of several are not, unless a `+` stands between them.
        let words = written_by(1000, "CONTAINER_ID_FULL", "+");
        let matches: Vec<_> = words.iter().filter(|word| !word.starts_with("--")).collect();
        assert_eq!(matches, ["_UID=1000", "CONTAINER_ID_FULL=+"]);
    }
}
