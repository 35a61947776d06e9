//! `--change`: Dockerfile instructions that change an image's configuration. Pure.
//!
//! Those that docker allows for commit and import, in docker's meaning: variables are those of the image, the shell form
//! of CMD and ENTRYPOINT runs in the image's SHELL, an ENTRYPOINT without a CMD beside it drops the image's CMD. As
//! podman does, `KEY=value` is taken for `KEY value`.

use super::config::{Healthcheck, RunConfig};
use super::words;
use crate::engine::spec::signal;
use crate::engine::{Error, Result, moment};

/// Applies instructions, the first one first.
///
/// # Errors
/// An instruction that is unknown, that changes more than the configuration, or that is malformed.
pub fn apply(config: &mut RunConfig, instructions: &[String]) -> Result<()> {
    let mut cmd_set = false;
    for instruction in instructions {
        let (key, rest) = parts(instruction)?;
        let bad = |e: Error| e.wrap(format!("invalid change {instruction:?}"));
        one(config, &key, rest, &mut cmd_set).map_err(bad)?;
    }
    Ok(())
}

fn parts(instruction: &str) -> Result<(String, &str)> {
    let text = instruction.trim();
    let end = text.find(|c: char| c.is_whitespace() || c == '=');
    match end {
        Some(end) => {
            let (key, rest) = text.split_at(end);
            Ok((key.to_uppercase(), rest.trim_start_matches('=').trim()))
        }
        // A command may be emptied.
        None if ["CMD", "ENTRYPOINT"].contains(&text.to_uppercase().as_str()) => {
            Ok((text.to_uppercase(), ""))
        }
        None => Err(Error::invalid(format!("invalid change {instruction:?}: it must be KEY VALUE"))),
    }
}

fn one(config: &mut RunConfig, key: &str, rest: &str, cmd_set: &mut bool) -> Result<()> {
    if rest.is_empty() && !matches!(key, "CMD" | "ENTRYPOINT") {
        return Err(Error::invalid(format!("{key} needs a value")));
    }
    let env = config.env.clone();
    let expand = |word: &str| words::expand(word, &|name| lookup(&env, name));
    match key {
        "CMD" => {
            config.cmd = Some(command(rest, config.shell.as_deref(), true));
            *cmd_set = true;
        }
        "ENTRYPOINT" => {
            config.entrypoint = Some(command(rest, config.shell.as_deref(), false)).filter(|e| !e.is_empty());
            if !*cmd_set {
                config.cmd = None;
            }
        }
        "ENV" => {
            for (name, value) in pairs(rest, &expand)? {
                config.env.retain(|entry| entry.split('=').next() != Some(&name));
                config.env.push(format!("{name}={value}"));
            }
        }
        "LABEL" => config.labels.extend(pairs(rest, &expand)?),
        "EXPOSE" => {
            for word in words::split(rest) {
                add(&mut config.exposed_ports, ports(&expand(&word)?)?);
            }
        }
        "USER" => config.user = expand(rest)?,
        "VOLUME" => {
            let paths = match json_words(rest) {
                Some(paths) => paths,
                None => words::split(rest).iter().map(|word| expand(word)).collect::<Result<_>>()?,
            };
            if paths.is_empty() || paths.iter().any(String::is_empty) {
                return Err(Error::invalid("VOLUME needs paths that are not empty"));
            }
            add(&mut config.volumes, paths);
        }
        "WORKDIR" => config.working_dir = joined(&config.working_dir, &expand(rest)?),
        "STOPSIGNAL" => {
            let name = expand(rest)?;
            signal::parse(&name)?;
            config.stop_signal = name;
        }
        "ONBUILD" => {
            on_build(rest)?;
            config.on_build.push(rest.to_owned());
        }
        "HEALTHCHECK" => config.healthcheck = Some(health(rest, config.shell.as_deref())?),
        "SHELL" => {
            let shell = json_words(rest).filter(|words| !words.is_empty());
            config.shell = Some(shell.ok_or_else(|| Error::invalid("SHELL needs a list of words in JSON"))?);
        }
        _ => {
            return Err(Error::invalid(format!("{key} is not a valid change command")).with_hint(
                "valid are CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME and WORKDIR",
            ));
        }
    }
    Ok(())
}

fn lookup(env: &[String], name: &str) -> Option<String> {
    env.iter().find_map(|entry| entry.split_once('=').filter(|(n, _)| *n == name)).map(|(_, v)| v.to_owned())
}

fn json_words(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// The exec form is JSON; anything else is for the shell. An empty CMD is the shell alone, as podman has it.
fn command(text: &str, shell: Option<&[String]>, is_cmd: bool) -> Vec<String> {
    if let Some(words) = json_words(text) {
        return words;
    }
    if text.is_empty() && !is_cmd {
        return Vec::new();
    }
    let mut words = shell.map_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()], <[String]>::to_vec);
    if !text.is_empty() {
        words.push(text.to_owned());
    }
    words
}

/// `NAME=VALUE …`, or one `NAME VALUE` with everything up to the end.
fn pairs(text: &str, expand: &dyn Fn(&str) -> Result<String>) -> Result<Vec<(String, String)>> {
    let words = words::split(text);
    let is_old = words.first().is_some_and(|word| !word.contains('='));
    if is_old {
        let (name, value) = text
            .split_once(char::is_whitespace)
            .ok_or_else(|| Error::invalid(format!("{text:?} has no value")))?;
        return Ok(vec![(expand(name)?, expand(value.trim())?)]);
    }
    words
        .iter()
        .map(|word| {
            let (name, value) = word
                .split_once('=')
                .ok_or_else(|| Error::invalid(format!("syntax error: {word:?} is not NAME=VALUE")))?;
            let name = expand(name)?;
            if name.is_empty() {
                return Err(Error::invalid("a name is empty"));
            }
            Ok((name, expand(value)?))
        })
        .collect()
}

fn add(list: &mut Vec<String>, more: Vec<String>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
    list.sort();
}

/// `PORT[-PORT][/PROTOCOL]`.
fn ports(word: &str) -> Result<Vec<String>> {
    const MOST: u16 = 10_000;
    let bad = || Error::invalid(format!("{word:?} is no port: PORT[-PORT][/tcp|udp|sctp]"));
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(bad());
    }
    let number = |text: &str| text.parse::<u16>().ok().filter(|n| *n > 0).ok_or_else(bad);
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (number(first)?, number(last)?);
    if last < first || last - first > MOST {
        return Err(bad());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// `..` and `.` resolved, as Go's `path.Join`.
fn joined(base: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("/{base}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn on_build(text: &str) -> Result<()> {
    let word = text.split_whitespace().next().unwrap_or_default().to_uppercase();
    match word.as_str() {
        "ONBUILD" => Err(Error::invalid("chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")),
        "FROM" | "MAINTAINER" => Err(Error::invalid(format!("{word} isn't allowed as an ONBUILD trigger"))),
        _ => Ok(()),
    }
}

/// `NONE`, or `[--interval=… --timeout=… --start-period=… --start-interval=… --retries=…] CMD …`.
fn health(text: &str, shell: Option<&[String]>) -> Result<Healthcheck> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        rest = after.trim_start();
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let bad = || Error::invalid(format!("--{name}={value} of HEALTHCHECK"));
        let nanoseconds = || {
            let length = moment::duration(value).ok_or_else(bad)?;
            i64::try_from(length.as_nanos()).map_err(|_| bad())
        };
        match name {
            "interval" => check.interval = nanoseconds()?,
            "timeout" => check.timeout = nanoseconds()?,
            "start-period" => check.start_period = nanoseconds()?,
            "start-interval" => check.start_interval = nanoseconds()?,
            "retries" => check.retries = value.parse().ok().filter(|n| *n >= 0).ok_or_else(bad)?,
            _ => return Err(Error::invalid(format!("HEALTHCHECK has no flag --{name}"))),
        }
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    check.test = match (kind.to_uppercase().as_str(), json_words(command)) {
        ("NONE", _) if command.is_empty() => vec!["NONE".to_owned()],
        ("CMD", Some(words)) if !words.is_empty() => [vec!["CMD".to_owned()], words].concat(),
        ("CMD", None) if !command.is_empty() && shell.is_none() => {
            vec!["CMD-SHELL".to_owned(), command.to_owned()]
        }
        ("CMD", None) if !command.is_empty() => {
            let shell = shell.unwrap_or_default();
            [&["CMD".to_owned()], shell, &[command.to_owned()]].concat()
        }
        _ => return Err(Error::invalid("HEALTHCHECK must be NONE, or CMD and a command")),
    };
    Ok(check)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    fn base() -> RunConfig {
        RunConfig {
            env: strings(&["PATH=/bin", "A=1"]),
            cmd: Some(strings(&["sh"])),
            entrypoint: Some(strings(&["/entry"])),
            working_dir: "/srv".into(),
            exposed_ports: strings(&["80/tcp"]),
            ..RunConfig::default()
        }
    }

    fn changed(instructions: &[&str]) -> Result<RunConfig> {
        let mut config = base();
        apply(&mut config, &strings(instructions)).map(|()| config)
    }

    #[test]
    fn commands_have_two_forms() {
        let shell = |text: &str| Some(strings(&["/bin/sh", "-c", text]));
        assert_eq!(changed(&["CMD echo $A"]).unwrap().cmd, shell("echo $A"));
        assert_eq!(changed(&["cmd [\"a\", \"b\"]"]).unwrap().cmd, Some(strings(&["a", "b"])));
        assert_eq!(changed(&["CMD=ls -l"]).unwrap().cmd, shell("ls -l"));
        assert_eq!(changed(&["CMD echo"]).unwrap().entrypoint, base().entrypoint);
        let config = changed(&["ENTRYPOINT [\"/x\"]"]).unwrap();
        assert_eq!((config.entrypoint, config.cmd), (Some(strings(&["/x"])), None));
        let config = changed(&["CMD [\"y\"]", "ENTRYPOINT [\"/x\"]"]).unwrap();
        assert_eq!(config.cmd, Some(strings(&["y"])));
        assert_eq!(changed(&["ENTRYPOINT []"]).unwrap().entrypoint, None);
        assert_eq!(changed(&["ENTRYPOINT "]).unwrap().entrypoint, None);
        let config = changed(&["SHELL [\"/bin/bash\", \"-c\"]", "CMD x"]).unwrap();
        assert_eq!(config.cmd, Some(strings(&["/bin/bash", "-c", "x"])));
    }

    #[test]
    fn names_and_values() {
        let env = |i: &str| changed(&[i]).unwrap().env;
        assert_eq!(env("ENV A=2 B=\"x y\""), strings(&["PATH=/bin", "A=2", "B=x y"]));
        assert_eq!(env("ENV C the  rest $A"), strings(&["PATH=/bin", "A=1", "C=the  rest 1"]));
        assert_eq!(env("env PATH=$PATH:/x"), strings(&["A=1", "PATH=/bin:/x"]));
        let labels = changed(&["LABEL a=b c=\"d e\" 'f'=g", "LABEL h i j"]).unwrap().labels;
        let labels: Vec<_> = labels.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(labels, ["a=b", "c=d e", "f=g", "h=i j"]);
        for bad in ["ENV", "ENV A", "ENV =x", "LABEL a=b c", "ENV A='x"] {
            assert!(changed(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_rest() {
        let config = changed(&[
            "EXPOSE 443 53/udp 8000-8001",
            "USER $A:2",
            "VOLUME /a /b",
            "VOLUME [\"/c d\"]",
            "WORKDIR sub",
            "WORKDIR ../other",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN x",
            "HEALTHCHECK --interval=5s --retries=3 CMD curl x",
        ])
        .unwrap();
        assert_eq!(config.exposed_ports, ["443/tcp", "53/udp", "80/tcp", "8000/tcp", "8001/tcp"]);
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("1:2", "/srv/other"));
        assert_eq!(config.volumes, ["/a", "/b", "/c d"]);
        assert_eq!((config.stop_signal.as_str(), &config.on_build[..]), ("SIGINT", &strings(&["RUN x"])[..]));
        let check = config.healthcheck.unwrap();
        assert_eq!((check.interval, check.retries), (5_000_000_000, 3));
        assert_eq!(check.test, ["CMD-SHELL", "curl x"]);
        assert_eq!(changed(&["HEALTHCHECK NONE"]).unwrap().healthcheck.unwrap().test, ["NONE"]);
        for bad in [
            "RUN x",
            "FROM y",
            "EXPOSE x",
            "EXPOSE 0",
            "EXPOSE 90-80",
            "EXPOSE 80/icmp",
            "STOPSIGNAL SIGNOTHING",
            "ONBUILD ONBUILD RUN x",
            "ONBUILD FROM x",
            "HEALTHCHECK",
            "HEALTHCHECK --interval=x CMD y",
            "HEALTHCHECK CMD",
            "VOLUME",
            "VOLUME [\"\"]",
            "SHELL sh",
            "nothing",
        ] {
            let e = changed(&[bad]).unwrap_err();
            assert!(e.to_string().contains("invalid change"), "{bad}: {e}");
        }
    }
}
