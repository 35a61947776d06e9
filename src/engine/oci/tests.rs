//! From a spec to config.json, with hand-checked expectations.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::engine::ErrorKind;
use crate::engine::spec::{
    BlkioDevice, CgroupFacts, CgroupManager, CgroupMode, Defaults, IdMapping, ImageConfig, LimitFacts,
    MountKind, MountSpec, NamespaceMode, Propagation, UserNamespace,
};
use serde_json::{Value, json};

/// A host with cgroup v2 and all controllers, as root.
fn root_host() -> HostFacts {
    HostFacts {
        cgroup: CgroupFacts {
            mode: CgroupMode::V2,
            controllers: ["memory", "cpu", "pids", "io", "cpuset"].map(str::to_owned).into(),
            own: "/user.slice/session.scope".into(),
            writable: true,
            swap: true,
            no_io_weight: false,
        },
        bounding: (1 << 41) - 1,
        limits: LimitFacts { may_raise: true, nr_open: 1 << 30, ..LimitFacts::default() },
        arch: "x86_64".into(),
        kernel: (6, 12),
        ..HostFacts::default()
    }
}

fn user_host() -> HostFacts {
    let map = |outside| vec![row(0, outside, 1), row(1, 100_000, 65536)];
    HostFacts {
        rootless: true,
        caller_uid: 1000,
        caller_gid: 1000,
        uid_map: map(1000),
        gid_map: map(1000),
        limits: LimitFacts {
            current: [("nofile".to_owned(), (1024, 4096)), ("nproc".to_owned(), (100, 200))].into(),
            ..LimitFacts::default()
        },
        ..root_host()
    }
}

fn row(container_id: u32, host_id: u32, size: u32) -> IdMapping {
    IdMapping { container_id, host_id, size }
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

fn make(
    host: &HostFacts,
    change: impl FnOnce(&mut ContainerSpec, &mut Resolved),
) -> crate::engine::Result<Value> {
    let mut wanted = ContainerSpec { read_only_tmpfs: true, ..ContainerSpec::default() };
    wanted.process.command = strings(&["sh"]);
    let id = "0123456789abcdef".repeat(4);
    let mut resolved = Resolved { id: id.clone(), rootfs: "/rootfs".into(), ..Resolved::default() };
    change(&mut wanted, &mut resolved);
    complete(&mut wanted, Some(&ImageConfig::default()), &Defaults::default(), host)?;
    resolved.hostname = files::hostname(&wanted, "host", &id);
    resolved.id_maps = idmap::maps(&wanted.namespaces.user, host, &idmap::AutoPool::default())?;
    resolved.cgroups_path = cgroups_path(&wanted, host, &id)?;
    Ok(serde_json::to_value(spec(&wanted, host, &resolved)?).unwrap())
}

fn config(host: &HostFacts, change: impl FnOnce(&mut ContainerSpec, &mut Resolved)) -> Value {
    make(host, change).unwrap()
}

/// The mount at `target`: its type, source and options.
fn mount(config: &Value, target: &str) -> Option<(String, String, Vec<String>)> {
    let mount = config["mounts"].as_array().unwrap().iter().find(|m| m["destination"] == target)?;
    let text = |key: &str| mount[key].as_str().unwrap_or_default().to_owned();
    let options = mount["options"].as_array().unwrap().iter().map(|o| o.as_str().unwrap().to_owned());
    Some((text("type"), text("source"), options.collect()))
}

fn has_option(config: &Value, target: &str, option: &str) -> bool {
    mount(config, target).unwrap().2.iter().any(|o| o == option)
}

fn namespaces(config: &Value) -> Vec<String> {
    let list = config["linux"]["namespaces"].as_array().unwrap();
    let show = |n: &Value| match n["path"].as_str() {
        Some(path) => format!("{}={path}", n["type"].as_str().unwrap()),
        None => n["type"].as_str().unwrap().to_owned(),
    };
    let mut names: Vec<String> = list.iter().map(show).collect();
    names.sort();
    names
}

fn nothing(_: &mut ContainerSpec, _: &mut Resolved) {}

#[test]
fn a_plain_container_of_root() {
    let mut got = config(&root_host(), nothing);
    assert_eq!(got["ociVersion"], "1.0.2");
    assert_eq!(got["root"], json!({"path": "/rootfs", "readonly": false}));
    assert_eq!(got["hostname"], "0123456789ab");
    let process = got["process"].take();
    assert_eq!(process["args"], json!(["sh"]));
    assert_eq!(process["cwd"], "/");
    assert_eq!(process["user"], json!({"uid": 0, "gid": 0, "umask": 18}));
    assert_eq!(
        process["env"],
        json!([
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "container=podman",
            "HOME=/root",
            "HOSTNAME=0123456789ab"
        ])
    );
    assert_eq!(process["capabilities"]["bounding"].as_array().unwrap().len(), 11);
    assert_eq!(process["capabilities"]["inheritable"], json!([]));
    assert_eq!(
        process["rlimits"],
        json!([
            {"type": "RLIMIT_NOFILE", "hard": 1 << 20, "soft": 1 << 20},
            {"type": "RLIMIT_NPROC", "hard": 1 << 20, "soft": 1 << 20}
        ])
    );
    let targets: Vec<&str> =
        got["mounts"].as_array().unwrap().iter().map(|m| m["destination"].as_str().unwrap()).collect();
    assert_eq!(targets, ["/proc", "/dev", "/sys", "/dev/pts", "/dev/mqueue", "/sys/fs/cgroup"]);
    assert!(has_option(&got, "/dev/pts", "gid=5") && has_option(&got, "/sys", "ro"));
    assert_eq!(namespaces(&got), ["cgroup", "ipc", "mount", "network", "pid", "uts"]);
    let linux = &got["linux"];
    assert_eq!(linux["sysctl"], json!({"net.ipv4.ping_group_range": "0 0"}));
    assert_eq!(linux["cgroupsPath"], format!("/coracle/coracle-{}", "0123456789abcdef".repeat(4)));
    assert_eq!(linux["resources"]["pids"], json!({"limit": 2048}));
    assert_eq!(linux["resources"]["devices"], json!([{"allow": false, "access": "rwm"}]));
    assert_eq!(linux["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    assert!(linux["maskedPaths"].as_array().unwrap().contains(&json!("/proc/kcore")));
    assert!(linux["readonlyPaths"].as_array().unwrap().contains(&json!("/proc/sys")));
}

#[test]
fn a_plain_container_of_a_user() {
    let host = HostFacts { cgroup_manager: CgroupManager::Disabled, ..user_host() };
    let got = config(&host, nothing);
    assert_eq!(got["linux"].get("resources"), None);
    assert_eq!(got["linux"].get("cgroupsPath"), None);
    assert_eq!(got["process"]["rlimits"][0]["hard"], 4096);
    assert_eq!(got["process"]["rlimits"][1]["soft"], 200);
    assert_eq!(mount(&got, "/sys").unwrap().0, "sysfs");
    assert!(has_option(&got, "/dev/pts", "gid=5"));
    let lonely = HostFacts { gid_map: vec![row(0, 1000, 1)], ..host.clone() };
    assert!(!has_option(&config(&lonely, nothing), "/dev/pts", "gid=5"));
    // The host's network: only the host may mount its sysfs.
    let got = config(&host, |s, _| s.namespaces.network = NamespaceMode::Host);
    assert_eq!(mount(&got, "/sys").unwrap().0, "bind");
    assert!(got["linux"]["maskedPaths"].as_array().unwrap().contains(&json!("/sys/kernel")));
    assert_eq!(got["linux"].get("sysctl"), None);
    let got = config(&host, |s, _| s.namespaces.pid = NamespaceMode::Host);
    assert_eq!(mount(&got, "/proc").unwrap().0, "bind");
    assert_eq!(got["linux"]["readonlyPaths"], json!([]));
}

#[test]
fn the_message_queues_of_a_shared_ipc_namespace() {
    let host_ipc = |s: &mut ContainerSpec, _: &mut Resolved| s.namespaces.ipc = NamespaceMode::Host;
    assert_eq!(mount(&config(&root_host(), host_ipc), "/dev/mqueue").unwrap().0, "mqueue");
    assert!(mount(&config(&user_host(), host_ipc), "/dev/mqueue").is_none());
    let host = HostFacts { shared_mqueue: true, ..user_host() };
    assert_eq!(mount(&config(&host, host_ipc), "/dev/mqueue").unwrap().0, "bind");
    let host = HostFacts { no_mqueue: true, ..root_host() };
    assert!(mount(&config(&host, nothing), "/dev/mqueue").is_none());
}

#[test]
fn namespaces_of_every_mode() {
    let got = config(&root_host(), |s, _| {
        let n = &mut s.namespaces;
        for mode in [&mut n.pid, &mut n.network, &mut n.ipc, &mut n.uts, &mut n.cgroup] {
            *mode = NamespaceMode::Host;
        }
    });
    assert_eq!(namespaces(&got), ["mount"]);
    assert_eq!(got.get("hostname"), None);
    assert!(got["process"]["env"].as_array().unwrap().contains(&json!("HOSTNAME=host")));

    let got = config(&root_host(), |s, r| {
        s.namespaces.pid = NamespaceMode::Container("other".into());
        s.namespaces.network = NamespaceMode::Path("/run/netns/x".into());
        s.namespaces.ipc = NamespaceMode::None;
        r.joined.insert(Kind::Pid, "/proc/7/ns/pid".into());
    });
    let want = ["cgroup", "ipc", "mount", "network=/run/netns/x", "pid=/proc/7/ns/pid", "uts"];
    assert_eq!(namespaces(&got), want);
    assert!(make(&root_host(), |s, _| s.namespaces.pid = NamespaceMode::Container("gone".into())).is_err());

    let v1 = HostFacts {
        cgroup: CgroupFacts { mode: CgroupMode::Hybrid, ..CgroupFacts::default() },
        ..root_host()
    };
    assert!(!namespaces(&config(&v1, nothing)).contains(&"cgroup".to_owned()));
    let own = |s: &mut ContainerSpec, _: &mut Resolved| s.namespaces.cgroup = NamespaceMode::Private;
    assert!(namespaces(&config(&v1, own)).contains(&"cgroup".to_owned()));
}

#[test]
fn user_namespaces() {
    let got = config(&user_host(), |s, r| {
        s.namespaces.user = UserNamespace::KeepId { uid: None, gid: None, size: None };
        r.user = User { uid: 1000, gid: 1000, additional_gids: vec![44, 99_999], ..User::default() };
    });
    assert!(namespaces(&got).contains(&"user".to_owned()));
    assert_eq!(
        got["linux"]["uidMappings"],
        json!([
            {"containerID": 0, "hostID": 1, "size": 1000},
            {"containerID": 1000, "hostID": 0, "size": 1},
            {"containerID": 1001, "hostID": 1001, "size": 64536}
        ])
    );
    // A group the namespace does not map cannot be set.
    assert_eq!(got["process"]["user"]["additionalGids"], json!([1000, 44]));
    assert_eq!(got["process"]["capabilities"]["effective"], json!([]));

    let narrow = UserNamespace::Mapped { uid_maps: vec![row(0, 100_000, 3)], gid_maps: vec![] };
    let got = config(&root_host(), |s, _| s.namespaces.user = narrow);
    assert!(!has_option(&got, "/dev/pts", "gid=5"));
    assert_eq!(got["linux"]["resources"].get("devices"), None);

    let joined = config(&user_host(), |s, r| {
        s.namespaces.user = UserNamespace::Container("x".into());
        s.namespaces.network = NamespaceMode::Container("x".into());
        r.joined.insert(Kind::User, "/proc/7/ns/user".into());
        r.joined.insert(Kind::Net, "/proc/7/ns/net".into());
    });
    assert!(namespaces(&joined).contains(&"user=/proc/7/ns/user".to_owned()));
    assert_eq!(joined["linux"].get("uidMappings"), None);
    assert_eq!(mount(&joined, "/sys").unwrap().0, "bind");
}

#[test]
fn privileged() {
    let mut host = root_host();
    host.devices = vec![HostDevice {
        source: "/dev/kvm".into(),
        target: "/dev/kvm".into(),
        major: 10,
        minor: 232,
        mode: 0o660,
        ..HostDevice::default()
    }];
    let privileged = |s: &mut ContainerSpec, _: &mut Resolved| s.security.privileged = true;
    let got = config(&host, privileged);
    assert_eq!(got["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 41);
    assert_eq!(got["linux"].get("seccomp"), None);
    assert_eq!((&got["linux"]["maskedPaths"], &got["linux"]["readonlyPaths"]), (&json!([]), &json!([])));
    assert_eq!(got["linux"]["devices"][0]["path"], "/dev/kvm");
    assert_eq!(got["linux"]["resources"]["devices"], json!([{"allow": true, "access": "rwm"}]));
    assert!(has_option(&got, "/sys", "rw") && has_option(&got, "/sys/fs/cgroup", "rw"));
    // A user binds the nodes: mknod is not for them.
    let rootless = HostFacts { devices: host.devices, ..user_host() };
    let got = config(&rootless, privileged);
    assert_eq!(mount(&got, "/dev/kvm").unwrap().0, "bind");
    assert_eq!(got["linux"].get("devices"), None);
}

#[test]
fn mounts_of_every_kind_parents_first() {
    let got = config(&root_host(), |s, r| {
        let at = |kind, source: &str, target: &str| MountSpec {
            kind,
            source: source.into(),
            target: target.into(),
            ..MountSpec::default()
        };
        let mut bind = at(MountKind::Bind, "/src", "/a/b/c");
        bind.read_only = true;
        bind.options = strings(&["noexec"]);
        bind.bind.propagation = Some(Propagation::RShared);
        let mut flat = at(MountKind::Bind, "/flat", "/flat");
        flat.bind.non_recursive = true;
        let mut memory = at(MountKind::Tmpfs, "", "/a");
        memory.options = strings(&["size=1024", "exec", "notmpcopyup"]);
        s.mounts =
            vec![bind, flat, memory, at(MountKind::Volume, "", "/vol"), at(MountKind::Tmpfs, "", "/dev/shm")];
        r.sources.insert("/vol".into(), "/store/vol".into());
        r.inherited_flags.insert("/flat".into(), strings(&["nodev"]));
        r.files.shm = Some("/run/shm".into());
        r.files.hosts = Some("/run/hosts".into());
    });
    let depth = |m: &Value| m["destination"].as_str().unwrap().matches('/').count();
    let depths: Vec<usize> = got["mounts"].as_array().unwrap().iter().map(depth).collect();
    assert!(depths.is_sorted(), "{depths:?}");
    let options = |target: &str| mount(&got, target).unwrap().2;
    assert_eq!(options("/a/b/c"), strings(&["ro", "rshared", "noexec", "rbind"]));
    assert_eq!(options("/flat"), strings(&["rw", "private", "nodev", "bind"]));
    assert_eq!(options("/a"), strings(&["rw", "rprivate", "nosuid", "nodev", "size=1024", "exec"]));
    assert_eq!(mount(&got, "/vol").unwrap().1, "/store/vol");
    assert_eq!(mount(&got, "/dev/shm").unwrap().0, "tmpfs");
    assert_eq!(mount(&got, "/etc/hosts").unwrap().1, "/run/hosts");
    assert_eq!(got["linux"]["rootfsPropagation"], "shared");
    let missing = |s: &mut ContainerSpec, _: &mut Resolved| {
        s.mounts = vec![MountSpec { kind: MountKind::Volume, target: "/v".into(), ..MountSpec::default() }];
    };
    assert!(make(&root_host(), missing).is_err());
}

#[test]
fn the_users_dev_replaces_ours() {
    let got = config(&root_host(), |s, _| {
        s.mounts = vec![MountSpec { source: "/dev".into(), target: "/dev".into(), ..MountSpec::default() }];
    });
    assert_eq!(mount(&got, "/dev").unwrap().0, "bind");
    assert!(mount(&got, "/dev/pts").is_none() && mount(&got, "/proc").is_some());
}

#[test]
fn id_mapped_binds() {
    let with = |text: &'static str, user: UserNamespace| {
        make(&root_host(), move |s, _| {
            let mut mount = MountSpec { source: "/s".into(), target: "/t".into(), ..MountSpec::default() };
            mount.bind.idmap = Some(text.into());
            s.mounts = vec![mount];
            s.namespaces.user = user;
        })
    };
    let mapped = UserNamespace::Mapped { uid_maps: vec![row(0, 100_000, 1000)], gid_maps: vec![] };
    let of = |c: &Value| {
        c["mounts"].as_array().unwrap().iter().find(|m| m["destination"] == "/t").unwrap().clone()
    };
    let got = of(&with("", mapped).unwrap());
    assert_eq!(got["uidMappings"], json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]));
    let got = of(&with("uids=0-5-1#1-9-2;gids=0-1-1", UserNamespace::Host).unwrap());
    assert_eq!(got["uidMappings"][1], json!({"containerID": 1, "hostID": 9, "size": 2}));
    assert_eq!(got["gidMappings"], json!([{"containerID": 0, "hostID": 1, "size": 1}]));
    for bad in ["", "uids=0-5-1", "uids=x;gids=0-1-1", "bogus"] {
        assert!(with(bad, UserNamespace::Host).is_err(), "{bad}");
    }
}

#[test]
fn overlays_over_a_host_directory() {
    let with = |host: &HostFacts, options: &[&str], prepared: bool| {
        let options = strings(options);
        make(host, move |s, r| {
            let mut mount =
                MountSpec { source: "/s:1".into(), target: "/t".into(), options, ..MountSpec::default() };
            mount.bind.overlay = true;
            s.mounts = vec![mount];
            if prepared {
                r.overlays.insert("/t".into(), ("/c/upper".into(), "/c/work".into()));
            }
        })
    };
    let got = mount(&with(&root_host(), &[], true).unwrap(), "/t").unwrap();
    let want = strings(&["lowerdir=/s\\:1", "upperdir=/c/upper", "workdir=/c/work", "private"]);
    assert_eq!((got.0.as_str(), got.2), ("overlay", want));
    assert!(has_option(&with(&user_host(), &[], true).unwrap(), "/t", "userxattr"));
    let named = with(&root_host(), &["upperdir=/u", "workdir=/w"], false).unwrap();
    assert!(has_option(&named, "/t", "upperdir=/u") && has_option(&named, "/t", "workdir=/w"));
    assert!(with(&root_host(), &[], false).is_err());
    assert!(with(&root_host(), &["upperdir=/a,b", "workdir=/w"], false).is_err());
}

#[test]
fn read_only_roots() {
    let read_only = |tmpfs| {
        move |s: &mut ContainerSpec, _: &mut Resolved| (s.read_only, s.read_only_tmpfs) = (true, tmpfs)
    };
    let got = config(&root_host(), read_only(true));
    assert_eq!(got["root"]["readonly"], true);
    for target in ["/tmp", "/run", "/var/tmp"] {
        assert_eq!(mount(&got, target).unwrap().0, "tmpfs", "{target}");
    }
    assert!(!has_option(&got, "/dev", "ro"));
    let got = config(&root_host(), read_only(false));
    assert!(mount(&got, "/tmp").is_none() && has_option(&got, "/dev", "ro"));
}

#[test]
fn systemd_as_the_command() {
    let got = config(&root_host(), |s, _| s.process.command = strings(&["/sbin/init"]));
    for target in ["/run", "/run/lock", "/tmp", "/var/log/journal"] {
        assert!(mount(&got, target).is_some(), "{target}");
    }
    assert!(has_option(&got, "/sys/fs/cgroup", "rw"));
    let off = config(&root_host(), |s, _| {
        s.process.command = strings(&["/sbin/init"]);
        s.systemd = "false".into();
    });
    assert!(mount(&off, "/run/lock").is_none());
}

#[test]
fn limits_where_their_controllers_are() {
    let ask = |s: &mut ContainerSpec, r: &mut Resolved| {
        let limits = &mut s.resources;
        limits.memory = Some(1 << 30);
        limits.nano_cpus = Some(500_000_000);
        limits.cpuset_cpus = "0-1".into();
        limits.pids_limit = Some(-1);
        limits.blkio_weight = Some(100);
        limits.device_read_bps = vec![BlkioDevice { path: "/dev/sda".into(), value: 5 }];
        r.block_devices.insert("/dev/sda".into(), (8, 0));
    };
    let got = config(&root_host(), ask);
    let limits = &got["linux"]["resources"];
    assert_eq!(limits["memory"], json!({"limit": 1_i64 << 30, "swap": 2_i64 << 30}));
    assert_eq!(limits["cpu"], json!({"quota": 50_000, "period": 100_000, "cpus": "0-1"}));
    assert_eq!(limits["pids"], json!({"limit": -1}));
    assert_eq!(limits["blockIO"]["throttleReadBpsDevice"], json!([{"major": 8, "minor": 0, "rate": 5}]));

    let mut host = root_host();
    host.cgroup.swap = false;
    assert_eq!(config(&host, ask)["linux"]["resources"]["memory"], json!({"limit": 1_i64 << 30}));
    host.cgroup.controllers.clear();
    let limits = config(&host, ask)["linux"]["resources"].clone();
    assert_eq!(limits, json!({"devices": [{"allow": false, "access": "rwm"}]}));

    let unified = |s: &mut ContainerSpec, _: &mut Resolved| {
        s.resources.unified.insert("memory.high".into(), "1".into());
    };
    assert_eq!(config(&root_host(), unified)["linux"]["resources"]["unified"], json!({"memory.high": "1"}));
    host.cgroup.mode = CgroupMode::V1;
    assert_eq!(make(&host, unified).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn paths_of_cgroups() {
    let path = |host: &HostFacts, parent: &str, mode: &str| {
        let spec =
            ContainerSpec { cgroup_parent: parent.into(), cgroups: mode.into(), ..ContainerSpec::default() };
        cgroups_path(&spec, host, "ID")
    };
    let with = |cgroup_manager, host: HostFacts| HostFacts { cgroup_manager, ..host };
    let (fs, systemd) = (CgroupManager::Cgroupfs, CgroupManager::Systemd);
    let cases = [
        (with(fs, root_host()), "", "", "/coracle/coracle-ID"),
        (with(fs, root_host()), "mine", "", "/mine/coracle-ID"),
        (with(fs, root_host()), "/a/b/", "", "/a/b/coracle-ID"),
        (with(fs, root_host()), "", "split", "/user.slice/session.scope/coracle-payload-ID"),
        (with(fs, root_host()), "", "disabled", ""),
        (with(systemd, root_host()), "", "split", "/user.slice/session.scope/coracle-payload-ID"),
        (with(systemd, root_host()), "", "disabled", ""),
        (with(systemd, root_host()), "", "", "machine.slice:coracle:ID"),
        (with(systemd, user_host()), "", "", "user.slice:coracle:ID"),
        (with(systemd, root_host()), "a.slice", "", "a.slice:coracle:ID"),
        (with(CgroupManager::Disabled, user_host()), "x", "", ""),
    ];
    for (host, parent, mode, want) in cases {
        assert_eq!(path(&host, parent, mode).unwrap(), want, "{parent:?} {mode:?}");
    }
    assert!(path(&root_host(), "../../escape", "").is_err());
    assert!(path(&with(systemd, root_host()), "notaslice", "").is_err());
}

#[test]
fn what_would_change_the_host_is_refused() {
    for (name, mode) in
        [("net.ipv4.ip_forward", "network"), ("fs.mqueue.msg_max", "IPC"), ("kernel.hostname", "UTS")]
    {
        let e = make(&root_host(), |s, _| {
            s.sysctls.insert(name.into(), "1".into());
            s.namespaces.network = NamespaceMode::Host;
            s.namespaces.ipc = NamespaceMode::Host;
            s.namespaces.uts = NamespaceMode::Host;
        })
        .unwrap_err();
        assert!(e.to_string().contains(mode), "{e}");
    }
    for workdir in ["/proc/self/fd/8", "/proc/self/fd/8/../.."] {
        assert!(make(&root_host(), |s, _| s.process.workdir = workdir.into()).is_err(), "{workdir}");
    }
    assert!(make(&root_host(), |s, _| s.process.command.clear()).is_err());
    assert!(make(&root_host(), |s, _| s.security.apparmor = "mine".into()).is_err());
    assert!(make(&user_host(), |s, _| s.device_cgroup_rules = strings(&["c 1:3 r"])).is_err());
}

#[test]
fn the_init_program_and_the_terminal() {
    let got = config(&root_host(), |s, r| {
        s.init = true;
        s.process.terminal = true;
        r.init = Some("/usr/bin/catatonit".into());
    });
    assert_eq!(got["process"]["args"], json!(["/run/podman-init", "--", "sh"]));
    assert_eq!(got["process"]["terminal"], true);
    assert!(got["process"]["env"].as_array().unwrap().contains(&json!("TERM=xterm")));
    assert_eq!(mount(&got, "/run/podman-init").unwrap().1, "/usr/bin/catatonit");
}

#[test]
fn groups_of_the_caller_are_kept_by_annotation() {
    let got = config(&user_host(), |_, r| r.keep_groups = true);
    assert_eq!(got["annotations"], json!({"run.oci.keep_original_groups": "1"}));
    assert_eq!(got["process"]["user"].get("additionalGids"), None);
}
