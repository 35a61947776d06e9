//! `coracle network create`.

use crate::cmd::flags::labels::given;
use crate::cmd::flags::subnets::{SubnetArgs, route};
use crate::cmd::flags::values::boolean;
use crate::cmd::{Context, Exit};
use crate::engine::network::{Networks, NewNetwork};
use crate::engine::{Error, ErrorKind, Result};
use clap::Args;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Make a network
///
/// Prints the network's ID, as docker does (podman prints the name); either may be used wherever a network is named. Without
/// flags it is a bridge with a free subnet and a name server that knows its containers by their names.
///
/// Driver options (--opt): mtu=BYTES; vlan=ID; isolate=true|false|strict (no traffic with other isolated networks);
/// metric=N and no_default_route=true for the default route; vrf=NAME; mode=unmanaged (use a bridge that is there and leave
/// it alone); for macvlan and ipvlan: parent=INTERFACE, mode=bridge|private|vepa|passthru or l2|l3|l3s. Docker's
/// com.docker.network.driver.mtu and com.docker.network.bridge.name mean mtu and --interface-name, and
/// com.docker.network.bridge.enable_icc=false keeps the containers of a bridge from each other, but for published ports; those of
/// docker's options that open or close paths and cannot be had here are refused.
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    /// Driver: bridge, macvlan or ipvlan
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge")]
    driver: String,
    /// Name; default: the bridge's
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    subnets: SubnetArgs,
    /// IPv4 addresses [default: true]
    #[arg(long, help_heading = "Addresses", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    ipv4: Option<bool>,
    /// IPv6 addresses, too
    #[arg(long, help_heading = "Addresses")]
    ipv6: bool,
    /// Who hands out addresses: host-local, dhcp or none
    #[arg(
        long,
        value_name = "DRIVER",
        default_value = "",
        hide_default_value = true,
        help_heading = "Addresses"
    )]
    ipam_driver: String,
    /// Option for it (the three drivers have none)
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Addresses")]
    ipam_opt: Vec<String>,
    /// Static route for its containers (may be repeated)
    #[arg(long, value_name = "DESTINATION,GATEWAY[,METRIC]", help_heading = "Addresses")]
    route: Vec<String>,
    /// No way out of it and none in
    #[arg(long)]
    internal: bool,
    /// Name server for what its own name server does not know (may be repeated)
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    dns: Vec<IpAddr>,
    /// Containers do not find each other by name
    #[arg(long)]
    disable_dns: bool,
    /// Name of the bridge, or of the parent interface
    #[arg(long, value_name = "NAME")]
    interface_name: Option<String>,
    /// Label (may be repeated)
    #[arg(long, value_name = "NAME[=VALUE]")]
    label: Vec<String>,
    /// Driver option (may be repeated)
    #[arg(short, long, value_name = "NAME=VALUE")]
    opt: Vec<String>,
    /// It is no error if there is a network of that name
    #[arg(long)]
    ignore: bool,
    /// Record that containers may be attached (they always may)
    #[arg(long)]
    attachable: bool,
    /// local; others need a swarm
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,
    /// Swarm's routing mesh (refused)
    #[arg(long)]
    ingress: bool,
    /// Only a configuration for swarm networks (refused)
    #[arg(long)]
    config_only: bool,
    /// Take the configuration of another network of a swarm (refused)
    #[arg(long, value_name = "NETWORK")]
    config_from: Option<String>,
}

/// Makes it and prints its ID.
pub fn run(cx: &Context, args: CreateArgs) -> Result<Exit> {
    let new = args.network()?;
    let engine = cx.engine()?;
    let networks = Networks::open(&engine.config);
    let made = match networks.create(&new) {
        Err(e) if e.kind() == ErrorKind::Conflict && args.ignore => {
            networks.resolve(&new.name).map_err(|_| e)?
        }
        made => made?,
    };
    cx.println(made.id)?;
    Ok(Exit::OK)
}

impl CreateArgs {
    fn network(&self) -> Result<NewNetwork> {
        self.without_swarm()?;
        for option in &self.ipam_opt {
            // Docker's choice between two orders of handing out; host-local has one.
            if !option.starts_with("com.docker.network.ipam.serial=") {
                return Err(Error::unsupported(format!(
                    "--ipam-opt {option}: the IPAM drivers have no options"
                )));
            }
        }
        if self.disable_dns && !self.dns.is_empty() {
            return Err(Error::invalid("--dns and --disable-dns cannot be given together"));
        }
        Ok(NewNetwork {
            name: self.name.clone().unwrap_or_default(),
            driver: self.driver.clone(),
            interface: self.interface_name.clone().unwrap_or_default(),
            subnets: self.subnets.subnets()?,
            ipv4: self.ipv4.unwrap_or(true),
            ipv6: self.ipv6,
            internal: self.internal,
            dns: !self.disable_dns,
            dns_servers: self.dns.clone(),
            routes: self.route.iter().map(|text| route(text)).collect::<Result<_>>()?,
            labels: given(&self.label)?,
            options: self.options()?,
            ipam_driver: self.ipam_driver.clone(),
            reserved: self.subnets.reserved()?,
            attachable: self.attachable,
        })
    }

    fn without_swarm(&self) -> Result<()> {
        let flag = match () {
            () if self.ingress => "--ingress",
            () if self.config_only => "--config-only",
            () if self.config_from.is_some() => "--config-from",
            () if self.scope.as_deref().is_some_and(|s| !matches!(s, "" | "local")) => {
                "--scope other than local"
            }
            () => return Ok(()),
        };
        Err(Error::unsupported(format!("{flag} needs a swarm, which Coracle has none of")))
    }

    fn options(&self) -> Result<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        // Values have commas nowhere, so that `-o a=1,b=2` can be what it says.
        for option in self.opt.iter().flat_map(|o| o.split(',')) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            if name.is_empty() {
                return Err(Error::invalid(format!("invalid --opt {option:?}")).with_hint("--opt NAME=VALUE"));
            }
            found.insert(name.trim().to_owned(), value.trim().to_owned());
        }
        Ok(found)
    }
}
