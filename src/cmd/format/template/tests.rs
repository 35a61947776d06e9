#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use serde::Serialize;
use std::collections::BTreeMap;

/// The templates, and beside each what Go 1.19's text/template made of it.
const ANSWERS: &str = include_str!("../../../../tests/data/templates/go.out");
const BATTERY: &str = include_str!("../../../../tests/data/templates/battery.txt");
const MORE: &str = include_str!("../../../../tests/data/templates/more.out");
const DATA: &str = include_str!("../../../../tests/data/templates/data.json");

fn run(template: &str, data: &Value) -> String {
    match Template::parse(template).and_then(|t| t.execute(data)) {
        Ok(text) => quote(&text),
        Err(e) => format!("ERR {}", quote(&e.0)),
    }
}

fn compare(pairs: impl Iterator<Item = (String, String)>) {
    let data = Value::from(&serde_json::from_str::<serde_json::Value>(DATA).unwrap());
    let mut wrong = Vec::new();
    for (template, go) in pairs {
        let ours = run(&template, &data);
        if ours != go {
            wrong.push(format!("{template}\n  go   {go}\n  ours {ours}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_template_of_the_battery_evaluates_as_in_go() {
    assert_eq!(BATTERY.lines().count(), ANSWERS.lines().count());
    compare(BATTERY.lines().zip(ANSWERS.lines()).map(|(template, answer)| {
        let go = answer.strip_prefix(template).and_then(|a| a.strip_prefix("\t=> ")).unwrap();
        (template.to_owned(), go.to_owned())
    }));
}

#[test]
fn corners_of_the_language_evaluate_as_in_go() {
    compare(MORE.lines().map(|line| {
        let (template, go) = line.split_once("\t=> ").unwrap();
        (template.to_owned(), go.to_owned())
    }));
}

#[derive(Serialize)]
struct Health {
    #[serde(rename = "Status")]
    status: String,
}

#[derive(Serialize)]
#[serde(rename = "State", rename_all = "PascalCase")]
struct State {
    status: String,
    pid: i32,
    #[serde(rename = "OK")]
    ok: bool,
    health: Option<Health>,
    h2: Health,
}

#[derive(Serialize)]
#[serde(rename = "Rec", rename_all = "PascalCase")]
struct Rec {
    #[serde(rename = "ID")]
    id: String,
    names: Vec<String>,
    labels: BTreeMap<String, String>,
    none: BTreeMap<String, String>,
    state: State,
    created: GoTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<String>,
}

fn record() -> Value {
    let labels: BTreeMap<_, _> =
        [("x".to_owned(), "1".to_owned()), ("y".to_owned(), "two".to_owned())].into();
    let health = |status: &str| Health { status: status.to_owned() };
    let state = State { status: "running".to_owned(), pid: 7, ok: true, health: None, h2: health("good") };
    let value = to_value(&Rec {
        id: "abcdef".to_owned(),
        names: vec!["a".to_owned(), "b".to_owned()],
        labels: labels.clone(),
        none: BTreeMap::new(),
        state,
        created: GoTime(None),
        left_out: None,
    });
    let Value::Struct(record) = value else { panic!("a struct") };
    let mut record = std::rc::Rc::into_inner(record).unwrap();
    let method = Value::method(move |args| match args {
        [Value::Str(name)] => Ok(labels.get(&**name).cloned().unwrap_or_default().into()),
        args => Err(format!("wrong number of args for Label: want 1 got {}", args.len())),
    });
    record.fields.push(Field { name: "Label", value: method, hidden: true });
    Value::Struct(record.into())
}

/// Go 1.19's answers for the same struct in Go, but for times, which print as docker prints them.
#[test]
fn structs_behave_as_in_go() {
    let error = |at: usize, node: &str, what: &str| {
        format!("ERR {}", quote(&format!("template: :1:{at}: executing \"\" at <{node}>: {what}")))
    };
    let cases = [
        (
            "{{.ID}} {{.Names}} {{.Labels}} {{.State}}",
            quote("abcdef [a b] map[x:1 y:two] {running 7 true <nil> {good}}"),
        ),
        ("{{.Label \"x\"}} {{.Label \"none\"}}|{{\"y\" | .Label}}", quote("1 |two")),
        ("{{.Nope}}", error(2, ".Nope", "can't evaluate field Nope in type *Rec")),
        ("{{.State.Nope}}", error(8, ".State.Nope", "can't evaluate field Nope in type *State")),
        ("{{.ID.X}}", error(5, ".ID.X", "can't evaluate field X in type string")),
        ("{{.ID \"a\"}}", error(2, ".ID", "ID has arguments but cannot be invoked as function")),
        ("{{.State.Health}}", quote("<nil>")),
        ("{{if .State.Health}}a{{else}}b{{end}}{{if .LeftOut}}a{{else}}b{{end}}", quote("bb")),
        (
            "{{json .State}}",
            quote(r#"{"Status":"running","Pid":7,"OK":true,"Health":null,"H2":{"Status":"good"}}"#),
        ),
        ("{{index .Labels \"x\"}}|{{index .Labels \"nope\"}}|{{index .None \"x\"}}|", quote("1|||")),
        ("{{.Labels.x}} {{.Labels.nope}}", quote("1 <no value>")),
        ("{{len .None}} {{range .None}}x{{else}}e{{end}}", quote("0 e")),
        ("{{printf \"%v %+v %T\" .State.H2 .State.H2 .Names}}", quote("{good} {Status:good} []string")),
        (
            "{{.Created.Unix}} {{.Created.IsZero}} {{.Created.Year}} {{.Created.Month}}",
            quote("-62135596800 true 1 January"),
        ),
        (
            "{{.Created.Format \"2006-01-02T15:04:05Z07:00\"}} {{json .Created}}",
            quote("0001-01-01T00:00:00Z \"0001-01-01T00:00:00Z\""),
        ),
        ("{{with .State}}{{.Pid}}{{end}} {{$.ID}}", quote("7 abcdef")),
        ("{{eq .State.Pid 7}} {{and .State.OK .ID}}", quote("true abcdef")),
    ];
    let data = record();
    for (template, expected) in cases {
        assert_eq!(run(template, &data), expected, "{template}");
    }
}

#[test]
fn a_template_tells_which_fields_it_uses() {
    let uses = |template: &str| Template::parse(template).unwrap().uses();
    let some = uses("{{.ID}} {{if .Running}}{{printf \"%s\" .Size}}{{end}} {{$.Names}} {{(.State).X}}");
    assert!(!some.whole && some.has("Size") && some.has("Names") && some.has("State") && !some.has("Image"));
    assert!(uses("{{json .}}").has("Size"));
}
