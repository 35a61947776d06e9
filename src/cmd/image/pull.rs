//! `coracle pull`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cmd::flags::image::{PlatformArgs, RegistryArgs};
use crate::cmd::{Context, Exit};
use crate::engine::config::auth::Credentials;
use crate::engine::image::pull::pull_all_tags;
use crate::engine::image::request::LayerInfo;
use crate::engine::image::{self, Progress, PullPolicy, PullRequest, PulledImage, short_id};
use crate::engine::registry::Reference;
use crate::engine::registry::reference::DEFAULT_DOMAIN;
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
    pub registry: RegistryArgs,
    /// Directory with certificates (*.crt, *.cert, *.key) for the registry
    #[arg(long, value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,
    /// Credentials for the registry
    #[arg(long, value_name = "USER[:PASSWORD]")]
    pub creds: Option<String>,
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
        cert_dir: args.cert_dir,
        credentials: args.creds.as_deref().map(Credentials::parse).transpose()?,
        signature_policy: args.signature_policy,
        ..PullRequest::default()
    };
    args.registry.fill(&mut request)?;
    let progress = progress(args.quiet);
    let mut exit = Exit::OK;
    for name in &args.images {
        request.name.clone_from(name);
        let pulled = refuse_transports(name).and_then(|()| match args.all_tags {
            true => pull_all_tags(engine, &request, progress.as_ref()),
            false => image::pull(engine, &request, progress.as_ref()).map(|image| vec![image]),
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

/// Progress for people: bars on a terminal, lines elsewhere, nothing if `quiet`. All of it on standard error.
pub fn progress(quiet: bool) -> Box<dyn Progress> {
    use std::io::IsTerminal;
    if quiet {
        Box::new(image::Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(Bars::default())
    } else {
        Box::new(Lines::default())
    }
}

fn line(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn heading(reference: &Reference) -> String {
    let repository = match reference.domain() {
        DEFAULT_DOMAIN => reference.path().to_owned(),
        _ => reference.name(),
    };
    format!("{}: Pulling from {repository}", reference.tag_or_digest())
}

fn status(pulled: &PulledImage) -> Vec<String> {
    let name = pulled.name.as_ref().map(Reference::familiar).unwrap_or_default();
    let mut lines = Vec::new();
    if let Some(digest) = &pulled.digest {
        lines.push(format!("Digest: {digest}"));
    }
    lines.push(match pulled.changed {
        true => format!("Status: Downloaded newer image for {name}"),
        false => format!("Status: Image is up to date for {name}"),
    });
    lines
}

/// docker's lines for a pipe.
#[derive(Default)]
struct Lines {
    layers: Mutex<Vec<LayerInfo>>,
}

impl Lines {
    fn layer(&self, index: usize) -> String {
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.get(index).map(|l| short_id(l.digest.hex()).to_owned()).unwrap_or_default()
    }
}

impl Progress for Lines {
    fn started(&self, reference: &Reference, note: Option<&str>) {
        if let Some(note) = note {
            line(note);
        }
        line(&heading(reference));
    }

    fn layers(&self, layers: &[LayerInfo]) {
        for layer in layers {
            let state = if layer.present { "Already exists" } else { "Pulling fs layer" };
            line(&format!("{}: {state}", short_id(layer.digest.hex())));
        }
        layers.clone_into(&mut self.layers.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn unpacked(&self, index: usize) {
        line(&format!("{}: Pull complete", self.layer(index)));
    }

    fn finished(&self, pulled: &PulledImage) {
        status(pulled).iter().for_each(|text| line(text));
    }
}

/// Redraws a second: enough for the eye, little for the terminal.
const REDRAWS: u8 = 10;

/// One bar a layer.
#[derive(Default)]
struct Bars {
    multi: OnceLock<MultiProgress>,
    bars: Mutex<Vec<ProgressBar>>,
    many: AtomicBool,
}

impl Bars {
    fn multi(&self) -> &MultiProgress {
        self.multi
            .get_or_init(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS)))
    }

    fn bar(&self, index: usize) -> Option<ProgressBar> {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner).get(index).cloned()
    }

    fn style(text: &str) -> ProgressStyle {
        ProgressStyle::with_template(text)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ")
    }
}

impl Progress for Bars {
    fn started(&self, reference: &Reference, note: Option<&str>) {
        if let Some(note) = note {
            let _ = self.multi().println(note);
        }
        let _ = self.multi().println(heading(reference));
    }

    fn layers(&self, layers: &[LayerInfo]) {
        // The second image of one command gets bars of its own below those of the first.
        let again = self.many.swap(true, Ordering::Relaxed);
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        if again {
            bars.clear();
        }
        for layer in layers {
            let bar = self.multi().add(ProgressBar::new(layer.size));
            bar.set_prefix(short_id(layer.digest.hex()).to_owned());
            if layer.present {
                bar.set_style(Self::style("{prefix}: Already exists"));
                bar.finish();
            } else {
                bar.set_style(Self::style("{prefix}: [{bar:30}] {bytes}/{total_bytes}"));
            }
            bars.push(bar);
        }
    }

    fn received(&self, index: usize, bytes: u64) {
        if let Some(bar) = self.bar(index) {
            bar.set_position(bytes);
        }
    }

    fn unpacked(&self, index: usize) {
        if let Some(bar) = self.bar(index) {
            bar.set_style(Self::style("{prefix}: Pull complete"));
            bar.finish();
        }
    }

    fn finished(&self, pulled: &PulledImage) {
        for text in status(pulled) {
            let _ = self.multi().println(text);
        }
    }
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
        let mut request = PullRequest::default();
        args.registry.fill(&mut request).unwrap();
        assert_eq!(request.tls_verify, Some(false));
        assert_eq!(request.retry_delay, Some(Duration::from_millis(500)));
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
