//! Child processes with a chosen set of descriptors, in a session of their own.
//!
//! `std::process::Command` cannot pass descriptors beyond stdio nor call setsid(2) without running code in a forked
//! copy of this process; posix_spawn(3) can, and shares our memory until the exec instead of copying page tables.
//! A child sees exactly the descriptors given with [`Spawn::fd`] (an unset 0, 1 or 2 is `/dev/null`), only the
//! environment given, no blocked signal, and the default action for the signals Rust ignores.

use crate::engine::{Error, ErrorKind, Result};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A child to be. Build it, then [`Spawn::spawn`].
#[derive(Debug)]
pub struct Spawn<'a> {
    program: &'a Path,
    args: Vec<CString>,
    env: Vec<CString>,
    fds: Vec<(BorrowedFd<'a>, RawFd)>,
    directory: Option<&'a Path>,
    session: bool,
    bad: bool,
}

impl<'a> Spawn<'a> {
    /// `program` is a path; nothing is searched.
    pub fn new(program: &'a Path) -> Self {
        let mut spawn = Self {
            program,
            args: Vec::new(),
            env: Vec::new(),
            fds: Vec::new(),
            directory: None,
            session: false,
            bad: false,
        };
        spawn.push_arg(program.as_os_str());
        spawn
    }

    /// The child's `argv[0]`, instead of the program's path.
    pub fn name(mut self, name: &str) -> Self {
        if let Some(name) = self.c_string(name.as_bytes().to_vec()) {
            self.args[0] = name;
        }
        self
    }

    fn c_string(&mut self, text: Vec<u8>) -> Option<CString> {
        let text = CString::new(text).ok();
        self.bad |= text.is_none();
        text
    }

    fn push_arg(&mut self, arg: &OsStr) {
        if let Some(arg) = self.c_string(arg.as_bytes().to_vec()) {
            self.args.push(arg);
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.push_arg(arg.as_ref());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        args.into_iter().for_each(|arg| self.push_arg(arg.as_ref()));
        self
    }

    /// Adds an environment variable; there are no others.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let mut text = name.as_ref().as_bytes().to_vec();
        text.push(b'=');
        text.extend_from_slice(value.as_ref().as_bytes());
        if let Some(text) = self.c_string(text) {
            self.env.push(text);
        }
        self
    }

    /// Adds environment variables.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(mut self, vars: impl IntoIterator<Item = (N, V)>) -> Self {
        for (name, value) in vars {
            self = self.env(name, value);
        }
        self
    }

    /// The child has `fd` as descriptor `number`.
    pub fn fd(mut self, fd: BorrowedFd<'a>, number: RawFd) -> Self {
        self.fds.push((fd, number));
        self
    }

    /// Working directory.
    pub fn directory(mut self, directory: &'a Path) -> Self {
        self.directory = Some(directory);
        self
    }

    /// The child leads a new session: our terminal's signals do not reach it (setsid(2)).
    pub fn new_session(mut self) -> Self {
        self.session = true;
        self
    }

    /// Starts it. The error names the program; a missing one is [`ErrorKind::MissingProgram`].
    pub fn spawn(&self) -> Result<Child> {
        if self.bad {
            return Err(Error::invalid(format!("{}: an argument holds a NUL byte", self.program.display())));
        }
        let program = CString::new(self.program.as_os_str().as_bytes())
            .map_err(|_| Error::invalid("a program's path holds a NUL byte"))?;
        close_on_exec();
        let mut actions = Actions::new()?;
        // Kept until the child runs: sources moved out of the way of the numbers they would be overwritten by.
        let _moved = self.map_descriptors(&mut actions)?;
        if let Some(directory) = self.directory {
            actions.directory(directory)?;
        }
        let attributes = Attributes::new(self.session)?;
        let argv = pointers(&self.args);
        let envp = pointers(&self.env);
        let mut pid = 0;
        // SAFETY: `program`, `argv` and `envp` are NUL-terminated and outlive the call, `actions` and `attributes`
        // are initialised; posix_spawn(3) copies what it needs before it returns.
        let status = unsafe {
            libc::posix_spawn(
                &raw mut pid,
                program.as_ptr(),
                &raw const actions.0,
                &raw const attributes.0,
                argv.as_ptr().cast(),
                envp.as_ptr().cast(),
            )
        };
        match check(status, "execute", self.program) {
            Ok(()) => Ok(Child { pid: pid.unsigned_abs(), status: None }),
            Err(e) if status == libc::ENOENT => Err(e.with_kind(ErrorKind::MissingProgram)),
            Err(e) => Err(e),
        }
    }

    fn map_descriptors(&self, actions: &mut Actions) -> Result<Vec<OwnedFd>> {
        let highest = self.fds.iter().map(|(_, number)| *number).max().unwrap_or(2).max(2);
        let mut moved = Vec::new();
        for (fd, number) in &self.fds {
            let mut source = fd.as_raw_fd();
            if source <= highest && source != *number {
                let copy = rustix::io::fcntl_dupfd_cloexec(fd, highest + 1)
                    .map_err(|e| Error::os("duplicate a descriptor for a child", e))?;
                source = copy.as_raw_fd();
                moved.push(copy);
            }
            actions.duplicate(source, *number)?;
        }
        for number in 0..=2 {
            if !self.fds.iter().any(|(_, n)| *n == number) {
                actions.null(number)?;
            }
        }
        Ok(moved)
    }
}

/// Descriptors this program was started with (a shell's, a test runner's pipe) must not live on in conmon. Our own are close-on-exec
/// anyway; before Linux 5.11 the others leak.
fn close_on_exec() {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: only sets the close-on-exec flag; no descriptor is closed in this process.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

/// posix_spawn(3) and its kin return an error number.
fn check(status: libc::c_int, op: &str, path: &Path) -> Result<()> {
    match status {
        0 => Ok(()),
        errno => Err(Error::io(op, path, std::io::Error::from_raw_os_error(errno))),
    }
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> Result<Self> {
        let mut actions = std::mem::MaybeUninit::uninit();
        // SAFETY: the call initialises the object it is given; it is read only if it succeeded.
        let actions = unsafe {
            check(
                libc::posix_spawn_file_actions_init(actions.as_mut_ptr()),
                "prepare",
                Path::new("a child"),
            )?;
            actions.assume_init()
        };
        Ok(Self(actions))
    }

    fn duplicate(&mut self, from: RawFd, to: RawFd) -> Result<()> {
        // SAFETY: initialised by `new`; equal numbers clear the close-on-exec flag (glibc 2.29, musl 1.1.21).
        let status = unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut self.0, from, to) };
        check(status, "duplicate", Path::new("a descriptor for a child"))
    }

    fn null(&mut self, number: RawFd) -> Result<()> {
        // SAFETY: initialised by `new`; the path is a C string literal.
        let status = unsafe {
            libc::posix_spawn_file_actions_addopen(
                &raw mut self.0,
                number,
                c"/dev/null".as_ptr(),
                libc::O_RDWR,
                0,
            )
        };
        check(status, "open", Path::new("/dev/null"))
    }

    fn directory(&mut self, directory: &Path) -> Result<()> {
        let path = CString::new(directory.as_os_str().as_bytes())
            .map_err(|_| Error::invalid("a directory's path holds a NUL byte"))?;
        // SAFETY: initialised by `new`; the path is copied by the call.
        let status = unsafe { libc::posix_spawn_file_actions_addchdir_np(&raw mut self.0, path.as_ptr()) };
        check(status, "chdir", directory)
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised by `new` and not used after this.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new(session: bool) -> Result<Self> {
        let mut flags =
            libc::POSIX_SPAWN_SETSIGMASK as libc::c_short | libc::POSIX_SPAWN_SETSIGDEF as libc::c_short;
        if session {
            flags |= libc::POSIX_SPAWN_SETSID as libc::c_short;
        }
        let mut attributes = std::mem::MaybeUninit::uninit();
        let mut signals = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: each object is initialised by the call that is given it before another call reads it.
        unsafe {
            check(libc::posix_spawnattr_init(attributes.as_mut_ptr()), "prepare", Path::new("a child"))?;
            let mut attributes = Self(attributes.assume_init());
            libc::sigemptyset(signals.as_mut_ptr());
            libc::posix_spawnattr_setsigmask(&raw mut attributes.0, signals.as_ptr());
            // What we ignore, or were started with ignored (nohup, a script's background), a container is not to ignore.
            libc::sigfillset(signals.as_mut_ptr());
            libc::posix_spawnattr_setsigdefault(&raw mut attributes.0, signals.as_ptr());
            let status = libc::posix_spawnattr_setflags(&raw mut attributes.0, flags);
            check(status, "prepare", Path::new("a child"))?;
            Ok(attributes)
        }
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised by `new` and not used after this.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It returned this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

impl Ended {
    /// The shell's view: the code, or 128 + signal.
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128 + signal,
        }
    }

    /// Whether it returned 0.
    pub fn success(self) -> bool {
        self == Self::Exited(0)
    }
}

/// A started child. Dropping it neither ends nor reaps it: conmon is meant to outlive us.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    status: Option<Ended>,
}

impl Child {
    /// Its process ID; valid until it has been waited for.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end, once; later calls return the same.
    pub fn wait(&mut self) -> Result<Ended> {
        if let Some(ended) = self.status {
            return Ok(ended);
        }
        let ended = self.wait_with(0)?.ok_or_else(|| Error::invalid("waitpid returned without a status"))?;
        Ok(ended)
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Result<Option<Ended>> {
        if self.status.is_none() {
            self.wait_with(libc::WNOHANG)?;
        }
        Ok(self.status)
    }

    fn wait_with(&mut self, flags: libc::c_int) -> Result<Option<Ended>> {
        let pid = libc::pid_t::try_from(self.pid).unwrap_or(-1);
        let mut raw = 0;
        loop {
            // SAFETY: `raw` is a valid place for the status; `pid` is a child that has not been reaped.
            match unsafe { libc::waitpid(pid, &raw mut raw, flags) } {
                0 => return Ok(None),
                n if n == pid => break,
                _ => {
                    let e = std::io::Error::last_os_error();
                    if e.kind() != std::io::ErrorKind::Interrupted {
                        return Err(Error::os(format!("wait for process {pid}"), e));
                    }
                }
            }
        }
        self.status = Some(if libc::WIFSIGNALED(raw) {
            Ended::Signaled(libc::WTERMSIG(raw))
        } else {
            Ended::Exited(libc::WEXITSTATUS(raw))
        });
        Ok(self.status)
    }

    /// Sends SIGKILL; nothing happens if it has been waited for.
    pub fn kill(&self) {
        if self.status.is_none()
            && let Ok(pid) = libc::pid_t::try_from(self.pid)
        {
            // SAFETY: kill(2) has no memory effects; the PID is an unreaped child's and cannot have been reused.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

/// An anonymous file in memory, close-on-exec, to be a child's stdin, stdout or stderr: it never fills up, needs no reader, and
/// does no harm in the hands of a process that outlives the child.
pub fn scratch() -> Result<File> {
    rustix::fs::memfd_create("coracle", rustix::fs::MemfdFlags::CLOEXEC)
        .map(File::from)
        .map_err(|e| Error::os("memfd_create", e))
}

/// A descriptor by its number, which the caller of the program handed down (`--preserve-fds`); `None` if it is not
/// open. The copy is close-on-exec.
pub fn inherited(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: fcntl(2) with F_DUPFD_CLOEXEC only fails on a closed number; the copy it returns is owned by nobody else.
    unsafe {
        let copy = libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3);
        (copy >= 0).then(|| OwnedFd::from_raw_fd(copy))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    fn output(spawn: Spawn<'_>, number: RawFd) -> (String, Ended) {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let mut child = spawn.fd(writer.as_fd(), number).spawn().unwrap();
        drop(writer);
        let mut text = String::new();
        std::fs::File::from(reader).read_to_string(&mut text).unwrap();
        (text, child.wait().unwrap())
    }

    #[test]
    fn the_child_has_only_what_it_was_given() {
        let sh = Path::new("/bin/sh");
        let spawn = Spawn::new(sh).args(["-c", "ls /proc/self/fd; echo $A; exit 3"]).env("A", "b c");
        let (text, ended) = output(spawn.env("PATH", "/bin:/usr/bin"), 1);
        // ls itself opens one more to read the directory.
        assert_eq!(text, "0\n1\n2\n3\nb c\n");
        assert_eq!(ended, Ended::Exited(3));
    }

    #[test]
    fn descriptors_that_trade_places_both_arrive() {
        let a = tempfile::NamedTempFile::new().unwrap();
        let b = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(a.path(), "a").unwrap();
        std::fs::write(b.path(), "b").unwrap();
        let fa = std::fs::File::open(a.path()).unwrap();
        let fb = std::fs::File::open(b.path()).unwrap();
        let (na, nb) = (fa.as_raw_fd(), fb.as_raw_fd());
        let script = format!("cat <&{nb}; cat <&{na}");
        let sh = Path::new("/bin/sh");
        let spawn = Spawn::new(sh).args(["-c", &script]).env("PATH", "/bin:/usr/bin");
        // dash understands one digit only
        if na < 10 && nb < 10 {
            assert_eq!(output(spawn.fd(fa.as_fd(), nb).fd(fb.as_fd(), na), 1).0, "ab");
        }
    }

    #[test]
    fn a_new_session_and_its_directory() {
        let sh = Path::new("/bin/sh");
        let spawn = Spawn::new(sh).args(["-c", "pwd; cut -d' ' -f1,6 /proc/$$/stat; kill -9 $$"]);
        let (text, ended) =
            output(spawn.env("PATH", "/bin:/usr/bin").directory(Path::new("/usr")).new_session(), 1);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("/usr"));
        let (pid, session) = lines.next().unwrap().split_once(' ').unwrap();
        assert_eq!(pid, session);
        assert_eq!(ended.code(), 137);
    }

    #[test]
    fn a_missing_program_is_named() {
        let e = Spawn::new(Path::new("/no/such/program")).spawn().unwrap_err();
        assert_eq!(e.to_string(), "execute /no/such/program: no such file or directory");
        assert_eq!(e.kind(), ErrorKind::MissingProgram);
    }
}
