//! `coracle version`.

use super::info::{Program, components};
use crate::cmd::format::human;
use crate::cmd::format::listing::unescape;
use crate::cmd::format::template::{self, Template, Value, to_value};
use crate::cmd::{Context, Exit};
use crate::engine::{Error, Result};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;

/// Show the version
#[derive(Args, Clone, Debug)]
pub struct VersionArgs {
    /// "json" or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// Prints it.
pub fn run(cx: &Context, args: VersionArgs) -> Result<Exit> {
    cx.print(match args.format.as_deref() {
        None => Report::new(Vec::new()).text(),
        Some(format) => {
            // Asking the other programs for their versions takes a while; few want to know.
            let wanted = format.trim() == "json" || format.contains("Components") || format.contains("json");
            let programs =
                if wanted { cx.config().map(|c| components(&c)).unwrap_or_default() } else { Vec::new() };
            render(&to_value(&Report::new(programs)), format)?
        }
    })?;
    Ok(Exit::OK)
}

/// Renders one value as `version`, `info` and the like do: `json` in one line, or a Go template and a newline.
///
/// # Errors
/// [`crate::engine::ErrorKind::Invalid`] with Go's message.
pub fn render(value: &Value, format: &str) -> Result<String> {
    if format.trim() == "json" {
        return Ok(template::to_json_pretty(value, 2) + "\n");
    }
    let executed = Template::parse(&unescape(format)).and_then(|template| template.execute(value));
    let text = executed.map_err(|e| Error::invalid(e.0))?;
    Ok(if text.ends_with('\n') { text } else { text + "\n" })
}

/// The Docker API whose behaviour the commands follow.
pub(super) const API_VERSION: &str = "1.48";

/// docker's and podman's report: a client and, for scripts that ask for it, a server, which is the same program.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    client: Part,
    server: Server,
}

/// The union of docker's and podman's fields.
#[derive(Clone, Serialize)]
#[serde(rename = "Version", rename_all = "PascalCase")]
pub(super) struct Part {
    platform: Platform,
    /// podman writes it like this in JSON, docker like the next.
    #[serde(rename = "APIVersion")]
    api_version: String,
    #[serde(rename = "ApiVersion")]
    docker_api_version: String,
    version: String,
    #[serde(rename = "DefaultAPIVersion")]
    default_api_version: String,
    #[serde(rename = "MinAPIVersion")]
    min_api_version: String,
    go_version: String,
    git_commit: String,
    built_time: String,
    build_time: String,
    build_origin: String,
    built: i64,
    os_arch: String,
    os: String,
    arch: String,
    kernel_version: String,
    context: String,
    experimental: bool,
}

/// [`Part`], and the programs it works with.
#[derive(Serialize)]
#[serde(rename = "Version", rename_all = "PascalCase")]
struct Server {
    platform: Platform,
    components: Vec<Component>,
    #[serde(rename = "APIVersion")]
    api_version: String,
    #[serde(rename = "ApiVersion")]
    docker_api_version: String,
    version: String,
    #[serde(rename = "MinAPIVersion")]
    min_api_version: String,
    go_version: String,
    git_commit: String,
    built_time: String,
    build_time: String,
    built: i64,
    os_arch: String,
    os: String,
    arch: String,
    kernel_version: String,
    experimental: bool,
}

#[derive(Serialize)]
#[serde(rename = "ComponentVersion", rename_all = "PascalCase")]
struct Component {
    name: String,
    version: String,
    details: BTreeMap<&'static str, String>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Platform {
    name: String,
}

impl Part {
    /// What is known of this program and host.
    pub(super) fn new() -> Part {
        Part {
            platform: Platform { name: "Coracle".to_owned() },
            api_version: API_VERSION.to_owned(),
            docker_api_version: API_VERSION.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            default_api_version: API_VERSION.to_owned(),
            min_api_version: "1.24".to_owned(),
            go_version: String::new(),
            git_commit: option_env!("CORACLE_GIT_COMMIT").unwrap_or_default().to_owned(),
            built_time: human::timestamp(jiff::Timestamp::from_second(built()).unwrap_or_default()),
            build_time: build_time(),
            build_origin: String::new(),
            built: built(),
            os_arch: format!("{}/{}", std::env::consts::OS, go_arch()),
            os: std::env::consts::OS.to_owned(),
            arch: go_arch().to_owned(),
            kernel_version: kernel(),
            context: "default".to_owned(),
            experimental: false,
        }
    }
}

impl Report {
    fn new(programs: Vec<Program>) -> Report {
        let client = Part::new();
        let details = BTreeMap::from([
            ("ApiVersion", client.api_version.clone()),
            ("Arch", client.arch.clone()),
            ("BuildTime", client.build_time.clone()),
            ("Experimental", client.experimental.to_string()),
            ("GitCommit", client.git_commit.clone()),
            ("GoVersion", client.go_version.clone()),
            ("KernelVersion", client.kernel_version.clone()),
            ("MinAPIVersion", client.min_api_version.clone()),
            ("Os", client.os.clone()),
        ]);
        let engine = Component { name: "Engine".to_owned(), version: client.version.clone(), details };
        let others =
            programs.into_iter().filter(|program| !program.name.is_empty()).map(|program| Component {
                version: program.number().to_owned(),
                details: BTreeMap::from([("GitCommit", program.commit().to_owned())]),
                name: program.name,
            });
        let part = client.clone();
        let server = Server {
            platform: part.platform,
            components: std::iter::once(engine).chain(others).collect(),
            api_version: part.api_version,
            docker_api_version: part.docker_api_version,
            version: part.version,
            min_api_version: part.min_api_version,
            go_version: part.go_version,
            git_commit: part.git_commit,
            built_time: part.built_time,
            build_time: part.build_time,
            built: part.built,
            os_arch: part.os_arch,
            os: part.os,
            arch: part.arch,
            kernel_version: part.kernel_version,
            experimental: part.experimental,
        };
        Report { client, server }
    }

    fn text(&self) -> String {
        let part = &self.client;
        let mut text = format!(
            "Client:       Coracle\nVersion:      {}\nAPI Version:  {}\n",
            part.version, part.api_version
        );
        if !part.git_commit.is_empty() {
            text.push_str(&format!("Git Commit:   {}\n", part.git_commit));
        }
        if part.built != 0 {
            text.push_str(&format!("Built:        {}\n", part.built_time));
        }
        text + &format!("OS/Arch:      {}\n", part.os_arch)
    }
}

/// When this program was built, in Unix seconds; 0: unknown.
fn built() -> i64 {
    option_env!("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// [`built`] in RFC 3339.
pub(super) fn build_time() -> String {
    jiff::Timestamp::from_second(built()).unwrap_or_default().to_string()
}

/// This machine's architecture as Go names it.
pub(super) fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// The kernel's release.
pub(super) fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_of_scripts_work() {
        let report = Report::new(Vec::new());
        let version = env!("CARGO_PKG_VERSION");
        let cases = [
            ("{{.Server.Version}}", format!("{version}\n")),
            ("{{.Client.Version}}", format!("{version}\n")),
            ("{{.Client.APIVersion}} {{.Server.ApiVersion}}", "1.48 1.48\n".to_owned()),
            ("{{.Server.Os}}/{{.Server.Arch}}", format!("linux/{}\n", go_arch())),
            (r"{{.Client.Os}}\n", "linux\n".to_owned()),
        ];
        for (format, expected) in cases {
            assert_eq!(render(&to_value(&report), format).unwrap(), expected);
        }
        assert!(
            render(&to_value(&report), "{{.Nope}}")
                .unwrap_err()
                .to_string()
                .contains("can't evaluate field Nope in type *Report")
        );
        let json: serde_json::Value =
            serde_json::from_str(&render(&to_value(&report), "json").unwrap()).unwrap();
        assert_eq!(json["Client"]["Version"], version);
    }
}
