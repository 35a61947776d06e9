//! Flags of run as a process inside sees them, for root and for an ordinary user.

use std::time::Duration;

use crate::support::{Missing, Sandbox, require};

fn both() -> Result<Vec<Sandbox>, Missing> {
    let sandboxes = Sandbox::both()?;
    for sandbox in &sandboxes {
        sandbox.pull("lab/busybox");
    }
    Ok(sandboxes)
}

/// `run --rm FLAGS lab/busybox sh -c SCRIPT`, which must succeed; what it printed.
fn run(sandbox: &Sandbox, flags: &str, script: &str) -> String {
    let flags = shell_words::split(flags).unwrap();
    let argv = ["run", "--rm"].map(str::to_owned).into_iter().chain(flags);
    let argv = argv.chain(["lab/busybox", "sh", "-c", script].map(str::to_owned));
    sandbox.coracle(argv).ok().text().trim_end().to_owned()
}

/// The same for a command line that is refused; what was said.
fn refused(sandbox: &Sandbox, flags: &str) -> String {
    let flags = shell_words::split(flags).unwrap();
    let argv = ["run", "--rm"].map(str::to_owned).into_iter().chain(flags);
    sandbox.coracle(argv.chain(["lab/busybox", "true"].map(str::to_owned))).fails(125).stderr
}

#[test]
fn users_directories_and_settings_of_the_process() {
    for s in &require!(both()) {
        assert_eq!(run(s, "-u 7:8 --group-add 9", "id -u; id -g; id -G"), "7\n8\n8 9");
        assert_eq!(run(s, "-w /made/for/it -u 7", "pwd; stat -c %u ."), "/made/for/it\n7");
        assert_eq!(run(s, "--umask 0077", "umask"), "0077");
        assert_eq!(run(s, "--oom-score-adj 700", "cat /proc/self/oom_score_adj"), "700");
        assert_eq!(run(s, "--ulimit nofile=100:200", "ulimit -Sn; ulimit -Hn"), "100\n200");
        assert!(refused(s, "--ulimit nofile=1:99999999999").contains("exceeds this host's hard limit"));
        assert!(refused(s, "-u nobodyknows").contains("unable to find user nobodyknows"));
        s.coracle(["run", "--rm", "--entrypoint", "echo", "lab/busybox", "-n", "x"]).ok().stdout_is("x");
        s.coracle(["run", "--rm", "--init", "lab/busybox", "cat", "/proc/1/comm"])
            .ok()
            .stdout_has("podman-init");
    }
}

#[test]
fn the_environment() {
    for s in &require!(both()) {
        let file = s.write("env", "# comment\nFROM_FILE=a b\nFROM_CALLER\nFILE_GLOB*\n");
        let flags =
            format!("--env-file {} -e A=1 -e A=2 -e FROM_CALLER -e 'GLOB*' -e NOT_SET", file.display());
        let flags = shell_words::split(&flags).unwrap();
        let argv = ["run", "--rm"].map(str::to_owned).into_iter().chain(flags);
        let command = s.coracle(argv.chain(["lab/busybox".to_owned(), "env".to_owned()]));
        let out = command.env("FROM_CALLER", "caller").env("GLOB_1", "g").env("SECRET", "s");
        let out = out.env("FILE_GLOB_1", "f").ok();
        for line in
            ["FROM_FILE=a b", "A=2", "FROM_CALLER=caller", "GLOB_1=g", "FILE_GLOB_1=f", "container=podman"]
        {
            assert!(out.lines().contains(&line), "{line}: {}", out.text());
        }
        for absent in ["SECRET", "NOT_SET", "A=1"] {
            assert!(!out.text().contains(absent), "{absent}: {}", out.text());
        }
        assert!(run(s, "-t", "echo $TERM").starts_with("xterm"));
    }
}

#[test]
fn binds_and_memory() {
    for s in &require!(both()) {
        let source = s.write("src/f", "host").parent().unwrap().to_owned();
        let at = source.display();
        assert_eq!(run(s, &format!("-v {at}:/m"), "cat /m/f; touch /m/new && echo ok"), "hostok");
        assert_eq!(run(s, &format!("-v {at}:/m:ro"), "touch /m/no 2>/dev/null || echo no"), "no");
        assert_eq!(run(s, &format!("--mount type=bind,src={at},dst=/m,ro"), "cat /m/new /m/f"), "host");
        assert_eq!(run(s, &format!("-v {at}:/m:O"), "echo x > /m/f; rm /m/new; cat /m/f; ls /m"), "x\nf");
        assert_eq!(s.read("src/f"), "host");
        assert!(source.join("new").exists());
        let options = run(s, &format!("-v {at}:/m:noexec,nosuid,rslave"), "grep ' /m ' /proc/mounts");
        assert!(options.contains("noexec") && options.contains("nosuid"), "{options}");
        // Docker's -v makes what is missing, --mount does not.
        assert_eq!(run(s, &format!("-v {at}/made:/m"), "ls /m"), "");
        assert!(source.join("made").is_dir());
        let said = refused(s, &format!("--mount type=bind,src={at}/none,dst=/m"));
        assert!(said.contains("does not exist"), "{said}");
        let text = run(s, "--tmpfs /t:size=1m,mode=700", "stat -c %a /t; grep ' /t ' /proc/mounts");
        assert!(text.starts_with("700") && text.contains("size=1024k"), "{text}");
        assert_eq!(run(s, "-v /anonymous", "touch /anonymous/x && echo ok"), "ok");
        let shm = run(s, "--shm-size 2m", "grep ' /dev/shm ' /proc/mounts");
        assert!(shm.contains("size=2048k"), "{shm}");
        let script = "touch /x 2>/dev/null || echo no; touch /tmp/x /run/x /dev/shm/x && echo yes";
        assert_eq!(run(s, "--read-only", script), "no\nyes");
        assert_eq!(
            run(s, "--read-only --read-only-tmpfs=false", "touch /tmp/x 2>/dev/null || echo no"),
            "no"
        );
    }
}

#[test]
fn names_and_addresses() {
    for s in &require!(both()) {
        let flags =
            "--name flags-names -h inside --add-host db:192.0.2.7 --dns 192.0.2.53 --dns-search example.org";
        let text = run(s, flags, "hostname; cat /etc/hostname /etc/hosts /etc/resolv.conf");
        for line in [
            "inside",
            "192.0.2.7\tdb",
            "127.0.0.1\tinside flags-names",
            "nameserver 192.0.2.53",
            "search example.org",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}: {text}");
        }
        let text = run(
            s,
            "--no-hosts --no-hostname",
            "cat /etc/hosts /etc/hostname 2>&1 | grep -c 127.0.0.1 || true",
        );
        assert_eq!(text, "0");
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        assert_eq!(run(s, "--uts host", "hostname"), host);
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    for s in &require!(both()) {
        for (flags, phrase) in [
            ("--group-add keep-groups --group-add 5", "not allowed with any other --group-add options"),
            ("--uts host --hostname x", "conflicting options: hostname and the UTS mode"),
            ("--uts host --domainname x", "conflicting options: domainname and the UTS mode"),
            ("--memory 5m", "minimum memory limit allowed is 6MB"),
            ("--health-on-failure stop", "without a health check"),
        ] {
            let said = refused(s, flags);
            assert!(said.contains(phrase), "{flags}: {said}");
        }
    }
}

#[test]
fn namespaces_that_are_shared() {
    for s in &require!(both()) {
        let network = std::fs::read_dir("/sys/class/net").unwrap().count();
        assert_eq!(run(s, "--network host", "ls /sys/class/net | grep -c ."), network.to_string());
        assert_eq!(run(s, "--network none", "ls /sys/class/net"), "lo");
        let own = std::fs::read_link("/proc/self/ns/ipc").unwrap();
        let text = run(s, "--pid host --ipc host", "readlink /proc/self/ns/ipc; ls /proc | grep -c '^[0-9]'");
        let (ipc, count) = text.split_once('\n').unwrap();
        assert_eq!(ipc, own.to_string_lossy());
        assert!(count.parse::<u32>().unwrap() > 2, "{text}");
        s.coracle(["run", "-d", "--name", "flags-owner", "-h", "owner", "lab/busybox", "sleep", "60"]).ok();
        let flags = "--pid container:flags-owner --network container:flags-owner --uts container:flags-owner";
        let text = run(s, flags, "cat /proc/1/comm; hostname");
        assert_eq!(text, "sleep\nowner");
        s.coracle(["rm", "-f", "-t", "0", "flags-owner"]).ok();
        assert!(refused(s, "--pid container:flags-owner").contains("flags-owner"));
    }
}

#[test]
fn shared_memory_is_shared_with_whoever_joins_a_shareable_namespace() {
    for s in &require!(both()) {
        let owner = ["run", "-d", "--name", "flags-shm", "--ipc", "shareable", "--shm-size", "1m"];
        s.coracle(owner.iter().chain(&["lab/busybox", "sh", "-c", "echo kept > /dev/shm/note; sleep 60"]))
            .ok();
        let joined = "--ipc container:flags-shm";
        assert_eq!(run(s, joined, "until [ -s /dev/shm/note ]; do :; done; cat /dev/shm/note"), "kept");
        assert_eq!(run(s, joined, "df -k /dev/shm | tail -n 1 | awk '{print $2}'"), "1024");
        s.coracle(["rm", "-f", "-t", "0", "flags-shm"]).ok();
        s.coracle(["run", "-d", "--name", "flags-shm", "--ipc", "private", "lab/busybox", "sleep", "60"])
            .ok();
        assert!(refused(s, joined).contains("non-shareable IPC"));
        s.coracle(["rm", "-f", "-t", "0", "flags-shm"]).ok();
    }
}

#[test]
fn a_missing_bind_source_is_told_before_a_container_is_made() {
    for s in &require!(both()) {
        let mount = "type=bind,src=/nowhere/at/all,dst=/mnt";
        let refused = s.coracle(["run", "--mount", mount, "lab/busybox", "true"]).fails(125);
        assert!(
            refused.stderr.contains("bind source path does not exist: /nowhere/at/all"),
            "{}",
            refused.stderr
        );
        s.coracle(["ps", "-aq"]).ok().stdout_is("");
    }
}

#[test]
fn privileges() {
    for s in &require!(both()) {
        let capability = |flags: &str, field: &str| {
            let line = run(s, flags, &format!("grep {field}: /proc/self/status"));
            u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap()
        };
        assert_eq!(capability("", "CapEff"), 0x8004_05fb);
        assert_eq!(capability("", "CapInh"), 0);
        assert_eq!(capability("--cap-drop all", "CapBnd"), 0);
        assert_eq!(capability("--cap-drop ALL --cap-add net_admin", "CapEff"), 1 << 12);
        assert_eq!(capability("-u 7", "CapEff"), 0);
        assert!(capability("--privileged", "CapEff").count_ones() > 30);
        assert_eq!(capability("", "Seccomp"), 2);
        assert_eq!(capability("--security-opt seccomp=unconfined", "Seccomp"), 0);
        assert_eq!(capability("--security-opt no-new-privileges", "NoNewPrivs"), 1);
        assert_eq!(run(s, "--security-opt mask=/etc/passwd", "cat /etc/passwd"), "");
        assert_eq!(run(s, "--device /dev/zero:/dev/mine:r", "head -c 2 /dev/mine | wc -c"), "2");
        assert_eq!(run(s, "--privileged", "mount -t tmpfs x /tmp && echo ok"), "ok");
        assert_eq!(run(s, "--sysctl net.core.somaxconn=77", "cat /proc/sys/net/core/somaxconn"), "77");
        assert!(refused(s, "--sysctl vm.swappiness=1").contains("belongs to the host"));
        assert!(refused(s, "--network host --sysctl net.core.somaxconn=7").contains("network namespace"));
    }
}

#[test]
fn user_namespaces() {
    let user = require!(Sandbox::user());
    user.pull("lab/busybox");
    let caller = format!("{}\n{}", user.uid(), user.gid());
    assert_eq!(run(&user, "--userns keep-id", "id -u; id -g"), caller);
    assert_eq!(run(&user, "--userns keep-id:uid=5,gid=6", "id -u; id -g"), "5\n6");
    let kept = user.mkdir("mine");
    run(&user, &format!("--userns keep-id -v {}:/m", kept.display()), "touch /m/f");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(kept.join("f")).unwrap()), user.uid());
    assert_eq!(run(&user, "--userns nomap", "id -u"), "0");
    assert_eq!(run(&user, "--uidmap 0:1:2000", "cat /proc/self/uid_map | tr -s ' '").trim(), "0 1 2000");
    assert!(refused(&user, "--uidmap 0:0:9999999").contains("IDs"));
    let root = require!(Sandbox::root());
    root.pull("lab/busybox");
    assert_eq!(
        run(&root, "--uidmap 0:100000:2000", "cat /proc/self/uid_map | tr -s ' '").trim(),
        "0 100000 2000"
    );
    // The image's files belong to the container's root.
    assert_eq!(
        run(&root, "--uidmap 0:100000:2000", "stat -c %u:%g /bin/busybox; touch /f && stat -c %u /f"),
        "0:0\n0"
    );
    assert!(refused(&root, "--userns keep-id").contains("rootless"));
}

#[test]
fn what_waits_for_its_machinery_is_refused() {
    let s = require!(Sandbox::user());
    s.pull("lab/busybox");
    for flags in ["--pod x", "--init-ctr once"] {
        assert!(refused(&s, flags).contains("not supported yet"), "{flags}");
    }
    s.coracle(["run", "--rm", "--hostnam", "x", "lab/busybox"]).fails(125).stderr_has("--hostname");
}

#[test]
fn podmans_global_flags_stand_anywhere_and_output_goes_where_it_is_told() {
    for s in &require!(both()) {
        let debug = s.coracle(["run", "--rm", "--log-level=debug", "lab/busybox", "echo", "x"]).ok();
        debug.stdout_is("x").stderr_has("DEBUG");
        s.coracle(["ps", "--log-level", "nonsense"]).fails(125).stderr_has("--log-level");
        let file = s.path("work/out");
        let out = file.to_str().unwrap();
        s.coracle(["--out", out, "run", "--rm", "lab/busybox", "echo", "kept"]).ok().stdout_is("");
        assert_eq!(s.read("work/out"), "kept\n");
        s.coracle(["run", "-d", "--out", out, "--name", "told", "lab/busybox", "sleep", "100"])
            .ok()
            .stdout_is("");
        let id = s.coracle(["inspect", "--format", "{{.Id}}", "told"]).ok().text().to_owned();
        assert_eq!(s.read("work/out").trim(), id);
        s.coracle(["--noout", "ps", "-a"]).ok().stdout_is("");
        s.coracle(["--remote=false"]).fails(125).stderr_has("a command is missing");
        s.coracle(["rm", "-f", "-t0", "told"]).ok();
    }
}

#[test]
fn who_sees_no_output_is_told_the_id() {
    for s in &require!(both()) {
        let run = s.coracle(["run", "-i", "-a", "stdin", "--name", "eats", "lab/busybox", "cat"]);
        let id = run.stdin("food").ok().text().trim().to_owned();
        s.coracle(["inspect", "--format", "{{.Id}}", "eats"]).ok().stdout_is(&id);
        s.coracle(["logs", "eats"]).ok().stdout_is("food");
        s.coracle(["rm", "eats"]).ok();
    }
}

#[test]
fn log_files_by_their_docker_names_and_sizes() {
    for s in &require!(both()) {
        let create =
            ["create", "--name", "logs", "--log-driver", "json-file", "--log-opt", "max-size=9.091m"];
        s.coracle(create).args(["lab/busybox", "echo", "x"]).ok();
        s.coracle(["start", "-a", "logs"]).ok();
        s.coracle(["logs", "logs"]).ok().stdout_is("x");
        let format = "{{.HostConfig.LogConfig.Type}} {{.HostConfig.LogConfig.Size}}";
        s.coracle(["inspect", "--format", format, "logs"]).ok().stdout_is("json-file 9.091MB");
        for filter in ["name=^/logs$", "id=^[0-9a-f]{64}$"] {
            s.coracle(["ps", "-a", "--filter", filter, "--format", "{{.Names}}"]).ok().stdout_is("logs");
        }
        s.coracle(["start", "--filter", "restart-policy=always", "logs"]).ok().stdout_is("");
        s.coracle(["start", "--filter", "restart-policy=never"])
            .fails(1)
            .stderr_has("one of no, none, on-failure");
        let shown = s.coracle(["ps", "-a", "--format", "--{{.Names}}"]).ok();
        shown.stdout_is("--logs");
        s.coracle(["rm", "logs"]).ok();
    }
}

#[test]
fn nothing_is_made_in_a_directory_of_the_users() {
    for s in &require!(both()) {
        let run_dir = s.mkdir("work/mine");
        assert_eq!(run(s, &format!("-v {}:/run", run_dir.display()), "ls -A /run"), "");
        assert_eq!(std::fs::read_dir(&run_dir).unwrap().count(), 0);
        assert_eq!(run(s, "--tmpfs /run", "ls -A /run"), ".containerenv");
        let none = "touch /tmp/a /dev/b /dev/shm/c /run/d 2>/dev/null; ls /tmp/a /dev/b /dev/shm/c /run/d 2>/dev/null";
        assert_eq!(run(s, "--read-only --read-only-tmpfs=false", &format!("{none}; true")), "");
    }
}

/// A shell without job control starts what is to go on in the background with SIGINT ignored.
#[test]
fn signals_reach_a_container_whose_command_ignored_them() {
    for s in &require!(both()) {
        let trap = "trap 'echo bye; exit 0' INT; echo ready; while :; do sleep 0.1; done";
        let run = s.coracle(["run", "-i", "--name", "deaf", "lab/busybox", "sh", "-c", trap]);
        let mut run = run.wrapped(["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]).stdin_open().spawn();
        run.until("ready", Duration::from_secs(30));
        run.signal(rustix::process::Signal::INT);
        run.wait().code(0).stdout_has("bye");
        s.coracle(["rm", "-f", "deaf"]).ok();
    }
}

#[test]
fn images_come_from_archives_and_layouts_as_well() {
    for s in &require!(both()) {
        let archive = s.path("work/archive.tar").display().to_string();
        s.coracle(["save", "-q", "-o", &archive, "lab/busybox"]).ok();
        let layout = format!("oci:{}:it", s.path("work/layout").display());
        s.coracle(["image", "copy", "-q", "containers-storage:lab/busybox", &layout]).ok();
        s.coracle(["rmi", "lab/busybox"]).ok();
        for source in [&format!("docker-archive:{archive}"), &layout] {
            s.coracle(["run", "--rm", source, "echo", "there"]).ok().stdout_is("there");
        }
        s.coracle(["create", "--name", "named", &format!("docker-archive:{archive}")]).ok();
        let image = s.coracle(["inspect", "--format", "{{.ImageName}}", "named"]).ok().text().to_owned();
        assert!(image.ends_with("lab/busybox:latest"), "{image}");
        s.coracle(["rm", "named"]).ok();
        s.coracle(["run", "--rm", "docker-archive:/no/such", "true"]).fails(125).stderr_has("/no/such");
    }
}
