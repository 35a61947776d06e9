//! The simplest and commonest templates, those of tables: text, and fields of dot as they are.

use super::node::{Expr, Node, Pipe};
use super::parse::Tree;

/// A piece of a template that is nothing but [`Cell`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'t> {
    /// Printed as it is.
    Text(&'t str),
    /// `{{.Name}}`.
    Field(&'t str),
}

/// `tree` in cells; `None`: there is more to it.
pub(super) fn of(tree: &Tree) -> Option<Vec<Cell<'_>>> {
    tree.root.iter().map(cell).collect()
}

fn cell(node: &Node) -> Option<Cell<'_>> {
    match node {
        Node::Text(text) => Some(Cell::Text(text)),
        Node::Action { pipe, .. } => field(pipe).map(Cell::Field),
        _ => None,
    }
}

fn field(pipe: &Pipe) -> Option<&str> {
    let [command] = &pipe.commands[..] else { return None };
    match &command.args[..] {
        [Expr::Field { path, .. }] if pipe.variables.is_empty() && path.len() == 1 => Some(&path[0]),
        _ => None,
    }
}
