//! `coracle run`.

use super::started::{Attach, start_attached};
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::container::{CreateRequest, RemoveOptions, StartOptions, create, remove, start};
use crate::engine::spec::{ContainerSpec, ImageSource, NamespaceMode, ProcessSpec};
use clap::Args;

/// Create a container and run a command in it
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Run in the background and print the ID
    #[arg(long, short = 'd')]
    detach: bool,
    /// Keep standard input open
    #[arg(long, short = 'i')]
    interactive: bool,
    /// Allocate a terminal
    #[arg(long, short = 't')]
    tty: bool,
    /// Remove the container when it ends
    #[arg(long)]
    rm: bool,
    /// Name
    #[arg(long, default_value = "")]
    name: String,
    /// Restart policy
    #[arg(long, default_value = "")]
    restart: String,
    /// User
    #[arg(long, short = 'u', default_value = "")]
    user: String,
    /// Working directory
    #[arg(long, short = 'w', default_value = "")]
    workdir: String,
    /// The image is a directory
    #[arg(long)]
    rootfs: bool,
    /// Network
    #[arg(long)]
    network: Option<String>,
    /// Image, command and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    argv: Vec<String>,
}

/// Creates, starts, follows.
pub fn run(cx: &Context, args: RunArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let (image, command) = args.argv.split_first().map(|(i, c)| (i.clone(), c.to_vec())).unwrap_or_default();
    let (policy, retries) = args.restart.split_once(':').unwrap_or((&args.restart, "0"));
    let mut spec = ContainerSpec {
        image: ImageSource { requested: image.clone(), ..ImageSource::default() },
        name: args.name,
        process: ProcessSpec {
            command,
            terminal: args.tty,
            open_stdin: args.interactive,
            user: args.user,
            workdir: args.workdir,
            ..ProcessSpec::default()
        },
        remove: args.rm,
        create_command: cx.argv.clone(),
        ..ContainerSpec::default()
    };
    spec.restart.name = policy.to_owned();
    spec.restart.max_retries = retries.parse().unwrap_or(0);
    spec.namespaces.network = NamespaceMode::None;
    if args.rootfs {
        spec.image.rootfs = Some(image);
    } else {
        let found = crate::engine::image::find(engine, &image)?;
        spec.image.name = found.name.map(|n| n.to_string()).unwrap_or_default();
        spec.image.id = found.image.id;
    }
    let remove_it = spec.remove;
    let id = create(engine, CreateRequest { spec, replace: false })?;
    let result = if args.detach {
        start(engine, &id, StartOptions { detached: true, ..StartOptions::default() }, &mut |_| Ok(()))
            .and_then(|_| cx.println(&id).map(|()| Exit::OK))
    } else {
        let attach =
            Attach { stdin: args.interactive, stdout: true, stderr: true, signals: true, detach_keys: None };
        start_attached(cx, &id, &attach, StartOptions::default())
    };
    if result.is_err() && remove_it {
        if let Err(e) = remove(engine, &id, &RemoveOptions { force: true, ..RemoveOptions::default() }) {
            tracing::debug!("remove {id}: {e}");
        }
    }
    result
}
