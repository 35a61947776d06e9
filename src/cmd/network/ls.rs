//! `coracle network ls`, `network list`.

use crate::cmd::flags::ListingArgs;
use crate::cmd::format::human;
use crate::cmd::format::listing::{Json, Listing, column};
use crate::cmd::format::template::{Value, rfc3339};
use crate::cmd::network::inspect;
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::container::members;
use crate::engine::network::{Filters, Network, Networks};
use clap::Args;
use std::collections::BTreeSet;

/// List networks
#[derive(Args, Clone, Debug)]
pub struct LsArgs {
    /// Show only networks that match KEY=VALUE: name, id, driver, label, label!, type, scope, dangling, until (may be repeated)
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Do not shorten IDs
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    listing: ListingArgs,
}

/// Lists.
pub fn run(cx: &Context, args: LsArgs) -> Result<Exit> {
    let filters = Filters::parse(&args.filter)?;
    let plan = args.listing.plan(r"{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}", "{{.ID}}")?;
    let engine = cx.engine()?;
    let networks = Networks::open(&engine.config);
    let used: BTreeSet<String> = match filters.needs_users() {
        true => members(engine)?.into_keys().collect(),
        false => BTreeSet::new(),
    };
    let mut rows: Vec<Row> = Vec::new();
    for network in networks.list()? {
        if filters.matches(&networks, &network, used.contains(&network.name)) {
            rows.push(Row { network, short: !args.no_trunc });
        }
    }
    cx.print(LISTING.render(&plan, &rows)?)?;
    Ok(Exit::OK)
}

struct Row {
    network: Network,
    short: bool,
}

impl Row {
    fn id(&self) -> &str {
        if self.short { human::short_id(&self.network.id) } else { &self.network.id }
    }
}

/// docker's fields, whose truth values are text, then podman's under the names they have in templates, then under those in JSON.
const LISTING: Listing<Row> = Listing {
    name: "network",
    columns: &[
        column("ID", "NETWORK ID", |r| r.id().into(), Json::As(|r| r.network.id.as_str().into())),
        column("Name", "NAME", |r| r.network.name.as_str().into(), Json::Same),
        column("Driver", "DRIVER", |r| r.network.driver.as_str().into(), Json::Same),
        column("Scope", "SCOPE", |_| "local".into(), Json::Same),
        column("IPv4", "IPV4", |r| inspect::has(&r.network, false).to_string().into(), Json::Same),
        column("IPv6", "IPV6", |r| inspect::has(&r.network, true).to_string().into(), Json::Same),
        column("Internal", "INTERNAL", |r| r.network.internal.to_string().into(), Json::Same),
        column("Labels", "LABELS", |r| human::pairs(&r.network.labels).into(), Json::Same),
        column("CreatedAt", "CREATED AT", |r| human::timestamp(r.network.created).into(), Json::Same),
        column("Created", "CREATED", |r| Value::Time(r.network.created), Json::Skip),
        column(
            "NetworkInterface",
            "NETWORK INTERFACE",
            |r| r.network.network_interface.as_str().into(),
            Json::Skip,
        ),
        column("Subnets", "SUBNETS", |r| inspect::subnets(&r.network), Json::Skip),
        column("Routes", "ROUTES", |r| inspect::routes(&r.network), Json::Skip),
        column("IPv6Enabled", "IPV6 ENABLED", |r| r.network.ipv6_enabled.into(), Json::Skip),
        column("DNSEnabled", "DNS ENABLED", |r| r.network.dns_enabled.into(), Json::Skip),
        column("NetworkDNSServers", "NETWORK DNS SERVERS", |r| inspect::servers(&r.network), Json::Skip),
        column("Options", "OPTIONS", |r| Value::string_map(&r.network.options), Json::Skip),
        column("IPAMOptions", "IPAM OPTIONS", |r| Value::string_map(&r.network.ipam_options), Json::Skip),
        column("name", "", |_| Value::Nil, Json::Only(|r| r.network.name.as_str().into())),
        column("id", "", |_| Value::Nil, Json::Only(|r| r.network.id.as_str().into())),
        column("driver", "", |_| Value::Nil, Json::Only(|r| r.network.driver.as_str().into())),
        column(
            "network_interface",
            "",
            |_| Value::Nil,
            Json::Only(|r| r.network.network_interface.as_str().into()),
        ),
        column("created", "", |_| Value::Nil, Json::Only(|r| rfc3339(&r.network.created).into())),
        column("subnets", "", |_| Value::Nil, Json::Only(|r| inspect::subnets(&r.network))),
        column("ipv6_enabled", "", |_| Value::Nil, Json::Only(|r| r.network.ipv6_enabled.into())),
        column("internal", "", |_| Value::Nil, Json::Only(|r| r.network.internal.into())),
        column("dns_enabled", "", |_| Value::Nil, Json::Only(|r| r.network.dns_enabled.into())),
        column("labels", "", |_| Value::Nil, Json::Only(|r| Value::string_map(&r.network.labels))),
        column("options", "", |_| Value::Nil, Json::Only(|r| Value::string_map(&r.network.options))),
        column(
            "ipam_options",
            "",
            |_| Value::Nil,
            Json::Only(|r| Value::string_map(&r.network.ipam_options)),
        ),
    ],
    labels: Some(|row| row.network.labels.clone()),
};
