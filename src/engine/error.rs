//! The one error type of the engine.
//!
//! A failure is wrapped once per layer that knows something the layer below did not, and is either returned or
//! logged, never both. `cmd` prints it once: `Error: <context>: <cause>`, then `hint: …`.

use std::fmt;
use std::path::Path;

/// What went wrong, as far as a caller can act on it. Each front end maps kinds in one table
/// (exit code, HTTP status, gRPC code).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request itself is malformed: a bad reference, size, flag value or combination.
    Invalid,
    /// The named container, image, volume, network or file does not exist.
    NotFound,
    /// A name or an ID is taken, or matches several objects.
    Conflict,
    /// The object is in use, or in a state that does not allow the operation.
    InUse,
    /// The command is not to be found inside the container (exit code 127).
    CommandNotFound,
    /// The command was found but cannot be executed (exit code 126).
    CommandNotExecutable,
    /// The OCI runtime or conmon failed in another way.
    Runtime,
    /// A registry refused the credentials, or wants some.
    Unauthorized,
    /// policy.json or registries.conf forbids it.
    Denied,
    /// A registry cannot be reached, broke off, or answered nonsense.
    Network,
    /// Content does not match its digest, or a store file cannot be understood.
    Corrupt,
    /// No space left, or a quota is reached.
    DiskFull,
    /// A program this operation needs is not installed.
    MissingProgram,
    /// The host cannot do it, or Coracle does not do it (yet).
    Unsupported,
    /// A time limit passed.
    Timeout,
    /// A system call failed.
    Io,
}

/// A failure with what was attempted, what caused it and, where there is one, what to do about it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    hint: Option<String>,
}

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error that starts here.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None, hint: None }
    }

    /// [`ErrorKind::Invalid`].
    pub fn invalid(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, context)
    }

    /// [`ErrorKind::NotFound`].
    pub fn not_found(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, context)
    }

    /// [`ErrorKind::Corrupt`].
    pub fn corrupt(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, context)
    }

    /// [`ErrorKind::Unsupported`].
    pub fn unsupported(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, context)
    }

    /// A failed system call or file operation: `op` names it (`"open"`), `path` its object.
    pub fn io(op: &str, path: impl AsRef<Path>, source: impl Into<std::io::Error>) -> Self {
        let source = source.into();
        Self::os(format!("{op} {}", path.as_ref().display()), source)
    }

    /// A failed system call that has no path; `context` names it and its object.
    pub fn os(context: impl Into<String>, source: impl Into<std::io::Error>) -> Self {
        let source = source.into();
        let kind = match source.raw_os_error() {
            Some(libc::ENOENT) => ErrorKind::NotFound,
            Some(libc::ENOSPC | libc::EDQUOT) => ErrorKind::DiskFull,
            _ => ErrorKind::Io,
        };
        Self { kind, context: context.into(), source: Some(Box::new(source)), hint: None }
    }

    /// Keeps `source` as the cause.
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the user can do about it: one imperative sentence, or a command to type.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure seen by a caller who knows more; kind and hint stay.
    pub fn wrap(self, context: impl Into<String>) -> Self {
        Self {
            kind: self.kind,
            hint: self.hint.clone(),
            context: context.into(),
            source: Some(Box::new(self)),
        }
    }

    /// Gives the failure another kind.
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// See [`ErrorKind`].
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The errno at the root of the failure, if a system call is.
    pub fn raw_os_error(&self) -> Option<i32> {
        let mut at: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(e) = at {
            if let Some(io) = e.downcast_ref::<std::io::Error>() {
                return io.raw_os_error();
            }
            at = e.source();
        }
        None
    }
}

/// The whole chain on one line: `context: cause: cause`.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        match &self.source {
            Some(source) => match source.downcast_ref::<std::io::Error>() {
                Some(io) => write!(f, ": {}", errno_text(io)),
                None => write!(f, ": {source}"),
            },
            None => Ok(()),
        }
    }
}

/// The kernel's sentence without Rust's "(os error N)".
fn errno_text(e: &std::io::Error) -> String {
    let text = e.to_string();
    match text.split_once(" (os error") {
        Some((sentence, _)) => sentence.to_lowercase(),
        None => text,
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn std::error::Error + 'static))
    }
}

/// Adds a layer's knowledge to a result on its way up.
pub trait Context<T> {
    /// [`Error::wrap`] on the error side.
    fn context(self, context: impl Into<String>) -> Result<T>;
    /// [`Context::context`], built only when there is an error.
    fn with_context<S: Into<String>>(self, context: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, context: impl Into<String>) -> Result<T> {
        self.map_err(|e| e.wrap(context))
    }

    fn with_context<S: Into<String>>(self, context: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| e.wrap(context()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_reads_as_one_sentence_and_keeps_kind_and_hint() {
        let e = Error::io("open", "/no/such", std::io::Error::from_raw_os_error(libc::ENOENT))
            .with_hint("create it first")
            .wrap("read configuration");
        assert_eq!(e.to_string(), "read configuration: open /no/such: no such file or directory");
        assert_eq!(e.kind(), ErrorKind::NotFound);
        assert_eq!(e.hint(), Some("create it first"));
        assert_eq!(e.raw_os_error(), Some(libc::ENOENT));
    }
}
