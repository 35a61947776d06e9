//! `coracle secret create`.

use crate::cmd::flags::labels::given;
use crate::cmd::flags::values::key_value;
use crate::cmd::{Context, Exit};
use crate::engine::secret::{FILE, LARGEST, NewSecret, Secrets};
use crate::engine::{Error, Result};
use clap::Args;
use std::io::Read;

/// Make a secret from a file or standard input
///
/// Prints its ID. Containers are given it with run --secret NAME.
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    /// Who keeps it: file, pass or shell
    #[arg(short, long, value_name = "DRIVER", default_value = FILE)]
    driver: String,
    /// Option of the driver (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',')]
    driver_opts: Vec<String>,
    /// Read it from the environment variable that the argument names
    #[arg(short, long)]
    env: bool,
    /// Label (may be repeated)
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    label: Vec<String>,
    /// Take the place of a secret of the same name
    #[arg(long)]
    replace: bool,
    /// Of docker's swarm: refused
    #[arg(long, value_name = "DRIVER")]
    template_driver: Option<String>,
    /// Name
    #[arg(value_name = "NAME")]
    name: String,
    /// File; - is standard input
    #[arg(value_name = "FILE", required = true)]
    source: Option<String>,
}

/// Makes it.
pub fn run(cx: &Context, args: CreateArgs) -> Result<Exit> {
    if args.template_driver.is_some() {
        return Err(Error::unsupported(
            "--template-driver is for secrets of a swarm, which there is none of",
        ));
    }
    let engine = cx.engine()?;
    let source = args.source.as_deref().unwrap_or("-");
    let data = match source {
        name if args.env => {
            let value = engine.config.env.var(name);
            let value = value.ok_or_else(|| {
                Error::invalid(format!(
                    "cannot create store secret data: environment variable {name} is not set"
                ))
            })?;
            value.as_bytes().to_vec()
        }
        "-" => read(&mut std::io::stdin(), "standard input")?,
        path => {
            let path = engine.config.env.cwd.join(path);
            let mut file = std::fs::File::open(&path).map_err(|e| Error::io("open", &path, e))?;
            read(&mut file, &path.to_string_lossy())?
        }
    };
    let options = args.driver_opts.iter().map(|o| key_value("--driver-opts", o)).collect::<Result<_>>()?;
    let labels = given(&args.label)?;
    let new = NewSecret { name: args.name, driver: args.driver, options, labels, replace: args.replace };
    let made = Secrets::open(&engine.config).create(new, &data)?;
    cx.println(made.id)?;
    Ok(Exit::OK)
}

/// One byte more than there may be tells that it is too much.
fn read(from: &mut dyn Read, name: &str) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    from.take(LARGEST as u64 + 1).read_to_end(&mut data).map_err(|e| Error::io("read", name, e))?;
    Ok(data)
}
