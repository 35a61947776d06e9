//! ps, images, inspect, version, info: columns, filters, formats; man pages and completions.

use crate::support::{Sandbox, require};
use serde_json::Value;

/// Images in the store, and a container in each state that needs no runtime tricks.
fn furnished() -> Result<Sandbox, crate::support::Missing> {
    let sandbox = Sandbox::root()?;
    sandbox.pull("lab/busybox");
    sandbox.pull("lab/tags");
    let run = |words: &[&str]| sandbox.coracle(["run", "--network", "none"]).args(words.iter().copied()).ok();
    run(&["-d", "--name", "up", "lab/busybox", "sleep", "1000"]);
    run(&["--name", "done", "lab/tags", "true"]);
    sandbox
        .coracle(["run", "--network", "none", "--name", "failed", "lab/busybox", "sh", "-c", "exit 3"])
        .fails(3);
    Ok(sandbox)
}

#[test]
fn images_look_like_podmans() {
    let sandbox = require!(Sandbox::root());
    for name in ["lab/busybox", "lab/multi", "lab/tags"] {
        sandbox.pull(name);
    }
    sandbox.coracle(["tag", "lab/multi", "localhost/other:1"]).ok();
    for arguments in [
        &["images"][..],
        &["images", "--digests", "--sort", "repository"],
        &["images", "--no-trunc", "--noheading", "--sort", "tag"],
        &["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}} {{.Size}} {{.CreatedAt}}", "--sort", "id"],
        &[
            "images",
            "--filter",
            "dangling=false",
            "--sort",
            "repository",
            "--format",
            "table {{.Repository}}\t{{.Digest}}",
        ],
        &["images", "busybox"],
        &["images", "-q", "--no-trunc"],
    ] {
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let theirs = require!(sandbox.podman(arguments.iter().copied())).ok();
        let ours = sandbox.coracle(arguments.iter().copied()).ok();
        assert_eq!(sorted(ours.text()), sorted(theirs.text()), "{arguments:?}");
    }
    // docker's way: the names that are asked for, not all that their images have.
    sandbox
        .coracle(["images", "--filter", "reference=*multi*", "--format", "{{.Repository}}"])
        .ok()
        .stdout_is("docker.io/lab/multi");
    sandbox.coracle(["images", "--format", "{{.Tag}}", "localhost/other"]).ok().stdout_is("1");
    let theirs = require!(sandbox.podman(["images", "--format", "json"])).ok().json();
    let ours = sandbox.coracle(["images", "--format", "json"]).ok().json();
    let names = |list: &Value, name: &str| {
        list.as_array().unwrap().iter().any(|i| i["Names"][0].as_str().unwrap().contains(name))
    };
    for theirs in theirs.as_array().unwrap() {
        let ours = ours.as_array().unwrap().iter().find(|i| i["Id"] == theirs["Id"]).unwrap();
        for field in ["Size", "VirtualSize", "Digest", "Created", "Names", "Labels", "Containers", "History"]
        {
            // podman says null where there is nothing.
            let absent = theirs[field].is_null() && (ours[field].as_object().is_none_or(|m| m.is_empty()));
            assert!(ours[field] == theirs[field] || absent, "{field}: {} {}", ours[field], theirs[field]);
        }
    }
    assert!(names(&ours, "lab/tags"));
}

#[test]
fn images_are_filtered() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull("lab/busybox");
    sandbox.pull("lab/config");
    let id = sandbox.coracle(["images", "-q", "--no-trunc", "lab/busybox"]).ok();
    let id = id.text().trim().trim_start_matches("sha256:").to_owned();
    let list = |filter: &str| {
        let listed = sandbox.coracle(["images", "--filter", filter, "--format", "{{.Repository}}"]).ok();
        let mut names: Vec<_> =
            listed.lines().iter().map(|n| n.rsplit('/').next().unwrap().to_owned()).collect();
        names.sort();
        names.join(" ")
    };
    let cases = [
        ("reference=busybox".to_owned(), "busybox"),
        ("reference=lab/*".to_owned(), "busybox config"),
        ("reference=*:nope".to_owned(), ""),
        ("reference!=busybox".to_owned(), "config"),
        (format!("id!={}", &id[..8]), "config"),
        ("containers!=true".to_owned(), "busybox config"),
        (format!("id={}", &id[..8]), "busybox"),
        ("dangling=true".to_owned(), ""),
        ("dangling=false".to_owned(), "busybox config"),
        ("readonly=true".to_owned(), ""),
        ("until=1h".to_owned(), list("until=1h").leak()),
        ("containers=false".to_owned(), "busybox config"),
        ("before=lab/busybox".to_owned(), list("before=lab/busybox").leak()),
    ];
    for (filter, expected) in cases {
        assert_eq!(list(&filter), expected, "{filter}");
    }
    // An image is listed under the names that were asked for; by its ID, under all.
    sandbox.coracle(["tag", "lab/busybox", "other/name:1", "other/name:2"]).ok();
    let names = |asked: &str| {
        let listed =
            sandbox.coracle(["images", "--sort=tag", "--format={{.Repository}}:{{.Tag}}", asked]).ok();
        listed.text().trim().replace('\n', " ")
    };
    assert_eq!(names("lab/busybox"), "docker.io/lab/busybox:latest");
    assert_eq!(names("name"), "localhost/other/name:1 localhost/other/name:2");
    assert_eq!(names("other/name:2"), "localhost/other/name:2");
    assert_eq!(names(&id[..8]).split(' ').count(), 3);
    assert_eq!(list("reference=*:1"), "name");
    sandbox.coracle(["untag", "lab/busybox"]).ok();
    assert_eq!(list("dangling=true"), "<none>");
    sandbox.coracle(["images"]).ok().stdout_has("<none>");
    sandbox.coracle(["images", "--filter", "colour=red"]).fails(1).stderr_has("invalid filter \"colour\"");
    sandbox
        .coracle(["images", "--filter", "a=b", "x"])
        .fails(1)
        .stderr_has("cannot specify an image and a filter(s)");
    sandbox.coracle(["images", "--tree"]).fails(1).stderr_has("--tree is not supported");
}

#[test]
fn ps_lists_states_and_formats() {
    let sandbox = require!(furnished());
    let ps = |words: &[&str]| sandbox.coracle(["ps"]).args(words.iter().copied()).ok();
    let names = |words: &[&str]| {
        let mut all = words.to_vec();
        all.extend(["--format", "{{.Names}}"]);
        ps(&all).lines().join(" ")
    };
    ps(&[]).stdout_has("CONTAINER ID  IMAGE").stdout_has("sleep 1000").stdout_lacks("done");
    let cases: &[(&[&str], &str)] = &[
        (&[], "up"),
        (&["-a"], "failed done up"),
        (&["--all=false"], "up"),
        (&["-n", "2"], "failed done"),
        (&["-l"], "failed"),
        (&["-a", "--sort", "names"], "done failed up"),
        (&["--filter", "status=exited"], "failed done"),
        (&["--filter", "exited=3"], "failed"),
        (&["-a", "--filter", "name=^d"], "done"),
        // lab/tags is built on it.
        (&["-a", "--filter", "ancestor=lab/busybox"], "failed done up"),
        (&["-a", "--filter", "ancestor=tags"], "done"),
        (&["-a", "--filter", "before=done"], "up"),
        (&["-a", "--filter", "since=done"], "failed"),
        (&["-a", "--filter", "label=none"], ""),
        (&["-a", "--filter", "volume=/nowhere"], ""),
    ];
    for (words, expected) in cases {
        assert_eq!(names(words), *expected, "{words:?}");
    }
    ps(&["-a", "--filter", "name=done", "--format", "{{.Status}}"]).stdout_has("Exited (0) ");
    ps(&["-a", "--filter", "name=failed", "--format", "{{.Status}} {{.State}} {{.ExitCode}}"])
        .stdout_has("exited 3");
    ps(&["--format", "{{.Status}}|{{.Networks}}|{{.Ports}}|{{.Label \"x\"}}|"])
        .stdout_has("Up ")
        .stdout_has("|none|||");
    ps(&["--format", r"table {{.Names}}\t{{.RunningFor}}"]).stdout_has("NAMES       CREATED\nup ");
    ps(&["--noheading"]).stdout_lacks("NAMES");
    ps(&["--ns"]).stdout_has("PIDNS");
    ps(&["-s"]).stdout_has("(virtual ");
    ps(&["--pod"]).stdout_has("POD ID      PODNAME");
    let id = ps(&["-q", "--no-trunc"]).text().trim().to_owned();
    assert_eq!(id.len(), 64);
    assert_eq!(ps(&["-q"]).text().trim(), &id[..12]);
    let json = ps(&["--format", "json"]).json();
    assert_eq!(
        (&json[0]["Id"], &json[0]["Names"][0], &json[0]["State"]),
        (&id.as_str().into(), &"up".into(), &"running".into())
    );
    let line: Value = serde_json::from_str(ps(&["--format", "{{json .}}"]).text()).unwrap();
    assert_eq!(line["Names"], "up");
    for (words, message) in [
        (&["-q", "-s"][..], "--quiet conflicts with --size and --ns"),
        (&["-l", "-n", "1"], "--last and --latest are mutually exclusive"),
        (&["--filter", "colour=red"], "invalid filter"),
        (&["--format", "{{.Nope}}"], "can't evaluate field Nope in type *container"),
        (&["--filter", "name=nobody", "--format", "{{.Nope}}"], "can't evaluate field Nope"),
        (&["--format", "{{.ID"], "template: :1: unclosed action"),
    ] {
        sandbox.coracle(["ps"]).args(words.iter().copied()).fails(1).stderr_has(message);
    }
}

#[test]
fn containers_of_others_are_listed_when_asked() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull("lab/busybox");
    require!(sandbox.buildah(["from", "--pull-never", "--name", "builder", "lab/busybox"])).ok();
    sandbox.coracle(["ps", "-a"]).ok().stdout_lacks("builder");
    sandbox.coracle(["ps", "-a", "--external"]).ok().stdout_has("builder").stdout_has("Storage");
    require!(sandbox.buildah(["rm", "builder"])).ok();
}

#[test]
fn inspect_has_what_scripts_ask_for() {
    let sandbox = require!(furnished());
    let ask = |name: &str, format: &str| {
        sandbox.coracle(["inspect", "-f", format, name]).ok().text().trim_end().to_owned()
    };
    let cases = [
        ("up", "{{.Name}} {{.State.Status}} {{.State.Running}}", "up running true"),
        ("failed", "{{.State.ExitCode}} {{.State.Status}} {{.RestartCount}}", "3 exited 0"),
        ("up", "{{.Path}} {{.Args}} {{.Config.Cmd}}", "sleep [1000] [sleep 1000]"),
        (
            "up",
            "{{.Config.Image}} {{.ImageName}}",
            "docker.io/lab/busybox:latest docker.io/lab/busybox:latest",
        ),
        ("up", "{{if .State.Health}}yes{{else}}no{{end}}", "no"),
        (
            "up",
            "{{range $name, $network := .NetworkSettings.Networks}}{{$name}}={{$network.IPAddress}}{{end}}",
            "none=",
        ),
        (
            "up",
            "{{.HostConfig.NetworkMode}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.Privileged}}",
            "none no false",
        ),
        ("up", "{{json .Mounts}} {{len .ExecIDs}}", "[] 0"),
        ("up", "{{index .Config.Labels \"nope\"}}|", "|"),
        ("done", "{{.State.FinishedAt.IsZero}} {{.State.Pid}}", "false 0"),
        ("lab/busybox", "{{.Os}} {{.RootFS.Type}} {{.Config.Cmd}}", "linux layers [sh]"),
        ("lab/busybox", "{{index .RepoTags 0}}", "docker.io/lab/busybox:latest"),
        // Go's nil slices and maps.
        ("up", "{{.Config.Entrypoint}} {{len .Config.Entrypoint}} {{json .Config.Entrypoint}}", "[] 0 null"),
        (
            "lab/busybox",
            "{{.Config.Volumes}} {{len .Config.Volumes}} {{json .Config.Volumes}}",
            "map[] 0 null",
        ),
    ];
    for (name, format, expected) in cases {
        assert_eq!(ask(name, format), expected, "{name} {format}");
    }
    let id = ask("up", "{{.ID}}");
    assert_eq!(ask(&id[..6], "{{.Id}}"), id);
    let both = sandbox.coracle(["inspect", "up", "lab/tags"]).ok().json();
    assert_eq!((&both[0]["Name"], &both[1]["Os"]), (&"up".into(), &"linux".into()));
    assert!(both[0]["State"].get("Health").is_none());

    let missing = sandbox.coracle(["inspect", "nope", "up", "-f", "{{.Name}}"]).fails(1);
    assert_eq!(missing.text(), "up");
    missing.stderr_has("no such object: nope");
    sandbox.coracle(["inspect", "nope"]).fails(1).stdout_is("[]");
    sandbox.coracle(["container", "inspect", "nope"]).fails(1).stderr_has("No such container: nope");
    sandbox.coracle(["image", "inspect", "up"]).fails(1).stderr_has("No such image: up");
    sandbox.coracle(["inspect", "--type", "image", "up"]).fails(1).stderr_has("no such image: up");
    sandbox.coracle(["inspect", "-l", "-f", "{{.Name}}"]).ok().stdout_is("failed");
    sandbox.coracle(["inspect", "-s", "-f", "{{.SizeRw}}", "done"]).ok().stdout_lacks("nil");
    sandbox.coracle(["inspect", "-f", "{{.Nope}}", "up"]).fails(1).stderr_has("can't evaluate field Nope");
}

#[test]
fn image_inspect_agrees_with_podman() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull("lab/config");
    let ours = sandbox.coracle(["image", "inspect", "lab/config"]).ok().json();
    let theirs = require!(sandbox.podman(["image", "inspect", "lab/config"])).ok().json();
    for (field, theirs) in theirs[0].as_object().unwrap() {
        let ours = &ours[0][field];
        match field.as_str() {
            // Ours has docker's fields as well; podman drops the OnBuild and Shell of an OCI configuration.
            "Config" => {
                for (field, theirs) in theirs.as_object().unwrap() {
                    assert_eq!(&ours[field], theirs, "Config.{field}");
                }
            }
            "Labels" | "Annotations" | "Healthcheck" if theirs.is_null() => {}
            "GraphDriver" => assert_eq!(ours["Data"]["UpperDir"], theirs["Data"]["UpperDir"]),
            "History" => assert_eq!(ours.as_array().unwrap().len(), theirs.as_array().unwrap().len()),
            "Healthcheck" | "Created" => {}
            _ => assert_eq!(ours, theirs, "{field}"),
        }
    }
}

#[test]
fn version_and_info_answer_docker_and_podman_templates() {
    for sandbox in require!(Sandbox::both()) {
        let version = env!("CARGO_PKG_VERSION");
        let line = |words: &[&str]| sandbox.coracle(words.iter().copied()).ok().text().trim_end().to_owned();
        assert_eq!(line(&["version", "--format", "{{.Server.Version}}"]), version);
        assert_eq!(line(&["version", "-f", "{{.Client.Version}}"]), version);
        let root = sandbox.graph_root().display().to_string();
        assert_eq!(
            line(&["info", "-f", "{{.DockerRootDir}} {{.Store.GraphRoot}}"]),
            format!("{root} {root}")
        );
        assert_eq!(
            line(&["info", "-f", "{{.Driver}} {{.Store.GraphDriverName}} {{.OSType}}"]),
            "overlay overlay linux"
        );
        let rootless = (sandbox.uid() != 0).to_string();
        assert_eq!(line(&["info", "-f", "{{.Host.Security.Rootless}}"]), rootless);
        assert_eq!(line(&["info", "-f", "{{.host.os}} {{.Images}}"]), "linux 0");
        sandbox.coracle(["info"]).ok().stdout_has("host:\n  arch: ").stdout_has("\nstore:\n");
        assert_eq!(sandbox.coracle(["info", "-f", "json"]).ok().json()["store"]["imageStore"]["number"], 0);
        sandbox.coracle(["version"]).ok().stdout_has("Version:");
    }
}

#[test]
fn unshare_enters_the_rootless_namespace() {
    let sandbox = require!(Sandbox::user());
    sandbox.coracle(["unshare", "id", "-u"]).ok().stdout_is("0");
    sandbox
        .coracle(["unshare", "sh", "-c", "cat /proc/self/uid_map | wc -l; exit 7"])
        .fails(7)
        .stdout_is("2");
    sandbox.coracle(["unshare", "/no/such"]).fails(127).stderr_has("/no/such");
    sandbox.coracle(["unshare", "/etc/passwd"]).fails(126);
    let root = require!(Sandbox::root());
    root.coracle(["unshare", "true"]).fails(1).stderr_has("please use unshare with rootless");
}

#[test]
fn the_one_context_is_this_host() {
    let sandbox = require!(Sandbox::user());
    let context = |words: &[&str]| sandbox.coracle(["context"]).args(words.iter().copied());
    context(&["show"]).ok().stdout_is("default");
    context(&["ls", "-q"]).ok().stdout_is("default");
    context(&["ls"]).ok().stdout_has("default *");
    context(&["use", "default"]).ok().stdout_is("default");
    let seen = context(&["inspect"]).ok().json();
    assert_eq!(seen[0]["Name"], "default");
    context(&["use", "far"]).fails(1).stderr_has("context not found");
    context(&["create", "far", "--docker", "host=ssh://x"]).fails(1).stderr_has("other hosts");
    context(&["rm", "default"]).fails(1).stderr_has("cannot be removed");
}

#[test]
fn names_complete() {
    let sandbox = require!(furnished());
    sandbox.coracle(["network", "create", "lab-net"]).ok();
    let complete = |words: &[&str]| {
        let mut line: Vec<String> = vec!["--".into(), "coracle".into()];
        line.extend(words.iter().map(ToString::to_string));
        let index = line.len() - 2;
        let answer = sandbox
            .bare(line)
            .env("_CORACLE_COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", index.to_string())
            .env("_CLAP_IFS", "\n")
            .ok();
        answer.text().split('\n').map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    for (words, expected) in [
        (&["stop", "u"][..], "up"),
        (&["container", "inspect", "do"], "done"),
        (&["rmi", "docker.io/lab/b"], "docker.io/lab/busybox:latest"),
        (&["image", "inspect", "lab/t"], "lab/tags:latest"),
        (&["network", "rm", "lab-"], "lab-net"),
        (&["run", "--network", "br"], "bridge"),
        (&["network", "create", "lab-"], ""),
        (&["ps", "--filt"], "--filter"),
        (&["imag"], "image images"),
    ] {
        assert_eq!(complete(words), expected, "{words:?}");
    }
    for (shell, mark) in [
        ("bash", "complete -o"),
        ("zsh", "#compdef coracle"),
        ("fish", "complete"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        sandbox.coracle(["completion", shell]).ok().stdout_has(mark);
    }
}
