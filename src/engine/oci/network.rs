//! What a container's network becomes when its command line says nothing, and what does not fit it.

use crate::engine::Result;
use crate::engine::spec::{Attachment, ContainerSpec, Defaults, HostFacts, NamespaceMode, NetworkRequest};

/// Decides the network's mode and drops the published ports of a container that has no network of its own, with docker's
/// and podman's warning. The default network is a bridge for root, and a user-mode network for everybody else.
///
/// # Errors
/// containers.conf's `netns` cannot be understood.
pub(super) fn complete(spec: &mut ContainerSpec, defaults: &Defaults, host: &HostFacts) -> Result<()> {
    if spec.namespaces.network == NamespaceMode::Default {
        let request = NetworkRequest::parse("netns of containers.conf", &defaults.netns)?;
        spec.namespaces.network = match request.mode {
            NamespaceMode::Default => NamespaceMode::Private,
            mode => mode,
        };
        spec.network.attachments.extend(request.attachment);
        spec.network.options = request.options;
    }
    if spec.namespaces.network == NamespaceMode::Private {
        // A container on networks by name is on bridges, whoever made it.
        let bridge = !host.rootless || !spec.network.attachments.is_empty();
        let word = if bridge { "bridge" } else { &defaults.rootless_network };
        spec.namespaces.network = NamespaceMode::Network(word.to_owned());
    }
    if spec.namespaces.network == NamespaceMode::Network("bridge".to_owned())
        && spec.network.attachments.is_empty()
    {
        let default = Attachment { network: "bridge".to_owned(), ..Attachment::default() };
        spec.network.attachments.push(default);
    }
    // A published port is an exposed one, as in docker.
    for port in &spec.network.ports {
        for number in (0..port.range).filter_map(|offset| port.container_port.checked_add(offset)) {
            let text = format!("{number}/{}", port.protocol.as_str());
            if !spec.exposed_ports.contains(&text) {
                spec.exposed_ports.push(text);
            }
        }
    }
    let word = match spec.namespaces.network {
        NamespaceMode::Host => "host",
        NamespaceMode::None => "none",
        NamespaceMode::Path(_) => "ns",
        _ => return Ok(()),
    };
    if !spec.network.ports.is_empty() || spec.network.publish_all {
        tracing::warn!("published ports are discarded when using {word} network mode");
        spec.network.ports.clear();
        spec.network.publish_all = false;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::spec::PortMapping;

    fn completed(mode: NamespaceMode, netns: &str) -> Result<ContainerSpec> {
        let defaults = Defaults { netns: netns.to_owned(), ..Defaults::default() };
        let mut spec = ContainerSpec::default();
        spec.namespaces.network = mode;
        spec.network.ports = vec![PortMapping { container_port: 80, range: 1, ..PortMapping::default() }];
        spec.network.publish_all = true;
        complete(&mut spec, &defaults, &HostFacts::default()).map(|()| spec)
    }

    #[test]
    fn the_configuration_decides_what_the_command_line_left_open() {
        use NamespaceMode as M;
        let of = |netns| completed(M::Default, netns).unwrap();
        for netns in ["", "private"] {
            let got = of(netns);
            assert_eq!(got.namespaces.network, M::Network("bridge".into()));
            assert_eq!(got.network.attachments[0].network, "bridge");
        }
        assert_eq!(of("none").namespaces.network, M::None);
        let got = of("bridge:ip=10.1.0.2,interface_name=net0");
        assert_eq!(got.namespaces.network, M::Network("bridge".into()));
        let attachment = &got.network.attachments[0];
        assert_eq!((attachment.network.as_str(), attachment.interface.as_str()), ("bridge", "net0"));
        let got = of("pasta:--mtu,1500");
        assert_eq!(got.namespaces.network, M::Network("pasta".into()));
        assert_eq!(got.network.options, ["--mtu", "1500"]);
        let e = completed(M::Default, "host:x").unwrap_err();
        assert!(e.to_string().starts_with("invalid netns of containers.conf"), "{e}");
        assert_eq!(completed(M::Host, "host:x").unwrap().namespaces.network, M::Host);
    }

    #[test]
    fn ports_need_a_network() {
        use NamespaceMode as M;
        for (mode, kept) in [
            (M::Private, true),
            (M::Network("pasta".into()), true),
            (M::Host, false),
            (M::None, false),
            (M::Path("/run/netns/x".into()), false),
        ] {
            let got = completed(mode.clone(), "").unwrap().network;
            assert_eq!((!got.ports.is_empty(), got.publish_all), (kept, kept), "{mode:?}");
            assert_eq!(completed(mode, "").unwrap().exposed_ports, ["80/tcp"]);
        }
        assert!(completed(M::Default, "host").unwrap().network.ports.is_empty());
    }
}
