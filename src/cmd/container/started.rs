//! Starting a container with our streams attached, and following it to its end: `run` and `start -a`.

use super::streams::{Ended, Plan, detach_keys, exit, leave_by};
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::container::attach::{Attached, End, tell_attached};
use crate::engine::container::cleanup::end_of_run;
use crate::engine::container::{StartOptions, start};
use crate::engine::host::process::PidFd;
use rustix::stdio::{stderr, stdin, stdout};

/// Which streams, and how.
#[derive(Clone, Debug, Default)]
pub struct Attach {
    /// Ours to the container's, if it has one open.
    pub stdin: bool,
    /// Its standard output to ours.
    pub stdout: bool,
    /// Its standard error to ours.
    pub stderr: bool,
    /// `--sig-proxy`.
    pub signals: bool,
    /// `--detach-keys`.
    pub detach_keys: Option<String>,
}

/// Starts the container `id` (or joins it, if it runs) and follows it. The exit code is the container's; a `--rm` one
/// is removed when this returns.
pub fn start_attached(cx: &Context, id: &str, attach: &Attach, options: StartOptions<'_>) -> Result<Exit> {
    let engine = cx.engine()?;
    let record = engine.state.load(id)?;
    let spec = record.spec()?;
    let keys = detach_keys(cx, attach.detach_keys.as_deref(), &spec.detach_keys)?;
    let plan = Plan {
        stdin: attach.stdin && spec.process.open_stdin,
        stdout: attach.stdout,
        stderr: attach.stderr,
        signals: attach.signals,
        ..Plan::new(&keys)?
    };
    let passthrough = spec.log.driver.starts_with("passthrough");
    let stdio = passthrough.then(|| [stdin(), stdout(), stderr()]);
    let mut streams = None;
    let mut end = None;
    start(engine, id, StartOptions { stdio, ..options }, &mut |run_dir| {
        let record = engine.state.load(id)?;
        end = Some(End::of(engine, &record)?);
        if !passthrough {
            let process = PidFd::open(record.state.pid, record.state.pid_start)?;
            let attached = Attached::connect(run_dir.clone(), spec.process.terminal, process)?;
            streams = Some((plan.prepare(&attached)?, attached));
            tell_attached(engine, id, "attach");
        }
        Ok(())
    })?;
    if let Some((prepared, mut attached)) = streams {
        match prepared.run(&mut attached)? {
            Ended::Detached => {
                tell_attached(engine, id, "detach");
                cx.note("read escape sequence");
                return Ok(Exit::OK);
            }
            Ended::Signal(signal) => return Ok(leave_by(signal)),
            Ended::Closed => {}
        }
    }
    let code = match end {
        Some(end) => end.wait()?,
        None => 0,
    };
    end_of_run(engine, id)?;
    Ok(exit(code))
}
