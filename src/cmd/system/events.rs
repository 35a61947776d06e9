//! `coracle events`, `system events`.

use crate::cmd::format::listing::{Json, Listing, Plan, column};
use crate::cmd::format::template::{Field, Struct, Value};
use crate::cmd::image::filters::split_name;
use crate::cmd::{Context, Exit};
use crate::engine::events::{Event, Events, Kind};
use crate::engine::filter::{self, Given};
use crate::engine::{Result, moment};
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::rc::Rc;
use std::time::Duration;

/// Show what happens to containers, images, volumes, networks and secrets
///
/// Of this boot. Without --since only what happens from now on, until ^C or --until.
#[derive(Args, Clone, Debug)]
pub struct EventsArgs {
    /// Show only events that match KEY=VALUE: container, event, image, label, name, network, scope, secret, type, volume (may be repeated)
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// A Go template, or "json": a line of JSON an event
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show whole IDs [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    no_trunc: Option<bool>,
    /// Show events since then: a time, or how long ago (10m)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Go on with what happens [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    stream: Option<bool>,
    /// Show events until then: a time, or how long ago
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

const DEFAULT: &str = "{{.TimeText}} {{.Type}} {{.Action}} {{.ID}}{{if .Told}} ({{.Told}}){{end}}";

/// Shows them.
pub fn run(cx: &Context, args: EventsArgs) -> Result<Exit> {
    let now = Timestamp::now();
    let time = |flag: &str, text: &Option<String>| {
        text.as_deref().map(|text| moment::parse(flag, text, now, &TimeZone::system())).transpose()
    };
    let stream = args.stream != Some(false);
    let (since, until) = (time("--since", &args.since)?, time("--until", &args.until)?);
    // What is asked for with an end, or without going on, is the past.
    let since = since.or((stream && until.is_none_or(|end| end > now)).then_some(now));
    let filters = Filters::parse(&args.filter)?;
    let format = match args.format.as_deref() {
        Some("json" | "{{json .}}") => "{{json .}}",
        Some(text) => text,
        None => DEFAULT,
    };
    let plan = Plan::new(Some(format), format, false)?;
    let short = args.no_trunc == Some(false);
    let config = &cx.engine()?.config;
    let mut follower = Events::open(config).follow(config)?;
    let mut patience = Some(Duration::ZERO);
    loop {
        let mut ended = false;
        let rows: Vec<Row> = follower
            .read(patience)?
            .into_iter()
            .filter(|event| {
                let late = until.is_some_and(|end| event.time > end);
                ended |= late;
                !late && since.is_none_or(|begin| event.time >= begin) && filters.matches(event)
            })
            .map(|event| Row { event, short })
            .collect();
        if !rows.is_empty() {
            cx.print(LISTING.render(&plan, &rows)?)?;
        }
        let left = until.map(|end| end.duration_since(Timestamp::now()));
        if ended || !stream || left.is_some_and(|left| !left.is_positive()) {
            return Ok(Exit::OK);
        }
        patience = left.map(|left| Duration::try_from(left).unwrap_or_default());
    }
}

/// Of every event: there are no others.
const LOCAL: &str = "local";

struct Filters(Given);

/// docker's and podman's; no event matches those for what there is none of.
const KEYS: [&str; 15] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "name",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

impl Filters {
    fn parse(words: &[String]) -> Result<Self> {
        // podman's other word for it.
        let same = |word: &String| match word.split_once('=') {
            Some((key, value)) if key.eq_ignore_ascii_case("status") => format!("event={value}"),
            _ => word.clone(),
        };
        let words: Vec<String> = words.iter().map(same).collect();
        Given::parse(&words, &KEYS, |_, _| None).map(Self)
    }

    fn matches(&self, event: &Event) -> bool {
        let name = event.attributes.get("name").map_or("", String::as_str);
        let is = |kind: Kind, value: &str| {
            event.kind == kind && (name == value || (value.len() > 2 && event.id.starts_with(value)))
        };
        let attribute = |key: &str, value: &str| event.attributes.get(key).is_some_and(|v| v == value);
        self.0.iter().all(|(key, values)| {
            let one = |value: &String| match key {
                "container" => is(Kind::Container, value) || attribute("container", value),
                "event" => action(&event.action) == action(value),
                "image" => {
                    let image = if event.kind == Kind::Image { "name" } else { "image" };
                    is(Kind::Image, value)
                        || event.attributes.get(image).is_some_and(|name| is_image(name, value))
                }
                "label" => filter::has(&event.attributes, value),
                "name" => name == value,
                "network" => is(Kind::Network, value),
                "scope" => value == LOCAL,
                "secret" => is(Kind::Secret, value),
                "type" => event.kind.as_str() == value,
                "volume" => is(Kind::Volume, value),
                _ => false,
            };
            match key {
                "label" => values.iter().all(one),
                _ => values.iter().any(one),
            }
        })
    }
}

/// Whether an image's name is meant by the word: in full or from one of its parts on, and without a tag with any
/// (moby daemon/events/filter.go, `matchImage`).
fn is_image(name: &str, word: &str) -> bool {
    let ends = |name: &str| name == word || name.strip_suffix(word).is_some_and(|rest| rest.ends_with('/'));
    ends(name) || ends(split_name(name).0)
}

/// podman's words are docker's.
fn action(word: &str) -> &str {
    match word.split(':').next().unwrap_or(word) {
        "died" => "die",
        "remove" => "destroy",
        "exec" => "exec_start",
        "exec_died" => "exec_die",
        "loadfromarchive" => "load",
        // docker's words for a copy out of and into a container.
        "archive-path" | "extract-to-dir" => "copy",
        other => other,
    }
}

struct Row {
    event: Event,
    short: bool,
}

impl Row {
    fn id(&self) -> &str {
        match self.event.kind {
            Kind::Container | Kind::Network if self.short => {
                self.event.id.get(..12).unwrap_or(&self.event.id)
            }
            _ => &self.event.id,
        }
    }

    fn attribute(&self, name: &str) -> Value {
        self.event.attributes.get(name).map_or("", String::as_str).into()
    }

    fn told(&self) -> String {
        self.event.attributes.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(", ")
    }
}

/// podman has what docker puts behind the action in a field of its own.
fn health(row: &Row) -> &str {
    row.event.action.strip_prefix("health_status: ").unwrap_or_default()
}

fn network(row: &Row) -> &str {
    let name = row.event.attributes.get("name").filter(|_| row.event.kind == Kind::Network);
    name.map_or("", String::as_str)
}

fn actor(row: &Row) -> Value {
    let fields = vec![
        Field { name: "ID", value: row.event.id.as_str().into(), hidden: false },
        Field { name: "Attributes", value: Value::string_map(&row.event.attributes), hidden: false },
    ];
    Value::Struct(Rc::new(Struct { name: "Actor", fields }))
}

/// docker's, in the local time zone (cli/command/system/events.go, `prettyPrintEvent`).
fn time_text(row: &Row) -> Value {
    let time = row.event.time.to_zoned(TimeZone::system());
    if time.offset() == jiff::tz::Offset::UTC {
        return format!("{:.9}", row.event.time).into();
    }
    time.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string().into()
}

fn nanoseconds(row: &Row) -> Value {
    Value::Int(i64::try_from(row.event.time.as_nanosecond()).unwrap_or(i64::MAX))
}

/// docker's fields (api/types/events.Message), then podman's (libpod/events.Event).
const LISTING: Listing<Row> = Listing {
    name: "event",
    columns: &[
        column("status", "", |r| r.event.action.as_str().into(), Json::Same),
        column("id", "", |r| r.event.id.as_str().into(), Json::Same),
        column("from", "", |r| r.attribute("image"), Json::Same),
        column("Type", "TYPE", |r| r.event.kind.as_str().into(), Json::Same),
        column("Action", "ACTION", |r| r.event.action.as_str().into(), Json::Same),
        column("Actor", "ACTOR", actor, Json::Same),
        column("scope", "", |_| LOCAL.into(), Json::Same),
        column("time", "", |r| Value::Int(r.event.time.as_second()), Json::Same),
        column("timeNano", "", nanoseconds, Json::Same),
        column("Status", "STATUS", |r| r.event.action.as_str().into(), Json::Same),
        column("ID", "ID", |r| r.id().into(), Json::Same),
        column("Name", "NAME", |r| r.attribute("name"), Json::Same),
        column("Image", "IMAGE", |r| r.attribute("image"), Json::Same),
        column("Attributes", "ATTRIBUTES", |r| Value::string_map(&r.event.attributes), Json::Same),
        column("From", "FROM", |r| r.attribute("image"), Json::Skip),
        column("Scope", "SCOPE", |_| LOCAL.into(), Json::Skip),
        column("Time", "TIME", |r| Value::Int(r.event.time.as_second()), Json::Skip),
        column("TimeNano", "TIME NANO", nanoseconds, Json::Skip),
        column("ContainerExitCode", "EXIT CODE", |r| r.attribute("exitCode"), Json::Skip),
        column("HealthStatus", "HEALTH STATUS", |r| health(r).into(), Json::Skip),
        column("Network", "NETWORK", |r| network(r).into(), Json::Skip),
        column("PodID", "POD ID", |_| "".into(), Json::Skip),
        column("TimeText", "", time_text, Json::Skip),
        column("Told", "", |r| r.told().into(), Json::Skip),
    ],
    labels: None,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_meant_by_short_and_full_names() {
        let name = "docker.io/library/alpine:3.20";
        for word in ["alpine", "alpine:3.20", "library/alpine", "docker.io/library/alpine", name] {
            assert!(is_image(name, word), "{word}");
        }
        assert!(is_image("localhost/alpine:latest", "alpine"));
        for word in ["alpine:latest", "alpine:3.2", "lpine", "quay.io/alpine", ""] {
            assert!(!is_image(name, word), "{word}");
        }
    }
}
