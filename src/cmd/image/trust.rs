//! `coracle image trust set`, `image trust show`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::cmd::format::listing::{Json, Listing, Plan, column};
use crate::cmd::later::Later;
use crate::cmd::{Context, Exit};
use crate::engine::host::atomic::{self, Durability};
use crate::engine::trust::gpg::Gpg;
use crate::engine::trust::policy::{Entry, change};
use crate::engine::trust::{Policy, RegistriesD, Row, rows};
use crate::engine::{Error, Result};

/// Commands of `coracle image trust`; what each does is said by its arguments.
#[allow(missing_docs)]
#[derive(Debug, Subcommand)]
pub enum TrustCommand {
    Set(Later<SetArgs>),
    Show(Later<ShowArgs>),
}

impl TrustCommand {
    /// Runs it.
    pub fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Set(args) => set(cx, args.0),
            Self::Show(args) => show(cx, args.0),
        }
    }
}

/// Say which images may be used
///
/// Writes a rule into policy.json: yours if there is one or you are not root, else the system's.
#[derive(Args, Clone, Debug, Default)]
pub struct SetArgs {
    /// File with public keys; a key of each of several files has to have signed (may be repeated)
    #[arg(short = 'f', long, value_name = "FILE")]
    pub pubkeysfile: Vec<PathBuf>,
    /// What has to hold: signedBy, sigstoreSigned, accept or reject
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "signedBy")]
    pub kind: String,
    /// Policy file instead of policy.json
    #[arg(long, visible_alias = "signature-policy", value_name = "FILE")]
    pub policypath: Option<PathBuf>,
    /// For which images: REGISTRY, REGISTRY/REPOSITORY or REGISTRY/REPOSITORY:TAG, or default
    #[arg(value_name = "SCOPE")]
    pub scope: String,
}

/// Show which images may be used
#[derive(Args, Clone, Debug, Default)]
pub struct ShowArgs {
    /// Print JSON
    #[arg(short, long, conflicts_with = "raw")]
    pub json: bool,
    /// Do not print the headings
    #[arg(short, long)]
    pub noheading: bool,
    /// Print the file as it is
    #[arg(long)]
    pub raw: bool,
    /// Policy file instead of policy.json
    #[arg(long, visible_alias = "signature-policy", value_name = "FILE")]
    pub policypath: Option<PathBuf>,
    /// Directory instead of registries.d
    #[arg(long, value_name = "DIR")]
    pub registrypath: Option<PathBuf>,
    /// Only the rules of this scope
    #[arg(value_name = "SCOPE")]
    pub scope: Option<String>,
}

fn set(cx: &Context, args: SetArgs) -> Result<Exit> {
    let env = cx.config()?.env;
    check_scope(&args.scope)?;
    let keys: Vec<_> = args.pubkeysfile.iter().map(|key| env.cwd.join(key)).collect();
    if let Some(missing) = keys.iter().find(|key| !key.is_file()) {
        return Err(Error::not_found(format!("there is no file {}", missing.display())));
    }
    let override_path = args.policypath.map(|path| env.cwd.join(path));
    let existing = match &override_path {
        Some(path) if !path.exists() => None,
        path => Policy::file(&env, path.as_deref())?,
    };
    let users = Policy::users_path(&env);
    let path = match (override_path, &existing) {
        (Some(path), _) => path,
        // An ordinary user's own file begins as a copy of the system's, whose place it takes.
        (None, Some((path, _))) if *path == users || !env.rootless() => path.clone(),
        (None, None) if !env.rootless() => Policy::SYSTEM_PATH.into(),
        (None, _) => users,
    };
    let before = existing.map(|(_, text)| text).unwrap_or_default();
    let text = change(&before, &Entry { scope: args.scope, kind: args.kind, keys })?;
    Policy::parse(&text, &path, Gpg::default())?;
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|e| Error::io("mkdir", directory, e))?;
    }
    atomic::write(&path, text.as_bytes(), 0o644, Durability::Synced)?;
    Ok(Exit::OK)
}

/// What could be a registry, a repository or an image.
fn check_scope(scope: &str) -> Result<()> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@*".contains(&b);
    match scope.bytes().all(good) && !scope.is_empty() {
        true => Ok(()),
        false => Err(Error::invalid(format!("invalid image uri: {scope:?}"))),
    }
}

fn show(cx: &Context, args: ShowArgs) -> Result<Exit> {
    let env = cx.config()?.env;
    let none = || {
        let users = Policy::users_path(&env);
        let system = Policy::SYSTEM_PATH;
        Error::not_found(format!(
            "no policy.json file found at any of the following: {}, {system}",
            users.display()
        ))
        .with_hint("without one every image is accepted; image trust set makes one")
    };
    let (path, text) = Policy::file(&env, args.policypath.as_deref())?.ok_or_else(none)?;
    if args.raw {
        cx.println(text.trim_end())?;
        return Ok(Exit::OK);
    }
    let policy = Policy::parse(&text, &path, Gpg::default())?;
    let places = RegistriesD::load(&env, args.registrypath.as_deref())?;
    let mut rows = rows(&env, &policy, &places)?;
    if let Some(scope) = &args.scope {
        rows.retain(|row| row.repository == *scope);
    }
    if args.json {
        let rows: Vec<Shown<'_>> = rows.iter().map(Shown::new).collect();
        let text = serde_json::to_string_pretty(&rows).map_err(|e| Error::invalid(e.to_string()))?;
        cx.println(text)?;
        return Ok(Exit::OK);
    }
    let columns = r"{{.Transport}}\t{{.RepoName}}\t{{.Type}}\t{{.GPGId}}\t{{.SignatureStore}}";
    cx.print(LISTING.render(&Plan::new(None, columns, !args.noheading)?, &rows)?)?;
    Ok(Exit::OK)
}

const LISTING: Listing<Row> = Listing {
    name: "rule",
    columns: &[
        column("Transport", "TRANSPORT", |r| r.transport.as_str().into(), Json::Same),
        column("RepoName", "NAME", |r| r.repository.as_str().into(), Json::Same),
        column("Type", "TYPE", |r| r.kind.into(), Json::Same),
        column("GPGId", "ID", |r| r.keys.as_str().into(), Json::Same),
        column("SignatureStore", "STORE", |r| r.store.as_str().into(), Json::Same),
    ],
    labels: None,
};

/// podman's `trust.Policy`.
#[derive(Serialize)]
struct Shown<'a> {
    transport: &'a str,
    name: &'a str,
    repo_name: &'a str,
    #[serde(rename = "sigstore", skip_serializing_if = "str::is_empty")]
    store: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(rename = "gpg_id", skip_serializing_if = "str::is_empty")]
    keys: &'a str,
}

impl<'a> Shown<'a> {
    fn new(row: &'a Row) -> Self {
        Self {
            transport: &row.transport,
            name: &row.name,
            repo_name: &row.repository,
            store: &row.store,
            kind: row.kind,
            keys: &row.keys,
        }
    }
}
