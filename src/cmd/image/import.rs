//! `coracle import`.

use clap::Args;
use std::fs::File;
use std::io::{self, Read};

use crate::cmd::flags::image::PlatformArgs;
use crate::cmd::{Context, Exit};
use crate::engine::image::import::{ImportRequest, import};
use crate::engine::registry::Platform;
use crate::engine::registry::download::Download;
use crate::engine::registry::platform::{host_architecture, normalized};
use crate::engine::{Error, Result};

/// Make an image of a file system in a tar archive
///
/// The archive may be plain or compressed with gzip, zstd or xz. Prints the image's ID.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// Change the configuration by a Dockerfile instruction (may be repeated): CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME or WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A comment on the layer [default: "Imported from …"]
    #[arg(short, long, value_name = "TEXT", overrides_with = "message")]
    message: Option<String>,
    #[command(flatten)]
    platform: PlatformArgs,
    /// Print nothing but the ID
    #[arg(short, long)]
    quiet: bool,
    /// A file, an address (http://… or https://…), or - for standard input
    #[arg(value_name = "FILE")]
    source: String,
    /// The image's name
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
}

/// Imports.
pub fn run(cx: &Context, args: ImportArgs) -> Result<Exit> {
    let message = args.message.unwrap_or_else(|| format!("Imported from {}", without_password(&args.source)));
    let request = ImportRequest {
        name: args.image.filter(|name| !name.is_empty()),
        message,
        changes: args.change,
        platform: platform(&args.platform)?,
        ..ImportRequest::default()
    };
    let engine = cx.engine()?;
    let is_address = ["http://", "https://"].iter().any(|scheme| args.source.starts_with(scheme));
    let archive: Box<dyn Read + Send> = if args.source == "-" {
        if cx.stdin_is_terminal() {
            return Err(Error::invalid("refusing to read an archive from a terminal")
                .with_hint("redirect standard input, or name a file"));
        }
        Box::new(io::stdin())
    } else if is_address {
        if !args.quiet {
            cx.note(format!("Downloading from {}", without_password(&args.source)));
        }
        Box::new(Download::open(&engine.config.env, &args.source)?)
    } else {
        Box::new(File::open(&args.source).map_err(|e| Error::io("open", &args.source, e))?)
    };
    let image = import(engine, archive, &request)?;
    cx.println(format!("sha256:{}", image.id))?;
    Ok(Exit::OK)
}

/// An address as it may be shown and kept.
pub(super) fn without_password(source: &str) -> String {
    let Some((scheme, rest)) = source.split_once("://") else { return source.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => source.to_owned(),
    }
}

/// This host's, unless flags say something else.
fn platform(args: &PlatformArgs) -> Result<Platform> {
    let asked = args.request(None)?;
    let (architecture, variant) = match &asked.architecture {
        Some(name) => normalized(name),
        None => (host_architecture().to_owned(), String::new()),
    };
    Ok(Platform {
        os: asked.os.unwrap_or_else(|| "linux".to_owned()),
        architecture,
        variant: asked.variant.unwrap_or(variant),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_kept() {
        for (source, shown) in [
            ("-", "-"),
            ("dir/a@b.tar", "dir/a@b.tar"),
            ("https://host/x@y.tar", "https://host/x@y.tar"),
            ("https://me:secret@host/x.tar", "https://host/x.tar"),
        ] {
            assert_eq!(without_password(source), shown);
        }
    }
}
