//! A world of its own for one test: store, run directory, home, configuration.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{Cmd, Host, Missing, PATH, Pty, Registry, is_root, leaks, program, registry, root};

/// On whose behalf the tests run a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Root,
    /// An ordinary user with subordinate ids: the one who runs the tests, or the one of `scripts/test-env`.
    User,
}

/// Directories that only one test uses. Dropping it removes its containers with the product itself, then looks for
/// what that left behind, and fails the test when there is anything.
pub struct Sandbox {
    pub who: Who,
    base: PathBuf,
    uid: u32,
    gid: u32,
    user: String,
    namespace: Option<PathBuf>,
}

impl Sandbox {
    /// A sandbox in which everything runs as root.
    pub fn root() -> Result<Sandbox, Missing> {
        root()?;
        Ok(Sandbox::new(Who::Root, 0, 0, "root".into()))
    }

    /// A sandbox in which everything runs as an ordinary user.
    pub fn user() -> Result<Sandbox, Missing> {
        let (user, uid, gid) = ordinary_user()?;
        Ok(Sandbox::new(Who::User, uid, gid, user))
    }

    /// From now on everything runs on that host. Images are pulled before, as the registry is on another.
    /// The default network is the host's, not none.
    pub fn move_to(&mut self, host: &Host) {
        self.namespace = Some(host.namespace());
        self.write("conf/containers.conf", self.common_conf());
    }

    /// One of each, for what holds for both; without root, which is said, only the user's.
    pub fn both() -> Result<Vec<Sandbox>, Missing> {
        let user = Sandbox::user()?;
        match Sandbox::root() {
            Ok(root) => Ok(vec![root, user]),
            Err(missing) => {
                super::skip(&missing);
                Ok(vec![user])
            }
        }
    }

    fn new(who: Who, uid: u32, gid: u32, user: String) -> Sandbox {
        // Short, as the paths of unix sockets below it may have 107 bytes; and not /tmp, which may be a tmpfs.
        let parent =
            std::env::var_os("CORACLE_TEST_DIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
        let base = tempfile::Builder::new().prefix("ct.").rand_bytes(6).tempdir_in(parent).unwrap().keep();
        let sandbox = Sandbox { who, base, uid, gid, user, namespace: None };
        sandbox.mode(&sandbox.base, 0o755);
        for name in ["root", "run", "home", "xdg", "tmp", "net", "conf", "work", "bin"] {
            fs::create_dir(sandbox.path(name)).unwrap();
            sandbox.own(&sandbox.path(name));
        }
        sandbox.mode(&sandbox.path("xdg"), 0o700);
        // The build directory may be out of the user's reach; a link cannot help, a copy costs too much.
        let binary = sandbox.path("bin/coracle");
        if fs::hard_link(super::binary(), &binary).is_err() {
            std::os::unix::fs::symlink(shared_binary(), &binary).unwrap();
        }
        sandbox.write("conf/policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
        sandbox.write("conf/registries.conf", "unqualified-search-registries = [\"docker.io\"]\n");
        sandbox.write(
            "conf/storage.conf",
            format!(
                "[storage]\ndriver = \"overlay\"\ngraphroot = {:?}\nrunroot = {:?}\n",
                sandbox.graph_root(),
                sandbox.run_root()
            ),
        );
        sandbox.write("conf/containers.conf", sandbox.containers_conf());
        // podman 4.3 asks for ulimits that the host may not grant.
        let podman = "default_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n";
        sandbox.write("conf/podman.conf", sandbox.containers_conf() + podman);
        for name in ["policy.json", "registries.conf"] {
            sandbox.write(format!("home/.config/containers/{name}"), sandbox.read(format!("conf/{name}")));
        }
        sandbox
    }

    /// Puts what does not outlive a boot on a tmpfs, as systemd has /run and /run/user/UID. The caller is in a mount
    /// namespace of its own.
    pub fn in_memory(&self) {
        for name in VOLATILE {
            let options = format!("mode=700,uid={},gid={}", self.uid, self.gid);
            let flags = nix::mount::MsFlags::MS_NOSUID | nix::mount::MsFlags::MS_NODEV;
            nix::mount::mount(Some("tmpfs"), &self.path(name), Some("tmpfs"), flags, Some(options.as_str()))
                .unwrap();
        }
    }

    /// Most tests are not about networks: their containers have none, which is quicker and leaves the host alone.
    fn containers_conf(&self) -> String {
        self.common_conf() + "[containers]\nnetns = \"none\"\n"
    }

    fn common_conf(&self) -> String {
        format!(
            "[engine]\ntmp_dir = {:?}\nevents_logger = \"file\"\ncgroup_manager = \"cgroupfs\"\n\
             [network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = {:?}\n",
            self.path("tmp/engine"),
            self.path("net"),
        )
    }

    /// A path inside the sandbox.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.base.join(relative)
    }

    pub fn graph_root(&self) -> PathBuf {
        self.path("root")
    }

    pub fn run_root(&self) -> PathBuf {
        self.path("run")
    }

    /// The user of a rootless sandbox (0 in a rootful one).
    pub fn uid(&self) -> u32 {
        self.uid
    }

    pub fn gid(&self) -> u32 {
        self.gid
    }

    pub fn user_name(&self) -> &str {
        &self.user
    }

    /// Writes a file that belongs to the sandbox's user, and the directories above it; returns its path.
    pub fn write(&self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        for directory in
            path.ancestors().skip(1).take_while(|at| *at != self.base).collect::<Vec<_>>().iter().rev()
        {
            if !directory.exists() {
                fs::create_dir(directory).unwrap();
                self.own(directory);
            }
        }
        fs::write(&path, content).unwrap();
        self.own(&path);
        path
    }

    pub fn read(&self, relative: impl AsRef<Path>) -> String {
        let path = self.path(relative);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Makes a directory that belongs to the sandbox's user.
    pub fn mkdir(&self, relative: impl AsRef<Path>) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(&path).unwrap();
        self.own(&path);
        path
    }

    fn own(&self, path: &Path) {
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid)).unwrap();
    }

    fn mode(&self, path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Any program, as the sandbox's user, in its `work` directory, with the sandbox's environment and no other.
    pub fn command<S: Into<OsString>>(&self, argv: impl IntoIterator<Item = S>) -> Cmd {
        let mut full: Vec<OsString> = Vec::new();
        if let Some(namespace) = &self.namespace {
            full.push(program("nsenter").expect("util-linux").into());
            full.push(format!("--net={}", namespace.display()).into());
        }
        if self.who == Who::User && is_root() {
            full.push(program("setpriv").expect("util-linux").into());
            for word in ["--reuid", &self.user, "--regid", &self.gid.to_string()] {
                full.push(word.into());
            }
            full.extend(["--init-groups", "--inh-caps=-all"].map(Into::into));
        }
        full.extend(argv.into_iter().map(Into::into));
        self.with_environment(full)
    }

    /// The same without setpriv(1) in front, which takes time where time is measured; the caller changes the user.
    pub fn direct<S: Into<OsString>>(&self, argv: impl IntoIterator<Item = S>) -> Cmd {
        self.with_environment(argv.into_iter().map(Into::into).collect())
    }

    fn with_environment(&self, argv: Vec<OsString>) -> Cmd {
        let mut command = Cmd::new(argv, self.path("work"))
            .env("PATH", PATH)
            .env("HOME", self.path("home"))
            .env("USER", &self.user)
            .env("LOGNAME", &self.user)
            .env("XDG_RUNTIME_DIR", self.path("xdg"))
            .env("TMPDIR", self.path("tmp"))
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .env("TERM", "xterm")
            .env("CONTAINERS_CONF", self.path("conf/containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.path("conf/storage.conf"))
            .env("CONTAINERS_REGISTRIES_CONF", self.path("conf/registries.conf"));
        // A user who is logged in has a systemd of their own, which none but their own processes can use.
        if let (Who::User, false, Some(bus)) =
            (self.who, is_root(), std::env::var_os("DBUS_SESSION_BUS_ADDRESS"))
        {
            command = command.env("DBUS_SESSION_BUS_ADDRESS", bus);
        }
        if let Some(value) = std::env::var_os("RUST_BACKTRACE") {
            command = command.env("RUST_BACKTRACE", value);
        }
        command
    }

    /// `coracle --root … --runroot … ARGUMENTS`.
    pub fn coracle<S: Into<OsString>>(&self, arguments: impl IntoIterator<Item = S>) -> Cmd {
        self.command([self.binary()]).args(self.store_flags()).args(arguments)
    }

    /// `coracle ARGUMENTS` as a user types it; the store comes from the sandbox's storage.conf.
    pub fn bare<S: Into<OsString>>(&self, arguments: impl IntoIterator<Item = S>) -> Cmd {
        self.command([self.binary()]).args(arguments)
    }

    /// The program, where the sandbox's user can execute it.
    pub fn binary(&self) -> PathBuf {
        self.path("bin/coracle")
    }

    /// `--root` and `--runroot`, understood by Coracle, podman and buildah.
    pub fn store_flags(&self) -> Vec<OsString> {
        ["--root".into(), self.graph_root().into(), "--runroot".into(), self.run_root().into()].to_vec()
    }

    /// `coracle ARGUMENTS` on a terminal.
    #[track_caller]
    pub fn terminal<S: Into<OsString>>(&self, arguments: impl IntoIterator<Item = S>) -> Pty {
        Pty::spawn(self.coracle(arguments))
    }

    /// Makes `registry` the place where short names and `docker.io` are looked for, over plain HTTP or with its CA.
    pub fn use_registry(&self, registry: &Registry) {
        let at = registry.address();
        let insecure = registry.is_insecure();
        let conf = format!(
            "unqualified-search-registries = [\"docker.io\"]\n\n\
             [[registry]]\nprefix = \"docker.io\"\nlocation = \"{at}\"\ninsecure = {insecure}\n\n\
             [[registry]]\nlocation = \"{at}\"\ninsecure = {insecure}\n"
        );
        self.write("conf/registries.conf", &conf);
        self.write("home/.config/containers/registries.conf", &conf);
    }

    /// Has the shared registry serve `lab/…` and pulls it.
    #[track_caller]
    pub fn pull(&self, name: &str) {
        self.registry().provide(name);
        self.coracle(["pull", "-q", name]).ok();
    }

    /// The shared registry, which this sandbox uses from now on.
    pub fn registry(&self) -> &'static Registry {
        let registry = registry();
        self.use_registry(registry);
        registry
    }

    /// What is in the sandbox that should not be there once all containers are removed. Empty is good.
    pub fn leaks(&self) -> Vec<String> {
        leaks::find(self)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed && std::env::var_os("CORACLE_KEEP").is_some() {
            eprintln!("left for you to look at: {}", self.base.display());
            return;
        }
        let leaks = leaks::clean_up(self);
        assert!(
            failed || leaks.is_empty(),
            "left behind in {}:\n  {}",
            self.base.display(),
            leaks.join("\n  ")
        );
    }
}

/// The directories of a sandbox for what does not outlive a boot: run root, XDG_RUNTIME_DIR, podman's temporary files.
pub const VOLATILE: [&str; 3] = ["run", "xdg", "tmp"];

/// The binary once more, in a place that every user reaches, for build directories below a private home.
fn shared_binary() -> &'static Path {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        let directory =
            PathBuf::from(format!("/var/tmp/coracle-test-bin.{}", rustix::process::geteuid().as_raw()));
        fs::create_dir_all(&directory).unwrap();
        let original = super::binary();
        let built = fs::metadata(&original).unwrap().modified().unwrap();
        let since = built.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let copy = directory.join(format!("coracle-{since}"));
        if !copy.exists() {
            let partial = directory.join(format!("partial-{}", std::process::id()));
            fs::copy(&original, &partial).unwrap();
            fs::rename(&partial, &copy).unwrap();
        }
        copy
    })
}

/// Name, uid and gid of the user for rootless tests.
fn ordinary_user() -> Result<(String, u32, u32), Missing> {
    static USER: OnceLock<Result<(String, u32, u32), String>> = OnceLock::new();
    let lookup = |name: &str| {
        let user = nix::unistd::User::from_name(name).ok().flatten()?;
        Some((user.name, user.uid.as_raw(), user.gid.as_raw()))
    };
    USER.get_or_init(|| {
        if !is_root() {
            let user = nix::unistd::User::from_uid(nix::unistd::Uid::current());
            let user = user.ok().flatten().ok_or("a passwd entry for the current user")?;
            let subuids = fs::read_to_string("/etc/subuid").unwrap_or_default();
            let prefixes = [format!("{}:", user.name), format!("{}:", user.uid)];
            return if subuids.lines().any(|line| prefixes.iter().any(|prefix| line.starts_with(prefix))) {
                Ok((user.name, user.uid.as_raw(), user.gid.as_raw()))
            } else {
                Err(format!("subordinate ids for {} in /etc/subuid", user.name))
            };
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-env");
        let made = Command::new(script).status().is_ok_and(|status| status.success());
        let name = std::env::var("CORACLE_TEST_USER").unwrap_or_else(|_| "coracle-test".into());
        lookup(&name).filter(|_| made).ok_or_else(|| "an ordinary user (scripts/test-env)".into())
    })
    .clone()
    .map_err(Missing)
}
