//! `coracle info`, `system info`: podman's report, with docker's fields beside it for templates and JSON.

mod docker;
mod host;
mod podman;
mod programs;
mod yaml;

pub(super) use programs::Program;

use super::version::render;
use crate::cmd::format::template::{Value, to_value};
use crate::cmd::{Context, Exit};
use crate::engine::config::Config;
use crate::engine::state::Status;
use crate::engine::{Engine, Result};
use clap::Args;
use serde::Serialize;

/// Show the host, the store and the configuration
#[derive(Args, Clone, Debug)]
pub struct InfoArgs {
    /// "json" or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// Prints it.
pub fn run(cx: &Context, args: InfoArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let counts = Counts::gather(engine)?;
    let podman = podman::report(engine, counts)?;
    cx.print(match args.format.as_deref() {
        None => yaml::yaml(&to_value(&podman)),
        Some(format) => {
            let docker = docker::report(engine, &podman, counts)?;
            render(&Value::joined("Info", [to_value(&podman), to_value(&docker)]), format)?
        }
    })?;
    Ok(Exit::OK)
}

/// The programs of which `version` tells the versions: conmon, the OCI runtime, the init program.
pub(super) fn components(config: &Config) -> Vec<Program> {
    programs::versions(vec![programs::conmon(config), programs::runtime(config), programs::init(config)])
}

/// How many there are.
#[derive(Clone, Copy, Default)]
struct Counts {
    containers: Containers,
    images: usize,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Containers {
    number: usize,
    paused: usize,
    running: usize,
    stopped: usize,
}

impl Counts {
    fn gather(engine: &Engine) -> Result<Counts> {
        let mut containers = Containers::default();
        for record in engine.state.list()? {
            containers.number += 1;
            match record.state.status {
                Status::Running => containers.running += 1,
                Status::Paused => containers.paused += 1,
                _ => containers.stopped += 1,
            }
        }
        Ok(Counts { containers, images: engine.store.images()?.len() })
    }
}
