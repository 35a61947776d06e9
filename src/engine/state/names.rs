//! `names/<name>`: a symbolic link to an ID, made exclusively, so that a name's uniqueness is the file system's.

use super::{State, make_dirs};
use crate::engine::spec::is_name;
use crate::engine::{Error, ErrorKind, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// Docker's rule for names, `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 255 bytes.
///
/// # Errors
/// [`ErrorKind::Invalid`] for any other text.
pub fn valid_name(name: &str) -> Result<()> {
    if name.len() <= 255 && is_name(name) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-]* are allowed, at most 255 characters"
    )))
}

impl State {
    fn name_path(&self, name: &str) -> PathBuf {
        self.names().join(name)
    }

    /// The ID that holds `name`, whether its container is complete or not.
    pub fn name_holder(&self, name: &str) -> Option<String> {
        valid_name(name).ok()?;
        let target = fs::read_link(self.name_path(name)).ok()?;
        target.into_os_string().into_string().ok().filter(|t| super::is_id(t))
    }

    /// Gives up a name that its holder has no more: a rename was interrupted. `false`: it is the holder's.
    pub fn release_stale(&self, name: &str) -> Result<bool> {
        let Some(holder) = self.name_holder(name) else { return Ok(false) };
        // Held by somebody who works on it, perhaps on just this.
        let Some(locked) = self.try_lock(&holder)? else { return Ok(false) };
        match locked.read()? {
            Some(record) if record.name() != name => {
                self.release_name(name, &holder)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Every name that is taken, with the ID it is taken for if that is one.
    pub fn claimed_names(&self) -> Result<Vec<(String, Option<String>)>> {
        let directory = self.names();
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("read directory", &directory, e)),
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> =
            names.filter(|name| is_name(name)).map(|name| (name.clone(), self.name_holder(&name))).collect();
        names.sort();
        Ok(names)
    }

    /// Takes a name again for the container that has it; what is there instead is nobody's.
    pub fn restore_name(&self, name: &str, id: &str) -> Result<()> {
        let locked = self.lock(id)?;
        if self.name_holder(name).is_none_or(|holder| self.place(&holder).is_none()) {
            self.drop_name(name)?;
        }
        let claimed = self.claim_name(name, id);
        locked.unlock();
        claimed
    }

    /// Removes what is there for a name that no container has.
    pub fn drop_name(&self, name: &str) -> Result<()> {
        let path = self.name_path(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("unlink", &path, e)),
            _ => Ok(()),
        }
    }

    /// Takes `name` for `id`. A link whose container is gone (a `--rm` container lost to a reboot) is taken over.
    pub(super) fn claim_name(&self, name: &str, id: &str) -> Result<()> {
        let path = self.name_path(name);
        for attempt in 0.. {
            match symlink(id, &path) {
                Ok(()) => return Ok(()),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && attempt == 0 => {
                    make_dirs(&self.names())?
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => match self.name_holder(name) {
                    Some(holder) if attempt < 8 && self.place(&holder).is_none() => {
                        self.release_name(name, &holder)?
                    }
                    Some(holder) => return Err(taken(name, &holder)),
                    None if attempt < 8 && fs::symlink_metadata(&path).is_err() => {}
                    None => {
                        return Err(Error::corrupt(format!(
                            "{} is not a link to a container",
                            path.display()
                        )));
                    }
                },
                Err(e) => return Err(Error::io("symlink", &path, e)),
            }
        }
        unreachable!("the loop returns")
    }

    /// Gives `name` up if `id` holds it. The link is first renamed to a private path: between reading and unlinking
    /// it another process may have taken the name for itself.
    pub(super) fn release_name(&self, name: &str, id: &str) -> Result<()> {
        let path = self.name_path(name);
        if self.name_holder(name).as_deref() != Some(id) {
            return Ok(());
        }
        let aside = self.names().join(format!(".{id}"));
        match fs::rename(&path, &aside) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io("rename", &path, e)),
        }
        match fs::read_link(&aside) {
            Ok(target) if target.to_str() != Some(id) => {
                // Somebody released this one and a third claimed it in between: hand it back.
                fs::rename(&aside, &path).map_err(|e| Error::io("rename", &aside, e))
            }
            _ => match fs::remove_file(&aside) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("unlink", &aside, e)),
                _ => Ok(()),
            },
        }
    }
}

fn taken(name: &str, holder: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!(
            "the container name \"{name}\" is already in use by {holder}. You have to remove that container to be able \
             to reuse that name"
        ),
    )
    .with_hint(format!("choose another name, or give --replace to remove {name} first"))
}
