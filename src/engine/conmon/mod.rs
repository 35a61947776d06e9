//! conmon and the OCI runtime: command lines, pipes, sockets, exit files.
//!
//! One conmon per container holds its terminal or pipes, writes its log, waits for it, leaves the exit code in a file
//! and then runs the exit command. [`stand_by`] starts it ([`Standby::go`]: conmon runs `RUNTIME create`), [`Runtime::start`] lets the
//! container's process go, [`AttachSocket`] connects to its streams, [`ExitFile`] waits for its end.
//!
//! Everything conmon and the runtime write for a container is in one volatile directory, [`RunDir`], which doubles as the OCI
//! bundle; [`crate::engine::container`] makes it, puts `config.json` there and removes it. Nothing here knows records
//! or images.

mod arguments;
mod attach;
mod control;
mod exec;
mod exit;
mod launch;
mod log_line;
mod run_dir;
mod runtime;
mod runtime_error;
mod sync;

pub use attach::{AttachSocket, Chunk, PACKET, Stream};
pub use control::{reopen_logs, resize};
pub use exec::{ExecChild, ExecConmon, ExecLaunch, ExecPipes};
pub(crate) use exit::drain;
pub use exit::{ExitFile, Waited, Waiter};
pub use launch::{ConmonScope, Launch, Launched, LogTarget, Preserved, Standby, environment, find, stand_by};
pub use log_line::LogLine;
pub(crate) use log_line::is_partial;
pub use run_dir::RunDir;
pub use runtime::{Runtime, RuntimeKind, RuntimeState};
