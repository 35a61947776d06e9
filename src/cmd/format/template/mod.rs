//! Go's text/template, as `--format` speaks it.
//!
//! A lexer, a parser and an executor of our own, because scripts depend on what Go does with methods, unknown
//! fields, key order and wording; `tests/data/templates` holds templates with Go's answers. Pure: text and
//! [`Value`] in, text out. Called by [`super::Listing`] and by every command with a single `--format`.

mod cells;
mod check;
mod exec;
mod funcs;
mod json;
mod lex;
mod node;
mod number;
mod parse;
mod printf;
mod quote;
mod ser;
mod uses;
mod value;

pub use cells::Cell;
pub use exec::print;
pub use json::{compact as to_json, pretty as to_json_pretty};
pub use printf::display;
pub use quote::quote;
pub use ser::{GoTime, map, slice, to_value};
pub use uses::Uses;
pub use value::{Element, Field, GO_ZERO_NANOSECONDS, List, Map, Method, Struct, Value, go_string, rfc3339};

/// A parsed template.
#[derive(Clone, Debug)]
pub struct Template {
    source: String,
    tree: parse::Tree,
}

/// A template that cannot be parsed or executed: Go's whole line, `template: :1:2: …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(pub String);

impl Template {
    /// Parses `source` with every function known.
    pub fn parse(source: &str) -> Result<Template, TemplateError> {
        let tree = parse::parse("", source, &|name| funcs::find(name).is_some()).map_err(TemplateError)?;
        Ok(Template { source: source.to_owned(), tree })
    }

    /// Executes it with `data` as dot.
    pub fn execute(&self, data: &Value) -> Result<String, TemplateError> {
        exec::execute("", &self.source, &self.tree, data).map_err(TemplateError)
    }

    /// Executes it with column headings as dot: docker's and podman's functions then leave them as they are.
    pub fn execute_headers(&self, headings: &Value) -> Result<String, TemplateError> {
        exec::execute_headers("", &self.source, &self.tree, headings).map_err(TemplateError)
    }

    /// What it is made of, if that is nothing but text and fields of dot: then it can be printed without a record.
    pub fn cells(&self) -> Option<Vec<Cell<'_>>> {
        cells::of(&self.tree)
    }

    /// Whether it is one `{{range .}}…{{end}}`, which podman's templates over a whole list are.
    pub fn ranges_over_dot(&self) -> bool {
        uses::ranges_over_dot(&self.tree)
    }

    /// Which fields of dot it can touch, so that costly ones are only computed when one of these.
    pub fn uses(&self) -> Uses {
        uses::of(&self.tree)
    }
}

#[cfg(test)]
mod tests;
