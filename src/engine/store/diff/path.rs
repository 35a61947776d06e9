//! Paths of an archive, cleaned before the file system sees them. Pure.

use crate::engine::{Error, Result};

/// `name` without empty, `.` and `..` components and without slashes at its ends; empty for the root itself.
///
/// # Errors
/// When a relative path's `..` lead above the root. Those of an absolute path stop there, as in Go's `path.Clean`.
pub fn clean(name: &[u8]) -> Result<Vec<u8>> {
    let absolute = name.starts_with(b"/");
    let mut out = Vec::with_capacity(name.len());
    for part in name.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if out.is_empty() && absolute => {}
            b".." if out.is_empty() => {
                let name = String::from_utf8_lossy(name);
                return Err(Error::corrupt(format!("{name:?} is outside of the layer")));
            }
            b".." => {
                let slash = out.iter().rposition(|&b| b == b'/').unwrap_or(0);
                out.truncate(slash);
            }
            _ => {
                if !out.is_empty() {
                    out.push(b'/');
                }
                out.extend_from_slice(part);
            }
        }
    }
    Ok(out)
}

/// A name that stands for the absence of others (OCI image specification, layer.md, "Whiteouts").
#[derive(Debug, PartialEq, Eq)]
pub enum Mark<'a> {
    /// `.wh.NAME`: NAME is deleted.
    Whiteout(&'a [u8]),
    /// `.wh..wh..opq`: what the directory has from below is deleted.
    Opaque,
    /// Another `.wh..wh.` name: AUFS's own files, which nobody wants.
    Aufs,
}

/// Whether a file's name is a mark.
///
/// # Errors
/// When it would delete the directory it is in, or that one's parent.
pub fn mark(name: &[u8]) -> Result<Option<Mark<'_>>> {
    let Some(deleted) = name.strip_prefix(b".wh.") else { return Ok(None) };
    Ok(Some(match deleted {
        b".wh..opq" => Mark::Opaque,
        b"" | b"." | b".." => {
            let name = String::from_utf8_lossy(name);
            return Err(Error::corrupt(format!("{name:?} whites out no name")));
        }
        _ if deleted.starts_with(b".wh.") => Mark::Aufs,
        _ => Mark::Whiteout(deleted),
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn cleaned_paths_stay_below_the_root() {
        for (name, expected) in [
            ("a/b", Some("a/b")),
            ("./a//b/./", Some("a/b")),
            ("/a/b", Some("a/b")),
            ("a/../b", Some("b")),
            ("a/b/../../c", Some("c")),
            ("/../../etc/passwd", Some("etc/passwd")),
            ("", Some("")),
            (".", Some("")),
            ("./", Some("")),
            ("/", Some("")),
            ("a/..", Some("")),
            ("...", Some("...")),
            ("..", None),
            ("../a", None),
            ("a/../../b", None),
            ("./..", None),
        ] {
            let cleaned = clean(name.as_bytes()).ok();
            assert_eq!(cleaned.as_deref(), expected.map(str::as_bytes), "{name:?}");
        }
    }

    #[test]
    fn marks_are_told_from_names() {
        assert_eq!(mark(b".wh.a").unwrap(), Some(Mark::Whiteout(b"a")));
        assert_eq!(mark(b".wh..wh..opq").unwrap(), Some(Mark::Opaque));
        assert_eq!(mark(b".wh..wh.plnk").unwrap(), Some(Mark::Aufs));
        assert_eq!(mark(b".wh..hidden").unwrap(), Some(Mark::Whiteout(b".hidden")));
        assert_eq!(mark(b".whatever").unwrap(), None);
        for bad in [".wh.", ".wh..", ".wh..."] {
            assert!(mark(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
