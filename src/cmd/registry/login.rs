//! `coracle login`.

use super::prompt;
use crate::cmd::{Context, Exit};
use crate::engine::account::Accounts;
use crate::engine::config::Config;
use crate::engine::config::auth::{Credentials, Login, Place};
use crate::engine::registry::ClientOptions;
use crate::engine::secret::Secrets;
use crate::engine::{Error, Result};
use clap::Args;
use std::io::Read;
use std::path::PathBuf;

/// Log in to a registry
///
/// Name and password are asked for unless they are given. The registry is asked whether it takes them; if so they are kept
/// in $XDG_RUNTIME_DIR/containers/auth.json, which podman, buildah and skopeo read, or by the credential helper that is
/// configured.
#[derive(Args, Clone, Debug, Default)]
pub struct LoginArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub place: PlaceArgs,
    /// Directory with certificates (*.crt, *.cert, *.key) for the registry
    #[arg(long, value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,
    /// Print the name of the user who is logged in
    #[arg(long)]
    pub get_login: bool,
    /// Password; others can see it while the command runs: use --password-stdin
    #[arg(short, long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    pub password_stdin: bool,
    /// Read the password from this secret, whose name is the user's unless --username says otherwise
    #[arg(long, value_name = "SECRET")]
    pub secret: Option<String>,
    /// Verify the registry's certificate [default: as registries.conf says, else true]
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = crate::cmd::flags::values::boolean)]
    pub tls_verify: Option<bool>,
    /// Name of the user
    #[arg(short, long, value_name = "NAME")]
    pub username: Option<String>,
    /// Tell where the credentials are kept
    #[arg(short, long)]
    pub verbose: bool,
    /// Registry, or repositories below one, as in quay.io/team [default: the first search registry]
    #[arg(value_name = "REGISTRY")]
    pub registry: Option<String>,
}

/// The file with the credentials.
#[derive(Args, Clone, Debug, Default)]
pub struct PlaceArgs {
    /// File with the credentials [default: $REGISTRY_AUTH_FILE, else in the runtime directory]
    #[arg(long, value_name = "FILE", conflicts_with = "compat_auth_file")]
    pub authfile: Option<PathBuf>,
    /// File with the credentials in docker's form, as ~/.docker/config.json
    #[arg(long, value_name = "FILE")]
    pub compat_auth_file: Option<PathBuf>,
}

impl PlaceArgs {
    /// Where that is.
    pub fn place(&self) -> Place {
        match (&self.authfile, &self.compat_auth_file) {
            (Some(path), _) => Place::File(path.clone()),
            (None, Some(path)) => Place::Docker(path.clone()),
            (None, None) => Place::Usual,
        }
    }
}

/// Exit code of a command that the user interrupted.
const INTERRUPTED: Exit = Exit(130);

/// Runs `coracle login`.
pub fn run(cx: &Context, args: LoginArgs) -> Result<Exit> {
    let config = cx.config()?;
    let accounts = Accounts::open(&config.env, &args.place.place())?;
    let key = accounts.key(args.registry.as_deref())?;
    let current = accounts.current(&key);
    if args.get_login {
        let user = current?.map(|login| login.user).filter(|user| !user.is_empty());
        let user = user.ok_or_else(|| Error::not_found(format!("not logged into {key}")))?;
        cx.println(user)?;
        return Ok(Exit::OK);
    }
    // What cannot be read cannot be offered; logging in anew may be the way out.
    let current = current.unwrap_or_default();
    let access = ClientOptions {
        tls_verify: args.tls_verify,
        cert_dir: args.cert_dir.clone(),
        ..ClientOptions::default()
    };
    let given = given_password(cx, &config, &args)?;
    if let (None, None, Some(login)) = (&args.username, &given, &current) {
        cx.println(format!("Authenticating with existing credentials for {key}"))?;
        match accounts.check(&key, &login.credentials, &access) {
            Ok(_) => {
                cx.println(format!("Existing credentials are valid. Already logged in to {key}"))?;
                return Ok(Exit::OK);
            }
            Err(e) if e.kind() != crate::engine::ErrorKind::Unauthorized => return Err(e),
            Err(_) => {
                cx.println("Existing credentials are invalid, please enter valid username and password")?;
            }
        }
    }
    let known = current.map(|login| login.user).unwrap_or_default();
    let username = args.username.filter(|user| !user.is_empty()).or(args.secret);
    let Some((user, password)) = complete(cx, username, given, &known)? else { return Ok(INTERRUPTED) };
    let credentials = Credentials::Basic { user: user.clone(), password };
    let credentials = accounts.check(&key, &credentials, &access)?;
    let place = accounts.keep(&key, &Login { user, credentials })?;
    if args.verbose {
        cx.println(format!("Used: {place}"))?;
    }
    cx.println("Login Succeeded!")?;
    Ok(Exit::OK)
}

fn given_password(cx: &Context, config: &Config, args: &LoginArgs) -> Result<Option<String>> {
    if let Some(secret) = &args.secret {
        if args.password.is_some() || args.password_stdin {
            return Err(Error::invalid("--secret can not be used with --password options"));
        }
        let secrets = Secrets::open(config);
        let data = secrets.data(&secrets.resolve(secret)?)?;
        let text = String::from_utf8(data)
            .map_err(|_| Error::invalid(format!("the secret {secret} is no password: it is not text")))?;
        let password = text.trim_end_matches(['\r', '\n']);
        return match password {
            "" => Err(Error::invalid(format!("the secret {secret} is empty"))),
            password => Ok(Some(password.to_owned())),
        };
    }
    if !args.password_stdin {
        if args.password.is_some() {
            cx.note("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
        }
        return Ok(args.password.clone());
    }
    if args.password.is_some() {
        return Err(Error::invalid("--password and --password-stdin are mutually exclusive"));
    }
    if args.username.as_deref().unwrap_or_default().is_empty() {
        return Err(Error::invalid("Must provide --username with --password-stdin"));
    }
    const MOST: u64 = 1 << 20;
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MOST).read_to_string(&mut text);
    read.map_err(|e| Error::os("read the password from standard input", e))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Error::invalid("password is empty"));
    }
    Ok(Some(password.to_owned()))
}

/// Asks for what is missing. `None`: the user gave up.
fn complete(
    cx: &Context,
    user: Option<String>,
    password: Option<String>,
    known: &str,
) -> Result<Option<(String, String)>> {
    let user = match user.filter(|u| !u.is_empty()) {
        Some(user) => user,
        None => {
            let question = if known.is_empty() { "Username: " } else { &format!("Username ({known}): ") };
            let Some(typed) = prompt::line(question)? else {
                return Err(Error::invalid("reading username: the input ended")
                    .with_hint("pass --username and --password-stdin"));
            };
            if typed.is_empty() { known.to_owned() } else { typed }
        }
    };
    if user.is_empty() {
        return Err(Error::invalid("username is empty"));
    }
    let password = match password {
        Some(password) => password,
        None => match prompt::secret(cx, "Password: ")? {
            Some(password) => password,
            None => return Ok(None),
        },
    };
    if password.is_empty() {
        return Err(Error::invalid("password is empty"));
    }
    Ok(Some((user, password)))
}
