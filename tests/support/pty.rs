//! A program on a terminal of its own, for `-it`.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::termios::Winsize;

use super::{Cmd, program};

/// The master side of a terminal and the program on its other side, which is the leader of a session.
pub struct Pty {
    master: std::fs::File,
    child: Child,
    output: mpsc::Receiver<Vec<u8>>,
    seen: String,
}

impl Pty {
    /// Starts a command with stdin, stdout and stderr on a new terminal of 24 rows and 80 columns.
    #[track_caller]
    pub fn spawn(command: Cmd) -> Pty {
        let master =
            rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
        rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave: OwnedFd = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        resize(&master, 24, 80);

        // setsid(1) becomes the leader of a session with the terminal and executes the command in its place.
        let inner = command.into_std();
        let mut outer = std::process::Command::new(program("setsid").expect("util-linux"));
        outer.arg("--ctty").arg(inner.get_program()).args(inner.get_args()).env_clear();
        outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        outer.current_dir(inner.get_current_dir().unwrap());
        outer.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        let child = outer.spawn().unwrap();
        drop(outer);

        let master = std::fs::File::from(master);
        let (sender, output) = mpsc::channel();
        let mut reader = master.try_clone().unwrap();
        thread::spawn(move || {
            let mut buffer = vec![0; 4096];
            // The kernel answers EIO once nobody has the other side open.
            while let Ok(count @ 1..) = std::io::Read::read(&mut reader, &mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Pty { master, child, output, seen: String::new() }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// Types this. `\x10\x11` is ^P^Q.
    pub fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until `text` has come since the last call, and returns what came up to it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("no {text:?} on the terminal ({error}); it has {:?}", self.seen),
            }
        }
    }

    /// What [`Pty::expect`] would return at once, if it would.
    pub fn try_expect(&mut self, text: &str) -> Option<String> {
        while let Ok(bytes) = self.output.try_recv() {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        let at = self.seen.find(text)?;
        let rest = self.seen.split_off(at + text.len());
        Some(std::mem::replace(&mut self.seen, rest))
    }

    /// Gives the terminal another size; the kernel tells its foreground process.
    pub fn resize(&self, rows: u16, columns: u16) {
        resize(&self.master, rows, columns);
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_raw(self.pid()).unwrap(), signal).unwrap();
    }

    /// Whether the terminal echoes and edits lines, which the program turns off in raw mode.
    pub fn is_cooked(&self) -> bool {
        let modes = rustix::termios::tcgetattr(&self.master).unwrap();
        modes.local_modes.contains(rustix::termios::LocalModes::ICANON | rustix::termios::LocalModes::ECHO)
    }

    /// Waits for the end: exit code and what came since the last [`Pty::expect`].
    #[track_caller]
    pub fn wait(mut self) -> (i32, String) {
        use std::os::unix::process::ExitStatusExt;
        let mut child = None;
        let limit = Instant::now() + Duration::from_secs(60);
        while child.is_none() && Instant::now() < limit {
            child = self.child.try_wait().unwrap();
            thread::sleep(Duration::from_millis(2));
        }
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(100)) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        let Some(status) = child else {
            panic!("the program on the terminal still runs; the terminal has {:?}", self.seen);
        };
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        (code, std::mem::take(&mut self.seen))
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn resize(terminal: impl std::os::fd::AsFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).unwrap();
}
