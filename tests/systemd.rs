//! What only a host with systemd and cgroup v2 shows. `make test-vm` has one, and runs these as root and as a user who
//! is logged in; as root they look at root's containers, as a user at that user's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Cmd, Missing, Sandbox, Who, elsewhere, eventually, is_root, program, require};

/// A sandbox in which nothing is said about cgroups; `None`, after a word, without systemd.
fn sandbox() -> Option<Result<Sandbox, Missing>> {
    if !PathBuf::from("/run/systemd/system").is_dir() {
        elsewhere("systemd (make test-vm)");
        return None;
    }
    let sandbox = if is_root() { Sandbox::root() } else { Sandbox::user() };
    Some(sandbox.inspect(|sandbox| {
        let conf = sandbox.read("conf/containers.conf").replace("cgroup_manager = \"cgroupfs\"\n", "");
        sandbox.write("conf/containers.conf", conf);
        sandbox.pull("lab/busybox");
    }))
}

macro_rules! sandbox {
    () => {
        match sandbox() {
            Some(sandbox) => require!(sandbox),
            None => return,
        }
    };
}

/// `run -d FLAGS lab/busybox sleep 600`; returns the ID.
fn sleeper(sandbox: &Sandbox, flags: &[&str]) -> String {
    let run = sandbox.coracle(["run", "-d"]).args(flags.iter().copied());
    run.args(["lab/busybox", "sleep", "600"]).ok().text().to_owned()
}

fn inspect(sandbox: &Sandbox, id: &str, template: &str) -> String {
    sandbox.coracle(["inspect", "--format", template, id]).ok().text().to_owned()
}

/// The cgroup of a process in the host's eyes, below /sys/fs/cgroup.
fn cgroup_of(pid: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
}

fn cgroup(sandbox: &Sandbox, id: &str) -> String {
    cgroup_of(&inspect(sandbox, id, "{{.State.Pid}}"))
}

fn setting(cgroup: &str, file: &str) -> String {
    let path = format!("/sys/fs/cgroup{cgroup}/{file}");
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}")).trim().to_owned()
}

/// systemctl or systemd-run for the manager of the sandbox's user.
fn manager(sandbox: &Sandbox, name: &str) -> Cmd {
    let command = sandbox.command([program(name).unwrap()]);
    match sandbox.who {
        Who::Root => command,
        Who::User => command.arg("--user").env("XDG_RUNTIME_DIR", format!("/run/user/{}", sandbox.uid())),
    }
}

fn systemctl(sandbox: &Sandbox) -> Cmd {
    manager(sandbox, "systemctl")
}

/// Where systemd keeps the scopes of the sandbox's containers.
fn slice(sandbox: &Sandbox) -> String {
    match sandbox.who {
        Who::Root => "/machine.slice".to_owned(),
        Who::User => {
            let uid = sandbox.uid();
            format!("/user.slice/user-{uid}.slice/user@{uid}.service/user.slice")
        }
    }
}

#[test]
fn a_container_is_a_scope_and_so_is_its_conmon() {
    let sandbox = sandbox!();
    // What a terminal that is a service itself hands to the shells in it, which are not part of it.
    let run = sandbox.coracle(["run", "-d", "lab/busybox", "sleep", "600"]).env("INVOCATION_ID", "0123");
    let id = run.ok().text().to_owned();
    let scope = format!("coracle-{id}.scope");
    assert_eq!(cgroup(&sandbox, &id), format!("{}/{scope}/container", slice(&sandbox)));
    let show = |unit: &str| {
        systemctl(&sandbox).args(["show", "--property", "ActiveState", unit]).ok().text().to_owned()
    };
    assert_eq!(show(&scope), "ActiveState=active");
    // conmon must outlive the session or service that the command runs in.
    let conmon_pid = inspect(&sandbox, &id, "{{.State.ConmonPid}}");
    let conmon = format!("coracle-conmon-{id}-{conmon_pid}.scope");
    assert_eq!(cgroup_of(&conmon_pid), format!("{}/{conmon}", slice(&sandbox)));
    if sandbox.who == Who::User {
        let pause = sandbox.read("run/coracle/pause").split(' ').next().unwrap().to_owned();
        assert_eq!(cgroup_of(&pause), format!("{}/coracle-pause-{pause}.scope", slice(&sandbox)));
    }
    sandbox.coracle(["exec", &id, "true"]).ok();
    sandbox.coracle(["restart", "-t", "0", &id]).ok().stderr_is_empty();
    assert_eq!(cgroup(&sandbox, &id), format!("{}/{scope}/container", slice(&sandbox)));
    sandbox.coracle(["rm", "-f", "-t", "0", &id]).ok();
    for unit in [&scope, &conmon] {
        eventually(&format!("{unit} is gone"), Duration::from_secs(20), || {
            (show(unit) == "ActiveState=inactive").then_some(())
        });
    }
}

#[test]
fn limits_hold() {
    let sandbox = sandbox!();
    let flags = [
        "--memory=64m",
        "--memory-swap=96m",
        "--memory-reservation=32m",
        "--pids-limit=20",
        "--cpus=0.5",
        "--cpu-shares=512",
    ];
    let id = sleeper(&sandbox, &flags);
    let cgroup = cgroup(&sandbox, &id);
    let mib = |n: u64| (n << 20).to_string();
    for (file, want) in [
        ("memory.max", mib(64)),
        ("memory.swap.max", mib(32)),
        ("memory.low", mib(32)),
        ("pids.max", "20".into()),
        ("cpu.max", "50000 100000".into()),
    ] {
        assert_eq!(setting(&cgroup, file), want, "{file}");
    }
    assert_ne!(setting(&cgroup, "cpu.weight"), "100");
    // The container sees its own cgroup as the root, and the same numbers.
    let seen = ["exec", &id, "cat", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/pids.max", "/proc/1/cgroup"];
    let seen = sandbox.coracle(seen).ok();
    assert_eq!(seen.text(), format!("{}\n20\n0::/", mib(64)));
    let forks = "for i in $(seq 40); do sleep 60 & done";
    sandbox.coracle(["exec", &id, "sh", "-c", forks]).run().stderr_has("fork");
    sandbox.coracle(["rm", "-f", "-t", "0", &id]).ok();
    // 64 MiB of zeroes in a variable do not fit.
    let hungry = ["run", "--name", "hungry", "--memory=16m", "--memory-swap=16m", "lab/busybox"];
    let eat = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"];
    sandbox.coracle(hungry).args(eat).run().code(137);
    assert_eq!(inspect(&sandbox, "hungry", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
}

#[test]
fn cgroup_parents_and_modes() {
    let sandbox = sandbox!();
    let id = sleeper(&sandbox, &["--cgroup-parent=coracletest.slice"]);
    assert!(cgroup(&sandbox, &id).contains("/coracletest.slice/coracle-"), "{}", cgroup(&sandbox, &id));
    let own = cgroup_of("self");
    let id = sleeper(&sandbox, &["--cgroups=disabled"]);
    assert_eq!(cgroup(&sandbox, &id), own);
    let refused =
        sandbox.coracle(["run", "--rm", "--cgroups=disabled", "--memory=64m", "lab/busybox", "true"]);
    refused.run().code(125).stderr_has("--cgroups=disabled");
    let id = sleeper(&sandbox, &["--cgroups=no-conmon"]);
    assert_eq!(cgroup(&sandbox, &id), format!("{}/coracle-{id}.scope/container", slice(&sandbox)));
    assert_eq!(cgroup_of(&inspect(&sandbox, &id, "{{.State.ConmonPid}}")), own);
}

/// A service whose cgroups are its own affair: podman's way to run containers as units.
#[test]
fn split_cgroups_stay_in_their_service() {
    let sandbox = sandbox!();
    let unit = format!("coracle-split-{}.service", std::process::id());
    let properties = ["--collect", "--property=Delegate=yes", "--property=Type=exec", "--unit", &unit];
    let run = ["run", "--name", "split", "--cgroups=split", "--memory=64m", "lab/busybox", "sleep", "600"];
    let environment = ["CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "HOME"];
    let service = manager(&sandbox, "systemd-run").args(properties);
    let service = service.args(environment.map(|name| format!("--setenv={name}")));
    let service = service.arg(format!("--setenv=XDG_RUNTIME_DIR={}", sandbox.path("xdg").display()));
    service.arg(sandbox.binary()).args(sandbox.store_flags()).args(run).ok();
    let pid = eventually("the container runs", Duration::from_secs(60), || {
        let pid = sandbox.coracle(["inspect", "--format", "{{.State.Pid}}", "split"]).run();
        Some(pid.text().to_owned()).filter(|pid| pid.parse::<u32>().is_ok_and(|pid| pid > 0))
    });
    let cgroup = cgroup_of(&pid);
    assert!(cgroup.contains(&format!("/{unit}/")), "{cgroup}");
    assert_eq!(setting(&cgroup, "memory.max"), (64 << 20).to_string());
    systemctl(&sandbox).args(["stop", &unit]).ok();
    eventually("its end is known", Duration::from_secs(60), || {
        (inspect(&sandbox, "split", "{{.State.Status}}") == "exited").then_some(())
    });
}

#[test]
fn the_manager_can_be_chosen() {
    let sandbox = sandbox!();
    let manager = |flags: &[&str]| {
        let info = sandbox.bare(flags.iter().copied()).args(["info", "--format"]);
        info.arg("{{.Host.CgroupManager}} {{.Host.CgroupVersion}}").ok().text().to_owned()
    };
    assert_eq!(manager(&[]), "systemd v2");
    let flag = "--cgroup-manager=cgroupfs";
    // A login session is no cgroup a user may write to.
    let want = if sandbox.who == Who::Root { "cgroupfs" } else { "none" };
    assert_eq!(manager(&[flag]), format!("{want} v2"));
    let run = sandbox.coracle([flag, "run", "-d", "lab/busybox", "sleep", "600"]);
    let id = run.ok().text().to_owned();
    let cgroup = cgroup(&sandbox, &id);
    match sandbox.who {
        Who::Root => assert_eq!(cgroup, format!("/coracle/coracle-{id}")),
        Who::User => assert_eq!(cgroup, cgroup_of("self")),
    }
}

#[test]
fn info_tells_what_is() {
    let sandbox = sandbox!();
    let info = sandbox.bare(["info", "--format", "json"]).ok().json();
    let host = &info["host"];
    assert_eq!((&host["cgroupManager"], &host["cgroupVersion"]), (&"systemd".into(), &"v2".into()), "{host}");
    let controllers: Vec<&str> =
        host["cgroupControllers"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    for controller in ["cpu", "memory", "pids"] {
        assert!(controllers.contains(&controller), "{controllers:?}");
    }
    // Of a user's those that systemd hands down.
    assert_eq!(controllers.contains(&"misc"), sandbox.who == Who::Root, "{controllers:?}");
    assert_eq!(host["distribution"]["distribution"], "debian");
    let docker = "{{.CgroupDriver}} {{.CgroupVersion}} {{.MemoryLimit}} {{.PidsLimit}}";
    sandbox.bare(["info", "--format", docker]).ok().stdout_is("systemd 2 true true");
}

#[test]
fn the_journal_keeps_logs() {
    let sandbox = sandbox!();
    let script = "echo one; echo two >&2; sleep 2; echo three";
    let run =
        ["run", "-d", "--name", "talks", "--log-driver=journald", "--log-opt=tag=speech", "lab/busybox"];
    let id = sandbox.coracle(run).args(["sh", "-c", script]).ok().text().to_owned();
    let followed = sandbox.coracle(["logs", "-f", "talks"]).ok();
    assert_eq!((followed.stdout.as_str(), followed.stderr.as_str()), ("one\nthree\n", "two\n"));
    let again = sandbox.coracle(["logs", "talks"]).ok();
    assert_eq!((again.stdout.as_str(), again.stderr.as_str()), ("one\nthree\n", "two\n"));
    sandbox.coracle(["logs", "--tail", "1", "talks"]).ok().stdout_is("three");
    let times = sandbox.coracle(["logs", "-t", "talks"]).ok();
    let third = times.stdout.lines().last().unwrap().split(' ').next().unwrap().to_owned();
    sandbox.coracle(["logs", "--since", &third, "talks"]).ok().stdout_is("three").stderr_is_empty();
    let before = sandbox.coracle(["logs", "--until", &third, "talks"]).ok();
    assert_eq!((before.stdout.lines().next(), before.stderr.as_str()), (Some("one"), "two\n"), "{before}");
    // As journalctl's users look for it.
    let journal = sandbox.command([require!(program("journalctl"))]);
    let journal = journal.args(["--quiet", "--output=cat", "CONTAINER_TAG=speech"]);
    let journal = journal.arg(format!("CONTAINER_ID_FULL={id}")).ok();
    // conmon 2.1.12 keeps the end of a line in its message.
    let said: Vec<&str> = journal.stdout.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(said, ["one", "two", "three"]);
    assert_eq!(inspect(&sandbox, "talks", "{{.HostConfig.LogConfig.Type}}"), "journald");
    sandbox.coracle(["restart", "talks"]).ok();
    let all = sandbox.coracle(["logs", "-f", "talks"]).ok();
    assert_eq!(all.stdout, "one\nthree\none\nthree\n");
}

/// What confines a container's process, as the kernel tells it; the profiles of Debian and Ubuntu that only give names to
/// crun and others are no confinement.
fn confinement(sandbox: &Sandbox, flags: &[&str]) -> String {
    let run = sandbox.coracle(["run", "--rm"]).args(flags.iter().copied());
    let said = run.args(["lab/busybox", "cat", "/proc/self/attr/current"]).ok();
    if said.text().ends_with(" (unconfined)") { "unconfined".into() } else { said.text().into() }
}

#[test]
fn apparmor_confines_roots_containers() {
    let sandbox = sandbox!();
    let options = "{{.AppArmorProfile}}";
    let run = |flags: &[&str], script: &str| {
        let run = sandbox.coracle(["run", "--rm"]).args(flags.iter().copied());
        run.args(["lab/busybox", "sh", "-c", script]).run()
    };
    // Even where the mounts that hide things are taken away, and capabilities given.
    let naked = ["--security-opt=unmask=ALL", "--cap-add=ALL", "--security-opt=seccomp=unconfined"];
    let unconfined = "--security-opt=apparmor=unconfined";
    if sandbox.who == Who::User {
        // As with podman: a user cannot load a profile, and needs none to be kept from the host's.
        assert_eq!(confinement(&sandbox, &[]), "unconfined");
        assert_eq!(confinement(&sandbox, &[unconfined]), "unconfined");
        run(&["--security-opt=apparmor=no-such-profile"], "true").code(125).stderr_has("not loaded");
        return;
    }
    let name = format!("coracle-default-{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(confinement(&sandbox, &[]), format!("{name} (enforce)"));
    assert_eq!(confinement(&sandbox, &[unconfined]), "unconfined");
    assert_eq!(confinement(&sandbox, &["--privileged"]), "unconfined");
    assert!(fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap().contains(&name));
    let id = sleeper(&sandbox, &["--name=held"]);
    assert_eq!(inspect(&sandbox, &id, options), name);
    let own = ["exec", "held", "cat", "/proc/self/attr/current"];
    sandbox.coracle(own).ok().stdout_is(&format!("{name} (enforce)"));
    let own = ["exec", "--privileged", "held", "cat", "/proc/self/attr/current"];
    sandbox.coracle(own).ok().stdout_has("unconfined");
    sandbox.coracle(["kill", "--signal=HUP", "held"]).ok();
    sandbox.coracle(["stop", "-t", "0", "held"]).ok();
    for forbidden in [
        "mkdir /m && mount -t tmpfs x /m",
        "mount --bind /etc /root",
        "echo x >/proc/sysrq-trigger",
        "echo 1 >/proc/sys/vm/drop_caches",
        "echo x >/proc/sys/kernel/core_pattern",
        "head -c 1 /proc/kcore",
    ] {
        let outcome = run(&naked, forbidden);
        assert_ne!(outcome.exit_code(), 0, "{forbidden}: {outcome}");
        outcome.stderr_has("denied");
    }
    // What a privileged container may do, it may not under a profile of its own.
    let held = ["--privileged", &format!("--security-opt=apparmor={name}")];
    run(&held, "echo 1 >/sys/kernel/mm/ksm/run").stderr_has("denied");
    run(&["--privileged"], "echo 0 >/sys/kernel/mm/ksm/run").code(0);
    for allowed in [
        "echo 4096 >/proc/sys/kernel/shmmni && cat /proc/sys/kernel/shmmni",
        "mkdir -p /a/b && touch /a/b/c && rm -r /a && ln -s x /y && chown -h 1:1 /y",
        "sleep 60 & kill $! && wait $! || true",
        "echo 500 >/proc/self/oom_score_adj && ls -l /proc/1/ns && cat /proc/meminfo /sys/class/net/lo/mtu",
        "nc -l -p 7 -e echo hello & usleep 300000; nc 127.0.0.1 7 </dev/null | grep hello",
    ] {
        run(&naked, allowed).code(0);
    }
    run(&[unconfined, naked[0], naked[1], naked[2]], "mkdir /m && mount -t tmpfs x /m").code(0);
    run(&["--security-opt=apparmor=no-such-profile"], "true").code(125).stderr_has("not loaded");
    let create = sandbox.coracle(["create", "--security-opt=apparmor=no-such-profile", "lab/busybox"]);
    create.run().code(125).stderr_has("not loaded");
    let docker =
        sandbox.bare(["info", "--format", "{{.SecurityOptions}} {{.Host.Security.AppArmorEnabled}}"]);
    docker.ok().stdout_has("name=apparmor").stdout_has("true");
}

/// The profile by which Ubuntu 24.04 lets us make user namespaces (scripts/apparmor): it loads, and it hinders nothing.
#[test]
fn the_programs_own_profile() {
    let sandbox = sandbox!();
    if sandbox.who == Who::User {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/apparmor");
    let text = sandbox.command([script.as_os_str()]).args(["--print".into(), sandbox.binary()]).ok().stdout;
    let profile = sandbox.write("profile", text);
    let parser = |flag: &str| {
        sandbox.command([program("apparmor_parser").unwrap()]).args([flag.as_ref(), profile.as_os_str()]).ok()
    };
    parser("--replace");
    let running = sandbox.coracle(["run", "--rm", "--name=named", "lab/busybox", "sleep", "600"]).spawn();
    eventually("it runs", Duration::from_secs(60), || {
        let state = sandbox.coracle(["inspect", "--format", "{{.State.Status}}", "named"]).run();
        (state.text() == "running").then_some(())
    });
    let label = fs::read_to_string(format!("/proc/{}/attr/current", running.pid())).unwrap();
    sandbox.coracle(["rm", "-f", "-t", "0", "named"]).ok();
    running.wait();
    parser("--remove");
    let name = format!("coracle{}", sandbox.binary().to_string_lossy().replace('/', "."));
    assert_eq!(label.trim(), format!("{name} (unconfined)"));
}
