//! `coracle pull`.

use std::path::PathBuf;

use clap::Args;

use super::progress::{Pulling, Receiving};
use crate::cmd::flags::image::{AccessArgs, DecryptionArgs, PlatformArgs, place};
use crate::cmd::{Context, Exit};
use crate::engine::image::load::{LoadRequest, Loaded, load_from};
use crate::engine::image::pull::pull_all_tags;
use crate::engine::image::{self, PullPolicy, PullRequest, PulledImage};
use crate::engine::registry::Reference;
use crate::engine::store::ImageRecord;
use crate::engine::transport::Location;
use crate::engine::{Engine, Error, Result};

/// Pull images from a registry
///
/// Prints the ID of each image. An image may also come from docker-archive:PATH, oci-archive:PATH, oci:PATH, dir:PATH or
/// docker-daemon:NAME.
#[derive(Args, Clone, Debug, Default)]
pub struct PullArgs {
    /// Pull every tag of the repository
    #[arg(short, long)]
    pub all_tags: bool,
    /// Show nothing but the ID
    #[arg(short, long)]
    pub quiet: bool,
    /// When to ask the registry: always, missing, newer or never
    #[arg(long, value_name = "POLICY", default_value = "always", hide_default_value = true)]
    pub policy: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub platform: PlatformArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub access: AccessArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub decryption: DecryptionArgs,
    /// Signature policy file instead of policy.json
    #[arg(long, value_name = "FILE", hide = true)]
    pub signature_policy: Option<PathBuf>,
    /// Images to pull
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

/// Runs `coracle pull`.
pub fn run(cx: &Context, args: PullArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let env = &engine.config.env;
    let mut request = PullRequest {
        policy: PullPolicy::parse(&args.policy)?,
        platform: args.platform.request(env.var("DOCKER_DEFAULT_PLATFORM"))?,
        access: args.access.access()?,
        signature_policy: args.signature_policy,
        ..PullRequest::default()
    };
    args.decryption.check()?;
    let progress = Pulling::new(args.quiet);
    let mut exit = Exit::OK;
    for name in &args.images {
        request.name.clone_from(name);
        let ids = |images: Vec<PulledImage>| images.into_iter().map(|pulled| pulled.image.id).collect();
        let pulled: Result<Vec<String>> = place(name).and_then(|location| match location {
            Location::Name(_) | Location::Registry(_) if args.all_tags => {
                pull_all_tags(engine, &request, &progress).map(ids)
            }
            Location::Name(_) | Location::Registry(_) => {
                image::pull(engine, &request, &progress).map(|image| vec![image.image.id])
            }
            place if args.all_tags => {
                Err(Error::invalid(format!("--all-tags is for registries, not for {place}")))
            }
            place => from_place(engine, &place, &request, args.quiet).map(ids),
        });
        match pulled {
            Ok(ids) => {
                for id in ids {
                    cx.println(id)?;
                }
            }
            // The last error is printed where all errors are.
            Err(e) if args.images.len() == 1 => return Err(e),
            Err(e) => {
                cx.report(&e);
                exit = Exit::FAILED;
            }
        }
    }
    Ok(exit)
}

/// The one image that `request` names, by whatever transport: what a container is made of.
///
/// # Errors
/// As a pull or a load; `NotFound` if there is no image at the place.
pub fn one(engine: &Engine, request: &PullRequest, quiet: bool) -> Result<PulledImage> {
    match place(&request.name)? {
        Location::Name(_) | Location::Registry(_) => image::pull(engine, request, &Pulling::new(quiet)),
        place => {
            let found = from_place(engine, &place, request, quiet)?;
            found.into_iter().next().ok_or_else(|| Error::not_found(format!("no image in {place}")))
        }
    }
}

/// What comes with a transport other than a registry's: all images there, unless one is chosen.
fn from_place(
    engine: &Engine,
    location: &Location,
    request: &PullRequest,
    quiet: bool,
) -> Result<Vec<PulledImage>> {
    let here = |image: ImageRecord, name: Option<Reference>| PulledImage {
        image,
        name,
        digest: None,
        changed: false,
    };
    if let Location::Storage(name) = location {
        let found = image::find(engine, name)?;
        return Ok(vec![here(found.image, found.name)]);
    }
    let load = LoadRequest {
        platform: request.platform.clone(),
        signature_policy: request.signature_policy.clone(),
    };
    let loaded = load_from(engine, location, &load, &Receiving::new(quiet))?;
    let pulled = |loaded: Loaded| here(loaded.image, loaded.names.into_iter().next());
    Ok(loaded.into_iter().map(pulled).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::{CommandFactory, FromArgMatches, Parser};
    use std::time::Duration;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: PullArgs,
    }

    fn parse(words: &[&str]) -> Result<PullArgs, clap::Error> {
        let command = crate::cmd::switches::with_values(Cli::command());
        let words = std::iter::once(&"pull").chain(words);
        command.try_get_matches_from(words).and_then(|m| Cli::from_arg_matches(&m)).map(|c| c.args)
    }

    #[test]
    fn every_flag_is_understood() {
        let args = parse(&[
            "-aq",
            "--tls-verify=false",
            "--creds",
            "u:p",
            "--authfile",
            "/a",
            "--cert-dir",
            "/c",
            "--retry",
            "2",
            "--retry-delay",
            "500ms",
            "--disable-content-trust",
            "--platform",
            "linux/arm64",
            "x",
            "y",
        ])
        .unwrap();
        assert!(args.all_tags && args.quiet);
        assert_eq!(args.images, ["x", "y"]);
        let access = args.access.access().unwrap();
        assert_eq!(access.tls_verify, Some(false));
        assert_eq!(access.retry_delay, Some(Duration::from_millis(500)));
        let platform = args.platform.request(Some("linux/s390x")).unwrap();
        assert_eq!(platform.architecture.as_deref(), Some("arm64"));
        let args = parse(&["--arch", "arm", "--variant=v7", "--os", "linux", "--quiet=false", "x"]).unwrap();
        assert!(!args.quiet);
        assert_eq!(args.platform.request(None).unwrap().variant.as_deref(), Some("v7"));
        assert!(parse(&["--platform", "linux", "--arch", "arm", "x"]).is_err());
        assert!(parse(&[]).is_err());
    }
}
