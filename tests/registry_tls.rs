//! Registries behind TLS and passwords: whom `pull` believes, and what it says if it does not.

use crate::support::{Registry, RegistryOptions, Sandbox, registry, require};

#[test]
fn a_registry_with_password_and_certificate() {
    let sandbox = require!(Sandbox::user());
    let auth = Some(("lab".to_owned(), "secret".to_owned()));
    let registry =
        require!(Registry::start(RegistryOptions { tls: true, auth, ..RegistryOptions::default() }));
    self::registry().provide("lab/busybox");
    let host = registry.address();
    let name = format!("{host}/lab/busybox");
    let pull = || sandbox.coracle(["pull", "-q", &name]);
    // Loopback is trusted unless verification is asked for.
    pull()
        .args(["--tls-verify=true"])
        .fails(1)
        .stderr_has("cannot reach registry")
        .stderr_has(&format!("hint: put the CA of the registry into /etc/containers/certs.d/{host}/ca.crt"));
    pull().fails(1).stderr_has("pull access denied").stderr_has("unauthorized").stderr_has("hint: log in to");
    pull()
        .args(["--creds", "lab:wrong"])
        .fails(1)
        .stderr_has("denies access to user \"lab\"")
        .stderr_lacks("wrong");
    let ca = std::fs::read(registry.ca()).unwrap();
    sandbox.write("certs/ca.crt", &ca);
    pull()
        .arg("--tls-verify")
        .args(["--cert-dir", "certs", "--creds", "lab:secret"])
        .cwd(sandbox.path(""))
        .ok();
    // By files: credentials and authority.
    sandbox.write(format!("home/.config/containers/certs.d/{host}/ca.crt"), &ca);
    sandbox.write("auth.json", format!(r#"{{"auths":{{"{host}":{{"auth":"bGFiOnNlY3JldA=="}}}}}}"#));
    let authfile = sandbox.path("auth.json");
    pull().env("REGISTRY_AUTH_FILE", &authfile).arg("--tls-verify").ok();
    pull().args(["--authfile", authfile.to_str().unwrap()]).ok();
    pull().args(["--authfile", "/no/such/file"]).fails(1).stderr_has("/no/such/file");
    let helper = "#!/bin/sh\necho '{\"ServerURL\":\"\",\"Username\":\"lab\",\"Secret\":\"secret\"}'\n";
    let path = sandbox.write("bin/docker-credential-lab", helper);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    sandbox.write("home/.docker/config.json", format!(r#"{{"credHelpers":{{"{host}":"lab"}}}}"#));
    let path = format!("{}:/usr/bin:/bin", sandbox.path("bin").display());
    pull().env("PATH", path).env_remove("REGISTRY_AUTH_FILE").ok();
}

/// As docker's manual has it: the certificate of the registry is put where authorities are.
#[test]
fn a_self_signed_certificate_is_believed_where_it_is_trusted() {
    let sandbox = require!(Sandbox::user());
    registry().provide("lab/busybox");
    let start = |names| {
        let options = RegistryOptions { tls: true, self_signed: Some(names), ..RegistryOptions::default() };
        Registry::start(options)
    };
    let right = require!(start("IP:127.0.0.1,DNS:localhost"));
    let wrong = require!(start("DNS:registry.example"));
    let pull = |registry: &Registry, flags: &[&str]| {
        let name = format!("{}/lab/busybox", registry.address());
        sandbox.coracle(["pull", "-q", "--retry=0", "--tls-verify"]).args(flags.iter().copied()).arg(name)
    };
    pull(&right, &[]).fails(1).stderr_has("certs.d");
    let certs = format!("home/.config/containers/certs.d/{}/ca.crt", right.address());
    sandbox.write(certs, std::fs::read(right.ca()).unwrap());
    pull(&right, &[]).ok();
    // Among the system's.
    let ca = right.ca();
    let fresh = require!(Sandbox::user());
    let name = format!("{}/lab/busybox", right.address());
    fresh.coracle(["pull", "-q", "--tls-verify", &name]).env("SSL_CERT_FILE", &ca).ok();
    // It is for that name only, and only whoever has the key can show it.
    let directory = sandbox.mkdir("certs");
    std::fs::copy(wrong.ca(), directory.join("ca.crt")).unwrap();
    let other = ["--cert-dir", directory.to_str().unwrap()];
    pull(&wrong, &other).fails(1).stderr_has("NotValidForName");
    pull(&right, &other).fails(1).stderr_has("certs.d");
}

#[test]
fn a_plain_registry_is_not_spoken_to_if_tls_is_asked_for() {
    let sandbox = require!(Sandbox::user());
    let registry = sandbox.registry();
    registry.provide("lab/busybox");
    let name = format!("{}/lab/busybox", registry.address());
    sandbox
        .coracle(["pull", "--tls-verify", "--retry=0", &name])
        .fails(1)
        .stderr_has("cannot reach registry");
    sandbox.coracle(["pull", "-q", "--tls-verify=false", &name]).ok();
}

/// As on a system without the package ca-certificates.
#[test]
fn without_any_authorities_plain_http_and_certs_d_still_work() {
    let sandbox = require!(Sandbox::user());
    let plain = sandbox.registry();
    plain.provide("lab/busybox");
    let pull = |words: &[&str]| {
        let pull = sandbox.coracle(["pull", "-q", "--retry=0"]).args(words.iter().copied());
        pull.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent")
    };
    pull(&[&format!("{}/lab/busybox", plain.address())]).ok();
    let options = RegistryOptions { tls: true, ..RegistryOptions::default() };
    let own = require!(Registry::start(options));
    let name = format!("{}/lab/busybox", own.address());
    pull(&["--tls-verify=true", &name]).fails(1).stderr_has("cannot reach").stderr_has("ca-certificates");
    let certs = sandbox.mkdir("certs");
    std::fs::copy(own.ca(), certs.join("ca.crt")).unwrap();
    pull(&["--tls-verify=true", "--cert-dir", certs.to_str().unwrap(), &name]).ok();
}
