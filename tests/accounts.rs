//! Logging in and out: what a registry takes is kept where podman, skopeo and docker find it, and nothing else is.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Docker, IDENTITY, Pty, Registry, RegistryOptions, Sandbox, Tokens, eventually, program, require,
};

/// A registry that wants `lab` and `geheim`.
fn guarded() -> Registry {
    let auth = Some(("lab".to_owned(), "geheim".to_owned()));
    Registry::start(RegistryOptions { empty: true, auth, ..RegistryOptions::default() }).unwrap()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

const AUTH: &str = "bGFiOmdlaGVpbQ==";

#[test]
fn what_a_registry_takes_is_kept_for_every_program() {
    let sandbox = require!(Sandbox::user());
    let registry = guarded();
    let at = registry.address();
    let file = sandbox.path("xdg/containers/auth.json");
    let login = |arguments: &[&str]| sandbox.bare(["login"]).args(arguments.iter().copied()).arg(&at);

    let refused = login(&["-u", "lab", "--password-stdin"]).stdin("falsch").fails(1);
    refused.stderr_has("invalid username/password").stderr_lacks("falsch").stdout_is("");
    assert!(!file.exists());
    login(&["--get-login"]).fails(1).stderr_has(&format!("not logged into {at}"));
    let login_in = login(&["-u", "lab", "--password-stdin", "-v"]).stdin("geheim\n").ok();
    login_in.stdout_has("Login Succeeded!").stdout_has(&file.display().to_string()).stderr_is_empty();
    assert_eq!(read(&file), json!({"auths": {&at: {"auth": AUTH}}}));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    login(&["--get-login"]).ok().stdout_is("lab");
    login(&[]).ok().stdout_has("Already logged in");

    sandbox.pull("lab/busybox");
    sandbox.coracle(["push", "-q", "lab/busybox", &format!("{at}/x/y")]).ok();
    let image = format!("docker://{at}/x/y");
    require!(sandbox.skopeo(["inspect", "--tls-verify=false", &image])).ok().stdout_has("\"Layers\"");
    require!(sandbox.podman(["login", "--get-login", &at])).ok().stdout_is("lab");
    require!(sandbox.podman(["logout", &at])).ok();
    login(&["--get-login"]).fails(1);
    require!(sandbox.skopeo(["inspect", "--tls-verify=false", &image])).fails(1);

    require!(sandbox.podman(["login", "--tls-verify=false", "-u", "lab", "-p", "geheim", &at])).ok();
    login(&["--get-login"]).ok().stdout_is("lab");
    sandbox.coracle(["pull", "-q", &format!("{at}/x/y")]).ok();
    sandbox.bare(["logout", &at]).ok().stdout_is(&format!("Removed login credentials for {at}"));
    sandbox.bare(["logout", &at]).ok().stdout_is(&format!("Not logged in to {at}"));
    require!(sandbox.podman(["login", "--get-login", &at])).fails(125);
}

#[test]
fn docker_reads_what_was_written_and_the_other_way_round() {
    let sandbox = require!(Sandbox::root());
    let docker = require!(Docker::start());
    let registry = guarded();
    let at = registry.address();
    let config = sandbox.mkdir("home/.docker");
    // With a login in the file docker does not look for a helper by itself.
    let file = sandbox.write(
        "home/.docker/config.json",
        r#"{"HttpHeaders":{"X":"y"},"auths":{"quay.io":{"auth":"YTpi"}}}"#,
    );
    sandbox
        .bare(["login", "-u", "lab", "-p", "geheim", "--compat-auth-file"])
        .arg(&file)
        .arg(&at)
        .ok()
        .stderr_has("WARNING! Using --password via the CLI is insecure");
    assert_eq!(read(&file)["HttpHeaders"]["X"], "y");
    sandbox.pull("lab/busybox");
    sandbox.coracle(["push", "-q", "lab/busybox", &format!("{at}/x/y")]).ok();
    let config_flag = ["--config".into(), config.clone().into_os_string()];
    let client =
        |arguments: &[&str]| docker.command(config_flag.iter().cloned()).args(arguments.iter().copied());
    client(&["pull", "-q", &format!("{at}/x/y")]).ok();
    client(&["logout", &at]).ok();
    sandbox.coracle(["pull", "-q", &format!("{at}/x/y")]).fails(1);
    client(&["login", "-u", "lab", "-p", "geheim", &at]).ok().stdout_has("Login Succeeded");
    sandbox.coracle(["pull", "-q", &format!("{at}/x/y")]).ok();
    // By the variable, as by docker's own flag.
    sandbox.bare(["login", "--get-login", &at]).env("DOCKER_CONFIG", &config).ok().stdout_is("lab");
    sandbox.bare(["logout", &at]).fails(1).stderr_has("--compat-auth-file");
    sandbox.bare(["--config"]).arg(&config).args(["logout", &at]).ok();
    assert_eq!(read(&file), json!({"HttpHeaders": {"X": "y"}, "auths": {"quay.io": {"auth": "YTpi"}}}));
}

#[test]
fn name_and_password_are_asked_for_and_the_password_is_not_shown() {
    let sandbox = require!(Sandbox::user());
    let registry = guarded();
    let at = registry.address();
    let mut terminal = Pty::spawn(sandbox.bare(["login", &at]));
    terminal.expect("Username: ");
    terminal.send("lab\n");
    terminal.expect("Password: ");
    terminal.send("gehx\x7feim\r");
    let (code, shown) = terminal.wait();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("Login Succeeded!") && !shown.contains("ge"), "{shown:?}");
    // With the name that is known; ^C leaves the terminal as it was.
    let mut terminal = Pty::spawn(sandbox.bare(["login", "-u", "lab", &at]));
    terminal.expect("Password: ");
    terminal.send("\x03");
    let (code, shown) = terminal.wait();
    assert_eq!(code, 130, "{shown}");
    sandbox.bare(["login", "-u", "lab", &at]).fails(1).stderr_has("non TTY device");
    sandbox.bare(["login", &at, "--password-stdin"]).fails(1).stderr_has("Must provide --username");
    sandbox
        .bare(["login", "-u", "lab", "-p", "x", "--password-stdin", &at])
        .fails(1)
        .stderr_has("mutually exclusive");
    for bad in ["not a registry", "quay.io/team:tag", "quay.io/Team"] {
        sandbox.bare(["login", "-u", "lab", "--password-stdin", bad]).stdin("x").fails(1);
    }
}

#[test]
fn the_password_may_be_a_secret() {
    for sandbox in require!(Sandbox::both()) {
        let registry = guarded();
        let at = registry.address();
        // Named as the user is; with the end of line that echo leaves.
        sandbox.coracle(["secret", "create", "lab", "-"]).stdin("geheim\n").ok();
        sandbox.coracle(["secret", "create", "wrong", "-"]).stdin("other").ok();
        sandbox.coracle(["login", "--secret", "lab", &at]).ok().stdout_has("Login Succeeded!");
        sandbox.coracle(["login", "--get-login", &at]).ok().stdout_is("lab");
        sandbox.coracle(["logout", &at]).ok();
        sandbox.coracle(["login", "--secret", "wrong", "-u", "lab", &at]).fails(1);
        sandbox.coracle(["login", "--secret", "none", &at]).fails(1).stderr_has("no such secret");
        for other in ["--password=geheim", "--password-stdin"] {
            let login =
                sandbox.coracle(["login", "--secret", "lab", "-u", "lab", other, &at]).stdin("geheim");
            login.fails(1).stderr_has("--secret can not be used with --password options");
        }
        sandbox.coracle(["login", "--get-login", &at]).fails(1).stderr_has("not logged into");
        sandbox.coracle(["secret", "rm", "lab", "wrong"]).ok();
    }
}

#[test]
fn what_else_is_in_the_file_stays_and_no_secret_is_told() {
    let sandbox = require!(Sandbox::user());
    let registry = guarded();
    let at = registry.address();
    let before = json!({
        "auths": {"quay.io": {"auth": "YTpi", "email": "a@b.example"}, "quay.io/team": {"auth": "Yzpk"}},
        "credHelpers": {"gcr.io": "gcloud"},
        "psFormat": "table {{.ID}}",
    });
    let file = sandbox.write("work/auth.json", before.to_string());
    // What a killed login may have left.
    sandbox.write("work/.tmp-auth.json-1", "secret");
    let told = sandbox
        .bare(["--log-level=debug", "login", "-u", "lab", "--password-stdin", "--authfile"])
        .arg(&file)
        .arg(&at)
        .stdin("geheim")
        .ok();
    told.stderr_lacks("geheim").stderr_lacks(AUTH);
    let mut after = before.clone();
    after["auths"][&at] = json!({"auth": AUTH});
    assert_eq!(read(&file), after);
    assert!(!sandbox.path("work/.tmp-auth.json-1").exists());
    // At once: each keeps what the others write.
    let run: Vec<_> = (0..6)
        .map(|i| {
            let key = format!("{at}/team{i}");
            let command = sandbox.bare(["login", "-u", "lab", "--password-stdin", "--authfile"]);
            command.arg(&file).arg(key).stdin("geheim").spawn()
        })
        .collect();
    run.into_iter().for_each(|running| drop(running.wait().code(0)));
    assert_eq!(read(&file)["auths"].as_object().unwrap().len(), 9);
    sandbox.bare(["logout", "--authfile"]).arg(&file).arg(format!("{at}/team3")).ok();
    assert_eq!(read(&file)["auths"].as_object().unwrap().len(), 8);
    sandbox.bare(["logout", "--all", "--authfile"]).arg(&file).arg("quay.io").fails(1);
    sandbox.write("work/broken.json", "{\"auths\": {\"x\": {\"auth\": \"geheim\"");
    let command = sandbox.bare(["login", "-u", "lab", "--password-stdin", "--authfile"]);
    let broken = command.arg(sandbox.path("work/broken.json")).arg(&at).stdin("geheim").fails(1);
    broken.stderr_has("not a credentials file").stderr_lacks("geheim");
    assert!(sandbox.read("work/broken.json").ends_with("geheim\""));
}

/// pass(1) with a key of its own, which docker-credential-pass keeps credentials with.
fn password_store(sandbox: &Sandbox) {
    std::fs::set_permissions(sandbox.mkdir("home/.gnupg"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let key =
        ["--batch", "--passphrase", "", "--quick-generate-key", "lab@example.org", "default", "default"];
    sandbox.command([program("gpg").unwrap()]).args(key).ok();
    sandbox.command([program("pass").unwrap()]).args(["init", "lab@example.org"]).ok();
}

#[test]
fn a_credential_helper_keeps_what_it_is_configured_for() {
    let sandbox = require!(Sandbox::user());
    require!(program("docker-credential-pass"));
    require!(program("pass"));
    password_store(&sandbox);
    let registry = guarded();
    let at = registry.address();
    let login = || sandbox.bare(["login", "-u", "lab", "--password-stdin", "-v", &at]).stdin("geheim");
    let helper = |verb: &str| sandbox.command([program("docker-credential-pass").unwrap()]).arg(verb);
    // A helper for one registry.
    let file = sandbox.write("xdg/containers/auth.json", json!({"credHelpers": {&at: "pass"}}).to_string());
    login().ok();
    assert_eq!(read(&file), json!({"credHelpers": {&at: "pass"}}));
    helper("list").ok().stdout_has(&at).stdout_has("lab");
    sandbox.bare(["login", "--get-login", &at]).ok().stdout_is("lab");
    require!(sandbox.podman(["login", "--get-login", &at])).ok().stdout_is("lab");
    sandbox.pull("lab/busybox");
    sandbox.coracle(["push", "-q", "lab/busybox", &format!("{at}/x/y")]).ok();
    sandbox
        .bare(["login", "-u", "lab", "--password-stdin", &format!("{at}/team")])
        .stdin("geheim")
        .fails(1)
        .stderr_has("whole registries");
    sandbox.bare(["logout", &at]).ok();
    helper("list").ok().stdout_lacks(&at);
    // One for all, in docker's file and in registries.conf.
    std::fs::remove_file(&file).unwrap();
    let docker = sandbox.write("home/.docker/config.json", r#"{"credsStore":"pass"}"#);
    let compat = ["login", "-u", "lab", "--password-stdin", "--compat-auth-file"];
    sandbox.bare(compat).arg(&docker).arg(&at).stdin("geheim").ok();
    assert_eq!(read(&docker), json!({"credsStore": "pass", "auths": {&at: {}}}));
    sandbox.bare(["login", "--get-login", &at]).ok().stdout_is("lab");
    sandbox.bare(["logout", "-a", "--compat-auth-file"]).arg(&docker).ok();
    helper("list").ok().stdout_lacks(&at);
    std::fs::remove_file(&docker).unwrap();
    let conf = sandbox.read("conf/registries.conf");
    sandbox.write("conf/registries.conf", format!("credential-helpers = [\"pass\"]\n{conf}"));
    login().ok().stdout_has("pass");
    require!(sandbox.podman(["login", "--get-login", &at])).ok().stdout_is("lab");
    assert!(!file.exists());
    sandbox.bare(["logout", "--all"]).ok();
    sandbox.bare(["login", "--get-login", &at]).fails(1);
    // gpg started an agent for this home, which nobody but it needs.
    let home = sandbox.path("home/.gnupg").display().to_string();
    let agents = || sandbox.command([program("pgrep").unwrap()]).args(["-f", &home]).run();
    for pid in agents().lines() {
        sandbox.command([program("kill").unwrap()]).args(["-KILL", pid]).run();
    }
    eventually("the agent ends", Duration::from_secs(10), || (agents().exit_code() == 1).then_some(()));
}

/// A registry whose token service knows `lab` and `geheim`.
fn with_tokens(tokens: &Tokens) -> Registry {
    let tokens = Some((tokens.realm(), tokens.certificate()));
    Registry::start(RegistryOptions { empty: true, tokens, ..RegistryOptions::default() }).unwrap()
}

#[test]
fn a_token_service_gives_tokens_for_the_password() {
    let sandbox = require!(Sandbox::user());
    let tokens = require!(Tokens::start("lab", "geheim", false));
    let registry = with_tokens(&tokens);
    let at = registry.address();
    let name = format!("{at}/x/y");
    sandbox.pull("lab/busybox");
    sandbox.coracle(["push", "-q", "lab/busybox", &name]).fails(1).stderr_has("denied");
    let login =
        |password: &str| sandbox.bare(["login", "-u", "lab", "--password-stdin", &at]).stdin(password);
    login("falsch").fails(1).stderr_has("invalid username/password").stderr_has("incorrect username");
    login("geheim").ok();
    assert_eq!(read(&sandbox.path("xdg/containers/auth.json")), json!({"auths": {&at: {"auth": AUTH}}}));
    sandbox.coracle(["push", "-q", "lab/busybox", &name]).ok();
    // Into another repository: the scopes of both are asked for, and the blobs are taken over.
    sandbox.coracle(["push", "lab/busybox", &format!("{at}/x/z")]).ok().stderr_has("Layer already exists");
    sandbox.coracle(["pull", "-q", &name]).ok();
    sandbox.coracle(["search", "--list-tags", "--format={{.Tag}}", &name]).ok().stdout_is("latest");
    assert!(tokens.requests().iter().all(|request| !request.contains("geheim")));
}

#[test]
fn an_identity_token_is_kept_in_the_passwords_place() {
    let sandbox = require!(Sandbox::user());
    let tokens = require!(Tokens::start("lab", "geheim", true));
    let registry = with_tokens(&tokens);
    let at = registry.address();
    let name = format!("{at}/x/y");
    sandbox.pull("lab/busybox");
    sandbox.bare(["login", "-u", "lab", "--password-stdin", &at]).stdin("geheim").ok();
    let kept = json!({"auths": {&at: {"auth": "bGFiOg==", "identitytoken": IDENTITY}}});
    assert_eq!(read(&sandbox.path("xdg/containers/auth.json")), kept);
    sandbox.bare(["login", "--get-login", &at]).ok().stdout_is("lab");
    sandbox.coracle(["push", "-q", "lab/busybox", &name]).ok();
    assert!(
        tokens.requests().iter().any(|request| request.starts_with("POST") && request.contains(IDENTITY))
    );
    let pulled = require!(sandbox.podman(["pull", "-q", "--tls-verify=false", &name])).run();
    assert_eq!(pulled.exit_code(), 0, "{pulled}\n{:#?}", tokens.requests());
    sandbox.bare(["login", &at]).ok().stdout_has("Already logged in");
    sandbox.bare(["logout", &at]).ok();
    sandbox.coracle(["push", "-q", "lab/busybox", &name]).fails(1);
}

#[test]
fn a_client_certificate_is_shown_to_who_wants_one() {
    let sandbox = require!(Sandbox::user());
    require!(program("openssl"));
    let options = RegistryOptions { empty: true, tls: true, client: true, ..RegistryOptions::default() };
    let registry = Registry::start(options).unwrap();
    let at = registry.address();
    let name = format!("{at}/x/y");
    sandbox.pull("lab/busybox");
    let copy = |from: std::path::PathBuf, to: &str| {
        sandbox.write(to, std::fs::read(from).unwrap());
    };
    let certs = format!("home/.config/containers/certs.d/{at}");
    copy(registry.ca(), &format!("{certs}/ca.crt"));
    sandbox.coracle(["push", "-q", "lab/busybox", &name]).fails(1);
    let (certificate, key) = registry.client();
    copy(certificate.clone(), &format!("{certs}/client.cert"));
    copy(key.clone(), &format!("{certs}/client.key"));
    sandbox.coracle(["push", "-q", "lab/busybox", &name]).ok();
    sandbox.coracle(["pull", "-q", &name]).ok();
    sandbox.bare(["login", "-u", "lab", "--password-stdin", &at]).stdin("x").ok();
    std::fs::remove_dir_all(sandbox.path(&certs)).unwrap();
    copy(registry.ca(), "work/certs/ca.crt");
    copy(certificate, "work/certs/client.cert");
    copy(key, "work/certs/client.key");
    sandbox.coracle(["pull", "-q", "--tls-verify=true", &name]).fails(1).stderr_has("certs.d");
    sandbox.coracle(["pull", "-q", "--cert-dir=certs", "--tls-verify=true", &name]).ok();
    sandbox
        .bare(["search", "--list-tags", "--cert-dir=certs", "--format={{.Tag}}", &name])
        .ok()
        .stdout_is("latest");
}
