//! Flags of exec.

use super::process::EnvArgs;
use super::{Inputs, attach};
use crate::engine::Result;
use crate::engine::spec::ProcessSpec;
use clap::Args;

/// The process that joins a running container.
#[derive(Args, Clone, Debug, Default)]
pub struct ExecFlags {
    /// Run in the background
    #[arg(short, long)]
    pub detach: bool,
    /// Keys that detach, as ctrl-p,ctrl-q; "" for none
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,
    #[command(flatten)]
    pub env: EnvArgs,
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the process all capabilities of the container's privileged form
    #[arg(long)]
    pub privileged: bool,
    /// Allocate a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Run as this user: name or UID, optionally with :GROUP
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    #[command(flatten)]
    pub descriptors: DescriptorArgs,
}

/// Descriptors handed to the process.
#[derive(Args, Clone, Debug, Default)]
pub struct DescriptorArgs {
    /// Pass so many descriptors from 3 on
    #[arg(long, value_name = "NUMBER")]
    pub preserve_fds: Option<u32>,
    /// Pass this descriptor (may be repeated)
    #[arg(long, value_name = "NUMBER", value_delimiter = ',')]
    pub preserve_fd: Vec<u32>,
}

impl DescriptorArgs {
    /// How many descriptors from 3 on are passed.
    pub fn count(&self) -> u32 {
        self.preserve_fds.unwrap_or(0)
    }
}

impl ExecFlags {
    /// The process these flags and `argv` describe; what they leave open is the container's.
    ///
    /// # Errors
    /// A value is malformed or a file cannot be read.
    pub fn process(&self, argv: &[String], inputs: &Inputs<'_>) -> Result<ProcessSpec> {
        let (env, unset_env) = self.env.resolve(inputs)?;
        if let Some(keys) = &self.detach_keys {
            attach::detach_keys(keys)?;
        }
        Ok(ProcessSpec {
            command: argv.to_vec(),
            env,
            unset_env,
            workdir: super::process::workdir(self.workdir.as_deref())?,
            user: self.user.clone().unwrap_or_default(),
            terminal: self.tty,
            open_stdin: self.interactive,
            preserve_fds: self.descriptors.count(),
            ..ProcessSpec::default()
        })
    }
}
