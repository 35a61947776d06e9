//! podman, buildah and skopeo on the sandbox's store.

use std::ffi::OsString;

use super::{Cmd, Missing, Sandbox, cgroups, program};

impl Sandbox {
    /// `podman ARGUMENTS` as the sandbox's user on the sandbox's store.
    pub fn podman<S: Into<OsString>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Cmd, Missing> {
        Ok(self
            .command(self.podman_line()?)
            .args(arguments)
            .env("CONTAINERS_CONF", self.path("conf/podman.conf")))
    }

    /// podman and the flags that lead it to the sandbox's store.
    pub fn podman_line(&self) -> Result<Vec<OsString>, Missing> {
        let mut line: Vec<OsString> = vec![program("podman")?.into()];
        line.extend(self.store_flags());
        for word in
            ["--storage-driver", "overlay", "--events-backend", "file", "--cgroup-manager", "cgroupfs"]
        {
            line.push(word.into());
        }
        line.extend(["--tmpdir".into(), self.path("tmp/libpod").into()]);
        // crun refuses to work there.
        if cgroups() == "hybrid" {
            line.extend(["--runtime", "runc"].map(Into::into));
        }
        Ok(line)
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
