//! Everything a start needs before conmon: root filesystem, the container's own files, mount sources, `config.json`.
//!
//! The image is untrusted: whatever is read or made in its root goes by descriptor and never leaves it, and only
//! regular files of bounded size are read (design: security rules).

use super::start::Starting;
use super::{
    accessible, cdi, facts, hooks, namespaces, notify, overlays, seccomp_cache, secrets, sources,
    system_files,
};
use crate::engine::conmon::RunDir;
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::rooted;
use crate::engine::host::{cgroup, mount, process};
use crate::engine::oci::{self, Kind, Resolved, files, seccomp};
use crate::engine::spec::{CgroupMode, ContainerSpec, HostFacts, NamespaceMode, User};
use crate::engine::store::MountOptions;
use crate::engine::store::diff::{ApplyOptions, Whiteouts, unpack};
use crate::engine::{Context, Engine, Error, ErrorKind, Result};
use oci_spec::runtime::Hook;
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// What the start goes on with.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The mounted root.
    pub rootfs: PathBuf,
    /// As in `config.json`.
    pub cgroups_path: String,
    /// The text of `config.json`.
    config: Vec<u8>,
    /// There are poststart hooks.
    pub poststart: bool,
    /// Where the seccomp program the runtime is about to compile is to be kept.
    pub compiled: Option<PathBuf>,
}

/// Size of /dev/shm when nothing says otherwise, bytes (docker-run(1), `--shm-size`).
const DEFAULT_SHM_SIZE: u64 = 64 << 20;

/// More of /etc/passwd or /etc/group than this is nobody's user database.
const MAX_DATABASE: u64 = 16 << 20;

impl Prepared {
    /// Finishes the bundle.
    pub fn write_config(&self, run_dir: &RunDir) -> Result<()> {
        atomic::write(&run_dir.config(), &self.config, 0o600, Durability::None)
    }
}

/// Mounts the root and makes the bundle, all but `config.json`.
pub(super) fn prepare(
    starting: &Starting<'_>,
    host: &HostFacts,
    netns: Option<&Path>,
    addresses: &files::Addresses,
) -> Result<Prepared> {
    let &Starting { engine, id, spec, run_dir, runtime, .. } = starting;
    if !spec.personality.is_empty() && !runtime.sets_personality()? {
        return Err(Error::unsupported(format!(
            "--personality: this version of {} does not set execution domains",
            runtime.name
        ))
        .with_hint("--runtime crun, or runc 1.2"));
    }
    let rootfs = mount_root(engine, run_dir, id, spec)?;
    crate::failpoint!("start.after-mount");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(&rootfs, flags, Mode::empty()).map_err(|e| Error::io("open", &rootfs, e))?;
    let root = root.as_fd();
    let passwd = database(root, "/etc/passwd")?;
    let group = database(root, "/etc/group")?;
    let user = oci::user::resolve(&spec.process.user, &spec.process.groups, &passwd, &group)?;
    let id_maps = namespaces::id_maps(engine, spec, host)?;
    let (uid, gid) = outside(&user, id_maps.as_ref());
    make_workdir(root, spec, uid, gid)?;
    let mut resolved = Resolved {
        id: id.to_owned(),
        rootfs: rootfs.clone(),
        hostname: hostname(engine, spec, id)?,
        keep_groups: spec.process.groups.iter().any(|g| g == "keep-groups"),
        joined: namespaces::joined(engine, spec)?,
        seccomp: seccomp_profile(engine, spec)?,
        init: init_program(engine, spec)?,
        devices: facts::devices(spec)?,
        block_devices: facts::block_devices(spec)?,
        cgroups_path: oci::cgroups_path(spec, host, id)?,
        user,
        id_maps,
        ..Resolved::default()
    };
    resolved.hooks = hooks::read(engine)?;
    resolved.cdi = cdi::edits(engine, spec)?;
    resolved.devices.extend(cdi::nodes(&resolved.cdi, &resolved.user)?);
    if notify::relayed(engine, spec).is_some() {
        notify::provide_relay(run_dir, &mut resolved);
    }
    let databases = system_files::Databases { passwd: &passwd, group: &group };
    if let Some(netns) = netns {
        resolved.joined.insert(Kind::Net, netns.to_owned());
    }
    resolved.files = system_files::write(engine, run_dir, spec, host, &resolved, &databases, addresses)?;
    secrets::provide(starting.dir, run_dir, spec, &mut resolved)?;
    shared_memory(starting, &mut resolved)?;
    sources::prepare(starting, root, (uid, gid), &mut resolved)?;
    accessible::open_ways(spec, run_dir.path(), &resolved)?;
    facts::apparmor(engine, spec, host)?;
    let mut config = oci::spec(spec, host, &resolved)?;
    let compiled = seccomp_cache::apply(engine, runtime, &mut config);
    let of_config = config.hooks().as_ref();
    let poststart = of_config.is_some_and(|hooks| has(hooks.poststart()));
    let rdt = config.linux().as_ref().is_some_and(|linux| linux.intel_rdt().is_some());
    if rdt || of_config.is_some_and(|hooks| has(hooks.poststop())) {
        let mark = run_dir.deleted_by_runtime();
        fs::File::create(&mark).map_err(|e| Error::io("create", &mark, e))?;
    }
    let config =
        serde_json::to_vec(&config).map_err(|e| Error::corrupt("encode config.json").with_source(e))?;
    if spec.cgroups == "split" && host.cgroup.mode == CgroupMode::V2 && !resolved.cgroups_path.is_empty() {
        cgroup::move_aside(&host.cgroup.own, oci::SPLIT_SIBLING)?;
    }
    Ok(Prepared { rootfs, cgroups_path: resolved.cgroups_path, config, poststart, compiled })
}

fn mount_root(engine: &Engine, run_dir: &RunDir, id: &str, spec: &ContainerSpec) -> Result<PathBuf> {
    match &spec.image.rootfs {
        Some(rootfs) => {
            let path = engine.config.env.cwd.join(rootfs);
            let path = fs::canonicalize(&path).map_err(|e| Error::io("find", &path, e))?;
            if spec.image.rootfs_overlay { overlays::over_root(engine, run_dir, &path) } else { Ok(path) }
        }
        None => {
            // Others may have it mounted, too: the end of this run undoes this mount, and only if there was one.
            let mark = run_dir.mounted();
            fs::File::create(&mark).map_err(|e| Error::io("create", &mark, e))?;
            let options = MountOptions { volatile: spec.remove, ..MountOptions::default() };
            engine.store.mount(id, &options).context("mount the root filesystem")
        }
    }
}

/// A user database of the image; empty when it has none.
fn database(root: BorrowedFd<'_>, path: &str) -> Result<Vec<u8>> {
    let (file, size) = match rooted::open_regular_in_root(root, Path::new(path)) {
        Ok(opened) => opened,
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => return Ok(Vec::new()),
        Err(e) => return Err(e.wrap(format!("read the image's {path}"))),
    };
    if size > MAX_DATABASE {
        return Err(Error::corrupt(format!(
            "the image's {path} has {size} bytes, which is no user database"
        )));
    }
    let mut bytes = Vec::new();
    file.take(MAX_DATABASE).read_to_end(&mut bytes).map_err(|e| Error::io("read", path, e))?;
    Ok(bytes)
}

/// The container user's IDs as the engine sees them.
fn outside(user: &User, maps: Option<&oci::IdMaps>) -> (u32, u32) {
    let Some(maps) = maps else { return (user.uid, user.gid) };
    let root = maps.root();
    (
        oci::idmap::outside(&maps.uids, user.uid).unwrap_or(root.0),
        oci::idmap::outside(&maps.gids, user.gid).unwrap_or(root.1),
    )
}

/// Makes the working directory inside the root if it is missing, and gives it to the container's user.
fn make_workdir(root: BorrowedFd<'_>, spec: &ContainerSpec, uid: u32, gid: u32) -> Result<()> {
    let workdir = oci::complete::clean(&spec.process.workdir);
    // A descriptor of whoever starts the process must not become its directory (CVE-2024-21626).
    if workdir == "/proc"
        || workdir.starts_with("/proc/")
        || workdir == "/dev/fd"
        || workdir.starts_with("/dev/fd/")
    {
        return Err(Error::invalid(format!(
            "the working directory {workdir} is not inside the root filesystem"
        )));
    }
    if workdir == "/"
        || spec.mounts.iter().any(|m| m.target != "/" && Path::new(&workdir).starts_with(&m.target))
    {
        return Ok(());
    }
    let path = Path::new(&workdir);
    let directory = OFlags::PATH | OFlags::DIRECTORY;
    match rooted::open(root, path, directory, Mode::empty()) {
        Ok(_) => return Ok(()),
        Err(rustix::io::Errno::NOENT) => {}
        Err(e) => return Err(Error::io("open the working directory", path, e)),
    }
    let made = rooted::mkdir_all_in_root(root, path, Mode::from_raw_mode(0o755))
        .with_context(|| format!("make the working directory {workdir}"))?;
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::chownat(&made, "", Some(uid), Some(gid), rustix::fs::AtFlags::EMPTY_PATH)
        .map_err(|e| Error::io("chown", path, e))
}

/// The host name inside. Who shares a container's network namespace without a name of their own has that container's, which
/// is the one in their /etc/hosts (docker does the same).
fn hostname(engine: &Engine, spec: &ContainerSpec, id: &str) -> Result<String> {
    match &spec.namespaces.network {
        NamespaceMode::Container(owner) if spec.hostname.is_empty() && oci::has_own_hostname(spec) => {
            let record = engine.state.load(owner)?;
            Ok(files::hostname(record.spec()?, &host_name(), owner))
        }
        _ => Ok(files::hostname(spec, &host_name(), id)),
    }
}

fn has(hooks: &Option<Vec<Hook>>) -> bool {
    hooks.as_ref().is_some_and(|list| !list.is_empty())
}

/// Whether the config.json of a container that was initialized has poststart hooks.
pub(super) fn has_poststart(run_dir: &RunDir) -> Result<bool> {
    let path = run_dir.config();
    let config = oci_spec::runtime::Spec::load(&path)
        .map_err(|e| Error::corrupt(format!("read {}", path.display())).with_source(e))?;
    Ok(config.hooks().as_ref().is_some_and(|hooks| has(hooks.poststart())))
}

/// The host's name.
pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// /dev/shm: a tmpfs that goes with the container's mount namespace, so nothing of it is left to unmount. Who joins
/// another container's IPC namespace gets a copy of that container's mount.
fn shared_memory(starting: &Starting<'_>, resolved: &mut Resolved) -> Result<()> {
    let &Starting { engine, spec, run_dir, .. } = starting;
    if spec.mounts.iter().any(|m| m.target == "/dev/shm" || m.target == "/dev") {
        return Ok(());
    }
    match &spec.namespaces.ipc {
        NamespaceMode::Host => resolved.files.shm = Some(PathBuf::from("/dev/shm")),
        NamespaceMode::None => {}
        NamespaceMode::Container(id) => {
            let donor = engine.state.load(id)?;
            if donor.spec()?.namespaces.ipc == NamespaceMode::Private {
                let name = donor.name();
                return Err(Error::new(
                    ErrorKind::InUse,
                    format!("cannot join the IPC namespace of {name}: non-shareable IPC"),
                )
                .with_hint(format!("run {name} with --ipc shareable")));
            }
            let shared = run_dir.shared_memory();
            fs::create_dir(&shared).map_err(|e| Error::io("mkdir", &shared, e))?;
            let tree = mount::clone_tree_of(donor.state.pid, Path::new("/dev/shm"))?;
            mount::attach(tree.as_fd(), &shared)?;
            resolved.files.shm = Some(shared);
        }
        _ if spec.shm_bind => {
            let shared = run_dir.shared_memory();
            fs::create_dir(&shared).map_err(|e| Error::io("mkdir", &shared, e))?;
            mount::shared_memory(&shared, spec.shm_size.unwrap_or(DEFAULT_SHM_SIZE))?;
            if let Some(tar) = starting.restoration.and_then(|from| from.shared_memory.as_deref()) {
                let file = fs::File::open(tar).map_err(|e| Error::io("open", tar, e))?;
                let directory = rooted::open_directory(&shared)?;
                let options = ApplyOptions { whiteouts: Whiteouts::Literal, ..ApplyOptions::default() };
                unpack(file, directory.as_fd(), &options).context("restore /dev/shm")?;
            }
            resolved.files.shm = Some(shared);
        }
        _ => {
            let size = spec.shm_size.unwrap_or(DEFAULT_SHM_SIZE);
            let mut options = ["nosuid", "noexec", "nodev", "mode=1777"].map(str::to_owned).to_vec();
            if spec.read_only && !spec.read_only_tmpfs {
                options.push("ro".to_owned());
            }
            let mut mount = oci_spec::runtime::Mount::default();
            mount
                .set_destination(PathBuf::from("/dev/shm"))
                .set_typ(Some("tmpfs".to_owned()))
                .set_source(Some(PathBuf::from("shm")))
                .set_options(Some(options.into_iter().chain([format!("size={size}")]).collect()));
            resolved.extra_mounts.push(mount);
        }
    }
    Ok(())
}

/// The profile's text; `None`: the built-in one.
fn seccomp_profile(engine: &Engine, spec: &ContainerSpec) -> Result<Option<String>> {
    let profile = spec.security.seccomp.as_str();
    if profile == "unconfined" || spec.security.privileged {
        return Ok(None);
    }
    if profile.is_empty() && !spec.security.image_seccomp.is_empty() {
        return Ok(Some(spec.security.image_seccomp.clone()));
    }
    let configured = engine.config.containers.containers.seccomp_profile.as_deref().unwrap_or_default();
    let named = [profile, configured].into_iter().find(|p| !p.is_empty());
    if let Some(path) = named {
        let path = engine.config.env.cwd.join(path);
        let text = fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e));
        return text.map(Some).context("load the seccomp profile");
    }
    Ok(seccomp::PATHS.iter().find_map(|path| fs::read_to_string(path).ok()))
}

/// `--init`'s program.
fn init_program(engine: &Engine, spec: &ContainerSpec) -> Result<Option<PathBuf>> {
    if !spec.init {
        return Ok(None);
    }
    let conf = &engine.config.containers;
    let named = [&spec.init_path, &conf.containers.init_path, &conf.engine.init_path];
    if let Some(path) = named.into_iter().flatten().find(|p| !p.is_empty()) {
        return process::require_program(path, &[] as &[&Path], "catatonit").map(Some);
    }
    let mut directories = engine.config.helper_directories();
    directories.extend(["/usr/libexec/catatonit", "/usr/libexec/docker"].map(PathBuf::from));
    let found = ["catatonit", "tini-static", "tini", "docker-init"]
        .into_iter()
        .find_map(|name| process::find_program(name, &directories));
    found.map(Some).ok_or_else(|| {
        Error::new(ErrorKind::MissingProgram, "--init: no init program is installed")
            .with_hint("install the package catatonit")
    })
}

/// The kinds of namespaces a container can lend.
pub(super) const KINDS: [Kind; 5] = [Kind::Ipc, Kind::Net, Kind::Pid, Kind::Uts, Kind::Cgroup];
