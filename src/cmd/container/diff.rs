//! `coracle diff`, `container diff` and `image diff`.

use crate::cmd::{Context, Exit};
use crate::engine::container::{Subject, diff, latest};
use crate::engine::store::diff::create::{Change, ChangeKind};
use crate::engine::{Error, Result};
use clap::Args;
use serde::Serialize;

/// List what changed in a container's file system
///
/// A line is a letter and a path: A added, C changed, D deleted. Of an image its uppermost layer is compared with those
/// below. A second name is what the first is compared with.
#[derive(Args, Clone, Debug)]
pub struct DiffArgs {
    /// "json" for lists of changed, added and deleted paths
    #[arg(long, value_name = "FORMAT", overrides_with = "format")]
    format: Option<String>,
    /// The container that was created last
    #[arg(short, long, conflicts_with = "names")]
    latest: bool,
    /// A container, an image, or a layer's ID; and one to compare it with
    #[arg(value_name = "NAME", num_args = 1..=2, required_unless_present = "latest")]
    names: Vec<String>,
}

/// List what an image's uppermost layer changed
///
/// A line is a letter and a path: A added, C changed, D deleted. A second image is what the first is compared with.
#[derive(Args, Clone, Debug)]
pub struct ImageDiffArgs {
    /// "json" for lists of changed, added and deleted paths
    #[arg(long, value_name = "FORMAT", overrides_with = "format")]
    format: Option<String>,
    /// An image; and one to compare it with
    #[arg(value_name = "IMAGE", num_args = 1..=2, required = true)]
    names: Vec<String>,
}

/// Of anything.
pub fn any(cx: &Context, args: DiffArgs) -> Result<Exit> {
    run(cx, args, Subject::Any)
}

/// Of containers.
pub fn container(cx: &Context, args: DiffArgs) -> Result<Exit> {
    run(cx, args, Subject::Container)
}

/// Of images.
pub fn image(cx: &Context, args: ImageDiffArgs) -> Result<Exit> {
    show(cx, args.format.as_deref(), &args.names, Subject::Image)
}

fn run(cx: &Context, args: DiffArgs, subject: Subject) -> Result<Exit> {
    let names = if args.latest { vec![latest(cx.engine()?)?.id] } else { args.names };
    show(cx, args.format.as_deref(), &names, subject)
}

fn show(cx: &Context, format: Option<&str>, names: &[String], subject: Subject) -> Result<Exit> {
    let json = match format {
        None | Some("") => false,
        Some("json") => true,
        Some(_) => return Err(Error::invalid("only supported value for '--format' is 'json'")),
    };
    let [name, base @ ..] = names else { return Err(Error::invalid("diff needs a name")) };
    let changes = diff(cx.engine()?, subject, name, base.first().map(String::as_str))?;
    if json {
        cx.print(report(&changes)?)?;
        return Ok(Exit::OK);
    }
    let mut text = Vec::new();
    for change in &changes {
        text.extend_from_slice(letter(change.kind).as_bytes());
        text.push(b' ');
        text.extend_from_slice(&change.path);
        text.push(b'\n');
    }
    cx.print_bytes(&text)?;
    Ok(Exit::OK)
}

fn letter(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Modified => "C",
        ChangeKind::Added => "A",
        ChangeKind::Deleted => "D",
    }
}

/// podman's document (`cmd/podman/diff`).
#[derive(Default, Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    added: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deleted: Vec<String>,
}

fn report(changes: &[Change]) -> Result<String> {
    let mut report = Report::default();
    for change in changes {
        let list = match change.kind {
            ChangeKind::Modified => &mut report.changed,
            ChangeKind::Added => &mut report.added,
            ChangeKind::Deleted => &mut report.deleted,
        };
        list.push(String::from_utf8_lossy(&change.path).into_owned());
    }
    let mut text = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"     ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, indent);
    report.serialize(&mut serializer).map_err(|e| Error::invalid("the list as JSON").with_source(e))?;
    text.push(b'\n');
    String::from_utf8(text).map_err(|e| Error::invalid("the list as JSON").with_source(e))
}
