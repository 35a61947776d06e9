//! What Go refuses to pass to a function, and its words for it.

use super::funcs::{Func, Param};
use super::node::{Expr, Number};
use super::value::Value;

type Checked = Result<(), String>;

/// The number of arguments.
pub(super) fn count(func: &Func, given: usize) -> Checked {
    let fixed = func.params.len() - usize::from(func.variadic);
    match func.variadic {
        true if given < fixed => {
            Err(format!("wrong number of args for {}: want at least {fixed} got {given}", func.name))
        }
        false if given != fixed => {
            Err(format!("wrong number of args for {}: want {fixed} got {given}", func.name))
        }
        _ => Ok(()),
    }
}

fn param_name(param: Param) -> &'static str {
    match param {
        Param::Any => "interface {}",
        Param::Str => "string",
        Param::Int => "int",
    }
}

/// A literal in the place of a string or an integer is refused in the words of the grammar.
pub(super) fn constant(param: Param, arg: &Expr) -> Checked {
    let expected = match (param, arg) {
        (_, Expr::Nil { .. }) => return Err(format!("cannot assign nil to {}", param_name(param))),
        (Param::Str, Expr::Bool { .. } | Expr::Number { .. }) => "string",
        (Param::Int, Expr::Bool { .. } | Expr::Str { .. } | Expr::Number { value: Number::Float(_), .. }) => {
            "integer"
        }
        _ => return Ok(()),
    };
    Err(format!("expected {expected}; found {arg}"))
}

/// An argument's type.
pub(super) fn type_of(param: Param, value: &Value) -> Checked {
    match (param, value) {
        (Param::Any, _) | (Param::Str, Value::Str(_)) | (Param::Int, Value::Int(_)) => Ok(()),
        (param, Value::Missing | Value::Nil) => Err(format!("invalid value; expected {}", param_name(param))),
        (param, _) => {
            Err(format!("wrong type for value; expected {}; got {}", param_name(param), value.type_name()))
        }
    }
}
