//! podman, buildah and skopeo on the sandbox's store.

use std::ffi::OsString;

use super::{Cmd, Missing, Sandbox, cgroups, program};

impl Sandbox {
    /// `podman ARGUMENTS` as the sandbox's user on the sandbox's store.
    pub fn podman<S: Into<OsString>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Cmd, Missing> {
        let mut command = self
            .command([program("podman")?])
            .args(self.store_flags())
            .args(["--storage-driver", "overlay", "--events-backend", "file", "--cgroup-manager", "cgroupfs"])
            .arg("--tmpdir")
            .arg(self.path("tmp/libpod"))
            .env("CONTAINERS_CONF", self.path("conf/podman.conf"));
        // crun refuses to work there.
        if cgroups() == "hybrid" {
            command = command.args(["--runtime", "runc"]);
        }
        Ok(command.args(arguments))
    }

    /// `buildah ARGUMENTS` likewise.
    pub fn buildah<S: Into<OsString>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Cmd, Missing> {
        let command = self
            .command([program("buildah")?])
            .args(self.store_flags())
            .args(["--storage-driver", "overlay"]);
        Ok(command.env("CONTAINERS_CONF", self.path("conf/podman.conf")).args(arguments))
    }

    /// `skopeo ARGUMENTS` likewise; name the store's images with [`Sandbox::storage_reference`].
    pub fn skopeo<S: Into<OsString>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Cmd, Missing> {
        let command = self.command([program("skopeo")?]).arg("--policy").arg(self.path("conf/policy.json"));
        Ok(command.args(arguments))
    }

    /// An image of the sandbox's store in skopeo's words.
    pub fn storage_reference(&self, image: &str) -> String {
        let (root, run) = (self.graph_root(), self.run_root());
        format!("containers-storage:[overlay@{}+{}]{image}", root.display(), run.display())
    }
}
