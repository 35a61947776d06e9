//! Per-registry TLS material (containers-certs.d(5)): `certs.d/HOST:PORT/{*.crt,*.cert,*.key}`.
//!
//! The first directory that exists for a host counts, the user's before the system's, as containers/image chooses.

use std::path::{Path, PathBuf};

use super::Environment;
use crate::engine::{Error, Result};

/// What a directory of certs.d holds, as PEM text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostCertificates {
    /// Authorities trusted for this host in addition to the system's.
    pub authorities: Vec<Vec<u8>>,
    /// Client certificate with its key.
    pub identity: Option<Vec<u8>>,
}

/// The `certs.d` directories in the order they count; `cert_dir` (`--cert-dir`) is for every host and replaces them.
pub fn load(env: &Environment, cert_dir: Option<&Path>, host: &str) -> Result<HostCertificates> {
    match cert_dir {
        Some(dir) => read(&env.cwd.join(dir)),
        None => {
            let mut dirs = vec![env.home.join(".config/containers/certs.d")];
            dirs.extend(["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from));
            let found = dirs.iter().map(|d| d.join(host)).find(|d| d.is_dir());
            found.map_or_else(|| Ok(HostCertificates::default()), |d| read(&d))
        }
    }
}

fn read(dir: &Path) -> Result<HostCertificates> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => return Ok(HostCertificates::default()),
        Err(e) => return Err(Error::io("read directory", dir, e)),
    };
    let mut files = Vec::new();
    for entry in entries {
        files.push(entry.map_err(|e| Error::io("read directory", dir, e))?.path());
    }
    files.sort();
    let text = |path: &Path| std::fs::read(path).map_err(|e| Error::io("read", path, e));
    let mut out = HostCertificates::default();
    for path in &files {
        let extension = path.extension().and_then(|e| e.to_str());
        match extension {
            Some("crt") => out.authorities.push(text(path)?),
            Some("cert") => {
                let key = path.with_extension("key");
                if !files.contains(&key) {
                    return Err(Error::invalid(format!(
                        "missing key {} for client certificate {}",
                        key.display(),
                        path.display()
                    ))
                    .with_hint("certificates of authorities have the extension .crt"));
                }
                let mut pem = text(path)?;
                pem.push(b'\n');
                pem.extend(text(&key)?);
                out.identity = Some(pem);
            }
            Some("key") if !files.contains(&path.with_extension("cert")) => {
                return Err(Error::invalid(format!("missing client certificate for key {}", path.display())));
            }
            _ => {}
        }
    }
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_users_directory_counts_and_pairs_are_checked() {
        let tmp = tempfile::tempdir().unwrap();
        let env = Environment { home: tmp.path().into(), cwd: "/".into(), ..Environment::default() };
        let dir = tmp.path().join(".config/containers/certs.d/h:5000");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("ca.crt"), "CA").unwrap();
        std::fs::write(dir.join("c.cert"), "C").unwrap();
        let e = load(&env, None, "h:5000").unwrap_err();
        assert!(e.to_string().contains("missing key"), "{e}");
        std::fs::write(dir.join("c.key"), "K").unwrap();
        let found = load(&env, None, "h:5000").unwrap();
        assert_eq!(found.authorities, [b"CA".to_vec()]);
        assert_eq!(found.identity.unwrap(), b"C\nK");
        assert_eq!(load(&env, None, "other").unwrap(), HostCertificates::default());
        assert_eq!(load(&env, Some(&dir), "other").unwrap().authorities.len(), 1);
    }
}
