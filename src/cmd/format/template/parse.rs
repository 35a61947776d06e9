//! The parser of Go templates: tokens into the tree of [`super::node`], refusing what Go refuses in Go's words.

use super::lex::{Kind, Token, tokens};
use super::node::{Branch, Command, Expr, List, Node, Pipe};
use super::number::number;
use super::quote::{quote, unquote};
use std::collections::BTreeMap;

/// A parsed template: its own body and those it defines.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub root: List,
    pub defined: BTreeMap<String, List>,
}

/// Parses `source`; `known` tells which functions exist. The error is Go's whole line.
pub(super) fn parse(name: &str, source: &str, known: &dyn Fn(&str) -> bool) -> Result<Tree, String> {
    let mut parser = Parser {
        known,
        tokens: tokens(source),
        at: 0,
        variables: vec!["$".to_owned()],
        ranges: 0,
        depth: 0,
        tree: Tree::default(),
    };
    match parser.top() {
        Ok(root) => {
            parser.tree.root = root;
            Ok(parser.tree)
        }
        Err(message) => Err(format!("template: {name}:{}: {message}", parser.line())),
    }
}

/// Nesting beyond this is refused instead of overflowing the stack.
const MAX_DEPTH: usize = 200;

struct Parser<'k> {
    known: &'k dyn Fn(&str) -> bool,
    tokens: Vec<Token>,
    at: usize,
    variables: Vec<String>,
    ranges: usize,
    depth: usize,
    tree: Tree,
}

type Parsed<T> = Result<T, String>;

/// What ended a body.
enum End {
    End,
    /// `{{else}}`, or `{{else if …}}` with the keyword.
    Else(Option<String>),
}

impl Parser<'_> {
    fn line(&self) -> usize {
        let last = self.at.saturating_sub(1).min(self.tokens.len() - 1);
        self.tokens[last].line
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at.min(self.tokens.len() - 1)].clone();
        self.at += 1;
        token
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
    }

    fn next_word(&mut self) -> Token {
        self.skip_space();
        self.next()
    }

    fn peek_word(&mut self) -> &Token {
        self.skip_space();
        self.peek()
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Parsed<T> {
        match token.kind {
            Kind::Error => Err(token.text.clone()),
            _ => Err(format!("unexpected {} in {context}", token.describe())),
        }
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Token> {
        let token = self.next_word();
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, context) }
    }

    /// The outermost body, where `define` is allowed.
    fn top(&mut self) -> Parsed<List> {
        let mut list = List::new();
        while self.peek().kind != Kind::Eof {
            if self.peek().kind == Kind::LeftDelim {
                let before = self.at;
                self.next();
                let word = self.next_word();
                if word.kind == Kind::Keyword && word.text == "define" {
                    self.define()?;
                    continue;
                }
                self.at = before;
            }
            match self.text_or_action()? {
                Ok(node) => list.push(node),
                Err(End::End) => return Err("unexpected {{end}}".to_owned()),
                Err(End::Else(_)) => return Err("unexpected {{else}}".to_owned()),
            }
        }
        Ok(list)
    }

    fn define(&mut self) -> Parsed<()> {
        let name = self.template_name("define clause")?;
        self.expect(Kind::RightDelim, "define clause")?;
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (body, end) = self.body()?;
        if !matches!(end, End::End) {
            return Err("unexpected {{else}} in define clause".to_owned());
        }
        self.variables = outer;
        self.ranges = ranges;
        self.tree.defined.insert(name, body);
        Ok(())
    }

    /// Nodes up to `{{end}}` or `{{else}}`.
    fn body(&mut self) -> Parsed<(List, End)> {
        let mut list = List::new();
        while self.peek_word().kind != Kind::Eof {
            match self.text_or_action()? {
                Ok(node) => list.push(node),
                Err(end) => return Ok((list, end)),
            }
        }
        self.next();
        Err("unexpected EOF".to_owned())
    }

    fn text_or_action(&mut self) -> Parsed<Result<Node, End>> {
        let token = self.next_word();
        match token.kind {
            Kind::Text => Ok(Ok(Node::Text(token.text))),
            Kind::LeftDelim => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err("exceeded maximum nesting depth".to_owned());
                }
                let node = self.action();
                self.depth -= 1;
                node
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Result<Node, End>> {
        let token = self.next_word();
        if token.kind != Kind::Keyword || token.text == "nil" {
            self.at -= 1;
            let pos = self.peek().pos;
            let pipe = self.pipeline("command", Kind::RightDelim)?;
            return Ok(Ok(Node::Action { pos, pipe }));
        }
        Ok(Ok(match token.text.as_str() {
            "if" => Node::If(self.control("if", token.pos)?),
            "with" => Node::With(self.control("with", token.pos)?),
            "range" => Node::Range(self.control("range", token.pos)?),
            "block" => self.block(token.pos)?,
            "template" => {
                let pos = self.peek_word().pos;
                let name = self.template_name("template clause")?;
                let pipe = match self.peek_word().kind {
                    Kind::RightDelim => {
                        self.next();
                        None
                    }
                    _ => Some(self.pipeline("template clause", Kind::RightDelim)?),
                };
                Node::Template { pos, name, pipe }
            }
            word @ ("break" | "continue") => {
                let close = self.next_word();
                if close.kind != Kind::RightDelim {
                    return self.unexpected(&close, &format!("{{{{{word}}}}}"));
                }
                if self.ranges == 0 {
                    return Err(format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                if word == "break" { Node::Break } else { Node::Continue }
            }
            "end" => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Err(End::End));
            }
            "else" => {
                let next = self.peek_word().clone();
                if next.kind == Kind::Keyword && matches!(next.text.as_str(), "if" | "with") {
                    return Ok(Err(End::Else(Some(next.text))));
                }
                self.expect(Kind::RightDelim, "else")?;
                return Ok(Err(End::Else(None)));
            }
            _ => {
                return self.unexpected(&token, "command");
            }
        }))
    }

    fn control(&mut self, word: &str, pos: usize) -> Parsed<Branch> {
        let scope = self.variables.len();
        let pipe = self.pipeline(word, Kind::RightDelim)?;
        let in_range = usize::from(word == "range");
        self.ranges += in_range;
        let (body, end) = self.body()?;
        self.ranges -= in_range;
        let otherwise = match end {
            End::End => None,
            // `{{else if x}}` stands for `{{else}}{{if x}}` and shares the one `{{end}}`.
            End::Else(Some(nested)) if nested == word && word != "range" => {
                let token = self.next_word();
                let branch = self.control(word, token.pos)?;
                Some(vec![if word == "if" { Node::If(branch) } else { Node::With(branch) }])
            }
            End::Else(Some(_)) => {
                let token = self.next_word();
                return self.unexpected(&token, "else");
            }
            End::Else(None) => {
                let (list, end) = self.body()?;
                if !matches!(end, End::End) {
                    return Err("expected end; found {{else}}".to_owned());
                }
                Some(list)
            }
        };
        self.variables.truncate(scope);
        Ok(Branch { pos, pipe, body, otherwise })
    }

    fn block(&mut self, pos: usize) -> Parsed<Node> {
        let name = self.template_name("block clause")?;
        let pipe = self.pipeline("block clause", Kind::RightDelim)?;
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let (body, end) = self.body()?;
        if !matches!(end, End::End) {
            return Err("unexpected {{else}} in block clause".to_owned());
        }
        self.variables = outer;
        self.tree.defined.insert(name.clone(), body);
        Ok(Node::Template { pos, name, pipe: Some(pipe) })
    }

    fn template_name(&mut self, context: &str) -> Parsed<String> {
        let token = self.next_word();
        match token.kind {
            Kind::Str | Kind::RawString => unquote(&token.text).ok_or_else(|| "invalid syntax".to_owned()),
            _ => self.unexpected(&token, context),
        }
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        let pos = self.peek_word().pos;
        let mut pipe = Pipe { pos, assign: false, variables: Vec::new(), commands: Vec::new() };
        self.declarations(context, &mut pipe)?;
        loop {
            let token = self.next_word();
            match token.kind {
                kind if kind == end => {
                    self.check_pipeline(&pipe, context)?;
                    return Ok(pipe);
                }
                Kind::Bool
                | Kind::Char
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::Str
                | Kind::Variable
                | Kind::LeftParen => {
                    self.at -= 1;
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
    }

    /// `$x :=`, `$x =`, and in a range `$i, $x :=`.
    fn declarations(&mut self, context: &str, pipe: &mut Pipe) -> Parsed<()> {
        loop {
            let before = self.at;
            if self.peek_word().kind != Kind::Variable {
                return Ok(());
            }
            let variable = self.next();
            let next = self.peek_word().clone();
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    self.next();
                    pipe.assign = next.kind == Kind::Assign;
                    pipe.variables.push(variable.text.clone());
                    self.variables.push(variable.text);
                    return Ok(());
                }
                Kind::Other if next.text == "," && context == "range" && pipe.variables.is_empty() => {
                    self.next();
                    pipe.variables.push(variable.text.clone());
                    self.variables.push(variable.text);
                    if self.peek_word().kind != Kind::Variable {
                        return Err("range can only initialize variables".to_owned());
                    }
                }
                Kind::Other if next.text == "," => {
                    return Err(format!("too many declarations in {context}"));
                }
                _ => {
                    self.at = before;
                    return Ok(());
                }
            }
        }
    }

    fn check_pipeline(&self, pipe: &Pipe, context: &str) -> Parsed<()> {
        if pipe.commands.is_empty() {
            return Err(format!("missing value for {context}"));
        }
        for (i, command) in pipe.commands.iter().enumerate().skip(1) {
            if matches!(
                command.args.first(),
                Some(
                    Expr::Bool { .. }
                        | Expr::Dot { .. }
                        | Expr::Nil { .. }
                        | Expr::Number { .. }
                        | Expr::Str { .. }
                )
            ) {
                return Err(format!("non executable command in pipeline stage {}", i + 1));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parsed<Command> {
        let pos = self.peek_word().pos;
        let mut args = Vec::new();
        loop {
            if let Some(operand) = self.operand()? {
                args.push(operand);
            }
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.at -= 1,
                Kind::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            if args.is_empty() {
                return Err("empty command".to_owned());
            }
            return Ok(Command { pos, args });
        }
    }

    fn operand(&mut self) -> Parsed<Option<Expr>> {
        let Some(term) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(term));
        }
        let pos = self.peek().pos;
        let mut path = Vec::new();
        while self.peek().kind == Kind::Field {
            path.push(self.next().text[1..].to_owned());
        }
        Ok(Some(match term {
            Expr::Field { path: mut first, .. } => {
                first.extend(path);
                Expr::Field { pos, path: first }
            }
            Expr::Variable { path: mut first, .. } => {
                first.extend(path);
                Expr::Variable { pos, path: first }
            }
            Expr::Bool { .. }
            | Expr::Str { .. }
            | Expr::Number { .. }
            | Expr::Nil { .. }
            | Expr::Dot { .. } => {
                return Err(format!("unexpected . after term {}", quote(&term.to_string())));
            }
            of => Expr::Chain { pos, of: Box::new(of), path },
        }))
    }

    fn term(&mut self) -> Parsed<Option<Expr>> {
        let token = self.next_word();
        let pos = token.pos;
        Ok(Some(match token.kind {
            Kind::Identifier if !(self.known)(&token.text) => {
                return Err(format!("function {} not defined", quote(&token.text)));
            }
            Kind::Identifier => Expr::Function { pos, name: token.text },
            Kind::Dot => Expr::Dot { pos },
            Kind::Nil => Expr::Nil { pos },
            Kind::Variable => {
                if !self.variables.contains(&token.text) {
                    return Err(format!("undefined variable {}", quote(&token.text)));
                }
                Expr::Variable { pos, path: vec![token.text] }
            }
            Kind::Field => Expr::Field { pos, path: vec![token.text[1..].to_owned()] },
            Kind::Bool => Expr::Bool { pos, value: token.text == "true" },
            Kind::Char | Kind::Number => {
                let value = number(&token.text)?;
                Expr::Number { pos, text: token.text, value }
            }
            Kind::LeftParen => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err("exceeded maximum nesting depth".to_owned());
                }
                let pipe = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.depth -= 1;
                Expr::Pipe(pipe)
            }
            Kind::Str | Kind::RawString => match unquote(&token.text) {
                Some(value) => Expr::Str { pos, quoted: token.text, value },
                None => return Err("invalid syntax".to_owned()),
            },
            _ => {
                self.at -= 1;
                return Ok(None);
            }
        }))
    }
}
