//! Between the user's terminal or pipes and a container's streams: `run`, `start -a`, `attach`, `exec`.
//!
//! One loop over poll(2), no threads: stdin to the container (looking for the detach keys), its output to ours, signals
//! and window sizes on to it. The terminal is raw only inside [`Plan::run`], whichever way that is left.

use super::detach_keys::{self, Detector};
use crate::cmd::flags;
use crate::cmd::{Context, Exit};
use crate::engine::conmon::{PACKET, Stream};
use crate::engine::container::attach::Attached;
use crate::engine::host::signals::{FORWARDED, Signals, die_of};
use crate::engine::host::term::{RawMode, is_terminal, window_size};
use crate::engine::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::stdio::{stderr, stdin, stdout};
use std::os::fd::BorrowedFd;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The container's side closed: the process has ended, or conmon has.
    Closed,
    /// The user typed the detach keys.
    Detached,
    /// This signal asked us to go, and is not the container's; the caller ends with [`leave_by`].
    Signal(i32),
}

/// What to connect.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Ours to the container's.
    pub stdin: bool,
    /// Its standard output to ours.
    pub stdout: bool,
    /// Its standard error to ours.
    pub stderr: bool,
    /// Bytes of the detach keys; see [`flags::attach::detach_keys`].
    pub detach_keys: Vec<u8>,
    /// Signals we get are the container's (`--sig-proxy`). Never with a terminal, whose keys send signals inside.
    pub signals: bool,
    /// The container's terminal shows something already, and is to show it again.
    pub redraw: bool,
}

impl Plan {
    /// All three streams and the default keys.
    pub fn new(detach_keys: &str) -> Result<Self> {
        let detach_keys = flags::attach::detach_keys(detach_keys)?;
        Ok(Self { stdin: true, stdout: true, stderr: true, detach_keys, signals: true, redraw: false })
    }

    /// Moves bytes until there are no more, or the user detaches. For a container that is yet to be started, call
    /// [`Plan::prepare`] before and [`Prepared::run`] after the start instead.
    pub fn run(&self, attached: &mut Attached) -> Result<Ended> {
        self.prepare(attached)?.run(attached)
    }

    /// Catches signals, gives the container's terminal our size and makes ours raw: what has to be done before the
    /// container is started.
    pub fn prepare(&self, attached: &Attached) -> Result<Prepared> {
        let mut wanted = FORWARDED.to_vec();
        wanted.push(libc::SIGWINCH);
        let interactive = attached.terminal && self.stdin && is_terminal(stdin());
        if attached.terminal || !self.signals {
            // Not forwarded: only those that end us are of interest, so that the terminal is put back first.
            wanted.retain(|s| {
                matches!(*s, libc::SIGHUP | libc::SIGINT | libc::SIGQUIT | libc::SIGTERM | libc::SIGWINCH)
            });
        }
        let signals = Signals::catch(&wanted)?;
        if attached.terminal {
            if self.redraw {
                // A program hears of its terminal's size only when that changes (docker's `resizeTTY`).
                send_size(attached, 1);
            }
            send_size(attached, 0);
        }
        let raw = if interactive { Some(RawMode::enter(stdin())?) } else { None };
        Ok(Prepared {
            plan: self.clone(),
            signals,
            _raw: raw,
            detector: Detector::new(if attached.terminal || interactive {
                self.detach_keys.clone()
            } else {
                Vec::new()
            }),
            pending: Vec::new(),
            stdin_open: self.stdin,
        })
    }
}

/// Signals caught, terminal raw: ready to run. Dropping it puts everything back.
#[derive(Debug)]
pub struct Prepared {
    plan: Plan,
    signals: Signals,
    _raw: Option<RawMode>,
    detector: Detector,
    /// Typed, and not taken yet.
    pending: Vec<u8>,
    stdin_open: bool,
}

enum Ready {
    Remote,
    Signals,
    Stdin,
    Writer,
}

impl Prepared {
    /// See [`Plan::run`].
    pub fn run(mut self, attached: &mut Attached) -> Result<Ended> {
        let mut buffer = vec![0; PACKET + 1];
        loop {
            let ready = self.wait(attached)?;
            for ready in ready {
                match ready {
                    Ready::Remote if self.drain(attached, &mut buffer)? => return Ok(Ended::Closed),
                    Ready::Remote => {}
                    Ready::Signals => {
                        if let Some(signal) = self.handle_signals(attached)? {
                            return Ok(Ended::Signal(signal));
                        }
                    }
                    Ready::Stdin => {
                        if self.read_stdin(attached, &mut buffer)? {
                            return Ok(Ended::Detached);
                        }
                    }
                    Ready::Writer => self.write(attached),
                }
            }
        }
    }

    fn wait(&self, attached: &Attached) -> Result<Vec<Ready>> {
        let mut fds: Vec<(PollFd<'_>, Ready)> = Vec::with_capacity(6);
        for fd in attached.readers() {
            fds.push((PollFd::from_borrowed_fd(fd, PollFlags::IN), Ready::Remote));
        }
        fds.push((PollFd::new(&self.signals, PollFlags::IN), Ready::Signals));
        let writer = attached.writer();
        if self.stdin_open && self.pending.is_empty() {
            fds.push((PollFd::from_borrowed_fd(stdin(), PollFlags::IN), Ready::Stdin));
        }
        if let Some(writer) = writer.filter(|_| !self.pending.is_empty()) {
            fds.push((PollFd::from_borrowed_fd(writer, PollFlags::OUT), Ready::Writer));
        }
        let (mut polled, ready): (Vec<_>, Vec<_>) = fds.into_iter().unzip();
        let patience = attached.patience().and_then(|time| rustix::time::Timespec::try_from(time).ok());
        match poll(&mut polled, patience.as_ref()) {
            // Time to look at what no descriptor tells.
            Ok(0) => return Ok(vec![Ready::Remote]),
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(e) => return Err(Error::os("poll", e)),
        }
        Ok(polled.iter().zip(ready).filter(|(fd, _)| !fd.revents().is_empty()).map(|(_, r)| r).collect())
    }

    /// Writes out what the container has said; `true` at its end.
    fn drain(&self, attached: &mut Attached, buffer: &mut [u8]) -> Result<bool> {
        loop {
            match attached.receive(buffer) {
                Ok(None) => return Ok(true),
                Ok(Some(chunk)) => match chunk.stream {
                    Stream::Stdout if self.plan.stdout => {
                        write_all(stdout(), chunk.bytes, "standard output")?
                    }
                    Stream::Stderr if self.plan.stderr => write_all(stderr(), chunk.bytes, "standard error")?,
                    Stream::Stdout | Stream::Stderr => {}
                },
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(Error::os("read from the container", e)),
            }
        }
    }

    /// `Some`: a signal that is not for the container.
    fn handle_signals(&self, attached: &Attached) -> Result<Option<i32>> {
        for signal in self.signals.read() {
            if signal == libc::SIGWINCH {
                if attached.terminal {
                    send_size(attached, 0);
                }
            } else if attached.terminal || !self.plan.signals || !attached.signal(signal)? {
                // A container that is gone leaves the signal to us; those that end nobody are dropped.
                let ends = matches!(signal, libc::SIGHUP | libc::SIGINT | libc::SIGQUIT | libc::SIGTERM);
                if ends {
                    return Ok(Some(signal));
                }
            }
        }
        Ok(None)
    }

    /// `true`: the detach keys were typed.
    fn read_stdin(&mut self, attached: &mut Attached, buffer: &mut [u8]) -> Result<bool> {
        let read = match rustix::io::read(stdin(), &mut buffer[..PACKET]) {
            Ok(read) => read,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
            // A background job's read from its terminal, or a terminal that hung up.
            Err(Errno::IO) => 0,
            Err(e) => return Err(Error::os("read from standard input", e)),
        };
        if read == 0 {
            self.stdin_open = false;
            attached.end_stdin();
            return Ok(false);
        }
        let detach = self.detector.feed(&buffer[..read], &mut self.pending);
        if !self.pending.is_empty() {
            self.write(attached);
        }
        Ok(detach)
    }

    fn write(&mut self, attached: &mut Attached) {
        while !self.pending.is_empty() {
            match attached.send(&self.pending) {
                Ok(sent) => drop(self.pending.drain(..sent)),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    // The container does not read any more; its output is still wanted.
                    self.pending.clear();
                    self.stdin_open = false;
                }
            }
        }
    }
}

/// Tells the container's terminal how large ours is, and as much more.
fn send_size(attached: &Attached, more: u16) {
    let size =
        [window_size(stdin()), window_size(stdout()), window_size(stderr())].into_iter().flatten().next();
    if let Some((rows, columns)) = size
        && let Err(e) = attached.resize(rows.saturating_add(more), columns.saturating_add(more))
    {
        tracing::debug!("resize: {e}");
    }
}

/// Writes everything, waiting for a descriptor that somebody else has made non-blocking.
fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8], name: &str) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
                match poll(&mut fds, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(e) => return Err(Error::os(format!("wait for {name}"), e)),
                }
            }
            Err(e) => return Err(Error::os(format!("write to {name}"), e)),
        }
    }
    Ok(())
}

/// Ends the program by the signal that ended a [`Plan::run`], and otherwise gives the code a shell would.
pub fn leave_by(signal: i32) -> Exit {
    die_of(signal);
    Exit(u8::try_from(128 + signal).unwrap_or(u8::MAX))
}

/// The detach keys in force: the flag's, else those the container was created with, else containers.conf's, else the default.
pub fn detach_keys(cx: &Context, flag: Option<&str>, container: &str) -> Result<String> {
    let configured = || Ok(cx.engine()?.config.containers.engine.detach_keys.clone());
    Ok(match (flag, container) {
        (Some(flag), _) => flag.to_owned(),
        (None, "") => configured()?.unwrap_or_else(|| detach_keys::DEFAULT.to_owned()),
        (None, keys) => keys.to_owned(),
    })
}

/// An exit code as ours: containers' codes are a byte, and what is not comes from an end nobody saw.
pub fn exit(code: i32) -> Exit {
    Exit(u8::try_from(code).unwrap_or(u8::MAX))
}
