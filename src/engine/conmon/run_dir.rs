//! What lies where in a container's volatile directory.

use std::path::{Path, PathBuf};

/// A container's volatile directory, which is the OCI bundle as well.
///
/// conmon makes `attach` (seqpacket socket), `ctl` and `winsz` (FIFOs) there, the runtime `pidfile`, conmon `oom` when the kernel
/// killed a process for its memory use; exec sessions have a directory each below `exec/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// The directory itself; it need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `config.json`, the OCI runtime's specification.
    pub fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }

    /// Where the runtime writes the container's PID.
    pub fn pidfile(&self) -> PathBuf {
        self.0.join("pidfile")
    }

    /// conmon's attach socket. Its path may be longer than an address holds: [`super::AttachSocket`] connects to it.
    pub fn attach_socket(&self) -> PathBuf {
        self.0.join("attach")
    }

    /// Where another container's /dev/shm is mounted when its IPC namespace is joined (`--ipc container:`).
    pub fn shared_memory(&self) -> PathBuf {
        self.0.join("shm")
    }

    /// The directory of `notify.sock`, on which conmon hears the container for `--sdnotify container`.
    pub fn notify(&self) -> PathBuf {
        self.0.join("notify")
    }

    /// There if the runtime itself has to delete the container: it has hooks for that, or an RDT group.
    pub fn deleted_by_runtime(&self) -> PathBuf {
        self.0.join("deleted-by-runtime")
    }

    /// Parent of the directories where images are mounted for the container.
    pub fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    /// Where an overlay over a directory is mounted that is the container's root (`--rootfs DIR:O`): beside the images, with
    /// which it is unmounted.
    pub fn rootfs(&self) -> PathBuf {
        self.images().join("rootfs")
    }

    /// There if the start has mounted the root filesystem, or was about to.
    pub fn mounted(&self) -> PathBuf {
        self.0.join("mounted")
    }

    /// conmon's control FIFO.
    pub fn control(&self) -> PathBuf {
        self.0.join("ctl")
    }

    /// There if the kernel killed a process of the container for its memory use.
    pub fn oom(&self) -> PathBuf {
        self.0.join("oom")
    }

    /// Parent of the exec sessions' directories.
    pub fn exec_sessions(&self) -> PathBuf {
        self.0.join("exec")
    }

    /// An exec session's directory: a bundle of its own, without a `config.json`.
    pub fn exec_session(&self, session: &str) -> Self {
        Self(self.exec_sessions().join(session))
    }

    /// An exec session's process, as the runtime reads it.
    pub fn process(&self) -> PathBuf {
        self.0.join("process.json")
    }
}
