//! Ports: `--publish` and `--expose`.

use crate::engine::spec::{PortMapping, Protocol};
use crate::engine::{Error, Result};
use std::net::IpAddr;

/// What one `--publish` asks for: docker's `[[IP:][HOST[-HOST]]:]PORT[-PORT][/PROTOCOL]` (several with commas between, as
/// podman has it) or docker's `target=PORT[,published=PORT][,protocol=PROTOCOL]`.
///
/// # Errors
/// Any other text; the phrases are docker's.
pub fn publish(text: &str) -> Result<Vec<PortMapping>> {
    if text.contains('=') {
        return Ok(vec![mapping(&standard(text)?)?]);
    }
    text.split(',').map(mapping).collect()
}

/// The long form as a short one.
fn standard(text: &str) -> Result<String> {
    let (mut target, mut published, mut protocol, mut ip) = ("", "", "tcp", "");
    for field in text.split(',') {
        let (key, value) = field.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
            hinted(format!("invalid publish opts format (should be name=value but got '{field}')"))
        })?;
        match key {
            "target" => target = value,
            "published" => published = value,
            "protocol" => protocol = value,
            "host_ip" => ip = value,
            // Swarm's choice between the routing mesh and the host: there is only the host.
            "mode" if matches!(value, "host" | "ingress") => {}
            _ => return Err(hinted(format!("invalid --publish {text:?}: unknown option {field:?}"))),
        }
    }
    let ip = if ip.contains(':') {
        format!("[{ip}]:")
    } else if ip.is_empty() {
        String::new()
    } else {
        format!("{ip}:")
    };
    Ok(format!("{ip}{published}:{target}/{protocol}"))
}

fn mapping(text: &str) -> Result<PortMapping> {
    let (rest, protocol) = protocol(text)?;
    let (rest, container) = match rest.rsplit_once(':') {
        Some((rest, port)) => (Some(rest), port),
        None => (None, rest),
    };
    let (ip, host) = match rest.and_then(|r| r.rsplit_once(':')) {
        Some((ip, host)) => (ip, host),
        None => ("", rest.unwrap_or_default()),
    };
    if container.is_empty() {
        return Err(hinted(format!("no port specified: {text}<empty>")));
    }
    let host_ip = host_ip(ip)?;
    let (first, last) = range(container)
        .filter(|(first, _)| *first > 0)
        .ok_or_else(|| hinted(format!("invalid containerPort: {container}")))?;
    let out = PortMapping {
        host_ip,
        container_port: first,
        range: last - first + 1,
        protocol,
        ..PortMapping::default()
    };
    if host.is_empty() {
        return Ok(out);
    }
    let bad = || hinted(format!("invalid hostPort: {host}"));
    let (host_first, host_last) = range(host).ok_or_else(bad)?;
    // "0" alone is docker's way to write "any"; a range from 0 on is none.
    if host_first == 0 && host_last > 0 {
        return Err(bad());
    }
    let out = PortMapping { host_port: host_first, ..out };
    match (host_last - host_first, last - first) {
        (hosts, containers) if hosts == containers => Ok(out),
        (_, 0) => Ok(PortMapping { host_last, ..out }),
        (0, _) if host_first == 0 => Ok(out),
        _ => Err(hinted(format!(
            "invalid ranges specified for container and host Ports: {container} and {host}"
        ))
        .with_hint("both ranges must be of the same length, or the container's be one port")),
    }
}

/// IPv6 with or without brackets; empty and the unspecified IPv4 address's own word mean what docker means by them.
fn host_ip(text: &str) -> Result<Option<IpAddr>> {
    if text.is_empty() {
        return Ok(None);
    }
    let inner = match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|r| r.contains(':')),
        None => Some(text),
    };
    let ip = inner.and_then(|i| i.parse().ok());
    ip.map(Some).ok_or_else(|| {
        hinted(format!("invalid IP address: {text}"))
            .with_hint("an address of this host, IPv6 in brackets: [::1]:8080:80")
    })
}

/// What stands before the last slash, and the protocol after it.
fn protocol(text: &str) -> Result<(&str, Protocol)> {
    let Some((rest, word)) = text.rsplit_once('/').filter(|(_, word)| !word.contains(':')) else {
        return Ok((text, Protocol::Tcp));
    };
    let protocol = if word.is_empty() { Some(Protocol::Tcp) } else { Protocol::parse(word) };
    let protocol = protocol.ok_or_else(|| {
        Error::invalid(format!("invalid proto: {word}"))
            .with_hint("the protocols with ports are tcp, udp and sctp")
    })?;
    Ok((rest, protocol))
}

/// `N` or `N-M`, in order.
fn range(text: &str) -> Option<(u16, u16)> {
    let number = |t: &str| t.parse().ok().filter(|_| t.bytes().all(|b| b.is_ascii_digit()));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

fn hinted(context: String) -> Error {
    Error::invalid(context)
        .with_hint("--publish [[IP:][HOST[-HOST]]:]PORT[-PORT][/tcp|udp|sctp], for example 127.0.0.1:8080:80")
}

/// One `--expose`: `80`, `80/udp`, `8000-8002/tcp` as single ports with their protocol.
///
/// # Errors
/// Any other text.
pub fn expose(text: &str) -> Result<Vec<String>> {
    let hint = "--expose PORT[-PORT][/tcp|udp|sctp]";
    if text.contains(':') {
        return Err(Error::invalid(format!("invalid port format for --expose: {text}")).with_hint(hint));
    }
    let (ports, protocol) = protocol(text)?;
    let (first, last) = range(ports).filter(|(first, _)| *first > 0).ok_or_else(|| {
        Error::invalid(format!(
            "invalid range format for --expose: {text}, error: invalid range specified for port: {ports}"
        ))
        .with_hint(hint)
    })?;
    Ok((first..=last).map(|port| format!("{port}/{}", protocol.as_str())).collect())
}

/// Ports that two mappings claim on one address of the host cannot both be served.
///
/// # Errors
/// Names the port that is published twice.
pub fn distinct(ports: &[PortMapping]) -> Result<()> {
    for (i, a) in ports.iter().enumerate() {
        for b in &ports[..i] {
            let fixed = |p: &PortMapping| p.host_port > 0 && p.host_last == 0;
            if !fixed(a) || !fixed(b) || a.protocol != b.protocol || a.host_ip != b.host_ip {
                continue;
            }
            let end = |p: &PortMapping| u32::from(p.host_port) + u32::from(p.range);
            let first = a.host_port.max(b.host_port);
            if u32::from(first) < end(a).min(end(b)) {
                return Err(Error::invalid(format!(
                    "conflicting port mappings for host port {first} (protocol {})",
                    a.protocol.as_str()
                ))
                .with_hint("a host port leads to one port of the container"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::engine::ErrorKind;

    /// `IP HOST[-LAST] CONTAINER xRANGE PROTOCOL`.
    fn shown(text: &str) -> String {
        let one = |p: PortMapping| {
            let ip = p.host_ip.map_or("*".to_owned(), |ip| ip.to_string());
            let last = if p.host_last > 0 { format!("-{}", p.host_last) } else { String::new() };
            format!("{ip} {}{last} {} x{} {}", p.host_port, p.container_port, p.range, p.protocol.as_str())
        };
        let all = publish(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        all.into_iter().map(one).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn published_ports() {
        for (text, want) in [
            ("80", "* 0 80 x1 tcp"),
            ("80/udp", "* 0 80 x1 udp"),
            ("80/", "* 0 80 x1 tcp"),
            ("8080:80", "* 8080 80 x1 tcp"),
            ("8080:80/TCP", "* 8080 80 x1 tcp"),
            ("8080:80/sctp", "* 8080 80 x1 sctp"),
            (":80", "* 0 80 x1 tcp"),
            ("::80", "* 0 80 x1 tcp"),
            ("0:80", "* 0 80 x1 tcp"),
            ("0:80-82", "* 0 80 x3 tcp"),
            ("80-82", "* 0 80 x3 tcp"),
            ("127.0.0.1::80", "127.0.0.1 0 80 x1 tcp"),
            ("127.0.0.1:8080:80", "127.0.0.1 8080 80 x1 tcp"),
            ("0.0.0.0:8080:80", "0.0.0.0 8080 80 x1 tcp"),
            ("[::1]:8080:80/udp", "::1 8080 80 x1 udp"),
            ("[::]:8080:80", ":: 8080 80 x1 tcp"),
            ("[::1]::80", "::1 0 80 x1 tcp"),
            ("::1:8080:80", "::1 8080 80 x1 tcp"),
            ("8000-8002:80-82", "* 8000 80 x3 tcp"),
            ("127.0.0.1:8000-8002:9000-9002/udp", "127.0.0.1 8000 9000 x3 udp"),
            ("8080-8090:80", "* 8080-8090 80 x1 tcp"),
            ("[::1]:8080-8090:80/udp", "::1 8080-8090 80 x1 udp"),
            ("8080-8080:80", "* 8080 80 x1 tcp"),
            ("8080:80,8443:443,53:53/udp", "* 8080 80 x1 tcp; * 8443 443 x1 tcp; * 53 53 x1 udp"),
            ("1-65535:1-65535", "* 1 1 x65535 tcp"),
            ("target=80", "* 0 80 x1 tcp"),
            ("published=8080,target=80", "* 8080 80 x1 tcp"),
            ("target=80,published=8080,protocol=udp,mode=host", "* 8080 80 x1 udp"),
            ("target=80,published=8080,host_ip=::1", "::1 8080 80 x1 tcp"),
            ("target=80-81,published=8080-8081,host_ip=192.0.2.1", "192.0.2.1 8080 80 x2 tcp"),
        ] {
            assert_eq!(shown(text), want, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_published() {
        for (text, phrase) in [
            ("", "no port specified: <empty>"),
            ("8080:", "no port specified: 8080:<empty>"),
            ("1:2:", "no port specified"),
            ("x", "invalid containerPort: x"),
            ("99999", "invalid containerPort: 99999"),
            ("80-79", "invalid containerPort: 80-79"),
            ("0", "invalid containerPort: 0"),
            ("8080:0", "invalid containerPort: 0"),
            ("80:+80", "invalid containerPort: +80"),
            ("80:8 0", "invalid containerPort: 8 0"),
            ("1-2-3", "invalid containerPort: 1-2-3"),
            ("a:80", "invalid hostPort: a"),
            ("80/tcp:80", "invalid hostPort: 80/tcp"),
            ("70000:80", "invalid hostPort: 70000"),
            ("0-5:80", "invalid hostPort: 0-5"),
            ("8081-8080:80", "invalid hostPort: 8081-8080"),
            ("80/icmp", "invalid proto: icmp"),
            ("80/tcp/udp", "invalid containerPort: 80/tcp"),
            ("8080-8081:80-82", "invalid ranges specified for container and host Ports: 80-82 and 8080-8081"),
            ("8080:80-82", "invalid ranges specified"),
            ("localhost:80:80", "invalid IP address: localhost"),
            ("[::1:80:80", "invalid IP address: [::1"),
            ("[127.0.0.1]:80:80", "invalid IP address: [127.0.0.1]"),
            ("256.0.0.1:80:80", "invalid IP address: 256.0.0.1"),
            ("80,", "no port specified"),
            ("target=80,published", "invalid publish opts format (should be name=value but got 'published')"),
            ("target=80,=1", "invalid publish opts format"),
            ("published=80", "no port specified"),
            ("target=80,mode=x", "unknown option"),
        ] {
            let e = publish(text).expect_err(text);
            assert_eq!(e.kind(), ErrorKind::Invalid, "{text}");
            assert!(e.to_string().contains(phrase), "{text}: {e}");
            assert!(e.hint().is_some(), "{text}");
        }
    }

    #[test]
    fn exposed_ports() {
        assert_eq!(expose("80").unwrap(), ["80/tcp"]);
        assert_eq!(expose("8000-8001/UDP").unwrap(), ["8000/udp", "8001/udp"]);
        for (text, phrase) in [
            (
                "80-70",
                "invalid range format for --expose: 80-70, error: invalid range specified for port: 80-70",
            ),
            ("a:b", "invalid port format for --expose: a:b"),
            ("80/icmp", "invalid proto: icmp"),
            ("", "invalid range format"),
            ("0", "invalid range format"),
            ("65536", "invalid range format"),
            ("x", "invalid range format"),
        ] {
            let e = expose(text).expect_err(text);
            assert!(e.to_string().contains(phrase), "{text}: {e}");
        }
    }

    #[test]
    fn one_host_port_for_one_container_port() {
        let all =
            |texts: &[&str]| distinct(&texts.iter().flat_map(|t| publish(t).unwrap()).collect::<Vec<_>>());
        for texts in [
            &["8080:80", "8081:80"][..],
            &["8080:80", "8080:80/udp"],
            &["127.0.0.1:8080:80", "[::1]:8080:80"],
            &["80", "81"],
            &["8000-8005:1-6", "8006:9"],
            &["8080-8090:80", "8080-8090:81"],
        ] {
            all(texts).unwrap();
        }
        for texts in [&["8080:80", "8080:81"][..], &["8000-8005:1-6", "8005:9"], &["65535:1", "65535:2"]] {
            assert!(
                all(texts).unwrap_err().to_string().starts_with("conflicting port mappings for host port")
            );
        }
    }
}
