//! `coracle secret inspect`.

use crate::cmd::format::template::{Field, Struct, Value};
use crate::cmd::system::inspect::{Inspected, show};
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::secret::{Secret, Secrets};
use clap::Args;
use std::rc::Rc;

/// Show everything about secrets but the data
#[derive(Args, Clone, Debug)]
pub struct InspectArgs {
    /// A Go template
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "pretty")]
    format: Option<String>,
    /// For people to read
    #[arg(long)]
    pretty: bool,
    /// Show the data, too
    #[arg(long)]
    showsecret: bool,
    /// Names or IDs
    #[arg(value_name = "SECRET", required = true)]
    secrets: Vec<String>,
}

const PRETTY: &str = "ID:              {{.ID}}
Name:              {{.Spec.Name}}
{{- range $k, $v := .Spec.Labels }}
  {{ $k }}={{ $v }}
{{- end }}
Driver:            {{.Spec.Driver.Name}}
Created at:        {{.CreatedAt}}
Updated at:        {{.UpdatedAt}}";

/// Inspects.
pub fn run(cx: &Context, args: InspectArgs) -> Result<Exit> {
    let secrets = Secrets::open(&cx.engine()?.config);
    let format = if args.pretty { Some(PRETTY) } else { args.format.as_deref() };
    show(cx, format, &args.secrets, |word| {
        let secret = secrets.resolve(word)?;
        let data = if args.showsecret { Some(secrets.data(&secret)?) } else { None };
        Ok(value(&secret, data.as_deref()))
    })
}

/// podman's fields (`entities.SecretInfoReport`), which are docker's, and more.
fn value(secret: &Secret, data: Option<&[u8]>) -> Inspected {
    let field = |name: &'static str, value: Value| Field { name, value, hidden: false };
    let of = |name: &'static str, fields| Value::Struct(Rc::new(Struct { name, fields }));
    let driver = of(
        "SecretDriverSpec",
        vec![
            field("Name", secret.driver.as_str().into()),
            field("Options", Value::string_map(&secret.options)),
        ],
    );
    let spec = of(
        "SecretSpec",
        vec![
            field("Name", secret.name.as_str().into()),
            field("Driver", driver),
            field("Labels", Value::string_map(&secret.labels)),
        ],
    );
    let mut fields = vec![
        field("ID", secret.id.as_str().into()),
        field("CreatedAt", Value::Time(secret.created)),
        field("UpdatedAt", Value::Time(secret.updated)),
        field("Spec", spec),
    ];
    if let Some(data) = data {
        fields.push(field("SecretData", String::from_utf8_lossy(data).as_ref().into()));
    }
    of("SecretInfoReport", fields)
}
