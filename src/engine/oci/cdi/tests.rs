#![allow(clippy::unwrap_used)]

use super::*;
use crate::engine::ErrorKind;
use crate::engine::oci::{self, Resolved};
use crate::engine::spec::{ContainerSpec, HostFacts};
use serde_json::{Value, json};

const GPU: &str = r#"{
    "cdiVersion": "0.6.0",
    "kind": "vendor.com/gpu",
    "containerEdits": {
        "env": ["VENDOR=all", "PATH=/vendor/bin"],
        "hooks": [{"hookName": "createContainer", "path": "/usr/bin/vendor", "args": ["vendor", "link"]}]
    },
    "devices": [
        {"name": "0", "containerEdits": {
            "deviceNodes": [{"path": "/dev/gpu0", "type": "c", "major": 195, "minor": 0, "permissions": "rw"}],
            "mounts": [{"hostPath": "/usr/lib/gpu.so", "containerPath": "/lib/gpu.so", "options": ["ro", "bind"]}],
            "additionalGids": [44]
        }},
        {"name": "1", "containerEdits": {
            "deviceNodes": [{"path": "/dev/gpu1", "hostPath": "/dev/vendor/1"}],
            "intelRdt": {"closID": "fast", "enableCMT": true}
        }}
    ]
}"#;

fn file(name: &str, priority: usize, text: &str) -> SpecFile {
    SpecFile { path: name.into(), priority, text: text.to_owned() }
}

fn of(files: &[SpecFile], names: &[&str]) -> Result<Edits> {
    resolve(files, &names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
}

#[test]
fn names() {
    for good in ["vendor.com/gpu=0", "nvidia.com/gpu=all", "a/b=GPU-1:2.3_x", "docker.com/my-class_1=x"] {
        assert!(is_qualified(good), "{good}");
    }
    for bad in [
        "",
        "/dev/x",
        "vendor.com/gpu",
        "vendor.com=0",
        "1v/gpu=0",
        "v/g.u=0",
        "v/gpu=",
        "v/gpu=-",
        "v/gpu=a b",
    ] {
        assert!(!is_qualified(bad), "{bad}");
    }
}

#[test]
fn a_files_own_edits_come_once_and_first() {
    let edits =
        of(&[file("gpu.json", 0, GPU)], &["vendor.com/gpu=1", "vendor.com/gpu=0", "vendor.com/gpu=1"])
            .unwrap();
    assert_eq!(edits.env, ["VENDOR=all", "PATH=/vendor/bin"]);
    let nodes: Vec<&str> = edits.device_nodes.iter().map(|n| n.path.as_str()).collect();
    assert_eq!(nodes, ["/dev/gpu1", "/dev/gpu0"]);
    assert_eq!(edits.device_nodes[1].permissions.as_deref(), Some("rw"));
    assert_eq!(edits.device_nodes[0].host_path.as_deref(), Some("/dev/vendor/1"));
}

#[test]
fn the_later_directory_holds_and_one_directory_is_of_one_mind() {
    let other = GPU.replace("gpu0", "other0");
    let files = [file("a.json", 0, GPU), file("b.json", 1, &other)];
    assert_eq!(of(&files, &["vendor.com/gpu=0"]).unwrap().device_nodes[0].path, "/dev/other0");
    let twice = [file("a.json", 1, GPU), file("b.json", 1, &other)];
    let e = of(&twice, &["vendor.com/gpu=0"]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    assert!(e.to_string().contains("a.json and b.json"), "{e}");
}

#[test]
fn yaml_and_what_is_wrong() {
    let yaml =
        "cdiVersion: 0.3.0\nkind: v.org/net\ndevices:\n- name: eth\n  containerEdits:\n    env:\n    - A=b\n";
    assert_eq!(of(&[file("x.yaml", 0, yaml)], &["v.org/net=eth"]).unwrap().env, ["A=b"]);
    let e = of(&[file("x.yaml", 0, yaml)], &["v.org/net=none"]).unwrap_err();
    assert_eq!(
        (e.kind(), e.to_string().as_str()),
        (ErrorKind::NotFound, "unresolvable CDI devices v.org/net=none")
    );
    for (from, to) in [
        ("0.3.0", "2.0.0"),
        ("v.org/net", "nokind"),
        ("A=b", "no-value"),
        ("name: eth", "name: e/th"),
        ("env:", "unknown:"),
    ] {
        let broken = [file("x.yaml", 0, &yaml.replace(from, to))];
        assert_eq!(of(&broken, &["v.org/net=eth"]).unwrap_err().kind(), ErrorKind::NotFound, "{to}");
    }
    let moved =
        yaml.replace("    env:\n    - A=b\n", "    netDevices:\n    - {hostInterfaceName: e, name: f}\n");
    assert_eq!(
        of(&[file("x.yaml", 0, &moved)], &["v.org/net=eth"]).unwrap_err().kind(),
        ErrorKind::Unsupported
    );
}

#[test]
fn edits_become_part_of_the_configuration() {
    let mut spec = ContainerSpec::default();
    spec.process.command = vec!["true".to_owned()];
    spec.process.env = vec!["PATH=/bin".to_owned()];
    let cdi = of(&[file("gpu.json", 0, GPU)], &["vendor.com/gpu=0", "vendor.com/gpu=1"]).unwrap();
    let resolved = Resolved { cdi, ..Resolved::default() };
    let out = serde_json::to_value(oci::spec(&spec, &HostFacts::default(), &resolved).unwrap()).unwrap();
    let env = out["process"]["env"].as_array().unwrap();
    assert!(env.contains(&json!("VENDOR=all")) && env[0] == json!("PATH=/vendor/bin"), "{env:?}");
    assert_eq!(out["process"]["user"]["additionalGids"], json!([44]));
    let mount = out["mounts"].as_array().unwrap().iter().find(|m| m["destination"] == "/lib/gpu.so").unwrap();
    assert_eq!(
        *mount,
        json!({"destination": "/lib/gpu.so", "type": "bind", "source": "/usr/lib/gpu.so", "options": ["ro", "bind"]})
    );
    assert_eq!(
        out["hooks"]["createContainer"],
        json!([{"path": "/usr/bin/vendor", "args": ["vendor", "link"]}])
    );
    assert_eq!(out["hooks"]["prestart"], Value::Null);
    assert_eq!(out["linux"]["intelRdt"], json!({"closID": "fast", "enableMonitoring": true}));
}
