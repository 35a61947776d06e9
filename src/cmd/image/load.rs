//! `coracle load`.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::Args;

use super::progress::Receiving;
use crate::cmd::{Context, Exit};
use crate::engine::image::load::{LoadRequest, Loaded, load};
use crate::engine::image::places;
use crate::engine::registry::PlatformRequest;
use crate::engine::registry::download::Download;
use crate::engine::{Error, Result};

/// Load images from an archive or a directory
///
/// Reads docker archives, OCI layouts and their archives, and dir: directories; compressed or not, from a file, from the web
/// or standard input.
#[derive(Args, Clone, Debug, Default)]
pub struct LoadArgs {
    /// Archive or directory to read instead of standard input; or an address, http://… or https://…
    #[arg(short, long, value_name = "PATH", overrides_with = "input")]
    pub input: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// Platform of a multi-platform image: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// Signature policy file instead of policy.json
    #[arg(long, value_name = "FILE", hide = true)]
    pub signature_policy: Option<PathBuf>,
}

/// Runs `coracle load`.
pub fn run(cx: &Context, args: LoadArgs) -> Result<Exit> {
    let platform = args.platform.as_deref().map(PlatformRequest::parse).transpose()?;
    let input = args.input.filter(|path| path.as_os_str() != "-");
    if input.is_none() && cx.stdin_is_terminal() {
        return Err(Error::invalid(
            "cannot read from terminal, use command-line redirection or the --input flag",
        ));
    }
    let engine = cx.engine()?;
    let (files, what) = match &input {
        Some(path) if is_address(path) => {
            let address = path.to_string_lossy();
            let shown = super::import::without_password(&address);
            if !args.quiet {
                cx.note(format!("Downloading from {shown}"));
            }
            (places::stream(engine, Download::open(&engine.config.env, &address)?, &shown)?, shown)
        }
        Some(path) => (places::files(engine, path)?, path.display().to_string()),
        None => {
            let fd = io::stdin().as_fd().try_clone_to_owned();
            let file: File = fd.map_err(|e| Error::os("duplicate standard input", e))?.into();
            (places::archive(engine, file, "standard input")?, "standard input".to_owned())
        }
    };
    let request =
        LoadRequest { platform: platform.unwrap_or_default(), signature_policy: args.signature_policy };
    for loaded in load(engine, files, &what, &request, &Receiving::new(args.quiet))? {
        cx.print(text(&loaded))?;
    }
    Ok(Exit::OK)
}

fn is_address(path: &std::path::Path) -> bool {
    path.to_str().is_some_and(|text| ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme)))
}

/// What is said of an image that was loaded.
pub(super) fn text(loaded: &Loaded) -> String {
    if loaded.names.is_empty() {
        return format!("Loaded image ID: sha256:{}\n", loaded.image.id);
    }
    loaded.names.iter().map(|name| format!("Loaded image: {}\n", name.familiar())).collect()
}
