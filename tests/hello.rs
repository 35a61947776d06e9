//! The built-in image, and being called by another name.

use crate::support::{Sandbox, require};

#[test]
fn says_hello_without_a_registry() {
    for sandbox in require!(Sandbox::both()) {
        for name in ["coracle/hello", "localhost/coracle/hello"] {
            sandbox.coracle(["run", "--rm", name]).ok().stdout_has("Hello from Coracle!");
        }
        // Now it is in the store.
        for name in ["coracle/hello", "docker.io/coracle/hello:latest"] {
            sandbox.coracle(["run", "--rm", name]).ok().stdout_has("Hello from Coracle!").stderr_is_empty();
        }
    }
}

#[test]
fn a_users_own_directories_do() {
    // No storage.conf, no flags: the store is below the home directory.
    let sandbox = require!(Sandbox::user());
    let run = |argv: &[&str]| {
        let command = sandbox.bare(argv.iter().copied());
        ["CONTAINERS_STORAGE_CONF", "CONTAINERS_CONF", "CONTAINERS_REGISTRIES_CONF"]
            .iter()
            .fold(command, |command, name| command.env_remove(name))
            .ok()
    };
    run(&["run", "--rm", "coracle/hello"]).stdout_has("Hello from Coracle!");
    assert!(sandbox.path("home/.local/share/containers/storage/overlay").is_dir());
    run(&["images"]).stdout_has("coracle/hello");
    run(&["rmi", "coracle/hello"]);
    run(&["images", "-q"]).stdout_is("");
}

#[test]
fn answers_to_docker_and_podman() {
    let sandbox = require!(Sandbox::user());
    for name in ["docker", "podman"] {
        let link = sandbox.path(format!("bin/{name}"));
        std::os::unix::fs::symlink("coracle", &link).unwrap();
        let tool = |arguments: &[&str]| sandbox.command([&link]).args(arguments.iter().copied());
        tool(&["run", "--rm", "coracle/hello"]).ok().stdout_has("Hello from Coracle!");
        tool(&["--version"]).ok().stdout_has(env!("CARGO_PKG_VERSION"));
        tool(&["ps", "-a", "-q"]).ok().stdout_is("");
    }
}

#[test]
fn its_image_is_the_same_on_every_machine() {
    let sandbox = require!(Sandbox::user());
    sandbox.coracle(["run", "--rm", "coracle/hello"]).ok();
    let inspect = sandbox.coracle(["image", "inspect", "coracle/hello"]).ok().json();
    assert_eq!(inspect[0]["RootFS"]["Layers"].as_array().unwrap().len(), 1, "{inspect}");
    assert_eq!(inspect[0]["Os"], "linux");
    let podman = require!(sandbox.podman(["image", "inspect", "coracle/hello"])).ok().json();
    assert_eq!(podman[0]["Id"], inspect[0]["Id"]);
}
