//! What is behind a container's mounts: settled as far as it can be when the container is created, found and made ready at
//! each start.
//!
//! Images are mounted read-only in the bundle, for this run: its end, or whoever repairs after a crash, unmounts what it finds
//! there before the bundle goes.

use super::start::Starting;
use super::{copy_up, overlays, volumes};
use crate::engine::artifact::{self, Which};
use crate::engine::host::rooted;
use crate::engine::image;
use crate::engine::oci::Resolved;
use crate::engine::spec::{ContainerSpec, IdMappings, MountKind, MountSpec, glob};
use crate::engine::{Context, Engine, Error, Result};
use oci_spec::runtime::Mount;
use rustix::fs::{FileType, Mode, OFlags};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Component, Path, PathBuf};

/// Settles what only looking at the world can tell of the mounts that are asked for: the files of patterns, IDs of images.
/// Sources that are not there are told now, before anything is made.
pub(super) fn settle(engine: &Engine, spec: &mut ContainerSpec) -> Result<()> {
    let mut settled: Vec<MountSpec> = Vec::new();
    // Only now it shows where the files of a pattern go.
    let mut add = |mount: MountSpec| match settled.iter().any(|other| other.target == mount.target) {
        true => {
            Err(Error::invalid(format!("{} is mounted twice: duplicate mount destination", mount.target)))
        }
        false => {
            settled.push(mount);
            Ok(())
        }
    };
    for mut mount in std::mem::take(&mut spec.mounts) {
        match mount.kind {
            MountKind::Glob => {
                binds(&mount)?.into_iter().try_for_each(&mut add)?;
                continue;
            }
            MountKind::Bind => drop(bind_source(engine, &mount)?),
            MountKind::Image if mount.image.id.is_empty() => {
                mount.image.id = image::find(engine, &mount.source)?.image.id;
            }
            MountKind::Artifact => drop(artifact::blobs(engine, &mount.source, &which(&mount))?),
            _ => {}
        }
        add(mount)?;
    }
    spec.mounts = settled;
    Ok(())
}

/// Host directories behind the mounts; new volumes are filled from the image, whose root is `root`. `owner`: the container's
/// user.
pub(super) fn prepare(
    starting: &Starting<'_>,
    root: BorrowedFd<'_>,
    owner: (u32, u32),
    resolved: &mut Resolved,
) -> Result<()> {
    let &Starting { engine, spec, .. } = starting;
    for (number, mount) in spec.mounts.iter().enumerate() {
        match mount.kind {
            MountKind::Volume => {
                let source = volumes::prepare(engine, &resolved.id, root, mount, fill)?;
                resolved.sources.insert(mount.target.clone(), source);
            }
            MountKind::Bind => bind(starting, mount, owner, resolved)?,
            MountKind::Image => image(starting, number, mount, resolved)?,
            MountKind::Artifact => resolved.extra_mounts.extend(artifact(engine, root, mount)?),
            MountKind::Glob => {
                return Err(Error::corrupt(format!("the pattern {:?} was never looked up", mount.source)));
            }
            MountKind::Tmpfs | MountKind::Ramfs | MountKind::Devpts => {}
        }
    }
    Ok(())
}

fn bind(
    starting: &Starting<'_>,
    mount: &MountSpec,
    owner: (u32, u32),
    resolved: &mut Resolved,
) -> Result<()> {
    let source = bind_source(starting.engine, mount)?;
    let named = mount.options.iter().any(|o| o.starts_with("upperdir="));
    if mount.bind.overlay && !named {
        let upper = overlay(starting, mount, &source, resolved)?;
        if mount.bind.chown {
            std::os::unix::fs::chown(&upper, Some(owner.0), Some(owner.1))
                .map_err(|e| Error::io("chown", &upper, e))?;
        }
    } else if mount.bind.chown {
        std::os::unix::fs::lchown(&source, Some(owner.0), Some(owner.1))
            .map_err(|e| Error::io("chown", &source, e))?;
    }
    if starting.engine.rootless() {
        let flags = crate::engine::host::facts::mount_flags(&source);
        resolved.inherited_flags.insert(mount.target.clone(), flags);
    }
    resolved.sources.insert(mount.target.clone(), source);
    Ok(())
}

/// Directories for an overlay over `source`; returns the one for what is written.
fn overlay(
    starting: &Starting<'_>,
    mount: &MountSpec,
    source: &Path,
    resolved: &mut Resolved,
) -> Result<PathBuf> {
    let &Starting { engine, id, spec, run_dir, .. } = starting;
    let base = overlays::base(engine, run_dir.path(), id, spec)?;
    let made = overlays::fresh(&base, &resolved.overlays.len().to_string(), source)?;
    let upper = made.0.clone();
    resolved.overlays.insert(mount.target.clone(), made);
    Ok(upper)
}

/// Mounts an image in the bundle; a writable one gets an overlay over that.
fn image(starting: &Starting<'_>, number: usize, mount: &MountSpec, resolved: &mut Resolved) -> Result<()> {
    let &Starting { engine, run_dir, .. } = starting;
    let place = run_dir.images().join(number.to_string());
    fs::create_dir_all(&place).map_err(|e| Error::io("mkdir", &place, e))?;
    let maps = resolved.id_maps.clone().unwrap_or_default();
    let maps = IdMappings { uids: maps.uids, gids: maps.gids };
    let shown = engine
        .store
        .show_image(&mount.image.id, &place, &maps)
        .with_context(|| format!("mount image {} at {}", mount.source, mount.target))?;
    crate::failpoint!("start.after-image-mount");
    let source = match mount.image.subpath.as_str() {
        "" => shown,
        subpath => {
            // Its links would be followed on the host.
            let top = rooted::open_directory(&shown)?;
            rooted::open_without_links(top.as_fd(), Path::new(subpath), OFlags::PATH)
                .map_err(|e| Error::io("open the image's", subpath, e))
                .with_context(|| format!("mount image {} at {}", mount.source, mount.target))?;
            shown.join(subpath)
        }
    };
    if !mount.read_only {
        if !source.is_dir() {
            return Err(Error::unsupported(format!(
                "the file {:?} of image {} can be mounted read-only, but not with rw",
                mount.image.subpath, mount.source
            )));
        }
        overlay(starting, mount, &source, resolved)?;
    }
    resolved.sources.insert(mount.target.clone(), source);
    Ok(())
}

fn which(mount: &MountSpec) -> Which {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Which { digest: given(&mount.artifact.digest), title: given(&mount.artifact.title) }
}

/// An artifact's files, each in the directory that is the target, or its only file on the file that is the target
/// (podman-run(1), `type=artifact`).
fn artifact(engine: &Engine, root: BorrowedFd<'_>, mount: &MountSpec) -> Result<Vec<Mount>> {
    let blobs = artifact::blobs(engine, &mount.source, &which(mount))?;
    let target = Path::new(&mount.target);
    let found = rooted::open(root, target, OFlags::PATH, Mode::empty()).and_then(rustix::fs::fstat);
    let on_a_file = found.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    if on_a_file && blobs.len() > 1 {
        return Err(Error::invalid(format!(
            "the artifact {} consists of several blobs, but the target {} is a file",
            mount.source, mount.target
        ))
        .with_hint("name one of them with title= or digest=, or mount at a directory"));
    }
    let single = blobs.len() == 1;
    let one = |(number, blob): (usize, artifact::Blob)| {
        let name = match mount.artifact.name.as_str() {
            "" => blob.name,
            name if single => name.to_owned(),
            name => format!("{name}-{number}"),
        };
        let place = if on_a_file { target.to_owned() } else { target.join(name) };
        let mut out = Mount::default();
        out.set_destination(place)
            .set_typ(Some("bind".to_owned()))
            .set_source(Some(blob.path))
            .set_options(Some(["bind", "rprivate", "ro"].map(str::to_owned).to_vec()));
        out
    };
    Ok(blobs.into_iter().enumerate().map(one).collect())
}

/// The source of a bind, made if docker's `-v` wants that.
pub(super) fn bind_source(engine: &Engine, mount: &MountSpec) -> Result<PathBuf> {
    let source = engine.config.env.cwd.join(&mount.source);
    match fs::metadata(&source) {
        Ok(_) => fs::canonicalize(&source).map_err(|e| Error::io("find", &source, e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && mount.bind.create_source => {
            fs::create_dir_all(&source).map_err(|e| Error::io("mkdir", &source, e))?;
            fs::canonicalize(&source).map_err(|e| Error::io("find", &source, e))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::invalid(format!(
            "invalid mount config for type \"bind\": bind source path does not exist: {}",
            source.display()
        ))),
        Err(e) => Err(Error::io("stat", &source, e)),
    }
}

/// Fills a volume with what the image has at its place.
pub(super) fn fill(root: BorrowedFd<'_>, target: &Path, data: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let from = match rooted::open(root, target, flags, Mode::empty()) {
        Ok(from) => from,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(()),
        Err(e) => return Err(Error::io("open the image's", target, e)),
    };
    let to = rooted::open_directory(data)?;
    copy_up::copy_up(from.as_fd(), to.as_fd())
}

/// The binds that a mount by pattern means: every file in the target directory under its own name or, without a target, at
/// its own path (podman-run(1), `type=glob`).
fn binds(mount: &MountSpec) -> Result<Vec<MountSpec>> {
    let mut found = matching(Path::new(&mount.source))?;
    found.sort();
    if found.is_empty() {
        return Err(Error::invalid(format!(
            "invalid --mount type=glob: no file paths matching glob {:?}",
            mount.source
        )));
    }
    let bind = |path: PathBuf| {
        let target = match (mount.target.as_str(), path.file_name()) {
            ("", _) | (_, None) => path.clone(),
            (directory, Some(name)) => Path::new(directory).join(name),
        };
        let text = |path: &Path| path.to_string_lossy().into_owned();
        MountSpec { kind: MountKind::Bind, source: text(&path), target: text(&target), ..mount.clone() }
    };
    Ok(found.into_iter().map(bind).collect())
}

/// The paths that match an absolute pattern, component by component (Go's `filepath.Glob`).
fn matching(pattern: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::from("/")];
    for component in pattern.components() {
        let Component::Normal(name) = component else { continue };
        let name = name.to_string_lossy();
        if !name.contains(['*', '?', '[', '\\']) {
            found = found.into_iter().map(|path| path.join(&*name)).filter(|path| exists(path)).collect();
            continue;
        }
        let mut next = Vec::new();
        for directory in found.iter().filter(|path| path.is_dir()) {
            let entries = match fs::read_dir(directory) {
                Ok(entries) => entries,
                // As for a shell, what cannot be read matches nothing.
                Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => continue,
                Err(e) => return Err(Error::io("read directory", directory, e)),
            };
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            next.extend(names.filter(|entry| glob(&name, entry)).map(|entry| directory.join(entry)));
        }
        found = next;
    }
    Ok(found)
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_binds() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        for file in ["a/one.so", "a/two.so", "b/one.so", "b/other"] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let targets = |pattern: &str, target: &str| {
            let mount = MountSpec {
                kind: MountKind::Glob,
                source: format!("{root}/{pattern}"),
                target: target.to_owned(),
                read_only: true,
                ..MountSpec::default()
            };
            binds(&mount).map(|binds| {
                assert!(binds.iter().all(|b| b.kind == MountKind::Bind && b.read_only));
                binds.into_iter().map(|b| b.target.replace(root, "")).collect::<Vec<_>>()
            })
        };
        assert_eq!(targets("a/*.so", "/lib").unwrap(), ["/lib/one.so", "/lib/two.so"]);
        assert_eq!(targets("?/one.so", "").unwrap(), ["/a/one.so", "/b/one.so"]);
        assert_eq!(targets("[b]/o*", "/x").unwrap(), ["/x/one.so", "/x/other"]);
        assert_eq!(targets("a", "/x").unwrap(), ["/x/a"]);
        assert!(targets("c/*", "/x").is_err() && targets("a/one.so/*", "/x").is_err());
    }
}
