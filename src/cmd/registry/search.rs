//! `coracle search`.

use crate::cmd::flags::image::AccessArgs;
use crate::cmd::format::human;
use crate::cmd::format::listing::{Json, Listing, Plan, column};
use crate::cmd::{Context, Exit};
use crate::engine::image::request::client_of;
use crate::engine::registry::reference::DEFAULT_DOMAIN;
use crate::engine::registry::search::{Found, places};
use crate::engine::registry::{Client, Reference, ShortName};
use crate::engine::{Error, ErrorKind, Result};
use clap::Args;
use serde_json::json;

/// Search registries for images
///
/// Docker Hub is asked, or the search registries of registries.conf; REGISTRY/TERM asks one. With --list-tags the tags of a
/// repository are listed.
#[derive(Args, Clone, Debug, Default)]
pub struct SearchArgs {
    /// Show docker's columns
    #[arg(long)]
    pub compatible: bool,
    /// Show only what fits: stars=NUMBER, is-official=BOOL, is-automated=BOOL (may be repeated)
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// "table", "table TEMPLATE", "json" (an array) or a Go template; {{json .}} prints a line of JSON an image
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Most results of a registry [default: 25]
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<usize>,
    /// List the tags of a repository
    #[arg(long)]
    pub list_tags: bool,
    /// Do not shorten descriptions
    #[arg(long)]
    pub no_trunc: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub access: AccessArgs,
    /// What to look for
    #[arg(value_name = "TERM")]
    pub term: String,
}

/// Results of a registry unless asked for otherwise; the most that docker allows.
const DEFAULT_LIMIT: usize = 25;
const MOST: usize = 100;
/// Characters of a description.
const DESCRIPTION: usize = 45;

/// Runs `coracle search`.
pub fn run(cx: &Context, args: SearchArgs) -> Result<Exit> {
    if args.term.is_empty() {
        return Err(Error::invalid("search term must be specified"));
    }
    if args.limit.is_some_and(|limit| limit == 0 || (limit > MOST && !args.list_tags)) {
        return Err(Error::invalid(format!("invalid value for limit: must be between 1 and {MOST}")));
    }
    let config = cx.config()?;
    let client = client_of(&config, &args.access.access()?)?;
    if args.list_tags {
        return tags(cx, &args, &client);
    }
    let filters = Filters::parse(&args.filter)?;
    let columns = match args.compatible {
        true => r"{{.Name}}\t{{.Description}}\t{{.Stars}}\t{{.Official}}\t{{.Automated}}",
        false => r"{{.Name}}\t{{.Description}}\t{{.Stars}}\t{{.Official}}",
    };
    let plan = Plan::new(args.format.as_deref(), columns, true)?;
    let limit = args.limit.unwrap_or(DEFAULT_LIMIT);
    let mut rows = Vec::new();
    let (mut failed, mut asked) = (None, 0);
    for (registry, term) in places(&args.term, client.registries()) {
        match client.search(&registry, &term, limit) {
            Ok(found) => {
                asked += 1;
                let fitting = found.into_iter().filter(|f| filters.fit(f));
                rows.extend(fitting.map(|found| Row { found, short: !args.no_trunc }));
            }
            Err(e) => failed = failed.or(Some(e)),
        }
    }
    match failed {
        Some(e) if asked == 0 => return Err(e),
        Some(e) => cx.report(&e),
        None => {}
    }
    cx.print(LISTING.render(&plan, &rows)?)?;
    Ok(Exit::OK)
}

/// `--filter`.
#[derive(Default)]
struct Filters {
    stars: i64,
    official: Option<bool>,
    automated: Option<bool>,
}

impl Filters {
    fn parse(words: &[String]) -> Result<Self> {
        let mut filters = Self::default();
        for word in words {
            let bad =
                |hint: &str| Error::invalid(format!("invalid filter {word:?}")).with_hint(hint.to_owned());
            let (key, value) = word.split_once('=').unwrap_or((word, "true"));
            let truth = || value.parse::<bool>().map_err(|_| bad("the value is true or false"));
            match key {
                "stars" => filters.stars = value.parse().map_err(|_| bad("the value is a number"))?,
                "is-official" => filters.official = Some(truth()?),
                "is-automated" => filters.automated = Some(truth()?),
                _ => return Err(bad("keys are stars, is-official, is-automated")),
            }
        }
        Ok(filters)
    }

    fn fit(&self, found: &Found) -> bool {
        found.star_count >= self.stars
            && self.official.is_none_or(|official| official == found.is_official)
            && self.automated.is_none_or(|automated| automated == found.automated())
    }
}

struct Row {
    found: Found,
    short: bool,
}

impl Row {
    fn name(&self) -> String {
        let Found { index, name, .. } = &self.found;
        match index == DEFAULT_DOMAIN && !name.contains('/') {
            true => format!("{index}/library/{name}"),
            false => format!("{index}/{name}"),
        }
    }

    fn description(&self) -> String {
        let text = self.found.description.clone().unwrap_or_default().replace(['\n', '\r', '\t'], " ");
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        if self.short { human::ellipsis(&text, DESCRIPTION) } else { text }
    }
}

fn ok(is: bool) -> &'static str {
    if is { "[OK]" } else { "" }
}

/// podman's fields, then docker's under their own names.
const LISTING: Listing<Row> = Listing {
    name: "searchResult",
    columns: &[
        column("Index", "INDEX", |r| r.found.index.as_str().into(), Json::Same),
        column("Name", "NAME", |r| r.name().into(), Json::Same),
        column("Description", "DESCRIPTION", |r| r.description().into(), Json::Same),
        column("Stars", "STARS", |r| r.found.star_count.into(), Json::Same),
        column("Official", "OFFICIAL", |r| ok(r.found.is_official).into(), Json::Same),
        column("Automated", "AUTOMATED", |r| ok(r.found.automated()).into(), Json::Same),
        column("Tag", "TAG", |_| "".into(), Json::Same),
        column("StarCount", "STARS", |r| r.found.star_count.into(), Json::Skip),
        column("IsOfficial", "OFFICIAL", |r| ok(r.found.is_official).into(), Json::Skip),
        column("IsAutomated", "AUTOMATED", |r| ok(r.found.automated()).into(), Json::Skip),
    ],
    labels: None,
};

/// A tag of a repository.
struct Tag {
    name: String,
    tag: String,
}

const TAGS: Listing<Tag> = Listing {
    name: "tag",
    columns: &[
        column("Name", "NAME", |r| r.name.as_str().into(), Json::Same),
        column("Tag", "TAG", |r| r.tag.as_str().into(), Json::Same),
    ],
    labels: None,
};

fn tags(cx: &Context, args: &SearchArgs, client: &Client) -> Result<Exit> {
    if !args.filter.is_empty() {
        return Err(Error::invalid("filters are not applicable to list tags result"));
    }
    let names: Vec<Reference> = match ShortName::parse(&args.term)? {
        Some(short) => {
            let search = client.registries().search();
            search.iter().map(|r| short.within(&format!("{r}/{}", short.name))).collect::<Result<_>>()?
        }
        None => vec![Reference::parse(&args.term)?],
    };
    let mut failed = None;
    for name in names {
        if name.tag().is_some() || name.digest().is_some() {
            return Err(Error::invalid(format!(
                "reference {:?} must be a docker reference without a tag",
                args.term
            )));
        }
        for source in client.sources(&name)? {
            match source.tags() {
                Ok(mut tags) => {
                    tags.truncate(args.limit.unwrap_or(usize::MAX));
                    return show_tags(cx, args, &name, tags);
                }
                Err(e) => failed = failed.or(Some(e)),
            }
        }
    }
    Err(failed
        .unwrap_or_else(|| Error::new(ErrorKind::NotFound, format!("{}: no such repository", args.term))))
}

fn show_tags(cx: &Context, args: &SearchArgs, name: &Reference, tags: Vec<String>) -> Result<Exit> {
    let name = name.name();
    if args.format.as_deref().is_some_and(|format| format.trim() == "json") {
        let shown = json!([{"Name": name, "Tags": tags}]);
        let text = serde_json::to_string_pretty(&shown).map_err(|e| Error::corrupt(e.to_string()))?;
        cx.println(text)?;
        return Ok(Exit::OK);
    }
    let plan = Plan::new(args.format.as_deref(), r"{{.Name}}\t{{.Tag}}", true)?;
    let rows: Vec<Tag> = tags.into_iter().map(|tag| Tag { name: name.clone(), tag }).collect();
    cx.print(TAGS.render(&plan, &rows)?)?;
    Ok(Exit::OK)
}
