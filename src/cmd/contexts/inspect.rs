//! `coracle context inspect`.

use super::{DEFAULT, known};
use crate::cmd::format::template::{Field, Struct, Value};
use crate::cmd::system::inspect::{Inspected, show};
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use clap::Args;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Show everything about contexts
#[derive(Args, Clone, Debug)]
pub struct InspectArgs {
    /// A Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names; default: the one in use
    #[arg(value_name = "CONTEXT")]
    contexts: Vec<String>,
}

/// Inspects.
pub fn run(cx: &Context, args: InspectArgs) -> Result<Exit> {
    let names = if args.contexts.is_empty() { vec![DEFAULT.to_owned()] } else { args.contexts };
    show(cx, args.format.as_deref(), &names, |name| known(name).map(|()| value()))
}

/// docker's fields (cli/command/context/inspect.go). There is no endpoint, for nobody listens.
fn value() -> Inspected {
    let field = |name: &'static str, value: Value| Field { name, value, hidden: false };
    let nothing = || Value::string_map(&BTreeMap::new());
    let storage = vec![field("MetadataPath", "<IN MEMORY>".into()), field("TLSPath", "<IN MEMORY>".into())];
    let fields = vec![
        field("Name", DEFAULT.into()),
        field("Metadata", nothing()),
        field("Endpoints", nothing()),
        field("TLSMaterial", nothing()),
        field("Storage", Value::Struct(Rc::new(Struct { name: "Storage", fields: storage }))),
    ];
    Value::Struct(Rc::new(Struct { name: "contextWithTLSListing", fields }))
}
