//! The `coracle` program.

use coracle::{cmd, engine::host::userns};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.next().is_some_and(|name| name == userns::PAUSE_NAME) {
        userns::pause();
    }
    cmd::main()
}
