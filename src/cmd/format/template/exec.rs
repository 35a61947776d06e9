//! Evaluates a parsed template the way Go's text/template does, error positions included.

use super::check;
use super::funcs::{self, Param};
use super::node::{At, Branch, Command, Expr, Node, Number, Pipe};
use super::parse::Tree;
use super::printf::display;
use super::quote::quote;
use super::value::{Value, time_method};
use std::rc::Rc;

/// Executes `tree` with `data` as dot. The error is Go's whole line.
pub(super) fn execute(name: &str, source: &str, tree: &Tree, data: &Value) -> Result<String, String> {
    run(name, source, tree, data, false)
}

/// [`execute`] with functions on strings and lists that return their first argument.
pub(super) fn execute_headers(name: &str, source: &str, tree: &Tree, data: &Value) -> Result<String, String> {
    run(name, source, tree, data, true)
}

fn run(name: &str, source: &str, tree: &Tree, data: &Value, headers: bool) -> Result<String, String> {
    let mut state = State {
        name,
        template: name.to_owned(),
        source,
        tree,
        at: None,
        out: String::new(),
        variables: vec![("$".to_owned(), data.clone())],
        depth: 0,
        headers,
    };
    let dot = Slot { value: data.clone(), boxed: false };
    match state.list(&dot, &tree.root) {
        Ok(_) => Ok(state.out),
        Err(message) => Err(state.locate(&message)),
    }
}

/// Appends a value as an action prints it.
///
/// # Errors
/// Go's words for a value that cannot be printed, a method.
pub fn print(out: &mut String, value: &Value) -> Result<(), String> {
    match value {
        Value::Missing | Value::Nil => out.push_str("<no value>"),
        Value::Method(_) => return Err("can't print func of type func".to_owned()),
        Value::Str(text) => out.push_str(text),
        value => out.push_str(&display(value)),
    }
    Ok(())
}

/// `{{template}}` calls and bodies nest at most this deep.
const MAX_DEPTH: usize = 1000;

/// A value, and whether Go would hold it in an `interface {}` at this point, which messages name instead of its type.
#[derive(Clone)]
struct Slot {
    value: Value,
    boxed: bool,
}

impl Slot {
    fn plain(value: Value) -> Slot {
        Slot { value, boxed: false }
    }

    fn type_name(&self) -> String {
        match &self.value {
            _ if self.boxed => "interface {}".to_owned(),
            Value::Struct(record) => format!("*{}", record.name),
            value => value.type_name(),
        }
    }
}

enum Flow {
    Next,
    Break,
    Continue,
}

struct State<'t> {
    name: &'t str,
    template: String,
    source: &'t str,
    tree: &'t Tree,
    at: Option<At<'t>>,
    out: String,
    variables: Vec<(String, Value)>,
    depth: usize,
    headers: bool,
}

type Evaluated<T = Slot> = Result<T, String>;

impl<'t> State<'t> {
    /// Go's prefix: template, line, byte in the line, the node.
    fn locate(&self, message: &str) -> String {
        let executing = quote(&self.template);
        match &self.at {
            None => format!("template: {}: executing {executing}: {message}", self.name),
            Some(at) => {
                let before = self.source.get(..at.pos()).unwrap_or_default();
                let line = 1 + before.matches('\n').count();
                let column = before.len() - before.rfind('\n').map_or(0, |n| n + 1);
                format!("template: {}:{line}:{column}: executing {executing} at <{at}>: {message}", self.name)
            }
        }
    }

    fn list(&mut self, dot: &Slot, list: &'t [Node]) -> Evaluated<Flow> {
        for node in list {
            match self.node(dot, node)? {
                Flow::Next => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, dot: &Slot, node: &'t Node) -> Evaluated<Flow> {
        self.at = Some(At::Node(node));
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Action { pipe, .. } => {
                let value = self.pipeline(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.at = Some(At::Node(node));
                    print(&mut self.out, &value)?;
                }
            }
            Node::If(branch) => return self.conditional(dot, branch, false),
            Node::With(branch) => return self.conditional(dot, branch, true),
            Node::Range(branch) => return self.range(dot, branch),
            Node::Template { name, pipe, .. } => self.call_template(dot, node, name, pipe.as_ref())?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn conditional(&mut self, dot: &Slot, branch: &'t Branch, with: bool) -> Evaluated<Flow> {
        let mark = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?;
        let flow = if value.truth() {
            let inner = if with { Slot::plain(value) } else { dot.clone() };
            self.list(&inner, &branch.body)
        } else {
            branch.otherwise.as_ref().map_or(Ok(Flow::Next), |list| self.list(dot, list))
        };
        self.variables.truncate(mark);
        flow
    }

    fn range(&mut self, dot: &Slot, branch: &'t Branch) -> Evaluated<Flow> {
        let mark = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?;
        let mut empty = true;
        let mut once = |state: &mut Self, key: Value, item: Slot| -> Evaluated<bool> {
            empty = false;
            state.set_range_variables(&branch.pipe, key, &item.value);
            let depth = state.variables.len();
            let flow = state.list(&item, &branch.body)?;
            state.variables.truncate(depth);
            Ok(matches!(flow, Flow::Break))
        };
        match &value {
            Value::List(list) => {
                for (i, item) in list.items.iter().enumerate() {
                    if once(self, Value::Int(i as i64), Slot { value: item.clone(), boxed: list.any })? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                let boxed = map.element == super::value::Element::Any;
                for (key, item) in &map.entries {
                    if once(self, Value::Str(key.clone()), Slot { value: item.clone(), boxed })? {
                        break;
                    }
                }
            }
            Value::Int(count) => {
                for i in 0..(*count).clamp(0, 1_000_000) {
                    if once(self, Value::Int(i), Slot::plain(Value::Int(i)))? {
                        break;
                    }
                }
            }
            value if value.is_nil() => {}
            value => return Err(format!("range can't iterate over {}", display(value))),
        }
        self.variables.truncate(mark);
        match &branch.otherwise {
            Some(otherwise) if empty => self.list(dot, otherwise),
            _ => Ok(Flow::Next),
        }
    }

    /// One variable is the element, two are index and element; `=` assigns to outer ones.
    fn set_range_variables(&mut self, pipe: &Pipe, key: Value, item: &Value) {
        let values = match pipe.variables.len() {
            0 => return,
            1 => vec![item.clone()],
            _ => vec![key, item.clone()],
        };
        for (name, value) in pipe.variables.iter().zip(values) {
            if let Some((_, slot)) = self.variables.iter_mut().rev().find(|(n, _)| n == name) {
                *slot = value;
            }
        }
    }

    fn call_template(
        &mut self,
        dot: &Slot,
        node: &'t Node,
        name: &str,
        pipe: Option<&'t Pipe>,
    ) -> Evaluated<()> {
        let tree = self.tree;
        let Some(body) = tree.defined.get(name) else {
            return Err(format!("template {} not defined", quote(name)));
        };
        if self.depth == MAX_DEPTH {
            return Err(format!("exceeded maximum template depth ({MAX_DEPTH})"));
        }
        let value = match pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Value::Missing,
        };
        let variables = std::mem::replace(&mut self.variables, vec![("$".to_owned(), value.clone())]);
        let outer = std::mem::replace(&mut self.template, name.to_owned());
        self.depth += 1;
        self.list(&Slot::plain(value), body)?;
        self.depth -= 1;
        self.template = outer;
        self.variables = variables;
        self.at = Some(At::Node(node));
        Ok(())
    }

    fn pipeline(&mut self, dot: &Slot, pipe: &'t Pipe) -> Evaluated<Value> {
        self.at = Some(At::Pipe(pipe));
        let mut last = None;
        for command in &pipe.commands {
            let slot = self.command(dot, command, last)?;
            last = Some(slot.value);
        }
        let value = match last {
            Some(Value::Nil) | None => Value::Missing,
            Some(value) => value,
        };
        for name in &pipe.variables {
            match self.variables.iter_mut().rev().find(|(n, _)| pipe.assign && n == name) {
                Some((_, slot)) => *slot = value.clone(),
                None if pipe.assign => return Err(format!("undefined variable: {name}")),
                None => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    fn command(&mut self, dot: &Slot, command: &'t Command, last: Option<Value>) -> Evaluated {
        let first = &command.args[0];
        match first {
            Expr::Field { path, .. } => {
                self.at = Some(At::Expr(first));
                return self.chain(dot, dot.clone(), first, path, &command.args, last);
            }
            Expr::Chain { of, path, .. } => {
                self.at = Some(At::Expr(first));
                let of = self.operand(dot, of)?;
                return self.chain(dot, of, first, path, &command.args, last);
            }
            Expr::Function { name, .. } => {
                self.at = Some(At::Expr(first));
                return self.function(dot, At::Command(command), name, &command.args[1..], last);
            }
            Expr::Pipe(pipe) => {
                self.no_arguments(first, &command.args, &last)?;
                return self.pipeline(dot, pipe).map(Slot::plain);
            }
            Expr::Variable { path, .. } => {
                self.at = Some(At::Expr(first));
                let value = Slot::plain(self.variable(&path[0])?);
                if path.len() == 1 {
                    self.no_arguments(first, &command.args, &last)?;
                    return Ok(value);
                }
                return self.chain(dot, value, first, &path[1..], &command.args, last);
            }
            _ => {}
        }
        self.at = Some(At::Expr(first));
        self.no_arguments(first, &command.args, &last)?;
        match first {
            Expr::Dot { .. } => Ok(dot.clone()),
            Expr::Nil { .. } => Err("nil is not a command".to_owned()),
            constant => constant_value(constant).map(Slot::plain),
        }
    }

    fn no_arguments(&self, first: &Expr, args: &[Expr], last: &Option<Value>) -> Evaluated<()> {
        match args.len() > 1 || last.is_some() {
            true => Err(format!("can't give argument to non-function {first}")),
            false => Ok(()),
        }
    }

    fn variable(&self, name: &str) -> Evaluated<Value> {
        match self.variables.iter().rev().find(|(n, _)| n == name) {
            Some((_, value)) => Ok(value.clone()),
            None => Err(format!("undefined variable: {name}")),
        }
    }

    /// `.a.b.c args…`: only the last field gets the arguments. `args[0]` is the chain itself.
    fn chain(
        &mut self,
        dot: &Slot,
        mut receiver: Slot,
        node: &'t Expr,
        path: &[String],
        args: &'t [Expr],
        last: Option<Value>,
    ) -> Evaluated {
        let Some((final_name, names)) = path.split_last() else { return Ok(receiver) };
        for name in names {
            receiver = self.field(dot, &receiver, node, name, &[], None)?;
        }
        self.field(dot, &receiver, node, final_name, args.get(1..).unwrap_or_default(), last)
    }

    fn field(
        &mut self,
        dot: &Slot,
        receiver: &Slot,
        node: &'t Expr,
        name: &str,
        args: &'t [Expr],
        last: Option<Value>,
    ) -> Evaluated {
        let given = !args.is_empty() || last.is_some();
        match &receiver.value {
            Value::Missing => return Ok(Slot::plain(Value::Missing)),
            Value::Nil | Value::NilPointer => {
                return Err(format!("nil pointer evaluating {}.{name}", receiver.type_name()));
            }
            Value::Struct(record) => match record.get(name) {
                Some(Value::Method(method)) => {
                    let method = Rc::clone(&method.0);
                    let values = self.values(dot, args, last)?;
                    return method(&values)
                        .map(Slot::plain)
                        .map_err(|e| self.calling(At::Expr(node), name, &e));
                }
                Some(_) if given => {
                    return Err(format!("{name} has arguments but cannot be invoked as function"));
                }
                Some(value) => return Ok(Slot::plain(value.clone())),
                None => {}
            },
            Value::Map(map) => {
                if given {
                    return Err(format!("{name} is not a method but has arguments"));
                }
                let boxed = map.element == super::value::Element::Any;
                return Ok(match map.entries.get(name) {
                    Some(value) => Slot { value: value.clone(), boxed },
                    None => Slot::plain(Value::Missing),
                });
            }
            Value::Time(time) => {
                let values = self.values(dot, args, last)?;
                if let Some(result) = time_method(*time, name, &values) {
                    return result.map(Slot::plain).map_err(|e| self.calling(At::Expr(node), name, &e));
                }
            }
            _ => {}
        }
        Err(format!("can't evaluate field {name} in type {}", receiver.type_name()))
    }

    fn calling(&mut self, at: At<'t>, name: &str, error: &str) -> String {
        self.at = Some(at);
        format!("error calling {name}: {error}")
    }

    fn values(&mut self, dot: &Slot, args: &'t [Expr], last: Option<Value>) -> Evaluated<Vec<Value>> {
        let mut values = Vec::with_capacity(args.len() + 1);
        for arg in args {
            values.push(self.operand(dot, arg)?.value);
        }
        values.extend(last);
        Ok(values)
    }

    fn function(
        &mut self,
        dot: &Slot,
        node: At<'t>,
        name: &str,
        args: &'t [Expr],
        last: Option<Value>,
    ) -> Evaluated {
        let Some(func) = funcs::find(name) else {
            return Err(format!("{} is not a defined function", quote(name)));
        };
        let given = args.len() + usize::from(last.is_some());
        check::count(func, given)?;
        if matches!(name, "and" | "or") {
            return self.lazily(dot, name == "or", args, last);
        }
        let mut values = Vec::with_capacity(given);
        for (i, arg) in args.iter().enumerate() {
            let param = func.params[i.min(func.params.len() - 1)];
            let slot = self.operand(dot, arg)?;
            if param != Param::Any {
                check::constant(param, arg)?;
                check::type_of(param, &slot.value)?;
            }
            values.push(slot.value);
        }
        if let Some(value) = last {
            let param = func.params[(given - 1).min(func.params.len() - 1)];
            check::type_of(param, &value)?;
            values.push(value);
        }
        if self.headers && funcs::LEAVE_HEADERS.contains(&name) {
            return Ok(Slot::plain(values.swap_remove(0)));
        }
        (func.call)(&values).map(Slot::plain).map_err(|e| self.calling(node, name, &e))
    }

    /// `and` and `or` stop at the first argument that decides.
    fn lazily(&mut self, dot: &Slot, until: bool, args: &'t [Expr], last: Option<Value>) -> Evaluated {
        let mut value = Value::Missing;
        for arg in args {
            value = self.operand(dot, arg)?.value;
            if value.truth() == until {
                return Ok(Slot::plain(value));
            }
        }
        Ok(Slot::plain(last.unwrap_or(value)))
    }

    fn operand(&mut self, dot: &Slot, expr: &'t Expr) -> Evaluated {
        self.at = Some(At::Expr(expr));
        match expr {
            Expr::Dot { .. } => Ok(dot.clone()),
            Expr::Nil { .. } => Ok(Slot::plain(Value::Missing)),
            Expr::Field { path, .. } => self.chain(dot, dot.clone(), expr, path, &[], None),
            Expr::Variable { path, .. } => {
                let value = Slot::plain(self.variable(&path[0])?);
                self.chain(dot, value, expr, &path[1..], &[], None)
            }
            Expr::Pipe(pipe) => self.pipeline(dot, pipe).map(Slot::plain),
            Expr::Function { name, .. } => self.function(dot, At::Expr(expr), name, &[], None),
            Expr::Chain { of, path, .. } => {
                let of = self.operand(dot, of)?;
                self.chain(dot, of, expr, path, &[], None)
            }
            constant => constant_value(constant).map(Slot::plain),
        }
    }
}

fn constant_value(expr: &Expr) -> Evaluated<Value> {
    Ok(match expr {
        Expr::Bool { value, .. } => Value::Bool(*value),
        Expr::Str { value, .. } => Value::from(value.as_str()),
        Expr::Number { value: Number::Int(i), .. } => Value::Int(*i),
        Expr::Number { value: Number::Float(f), .. } => Value::Float(*f),
        Expr::Number { value: Number::Imaginary(f), .. } => Value::Complex(0.0, *f),
        Expr::Number { text, .. } => return Err(format!("{text} overflows int")),
        other => return Err(format!("can't evaluate command {}", quote(&other.to_string()))),
    })
}
