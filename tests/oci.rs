//! The configurations `engine::oci` makes, run by real runtimes without the rest of the engine: what a flag asks for
//! is what a process inside sees. As root, so that devices and limits can be looked at.

use crate::support::{self, Missing, require};
use coracle::engine::host::facts::{self, Query};
use coracle::engine::oci::{self, Resolved, files};
use coracle::engine::spec::{
    ContainerSpec, Defaults, HostFacts, IdMapping, MountKind, MountSpec, NamespaceMode, Rlimit, UserNamespace,
};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A runtime and a root filesystem with busybox.
struct Bench {
    runtime: PathBuf,
    dir: tempfile::TempDir,
    host: HostFacts,
}

fn bench() -> Result<Bench, Missing> {
    support::root()?;
    let busybox = support::program("busybox")?;
    let runtime = support::program(if support::cgroups() == "hybrid" { "runc" } else { "crun" })?;
    let dir = tempfile::tempdir().unwrap();
    // Other users of the container must be able to walk to it.
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let root = dir.path().join("root");
    for name in ["bin", "etc", "tmp", "proc", "sys", "dev", "data"] {
        std::fs::create_dir_all(root.join(name)).unwrap();
    }
    std::fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for applet in [
        "sh", "cat", "id", "grep", "ls", "stat", "touch", "hostname", "env", "pwd", "ulimit", "mount", "true",
    ] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nwww:x:33:33::/srv:/bin/sh\n")
        .unwrap();
    std::fs::write(root.join("etc/group"), "root:x:0:\nwww:x:33:\nvideo:x:44:www\n").unwrap();
    std::fs::write(root.join("data/file"), "from the image\n").unwrap();
    let host = facts::gather(&Query { devices: true, ..Query::default() });
    Ok(Bench { runtime, dir, host })
}

/// What the command printed (both streams) and its exit code.
type Seen = (String, i32);

impl Bench {
    /// Runs `script` by the shell of a container that `change` shapes.
    fn run(&self, script: &str, change: impl FnOnce(&mut ContainerSpec, &mut Resolved)) -> Seen {
        let mut spec = ContainerSpec { read_only_tmpfs: true, ..ContainerSpec::default() };
        spec.process.command = vec!["/bin/sh".into(), "-c".into(), script.into()];
        let id = format!(
            "coracle-test-{}",
            self.dir.path().file_name().unwrap().to_string_lossy().trim_start_matches('.')
        );
        let mut resolved = Resolved { rootfs: self.dir.path().join("root"), ..Resolved::default() };
        change(&mut spec, &mut resolved);
        oci::complete(&mut spec, None, &Defaults::default(), &self.host).unwrap();
        let etc = |name: &str| std::fs::read(resolved.rootfs.join("etc").join(name)).unwrap();
        let user = &spec.process.user;
        resolved.user =
            oci::user::resolve(user, &spec.process.groups, &etc("passwd"), &etc("group")).unwrap();
        resolved.id_maps = oci::idmap::maps(&spec.namespaces.user, &self.host, &Default::default()).unwrap();
        resolved.hostname = files::hostname(&spec, "host", "0123456789abcdef");
        resolved.cgroups_path = oci::cgroups_path(&spec, &self.host, &id).unwrap();
        let config = oci::spec(&spec, &self.host, &resolved).unwrap();
        let bundle = self.dir.path().join("bundle");
        std::fs::create_dir_all(&bundle).unwrap();
        std::fs::write(bundle.join("config.json"), serde_json::to_vec_pretty(&config).unwrap()).unwrap();
        let out = Command::new(&self.runtime)
            .arg("--root")
            .arg(self.dir.path().join("state"))
            .args(["run", "--bundle"])
            .arg(&bundle)
            .arg(&id)
            .env_clear()
            .env("PATH", support::PATH)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        (text.trim_end().to_owned(), out.status.code().unwrap_or(-1))
    }

    fn says(&self, script: &str, change: impl FnOnce(&mut ContainerSpec, &mut Resolved)) -> String {
        let (text, code) = self.run(script, change);
        assert_eq!(code, 0, "{script}: {text}");
        text
    }
}

fn nothing(_: &mut ContainerSpec, _: &mut Resolved) {}

fn status(field: &str) -> String {
    format!("grep ^{field}: /proc/self/status")
}

#[test]
fn a_plain_container() {
    let bench = require!(bench());
    assert_eq!(bench.says("echo hello; exit 0", nothing), "hello");
    assert_eq!(bench.run("exit 7", nothing).1, 7);
    assert_eq!(
        bench.says("hostname; pwd; id -u; echo $container $HOME", nothing),
        "0123456789ab\n/\n0\npodman /root"
    );
    let caps = bench.says(&status("Cap..."), nothing);
    for (name, want) in [
        ("CapInh", 0),
        ("CapPrm", 0x8000_05fb),
        ("CapEff", 0x8000_05fb),
        ("CapBnd", 0x8000_05fb),
        ("CapAmb", 0),
    ] {
        let line = caps.lines().find(|l| l.starts_with(name)).unwrap();
        let got = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
        // SYS_CHROOT is the eighteenth, SETFCAP the thirty-first.
        assert_eq!(got & !(1 << 18), want & !(1 << 18), "{caps}");
    }
    assert!(bench.says(&status("Seccomp"), nothing).ends_with('2'));
    assert_eq!(bench.says("ls /proc/self/fd | grep -c .", nothing), "4");
    assert_eq!(bench.run("cat /proc/kcore 2>/dev/null | grep -c .", nothing).0, "0");
    assert_ne!(bench.run("echo 1 > /proc/sys/kernel/panic", nothing).1, 0);
    assert_ne!(bench.run("touch /sys/x || mount -t tmpfs x /tmp", nothing).1, 0);
    assert_eq!(bench.says("ls /sys/class/net", nothing), "lo");
}

#[test]
fn users_and_groups() {
    let bench = require!(bench());
    let user = |name: &'static str| {
        move |spec: &mut ContainerSpec, _: &mut Resolved| spec.process.user = name.into()
    };
    assert_eq!(bench.says("id -u; id -g; id -G; echo $HOME", user("www")), "33\n33\n33 44\n/srv");
    assert_eq!(bench.says("id -u; id -g", user("1234:5")), "1234\n5");
    assert!(bench.says(&status("CapEff"), user("www")).ends_with("0000000000000000"));
    let ambient = bench.says(&status("CapAmb"), |spec, _| {
        spec.process.user = "www".into();
        spec.security.cap_add = vec!["CAP_NET_BIND_SERVICE".into()];
    });
    assert!(ambient.ends_with("400"), "{ambient}");
}

#[test]
fn capabilities_and_privileges() {
    let bench = require!(bench());
    let none = bench.says(&status("CapBnd"), |spec, _| spec.security.cap_drop = vec!["ALL".into()]);
    assert!(none.ends_with("0000000000000000"), "{none}");
    let privileged = |spec: &mut ContainerSpec, _: &mut Resolved| spec.security.privileged = true;
    let all = bench.says(&status("CapEff"), privileged);
    let got = u64::from_str_radix(all.split_whitespace().last().unwrap(), 16).unwrap();
    assert_eq!(got, bench.host.bounding);
    assert!(bench.says(&status("Seccomp"), privileged).ends_with('0'));
    assert_eq!(bench.says("mount -t tmpfs x /tmp && touch /tmp/y && ls /tmp", privileged), "y");
    let sealed = bench.says(&status("NoNewPrivs"), |spec, _| spec.security.no_new_privileges = true);
    assert!(sealed.ends_with('1'));
    // Without a profile file: the built-in one lets ordinary programs work and stops mount's kin by capability.
    assert_eq!(bench.says("ls / > /dev/null && id -u", nothing), "0");
}

#[test]
fn mounts() {
    let bench = require!(bench());
    let source = bench.dir.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("f"), "host").unwrap();
    let path = source.to_string_lossy().into_owned();
    let bind = |read_only, options: &[&str]| MountSpec {
        source: path.clone(),
        target: "/data".into(),
        read_only,
        options: options.iter().map(|o| (*o).to_owned()).collect(),
        ..MountSpec::default()
    };
    assert_eq!(bench.says("cat /data/f && touch /data/made", |s, _| s.mounts.push(bind(false, &[]))), "host");
    assert!(source.join("made").exists());
    assert_ne!(bench.run("touch /data/no", |s, _| s.mounts.push(bind(true, &[]))).1, 0);
    let options =
        bench.says("grep ' /data ' /proc/mounts", |s, _| s.mounts.push(bind(true, &["noexec", "nodev"])));
    assert!(options.contains("noexec") && options.contains("nodev") && options.contains("ro,"), "{options}");
    let tmpfs = |target: &str, options: &[&str]| MountSpec {
        kind: MountKind::Tmpfs,
        target: target.into(),
        options: options.iter().map(|o| (*o).to_owned()).collect(),
        ..MountSpec::default()
    };
    let text = bench.says("stat -c %a /t; grep ' /t ' /proc/mounts", |s, _| {
        s.mounts.push(tmpfs("/t", &["size=1048576", "mode=700"]));
    });
    assert!(text.starts_with("700") && text.contains("size=1024k"), "{text}");
    // A tmpfs begins with what the image has there.
    assert_eq!(bench.says("cat /data/file", |s, _| s.mounts.push(tmpfs("/data", &[]))), "from the image");
    let read_only = |s: &mut ContainerSpec, _: &mut Resolved| s.read_only = true;
    assert_ne!(bench.run("touch /etc/x", read_only).1, 0);
    assert_eq!(bench.says("touch /tmp/x /run/x /var/tmp/x && echo ok", read_only), "ok");
    let hard = |s: &mut ContainerSpec, _: &mut Resolved| (s.read_only, s.read_only_tmpfs) = (true, false);
    assert_ne!(bench.run("touch /tmp/x", hard).1, 0);
    assert_ne!(bench.run("touch /dev/x", hard).1, 0);
}

#[test]
fn an_overlay_takes_the_writes() {
    let bench = require!(bench());
    let dir = |name: &str| {
        let path = bench.dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let (source, upper, work) = (dir("lower:x"), dir("upper"), dir("work"));
    std::fs::write(source.join("f"), "host").unwrap();
    let text = bench.says("cat /data/f; echo new > /data/f; cat /data/f", |s, r| {
        let mut mount = MountSpec {
            source: source.to_string_lossy().into_owned(),
            target: "/data".into(),
            ..MountSpec::default()
        };
        mount.bind.overlay = true;
        s.mounts = vec![mount];
        r.overlays.insert("/data".into(), (upper.clone(), work));
    });
    assert_eq!(text, "hostnew");
    assert_eq!(std::fs::read_to_string(source.join("f")).unwrap(), "host");
    assert!(upper.join("f").exists());
}

#[test]
fn the_containers_own_files_and_init() {
    let bench = require!(bench());
    let file = |name: &str, text: &str| {
        let path = bench.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let text = bench.says("cat /etc/hosts /etc/hostname /etc/resolv.conf /run/.containerenv", |_, r| {
        r.files.hosts = file("hosts", "hosts\n");
        r.files.hostname = file("hostname", "name\n");
        r.files.resolv_conf = file("resolv", "resolv\n");
        r.files.containerenv = file("env", "env\n");
    });
    assert_eq!(text, "hosts\nname\nresolv\nenv");
    let Some(init) =
        ["/usr/libexec/podman/catatonit", "/usr/bin/catatonit"].iter().find(|p| Path::new(p).exists())
    else {
        return;
    };
    let (text, _) = bench.run("cat /proc/1/comm; test $$ = 1 && echo 1", |s, r| {
        s.init = true;
        r.init = Some(PathBuf::from(init));
    });
    assert!(text == "podman-init" || text == "catatonit", "{text}");
}

#[test]
fn devices() {
    let bench = require!(bench());
    let add = |_: &mut ContainerSpec, r: &mut Resolved| {
        r.devices = facts::devices("/dev/zero", "/dev/mine", "r").unwrap();
    };
    assert_eq!(bench.says("stat -c '%t:%T %F' /dev/mine", add), "1:5 character special file");
    assert_eq!(bench.says("ls /dev/null /dev/tty /dev/urandom | grep -c .", nothing), "3");
}

#[test]
fn limits() {
    let bench = require!(bench());
    let hard = bench.host.limits.current["nofile"].1;
    let want = if bench.host.limits.may_raise { 1 << 20 } else { hard.min(1 << 20) };
    assert_eq!(bench.says("ulimit -n", nothing), want.to_string());
    let given = bench.says("ulimit -Sn; ulimit -Hn", |s, _| {
        s.rlimits = vec![Rlimit { name: "nofile".into(), soft: 100, hard: 200 }];
    });
    assert_eq!(given, "100\n200");
    if bench.host.cgroup.mode != coracle::engine::spec::CgroupMode::V2
        && bench.host.cgroup.controllers.contains("memory")
    {
        let text = bench.says(
            "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max",
            |s, _| {
                s.resources.memory = Some(64 << 20);
                s.resources.pids_limit = Some(77);
            },
        );
        assert_eq!(text, format!("{}\n77", 64 << 20));
    }
    assert_eq!(
        bench.says("cat /proc/self/oom_score_adj", |s, _| s.resources.oom_score_adj = Some(500)),
        "500"
    );
}

#[test]
fn namespaces() {
    let bench = require!(bench());
    let own = |kind: &str| {
        std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_string_lossy().into_owned()
    };
    let script = "for k in pid net ipc uts; do ls -l /proc/self/ns/$k; done";
    let text = bench.says(script, nothing);
    for kind in ["pid", "net", "ipc", "uts"] {
        assert!(!text.contains(&own(kind)), "{kind}: {text}");
    }
    let text = bench.says(script, |s, _| {
        let n = &mut s.namespaces;
        for mode in [&mut n.pid, &mut n.network, &mut n.ipc, &mut n.uts] {
            *mode = NamespaceMode::Host;
        }
    });
    for kind in ["pid", "net", "ipc", "uts"] {
        assert!(text.contains(&own(kind)), "{kind}: {text}");
    }
    let joined = bench.says("ls -l /proc/self/ns/net", |s, _| {
        s.namespaces.network = NamespaceMode::Path(format!("/proc/{}/ns/net", std::process::id()));
    });
    assert!(joined.contains(&own("net")));
}

#[test]
fn a_user_namespace_of_its_own() {
    let bench = require!(bench());
    let root = bench.dir.path().join("root");
    let map = |container_id, host_id, size| IdMapping { container_id, host_id, size };
    let text = bench.says("cat /proc/self/uid_map; id -u; ls /sys/class/net", |s, _| {
        let uid_maps = vec![map(0, 100_000, 1000)];
        s.namespaces.user = UserNamespace::Mapped { uid_maps, gid_maps: vec![] };
    });
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["0", "100000", "1000", "0", "lo"], "{}", root.display());
}

#[test]
fn settings_of_the_kernel_and_the_process() {
    let bench = require!(bench());
    let text = bench.says(
        "cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/ping_group_range; umask; echo $A",
        |s, _| {
            s.sysctls.insert("net.core.somaxconn".into(), "77".into());
            s.process.umask = "0077".into();
            s.process.env = vec!["A=b c".into()];
        },
    );
    assert_eq!(text, "77\n0\t0\n0077\nb c");
    assert_eq!(bench.says("pwd", |s, _| s.process.workdir = "/data".into()), "/data");
    assert_eq!(bench.run("cat /data/file", |s, _| s.security.mask = vec!["/data/file".into()]).0, "");
    let unmasked = bench.says(
        "grep -c . /proc/keys || true; grep ' /proc/sys ' /proc/mounts | grep -c . || true",
        |s, _| {
            s.security.unmask = vec!["ALL".into()];
        },
    );
    assert!(unmasked.ends_with("\n0"), "{unmasked}");
}

#[test]
fn the_built_in_seccomp_profile_runs_programs() {
    let bench = require!(bench());
    let text = std::fs::read_to_string(oci::seccomp::PATHS[1]).ok();
    for profile in [None, text] {
        let had = profile.is_some();
        let seen = bench.says("ls / >/dev/null && id -u && cat /data/file", |_, r| r.seccomp = profile);
        assert_eq!(seen, "0\nfrom the image", "profile file: {had}");
    }
}
