//! The command line: argv in, engine request, engine value, text out.
//!
//! Each command is one file with its arguments (whose doc comments are the help) and a `run` that fills a request,
//! calls the engine and renders. A command stands once in [`Command`] or in the enum of its noun, and once in the
//! match beside it. Only this module prints, exits, and reads environment and argv.

pub mod completion;
pub mod container;
pub mod context;
pub mod failure;
pub mod flags;
pub mod format;
pub mod globals;
pub mod image;
pub mod logging;
pub mod suggest;
pub mod switches;
pub mod system;
pub mod user_files;

pub use context::Context;

use crate::engine::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use globals::Globals;
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
    disable_version_flag = true
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
    Attach(container::attach::AttachArgs),
    Create(container::create::CreateArgs),
    Completion(system::completion::CompletionArgs),
    Exec(container::exec::ExecArgs),
    Logs(container::logs::LogsArgs),
    /// Work with containers
    #[command(subcommand)]
    Container(container::ContainerCommand),
    /// Work with images
    #[command(subcommand)]
    Image(image::ImageCommand),
    Images(image::images::ImagesArgs),
    Info(system::info::InfoArgs),
    Inspect(system::inspect::InspectArgs),
    #[command(visible_alias = "list")]
    Ps(container::ps::PsArgs),
    Pull(image::pull::PullArgs),
    Rmi(image::rmi::RmiArgs),
    /// Work with the engine
    #[command(subcommand)]
    System(system::SystemCommand),
    Tag(image::tag::TagArgs),
    Unshare(system::unshare::UnshareArgs),
    Untag(image::untag::UntagArgs),
    Version(system::version::VersionArgs),
    Kill(container::kill::KillArgs),
    Restart(container::restart::RestartArgs),
    Rm(container::rm::RmArgs),
    Run(container::run::RunArgs),
    Start(container::start::StartArgs),
    Stop(container::stop::StopArgs),
    Wait(container::wait::WaitArgs),
}

impl Command {
    fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Attach(args) => container::attach::run(cx, args),
            Self::Create(args) => container::create::run(cx, args),
            Self::Completion(args) => system::completion::run(cx, args),
            Self::Exec(args) => container::exec::run(cx, args),
            Self::Logs(args) => container::logs::run(cx, args),
            Self::Container(command) => command.run(cx),
            Self::Image(command) => command.run(cx),
            Self::Images(args) => image::images::run(cx, args),
            Self::Inspect(args) => system::inspect::run(cx, args),
            Self::Ps(args) => container::ps::run(cx, args),
            Self::Info(args) => system::info::run(cx, args),
            Self::Pull(args) => image::pull::run(cx, args),
            Self::Rmi(args) => image::rmi::run(cx, args),
            Self::System(command) => command.run(cx),
            Self::Tag(args) => image::tag::run(cx, args),
            Self::Unshare(args) => system::unshare::run(cx, args),
            Self::Untag(args) => image::untag::run(cx, args),
            Self::Version(args) => system::version::run(cx, args),
            Self::Kill(args) => container::kill::run(cx, args),
            Self::Restart(args) => container::restart::run(cx, args),
            Self::Rm(args) => container::rm::run(cx, args),
            Self::Run(args) => container::run::run(cx, args),
            Self::Start(args) => container::start::run(cx, args),
            Self::Stop(args) => container::stop::run(cx, args),
            Self::Wait(args) => container::wait::run(cx, args),
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
    Cli::command()
}

/// Runs one command line and returns its exit code.
pub fn main() -> ExitCode {
    if completion::answer() {
        return ExitCode::SUCCESS;
    }
    let words: Vec<_> = std::env::args_os().collect();
    let parsed = switches::with_values_for(command(), &words)
        .try_get_matches_from(words)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return failure::clap_error(&with_plain_help(error)),
    };
    logging::start(cli.globals.level());
    let before_start = cli.command.starts_containers();
    let argv = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let cx = Context::new(cli.globals, argv);
    match cx.globals.check_local().and_then(|()| cli.command.run(&cx)) {
        Ok(Exit(code)) => ExitCode::from(code),
        Err(error) => {
            failure::print(&error);
            ExitCode::from(failure::exit_code(&error, before_start))
        }
    }
}

/// Help is shown from the definitions themselves, where flags have no optional values.
fn with_plain_help(error: clap::Error) -> clap::Error {
    if error.kind() != clap::error::ErrorKind::DisplayHelp {
        return error;
    }
    command()
        .try_get_matches_from(std::env::args_os())
        .err()
        .filter(|e| e.kind() == error.kind())
        .unwrap_or(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        command().debug_assert();
    }
}
