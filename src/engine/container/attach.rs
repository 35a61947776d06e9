//! Attaching: a container's streams as a value.

use super::pause::after_commit;
use super::told::tell;
use crate::engine::conmon::{self, AttachSocket, Chunk, ExitFile, PACKET, RunDir, Stream, Waited, Waiter};
use crate::engine::host::process::PidFd;
use crate::engine::state::{EXIT_UNKNOWN, Record, Status};
use crate::engine::{Engine, Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// Connected streams of a container or an exec session.
///
/// None of its calls blocks: poll [`Attached::readers`] for input, [`Attached::writer`] for output. Dropping it
/// detaches; the container lives on.
#[derive(Debug)]
pub struct Attached {
    link: Link,
    run_dir: RunDir,
    /// The process at the other end; signals go to it.
    process: Option<PidFd>,
    /// It has a terminal: everything is stdout, and [`Attached::resize`] means something.
    pub terminal: bool,
}

#[derive(Debug)]
enum Link {
    Conmon(AttachSocket),
    Pipes(Pipes),
}

/// Streams without conmon: the pipes of an exec session's runtime, a child of ours.
#[derive(Debug)]
pub(super) struct Pipes {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    /// Closed: what is on stderr may be the runtime's.
    pub gate: Option<Gate>,
    /// Its end is the streams' end, whoever else still holds them open.
    pub child: PidFd,
    pub ended: bool,
}

/// Keeps what is on stderr apart until it is clear who wrote it: before there is a process, that is the runtime, and it is our error
/// message, not the command's output.
#[derive(Debug)]
pub(super) struct Gate {
    /// Written by the runtime when there is a process.
    pub pidfile: PathBuf,
    /// There is something on stderr, and no pidfile.
    pub held: bool,
}

/// Connects to the streams of a running container.
///
/// Fails with [`ErrorKind::InUse`] if it does not run, with [`ErrorKind::NotFound`] if its conmon is gone, with
/// [`ErrorKind::Unsupported`] if its output is passed through.
pub fn attach(engine: &Engine, id: &str) -> Result<Attached> {
    let record = after_commit(engine, id)?;
    match record.state.status {
        Status::Running | Status::Starting => {}
        Status::Paused => {
            return Err(state_error(&record, "cannot attach to a paused container, unpause it first"));
        }
        _ => return Err(state_error(&record, "you can only attach to running containers")),
    }
    let spec = record.spec()?;
    if spec.log.driver.starts_with("passthrough") {
        return Err(Error::unsupported(format!(
            "container {} was started with --log-driver={}: its output is not kept apart for others",
            record.name(),
            spec.log.driver
        )));
    }
    let run_dir = RunDir::new(engine.state.run_dir(id));
    let process = PidFd::open(record.state.pid, record.state.pid_start)?;
    let attached = Attached::connect(run_dir, spec.process.terminal, process)?;
    tell(engine, "attach", &record, &[]);
    Ok(attached)
}

/// Tells that somebody has attached to the container `id` as it was started, or has left it (`detach`).
pub fn tell_attached(engine: &Engine, id: &str, action: &str) {
    if let Ok(record) = engine.state.load(id) {
        tell(engine, action, &record, &[]);
    }
}

/// docker's and podman's sentence share "can only … running containers".
pub(super) fn state_error(record: &Record, what: &str) -> Error {
    let state = record.state.status.as_str();
    Error::new(ErrorKind::InUse, format!("{what}: container {} is {state}", record.name()))
}

impl Attached {
    /// Connects to the conmon of `run_dir`. Between [`conmon::Standby::go`] and [`conmon::Runtime::start`] it misses no
    /// output.
    pub fn connect(run_dir: RunDir, terminal: bool, process: Option<PidFd>) -> Result<Self> {
        let socket = AttachSocket::connect(&run_dir)?;
        Ok(Self { link: Link::Conmon(socket), run_dir, process, terminal })
    }

    /// Streams that are pipes.
    pub(super) fn pipes(run_dir: RunDir, pipes: Pipes) -> Self {
        Self { link: Link::Pipes(pipes), run_dir, process: None, terminal: false }
    }

    /// What to poll for input.
    pub fn readers(&self) -> Vec<BorrowedFd<'_>> {
        match &self.link {
            Link::Conmon(socket) => vec![socket.as_fd()],
            Link::Pipes(pipes) => {
                let stderr = pipes.stderr.as_ref().filter(|_| pipes.patience().is_none()).map(AsFd::as_fd);
                let child = (!pipes.ended).then_some(pipes.child.as_fd());
                [pipes.stdout.as_ref().map(AsFd::as_fd), stderr, child].into_iter().flatten().collect()
            }
        }
    }

    /// The longest time to poll before [`Attached::receive`] is called again.
    pub fn patience(&self) -> Option<Duration> {
        match &self.link {
            Link::Conmon(_) => None,
            Link::Pipes(pipes) => pipes.patience(),
        }
    }

    /// What to poll until stdin is taken; `None`: it is not any more.
    pub fn writer(&self) -> Option<BorrowedFd<'_>> {
        match &self.link {
            Link::Conmon(socket) => Some(socket.as_fd()),
            Link::Pipes(pipes) => pipes.stdin.as_ref().map(AsFd::as_fd),
        }
    }

    /// The next output, `None` at its end, `WouldBlock` if there is none yet. `buffer` holds more than [`PACKET`] bytes.
    pub fn receive<'b>(&mut self, buffer: &'b mut [u8]) -> std::io::Result<Option<Chunk<'b>>> {
        match &mut self.link {
            Link::Conmon(socket) => socket.receive(buffer),
            Link::Pipes(pipes) => pipes.receive(buffer),
        }
    }

    /// Gives stdin; returns how many bytes were taken. `WouldBlock`: none at the moment; `BrokenPipe`: none ever again.
    pub fn send(&self, bytes: &[u8]) -> std::io::Result<usize> {
        match &self.link {
            Link::Conmon(socket) => socket.send(bytes),
            Link::Pipes(Pipes { stdin: Some(stdin), .. }) => Ok(rustix::io::write(stdin, bytes)?),
            Link::Pipes(_) => Err(Errno::PIPE.into()),
        }
    }

    /// stdin ends here.
    pub fn end_stdin(&mut self) {
        match &mut self.link {
            Link::Conmon(socket) => socket.end_stdin(),
            Link::Pipes(pipes) => pipes.stdin = None,
        }
    }

    /// What the runtime said when there was no process to say anything.
    pub(super) fn complaint(&mut self) -> String {
        let Link::Pipes(Pipes { stderr: Some(stderr), .. }) = &self.link else { return String::new() };
        let mut text = vec![0; 8192];
        let read = rustix::io::read(stderr, &mut text).unwrap_or_default();
        String::from_utf8_lossy(&text[..read]).into_owned()
    }

    /// Gives its terminal a size.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        conmon::resize(&self.run_dir, rows, columns)
    }

    /// Sends a signal to its process; `false` if that is gone, or not known.
    pub fn signal(&self, signal: i32) -> Result<bool> {
        self.process.as_ref().map_or(Ok(false), |process| process.signal(signal))
    }
}

impl Pipes {
    /// The pipes between us and a child, ours not blocking; the child's come second.
    pub(super) fn pair(ours_reads: bool) -> Result<(OwnedFd, OwnedFd)> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|e| Error::os("make a pipe", e))?;
        let (ours, theirs) = if ours_reads { (reader, writer) } else { (writer, reader) };
        rustix::io::ioctl_fionbio(&ours, true).map_err(|e| Error::os("make a pipe not block", e))?;
        Ok((ours, theirs))
    }

    /// While somebody has written to stderr and there is no pidfile: it comes within milliseconds, or the runtime's end does.
    fn patience(&self) -> Option<Duration> {
        self.gate.as_ref().filter(|gate| gate.held).map(|_| Duration::from_millis(1))
    }

    /// Whether what is on stderr is the process's.
    fn may_speak(&mut self) -> bool {
        let (Some(gate), Some(stderr)) = (&mut self.gate, &self.stderr) else { return true };
        let mut fds = [PollFd::new(stderr, PollFlags::IN)];
        if !gate.held && poll(&mut fds, Some(&Timespec::default())) == Ok(0) {
            return false;
        }
        gate.held = !gate.pidfile.exists();
        if !gate.held {
            self.gate = None;
        }
        self.gate.is_none()
    }

    fn receive<'b>(&mut self, buffer: &'b mut [u8]) -> std::io::Result<Option<Chunk<'b>>> {
        // Looked at before the pipes are: what the process wrote is there when its end is.
        let ended = self.ended || self.child.wait(Some(Duration::ZERO)).unwrap_or(true);
        let mut closed = None;
        let stderr = if self.may_speak() { &mut self.stderr } else { &mut closed };
        for (pipe, stream) in [(&mut self.stdout, Stream::Stdout), (stderr, Stream::Stderr)] {
            let Some(fd) = pipe else { continue };
            match rustix::io::read(&*fd, &mut buffer[..PACKET]) {
                Ok(0) => *pipe = None,
                Ok(read) => return Ok(Some(Chunk { stream, bytes: &buffer[..read] })),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.ended = ended;
        if ended { Ok(None) } else { Err(Errno::AGAIN.into()) }
    }
}

/// How a running container is going to end. Taken before its streams are followed, for a `--rm` container's record is gone soon after its end.
#[derive(Debug)]
pub struct End {
    file: ExitFile,
    process: Option<PidFd>,
    conmon: Option<PidFd>,
    /// Keeps the exit file of a container that is removed at once.
    _waiter: Waiter,
}

impl End {
    /// Of the container in `record`.
    pub fn of(engine: &Engine, record: &Record) -> Result<Self> {
        let process = PidFd::open(record.state.pid, record.state.pid_start)?;
        let conmon = PidFd::open(record.state.conmon_pid, record.state.conmon_start)?;
        let file = ExitFile::new(&engine.state.exit_dir(), &record.id);
        Ok(Self { _waiter: file.announce()?, file, process, conmon })
    }

    /// Whether it is here: the exit code is there, or nobody is left to write it.
    pub fn has_come(&self) -> Result<bool> {
        Ok(self.file.look(self.conmon.as_ref())? != Waited::TimedOut)
    }

    /// Waits until the end may have come, or `fd` is readable, or `timeout` is over; the caller looks what it is.
    pub fn wait_or(&self, fd: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Result<()> {
        self.file.wait_or(self.process.as_ref(), self.conmon.as_ref(), fd, timeout)
    }

    /// Waits for the end; 255 if nobody saw it (conmon was killed).
    pub fn wait(&self) -> Result<i32> {
        match self.file.wait(self.process.as_ref(), self.conmon.as_ref(), None)? {
            Waited::Code(code) => Ok(code),
            Waited::Lost | Waited::TimedOut => Ok(EXIT_UNKNOWN),
        }
    }
}
