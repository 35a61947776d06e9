//! Which fields of the outermost dot a template mentions, found without executing it.

use super::node::{Expr, Node, Pipe};
use super::parse::Tree;
use std::collections::BTreeSet;

/// Field names a template mentions, or all of them when dot itself is used as a value (`{{json .}}`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// The whole record is used.
    pub whole: bool,
    /// Names of fields.
    pub fields: BTreeSet<String>,
}

impl Uses {
    /// May the template look at this field?
    pub fn has(&self, field: &str) -> bool {
        self.whole || self.fields.iter().any(|used| used.eq_ignore_ascii_case(field))
    }
}

pub(super) fn of(tree: &Tree) -> Uses {
    let mut uses = Uses::default();
    tree.defined.values().chain([&tree.root]).for_each(|list| walk(list, &mut uses));
    uses
}

/// Is the first thing a `{{range .}}`?
pub(super) fn ranges_over_dot(tree: &Tree) -> bool {
    match tree.root.first() {
        Some(Node::Range(range)) => {
            matches!(&range.pipe.commands[..], [command] if matches!(&command.args[..], [Expr::Dot { .. }]))
        }
        _ => false,
    }
}

fn walk(list: &[Node], uses: &mut Uses) {
    for node in list {
        match node {
            Node::Action { pipe, .. } => pipeline(pipe, uses),
            Node::If(b) | Node::With(b) | Node::Range(b) => {
                pipeline(&b.pipe, uses);
                walk(&b.body, uses);
                walk(b.otherwise.as_deref().unwrap_or_default(), uses);
            }
            Node::Template { pipe: Some(pipe), .. } => pipeline(pipe, uses),
            Node::Text(_) | Node::Template { .. } | Node::Break | Node::Continue => {}
        }
    }
}

fn pipeline(pipe: &Pipe, uses: &mut Uses) {
    for arg in pipe.commands.iter().flat_map(|c| &c.args) {
        expression(arg, uses);
    }
}

fn expression(expr: &Expr, uses: &mut Uses) {
    match expr {
        Expr::Dot { .. } => uses.whole = true,
        Expr::Field { path, .. } => {
            uses.fields.insert(path[0].clone());
        }
        Expr::Variable { path, .. } if path[0] == "$" => match path.get(1) {
            Some(field) => {
                uses.fields.insert(field.clone());
            }
            None => uses.whole = true,
        },
        // A variable may hold dot: its fields count.
        Expr::Variable { path, .. } => {
            uses.fields.extend(path.get(1).cloned());
        }
        Expr::Pipe(pipe) => pipeline(pipe, uses),
        Expr::Chain { of, path, .. } => {
            if let Expr::Pipe(inner) = &**of {
                pipeline(inner, uses);
            }
            uses.fields.insert(path[0].clone());
        }
        Expr::Nil { .. }
        | Expr::Bool { .. }
        | Expr::Number { .. }
        | Expr::Str { .. }
        | Expr::Function { .. } => {}
    }
}
