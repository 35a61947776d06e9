//! Flags of run and create that stand alone: dependencies, chroots, execution domains, maps of IDs.

use std::fs;

use serde_json::json;

use crate::support::{Image, Layer, Missing, Sandbox, busybox_entries, require};

const IMAGE: &str = "lab/busybox";

fn both() -> Result<Vec<Sandbox>, Missing> {
    let sandboxes = Sandbox::both()?;
    sandboxes.iter().for_each(|sandbox| sandbox.pull(IMAGE));
    Ok(sandboxes)
}

#[test]
fn what_a_container_requires_is_started_first_and_stays() {
    for sandbox in require!(both()) {
        let create = |name: &str, flag: &str| {
            let create = sandbox.coracle(["create", "--network=none", "--stop-timeout=0", "--name", name]);
            create.arg(flag).args([IMAGE, "sleep", "1000"]).ok().text().to_owned()
        };
        let base = create("base", "--init=false");
        create("middle", "--requires=base");
        create("top", "--requires=middle,base");
        sandbox.coracle(["start", "top"]).ok();
        let started = |name: &str| {
            sandbox
                .coracle(["inspect", "-f", "{{.State.Status}} {{.State.StartedAt}}", name])
                .ok()
                .text()
                .to_owned()
        };
        let times = [started("base"), started("middle"), started("top")];
        assert!(times.iter().all(|t| t.starts_with("running ")) && times.is_sorted(), "{times:?}");
        let shown = sandbox.coracle(["inspect", "-f", "{{json .Dependencies}}", "middle"]).ok().json();
        assert_eq!(shown, json!([base]));
        sandbox.coracle(["rm", "-f", "base"]).fails(2).stderr_has("dependent containers");
        // A start that fails is told with whose it was.
        sandbox.coracle(["stop", "top", "middle", "base"]).ok();
        sandbox.coracle(["create", "--name=bad", "--network=none", IMAGE, "/no/such"]).ok();
        create("on-bad", "--requires=bad");
        sandbox.coracle(["start", "on-bad"]).fails(1).stderr_has("which on-bad requires");
        sandbox.coracle(["create", "--requires=nosuch", IMAGE]).fails(125).stderr_has("no such container");
        sandbox.coracle(["rm", "-f", "--depend", "base"]).ok();
        sandbox.coracle(["ps", "-aq", "--filter=name=middle", "--filter=name=top"]).ok().stdout_is("");
    }
}

#[test]
fn chroots_have_the_files_that_we_manage() {
    for sandbox in require!(both()) {
        let run =
            ["run", "--rm", "--hostname=here", "--add-host=there:10.9.8.7", "--chrootdirs=/a,/b/c", IMAGE];
        let script = "for d in /a /b/c; do grep -c there $d/etc/hosts; cat $d/etc/hostname; \
                      cmp $d/etc/resolv.conf /etc/resolv.conf; done";
        sandbox.coracle(run).args(["sh", "-ec", script]).ok().stdout_is("1\nhere\n1\nhere");
        sandbox.coracle(["create", "--chrootdirs=a", IMAGE]).fails(125).stderr_has("--chrootdirs");
    }
}

#[test]
fn the_execution_domain_is_that_of_the_flag() {
    for sandbox in require!(both()) {
        let crun =
            sandbox.coracle(["run", "--rm", "--network=none", "--personality=LINUX32", IMAGE, "uname", "-m"]);
        let outcome = crun.run();
        if outcome.exit_code() == 0 {
            let machine = outcome.text().to_owned();
            assert!(["i686", "armv8l"].contains(&machine.as_str()), "{machine}");
        } else {
            // A runtime that would not do it is not used silently.
            outcome.stderr_has("--personality");
        }
        sandbox.coracle(["create", "--personality=BSD", IMAGE]).fails(125).stderr_has("--personality");
    }
}

#[test]
fn an_images_seccomp_profile_is_used_where_that_is_the_policy() {
    for sandbox in require!(both()) {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
        });
        let labels = json!({"Labels": {"io.containers.seccomp.profile": profile.to_string()}});
        let image = Image::new([Layer::of(busybox_entries())], labels);
        sandbox.registry().push("lab/sealed", "latest", &image);
        let run = |flags: &[&str]| {
            let run = sandbox.coracle(["run", "--rm", "-q", "--network=none"]).args(flags.iter().copied());
            run.args(["lab/sealed", "mkdir", "/made"])
        };
        run(&[]).ok();
        run(&["--seccomp-policy=default"]).ok();
        run(&["--seccomp-policy=image"]).fails(1).stderr_has("not permitted");
        run(&["--seccomp-policy=image", "--security-opt=seccomp=unconfined"]).ok();
        run(&["--seccomp-policy=else"]).fails(125).stderr_has("--seccomp-policy");
    }
}

#[test]
fn maps_speak_of_the_host_and_of_each_other() {
    for sandbox in require!(both()) {
        let run = |flags: &[&str]| {
            let run = sandbox.coracle(["run", "--rm", "--network=none"]).args(flags.iter().copied());
            let script =
                "awk '{print $1, $2, $3}' /proc/self/uid_map; awk '{print $1, $2, $3}' /proc/self/gid_map";
            run.args([IMAGE, "sh", "-ec", script])
        };
        if sandbox.uid() == 0 {
            run(&["--uidmap=0:200000:100", "--uidmap=+5:@300000:1"])
                .ok()
                .stdout_is(&["0 200000 5\n5 300000 1\n6 200006 94"; 2].join("\n"));
            let text = fs::read_to_string("/etc/subuid").unwrap_or_default();
            let Some(line) = text.lines().find(|line| line.starts_with("coracle-test:")) else { continue };
            let fields: Vec<&str> = line.split(':').collect();
            let map = format!("0 {} {}", fields[1], fields[2]);
            run(&["--subuidname=coracle-test"]).ok().stdout_is(&[map.as_str(); 2].join("\n"));
            run(&["--subuidname=nobody-at-all"]).fails(125).stderr_has("no subordinate IDs");
        } else {
            // The user's own ID, seen from their namespace, where it is 0.
            let uid = sandbox.uid();
            run(&[&format!("--uidmap=+2000:@{uid}:1")]).ok().stdout_has("0 1 2000\n2000 0 1\n2001 2001 ");
            run(&["--uidmap=0:@1:1"]).fails(125).stderr_has("not one this user may map");
        }
        run(&["--userns=host", "--uidmap=+0:1:1"]).fails(125).stderr_has("cannot be given together");
    }
}

#[test]
fn classes_of_service_need_a_host_that_has_them() {
    for sandbox in require!(both()) {
        if fs::read_to_string("/proc/mounts").unwrap().contains(" resctrl ") {
            continue;
        }
        sandbox.coracle(["create", "--rdt-class=fast", IMAGE]).fails(125).stderr_has("--rdt-class needs");
    }
}

#[test]
fn systemds_memory_has_the_size_that_is_asked_for() {
    for sandbox in require!(both()) {
        let run = ["run", "--rm", "--network=none", "--systemd=always", "--shm-size-systemd=8m", IMAGE];
        let script = "for d in /run /run/lock /var/log/journal; do grep -c \" $d tmpfs .*size=8192k\" /proc/mounts; done";
        sandbox.coracle(run).args(["sh", "-c", script]).ok().stdout_is("1\n1\n1");
    }
}

#[test]
fn a_domain_name_is_the_containers() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull(IMAGE);
    let run = ["run", "--rm", "--network=none", "-h", "web", "--domainname=lab.example", IMAGE, "sh", "-c"];
    let script = "cat /proc/sys/kernel/domainname; grep -c 'web.lab.example web' /etc/hosts";
    sandbox.coracle(run).arg(script).ok().stdout_is("lab.example\n1");
}

#[test]
fn weights_that_the_kernel_does_not_have_are_left_out_with_a_word() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull(IMAGE);
    let outcome =
        sandbox.coracle(["run", "--rm", "--network=none", "--blkio-weight=100", IMAGE, "true"]).ok();
    let there = ["blkio.weight", "blkio.bfq.weight"].map(|file| format!("/sys/fs/cgroup/blkio/{file}"));
    let v1 = std::path::Path::new("/sys/fs/cgroup/blkio").exists();
    let ignored = v1 && !there.iter().any(|path| std::path::Path::new(path).exists());
    assert_eq!(outcome.stderr.contains("weights are ignored"), ignored, "{outcome}");
}
