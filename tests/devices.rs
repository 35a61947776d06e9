//! Devices by CDI names, and hooks of the host.

use std::fs;

use crate::support::{Missing, Sandbox, require};

const IMAGE: &str = "lab/busybox";

/// Sandboxes in whose configuration directory of descriptions `gpu.json` describes two devices of vendor.com.
fn both() -> Result<Vec<Sandbox>, Missing> {
    let sandboxes = Sandbox::both()?;
    for sandbox in &sandboxes {
        sandbox.pull(IMAGE);
        let dir = sandbox.mkdir("cdi");
        let hook = dir.join("hook");
        fs::write(&hook, "#!/bin/sh\ncat >/dev/null\necho \"$1\" >>\"$2\"\n").unwrap();
        make_executable(&hook);
        fs::write(dir.join("lib"), "library").unwrap();
        let hook = |name: &str| {
            let log = dir.join("log");
            serde_json::json!({"hookName": name, "path": dir.join("hook"), "args": ["hook", name, log]})
        };
        let text = serde_json::json!({
            "cdiVersion": "0.6.0",
            "kind": "vendor.com/gpu",
            "containerEdits": {"env": ["VENDOR=here"]},
            "devices": [
                {"name": "0", "containerEdits": {
                    "deviceNodes": [{"path": "/dev/gpu0", "hostPath": "/dev/null"}],
                    "mounts": [{
                        "hostPath": dir.join("lib"), "containerPath": "/lib/gpu.so", "options": ["ro", "bind"],
                    }],
                    "hooks": [hook("createRuntime"), hook("poststart"), hook("poststop")],
                }},
                {"name": "1", "containerEdits": {"deviceNodes": [{"path": "/dev/gpu1", "hostPath": "/dev/zero"}], "env": ["SECOND=1"]}},
            ],
        });
        fs::write(dir.join("gpu.json"), text.to_string()).unwrap();
        let section = format!("[engine]\ncdi_spec_dirs = [{dir:?}]\n");
        let conf = sandbox.read("conf/containers.conf").replace("[engine]\n", &section);
        sandbox.write("conf/containers.conf", conf);
    }
    Ok(sandboxes)
}

fn make_executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_device_comes_with_all_it_needs() {
    for sandbox in require!(both()) {
        let script =
            "test -c /dev/gpu0; echo x >/dev/gpu0; cat /lib/gpu.so; echo \" $VENDOR\"; test ! -e /dev/gpu1";
        let run = ["run", "--rm", "--network=none", "--device=vendor.com/gpu=0", IMAGE, "sh", "-ec", script];
        sandbox.coracle(run).ok().stdout_is("library here");
        let log = fs::read_to_string(sandbox.path("cdi/log")).unwrap();
        assert_eq!(log, "createRuntime\npoststart\npoststop\n");
        let both = ["--device=vendor.com/gpu=1", "--device=vendor.com/gpu=0", IMAGE, "sh", "-ec"];
        let run = sandbox.coracle(["run", "--rm", "--network=none"]).args(both);
        run.arg("test -c /dev/gpu1; test -c /dev/gpu0; echo $SECOND").ok().stdout_is("1");
        let create = ["create", "--name=c", "--device=vendor.com/gpu=1", IMAGE, "true"];
        sandbox.coracle(create).ok();
        let shown =
            sandbox.coracle(["inspect", "-f", "{{json .HostConfig.DeviceRequests}}", "c"]).ok().json();
        assert_eq!(shown[0]["DeviceIDs"], serde_json::json!(["vendor.com/gpu=1"]));
    }
}

#[test]
fn a_device_that_nobody_describes_is_told() {
    for sandbox in require!(both()) {
        let create = |flag: &str| sandbox.coracle(["create", flag, IMAGE, "true"]);
        create("--device=vendor.com/gpu=7")
            .fails(125)
            .stderr_has("unresolvable CDI devices vendor.com/gpu=7");
        create("--gpus=all").fails(125).stderr_has("unresolvable CDI devices nvidia.com/gpu=all");
        fs::write(sandbox.path("cdi/broken.yaml"), "cdiVersion: [\n").unwrap();
        create("--gpus=1").fails(125).stderr_has("nvidia.com/gpu=0").stderr_has("broken.yaml");
        // A broken file is no matter for devices that others describe.
        create("--device=vendor.com/gpu=0").ok();
        let text = fs::read_to_string(sandbox.path("cdi/gpu.json")).unwrap();
        fs::write(sandbox.path("cdi/again.json"), text).unwrap();
        create("--device=vendor.com/gpu=0").fails(125).stderr_has("described twice");
    }
}

#[test]
fn hooks_of_the_host_are_run_for_the_containers_they_are_for() {
    for sandbox in require!(both()) {
        let dir = sandbox.mkdir("hooks");
        let log = dir.join("log");
        let write = |name: &str, when: serde_json::Value, stages: &[&str]| {
            let hook = serde_json::json!({
                "version": "1.0.0",
                "hook": {"path": sandbox.path("cdi/hook"), "args": ["hook", name, log]},
                "when": when,
                "stages": stages,
            });
            fs::write(dir.join(format!("{name}.json")), hook.to_string()).unwrap();
        };
        write("all", serde_json::json!({"always": true}), &["prestart", "poststop"]);
        write("some", serde_json::json!({"annotations": {"^lab[.]gpu$": "yes"}}), &["createRuntime"]);
        let flag = format!("--hooks-dir={}", dir.display());
        let run = |more: &[&str]| {
            let run = sandbox.coracle([flag.as_str(), "run", "--rm", "--network=none"]);
            run.args(more.iter().copied()).args([IMAGE, "true"])
        };
        run(&[]).ok();
        run(&["--annotation=lab.gpu=yes"]).ok();
        assert_eq!(fs::read_to_string(&log).unwrap(), "all\nall\nall\nsome\nall\n");
        // The exit command knows of them as well: conmon runs it with the same flags.
        fs::write(dir.join("broken.json"), "{").unwrap();
        run(&[]).fails(125).stderr_has("broken.json");
    }
}
