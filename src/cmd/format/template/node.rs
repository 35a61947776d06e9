//! The syntax tree of a template, printed back the way Go's error messages quote it.

use std::fmt;

/// A body: the nodes between two delimiters.
pub(super) type List = Vec<Node>;

/// What stands in a body.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    Action { pos: usize, pipe: Pipe },
    If(Branch),
    With(Branch),
    Range(Branch),
    Template { pos: usize, name: String, pipe: Option<Pipe> },
    Break,
    Continue,
}

/// `if`, `with` and `range`.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub pos: usize,
    pub pipe: Pipe,
    pub body: List,
    pub otherwise: Option<List>,
}

/// `$a, $b := command | command`.
#[derive(Clone, Debug)]
pub(super) struct Pipe {
    pub pos: usize,
    pub assign: bool,
    pub variables: Vec<String>,
    pub commands: Vec<Command>,
}

/// A function or value and its arguments.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub pos: usize,
    pub args: Vec<Expr>,
}

/// An operand.
#[derive(Clone, Debug)]
pub(super) enum Expr {
    Dot { pos: usize },
    Nil { pos: usize },
    Bool { pos: usize, value: bool },
    Number { pos: usize, text: String, value: Number },
    Str { pos: usize, quoted: String, value: String },
    Field { pos: usize, path: Vec<String> },
    Variable { pos: usize, path: Vec<String> },
    Function { pos: usize, name: String },
    Pipe(Pipe),
    Chain { pos: usize, of: Box<Expr>, path: Vec<String> },
}

/// A constant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
    /// Purely imaginary, as every complex literal is.
    Imaginary(f64),
    /// An integer beyond i64.
    TooBig,
}

/// Any place an error can point at.
#[derive(Clone, Copy)]
pub(super) enum At<'t> {
    Node(&'t Node),
    Pipe(&'t Pipe),
    Command(&'t Command),
    Expr(&'t Expr),
}

impl At<'_> {
    /// Byte offset in the source.
    pub fn pos(&self) -> usize {
        match self {
            At::Node(Node::Action { pos, .. } | Node::Template { pos, .. }) => *pos,
            At::Node(Node::If(b) | Node::With(b) | Node::Range(b)) => b.pos,
            At::Node(_) => 0,
            At::Pipe(p) => p.pos,
            At::Command(c) => c.pos,
            At::Expr(e) => e.pos(),
        }
    }
}

impl Expr {
    /// Byte offset in the source.
    pub fn pos(&self) -> usize {
        match self {
            Expr::Dot { pos }
            | Expr::Nil { pos }
            | Expr::Bool { pos, .. }
            | Expr::Number { pos, .. }
            | Expr::Str { pos, .. }
            | Expr::Field { pos, .. }
            | Expr::Variable { pos, .. }
            | Expr::Function { pos, .. }
            | Expr::Chain { pos, .. } => *pos,
            Expr::Pipe(pipe) => pipe.pos,
        }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Node(node) => node.fmt(f),
            At::Pipe(pipe) => pipe.fmt(f),
            At::Command(command) => command.fmt(f),
            At::Expr(expr) => expr.fmt(f),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let branch = |f: &mut fmt::Formatter<'_>, word: &str, b: &Branch| {
            write!(f, "{{{{{word} {}}}}}", b.pipe)?;
            b.body.iter().try_for_each(|n| n.fmt(f))?;
            if let Some(otherwise) = &b.otherwise {
                f.write_str("{{else}}")?;
                otherwise.iter().try_for_each(|n| n.fmt(f))?;
            }
            f.write_str("{{end}}")
        };
        match self {
            Node::Text(text) => f.write_str(text),
            Node::Action { pipe, .. } => write!(f, "{{{{{pipe}}}}}"),
            Node::If(b) => branch(f, "if", b),
            Node::With(b) => branch(f, "with", b),
            Node::Range(b) => branch(f, "range", b),
            Node::Template { name, pipe, .. } => {
                write!(f, "{{{{template {}", super::quote::quote(name))?;
                if let Some(pipe) = pipe {
                    write!(f, " {pipe}")?;
                }
                f.write_str("}}")
            }
            Node::Break => f.write_str("{{break}}"),
            Node::Continue => f.write_str("{{continue}}"),
        }
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            write!(f, "{} {} ", self.variables.join(", "), if self.assign { "=" } else { ":=" })?;
        }
        for (i, command) in self.commands.iter().enumerate() {
            if i > 0 {
                f.write_str(" | ")?;
            }
            command.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, arg) in self.args.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            match arg {
                Expr::Pipe(pipe) => write!(f, "({pipe})")?,
                arg => arg.fmt(f)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dotted =
            |f: &mut fmt::Formatter<'_>, path: &[String]| path.iter().try_for_each(|p| write!(f, ".{p}"));
        match self {
            Expr::Dot { .. } => f.write_str("."),
            Expr::Nil { .. } => f.write_str("nil"),
            Expr::Bool { value, .. } => value.fmt(f),
            Expr::Number { text, .. } => f.write_str(text),
            Expr::Str { quoted, .. } => f.write_str(quoted),
            Expr::Field { path, .. } => dotted(f, path),
            Expr::Variable { path, .. } => f.write_str(&path.join(".")),
            Expr::Function { name, .. } => f.write_str(name),
            Expr::Pipe(pipe) => pipe.fmt(f),
            Expr::Chain { of, path, .. } => {
                match &**of {
                    Expr::Pipe(pipe) => write!(f, "({pipe})")?,
                    of => of.fmt(f)?,
                }
                dotted(f, path)
            }
        }
    }
}
