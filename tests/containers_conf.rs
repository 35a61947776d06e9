//! containers.conf reaches every container, as it does podman's; the command line has the last word.

use crate::support::{Sandbox, require};

/// Names a file that is read after all others.
const OVERRIDE: &str = "CONTAINERS_CONF_OVERRIDE";

/// A line of `[containers]`, flags, a command, and what it prints. `SHARED` is a directory with a file `seen`.
type Row = (&'static str, &'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    (
        "annotations = [\"lab.x=conf\"]",
        "--annotation lab.y=flag",
        "inspect {{.Config.Annotations}}",
        "map[lab.x:conf lab.y:flag]",
    ),
    (
        "annotations = [\"lab.x=conf\"]",
        "--annotation lab.x=flag",
        "inspect {{.Config.Annotations}}",
        "map[lab.x:flag]",
    ),
    ("default_sysctls = [\"net.ipv4.ip_default_ttl=71\"]", "", "cat /proc/sys/net/ipv4/ip_default_ttl", "71"),
    (
        "default_sysctls = [\"net.ipv4.ip_default_ttl=71\"]",
        "--sysctl net.ipv4.ip_default_ttl=72",
        "cat /proc/sys/net/ipv4/ip_default_ttl",
        "72",
    ),
    ("env = [\"FROM=conf\"]", "", "echo $FROM $PATH", "conf /bin:/usr/bin:/sbin"),
    ("env = [\"FROM=conf\"]", "-e FROM=flag", "echo $FROM", "flag"),
    ("env_host = true", "", "echo $FROMHOST", "host"),
    ("env_host = true", "--env-host=false", "echo none$FROMHOST", "none"),
    ("tz = \"Asia/Tokyo\"", "", "date +%Z", "JST"),
    ("tz = \"Asia/Tokyo\"", "--tz UTC", "date +%Z", "UTC"),
    ("umask = \"0027\"", "", "umask", "0027"),
    ("umask = \"0027\"", "--umask 0077", "umask", "0077"),
    ("no_hosts = true", "", "grep -c localhost /etc/hosts 2>/dev/null || echo none", "none"),
    ("no_hosts = true", "--no-hosts=false", "grep -q localhost /etc/hosts && echo made", "made"),
    ("init = true", "", "cat /proc/1/comm; true", "podman-init"),
    ("init = true", "--init=false", "cat /proc/1/comm; true", "sh"),
    ("read_only = true", "", "touch /file 2>/dev/null || echo refused", "refused"),
    ("read_only = true", "--read-only=false", "touch /file && echo made", "made"),
    (
        "volumes = [\"SHARED:/conf:ro\"]",
        "",
        "cat /conf/seen; touch /conf/x 2>/dev/null || echo refused",
        "seen\nrefused",
    ),
    ("volumes = [\"SHARED:/conf:ro\"]", "-v SHARED:/flag", "ls -d /conf /flag 2>/dev/null; true", "/flag"),
    (
        "mounts = [\"type=bind,source=SHARED,destination=/conf\"]",
        "-v SHARED:/flag",
        "cat /conf/seen /flag/seen",
        "seen\nseen",
    ),
    ("mounts = [\"type=tmpfs,destination=/conf\"]", "-v SHARED:/conf", "cat /conf/seen", "seen"),
    ("volumes = [\"by-name:/conf\"]", "", "ls -d /conf; ls /conf", "/conf"),
    ("devices = [\"/dev/zero:/dev/conf:r\"]", "", "head -c 3 /dev/conf | wc -c", "3"),
    ("shm_size = \"8m\"", "", "df -k /dev/shm | tail -n 1 | awk '{ print $2 }'", "8192"),
    ("container_name_as_hostname = true", "--name lab_host.x", "hostname", "labhost.x"),
    ("container_name_as_hostname = true", "--name lab --hostname other", "hostname", "other"),
    (
        "dns_servers = [\"9.9.9.9\"]\ndns_searches = [\"lab.example\"]",
        "--network host",
        "grep -c -e 9.9.9.9 -e lab.example /etc/resolv.conf",
        "2",
    ),
    (
        "log_driver = \"json-file\"\nlog_tag = \"lab\"",
        "",
        "inspect {{.HostConfig.LogConfig.Type}} {{.HostConfig.LogConfig.Tag}}",
        "k8s-file lab",
    ),
    ("log_driver = \"none\"", "", "inspect {{.HostConfig.LogConfig.Type}}", "none"),
    (
        "ipcns = \"private\"\npidns = \"host\"\nutsns = \"host\"",
        "",
        "inspect {{.HostConfig.IpcMode}} {{.HostConfig.PidMode}} {{.HostConfig.UTSMode}}",
        "private host host",
    ),
    ("label = false", "", "inspect {{.HostConfig.SecurityOpt}}", "[label=disable]"),
];

/// What only root may do.
const ROOTFUL: &[Row] = &[
    ("oom_score_adj = 123", "", "cat /proc/self/oom_score_adj", "123"),
    ("oom_score_adj = 123", "--oom-score-adj 45", "cat /proc/self/oom_score_adj", "45"),
    ("pids_limit = 33", "", "inspect {{.HostConfig.PidsLimit}}", "33"),
    ("pids_limit = 33", "--pids-limit 44", "inspect {{.HostConfig.PidsLimit}}", "44"),
    (
        "default_capabilities = [\"CHOWN\"]",
        "",
        "grep CapBnd /proc/self/status | cut -c 9-",
        "0000000000000001",
    ),
    ("default_ulimits = [\"nofile=100:200\"]", "", "ulimit -n; ulimit -Hn", "100\n200"),
];

#[test]
fn every_key_reaches_the_container() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        let shared = sandbox.mkdir("work/shared").display().to_string();
        sandbox.write("work/shared/seen", "seen\n");
        let rows = if sandbox.uid() == 0 { [ROWS, ROOTFUL].concat() } else { ROWS.to_vec() };
        for (conf, flags, command, expected) in rows {
            let conf = conf.replace("SHARED", &shared);
            let path = sandbox.write("conf/own.conf", format!("[containers]\n{conf}\n"));
            let flags: Vec<_> =
                flags.split_whitespace().map(|word| word.replace("SHARED", &shared)).collect();
            let network = flags.iter().any(|flag| flag == "--network");
            let network = if network { &[][..] } else { &["--network", "none"] };
            let make = |verb: &[&str], words: &[&str]| {
                let line =
                    sandbox.coracle(verb.iter().copied()).args(network.iter().copied()).args(flags.clone());
                line.arg("lab/busybox")
                    .args(words.iter().copied())
                    .env("FROMHOST", "host")
                    .env(OVERRIDE, &path)
                    .ok()
            };
            let seen = match command.strip_prefix("inspect ") {
                Some(format) => {
                    let id = make(&["create"], &["true"]);
                    let seen = sandbox.coracle(["inspect", "-f", format]).arg(id.text().trim()).ok();
                    sandbox.coracle(["rm"]).arg(id.text().trim()).ok();
                    seen
                }
                None => make(&["run", "--rm"], &["sh", "-c", command]),
            };
            assert_eq!(seen.text().trim(), expected, "{conf} {flags:?} {command}");
        }
    }
}

#[test]
fn a_user_namespace_is_the_flags_the_environments_or_the_configurations() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/busybox");
    let path = sandbox.write("conf/own.conf", "[containers]\nuserns = \"keep-id\"\n");
    let run = |flags: &[&str]| {
        let run = sandbox.coracle(["run", "--rm", "--network=none"]).args(flags.iter().copied());
        run.args(["lab/busybox", "id", "-u"]).env(OVERRIDE, &path)
    };
    let uid = sandbox.uid().to_string();
    run(&[]).ok().stdout_is(&uid);
    run(&["--userns=host"]).ok().stdout_is("0");
    run(&[]).env("PODMAN_USERNS", "keep-id:uid=7").ok().stdout_is("7");
    run(&["--uidmap=0:1:2000"]).ok().stdout_is("0");
}

#[test]
fn what_cannot_be_applied_is_said_once() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/busybox");
    let run = ["run", "--rm", "--network", "none", "lab/busybox", "true"];
    for (conf, phrase) in [
        ("mounts = [\"type=npipe,src=x,dst=/x\"]", "\"type=npipe,src=x,dst=/x\" is left out"),
        ("prepare_volume_on_create = true", "prepare_volume_on_create has no effect"),
    ] {
        let path = sandbox.write("conf/own.conf", format!("[containers]\n{conf}\n"));
        let outcome = sandbox.coracle(run).env(OVERRIDE, &path).ok();
        assert_eq!(outcome.stderr.matches(phrase).count(), 1, "{outcome}");
    }
    for (conf, phrase) in [
        ("volumes = [\"/no/such/directory:/conf\"]", "/no/such/directory"),
        ("mounts = [\"type=nonsense\"]", "containers.conf: mounts"),
        ("umask = \"9\"", "umask"),
        ("devices = [\"vendor.com/class=x\"]", "unresolvable CDI devices vendor.com/class=x"),
    ] {
        let path = sandbox.write("conf/own.conf", format!("[containers]\n{conf}\n"));
        sandbox.coracle(run).env(OVERRIDE, &path).fails(125).stderr_has(phrase);
    }
}

#[test]
fn logs_go_where_the_configuration_says() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        let logs = sandbox.mkdir("work/logs");
        let path = sandbox.write("conf/own.conf", format!("[containers]\nlog_path = {logs:?}\n"));
        let id = sandbox.coracle(["create", "--network", "none", "lab/busybox", "echo", "kept"]).ok();
        let id = id.text().trim();
        sandbox.coracle(["start", "-a", id]).env(OVERRIDE, &path).ok();
        assert!(sandbox.read(format!("work/logs/{id}/ctr.log")).contains("kept"));
        sandbox.coracle(["logs", id]).ok().stdout_is("kept");
        sandbox.coracle(["rm", id]).ok();
    }
}
