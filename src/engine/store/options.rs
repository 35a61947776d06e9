//! Driver options: the `overlay.key=value` of storage.conf and `--storage-opt` (`drivers/overlay/overlay.go`,
//! `parseOptions`).

use crate::engine::host::quota::Limits;
use crate::engine::spec::bytes;
use crate::engine::{Error, Result};
use std::path::PathBuf;

/// What the drivers can be told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct DriverOptions {
    /// `mountopt`: options of every mount.
    pub(super) mount_options: Vec<String>,
    /// `mount_program`: use it instead of the kernel's overlay.
    pub(super) mount_program: Option<PathBuf>,
    /// `ignore_chown_errors`: unpack everything as one user.
    pub(super) ignore_chown_errors: bool,
    /// `force_mask`: permission bits for everything, the real ones in an extended attribute.
    pub(super) force_mask: Option<u32>,
    /// `imagestore`, `additionalimagestore`: read-only stores.
    pub(super) image_stores: Vec<PathBuf>,
    /// `size`, `inodes`: of containers' layers for which nothing else was asked.
    pub(super) limits: Limits,
}

impl DriverOptions {
    /// Parses options for `driver`; those of another driver are skipped, unknown ones are errors.
    pub(super) fn parse(driver: &str, options: &[String]) -> Result<Self> {
        let mut parsed = Self::default();
        for option in options.iter().filter(|o| !o.trim().is_empty()) {
            let (key, value) = option
                .split_once('=')
                .ok_or_else(|| Error::invalid(format!("storage option {option:?} is not KEY=VALUE")))?;
            let (key, value) = (key.trim().to_lowercase(), value.trim());
            let (owner, name) = match key.split_once('.') {
                Some(("overlay" | "overlay2", name)) => ("overlay", name),
                Some(("", name)) => (driver, name),
                Some((owner, name)) => (owner, name),
                None => (driver, key.as_str()),
            };
            if owner == driver {
                parsed.set(driver, name, value, option)?;
            }
        }
        Ok(parsed)
    }

    fn set(&mut self, driver: &str, name: &str, value: &str, option: &str) -> Result<()> {
        let invalid = || Error::invalid(format!("storage option {option:?} has an invalid value"));
        match name {
            "mountopt" => self.mount_options = value.split(',').map(str::to_owned).collect(),
            "mount_program" => self.mount_program = (!value.is_empty()).then(|| PathBuf::from(value)),
            "ignore_chown_errors" => self.ignore_chown_errors = parse_bool(value).ok_or_else(invalid)?,
            "force_mask" => {
                self.force_mask = Some(match value {
                    "shared" => 0o755,
                    "private" => 0o700,
                    octal => u32::from_str_radix(octal, 8).map_err(|_| invalid())?,
                });
            }
            "imagestore" | "additionalimagestore" => {
                for store in value.split(',').filter(|s| !s.is_empty()) {
                    if !store.starts_with('/') {
                        return Err(invalid());
                    }
                    self.image_stores.push(PathBuf::from(store));
                }
            }
            // Nothing to do for us: we never bind the home directory, and Linux needs no override.
            "skip_mount_home" | "override_kernel_check" => {}
            "size" | "inodes" if matches!(value, "" | "0") => {}
            "size" if driver == "overlay" => self.limits.bytes = bytes(value).ok_or_else(invalid)?,
            "inodes" if driver == "overlay" => self.limits.inodes = value.parse().map_err(|_| invalid())?,
            "use_composefs" if parse_bool(value) == Some(false) => {}
            "additionallayerstore" if value.is_empty() => {}
            "size" | "inodes" | "use_composefs" | "additionallayerstore" => {
                return Err(Error::unsupported(format!("storage option {option:?} is not supported")));
            }
            _ => return Err(Error::invalid(format!("unknown storage option {option:?}"))),
        }
        Ok(())
    }
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Result<DriverOptions> {
        let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
        DriverOptions::parse("overlay", &options)
    }

    #[test]
    fn every_spelling_of_an_option_is_understood() {
        for spelling in [
            "overlay.mountopt=nodev,metacopy=on",
            "overlay2.mountopt=nodev,metacopy=on",
            ".mountopt=nodev,metacopy=on",
        ] {
            assert_eq!(parse(&[spelling]).unwrap().mount_options, ["nodev", "metacopy=on"]);
        }
        let options = parse(&[
            "overlay.force_mask=shared",
            "overlay.ignore_chown_errors=true",
            "overlay.imagestore=/a,/b",
            "overlay.mount_program=/usr/bin/fuse-overlayfs",
            "overlay.size=10g",
            "overlay.inodes=",
            "vfs.whatever=1",
        ]);
        let options = options.unwrap();
        assert_eq!(options.force_mask, Some(0o755));
        assert!(options.ignore_chown_errors);
        assert_eq!((options.limits.bytes, options.limits.inodes), (10 << 30, 0));
        assert_eq!(options.image_stores, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(options.mount_program, Some(PathBuf::from("/usr/bin/fuse-overlayfs")));
    }

    #[test]
    fn mistakes_name_the_option() {
        for bad in [
            "overlay.nonsense=1",
            "overlay.force_mask=9",
            "overlay.size=much",
            "overlay.use_composefs=true",
            "mountopt",
            "overlay.imagestore=x",
        ] {
            let e = parse(&[bad]).unwrap_err();
            assert!(e.to_string().contains(bad), "{e}");
        }
    }
}
