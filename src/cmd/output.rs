//! Where an archive goes: standard output, if it is no terminal, or a file that is there whole or not at all.

use super::Context;
use crate::engine::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An archive's destination. Dropped before [`Output::done`], a new file is removed.
#[derive(Debug)]
pub struct Output {
    file: File,
    /// The file beside its place, and its place.
    pending: Option<(PathBuf, PathBuf)>,
}

impl Output {
    /// `path`, or standard output when there is none.
    ///
    /// # Errors
    /// Standard output is a terminal, or the file cannot be made.
    pub fn open(cx: &Context, path: Option<&Path>) -> Result<Self> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else { return Self::stdout(cx) };
        let special = fs::metadata(path).is_ok_and(|meta| {
            let kind = meta.file_type();
            kind.is_char_device() || kind.is_fifo() || kind.is_block_device()
        });
        if special {
            let file = File::options().write(true).open(path).map_err(|e| Error::io("open", path, e))?;
            return Ok(Self { file, pending: None });
        }
        if path.is_dir() {
            return Err(Error::invalid(format!("{} is a directory", path.display())));
        }
        // A link's target is what is replaced, as it would be if it were written to.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let beside = target.with_file_name(format!(".tmp-{name}-{}", std::process::id()));
        // It may hold what only root may read.
        let made = File::options().write(true).create_new(true).mode(0o600).open(&beside);
        let file = made.map_err(|e| Error::io("create", path, e))?;
        Ok(Self { file, pending: Some((beside, target)) })
    }

    fn stdout(cx: &Context) -> Result<Self> {
        if cx.stdout_is_terminal() {
            return Err(Error::invalid("refusing to write an archive to a terminal")
                .with_hint("use -o FILE, or redirect standard output"));
        }
        let fd = io::stdout().as_fd().try_clone_to_owned();
        let file = fd.map_err(|e| Error::os("duplicate standard output", e))?.into();
        Ok(Self { file, pending: None })
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn done(mut self) -> Result<()> {
        if let Some((beside, target)) = &self.pending {
            fs::rename(beside, target).map_err(|e| Error::io("rename to", target, e))?;
        }
        self.pending = None;
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some((beside, _)) = &self.pending {
            let _ = fs::remove_file(beside);
        }
    }
}
