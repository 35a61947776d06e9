//! A listing declares each field once; table, JSON, Go template and `-q` follow from that.
//!
//! The columns' values are only computed when the chosen format uses them, so `needs` tells beforehand which costly
//! ones are. `--format json` is an array with podman's field types, `{{json .}}` a line per object with docker's.

use super::template::{self, Field, Struct, Template, Value};
use crate::engine::{Error, Result};
use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;

/// One field of a listing.
pub struct Column<R> {
    /// In templates: `.ID`.
    pub name: &'static str,
    /// Above the table's column; empty: the field is no column (`.Namespaces`).
    pub header: &'static str,
    /// Its value in templates.
    pub text: fn(&R) -> Value,
    /// Its value in `--format json`.
    pub json: Json<R>,
}

/// A [`Column`] on one line.
pub const fn column<R>(
    name: &'static str,
    header: &'static str,
    text: fn(&R) -> Value,
    json: Json<R>,
) -> Column<R> {
    Column { name, header, text, json }
}

/// What a field is in `--format json`.
pub enum Json<R> {
    /// The template's value.
    Same,
    /// Left out.
    Skip,
    /// Of another type.
    As(fn(&R) -> Value),
    /// Not in templates at all.
    Only(fn(&R) -> Value),
}

/// Finds an object's labels.
pub type Labels<R> = fn(&R) -> BTreeMap<String, String>;

/// Everything listable about an object.
pub struct Listing<R: 'static> {
    /// Names the type in messages about unknown fields.
    pub name: &'static str,
    /// The fields.
    pub columns: &'static [Column<R>],
    /// What `{{.Label "x"}}` looks in.
    pub labels: Option<Labels<R>>,
}

/// A format the user chose, parsed and checked.
pub struct Plan {
    kind: Kind,
    table: bool,
    headings: bool,
}

enum Kind {
    Json,
    Rows(Template),
    /// The template itself ranges over the list.
    Whole(Template),
}

impl Plan {
    /// The user's `--format`, or `default` (the columns of a table). `headings`: unless `--noheading`.
    ///
    /// # Errors
    /// [`crate::engine::ErrorKind::Invalid`] with Go's message for a template that does not parse.
    pub fn new(format: Option<&str>, default: &str, headings: bool) -> Result<Plan> {
        let table =
            |columns: &str| Ok(Plan { kind: Kind::Rows(parse(&unescape(columns))?), table: true, headings });
        let Some(format) = format else { return table(default) };
        let trimmed = format.trim();
        if trimmed == "json" {
            return Ok(Plan { kind: Kind::Json, table: false, headings: false });
        }
        if trimmed == "table" {
            return table(default);
        }
        if let Some(columns) = trimmed.strip_prefix("table ") {
            return table(columns.trim_start());
        }
        let template = parse(&unescape(format))?;
        let kind = match template.ranges_over_dot() {
            true => Kind::Whole(template),
            false => Kind::Rows(template),
        };
        Ok(Plan { kind, table: false, headings: false })
    }

    /// Will a template look at this field?
    pub fn needs(&self, field: &str) -> bool {
        match &self.kind {
            Kind::Json => false,
            Kind::Whole(_) => true,
            Kind::Rows(template) => template.uses().has(field),
        }
    }

    /// Whether it is `--format json`, which looks at every field but those it leaves out.
    pub fn is_json(&self) -> bool {
        matches!(self.kind, Kind::Json)
    }
}

/// A piece of a row that needs no template.
enum Cell<'t, R> {
    Text(&'t str),
    Value(fn(&R) -> Value),
}

impl<R> Listing<R> {
    /// Renders `rows`, each on a line of its own.
    ///
    /// # Errors
    /// [`crate::engine::ErrorKind::Invalid`] with Go's message for a field that does not exist and the like.
    pub fn render(&self, plan: &Plan, rows: &[R]) -> Result<String> {
        match &plan.kind {
            Kind::Json => Ok(self.json(rows)),
            Kind::Whole(template) => {
                let all = self.columns_where(|_| true);
                let items = rows.iter().map(|row| self.record(row, &all, true)).collect();
                let list = Value::List(Rc::new(template::List { any: false, items, nil: false }));
                execute(template, &list)
            }
            Kind::Rows(template) => self.rows(template, plan, rows),
        }
    }

    fn rows(&self, template: &Template, plan: &Plan, rows: &[R]) -> Result<String> {
        let mut out = String::new();
        if plan.headings {
            out.push_str(&template.execute_headers(&self.headers()).map_err(|e| Error::invalid(e.0))?);
            out.push('\n');
        }
        // A field that does not exist is told where there is nothing to list, too, as docker does.
        if rows.is_empty()
            && let Err(e) = template.execute_headers(&self.headers())
            && e.0.contains("can't evaluate field")
        {
            return Err(Error::invalid(e.0));
        }
        match self.cells(template) {
            Some(cells) => cells_of(&cells, rows, &mut out)?,
            None => self.records_of(template, rows, &mut out)?,
        }
        Ok(if plan.table { align(&out) } else { out })
    }

    fn records_of(&self, template: &Template, rows: &[R], out: &mut String) -> Result<()> {
        let uses = template.uses();
        let columns = self.columns_where(|name| uses.has(name));
        let labels = uses.has("Label");
        for row in rows {
            out.push_str(&execute(template, &self.record(row, &columns, labels))?);
            out.push('\n');
        }
        Ok(())
    }

    /// What each row is, where the template is nothing but text and columns.
    fn cells<'t>(&self, template: &'t Template) -> Option<Vec<Cell<'t, R>>> {
        let cell = |cell| match cell {
            template::Cell::Text(text) => Some(Cell::Text(text)),
            template::Cell::Field(name) => {
                let mut columns = self.columns.iter().filter(|c| !matches!(c.json, Json::Only(_)));
                columns.find(|c| c.name == name).map(|c| Cell::Value(c.text))
            }
        };
        template.cells()?.into_iter().map(cell).collect()
    }

    /// The columns templates have, of those with a wanted name.
    fn columns_where(&self, wanted: impl Fn(&str) -> bool) -> Vec<&'static Column<R>> {
        self.columns.iter().filter(|c| !matches!(c.json, Json::Only(_)) && wanted(c.name)).collect()
    }

    fn record(&self, row: &R, columns: &[&Column<R>], labels: bool) -> Value {
        let mut fields = Vec::with_capacity(columns.len() + 1);
        fields.extend(columns.iter().map(|c| Field { name: c.name, value: (c.text)(row), hidden: false }));
        if let Some(get) = self.labels.filter(|_| labels) {
            fields.push(label_method(get(row)));
        }
        Value::Struct(Rc::new(Struct { name: self.name, fields }))
    }

    fn headers(&self) -> Value {
        let mut fields: Vec<_> = self
            .columns
            .iter()
            .filter(|c| !matches!(c.json, Json::Only(_)))
            .map(|c| Field { name: c.name, value: Value::from(c.header), hidden: false })
            .collect();
        let heading = Value::method(|args| {
            let name = args.first().and_then(Value::as_str).unwrap_or_default();
            Ok(name.rsplit('.').next().unwrap_or(name).replace(['-', '_'], " ").into())
        });
        fields.push(Field { name: "Label", value: heading, hidden: true });
        Value::Struct(Rc::new(Struct { name: self.name, fields }))
    }

    fn json(&self, rows: &[R]) -> String {
        let items = rows.iter().map(|row| {
            let fields = self.columns.iter().filter_map(|column| {
                let value = match column.json {
                    Json::Same => (column.text)(row),
                    Json::As(get) | Json::Only(get) => get(row),
                    Json::Skip => return None,
                };
                Some(Field { name: column.name, value, hidden: false })
            });
            Value::Struct(Rc::new(Struct { name: self.name, fields: fields.collect() }))
        });
        let list = Value::List(Rc::new(template::List { any: false, items: items.collect(), nil: false }));
        template::to_json_pretty(&list, 2) + "\n"
    }
}

fn cells_of<R>(cells: &[Cell<'_, R>], rows: &[R], out: &mut String) -> Result<()> {
    for row in rows {
        for cell in cells {
            match cell {
                Cell::Text(text) => out.push_str(text),
                Cell::Value(get) => template::print(out, &get(row)).map_err(Error::invalid)?,
            }
        }
        out.push('\n');
    }
    Ok(())
}

/// `{{.Label "x"}}`: a label's value, empty when there is none.
fn label_method(labels: BTreeMap<String, String>) -> Field {
    let value = Value::method(move |args| match args {
        [Value::Str(name)] => Ok(labels.get(&**name).cloned().unwrap_or_default().into()),
        args => Err(format!("wrong number of args for Label: want 1 got {}", args.len())),
    });
    Field { name: "Label", value, hidden: true }
}

fn parse(text: &str) -> Result<Template> {
    Template::parse(text).map_err(|e| Error::invalid(e.0))
}

fn execute(template: &Template, data: &Value) -> Result<String> {
    template.execute(data).map_err(|e| Error::invalid(e.0))
}

/// `\t` and `\n` outside of actions, as a shell's single quotes leave them.
pub fn unescape(format: &str) -> String {
    let mut out = String::with_capacity(format.len());
    let mut rest = format;
    while let Some(open) = rest.find("{{") {
        out.push_str(&replace_escapes(&rest[..open]));
        let end = rest[open..].find("}}").map_or(rest.len(), |end| open + end + 2);
        out.push_str(&rest[open..end]);
        rest = &rest[end..];
    }
    out + &replace_escapes(rest)
}

fn replace_escapes(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

/// The least a column takes, without [`SPACES`].
const LEAST: usize = 10;
/// Between two columns.
const SPACES: usize = 2;

/// Aligns tab-separated cells as podman does: columns at least 12 wide with the two spaces between them.
fn align(text: &str) -> String {
    uniform(text).unwrap_or_else(|| elastic(text))
}

/// [`elastic`] for what nearly every table is, in a fraction of its time: printable ASCII, as many cells in every line.
fn uniform(text: &str) -> Option<String> {
    let widths = widths(text)?;
    let mut out = String::with_capacity(text.len() * 2);
    let mut start = 0;
    let mut column = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\t' => {
                out.push_str(&text[start..at]);
                pad(&mut out, widths[column] + SPACES + start - at);
                column += 1;
            }
            b'\n' => {
                out.push_str(&text[start..=at]);
                column = 0;
            }
            _ => continue,
        }
        start = at + 1;
    }
    Some(out)
}

/// How wide the cells before the last of each line are; `None` where lines differ in their number, or there is more than
/// printable ASCII or an end without a newline.
fn widths(text: &str) -> Option<Vec<usize>> {
    let mut widths: Vec<usize> = Vec::new();
    let (mut start, mut column, mut first) = (0, 0, true);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b' '..=b'~' => continue,
            b'\t' => {
                match widths.get_mut(column) {
                    Some(width) => *width = (*width).max(at - start),
                    None if first => widths.push(LEAST.max(at - start)),
                    None => return None,
                }
                column += 1;
            }
            b'\n' if column == widths.len() => (column, first) = (0, false),
            _ => return None,
        }
        start = at + 1;
    }
    (start == text.len()).then_some(widths)
}

fn pad(out: &mut String, mut count: usize) {
    const BLANKS: &str = "                                ";
    while count > BLANKS.len() {
        out.push_str(BLANKS);
        count -= BLANKS.len();
    }
    out.push_str(&BLANKS[..count]);
}

/// Text whose columns begin and end with the lines that have them, as Go's text/tabwriter does it.
fn elastic(text: &str) -> String {
    let mut writer = tabwriter::TabWriter::new(Vec::new()).minwidth(LEAST).padding(SPACES);
    let written = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
    match (written, writer.into_inner()) {
        (Ok(()), Ok(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Boat {
        id: &'static str,
        name: &'static str,
        labels: BTreeMap<String, String>,
    }

    const LISTING: Listing<Boat> = Listing {
        name: "boat",
        columns: &[
            Column {
                name: "ID",
                header: "BOAT ID",
                text: |b| b.id.into(),
                json: Json::As(|b| format!("full-{}", b.id).into()),
            },
            Column { name: "Name", header: "NAME", text: |b| b.name.into(), json: Json::Same },
            Column { name: "Size", header: "SIZE", text: |b| (b.name.len() as i64).into(), json: Json::Skip },
            Column { name: "Extra", header: "", text: |_| Value::Missing, json: Json::Only(|_| true.into()) },
        ],
        labels: Some(|b| b.labels.clone()),
    };

    fn render(format: Option<&str>) -> String {
        let labels = BTreeMap::from([("com.x.owner-name".to_owned(), "ann".to_owned())]);
        let boats = [
            Boat { id: "a1", name: "coracle", labels },
            Boat { id: "b2", name: "a much longer name", labels: BTreeMap::new() },
        ];
        match Plan::new(format, "{{.ID}}\t{{.Name}}", true).and_then(|plan| LISTING.render(&plan, &boats)) {
            Ok(text) => text,
            Err(e) => format!("Error: {e}"),
        }
    }

    #[test]
    fn one_declaration_gives_every_output() {
        let table = "BOAT ID     NAME\na1          coracle\nb2          a much longer name\n";
        let json = "[\n  {\n    \"ID\": \"full-a1\",\n    \"Name\": \"coracle\",\n    \"Extra\": true\n  },\n  {\n    \"ID\": \"full-b2\",\n    \"Name\": \"a much longer name\",\n    \"Extra\": true\n  }\n]\n";
        let unknown =
            "Error: template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *boat";
        let cases = [
            (None, table),
            (Some("table"), table),
            (Some(r"table {{.ID}}\t{{.Name}}"), table),
            (Some("table {{.ID}} {{upper .Name}}"), "BOAT ID NAME\na1 CORACLE\nb2 A MUCH LONGER NAME\n"),
            (
                Some(r#"table {{.ID}}\t{{.Label "com.x.owner-name"}}"#),
                "BOAT ID     owner name\na1          ann\nb2          \n",
            ),
            (Some(r"{{.ID}}\t{{.Size}}\n"), "a1\t7\n\nb2\t18\n\n"),
            (Some(r#"{{.ID}}{{"\n"}}"#), "a1\n\nb2\n\n"),
            (
                Some("{{json .}}"),
                "{\"ID\":\"a1\",\"Name\":\"coracle\",\"Size\":7}\n{\"ID\":\"b2\",\"Name\":\"a much longer name\",\"Size\":18}\n",
            ),
            (Some("{{range .}}{{.ID}},{{end}}"), "a1,b2,"),
            (Some("json"), json),
            (Some("{{.Nope}}"), unknown),
            (Some("{{.ID"), "Error: template: :1: unclosed action"),
        ];
        for (format, expected) in cases {
            assert_eq!(render(format), expected, "{format:?}");
        }
    }

    #[test]
    fn columns_alone_are_printed_as_a_template_prints_them() {
        for columns in [
            r"table {{.ID}}\t{{.Name}}",
            "{{.ID}}{{.Size}} {{ .Name }}",
            "{{.Nope}}",
            "{{.Extra}}",
            "x",
            "{{.id}}",
        ] {
            let more = format!("{columns}{{{{if false}}}}{{{{end}}}}");
            assert!(parse(&more).unwrap().cells().is_none());
            assert_eq!(render(Some(columns)), render(Some(&more)), "{columns}");
        }
        assert_eq!(parse("{{.ID}} {{.Name}}").unwrap().cells().unwrap().len(), 3);
    }

    proptest::proptest! {
        #[test]
        fn the_fast_way_to_align_is_the_slow_one(
            rows in proptest::collection::vec(proptest::collection::vec("[ -~]{0,14}", 1..5), 0..6),
            columns in 1usize..5,
        ) {
            let text = |cells: &[String]| cells.join("\t") + "\n";
            let ragged: String = rows.iter().map(|cells| text(cells)).collect();
            let fixed = rows.iter().cloned().map(|mut cells| { cells.resize(columns, String::new()); text(&cells) });
            let fixed: String = fixed.collect();
            proptest::prop_assert_eq!(uniform(&fixed), Some(elastic(&fixed)));
            if let Some(aligned) = uniform(&ragged) {
                proptest::prop_assert_eq!(aligned, elastic(&ragged));
            }
        }
    }

    #[test]
    fn wide_letters_take_the_slow_way() {
        assert_eq!(uniform("a\té\n"), None);
        assert_eq!(uniform("a\tb\nc\n"), None);
    }

    #[test]
    fn an_unknown_field_is_an_error_without_any_row() {
        for (format, fails) in [
            ("{{.Nope}}", true),
            ("{{.ID}} {{.Name.Nope}}", true),
            ("{{.ID}} {{json .}} {{.Label \"x\"}} {{index .Name 9}} {{upper .ID}}", false),
            ("{{range .}}{{.Nope}}{{end}}", false),
        ] {
            let none: [Boat; 0] = [];
            let plan = Plan::new(Some(format), "{{.ID}}", true).unwrap();
            assert_eq!(LISTING.render(&plan, &none).is_err(), fails, "{format}");
        }
    }

    #[test]
    fn a_plan_tells_what_it_needs() {
        let needs = |format: Option<&str>| Plan::new(format, "{{.ID}}", true).unwrap().needs("Size");
        assert!(!needs(None) && !needs(Some("{{.Name}}")));
        assert!(
            needs(Some("{{.Size}}")) && needs(Some("{{json .}}")) && needs(Some("{{range .}}{{.ID}}{{end}}"))
        );
    }
}
