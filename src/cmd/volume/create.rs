//! `coracle volume create`.

use crate::cmd::flags::labels::given;
use crate::cmd::flags::values::key_value;
use crate::cmd::{Context, Exit};
use crate::engine::volume::{LOCAL, NewVolume, Volumes};
use crate::engine::{Error, ErrorKind, Result};
use clap::Args;

/// Make a volume
///
/// Prints its name. One that is there already is no error, as with docker, unless other options were asked for.
///
/// Driver options (--opt): type, device and o, as mount(8) takes them: --opt type=tmpfs --opt device=tmpfs --opt
/// o=size=100m, or --opt device=/srv/data --opt o=bind. Such a volume is mounted as long as a container uses it. Without a device,
/// podman's: uid and gid of its owner, and size and inodes as limits (--opt size=10g), for which the file system must have
/// project quotas (XFS or ext4, mounted with prjquota).
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    /// Driver; local is the only one
    #[arg(short, long, value_name = "DRIVER", default_value = LOCAL)]
    driver: String,
    /// Accepted: a volume that is there is no error anyway
    #[arg(long)]
    ignore: bool,
    /// Label (may be repeated)
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    label: Vec<String>,
    /// Driver option (may be repeated)
    #[arg(short, long, value_name = "NAME=VALUE")]
    opt: Vec<String>,
    /// Swarm only, refused: there is no cluster here
    #[arg(long, value_name = "STRING")]
    availability: Option<String>,
    /// Swarm only, refused: there is no cluster here
    #[arg(long, value_name = "STRING")]
    group: Option<String>,
    /// Swarm only, refused: there is no cluster here
    #[arg(long, value_name = "BYTES")]
    limit_bytes: Option<String>,
    /// Swarm only, refused: there is no cluster here
    #[arg(long, value_name = "BYTES")]
    required_bytes: Option<String>,
    /// Swarm only, refused: there is no cluster here
    #[arg(long, value_name = "STRING")]
    scope: Option<String>,
    /// Swarm only, refused: there is no cluster here
    #[arg(long, value_name = "MAP")]
    secret: Vec<String>,
    /// Swarm only, refused: there is no cluster here
    #[arg(long, value_name = "STRING")]
    sharing: Option<String>,
    /// Swarm only, refused: there is no cluster here
    #[arg(long, value_name = "LIST")]
    topology_preferred: Vec<String>,
    /// Swarm only, refused: there is no cluster here
    #[arg(long, value_name = "LIST")]
    topology_required: Vec<String>,
    /// Swarm only, refused: there is no cluster here
    #[arg(long, value_name = "STRING")]
    r#type: Option<String>,
    /// Name; default: 64 random hex digits
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl CreateArgs {
    fn cluster(&self) -> Option<&'static str> {
        [
            ("--availability", self.availability.is_some()),
            ("--group", self.group.is_some()),
            ("--limit-bytes", self.limit_bytes.is_some()),
            ("--required-bytes", self.required_bytes.is_some()),
            ("--scope", self.scope.is_some()),
            ("--secret", !self.secret.is_empty()),
            ("--sharing", self.sharing.is_some()),
            ("--topology-preferred", !self.topology_preferred.is_empty()),
            ("--topology-required", !self.topology_required.is_empty()),
            ("--type", self.r#type.is_some()),
        ]
        .into_iter()
        .find_map(|(flag, given)| given.then_some(flag))
    }
}

/// Makes it.
pub fn run(cx: &Context, args: CreateArgs) -> Result<Exit> {
    if let Some(flag) = args.cluster() {
        return Err(Error::unsupported(format!(
            "{flag} is for volumes of a swarm's cluster, which there is none of"
        )));
    }
    if args.driver != LOCAL {
        return Err(Error::unsupported(format!(
            "volume driver {:?}: only {LOCAL} is supported",
            args.driver
        )));
    }
    let options = args.opt.iter().map(|o| key_value("--opt", o)).collect::<Result<_>>()?;
    let new = NewVolume {
        name: args.name.unwrap_or_default(),
        labels: given(&args.label)?,
        options,
        anonymous: false,
    };
    let engine = cx.engine()?;
    let volumes = Volumes::open(&engine.config);
    volumes.sweep();
    let name = match volumes.create(new.clone()) {
        Ok(volume) => volume.name,
        Err(e) if e.kind() == ErrorKind::Conflict => {
            if volumes.get(&new.name)?.options != new.options {
                return Err(e.with_hint("it has other options"));
            }
            new.name
        }
        Err(e) => return Err(e),
    };
    cx.println(name)?;
    Ok(Exit::OK)
}
