//! Shell patterns.

/// Go's `path.Match`: `*` and `?` stop at slashes, `[a-z]` is a class, `\` quotes.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut pattern_chars = pattern.chars();
    let mut text_chars = text.chars();
    let Some(p) = pattern_chars.next() else { return text.is_empty() };
    let rest = pattern_chars.as_str();
    match p {
        '*' => {
            let reach = text.find('/').unwrap_or(text.len());
            let ends = text.char_indices().map(|(i, _)| i).chain([text.len()]);
            ends.take_while(|end| *end <= reach).any(|end| glob(rest, &text[end..]))
        }
        '?' => text_chars.next().is_some_and(|c| c != '/' && glob(rest, text_chars.as_str())),
        '[' => {
            let Some(close) = rest.char_indices().skip(1).find(|(_, c)| *c == ']').map(|(i, _)| i) else {
                return false;
            };
            let Some(c) = text_chars.next() else { return false };
            let (negated, class) = match rest[..close].strip_prefix('^') {
                Some(class) => (true, class),
                None => (false, &rest[..close]),
            };
            in_class(class, c) != negated && glob(&rest[close + 1..], text_chars.as_str())
        }
        '\\' => {
            let mut quoted = rest.chars();
            quoted.next() == text_chars.next() && glob(quoted.as_str(), text_chars.as_str())
        }
        p => text_chars.next() == Some(p) && glob(rest, text_chars.as_str()),
    }
}

fn in_class(class: &str, c: char) -> bool {
    let chars: Vec<char> = class.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        if at + 2 < chars.len() && chars[at + 1] == '-' {
            if (chars[at]..=chars[at + 2]).contains(&c) {
                return true;
            }
            at += 3;
        } else {
            if chars[at] == c {
                return true;
            }
            at += 1;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_gos_do() {
        let cases = [
            ("deb*", "debian", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("d?bian", "debian", true),
            ("[a-d]ebian:1[0-9]", "debian:12", true),
            ("[^a-d]ebian", "debian", false),
            ("debian", "debian:12", false),
            (r"a\*", "a*", true),
            ("", "", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
