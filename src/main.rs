//! The `coracle` program.

use coracle::cmd;
use coracle::engine::{host::userns, network::proxy};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    // Processes of our own that are no commands.
    match arguments.next() {
        Some(name) if name == userns::PAUSE_NAME => userns::pause(),
        Some(name) if name == proxy::NAME => {
            proxy::serve(arguments);
            return ExitCode::FAILURE;
        }
        _ => {}
    }
    cmd::main()
}
