//! Every flag of run and create, and how they become a [`ContainerSpec`].

use super::{
    Inputs, exec::DescriptorArgs, health::HealthArgs, image::ImageArgs, labels::LabelArgs,
    lifetime::LifeArgs, logging::LogArgs, mounts::MountArgs, namespaces::NamespaceArgs, network::NetworkArgs,
    process::ProcessArgs, resources::CreateResourceArgs, resources::ResourceArgs, security::SecurityArgs,
};
use crate::engine::spec::{ContainerSpec, RestartPolicy};
use crate::engine::{Error, Result};
use clap::Args;

/// What run and create have in common.
#[derive(Args, Clone, Debug, Default)]
pub struct CreateFlags {
    #[command(flatten)]
    pub life: LifeArgs,
    #[command(flatten)]
    pub process: ProcessArgs,
    #[command(flatten)]
    pub image: ImageArgs,
    #[command(flatten)]
    pub mounts: MountArgs,
    #[command(flatten)]
    pub network: NetworkArgs,
    #[command(flatten)]
    pub namespaces: NamespaceArgs,
    #[command(flatten)]
    pub security: SecurityArgs,
    #[command(flatten)]
    pub resources: ResourceArgs,
    #[command(flatten)]
    pub create_resources: CreateResourceArgs,
    #[command(flatten)]
    pub labels: LabelArgs,
    #[command(flatten)]
    pub logging: LogArgs,
    #[command(flatten)]
    pub health: HealthArgs,
    /// Attach only these: stdin, stdout, stderr (may be repeated)
    #[arg(short, long, value_name = "STREAM", value_delimiter = ',', help_heading = "Terminal")]
    pub attach: Vec<String>,
}

/// What only run has.
#[derive(Args, Clone, Debug, Default)]
pub struct RunFlags {
    /// Run in the background and print the container's ID
    #[arg(short, long, help_heading = "Terminal")]
    pub detach: bool,
    #[command(flatten)]
    pub attach: super::attach::TerminalArgs,
    /// Remove the image, too, unless something else uses it
    #[arg(long, help_heading = "Life")]
    pub rmi: bool,
    #[command(flatten)]
    pub descriptors: DescriptorArgs,
}

impl CreateFlags {
    /// The container that these flags and `argv` (the image, then its command) ask for. Nothing of the image or
    /// containers.conf is in it yet.
    ///
    /// # Errors
    /// A value is malformed or contradicts another, a file cannot be read, or a flag is not supported yet.
    pub fn spec(&self, argv: &[String], inputs: &Inputs<'_>) -> Result<ContainerSpec> {
        let Some((image, command)) = argv.split_first() else {
            return Err(Error::invalid("an image is missing").with_hint("put the image after the flags"));
        };
        let mut spec = ContainerSpec::default();
        if self.mounts.rootfs {
            let directory = match image.rsplit_once(':') {
                Some((directory, "O")) => {
                    spec.image.rootfs_overlay = true;
                    directory
                }
                Some((_, option)) if option == "idmap" || option.starts_with("idmap=") => {
                    return Err(Error::unsupported("--rootfs DIRECTORY:idmap is not supported").with_hint(
                        "make an image of the directory: tar -C DIRECTORY -c . | coracle import - NAME",
                    ));
                }
                _ => image,
            };
            spec.image.rootfs = Some(inputs.env.cwd.join(directory).to_string_lossy().into_owned());
        } else {
            image.clone_into(&mut spec.image.requested);
        }
        spec.process.command = command.to_vec();
        self.life.apply(&mut spec, inputs)?;
        self.process.apply(&mut spec, inputs)?;
        self.mounts.apply(&mut spec, inputs)?;
        self.network.apply(&mut spec)?;
        self.namespaces.apply(&mut spec, inputs)?;
        self.security.apply(&mut spec, inputs)?;
        self.resources.apply(&mut spec.resources)?;
        self.create_resources.apply(&mut spec.resources)?;
        spec.rdt_class = self.create_resources.rdt_class.clone().unwrap_or_default();
        self.labels.apply(&mut spec, inputs)?;
        self.logging.apply(&mut spec)?;
        self.health.apply(&mut spec)?;
        super::attach::streams(&self.attach, self.process.interactive)?;
        self.image.decryption.check()?;
        Ok(spec)
    }
}

impl RunFlags {
    /// Puts what is recorded of these flags into `spec`.
    ///
    /// # Errors
    /// Contradictions: `-d` with `-a`, `--rmi` with a restart policy, or malformed keys.
    pub fn apply(&self, create: &CreateFlags, spec: &mut ContainerSpec) -> Result<()> {
        if self.detach && !create.attach.is_empty() {
            return Err(Error::invalid("conflicting options: --attach and --detach"));
        }
        if self.rmi {
            if spec.restart != RestartPolicy::default() {
                return Err(Error::invalid("conflicting options: --restart and --rmi"));
            }
            spec.remove = true;
            spec.remove_image = true;
        }
        if let Some(keys) = &self.attach.detach_keys {
            super::attach::detach_keys(keys)?;
            spec.detach_keys.clone_from(keys);
        }
        spec.process.preserve_fds = self.descriptors.count();
        Ok(())
    }
}
