//! The command line: argv in, engine request, engine value, text out.
//!
//! Each command is one file with its arguments (whose doc comments are the help) and a `run` that fills a request,
//! calls the engine and renders. A command stands once in [`Command`] or in the enum of its noun, its arguments
//! [`Later`], and once in the match beside it. Only this module prints, exits, and reads environment and argv.

pub mod artifact;
pub mod completion;
pub mod container;
pub mod context;
pub mod contexts;
pub mod failure;
pub mod flags;
pub mod format;
pub mod globals;
pub mod image;
pub mod later;
pub mod logging;
pub mod manifest;
pub mod network;
pub mod output;
pub mod registry;
pub mod secret;
pub mod suggest;
pub mod switches;
pub mod system;
pub mod user_files;
pub mod volume;

pub use context::Context;

use crate::engine::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use globals::Globals;
use later::Later;
use std::ffi::OsString;
use std::process::ExitCode;

/// The exit code of a command that did what it could: 0, a container's own, or 1 after some objects failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Everything went well.
    pub const OK: Self = Self(0);
    /// Something was reported.
    pub const FAILED: Self = Self(1);
}

/// Containers without a daemon: a Docker-compatible command line
#[derive(Debug, Parser)]
#[command(
    name = "coracle",
    version,
    disable_help_subcommand = true,
    args_override_self = true,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_version_flag = true,
    next_display_order = None
)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    /// Print the version and exit
    #[arg(short = 'v', long, visible_short_alias = 'V', action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    command: Command,
}

/// Every command at the top level.
#[allow(missing_docs)]
#[derive(Debug, Subcommand)]
enum Command {
    /// Work with artifacts: files under a name
    #[command(subcommand, next_display_order = None)]
    Artifact(artifact::ArtifactCommand),
    Attach(Later<container::attach::AttachArgs>),
    Commit(Later<container::commit::CommitArgs>),
    Cp(Later<container::cp::CpArgs>),
    Create(Later<container::create::CreateArgs>),
    Completion(Later<system::completion::CompletionArgs>),
    Diff(Later<container::diff::DiffArgs>),
    Events(Later<system::events::EventsArgs>),
    Exec(Later<container::exec::ExecArgs>),
    Export(Later<container::export::ExportArgs>),
    /// Check the health of containers
    #[command(subcommand)]
    Healthcheck(container::healthcheck::HealthcheckCommand),
    Help(Later<system::help::HelpArgs>),
    History(Later<image::history::HistoryArgs>),
    Login(Later<registry::login::LoginArgs>),
    Logout(Later<registry::logout::LogoutArgs>),
    Load(Later<image::load::LoadArgs>),
    Logs(Later<container::logs::LogsArgs>),
    /// Work with containers
    #[command(subcommand, next_display_order = None)]
    Container(container::ContainerCommand),
    /// Work with images
    #[command(subcommand, next_display_order = None)]
    Image(image::ImageCommand),
    Images(Later<image::images::ImagesArgs>),
    Import(Later<image::import::ImportArgs>),
    Info(Later<system::info::InfoArgs>),
    Init(Later<container::init::InitArgs>),
    Inspect(Later<system::inspect::InspectArgs>),
    /// Work with manifest lists
    #[command(subcommand, next_display_order = None)]
    Manifest(manifest::ManifestCommand),
    Mount(Later<container::mount::MountArgs>),
    /// Work with networks
    #[command(subcommand)]
    Network(network::NetworkCommand),
    Pause(Later<container::pause::PauseArgs>),
    Port(Later<container::port::PortArgs>),
    #[command(visible_alias = "list")]
    Ps(Later<container::ps::PsArgs>),
    Pull(Later<image::pull::PullArgs>),
    Push(Later<image::push::PushArgs>),
    Rmi(Later<image::rmi::RmiArgs>),
    Save(Later<image::save::SaveArgs>),
    Search(Later<registry::search::SearchArgs>),
    /// Work with the engine
    #[command(subcommand)]
    System(system::SystemCommand),
    Tag(Later<image::tag::TagArgs>),
    #[command(visible_alias = "umount")]
    Unmount(Later<container::mount::UnmountArgs>),
    Unpause(Later<container::pause::UnpauseArgs>),
    Unshare(Later<system::unshare::UnshareArgs>),
    Untag(Later<image::untag::UntagArgs>),
    Update(Later<container::update::UpdateArgs>),
    Version(Later<system::version::VersionArgs>),
    /// Docker's places to work at: here there is one, this host
    #[command(subcommand)]
    Context(contexts::ContextCommand),
    /// Work with secrets
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// Work with volumes
    #[command(subcommand)]
    Volume(volume::VolumeCommand),
    Kill(Later<container::kill::KillArgs>),
    Rename(Later<container::rename::RenameArgs>),
    Restart(Later<container::restart::RestartArgs>),
    Rm(Later<container::rm::RmArgs>),
    Run(Later<container::run::RunArgs>),
    Start(Later<container::start::StartArgs>),
    Stats(Later<container::stats::StatsArgs>),
    Stop(Later<container::stop::StopArgs>),
    Top(Later<container::top::TopArgs>),
    Wait(Later<container::wait::WaitArgs>),
}

impl Command {
    fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Artifact(command) => command.run(cx),
            Self::Manifest(command) => command.run(cx),
            Self::Search(args) => registry::search::run(cx, args.0),
            Self::Attach(args) => container::attach::run(cx, args.0),
            Self::Commit(args) => container::commit::run(cx, args.0),
            Self::Cp(args) => container::cp::run(cx, args.0),
            Self::Create(args) => container::create::run(cx, args.0),
            Self::Completion(args) => system::completion::run(cx, args.0),
            Self::Diff(args) => container::diff::any(cx, args.0),
            Self::Export(args) => container::export::run(cx, args.0),
            Self::Events(args) => system::events::run(cx, args.0),
            Self::Exec(args) => container::exec::run(cx, args.0),
            Self::Healthcheck(command) => command.run(cx),
            Self::Help(args) => system::help::run(cx, args.0),
            Self::History(args) => image::history::run(cx, args.0),
            Self::Login(args) => registry::login::run(cx, args.0),
            Self::Logout(args) => registry::logout::run(cx, args.0),
            Self::Load(args) => image::load::run(cx, args.0),
            Self::Logs(args) => container::logs::run(cx, args.0),
            Self::Container(command) => command.run(cx),
            Self::Image(command) => command.run(cx),
            Self::Images(args) => image::images::run(cx, args.0),
            Self::Import(args) => image::import::run(cx, args.0),
            Self::Inspect(args) => system::inspect::run(cx, args.0),
            Self::Mount(args) => container::mount::run(cx, args.0),
            Self::Unmount(args) => container::mount::undo(cx, args.0),
            Self::Network(command) => command.run(cx),
            Self::Pause(args) => container::pause::pause(cx, args.0),
            Self::Port(args) => container::port::run(cx, args.0),
            Self::Ps(args) => container::ps::run(cx, args.0),
            Self::Init(args) => container::init::run(cx, args.0),
            Self::Info(args) => system::info::run(cx, args.0),
            Self::Pull(args) => image::pull::run(cx, args.0),
            Self::Push(args) => image::push::run(cx, args.0),
            Self::Rmi(args) => image::rmi::run(cx, args.0),
            Self::Save(args) => image::save::run(cx, args.0),
            Self::System(command) => command.run(cx),
            Self::Tag(args) => image::tag::run(cx, args.0),
            Self::Unpause(args) => container::pause::unpause(cx, args.0),
            Self::Unshare(args) => system::unshare::run(cx, args.0),
            Self::Untag(args) => image::untag::run(cx, args.0),
            Self::Update(args) => container::update::run(cx, args.0),
            Self::Version(args) => system::version::run(cx, args.0),
            Self::Context(command) => command.run(cx),
            Self::Secret(command) => command.run(cx),
            Self::Volume(command) => command.run(cx),
            Self::Kill(args) => container::kill::run(cx, args.0),
            Self::Rename(args) => container::rename::run(cx, args.0),
            Self::Restart(args) => container::restart::run(cx, args.0),
            Self::Rm(args) => container::rm::run(cx, args.0),
            Self::Run(args) => container::run::run(cx, args.0),
            Self::Start(args) => container::start::run(cx, args.0),
            Self::Stats(args) => container::stats::run(cx, args.0),
            Self::Stop(args) => container::stop::run(cx, args.0),
            Self::Top(args) => container::top::run(cx, args.0),
            Self::Wait(args) => container::wait::run(cx, args.0),
        }
    }

    /// Whether a failure's exit code must not look like a container's own.
    fn starts_containers(&self) -> bool {
        use container::ContainerCommand as C;
        matches!(
            self,
            Self::Create(_)
                | Self::Exec(_)
                | Self::Run(_)
                | Self::Container(C::Create(_) | C::Exec(_) | C::Run(_))
        )
    }
}

/// The whole command line as clap knows it, for help, man pages and completions.
pub fn command() -> clap::Command {
    later::all(Cli::command())
}

/// As much of it as it takes to parse `words`.
fn command_for(words: &[OsString]) -> clap::Command {
    switches::with_values_for(globals::anywhere(later::named(Cli::command(), words), words), words)
}

fn parse(mut words: Vec<OsString>) -> Result<Cli, clap::Error> {
    let mut matches = command_for(&words).try_get_matches_from(&words)?;
    let behind = globals::behind(&matches);
    if !behind.is_empty() {
        words.splice(1..1, behind);
        matches = command_for(&words).try_get_matches_from(&words)?;
    }
    Cli::from_arg_matches(&matches)
}

/// Runs one command line and returns its exit code.
pub fn main() -> ExitCode {
    if completion::answer() {
        return ExitCode::SUCCESS;
    }
    let cli = match parse(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(error) => return failure::clap_error(&with_plain_help(error)),
    };
    logging::start(cli.globals.level());
    let before_start = cli.command.starts_containers();
    let argv = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let cx = Context::new(cli.globals, argv);
    let ready = cx.globals.check_local().and_then(|()| cx.globals.redirect());
    match ready.and_then(|()| cli.command.run(&cx)) {
        Ok(Exit(code)) => ExitCode::from(code),
        Err(error) => {
            failure::print(&error);
            ExitCode::from(failure::exit_code(&error, before_start))
        }
    }
}

/// Help is shown from the definitions themselves, where flags have no optional values.
fn with_plain_help(error: clap::Error) -> clap::Error {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand};
    if !matches!(error.kind(), DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand) {
        return error;
    }
    command()
        .try_get_matches_from(std::env::args_os())
        .err()
        .filter(|e| e.kind() == error.kind())
        .unwrap_or(error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn podmans_flags_may_stand_behind_every_command() {
        fn names(command: &clap::Command, found: &mut Vec<OsString>) {
            for sub in command.get_subcommands() {
                found.push(sub.get_name().into());
                names(sub, found);
            }
        }
        let mut words = Vec::new();
        names(&command(), &mut words);
        command_for(&words).debug_assert();
        let parsed = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            parse(words).unwrap().globals
        };
        assert_eq!(parsed("coracle container ps --log-level debug -l").log_level.as_deref(), Some("debug"));
        assert_eq!(parsed("coracle -l error ps --root /x").level(), Some("error"));
        assert_eq!(parsed("coracle ps --root /x --root /y").root, Some("/y".into()));
        assert!(parsed("coracle run -d --syslog busybox --root").syslog);
    }
}
