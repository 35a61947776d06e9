//! The lexer of Go templates: text and actions into tokens, with Go's own words for what it cannot read.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Error,
    Bool,
    Char,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    Keyword,
    LeftDelim,
    LeftParen,
    Nil,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    Str,
    Text,
    Variable,
    Dot,
    Other,
}

/// One token.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub kind: Kind,
    /// Byte offset in the source.
    pub pos: usize,
    /// Line in the source, from 1.
    pub line: usize,
    /// The source text, or the message of an error.
    pub text: String,
}

impl Token {
    /// How Go's parser names a token in a message.
    pub fn describe(&self) -> String {
        match self.kind {
            Kind::Eof => "EOF".to_owned(),
            Kind::Error => self.text.clone(),
            Kind::Keyword | Kind::Dot | Kind::Nil => format!("<{}>", self.text),
            _ if self.text.chars().count() > 10 => {
                let head: String = self.text.chars().take(10).collect();
                format!("{}...", super::quote::quote(&head))
            }
            _ => super::quote::quote(&self.text),
        }
    }
}

const KEYWORDS: [&str; 11] =
    ["block", "break", "continue", "define", "else", "end", "if", "range", "nil", "template", "with"];

/// All tokens of `source`; the last one is [`Kind::Eof`] or [`Kind::Error`].
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { source, at: 0, line: 1, parens: 0, out: Vec::new() };
    if let Err(message) = lexer.run() {
        let (pos, line) = (lexer.at, lexer.line);
        lexer.out.push(Token { kind: Kind::Error, pos, line, text: message });
    }
    lexer.out
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: usize,
    parens: usize,
    out: Vec<Token>,
}

type Lexed<T = ()> = Result<T, String>;

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Takes `len` bytes as a token.
    fn emit(&mut self, kind: Kind, len: usize) {
        let text = &self.rest()[..len];
        self.out.push(Token { kind, pos: self.at, line: self.line, text: text.to_owned() });
        self.skip(len);
    }

    fn skip(&mut self, len: usize) {
        self.line += self.rest()[..len].matches('\n').count();
        self.at += len;
    }

    fn run(&mut self) -> Lexed {
        loop {
            let rest = self.rest();
            let Some(open) = rest.find("{{") else {
                if !rest.is_empty() {
                    self.emit(Kind::Text, rest.len());
                }
                self.emit(Kind::Eof, 0);
                return Ok(());
            };
            let trims = is_left_trim(&rest[open + 2..]);
            let text = if trims { rest[..open].trim_end_matches(SPACES) } else { &rest[..open] };
            if !text.is_empty() {
                self.emit(Kind::Text, text.len());
            }
            self.skip(open - text.len());
            self.action(trims)?;
        }
    }

    fn action(&mut self, trims: bool) -> Lexed {
        let marker = if trims { 2 } else { 0 };
        if self.rest()[2 + marker..].starts_with("/*") {
            self.skip(2 + marker);
            return self.comment();
        }
        self.emit(Kind::LeftDelim, 2);
        self.skip(marker);
        self.parens = 0;
        while !self.inside()? {}
        Ok(())
    }

    fn comment(&mut self) -> Lexed {
        let Some(end) = self.rest().find("*/") else { return Err("unclosed comment".to_owned()) };
        self.skip(end + 2);
        let rest = self.rest();
        let trims = is_right_trim(rest);
        let after = if trims { &rest[2..] } else { rest };
        if !after.starts_with("}}") {
            return Err("comment ends before closing delimiter".to_owned());
        }
        self.skip(if trims { 4 } else { 2 });
        self.trim_after(trims);
        Ok(())
    }

    fn trim_after(&mut self, trims: bool) {
        if trims {
            let rest = self.rest();
            self.skip(rest.len() - rest.trim_start_matches(SPACES).len());
        }
    }

    /// One token inside an action; true when it was the closing delimiter.
    fn inside(&mut self) -> Lexed<bool> {
        let rest = self.rest();
        let trims = is_right_trim(rest) && rest[2..].starts_with("}}");
        if trims || rest.starts_with("}}") {
            if self.parens > 0 {
                return Err("unclosed left paren".to_owned());
            }
            self.skip(if trims { 2 } else { 0 });
            self.emit(Kind::RightDelim, 2);
            self.trim_after(trims);
            return Ok(true);
        }
        let Some(c) = self.peek() else { return Err("unclosed action".to_owned()) };
        match c {
            ' ' | '\t' | '\r' | '\n' => self.space(),
            '=' => self.emit(Kind::Assign, 1),
            ':' if rest[1..].starts_with('=') => self.emit(Kind::Declare, 2),
            ':' => return Err("expected :=".to_owned()),
            '|' => self.emit(Kind::Pipe, 1),
            '"' => self.quoted('"', Kind::Str, "unterminated quoted string")?,
            '\'' => self.quoted('\'', Kind::Char, "unterminated character constant")?,
            '`' => match rest[1..].find('`') {
                Some(end) => self.emit(Kind::RawString, end + 2),
                None => return Err("unterminated raw quoted string".to_owned()),
            },
            '$' => self.name(Kind::Variable)?,
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.name(Kind::Field)?,
            '+' | '-' | '.' | '0'..='9' => self.number()?,
            '(' => {
                self.parens += 1;
                self.emit(Kind::LeftParen, 1);
            }
            ')' => {
                if self.parens == 0 {
                    self.emit(Kind::RightParen, 1);
                    return Err("unexpected right paren".to_owned());
                }
                self.parens -= 1;
                self.emit(Kind::RightParen, 1);
            }
            c if is_word(c) => self.identifier()?,
            c if c.is_ascii() && !c.is_ascii_control() => self.emit(Kind::Other, 1),
            c => return Err(unrecognised("unrecognized character in action", c)),
        }
        Ok(false)
    }

    fn space(&mut self) {
        let rest = self.rest();
        let mut len = rest.len() - rest.trim_start_matches(SPACES).len();
        // " -}}" closes the action: its space belongs to the delimiter.
        if rest[len..].starts_with("-}}") {
            len -= 1;
        }
        self.emit(Kind::Space, len);
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &str) -> Lexed {
        let mut escaped = false;
        for (i, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => {
                    self.emit(kind, i + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(unterminated.to_owned())
    }

    /// `.name`, `$name`, or their bare marks.
    fn name(&mut self, kind: Kind) -> Lexed {
        let rest = self.rest();
        let len = 1 + word_len(&rest[1..]);
        if len == 1 && kind == Kind::Field {
            self.emit(Kind::Dot, 1);
            return Ok(());
        }
        self.check_terminator(len)?;
        self.emit(kind, len);
        Ok(())
    }

    fn identifier(&mut self) -> Lexed {
        let len = word_len(self.rest());
        self.check_terminator(len)?;
        let kind = match &self.rest()[..len] {
            "true" | "false" => Kind::Bool,
            "nil" => Kind::Nil,
            word if KEYWORDS.contains(&word) => Kind::Keyword,
            _ => Kind::Identifier,
        };
        self.emit(kind, len);
        Ok(())
    }

    /// A word must end where Go's grammar lets it.
    fn check_terminator(&mut self, len: usize) -> Lexed {
        let after = &self.rest()[len..];
        match after.chars().next() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => Ok(()),
            Some(_) if after.starts_with("}}") => Ok(()),
            Some(c) => {
                self.skip(len);
                Err(unrecognised("bad character", c))
            }
        }
    }

    fn number(&mut self) -> Lexed {
        let rest = self.rest();
        let len = number_len(rest);
        let next = rest[len..].chars().next();
        if next.is_some_and(is_word) {
            let bad = &rest[..len + next.map_or(0, char::len_utf8)];
            return Err(format!("bad number syntax: {}", super::quote::quote(bad)));
        }
        self.emit(Kind::Number, len);
        Ok(())
    }
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn word_len(s: &str) -> usize {
    s.find(|c| !is_word(c)).unwrap_or(s.len())
}

/// After `{{`: is it `- `?
fn is_left_trim(s: &str) -> bool {
    s.starts_with('-') && s[1..].starts_with(SPACES)
}

/// Before `}}`: is it ` -`?
fn is_right_trim(s: &str) -> bool {
    s.starts_with(SPACES) && s[1..].starts_with('-')
}

fn unrecognised(what: &str, c: char) -> String {
    if c.is_control() {
        format!("{what}: U+{:04X}", c as u32).replace("character: ", "character ")
    } else {
        let colon = if what.ends_with("action") { ":" } else { "" };
        format!("{what}{colon} U+{:04X} '{c}'", c as u32)
    }
}

/// Length of the longest number at the start of `s` (sign, prefix, digits, fraction, exponent, `i`).
fn number_len(s: &str) -> usize {
    let bytes = s.as_bytes();
    let mut at = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let mut digits: &[u8] = b"0123456789_";
    let mut exponent: &[u8] = b"eE";
    if bytes.get(at) == Some(&b'0') {
        let prefixed: Option<&[u8]> = match bytes.get(at + 1) {
            Some(b'x' | b'X') => {
                exponent = b"pP";
                Some(b"0123456789abcdefABCDEF_")
            }
            Some(b'o' | b'O') => Some(b"01234567_"),
            Some(b'b' | b'B') => Some(b"01_"),
            _ => None,
        };
        if let Some(set) = prefixed {
            at += 2;
            digits = set;
        }
    }
    let run = |mut at: usize, set: &[u8]| {
        while bytes.get(at).is_some_and(|b| set.contains(b)) {
            at += 1;
        }
        at
    };
    at = run(at, digits);
    if bytes.get(at) == Some(&b'.') {
        at = run(at + 1, digits);
    }
    if bytes.get(at).is_some_and(|b| exponent.contains(b)) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        at = run(at, b"0123456789_");
    }
    at + usize::from(bytes.get(at) == Some(&b'i'))
}
