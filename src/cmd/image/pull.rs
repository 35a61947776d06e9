//! `coracle pull`.

use std::path::PathBuf;

use clap::Args;

use super::progress::Pulling;
use crate::cmd::flags::image::{AccessArgs, DecryptionArgs, PlatformArgs};
use crate::cmd::{Context, Exit};
use crate::engine::image::pull::pull_all_tags;
use crate::engine::image::{self, PullPolicy, PullRequest};
use crate::engine::{Error, Result};

/// Pull images from a registry
///
/// Prints the ID of each image.
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
        let pulled = refuse_transports(name).and_then(|()| match args.all_tags {
            true => pull_all_tags(engine, &request, &progress),
            false => image::pull(engine, &request, &progress).map(|image| vec![image]),
        });
        match pulled {
            Ok(images) => {
                for pulled in images {
                    cx.println(&pulled.image.id)?;
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

/// podman's other transports are no registries.
fn refuse_transports(name: &str) -> Result<()> {
    const TRANSPORTS: [&str; 8] = [
        "docker-archive",
        "oci-archive",
        "oci",
        "dir",
        "docker-daemon",
        "containers-storage",
        "sif",
        "ostree",
    ];
    let Some((transport, rest)) = name.split_once(':') else { return Ok(()) };
    // `oci:latest` is an image called oci.
    if TRANSPORTS.contains(&transport) && rest.contains('/') {
        return Err(Error::unsupported(format!(
            "pulling from {transport}: is not supported, only from registries"
        )));
    }
    Ok(())
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

    #[test]
    fn other_transports_are_refused_by_name() {
        let e = refuse_transports("docker-archive:/tmp/x.tar").unwrap_err();
        assert!(e.to_string().contains("docker-archive"), "{e}");
        refuse_transports("oci:latest").unwrap();
        refuse_transports("dir.example:5000/x").unwrap();
    }
}
